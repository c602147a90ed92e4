//! Checks the rules of the house that a machine can check; each problem is one line with a reason.
//!
//! Formatting and lints are rustfmt's and clippy's, licences cargo-deny's.

mod arrows;
mod files;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

/// A broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    /// The file or crate.
    place: String,
    /// What is wrong, and what to do.
    text: String,
}

impl Problem {
    fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            text: text.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.text)
    }
}

/// Checks everything, prints what it finds, and fails if there is a problem.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut problems = arrows::check(root)?;
    let files = files::check(root)?;
    problems.extend(files.problems);
    problems.sort();
    for (path, lines) in &files.long {
        println!(
            "note: {path}: {lines} lines; over {} it should have a reason",
            files::LONG
        );
    }
    for problem in &problems {
        eprintln!("tidy: {problem}");
    }
    if !problems.is_empty() {
        bail!("{} rules of the house are broken", problems.len());
    }
    println!("tidy: {} files are in order", files.seen);
    Ok(())
}
