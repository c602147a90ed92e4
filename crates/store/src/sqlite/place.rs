//! The place of a database file: its directory, the files beside it, and the lock that says it is in use.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::open::OpenError;

/// The first bytes of every database of SQLite 3.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a lock says to other processes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Lock {
    /// The database is in use; others may use it too.
    Shared,
    /// The database is being replaced; nobody else may use it.
    Alone,
}

/// A database file that may be there, in a directory that is fit for it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    file: PathBuf,
    directory: PathBuf,
}

impl Place {
    /// Checks the directory; the file itself need not exist.
    pub(super) async fn check(path: &Path) -> Result<Self, OpenError> {
        let path = path.to_owned();
        blocking(move || {
            // A link is followed, so that a new file replaces its target and not the link.
            let file = fs::canonicalize(&path)
                .or_else(|_| std::path::absolute(&path))
                .unwrap_or(path);
            let directory = match file.parent() {
                Some(parent) if parent != Path::new("") => parent.to_owned(),
                _ => PathBuf::from("."),
            };
            match fs::metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(OpenError::NotWritable {
                        path: directory,
                        source: io::ErrorKind::NotADirectory.into(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(OpenError::NoDirectory { directory });
                }
                Err(source) => {
                    return Err(OpenError::NotWritable {
                        path: directory,
                        source,
                    });
                }
            }
            check_file_system(&directory)?;
            Ok(Self { file, directory })
        })
        .await
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file beside the database: its path with something added.
    pub(super) fn beside(&self, addition: &str) -> PathBuf {
        let mut path = self.file.clone().into_os_string();
        path.push(addition);
        path.into()
    }

    /// Whether there is a database. An empty file counts as none; anything else in its place is an error.
    pub(super) async fn has_database(&self) -> Result<bool, OpenError> {
        let place = self.clone();
        blocking(move || place.has_database_now()).await
    }

    fn has_database_now(&self) -> Result<bool, OpenError> {
        let found = match fs::metadata(&self.file) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.refuse_lonely_journal().map(|()| false);
            }
            Err(source) => return Err(self.failed("look at", source)),
        };
        if !found.is_file() {
            return Err(OpenError::NotAFile {
                path: self.file.clone(),
            });
        }
        if found.len() == 0 {
            return self.refuse_lonely_journal().map(|()| false);
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.file)
            .map_err(|source| self.not_writable(self.file.clone(), source))?;
        let mut start = [0; MAGIC.len()];
        let magic = file.read_exact(&mut start).is_ok() && &start == MAGIC;
        if !magic {
            return Err(OpenError::NotADatabase {
                path: self.file.clone(),
            });
        }
        Ok(true)
    }

    /// Warns if others can read what we keep. Some sites want that, for backups; so it is no error.
    pub(super) async fn warn_if_public(&self) {
        let Ok(found) = tokio::fs::metadata(&self.file).await else {
            return;
        };
        let mode = found.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                path = %self.file.display(),
                mode = format_args!("{mode:03o}"),
                "other users of this machine can read or change the database: chmod 600 would stop them"
            );
        }
    }

    /// A journal would be played into whatever new file takes the place of its own: that destroys both.
    fn refuse_lonely_journal(&self) -> Result<(), OpenError> {
        for addition in ["-wal", "-journal"] {
            let journal = self.beside(addition);
            if fs::metadata(&journal).is_ok_and(|found| found.len() > 0) {
                return Err(OpenError::LonelyJournal {
                    path: self.file.clone(),
                    journal,
                });
            }
        }
        Ok(())
    }

    /// Takes a lock, if nobody stands against it; it lasts until the file is dropped.
    ///
    /// It is on a file of its own: closing any other handle of the database would free SQLite's locks.
    pub(super) async fn try_lock(&self, lock: Lock) -> Result<Option<File>, OpenError> {
        let place = self.clone();
        blocking(move || {
            let path = place.beside(".lock");
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|source| place.not_writable(path, source))?;
            let locked = match lock {
                Lock::Shared => file.try_lock_shared(),
                Lock::Alone => file.try_lock(),
            };
            match locked {
                Ok(()) => Ok(Some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(source)) => Err(place.failed("lock", source)),
            }
        })
        .await
    }

    /// An error of writing something new in the directory.
    pub(super) fn not_writable(&self, path: PathBuf, source: io::Error) -> OpenError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full {
                directory: self.directory.clone(),
            },
            _ if path == self.file => OpenError::NotWritable { path, source },
            _ => OpenError::NotWritable {
                path: self.directory.clone(),
                source,
            },
        }
    }

    /// An error of doing something with the database file.
    pub(super) fn failed(&self, doing: &'static str, source: io::Error) -> OpenError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full {
                directory: self.directory.clone(),
            },
            _ => OpenError::File {
                doing,
                path: self.file.clone(),
                source,
            },
        }
    }
}

/// Runs what may block on the disk, away from the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpenError> + Send + 'static,
) -> Result<T, OpenError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(OpenError::File {
                doing: "finish the work on",
                path: PathBuf::new(),
                source: io::ErrorKind::Interrupted.into(),
            }),
        },
    }
}

fn check_file_system(directory: &Path) -> Result<(), OpenError> {
    let Ok(found) = rustix::fs::statfs(directory) else {
        // No answer is no reason to refuse: writing will tell.
        return Ok(());
    };
    // The type is an integer of different width and sign on different machines; the magic has 32 bits.
    match network_file_system(found.f_type & 0xffff_ffff) {
        Some(kind) => Err(OpenError::NetworkFileSystem {
            directory: directory.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

/// The file systems of other machines, on which SQLite's locks and shared memory do not work
/// (magic numbers of `statfs(2)`; <https://sqlite.org/wal.html>, "Overview").
fn network_file_system(magic: i64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 | 0x517b => "SMB",
        0x5346_414f => "AFS",
        0x0bd0_0bd0 => "Lustre",
        0x00c3_6400 => "Ceph",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        0x0102_1997 => "9p",
        0x7375_7245 => "Coda",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_other_machines_are_known() {
        assert_eq!(network_file_system(0x6969), Some("NFS"));
        assert_eq!(network_file_system(0xff53_4d42), Some("CIFS"));
        // ext4, XFS, Btrfs, tmpfs, overlay
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(network_file_system(local), None);
        }
    }
}
