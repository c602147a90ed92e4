//! Copies what a home folder begins with. Runs as the owner of the home.

use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// How much is copied at most: it is meant for some small files.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 256 * 1024 * 1024;
const MAX_DEPTH: usize = 16;

/// Copies files, folders and links from a folder of root's into a new one. One that does not exist is empty.
pub(super) fn copy(from: &Path, to: &OwnedFd) -> io::Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    let mut left = Left {
        entries: MAX_ENTRIES,
        bytes: MAX_BYTES,
    };
    copy_folder(from, to, 0, &mut left)
}

struct Left {
    entries: usize,
    bytes: u64,
}

fn copy_folder(from: &Path, to: impl AsFd, depth: usize, left: &mut Left) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other("its folders are too deep"));
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        left.entries = left
            .entries
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("there are too many files in it"))?;
        let (path, name) = (entry.path(), entry.file_name());
        let metadata = fs::symlink_metadata(&path)?;
        let mode = Mode::from_raw_mode(metadata.permissions().mode() & 0o777);
        if metadata.is_symlink() {
            rustix::fs::symlinkat(fs::read_link(&path)?, &to, &name)?;
        } else if metadata.is_dir() {
            rustix::fs::mkdirat(&to, &name, Mode::from_raw_mode(0o700))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = rustix::fs::openat(&to, &name, flags, Mode::empty())?;
            copy_folder(&path, &inner, depth + 1, left)?;
            rustix::fs::fchmod(&inner, mode)?;
        } else if metadata.is_file() {
            left.bytes = left
                .bytes
                .checked_sub(metadata.size())
                .ok_or_else(|| io::Error::other("the files in it are too large"))?;
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let new = rustix::fs::openat(&to, &name, flags, Mode::from_raw_mode(0o600))?;
            let mut new = fs::File::from(new);
            io::copy(&mut fs::File::open(&path)?.take(metadata.size()), &mut new)?;
            rustix::fs::fchmod(&new, mode)?;
        }
    }
    Ok(())
}
