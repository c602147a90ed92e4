//! Takes an installed environment over from the account that built it, and shares with older generations what is the
//! same in them.
//!
//! A hard link shares owner and mode, so nothing is ever linked that the builder could write to: each file is compared
//! with the one at the same place in a finished generation, which is ours, and that one is linked; what is new is copied.
//! The installer's cache is not linked to at all.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, futimens};

use super::build::LOCK_NAME;
use super::inside::{Finished, Links, check_name};
use super::tree::{Entry, walk};
use super::user_site;
use crate::error::EnvError;
use crate::generations;

/// The folder in which Python keeps byte-code.
const BYTE_CODE: &str = "__pycache__";

/// Which files of an installed environment are the same in a finished one: the path below the environment, and the other
/// file.
pub(crate) type Same = BTreeMap<PathBuf, PathBuf>;

/// How much there is, and how much of it is shared with older generations, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: u64,
    pub(crate) shared: u64,
}

/// Compares an installed environment with finished ones. Blocks.
pub(crate) fn find_same(
    staged: &Path,
    owner: Option<u32>,
    finished: &[PathBuf],
) -> Result<Same, EnvError> {
    let mut same = Same::new();
    let mut finished: Vec<_> = finished.iter().map(|one| Finished::new(one)).collect();
    walk(staged, owner, &mut |entry| {
        if let Entry::File {
            path,
            mut file,
            stat,
        } = entry
        {
            for other in &mut finished {
                if is_same(&mut file, &stat, other.open(path)) {
                    same.insert(path.to_owned(), other.path(path));
                    break;
                }
            }
        }
        Ok(())
    })?;
    Ok(same)
}

/// The byte-code of the sources that are the same: the finished file, and its place below the environment.
///
/// It says of no time and of no place that its source has (see [`crate::python::tune`]), so that it is good for both.
pub(crate) fn byte_code_of(same: &Same) -> Vec<(PathBuf, PathBuf)> {
    let mut found = Vec::new();
    for (path, other) in same {
        let (Some(stem), true) = (path.file_stem(), path.extension() == Some(OsStr::new("py")))
        else {
            continue;
        };
        let (Some(folder), Some(from)) = (path.parent(), other.parent()) else {
            continue;
        };
        for entry in fs::read_dir(from.join(BYTE_CODE))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            // `x.cpython-311.pyc` is that of `x.py`, and `x.y.cpython-311.pyc` is not.
            let rest = name
                .as_encoded_bytes()
                .strip_prefix(stem.as_encoded_bytes())
                .unwrap_or_default();
            if rest.starts_with(b".cpython-") && rest.ends_with(b".pyc") {
                found.push((entry.path(), folder.join(BYTE_CODE).join(&name)));
            }
        }
    }
    found
}

/// Makes `target` from what was installed in `staged`. Blocks.
///
/// With `owner`, that account may still be writing there: everything that is not shared is copied, and all that is made
/// is ours, with modes that let nobody else write. Without, the files are ours and are moved. The only link that leads out
/// is that to the interpreter, whose real path is `interpreter`. After a failure, `target` has to be removed.
pub(crate) fn take_over(
    staged: &Path,
    target: &Path,
    owner: Option<u32>,
    interpreter: &Path,
    same: &Same,
) -> Result<Taken, EnvError> {
    let fail = |path: &Path, source| EnvError::Io {
        doing: "write",
        path: target.join(path),
        source,
    };
    make_folder(target).map_err(|source| fail(Path::new(""), source))?;
    let mut taken = Taken::default();
    let mut count = |size: u64, is_shared: bool| {
        taken.bytes += size;
        taken.shared += if is_shared { size } else { 0 };
    };
    // Made when all else is there: so nothing is written to where a link leads.
    let mut links = Vec::new();
    walk(staged, owner, &mut |entry| match entry {
        Entry::Folder(path) => make_folder(&target.join(path)).map_err(|source| fail(path, source)),
        Entry::Link { path, target: to } => {
            check_ours(path)?;
            links.push((path.to_owned(), to));
            Ok(())
        }
        Entry::File {
            path,
            mut file,
            stat,
        } => {
            check_ours(path)?;
            let to = target.join(path);
            if let Some(other) = same.get(path)
                && link(other, &to).map_err(|source| fail(path, source))?
            {
                count(size(&stat), true);
                return Ok(());
            }
            count(size(&stat), false);
            let executable = stat.st_mode & 0o100 != 0;
            let moved = owner.is_none() && stat.st_nlink == 1;
            let written = if moved {
                fs::rename(staged.join(path), &to)
                    .and_then(|()| fs::set_permissions(&to, mode(executable)))
            } else {
                copy(&mut file, &stat, &to, executable)
            };
            written.map_err(|source| fail(path, source))
        }
    })?;
    let mut allowed = Links::new(target, interpreter);
    let mut made = Vec::new();
    for (path, to) in links {
        let to = allowed.target(&path, to)?;
        symlink(to, target.join(&path)).map_err(|source| fail(&path, source))?;
        made.push(path);
    }
    for path in &made {
        allowed.check(path)?;
    }
    Ok(taken)
}

/// Refuses what stands where we write something ourselves.
fn check_ours(path: &Path) -> Result<(), EnvError> {
    if path.parent() == Some(Path::new("")) {
        check_name(
            path,
            &[LOCK_NAME, generations::STAMP, generations::STAMP_DRAFT],
        )?;
    }
    check_name(path, &[user_site::NAME])
}

fn mode(executable: bool) -> Permissions {
    Permissions::from_mode(if executable { 0o755 } else { 0o644 })
}

fn size(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Makes a folder that everybody can read, whatever the umask is.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn copy(from: &mut File, stat: &rustix::fs::Stat, to: &Path, executable: bool) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(from, &mut file)?;
    file.set_permissions(mode(executable))?;
    // Servers tell browsers how old a file is.
    let time = Timespec {
        tv_sec: stat.st_mtime,
        tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    futimens(&file, &times).map_err(io::Error::from)
}

/// Links a file; `false` if the file system cannot, so that it has to be copied.
fn link(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(true),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::TooManyLinks
                    | io::ErrorKind::CrossesDevices
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::Unsupported
                    // It went meanwhile: the generation was removed.
                    | io::ErrorKind::NotFound
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether a finished file has the same content and the same mode.
fn is_same(
    file: &mut File,
    stat: &rustix::fs::Stat,
    other: Option<(File, rustix::fs::Stat)>,
) -> bool {
    other.is_some_and(|(mut other, data)| {
        data.st_size == stat.st_size
            && (data.st_mode & 0o100) == (stat.st_mode & 0o100)
            && same_content(file, &mut other).unwrap_or(false)
    })
}

fn same_content(left: &mut File, right: &mut File) -> io::Result<bool> {
    use std::io::Seek as _;
    left.rewind()?;
    let (mut one, mut two) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = left.read(&mut one)?;
        if count == 0 {
            return Ok(right.read(&mut two)? == 0);
        }
        let (Some(read), Some(expected)) = (two.get_mut(..count), one.get(..count)) else {
            return Ok(false);
        };
        match right.read_exact(read) {
            Ok(()) if *read == *expected => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
