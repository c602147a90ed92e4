//! Walks through a tree of files that another account may be changing meanwhile: no link is followed, and what does not
//! belong to that account is not looked into.
//!
//! Nothing is written here.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;

use crate::error::EnvError;

/// How deep folders may be inside of each other.
const MAX_DEPTH: usize = 100;

/// Something in the tree, with its path below the top.
#[derive(Debug)]
pub(crate) enum Entry<'a> {
    /// A folder; what is in it comes next.
    Folder(&'a Path),
    /// A file, opened for reading.
    File {
        path: &'a Path,
        file: File,
        stat: Stat,
    },
    /// A symbolic link.
    Link { path: &'a Path, target: PathBuf },
}

/// Visits everything below `top`. With `owner`, only what belongs to that account is let through.
pub(crate) fn walk(
    top: &Path,
    owner: Option<u32>,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), EnvError>,
) -> Result<(), EnvError> {
    let folder = openat(CWD, top, folder_flags(), Mode::empty())
        .map_err(|error| failed(top, Path::new(""), error))?;
    let mut walk = Walk { top, owner, visit };
    walk.folder(&folder, &mut PathBuf::new(), 0)
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn failed(top: &Path, path: &Path, error: Errno) -> EnvError {
    EnvError::Io {
        doing: "read",
        path: top.join(path),
        source: error.into(),
    }
}

fn strange(path: &Path, what: &str) -> EnvError {
    EnvError::Strange {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

struct Walk<'a> {
    top: &'a Path,
    owner: Option<u32>,
    visit: &'a mut dyn FnMut(Entry<'_>) -> Result<(), EnvError>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        folder: &OwnedFd,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), EnvError> {
        if depth > MAX_DEPTH {
            return Err(strange(path, "its folders are too deep"));
        }
        let fail = |path: &Path, error| failed(self.top, path, error);
        let mut names = Vec::new();
        for entry in Dir::read_from(folder).map_err(|error| fail(path, error))? {
            let entry = entry.map_err(|error| fail(path, error))?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.sort();
        // One that is renamed meanwhile may be read twice.
        names.dedup();
        for name in names {
            path.push(&name);
            self.entry(folder, &name, path, depth)?;
            path.pop();
        }
        Ok(())
    }

    fn entry(
        &mut self,
        folder: &OwnedFd,
        name: &OsStr,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), EnvError> {
        let top = self.top;
        let fail = |path: &Path, error| failed(top, path, error);
        let seen =
            statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| fail(path, error))?;
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::Symlink => {
                let target =
                    readlinkat(folder, name, Vec::new()).map_err(|error| fail(path, error))?;
                let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
                (self.visit)(Entry::Link { path, target })
            }
            FileType::Directory => {
                let inner = openat(folder, name, folder_flags(), Mode::empty())
                    .map_err(|error| fail(path, error))?;
                self.owned(path, &fstat(&inner).map_err(|error| fail(path, error))?)?;
                (self.visit)(Entry::Folder(path))?;
                self.folder(&inner, path, depth + 1)
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = openat(folder.as_fd(), name, flags, Mode::empty())
                    .map_err(|error| fail(path, error))?;
                // What was opened may be another than what was seen.
                let stat = fstat(&file).map_err(|error| fail(path, error))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                    return Err(strange(path, "it is no ordinary file"));
                }
                self.owned(path, &stat)?;
                (self.visit)(Entry::File {
                    path,
                    file: file.into(),
                    stat,
                })
            }
            _ => Err(strange(path, "it is no ordinary file")),
        }
    }

    /// A hard link to somebody else's file would hand that out to everybody.
    fn owned(&self, path: &Path, stat: &Stat) -> Result<(), EnvError> {
        if self.owner.is_some_and(|owner| stat.st_uid != owner) {
            return Err(strange(path, "it belongs to another account"));
        }
        Ok(())
    }
}
