//! Refuses what the broker would not start: a Python that others than root could change.
//!
//! Only root's environments are for all; anybody else's are their own affair. The broker, which this crate does not know,
//! looks at the same by the same rule of core.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lyceum_core::trusted::{self, NotTrusted, Seen, Us};

use crate::error::EnvError;

/// Refuses a path that others could lead elsewhere, when we are root. Blocks for moments.
pub(crate) fn check(path: &Path) -> Result<(), EnvError> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    match real_path(path) {
        Ok(_) => Ok(()),
        Err(NotTrusted::Others(path)) => Err(EnvError::Unsafe {
            path,
            what: "can be changed by others than root, so that no server would start from there"
                .to_owned(),
        }),
        Err(NotTrusted::Io(path, source)) => Err(EnvError::Io {
            doing: "look at",
            path,
            source,
        }),
    }
}

/// Gives the path without links, if nobody else can change anything on the way. Takes an absolute one. Blocks for moments.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, NotTrusted> {
    let us = Us {
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    trusted::real_path(path, us, |path| {
        let data = fs::symlink_metadata(path)?;
        let link = data.is_symlink().then(|| fs::read_link(path)).transpose()?;
        Ok(Seen {
            uid: data.uid(),
            gid: data.gid(),
            mode: data.mode(),
            is_folder: data.is_dir(),
            link,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_python_that_others_could_change_is_refused_to_root() {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test has to be run as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("python");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("python3"), "").unwrap();
        symlink(folder.join("python3"), dir.path().join("link")).unwrap();
        check(&dir.path().join("link")).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o775)).unwrap();
        check(&dir.path().join("link")).unwrap();
        std::os::unix::fs::chown(&folder, None, Some(12_345)).unwrap();
        let error = check(&dir.path().join("link")).unwrap_err();
        assert!(error.to_string().contains("others than root"), "{error}");
        assert!(error.hint().unwrap().contains("chmod go-w"), "{error}");
    }
}
