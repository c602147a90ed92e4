//! A folder that shall hold exactly these files and links.
//!
//! Knows nothing of kernels. Each file is replaced as a whole; what a reader sees in between is old or new, never half.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use crate::error::EnvError;

/// How a file is named until it is whole; no wanted file ends like that.
const DRAFT: &str = ".new";

/// What shall be where, by path below the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    items: BTreeMap<PathBuf, Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    File { bytes: Vec<u8>, mode: u32 },
    Link(PathBuf),
}

impl Tree {
    pub(super) fn file(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let item = Item::File { bytes, mode: 0o644 };
        self.items.insert(path.into(), item);
    }

    pub(super) fn program(&mut self, path: &str, text: &str) {
        let bytes = text.into();
        let item = Item::File { bytes, mode: 0o755 };
        self.items.insert(path.into(), item);
    }

    pub(super) fn link(&mut self, path: &str, target: PathBuf) {
        self.items.insert(path.into(), Item::Link(target));
    }

    /// Whether the folder holds exactly this.
    pub(super) fn is_at(&self, folder: &Path) -> Result<bool, EnvError> {
        let mut there = Vec::new();
        list(folder, Path::new(""), &mut there)?;
        Ok(there.iter().all(|path| self.items.contains_key(path))
            && self
                .items
                .iter()
                .all(|(path, item)| item.is_at(&folder.join(path))))
    }

    /// Writes what differs and removes the rest; returns whether anything did.
    pub(super) fn write(&self, folder: &Path) -> Result<bool, EnvError> {
        let mut changed = false;
        for (path, item) in &self.items {
            let at = folder.join(path);
            if !item.is_at(&at) {
                create_folders(folder, path)?;
                item.put(&at)
                    .map_err(|source| failed("write", &at, source))?;
                changed = true;
            }
        }
        let mut there = Vec::new();
        list(folder, Path::new(""), &mut there)?;
        for path in there.iter().filter(|path| !self.items.contains_key(*path)) {
            let at = folder.join(path);
            fs::remove_file(&at).map_err(|source| failed("remove", &at, source))?;
            remove_empty_folders(folder, path);
            changed = true;
        }
        Ok(changed)
    }
}

impl Item {
    fn is_at(&self, path: &Path) -> bool {
        match self {
            Self::Link(target) => fs::read_link(path).is_ok_and(|there| there == *target),
            Self::File { bytes, mode } => {
                let same_mode = |about: fs::Metadata| {
                    about.is_file() && about.permissions().mode() & 0o7777 == *mode
                };
                fs::symlink_metadata(path).is_ok_and(same_mode)
                    && fs::read(path).is_ok_and(|there| there == *bytes)
            }
        }
    }

    fn put(&self, path: &Path) -> io::Result<()> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(DRAFT);
        let draft = path.with_file_name(name);
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match self {
            Self::Link(target) => symlink(target, &draft)?,
            Self::File { bytes, mode } => {
                let mut file = File::create_new(&draft)?;
                file.set_permissions(Permissions::from_mode(*mode))?;
                file.write_all(bytes)?;
                file.sync_all()?;
            }
        }
        // A folder in the way is an older layout's, or nobody's.
        if fs::symlink_metadata(path).is_ok_and(|about| about.is_dir()) {
            fs::remove_dir_all(path)?;
        }
        fs::rename(&draft, path)
    }
}

/// Lists what is in the folder, other than folders, by path below it.
fn list(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), EnvError> {
    let here = folder.join(below);
    let fail = |source| failed("read", &here, source);
    let entries = match fs::read_dir(&here) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(fail(source)),
    };
    for entry in entries {
        let entry = entry.map_err(fail)?;
        let path = below.join(entry.file_name());
        if entry.file_type().map_err(fail)?.is_dir() {
            list(folder, &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Makes the folders above a file, so that everybody may enter them, whatever the caller's umask.
fn create_folders(folder: &Path, path: &Path) -> Result<(), EnvError> {
    let mut above: Vec<_> = path
        .ancestors()
        .skip(1)
        .map(|one| folder.join(one))
        .collect();
    above.reverse();
    for one in above {
        let made = match fs::create_dir_all(&one) {
            // A file or link in the way, from an older layout.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory
                ) =>
            {
                fs::remove_file(&one).and_then(|()| fs::create_dir(&one))
            }
            other => other,
        };
        made.and_then(|()| fs::set_permissions(&one, Permissions::from_mode(0o755)))
            .map_err(|source| failed("create the folder", &one, source))?;
    }
    Ok(())
}

/// Removes the folders above a removed file that are empty now.
fn remove_empty_folders(folder: &Path, path: &Path) {
    for above in path
        .ancestors()
        .skip(1)
        .filter(|one| !one.as_os_str().is_empty())
    {
        if fs::remove_dir(folder.join(above)).is_err() {
            return;
        }
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> EnvError {
    EnvError::Io {
        doing,
        path: path.to_owned(),
        source,
    }
}
