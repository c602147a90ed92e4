//! Checks tracked files one by one: size, first lines, notes without a number, places of one machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Problem;
use crate::shell;

/// Longer files are listed.
pub(super) const LONG: usize = 500;
/// Longer files are refused.
const TOO_LONG: usize = 800;

/// Words that say that something is unfinished, where only an issue could say what.
const UNFINISHED: &[&str] = &["FIXME", "XXX", "HACK"];
/// Folders that exist on somebody's own machine only.
const PRIVATE_FOLDERS: &[&str] = &["/home/runner/", "/Users/"];
/// The file that holds these lists.
const OWN: &str = "xtask/src/tidy/files.rs";

/// What a look at all files found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    /// Long files and their numbers of lines.
    pub(super) long: Vec<(String, usize)>,
    pub(super) seen: usize,
}

/// Checks all files that are tracked, or would be.
pub(super) fn check(root: &Path) -> Result<Findings> {
    let arguments = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let names = shell::output(&mut shell::command(root, "git", &arguments))
        .context("could not list the repository's files")?;
    let mut findings = Findings::default();
    for name in names.split('\0').filter(|name| !name.is_empty()) {
        // A file that is deleted but not yet committed, and files that are no text.
        let Ok(text) = fs::read_to_string(root.join(name)) else {
            continue;
        };
        check_file(name, &text, &mut findings);
    }
    Ok(findings)
}

fn check_file(name: &str, text: &str, findings: &mut Findings) {
    findings.seen += 1;
    if name == OWN || is_generated(name, text) {
        return;
    }
    check_words(name, text, findings);
    if has_extension(name, &["rs"]) {
        check_first_lines(name, text, findings);
    }
    if has_extension(name, &["rs", "mjs", "js", "py", "css", "sh"]) && !is_test(name) {
        let lines = text.lines().count();
        if lines > TOO_LONG {
            let text = format!("{lines} lines; over {TOO_LONG} a file must be split by meaning");
            findings.problems.push(Problem::new(name, text));
        } else if lines > LONG {
            findings.long.push((name.to_owned(), lines));
        }
    }
}

fn check_words(name: &str, text: &str, findings: &mut Findings) {
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{name}:{}", index + 1);
        for word in UNFINISHED {
            if has_word(line, word) {
                let text = format!("{word}: open an issue and write TODO with its number");
                findings.problems.push(Problem::new(place(), text));
            }
        }
        if let Some((_, rest)) = line.split_once("TODO")
            && has_word(line, "TODO")
            && !rest.trim_start_matches(['(', ' ', ':']).starts_with('#')
        {
            findings.problems.push(Problem::new(
                place(),
                "TODO without the number of an issue, as in TODO #12",
            ));
        }
        for folder in PRIVATE_FOLDERS {
            if names_folder(line, folder) {
                let text = format!("names {folder}, which exists on somebody's machine only");
                findings.problems.push(Problem::new(place(), text));
            }
        }
    }
}

/// Each Rust file says first what it is for; a crate does so in a whole sentence.
fn check_first_lines(name: &str, text: &str, findings: &mut Findings) {
    let Some(first) = text.lines().find(|line| !line.trim().is_empty()) else {
        findings.problems.push(Problem::new(name, "is empty"));
        return;
    };
    if !first.starts_with("//! ") {
        findings.problems.push(Problem::new(
            name,
            "must begin with //! and say what it is for",
        ));
        return;
    }
    let paragraph = text
        .lines()
        .map_while(|line| line.strip_prefix("//! "))
        .collect::<Vec<_>>()
        .join(" ");
    let is_crate = name.ends_with("src/lib.rs") || name.ends_with("src/main.rs");
    let begins = paragraph
        .chars()
        .next()
        .is_some_and(|first| !first.is_lowercase());
    if is_crate && !(begins && paragraph.ends_with('.')) {
        findings.problems.push(Problem::new(
            name,
            "the crate's first paragraph must be a sentence",
        ));
    }
}

fn is_test(name: &str) -> bool {
    name.starts_with("e2e/") || name.contains("/tests/") || name.ends_with("tests.rs")
}

fn is_generated(name: &str, text: &str) -> bool {
    has_extension(name, &["lock"])
        || name.ends_with("package-lock.json")
        || text.lines().take(5).any(|line| line.contains("@generated"))
}

fn has_extension(name: &str, extensions: &[&str]) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(_, extension)| extensions.contains(&extension))
}

/// Whether a word stands alone in a line.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line
            .get(at + word.len()..)
            .and_then(|text| text.chars().next());
        let joins = |letter: Option<char>| {
            letter.is_some_and(|letter| letter.is_alphanumeric() || letter == '_')
        };
        !joins(before) && !joins(after)
    })
}

/// Whether a line names a folder by its absolute path: not as the middle of another path or address.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"/.-_~}".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        check_file(name, text, &mut findings);
        findings.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_begins_with_what_it_is_for() {
        assert_eq!(problems("a.rs", "//! Does it.\n"), [""; 0]);
        assert_eq!(problems("a.rs", "//! does it\n"), [""; 0]);
        assert_eq!(problems("a.rs", "use std::fs;\n").len(), 1);
        assert_eq!(problems("a.rs", "").len(), 1);
        assert_eq!(
            problems("crates/a/src/lib.rs", "//! Does it\n//! all.\n\nmod a;\n"),
            [""; 0]
        );
        assert_eq!(problems("crates/a/src/lib.rs", "//! does it\n").len(), 1);
        assert_eq!(problems("a.py", "import os\n"), [""; 0]);
    }

    #[test]
    fn long_files_are_listed_and_longer_ones_refused() {
        let of = |lines: usize| format!("//! Long.\n{}", "// line\n".repeat(lines - 1));
        let mut findings = Findings::default();
        check_file("a.rs", &of(500), &mut findings);
        check_file("b.rs", &of(501), &mut findings);
        check_file("c.rs", &of(801), &mut findings);
        check_file("crates/a/tests/d.rs", &of(801), &mut findings);
        check_file("src/tests.rs", &of(801), &mut findings);
        assert_eq!(findings.long, [("b.rs".to_owned(), 501)]);
        assert_eq!(findings.problems.len(), 1);
        assert_eq!(findings.problems[0].place, "c.rs");
        assert_eq!(
            problems("f.rs", &format!("// @generated by a tool\n{}", of(801))),
            [""; 0]
        );
    }

    #[test]
    fn notes_need_a_number_and_places_belong_to_all() {
        assert_eq!(problems("a.md", "TODO #12: more"), [""; 0]);
        assert_eq!(problems("a.md", "TODO(#12) more"), [""; 0]);
        assert_eq!(
            problems("a.md", "ok\nTODO more").first().unwrap(),
            "a.md:2: TODO without the number of an issue, as in TODO #12"
        );
        assert_eq!(problems("a.md", "FIXME").len(), 1);
        assert_eq!(problems("a.md", "PREFIXXX and FIXMEUP"), [""; 0]);
        assert_eq!(problems("a.md", "cd /Users/here").len(), 1);
        assert_eq!(problems("a.md", "open \"/Users/here\"").len(), 1);
        assert_eq!(
            problems("a.md", "/user/ada/files/Users/x and data/Users/"),
            [""; 0]
        );
    }
}
