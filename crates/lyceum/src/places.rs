//! The folders of a running Lyceum: made when missing, for their owner only.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use lyceum_core::random;
use nix::unistd::{Uid, geteuid};

use crate::cli::Report;

/// The longest path of a folder for sockets: a socket's whole path may have 107 bytes.
const RUNTIME_DIR_BYTES: usize = 70;

/// Makes a folder that only its owner can enter, and checks that it can be written to.
pub(crate) fn own_folder(path: &Path, what: &str) -> Result<(), Report> {
    let failed = |doing: &str, error: &io::Error| {
        Report::text(format!(
            "error: could not {doing} {} ({what})\n  caused by: {error}",
            path.display()
        ))
        .hint(hint(path, error))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("make the folder", &error))?;
    let data = fs::metadata(path).map_err(|error| failed("look at the folder", &error))?;
    let others = data.permissions().mode() & 0o002 != 0;
    if data.uid() != geteuid().as_raw() || others {
        return Err(Report::text(format!(
            "error: {} ({what}) belongs to another user, or everybody can write to it",
            path.display()
        ))
        .hint("whoever can change it could run programs as this user: choose another folder, or `chown` and `chmod o-w` it"));
    }
    let probe = path.join(format!(".writable-{}", random::hex(4)));
    File::create_new(&probe)
        .and_then(|mut file| file.write_all(b"x"))
        .map_err(|error| {
            let _ = fs::remove_file(&probe);
            failed("write to the folder", &error)
        })?;
    let _ = fs::remove_file(&probe);
    Ok(())
}

/// Holds a folder for one Lyceum, as long as it lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Takes a data folder for this process alone: two hubs on one would end each other's servers.
pub(crate) fn lock_folder(path: &Path) -> Result<FolderLock, Report> {
    lock_folder_or(path, "end it first, or choose another data folder")
}

/// Does the same, and says what to do if another Lyceum has it.
pub(crate) fn lock_folder_or(path: &Path, if_used: &str) -> Result<FolderLock, Report> {
    let lock = path.join("lyceum.lock");
    let failed = |error: &io::Error| {
        Report::text(format!(
            "error: could not lock {}\n  caused by: {error}",
            lock.display()
        ))
        .hint(hint(path, error))
    };
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock)
        .map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let by = if holder.is_empty() {
                String::new()
            } else {
                format!(" (process {holder})")
            };
            return Err(Report::text(format!(
                "error: another Lyceum{by} uses {} already",
                path.display()
            ))
            .hint(if_used));
        }
        Err(fs::TryLockError::Error(error)) => return Err(failed(&error)),
    }
    // The number is for people; the lock itself is what counts.
    let written = file
        .set_len(0)
        .and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(|error| failed(&error))?;
    Ok(FolderLock { _file: file })
}

fn hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "choose another folder, or give this user the right to write there".to_owned()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make space on the disk of {}", path.display())
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            format!("there is a file in the way: look at {}", path.display())
        }
        _ => "choose another folder".to_owned(),
    }
}

/// Gives the folder for sockets of a demo: inside its data folder, or, if that has too long a path, below
/// the user's own runtime folder.
pub(crate) fn demo_runtime_dir(data_dir: &Path) -> Result<PathBuf, Report> {
    let inside = data_dir.join("run");
    if inside.as_os_str().len() <= RUNTIME_DIR_BYTES {
        own_folder(&inside, "sockets of servers")?;
        return Ok(inside);
    }
    let user = geteuid();
    let base = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute() && is_private(dir, user))
        .unwrap_or_else(|| PathBuf::from(format!("/tmp/lyceum-{user}")));
    let outside = base.join("lyceum").join(fingerprint(data_dir));
    own_folder(&outside, "sockets of servers")?;
    // In a folder that everybody may write to, somebody else may have been there first.
    for folder in [
        Some(base.as_path()),
        outside.parent(),
        Some(outside.as_path()),
    ]
    .into_iter()
    .flatten()
    {
        if !is_private(folder, user) {
            return Err(Report::text(format!(
                "error: {} is not this user's own private folder",
                folder.display()
            ))
            .hint("remove it, or choose a data folder with a shorter path"));
        }
    }
    Ok(outside)
}

fn is_private(path: &Path, user: Uid) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| {
        data.is_dir()
            && data.uid() == user.as_raw()
            && data.permissions().mode().trailing_zeros() >= 6
    })
}

/// A short name for a path, the same each time.
fn fingerprint(path: &Path) -> String {
    // FNV-1a: stable across versions of the standard library, and nothing secret depends on it.
    let bytes = path.as_os_str().as_encoded_bytes();
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Reads a secret from a file, or makes one and writes it there, for the owner only.
pub(crate) fn secret_file(path: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret = make();
    let temporary = path.with_extension(format!("new-{}", random::hex(4)));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = file
        .write_all(format!("{secret}\n").as_bytes())
        .and_then(|()| file.sync_all());
    written
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        assert_eq!(secret_file(&path, || "first".to_owned()).unwrap(), "first");
        assert_eq!(secret_file(&path, || "second".to_owned()).unwrap(), "first");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_long_data_folder_has_its_sockets_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("x".repeat(100));
        let runtime = demo_runtime_dir(&deep).unwrap();
        assert!(
            runtime.as_os_str().len() <= RUNTIME_DIR_BYTES,
            "{}",
            runtime.display()
        );
        assert!(is_private(&runtime, geteuid()));
        assert_eq!(runtime, demo_runtime_dir(&deep).unwrap());
        let _ = fs::remove_dir(&runtime);
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(own_folder(folder.path(), "data").is_err());
    }

    #[test]
    fn a_folder_is_for_one_lyceum_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock_folder(folder.path()).unwrap();
        assert!(lock_folder(folder.path()).is_err());
        drop(first);
        assert!(lock_folder(folder.path()).is_ok());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "x").unwrap();
        assert!(own_folder(&path.join("data"), "data").is_err());
    }
}
