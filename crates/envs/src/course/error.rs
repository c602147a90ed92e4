//! What can go wrong with courses, with the likely cause and the next step.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::data::DataError;

/// Why something could not be done with a course.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CourseError {
    /// A name that no course can have.
    #[error("`{text}` cannot be the name of a course")]
    BadName {
        /// As it was given.
        text: String,
        /// How long it may be.
        max: usize,
    },
    /// There is no such course.
    #[error("there is no course `{name}`")]
    NoCourse {
        /// Its name.
        name: String,
    },
    /// An account has the name of a course's group.
    #[error("there is an account {group}, and the course needs a group of this name")]
    Taken {
        /// The name.
        group: String,
    },
    /// Accounts are missing.
    #[error("this machine has no accounts {}", names.join(", "))]
    NoAccounts {
        /// Their names.
        names: Vec<String>,
    },
    /// A name that no account can have.
    #[error("{text:?} cannot be the name of an account")]
    BadAccount {
        /// As it was given.
        text: String,
    },
    /// A program that makes accounts or groups failed.
    #[error("{program} failed for {what}: {said}")]
    Program {
        /// The program.
        program: &'static str,
        /// The account or group.
        what: String,
        /// What it said.
        said: String,
    },
    /// A file operation failed.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What we were doing, as a verb.
        doing: &'static str,
        /// What we were doing it to.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A folder could not be made as it has to be.
    #[error(transparent)]
    Folder(#[from] DataError),
}

impl CourseError {
    /// What a person can do about it, as one sentence; `None` if nothing better than the message comes to mind.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::BadName { max, .. } => format!(
                "names have up to {max} lower-case letters, digits and hyphens, such as stats-2026; what people see is the --title"
            ),
            Self::NoCourse { .. } => "`lyceum course list` shows all".to_owned(),
            Self::Taken { .. } => "choose another name for the course".to_owned(),
            Self::NoAccounts { .. } => {
                "check the names, or have the accounts made with --create-accounts".to_owned()
            }
            Self::BadAccount { .. } => "check the list of names".to_owned(),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "do it as root, with sudo".to_owned()
            }
            Self::Program { said, .. } if said.contains("Permission denied") => {
                "do it as root, with sudo".to_owned()
            }
            Self::Program { .. } | Self::Io { .. } => return None,
            Self::Folder(error) => return error.hint(),
        })
    }

    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
