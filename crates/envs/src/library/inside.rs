//! Paths inside of an environment: links that stay in it, files that are reached over no link, and files that are new.
//!
//! What a builder has left in the environment was put there by anybody; nothing here trusts a name.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use lyceum_core::trusted::{MAX_LINKS, steps};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::EnvError;

/// The links of an environment that is being made, and its interpreter.
#[derive(Debug)]
pub(crate) struct Links<'a> {
    /// The environment; nobody else writes to it.
    prefix: &'a Path,
    /// The interpreter, with all links resolved: the one place outside to which a link may lead.
    interpreter: &'a Path,
    /// The links that lead there.
    outward: BTreeSet<PathBuf>,
}

impl<'a> Links<'a> {
    pub(crate) fn new(prefix: &'a Path, interpreter: &'a Path) -> Self {
        Self {
            prefix,
            interpreter,
            outward: BTreeSet::new(),
        }
    }

    /// What a link shall hold: its own target, or, where it is the interpreter, that one's real path. On another way
    /// there could be a link of somebody's who leads it elsewhere later.
    pub(crate) fn target(&mut self, path: &Path, target: PathBuf) -> Result<PathBuf, EnvError> {
        if !target.is_absolute() {
            return Ok(target);
        }
        let is_python = path.parent() == Some(Path::new("bin"))
            && path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"python"));
        if is_python
            && target
                .canonicalize()
                .is_ok_and(|real| real == self.interpreter)
        {
            self.outward.insert(path.to_owned());
            return Ok(self.interpreter.to_owned());
        }
        Err(leads_out(path, &target))
    }

    /// Follows a link that was made, as the kernel does, and refuses it if any step leaves the environment or nothing is
    /// there. Links are looked at when all are made: two that stay can lead out together.
    pub(crate) fn check(&self, path: &Path) -> Result<(), EnvError> {
        let refuse = || {
            let target = fs::read_link(self.prefix.join(path)).unwrap_or_default();
            leads_out(path, &target)
        };
        let mut here = PathBuf::new();
        let mut steps = steps(path);
        let mut links = 0;
        while let Some(step) = steps.pop() {
            if step == ".." {
                if !here.pop() {
                    return Err(refuse());
                }
                continue;
            }
            here.push(step);
            let at = self.prefix.join(&here);
            let data = fs::symlink_metadata(&at).map_err(|_| refuse())?;
            if !data.is_symlink() {
                continue;
            }
            if self.outward.contains(&here) {
                return if steps.is_empty() {
                    Ok(())
                } else {
                    Err(refuse())
                };
            }
            links += 1;
            let target = fs::read_link(&at).map_err(|_| refuse())?;
            if links > MAX_LINKS || target.is_absolute() {
                return Err(refuse());
            }
            here.pop();
            steps.extend(self::steps(&target));
        }
        Ok(())
    }
}

fn leads_out(path: &Path, target: &Path) -> EnvError {
    EnvError::Strange {
        path: path.to_owned(),
        what: format!(
            "it is a link to {}, which leads out or to nothing",
            target.display()
        ),
    }
}

/// Opens the files of a finished environment over no link, and those only that belong to whom it belongs to.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    top: &'a Path,
    owner: u32,
    /// The folder that was opened last: files are asked for folder by folder.
    last: Option<(PathBuf, Option<OwnedFd>)>,
}

impl<'a> Finished<'a> {
    /// The environment at this path, which belongs to us.
    pub(crate) fn new(top: &'a Path) -> Self {
        Self {
            top,
            owner: rustix::process::geteuid().as_raw(),
            last: None,
        }
    }

    /// The path of a file below the environment.
    pub(crate) fn path(&self, below: &Path) -> PathBuf {
        self.top.join(below)
    }

    /// Opens a file; `None` if it is not there, or is not what it should be.
    pub(crate) fn open(&mut self, below: &Path) -> Option<(File, rustix::fs::Stat)> {
        let (parent, name) = (below.parent()?, below.file_name()?);
        if self.last.as_ref().is_none_or(|(path, _)| path != parent) {
            self.last = Some((parent.to_owned(), self.folder(parent)));
        }
        let (_, folder) = self.last.as_ref()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(folder.as_ref()?, name, flags, Mode::empty()).ok()?;
        let stat = fstat(&file).ok()?;
        let good = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && stat.st_uid == self.owner;
        good.then(|| (file.into(), stat))
    }

    fn folder(&self, below: &Path) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut folder = openat(CWD, self.top, flags, Mode::empty()).ok()?;
        for step in below.components() {
            let Component::Normal(name) = step else {
                return None;
            };
            folder = openat(&folder, name, flags, Mode::empty()).ok()?;
            if fstat(&folder).ok()?.st_uid != self.owner {
                return None;
            }
        }
        Some(folder)
    }
}

/// Writes a file of ours that nobody else has named: what stands there goes, and no link is followed. Everybody may read
/// it, whatever the umask is: a generation whose stamp the hub cannot read is none to it.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0))
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(bytes)?;
    Ok(file)
}

/// Opens an ordinary file, and not where a link leads; a pipe holds nobody up.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Errno::INVAL.into())
    }
}

/// Refuses names that only we use, whatever they stand for.
pub(crate) fn check_name(path: &Path, ours: &[&str]) -> Result<(), EnvError> {
    let is_ours = |name: &OsStr| ours.iter().any(|one| name == OsStr::new(one));
    if path.file_name().is_some_and(is_ours) {
        return Err(EnvError::Strange {
            path: path.to_owned(),
            what: "only Lyceum itself writes a file of that name".to_owned(),
        });
    }
    Ok(())
}
