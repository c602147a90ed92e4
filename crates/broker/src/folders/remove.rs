//! Removing a folder in which somebody else can make links, folders and files, also while it is being removed.
//!
//! Every step goes by a descriptor and follows no link. Each folder becomes root's before it is looked into, so that
//! its owner cannot change it any more; other file systems are not entered; deep folders are moved up instead of
//! climbed into, so that no depth is too much.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode};
use rustix::io::Errno;

use super::DIRECTORY;

/// How deep we go before folders are moved up.
const MAX_DEPTH: usize = 16;
/// How often a folder is looked through again because something has appeared in it meanwhile.
const MAX_ROUNDS: usize = 100;
/// How often at all: an owner who makes folders faster than they are moved does not keep us for ever.
const MAX_MOVING_ROUNDS: usize = 100_000;

/// Removes a folder, or whatever is in its place, in a folder of root's.
pub(super) fn remove(parent: impl AsFd, name: &str) -> io::Result<()> {
    let top = match rustix::fs::openat(&parent, name, DIRECTORY, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        // A link, or a file.
        Err(Errno::LOOP | Errno::NOTDIR) => {
            return Ok(rustix::fs::unlinkat(&parent, name, AtFlags::empty())?);
        }
        Err(error) => return Err(error.into()),
    };
    let mut removal = Removal {
        device: rustix::fs::fstat(&top)?.st_dev,
        top: top.try_clone()?,
        moved: 0,
    };
    close(&top)?;
    let (mut rounds, mut idle_rounds) = (0, 0);
    while idle_rounds < MAX_ROUNDS && rounds < MAX_MOVING_ROUNDS {
        rounds += 1;
        let before = removal.moved;
        removal.empty(&top, 0)?;
        idle_rounds = if removal.moved > before {
            0
        } else {
            idle_rounds + 1
        };
        match rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR) {
            // Something was moved up, or moved in before the folder was closed.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::other("the folder does not become empty"))
}

/// Makes a folder ours, so that nobody else can change what is in it.
fn close(folder: &OwnedFd) -> io::Result<()> {
    let own = rustix::process::geteuid();
    rustix::fs::fchown(folder, Some(own), None)?;
    rustix::fs::fchmod(folder, Mode::from_raw_mode(0o700))?;
    Ok(())
}

struct Removal {
    device: u64,
    top: OwnedFd,
    moved: u64,
}

impl Removal {
    fn empty(&mut self, folder: &OwnedFd, depth: usize) -> io::Result<()> {
        let entries = match Dir::read_from(folder) {
            // Somebody else removes it, too, and was faster.
            Err(Errno::NOENT) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = match entry {
                Err(Errno::NOENT) => return Ok(()),
                entry => entry?,
            };
            let name = entry.file_name();
            if name.to_bytes() == b"." || name.to_bytes() == b".." {
                continue;
            }
            if entry.file_type() != FileType::Directory {
                match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => continue,
                    // A folder by now.
                    Err(Errno::ISDIR | Errno::PERM) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if depth >= MAX_DEPTH {
                self.moved += 1;
                let up = format!("moved-{}", self.moved);
                match rustix::fs::renameat(folder, name, &self.top, &up) {
                    // Where the account has that name already, the next round takes another.
                    Ok(()) | Err(Errno::NOENT | Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let inner = match rustix::fs::openat(folder, name, DIRECTORY, Mode::empty()) {
                Ok(inner) => inner,
                // Gone, or a link by now: the next round sees what it is.
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
                Err(error) => return Err(error.into()),
            };
            if rustix::fs::fstat(&inner)?.st_dev != self.device {
                return Err(io::Error::other(
                    "another file system is mounted in the folder",
                ));
            }
            close(&inner)?;
            self.empty(&inner, depth + 1)?;
            match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
