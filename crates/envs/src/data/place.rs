//! The place of shared data, in which something is complete or not there at all.
//!
//! ```text
//! data/nltk               what everybody sees
//! data/.nltk.new          what is gathered, or what was there before; removed by the next run
//! data/.nltk.old          what was there before, on file systems that cannot exchange two folders in one step
//! data/.nltk.downloads    what has been downloaded so far; goes with the end of a run
//! data/.nltk.lock         held by whoever changes it
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, fsync, renameat_with, statvfs, syncfs};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::stamp::{DataStamp, Found, find};
use super::{DataError, Rights, rights};

/// What is left free on a file system, in bytes.
const RESERVE: u64 = 64 << 20;

/// A place that this process alone may change.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    parent: PathBuf,
    name: String,
    /// A download that nothing goes on with.
    passing: Option<PathBuf>,
    _lock: File,
}

impl Place {
    /// Takes a place, and makes the folder in which it is.
    pub(super) fn take(path: &Path) -> Result<Self, DataError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        else {
            return Err(DataError::BadSource {
                text: path.display().to_string(),
                why: "it is no place for a folder",
            });
        };
        make_folder(parent)?;
        let data = fs::metadata(parent).map_err(DataError::io("look at", parent))?;
        // Whoever can rename what is in it could have us write elsewhere.
        let place = parent.to_owned();
        match (data.uid() == geteuid().as_raw(), data.mode() & 0o022 == 0) {
            (true, true) => {}
            (false, true) if !geteuid().is_root() => {
                return Err(DataError::NotMine { path: place });
            }
            _ => {
                return Err(DataError::Exposed { path: place });
            }
        }
        let lock = parent.join(format!(".{name}.lock"));
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock)
            .map_err(DataError::io("write", &lock))?;
        match file.try_lock() {
            Ok(()) => {
                let place = Self {
                    path: path.to_owned(),
                    parent: parent.to_owned(),
                    name: name.to_owned(),
                    passing: None,
                    _lock: file,
                };
                place.bring_back()?;
                Ok(place)
            }
            Err(TryLockError::WouldBlock) => Err(DataError::Busy {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(DataError::io("lock", &lock)(error)),
        }
    }

    /// Puts back what a run that was killed halfway through an exchange has moved aside, or removes it if the new is there.
    fn bring_back(&self) -> Result<(), DataError> {
        match fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Its files would have two names for ever.
            Ok(_) if matches!(find(&self.path)?, Found::Data(_)) => {
                return remove_all(&self.hidden("old"));
            }
            Ok(_) => return Ok(()),
            Err(error) => return Err(DataError::io("look at", &self.path)(error)),
        }
        match fs::rename(self.hidden("old"), &self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DataError::io("bring back", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there, if it may be replaced.
    pub(super) fn replaceable(&self) -> Result<Option<DataStamp>, DataError> {
        match find(&self.path)? {
            Found::Nothing => Ok(None),
            Found::Data(stamp) => Ok(Some(stamp)),
            Found::Other => Err(DataError::NotOurs {
                path: self.path.clone(),
            }),
        }
    }

    /// An empty folder that nobody else can enter, for what is gathered. Removes what a killed run has left. Blocks.
    pub(super) fn stage(&self) -> Result<PathBuf, DataError> {
        let stage = self.hidden("new");
        remove_all(&stage)?;
        DirBuilder::new()
            .mode(0o700)
            .create(&stage)
            .map_err(DataError::io("make the folder", &stage))?;
        Ok(stage)
    }

    /// A folder for downloads, with what a run that was broken off has left.
    pub(super) fn downloads(&self) -> Result<PathBuf, DataError> {
        let folder = self.hidden("downloads");
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(DataError::io("make the folder", &folder))?;
        Ok(folder)
    }

    /// A file among the downloads that is not kept if it is not made use of: no later run could go on with it.
    pub(super) fn passing_download(&mut self, name: &str) -> Result<PathBuf, DataError> {
        let file = self.downloads()?.join(name);
        self.passing = Some(file.clone());
        Ok(file)
    }

    /// Refuses what would not fit.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), DataError> {
        let found = statvfs(&self.parent)
            .map_err(io::Error::from)
            .map_err(DataError::io("look at the space of", &self.parent))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        let needed = bytes.saturating_add(RESERVE);
        if free >= needed {
            return Ok(());
        }
        Err(DataError::DiskFull {
            path: self.parent.clone(),
            free_mib: free >> 20,
            needed_mib: needed >> 20,
        })
    }

    /// Puts what was gathered into its place, all at once. Blocks until it is on the disk.
    ///
    /// Killed before the exchange, the old is there, after it the new; the next run removes what is left of the other.
    pub(super) fn commit(self, stamp: &DataStamp, rights: &Rights) -> Result<(), DataError> {
        let stage = self.hidden("new");
        stamp.write(&stage)?;
        open_to_all(&stage)?;
        rights::apply(&stage, rights, false)?;
        let folder = File::open(&stage).map_err(DataError::io("read", &stage))?;
        syncfs(&folder)
            .map_err(io::Error::from)
            .map_err(DataError::io("write", &stage))?;
        self.exchange(&stage)?;
        let parent = File::open(&self.parent).map_err(DataError::io("read", &self.parent))?;
        fsync(&parent)
            .map_err(io::Error::from)
            .map_err(DataError::io("write", &self.parent))?;
        remove_all(&stage)?;
        remove_all(&self.hidden("downloads"))
    }

    /// Leaves what is there, as it is what was wished for, but with these rights, and nothing beside it. Blocks.
    pub(super) fn leave(&self, rights: &Rights) -> Result<(), DataError> {
        rights::apply(&self.path, rights, false)?;
        remove_all(&self.hidden("downloads"))
    }

    fn exchange(&self, stage: &Path) -> Result<(), DataError> {
        let rename = |from: &Path, to: &Path, flags| renameat_with(CWD, from, CWD, to, flags);
        let path = self.path.as_path();
        let mut done = rename(stage, path, RenameFlags::EXCHANGE);
        if done == Err(Errno::NOENT) {
            done = rename(stage, path, RenameFlags::NOREPLACE);
        }
        if matches!(done, Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) {
            // A file system that cannot do it in one step, such as NFS: for a moment there is nothing.
            let old = self.hidden("old");
            remove_all(&old)?;
            let moved = rename(path, &old, RenameFlags::empty());
            done = match moved {
                Ok(()) | Err(Errno::NOENT) => rename(stage, path, RenameFlags::empty()),
                failed => failed,
            };
            if done.is_err() {
                // If that fails, too, it stays where it is, for the next run to bring it back.
                let _ = rename(&old, path, RenameFlags::empty());
            } else {
                remove_all(&old)?;
            }
        }
        match done {
            Ok(()) => Ok(()),
            Err(Errno::BUSY | Errno::XDEV) => Err(DataError::Mounted {
                path: self.path.clone(),
            }),
            Err(error) => Err(DataError::io("replace", path)(error.into())),
        }
    }

    fn hidden(&self, what: &str) -> PathBuf {
        self.parent.join(format!(".{}.{what}", self.name))
    }
}

impl Drop for Place {
    /// What was not finished is not left to fill the disk.
    fn drop(&mut self) {
        let _ = remove_all(&self.hidden("new"));
        if let Some(file) = &self.passing {
            let _ = remove_all(file);
            // Others' halves may be there.
            let _ = fs::remove_dir(self.hidden("downloads"));
        }
    }
}

/// Tells whether something is left of a change that was broken off; not while it is going on. Blocks.
pub fn is_unfinished(path: &Path) -> bool {
    let is_there = |what| hidden(path, what).is_some_and(|left| left.exists());
    if !["new", "old", "downloads"].into_iter().any(is_there) {
        return false;
    }
    let lock = hidden(path, "lock").and_then(|lock| File::open(lock).ok());
    // Whoever may not look at the lock cannot tell, and does not claim anything.
    lock.is_some_and(|lock| lock.try_lock_shared().is_ok())
}

/// The name of what lies beside a place.
fn hidden(path: &Path, what: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    Some(path.with_file_name(format!(".{name}.{what}")))
}

/// Makes a folder for shared folders, and those above it, for everybody to read. Blocks.
pub fn make_folder(path: &Path) -> Result<(), DataError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(DataError::io("make the folder", path))
}

