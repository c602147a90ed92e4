//! One thing that is done for a course, or would have to be.

use std::path::PathBuf;

/// One thing that is done for a course, or would have to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deed {
    /// Something was not there.
    Made(&'static str, PathBuf),
    /// A folder had other rights.
    Rights(PathBuf),
    /// A file had another content, or was not there.
    Wrote(PathBuf),
    /// Something else is to be known.
    Note(String),
}

impl Deed {
    /// Says that it is done.
    pub(super) fn as_done(&self) -> String {
        match self {
            Self::Made(what, path) => format!("made the {what} {}", path.display()),
            Self::Rights(path) => format!("gave the folder its rights: {}", path.display()),
            Self::Wrote(path) => format!("wrote {}", path.display()),
            Self::Note(text) => format!("note: {text}"),
        }
    }

    /// Says what is wrong before it is done.
    pub(super) fn as_wrong(&self) -> String {
        match self {
            Self::Made(what, path) => format!("the {what} {} is missing", path.display()),
            Self::Rights(path) => {
                format!(
                    "the folder {} has not the rights that it should have",
                    path.display()
                )
            }
            Self::Wrote(path) => format!(
                "{} is missing, or is not what this version of Lyceum writes",
                path.display()
            ),
            Self::Note(text) => text.clone(),
        }
    }
}
