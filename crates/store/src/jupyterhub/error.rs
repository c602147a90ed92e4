//! Why a database of JupyterHub's cannot be read, and what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error::StoreError;

/// Why a database of JupyterHub's cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// There is no such file.
    #[error("there is no file {}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a directory, a device or the like in the file's place.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// The file is something else, or too damaged to be recognized.
    #[error("{} is not an SQLite database, or is damaged", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// There are tables, but not JupyterHub's.
    #[error("{} is a database of another program, not of JupyterHub", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is one of ours.
    #[error("{} is a database of Lyceum's own", path.display())]
    Ours {
        /// The file.
        path: PathBuf,
    },
    /// A JupyterHub before version 5 made it.
    #[error("{} was made by a JupyterHub older than version 5 (its revision is {revision})", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        revision: String,
    },
    /// A JupyterHub that we do not know made it.
    #[error("{} was made by a JupyterHub that is not known here (its revision is {revision})", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// What it says of itself.
        revision: String,
    },
    /// It was changed each time while it was being copied.
    #[error("{} is being changed by another process", path.display())]
    Changing {
        /// The file.
        path: PathBuf,
    },
    /// What is in it is not what JupyterHub writes.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<StoreError>,
    },
    /// There is no room for the copy that is read.
    #[error("there is no space left in {} for a copy of the database", folder.display())]
    Full {
        /// Where the copy was to be.
        folder: PathBuf,
    },
    /// The system refuses something.
    #[error("could not {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl ReadError {
    /// What an administrator can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing { .. } | Self::NotAFile { .. } => {
                "it is where `JupyterHub.db_url` says, by default `jupyterhub.sqlite` in the folder in which JupyterHub was started"
            }
            Self::NotADatabase { .. } | Self::Foreign { .. } => {
                "name the file that `JupyterHub.db_url` says, by default `jupyterhub.sqlite`"
            }
            Self::Ours { .. } => {
                "to move a Lyceum, copy its data folder while it does not run; nothing has to be imported"
            }
            Self::TooOld { path, .. } => {
                return Some(format!(
                    "bring a copy up to date with JupyterHub's own tool, and import that: \
                     cp {0} {0}.copy && pip install 'jupyterhub>=6,<7' && jupyterhub upgrade-db --db=sqlite:///{0}.copy",
                    path.display()
                ));
            }
            Self::TooNew { .. } => {
                "install a newer Lyceum; this one takes databases of JupyterHub 5 and 6"
            }
            Self::Changing { .. } => "stop JupyterHub first, or import a backup of the file",
            Self::Damaged { .. } => {
                "check it: sqlite3 FILE 'PRAGMA integrity_check'; if it is damaged, import a backup"
            }
            Self::Full { .. } => "free some space there, or set TMPDIR to a folder that has some",
            Self::File { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run the import as a user who may read the file, or copy it to where Lyceum's user may"
            }
            Self::File { .. } => return None,
        };
        Some(text.to_owned())
    }
}