/// Removes data that we have put somewhere, and what is left of a change that was broken off; gives what it was. Blocks.
pub fn remove(path: &Path) -> Result<DataStamp, DataError> {
    // Not made here, if there is nothing to remove.
    let is_left = |what| hidden(path, what).is_some_and(|left| left.exists());
    if find(path)? == Found::Nothing && !["new", "old", "downloads"].into_iter().any(is_left) {
        return Err(DataError::Missing {
            path: path.to_owned(),
        });
    }
    let place = Place::take(path)?;
    let Some(stamp) = place.replaceable()? else {
        remove_all(&place.hidden("downloads"))?;
        return Ok(DataStamp::default());
    };
    // Otherwise it would be brought back.
    remove_all(&place.hidden("old"))?;
    let aside = place.hidden("new");
    remove_all(&aside)?;
    match renameat_with(CWD, path, CWD, &aside, RenameFlags::NOREPLACE) {
        Err(Errno::BUSY | Errno::XDEV) => {
            return Err(DataError::Mounted {
                path: path.to_owned(),
            });
        }
        done => done
            .map_err(io::Error::from)
            .map_err(DataError::io("remove", path))?,
    }
    remove_all(&aside)?;
    remove_all(&place.hidden("downloads"))?;
    Ok(stamp)
}

/// Whatever root's umask was, everybody may read what is below; who may come in, the rights of the folder itself say.
fn open_to_all(path: &Path) -> Result<(), DataError> {
    let entries = fs::read_dir(path).map_err(DataError::io("read", path))?;
    for entry in entries {
        let entry = entry.map_err(DataError::io("read", path))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(DataError::io("look at", &path))?;
        let mode = if kind.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(DataError::io("change the mode of", &path))?;
        if kind.is_dir() {
            open_to_all(&path)?;
        }
    }
    Ok(())
}

pub(super) fn remove_all(path: &Path) -> Result<(), DataError> {
    let done = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DataError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
