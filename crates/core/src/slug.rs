//! Names for servers, made from what people type or from names that are not allowed any more.
//!
//! The rules are JupyterHub's (`slugs.py`), so that both make the same name of the same text.

use sha2::{Digest as _, Sha256};
use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

use crate::names::ServerName;
use crate::random::to_hex;

/// The longest name, in characters.
const MAX_CHARS: usize = 30;
/// How many hexadecimal digits tell texts apart that look alike.
const HASH_CHARS: usize = 8;

/// Makes a server's name from a title that a person typed: `Deep Learning (2)` becomes `deep-learning-2`.
///
/// Different titles may become the same name; the caller looks whether it is free. `None` for an empty title.
pub fn server_name_from_title(title: &str) -> Option<ServerName> {
    let name = if is_plain(title) {
        title.to_owned()
    } else {
        slug(title, MAX_CHARS)
    };
    to_name(title, &name)
}

/// Makes a server's name that no other text becomes: plain names stay as they are, all others get a hash.
///
/// For renaming servers whose names older versions allowed. `None` for an empty text.
pub fn unique_server_name(text: &str) -> Option<ServerName> {
    if is_plain(text) {
        return to_name(text, text);
    }
    let mut hash = to_hex(&Sha256::digest(text));
    hash.truncate(HASH_CHARS);
    let slug = slug(text, MAX_CHARS - HASH_CHARS - 1);
    to_name(text, &format!("{slug}-{hash}"))
}

fn to_name(text: &str, name: &str) -> Option<ServerName> {
    if text.is_empty() {
        return None;
    }
    ServerName::parse_new(name).ok()
}

/// Whether a text needs no change. Hyphens do: they set the hash apart.
fn is_plain(text: &str) -> bool {
    (1..=MAX_CHARS).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// Makes a text of `[a-z0-9-]` that begins with a letter, ends without and doubles no hyphen.
fn slug(text: &str, max_chars: usize) -> String {
    let mut slug = String::new();
    let letters = text
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase);
    for c in letters {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(max_chars);
    if slug.starts_with(|c: char| c.is_ascii_digit()) {
        slug.truncate(max_chars - 2);
        slug.insert_str(0, "x-");
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "x".to_owned()
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, name with a hash, name without: as JupyterHub 6.1's `safe_slug` answers.
    const OBSERVED: &[(&str, &str, &str)] = &[
        ("lab", "lab", "lab"),
        ("a", "a", "a"),
        ("a1", "a1", "a1"),
        ("jupyter-alex", "jupyter-alex-651dec0a", "jupyter-alex"),
        ("jupyter-Alex", "jupyter-alex-3a1c285c", "jupyter-alex"),
        (
            "Deep Learning (2)",
            "deep-learning-2-b1c5205b",
            "deep-learning-2",
        ),
        ("üni", "uni-8710b252", "uni"),
        ("Žluťoučký kůň", "zlutoucky-kun-3e1fe366", "zlutoucky-kun"),
        ("1abc", "x-1abc-57cb980e", "x-1abc"),
        ("-start-", "start-85b50518", "start"),
        ("--", "x-d8156bae", "x"),
        ("---a", "a-8e7313be", "a"),
        ("a--b", "a-b-90827a2e", "a-b"),
        ("a_b", "a-b-648fa9b3", "a-b"),
        (
            "user@email.com",
            "user-email-com-0925f997",
            "user-email-com",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "xxxxxxxxxxxxxxxxxxxxx-0f46e4b0",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ),
        (
            "9999999999999999999999999999999999999999",
            "x-9999999999999999999-576f072e",
            "x-9999999999999999999999999999",
        ),
        ("endswith-", "endswith-165f1166", "endswith"),
        ("日本語", "x-77710aed", "x"),
        ("½ day", "x-1-2-day-03698b84", "x-1-2-day"),
        ("İstanbul", "istanbul-24ec8f72", "istanbul"),
        ("ẞtraße", "tra-e-27b4c697", "tra-e"),
        ("  spaces  ", "spaces-3294fa4c", "spaces"),
        ("A", "a-559aead0", "a"),
        ("é", "e-4a99557e", "e"),
        ("e\u{301}", "e-bf12767b", "e"),
        ("🙂", "x-d06f1525", "x"),
        ("🙂🙂", "x-f5f56730", "x"),
        ("ab🙂cd", "ab-cd-4da1f359", "ab-cd"),
        ("K", "k-86be9a55", "k"),
        ("ﬁle", "file-e187bbaa", "file"),
        ("a/b", "a-b-c14cddc0", "a-b"),
        ("..", "x-5ec1f7e7", "x"),
        ("%2F", "x-2f-40ac38fa", "x-2f"),
        ("name\nline", "name-line-ff96560c", "name-line"),
        ("x-123", "x-123-e9ebd6d7", "x-123"),
        ("abc-", "abc-2211b74f", "abc"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa-b",
            "aaaaaaaaaaaaaaaaaaaaa-2bd0fe77",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaa-b",
        ),
        (
            "1111111111111111111111111111-b",
            "x-1111111111111111111-3ccd19a0",
            "x-1111111111111111111111111111",
        ),
        (
            "aaaaaaaaaaaaaaaaaaaa-bcd",
            "aaaaaaaaaaaaaaaaaaaa-9a0184bb",
            "aaaaaaaaaaaaaaaaaaaa-bcd",
        ),
        (
            "aaaaaaaaaaaaaaaaaaaaa-b",
            "aaaaaaaaaaaaaaaaaaaaa-67e8caec",
            "aaaaaaaaaaaaaaaaaaaaa-b",
        ),
        ("Ångström", "angstrom-5c510cb3", "angstrom"),
        ("œuvre", "uvre-5abbe9e5", "uvre"),
        ("łódź", "odz-61b87354", "odz"),
        ("x\u{200b}y", "x-y-2d1f7ee9", "x-y"),
        ("٣ three", "three-c2132b60", "three"),
        ("Ⅻ", "xii-8c0e55c5", "xii"),
    ];

    #[test]
    fn texts_become_the_names_that_jupyterhub_gives_them() {
        for (text, unique, plain) in OBSERVED {
            assert_eq!(
                unique_server_name(text).unwrap().as_str(),
                *unique,
                "{text:?}"
            );
            assert_eq!(
                server_name_from_title(text).unwrap().as_str(),
                *plain,
                "{text:?}"
            );
        }
    }

    #[test]
    fn nothing_becomes_no_name() {
        assert_eq!(server_name_from_title(""), None);
        assert_eq!(unique_server_name(""), None);
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_name(text in "\\PC{1,60}|[a-z0-9 -]{1,60}|[0-9-]{1,40}") {
            prop_assert!(server_name_from_title(&text).is_some());
            prop_assert!(unique_server_name(&text).is_some());
        }

        #[test]
        fn different_texts_become_different_unique_names(a in "[a-zA-Z -]{1,20}", b in "[a-zA-Z -]{1,20}") {
            prop_assert_eq!(a == b, unique_server_name(&a) == unique_server_name(&b));
        }
    }
}
