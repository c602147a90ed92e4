//! Copies a folder that its owner may be changing meanwhile: no link is followed, and what is copied is what was looked at.
//!
//! Root does this, and everybody may read the copy, so that one link to a file of root's would give that away.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use super::{Amount, Bounds, Output};
use crate::data::DataError;

/// Copies the files of a folder. Blocks.
pub(in crate::data) fn copy(source: &Path, target: &Path, limit: u64) -> Result<Amount, DataError> {
    copy_all(source, target, limit).map_err(|error| match error {
        DataError::BadArchive { what, why } => DataError::BadFolder { what, why },
        error => error,
    })
}

fn copy_all(source: &Path, target: &Path, limit: u64) -> Result<Amount, DataError> {
    let what = source.display().to_string();
    let bounds = Bounds {
        bytes: limit,
        below: None,
    };
    // With a slash at its end, a link would be followed.
    let top: PathBuf = source.components().collect();
    let mut copy = Copy {
        top: &top,
        owner: 0,
        output: Output::new(&what, target, bounds),
    };
    let folder = match openat(CWD, &top, flags() | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Err(copy.output.bad("it is no folder itself; name the folder"));
        }
        opened => opened.map_err(|error| copy.failed(Path::new(""), error))?,
    };
    let about = fstat(&folder).map_err(|error| copy.failed(Path::new(""), error))?;
    copy.owner = about.st_uid;
    copy.folder(&folder, Path::new(""))?;
    Ok(copy.output.amount)
}

/// A pipe is not waited for.
fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC
}

struct Copy<'a> {
    top: &'a Path,
    owner: u32,
    output: Output<'a>,
}

impl Copy<'_> {
    /// Its depth is bounded by what the output takes.
    fn folder(&mut self, folder: &OwnedFd, path: &Path) -> Result<(), DataError> {
        let entries = Dir::read_from(folder).map_err(|error| self.failed(path, error))?;
        for entry in entries {
            let entry = entry.map_err(|error| self.failed(path, error))?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                self.entry(folder, name, &path.join(name))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, name: &OsStr, path: &Path) -> Result<(), DataError> {
        let text = path
            .to_str()
            .ok_or_else(|| self.output.bad(&format!("{} is no text", path.display())))?;
        let seen = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| self.failed(path, error))?;
        // Devices are not even opened.
        self.check_kind(text, &seen)?;
        let opened = match openat(folder, name, flags(), Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO) => return Err(self.strange(text)),
            opened => opened.map_err(|error| self.failed(path, error))?,
        };
        // What was opened may be another than what was seen.
        let about = fstat(&opened).map_err(|error| self.failed(path, error))?;
        if self.check_kind(text, &about)? {
            self.output.folder(text)?;
            return self.folder(&opened, path);
        }
        // Another name of somebody else's file would hand that out just as a link would.
        if about.st_nlink > 1 && about.st_uid != self.owner {
            return Err(self.output.bad(&format!(
                "`{text}` has several names, and belongs to another account than the folder"
            )));
        }
        self.output.file(text, &mut File::from(opened), false)
    }

    /// Tells whether it is a folder, and refuses what is neither that nor a file.
    fn check_kind(&self, text: &str, about: &Stat) -> Result<bool, DataError> {
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory => Ok(true),
            FileType::RegularFile => Ok(false),
            _ => Err(self.strange(text)),
        }
    }

    fn strange(&self, text: &str) -> DataError {
        self.output
            .bad(&format!("`{text}` is neither a file nor a folder"))
    }

    fn failed(&self, path: &Path, error: Errno) -> DataError {
        DataError::io("read", &self.top.join(path))(error.into())
    }
}
