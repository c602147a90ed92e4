//! What can go wrong with R, with the next step.

use std::io::ErrorKind;
use std::path::PathBuf;

use thiserror::Error;

use super::diagnosis;
use crate::error::{Cause, EnvError};

/// Why something about R could not be done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RError {
    /// What goes wrong with Python, too: files, locks, programs.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// There is no R where it was looked for.
    #[error("found no R{}", .asked.as_deref().map(|asked| format!(" that is {asked}")).unwrap_or_default())]
    NoR {
        /// The version or the path that was asked for.
        asked: Option<String>,
        /// What there is.
        found: Vec<String>,
    },
    /// A list of packages cannot be read.
    #[error("{}:{line}: {problem}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there, and what was expected.
        problem: String,
    },
    /// A lock file cannot be used.
    #[error("{}: {problem}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A lock file is for another series of R.
    #[error("{} is for R {locked}, and this is R {wanted}", path.display())]
    OtherR {
        /// The lock file.
        path: PathBuf,
        /// The version that it is for.
        locked: String,
        /// The series that is built for.
        wanted: String,
    },
    /// A lock file was made from another list.
    #[error("{} was made from another list than there is now", path.display())]
    StaleLock {
        /// The lock file.
        path: PathBuf,
    },
    /// There is no such package in the list.
    #[error("{name} is not in {}", path.display())]
    NotListed {
        /// The package.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// There is no such package in the list, nor in the library.
    #[error("{name} is neither in the list of packages nor in the library")]
    NotThere {
        /// The package.
        name: String,
    },
    /// A package repository cannot be reached.
    #[error("the package repository {repository} cannot be reached: {reason}")]
    Offline {
        /// Its address.
        repository: String,
        /// What R said.
        reason: String,
    },
    /// There is no such generation.
    #[error("there is no generation {number} in {}", path.display())]
    NoGeneration {
        /// Its number.
        number: u32,
        /// The folder of the library.
        path: PathBuf,
    },
    /// There is nothing that could be switched to.
    #[error("there is no other generation in {}", path.display())]
    NothingBefore {
        /// The folder of the library.
        path: PathBuf,
    },
    /// Packages that are needed are not in a generation.
    #[error("generation {number} lacks packages that are required: {}", missing.join(", "))]
    Incomplete {
        /// Its number.
        number: u32,
        /// The packages.
        missing: Vec<String>,
    },
    /// A package left something in its folder that is no file of its own, folder or link.
    #[error("{} is neither a file of the account that builds, nor a folder or a link", path.display())]
    StrangeFile {
        /// The thing.
        path: PathBuf,
    },
    /// A package has a link that leads elsewhere.
    #[error("{} is a link to {}, which leads out of its package or to nothing", path.display(), target.display())]
    LeadsOut {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Our lines in a file of R's were changed by hand.
    #[error("the lines of Lyceum in {} have no end", path.display())]
    BrokenBlock {
        /// The file.
        path: PathBuf,
        /// The first of the lines.
        begin: &'static str,
    },
    /// What a program of ours answered makes no sense.
    #[error("could not understand what R answered: {answer}")]
    Answer {
        /// The line.
        answer: String,
    },
}

impl RError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Env(EnvError::Step { cause, tail, log, .. }) => {
                match diagnosis::find(tail.lines()) {
                    _ if matches!(cause, Cause::AptBusy | Cause::AptInterrupted) => {
                        return cause.hint();
                    }
                    Some(found) => found.advice,
                    None if *cause == Cause::DiskFull => {
                        "make room on the disk and try again: `lyceum env r gc` removes old generations".into()
                    }
                    None => format!("read {}", log.display()),
                }
            }
            Self::Env(EnvError::Io { path, source, .. })
                if source.kind() == ErrorKind::PermissionDenied =>
            {
                // What is to be made is not there yet: then its folder tells whose it is.
                let there = path.ancestors().find(|one| one.exists()).unwrap_or(path);
                format!("run the command as the owner of {}, which is root on most servers", there.display())
            }
            Self::Env(EnvError::Io { path, source, .. }) => match source.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!(
                    "make room on the file system of {}: `lyceum env r gc` removes old generations",
                    path.display()
                ),
                ErrorKind::ReadOnlyFilesystem => {
                    format!("the file system of {} is mounted read-only", path.display())
                }
                _ => return None,
            },
            Self::Env(error) => return error.server_hint(),
            Self::NoR { found, .. } if found.is_empty() => {
                "install one, on Debian and Ubuntu: apt install r-base-core r-base-dev".into()
            }
            Self::NoR { found, .. } => format!("there is {}", found.join(", ")),
            Self::List { .. } => "`docs/r.md` shows how the file is written".into(),
            Self::Lock { .. } => "build without --from-lock, which writes a new lock file".into(),
            Self::OtherR { .. } => {
                "build without --from-lock, which writes a new lock file; or name that R in `env.r.NAME.r`".into()
            }
            Self::StaleLock { .. } => {
                "build without --from-lock, which chooses what is new and keeps the rest".into()
            }
            Self::NotListed { .. } => {
                "packages that others need come and go with them; only listed ones can be removed".into()
            }
            Self::Offline { .. } => {
                "check the network connection and the addresses in `repositories`, and try again: what has been \
                 downloaded is kept. Behind a proxy set https_proxy"
                    .into()
            }
            Self::NoGeneration { .. } => "`lyceum env r list` shows what there is".into(),
            Self::NothingBefore { .. } => {
                "`lyceum env r list` shows what there is, and `lyceum env r build` builds one".into()
            }
            Self::NotThere { .. } => "`lyceum env r add` adds a package".into(),
            Self::Incomplete { .. } => {
                "mend what failed and build again, or mark these packages with `required = false`".into()
            }
            Self::StrangeFile { .. } | Self::LeadsOut { .. } => "take the package that has it out of the list".into(),
            Self::BrokenBlock { path, begin } => {
                format!("take the line `{begin}` and what belongs to it out of {}", path.display())
            }
            Self::Answer { .. } => return None,
        })
    }

    /// The last lines of the failed program's output, if there was one.
    pub fn details(&self) -> Option<&str> {
        match self {
            Self::Env(error) => error.details(),
            _ => None,
        }
    }
}

/// Makes an error of a file operation.
pub(super) fn io(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(std::io::Error) -> RError {
    let path = path.into();
    move |source| {
        RError::Env(EnvError::Io {
            doing,
            path,
            source,
        })
    }
}
