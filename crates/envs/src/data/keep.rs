//! Keeps packages that are there, beside those that are new: the files get another name instead of being copied, as they
//! never change.
//!
//! Root does this, and everybody may read what comes of it. So whatever lies where the record says is taken only if nobody
//! else could have put it there: no link is followed, and nothing is touched that others own, could write, or name.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, linkat, open, openat, statat};
use rustix::io::Errno;

use super::index::is_name;
use super::stamp::is_ours;
use super::{DataError, Package};

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Puts a package of `from` into the stage. Tells whether there was anything. Blocks.
pub(super) fn keep(from: &Path, package: &Package, stage: &Path) -> Result<bool, DataError> {
    let path = from.join(&package.place);
    let Some((subdir, name)) = parts(package) else {
        return Err(DataError::Changed { path });
    };
    let Some(top) = folder(open(from, FOLDER, Mode::empty()), from)? else {
        return Ok(false);
    };
    let above = from.join(subdir);
    let Some(above) = folder(openat(&top, subdir, FOLDER, Mode::empty()), &above)? else {
        return Ok(false);
    };
    let target = stage.join(subdir);
    fs::create_dir_all(&target).map_err(DataError::io("make the folder", &target))?;
    let names = Names {
        from: path,
        to: target.join(name),
    };
    link(&above, name, &names)
}

/// The folder and the name of a package in it, if its place is one where we put packages.
fn parts(package: &Package) -> Option<(&str, &str)> {
    let (subdir, name) = package.place.split_once('/')?;
    let id = name.strip_suffix(".zip").unwrap_or(name);
    let is_its_own = name == package.id || id == package.id;
    (is_name(subdir) && is_name(name) && is_its_own).then_some((subdir, name))
}

/// Where something is, and where it will be, too.
#[derive(Debug)]
struct Names {
    from: PathBuf,
    to: PathBuf,
}

/// Its depth is bounded by what was unpacked, as the folders are ours.
fn link(
    above: &OwnedFd,
    name: impl rustix::path::Arg + Copy,
    names: &Names,
) -> Result<bool, DataError> {
    let Names { from, to } = names;
    let stat = match statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        // Somebody has removed it; it can be added again.
        Err(Errno::NOENT) => return Ok(false),
        stat => stat.map_err(|error| DataError::io("look at", from)(error.into()))?,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        // Another name would be that of a file elsewhere, whose mode is changed along with this one.
        FileType::RegularFile if is_ours(&stat) && stat.st_nlink == 1 => {
            linkat(above, name, CWD, to, AtFlags::empty())
                .map_err(|error| DataError::io("link", from)(error.into()))?;
        }
        FileType::Directory => {
            let opened = openat(above, name, FOLDER, Mode::empty());
            let Some(opened) = folder(opened, from)? else {
                return Ok(false);
            };
            fs::create_dir_all(to).map_err(DataError::io("make the folder", to))?;
            let failed = |error: Errno| DataError::io("read", from)(error.into());
            for entry in Dir::read_from(&opened).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                if name == c"." || name == c".." {
                    continue;
                }
                let text = name.to_string_lossy();
                let names = Names {
                    from: from.join(&*text),
                    to: to.join(&*text),
                };
                link(&opened, name, &names)?;
            }
        }
        _ => return Err(DataError::Changed { path: from.clone() }),
    }
    Ok(true)
}

/// A folder that was opened, if it is there; refuses those that are not ours.
fn folder(opened: Result<OwnedFd, Errno>, path: &Path) -> Result<Option<OwnedFd>, DataError> {
    let changed = || DataError::Changed {
        path: path.to_owned(),
    };
    let failed = |error: Errno| DataError::io("read", path)(error.into());
    let opened = match opened {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(changed()),
        opened => opened.map_err(failed)?,
    };
    if is_ours(&fstat(&opened).map_err(failed)?) {
        Ok(Some(opened))
    } else {
        Err(changed())
    }
}
