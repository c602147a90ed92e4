//! The order of versions of Python packages (PEP 440), for saying what went up and what went down.
//!
//! Whether a version satisfies a requirement, pip and uv know; that is not asked here.

use std::cmp::Ordering;

/// A version, ready to be compared. What is no version by PEP 440 is compared as text, and comes before all that are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Text(String),
    Version(Box<Parts>),
}

/// The parts in the order in which they count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Parts {
    epoch: u64,
    release: Vec<u64>,
    before: Before,
    post: Option<u64>,
    dev: Dev,
    local: Vec<Local>,
}

/// What stands before a release: `1.0.dev1 < 1.0a1 < 1.0b1 < 1.0rc1 < 1.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    DevOnly,
    Alpha(u64),
    Beta(u64),
    Candidate(u64),
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Dev {
    Dev(u64),
    Not,
}

/// A part of a local version: numbers come after texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Text(String),
    Number(u64),
}

/// Compares two versions: `1.10` is after `1.9`, and `2.0` after `2.0rc1`.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    key(left).cmp(&key(right))
}

fn key(text: &str) -> Key {
    let text = text.trim().to_ascii_lowercase();
    match parse(&text) {
        Some(parts) => Key::Version(Box::new(parts)),
        None => Key::Text(text),
    }
}

fn parse(text: &str) -> Option<Parts> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let (public, local) = match text.split_once('+') {
        Some((public, local)) => (public, local_parts(local)?),
        None => (text, Vec::new()),
    };
    let (epoch, rest) = match public.split_once('!') {
        Some((epoch, rest)) => (epoch.parse().ok()?, rest),
        None => (0, public),
    };
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let (release, mut rest) = rest.split_at_checked(end)?;
    let mut release: Vec<u64> = release
        .trim_end_matches('.')
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    // `1.0` and `1.0.0` are the same version.
    while release.len() > 1 && release.last() == Some(&0) {
        release.pop();
    }
    let mut before = None;
    let mut post = None;
    let mut dev = Dev::Not;
    while !rest.is_empty() {
        // `1.0-1` is a post-release, too.
        let plain_post = rest
            .strip_prefix('-')
            .filter(|rest| starts_with_digit(rest));
        let (word, number, after) = match plain_post {
            Some(digits) => {
                let (number, after) = split_number(digits)?;
                ("post", number, after)
            }
            None => split_part(rest)?,
        };
        match word {
            "a" | "alpha" => before = Some(Before::Alpha(number)),
            "b" | "beta" => before = Some(Before::Beta(number)),
            "rc" | "c" | "pre" | "preview" => before = Some(Before::Candidate(number)),
            "post" | "rev" | "r" => post = Some(number),
            "dev" => dev = Dev::Dev(number),
            _ => return None,
        }
        rest = after;
    }
    let before = match (before, post, &dev) {
        (Some(before), _, _) => before,
        (None, None, Dev::Dev(_)) => Before::DevOnly,
        _ => Before::Nothing,
    };
    Some(Parts {
        epoch,
        release,
        before,
        post,
        dev,
        local,
    })
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads such as `.post2`, `rc1` or `_dev`: the word, its number, and what follows.
fn split_part(text: &str) -> Option<(&str, u64, &str)> {
    let text = text.trim_start_matches(['.', '-', '_']);
    let end = text
        .find(|c: char| !c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let digits = rest.trim_start_matches(['.', '-', '_']);
    if starts_with_digit(digits) {
        let (number, rest) = split_number(digits)?;
        Some((word, number, rest))
    } else {
        (!word.is_empty()).then_some((word, 0, rest))
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, rest))
}

fn local_parts(text: &str) -> Option<Vec<Local>> {
    text.split(['.', '-', '_'])
        .map(|part| match part.parse() {
            Ok(number) => Some(Local::Number(number)),
            Err(_) if part.is_empty() => None,
            Err(_) => Some(Local::Text(part.to_owned())),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_pep_440() {
        let ascending = [
            "garbage",
            "1.dev0",
            "1.0.dev456",
            "1.0a1",
            "1.0a2.dev456",
            "1.0a12.dev456",
            "1.0a12",
            "1.0b1.dev456",
            "1.0b2",
            "1.0b2.post345.dev456",
            "1.0b2.post345",
            "1.0rc1.dev456",
            "1.0rc1",
            "1.0",
            "1.0+abc.5",
            "1.0+abc.7",
            "1.0+5",
            "1.0.post456.dev34",
            "1.0.post456",
            "1.0.15",
            "1.1.dev1",
            "1.9",
            "1.10",
            "2026.1",
            "1!0.1",
        ];
        for pair in ascending.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            assert_eq!(compare(pair[1], pair[0]), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for (left, right) in [
            ("1.0", "1.0.0"),
            ("v1.0", "1.0"),
            ("1.0-1", "1.0.post1"),
            ("1.0.RC1", "1.0rc1"),
            ("1.0_dev", "1.0.dev0"),
            ("1.0alpha2", "1.0a2"),
            ("1.0+ubuntu-1", "1.0+ubuntu.1"),
        ] {
            assert_eq!(compare(left, right), Ordering::Equal, "{left} {right}");
        }
    }

    #[test]
    fn texts_that_are_no_versions_do_no_harm() {
        for text in [
            "",
            ".",
            "+",
            "1+",
            "1..2",
            "1.0.é",
            "!1",
            "99999999999999999999999",
        ] {
            assert_eq!(compare(text, text), Ordering::Equal);
            assert_eq!(compare(text, "0.1"), Ordering::Less, "{text}");
        }
    }
}
