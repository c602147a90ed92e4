//! What can go wrong with shared data, with the likely cause and the next step.

use std::io;
use std::path::{Path, PathBuf};

use lyceum_core::size::about;
use thiserror::Error;

/// Why shared data could not be put into its place, looked at, or removed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
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
    /// There is not enough room.
    #[error("{} has {free_mib} MiB left, and the data needs {needed_mib} MiB", path.display())]
    DiskFull {
        /// A folder on the file system.
        path: PathBuf,
        /// What is free, in MiB.
        free_mib: u64,
        /// What is needed, in MiB.
        needed_mib: u64,
    },
    /// An address is none that data can come from.
    #[error("`{text}` cannot be a source: {why}")]
    BadSource {
        /// As it was given, without what may be secret.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Whoever runs us may not change the place.
    #[error("{} belongs to somebody else", path.display())]
    NotMine {
        /// The folder above the place.
        path: PathBuf,
    },
    /// Others could lead us elsewhere.
    #[error("others can change what is in {}, so data there would not be safe", path.display())]
    Exposed {
        /// The folder above the place.
        path: PathBuf,
    },
    /// Nobody knows what comes over an open connection.
    #[error("{url} needs a checksum, as anybody on the way can change what comes over http://")]
    NoSum {
        /// The address, without what may be secret.
        url: String,
    },
    /// A checksum is none, or cannot be that of anything.
    #[error("--sha256 cannot be used: {why}")]
    BadSum {
        /// What is wrong.
        why: &'static str,
    },
    /// A folder holds what is not copied.
    #[error("{what} cannot be copied: {why}")]
    BadFolder {
        /// The folder.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A download failed.
    #[error("could not download {url}: {why}")]
    Download {
        /// The address, without what may be secret.
        url: String,
        /// What happened.
        why: String,
        /// Whether the other side has answered: then the network is not to blame.
        answered: bool,
    },
    /// Something is larger than it may be.
    #[error("{what} is larger than {}", about(*limit))]
    TooLarge {
        /// What it is.
        what: String,
        /// How large it may be, in bytes.
        limit: u64,
    },
    /// A file is not the one that was expected.
    #[error("the checksum of {what} is {found}, and not {expected}")]
    Checksum {
        /// The file.
        what: String,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// An index of packages is none.
    #[error("the index {what} cannot be used: {why}")]
    BadIndex {
        /// Where it is.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The index does not have what was asked for.
    #[error("the index has no {}", quoted(names))]
    NoSuchPackage {
        /// What was asked for.
        names: Vec<String>,
        /// What it has of similar names.
        similar: Vec<String>,
    },
    /// An archive is none, or holds what is not unpacked.
    #[error("{what} cannot be unpacked: {why}")]
    BadArchive {
        /// The archive.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The place is used for something else.
    #[error("{} holds something that was not put there by `lyceum data add`", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
    },
    /// What is there may have been put there by others.
    #[error("{} is not as `lyceum data add` puts it there, so it cannot be kept", path.display())]
    Changed {
        /// The file or folder.
        path: PathBuf,
    },
    /// The place cannot be exchanged.
    #[error("{} cannot be replaced, as something is mounted there", path.display())]
    Mounted {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works at the same data.
    #[error("another process changes {}", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// There is no data there.
    #[error("there is no data in {}", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// Accounts or groups do not exist.
    #[error("this machine has no {what} {}", quoted(names))]
    Unknown {
        /// `account` or `group`.
        what: &'static str,
        /// Their names.
        names: Vec<String>,
    },
    /// The file system cannot say what the configuration says.
    #[error("the file system of {} has no access control lists, and modes cannot say who may use it", path.display())]
    NoLists {
        /// The folder.
        path: PathBuf,
    },
}

impl DataError {
    /// What a person can do about it, as one sentence; `None` if nothing better than the message comes to mind.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io {
                doing: "make the folder",
                path,
                source,
            } if source.kind() == io::ErrorKind::NotFound => {
                let above = path.parent().unwrap_or(path);
                format!("make {} first, for root alone to change", above.display())
            }
            Self::Io { path, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "do it as root, with sudo".to_owned(),
                io::ErrorKind::NotConnected | io::ErrorKind::StaleNetworkFileHandle => {
                    "look whether what is mounted there is to be reached".to_owned()
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a place on another file system".to_owned()
                }
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    format!("make room on the file system of {}", path.display())
                }
                _ => return None,
            },
            Self::DiskFull { path, .. } => {
                format!("make room on the file system of {}", path.display())
            }
            Self::BadSource { .. } => {
                "name a folder, an archive, or an address that begins with https://".to_owned()
            }
            Self::NotMine { .. } => "do it as root, with sudo".to_owned(),
            Self::Exposed { .. } => {
                "choose a folder with `path` in the configuration that is in one which only root can change".to_owned()
            }
            Self::NoSum { .. } => {
                "tell the SHA-256 of the archive with --sha256, or use an address that begins with https://".to_owned()
            }
            Self::BadSum { .. } => {
                "it has the 64 digits that `sha256sum FILE` tells of an archive".to_owned()
            }
            Self::BadFolder { .. } => {
                "only files and folders are copied, as links could lead to what is not meant for all: take it out, or \
                 put in its place what is meant"
                    .to_owned()
            }
            Self::Download { answered: false, .. } => {
                "check the network connection and try again: what has been downloaded is kept. Behind a proxy set \
                 https_proxy; without a network fetch it elsewhere and name the file with --from"
                    .to_owned()
            }
            Self::Download { .. } => "check the address given with --from".to_owned(),
            Self::TooLarge { .. } => "if it is the right one, allow more with --max-size".to_owned(),
            Self::Checksum { .. } => {
                "try again; if it is the same again, the source has changed or cannot be trusted".to_owned()
            }
            Self::BadIndex { .. } => {
                "--from takes the address of an index.xml, or a folder or zip file with one".to_owned()
            }
            Self::NoSuchPackage { similar, .. } if !similar.is_empty() => {
                format!("it has {}", quoted(similar))
            }
            Self::NoSuchPackage { .. } => {
                "the names are those of nltk.download(), such as punkt or stopwords".to_owned()
            }
            Self::BadArchive { .. } => {
                "zip files and tar archives (plain, .gz, .zst) of files and folders can be unpacked; unpack others \
                 yourself, and name the folder with --from"
                    .to_owned()
            }
            Self::NotOurs { path } => format!(
                "move {} away, or choose another place with `path` in the configuration",
                path.display()
            ),
            Self::Changed { .. } => {
                "look at who has put it there; `lyceum data remove` removes all, to be added again".to_owned()
            }
            Self::Mounted { .. } => {
                "choose a folder below it with `path` in the configuration".to_owned()
            }
            Self::Busy { .. } => "wait until it is done, and try again".to_owned(),
            Self::Missing { .. } => return None,
            Self::Unknown { what: "group", names } => match names.first() {
                Some(name) => format!("make it with `groupadd {name}`"),
                None => return None,
            },
            Self::Unknown { .. } => "check the name".to_owned(),
            Self::NoLists { .. } => {
                "mount it with the option `acl`, or let one group write and everybody read".to_owned()
            }
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

fn quoted(names: &[String]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}
