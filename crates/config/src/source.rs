//! Where values come from: files, environment variables, flags; and places in their texts.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody has set it.
    Default,
    /// It follows from another setting, such as `root`.
    Follows(&'static str),
    /// A file, with the number of the line, counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// This flag of the command line, such as `--port`.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Follows(key) => write!(f, "follows from `{key}`"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What kind of thing a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceKind {
    File(PathBuf),
    Environment(String),
    Flag(String),
    /// What follows from a setting of this name.
    Follows(&'static str),
}

/// One text that sets values.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) kind: SourceKind,
    /// A file's content; for variables and flags, the assignment as one would type it.
    pub(crate) text: String,
    /// The folder to which relative paths belong.
    pub(crate) base: PathBuf,
}

/// A place in the text of a source, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) source: usize,
    pub(crate) span: Range<usize>,
}

/// All texts of one load; places refer to them by number.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn add(&mut self, source: Source) -> usize {
        self.0.push(source);
        self.0.len() - 1
    }

    /// Replaces the text that is shown; places keep their meaning if the lengths are the same.
    pub(crate) fn set_text(&mut self, number: usize, text: String) {
        if let Some(source) = self.0.get_mut(number) {
            source.text = text;
        }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Source> {
        self.0.get(number)
    }

    pub(crate) fn base(&self, place: &Place) -> Option<&Path> {
        self.get(place.source).map(|source| source.base.as_path())
    }

    pub(crate) fn origin(&self, place: &Place) -> Origin {
        match self.get(place.source).map(|source| &source.kind) {
            Some(SourceKind::File(path)) => Origin::File {
                path: path.clone(),
                line: self.line_and_column(place).0,
            },
            Some(SourceKind::Environment(name)) => Origin::Environment(name.clone()),
            Some(SourceKind::Flag(flag)) => Origin::Flag(flag.clone()),
            Some(SourceKind::Follows(key)) => Origin::Follows(key),
            None => Origin::Default,
        }
    }

    /// Line and column of a place, both counted from 1, the column in characters.
    pub(crate) fn line_and_column(&self, place: &Place) -> (usize, usize) {
        let before = self
            .get(place.source)
            .and_then(|source| source.text.get(..place.span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        (line, column)
    }

    /// The lines that a place touches, counted from 1.
    pub(crate) fn lines(&self, place: &Place) -> Range<usize> {
        let first = self.line_and_column(place).0;
        let inside = self
            .get(place.source)
            .and_then(|source| source.text.get(place.span.clone()))
            .unwrap_or_default();
        first..first + inside.matches('\n').count() + 1
    }
}
