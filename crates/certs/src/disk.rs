//! Files for the owner alone, written whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::LazyLock;

use crate::trouble::{Trouble, TroubleKind};

/// What the temporary files of [`write_private`] begin with.
const TEMPORARY: &str = ".new-";

/// What those of this process go on with: it may be writing one while another part of it clears away.
static MARK: LazyLock<String> = LazyLock::new(|| lyceum_core::random::hex(4));

/// Makes a folder that only its owner can enter, with those above it.
pub(crate) fn make_folder(path: &Path) -> Result<(), Trouble> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("make the folder", path, &error))
}

/// Writes a file with mode 0600. Whoever looks, and whenever the machine ends, sees the old content or the new one; when
/// this returns, the new one stays.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> Result<(), Trouble> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let one = lyceum_core::random::hex(4);
    let temporary = folder.join(format!("{TEMPORARY}{}-{one}-{name}", *MARK));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&temporary);
        failed("write", path, &error)
    })
}

/// Reads a file; `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Trouble> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Reads a file that may be no text; `None` if there is none.
pub(crate) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<(), Trouble> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Removes what an end in the middle of [`write_private`] has left, also in folders below.
pub(crate) fn clear_away(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            clear_away(&entry.path());
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_other = |rest: &str| !rest.starts_with(MARK.as_str());
        if name.strip_prefix(TEMPORARY).is_some_and(is_other) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Tells what could not be done with a file.
pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> Trouble {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied if path.starts_with("/etc/letsencrypt") => {
            "certbot makes its files for root alone; as root, with the name of Lyceum's account: `setfacl -R -m \
             u:ACCOUNT:rX /etc/letsencrypt/live /etc/letsencrypt/archive`, and the same with `-d` for those to come"
                .to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            // What is not there yet, or behind a folder that is closed, has no rights to look at.
            let mut upwards = path.ancestors();
            let seen = upwards.find(|path| path.symlink_metadata().is_ok());
            format!(
                "give the account that Lyceum runs under the right to it: `ls -ld {}`",
                seen.unwrap_or(path).display()
            )
        }
        io::ErrorKind::NotFound => "check the path".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make space on the disk of {}", path.display())
        }
        _ => format!("look at {}", path.display()),
    };
    Trouble::new(
        TroubleKind::Files,
        format!("could not {doing} {}", path.display()),
        hint,
    )
    .because(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_written_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/file");
        assert_eq!(read(&path).unwrap(), None);
        for text in ["first", "second"] {
            write_private(&path, text.as_bytes()).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(text));
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        fs::write(path.parent().unwrap().join(".new-0000-file"), "half").unwrap();
        clear_away(folder.path());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[test]
    fn the_place_whose_rights_are_wrong_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let trouble = failed("write", &folder.path().join("deep/file"), &denied);
        let order = format!("`ls -ld {}`", folder.path().display());
        assert!(trouble.hint.contains(&order), "{}", trouble.hint);
    }
}
