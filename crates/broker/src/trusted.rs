//! Paths that nobody but root, or whoever runs this, can lead elsewhere, on this machine.
//!
//! Reads nothing of what the files hold.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

pub(crate) use lyceum_core::trusted::NotTrusted;
use lyceum_core::trusted::{self, Seen, Us};

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
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().canonicalize().unwrap();
        fs::create_dir_all(path.join("a/b")).unwrap();
        fs::write(path.join("a/b/file"), "").unwrap();
        (base, path)
    }

    #[test]
    fn links_are_followed_as_the_kernel_does() {
        let (_base, path) = place();
        symlink("a", path.join("relative")).unwrap();
        symlink(path.join("relative/b"), path.join("absolute")).unwrap();
        symlink("../a/./b/../b/file", path.join("a/up")).unwrap();
        let file = path.join("a/b/file");
        for way in ["a/b/file", "relative/b/file", "absolute/file", "a/up"] {
            assert_eq!(real_path(&path.join(way)).unwrap(), file, "{way}");
            assert_eq!(path.join(way).canonicalize().unwrap(), file, "{way}");
        }
        symlink("loop", path.join("loop")).unwrap();
        assert!(real_path(&path.join("loop")).is_err());
        assert!(real_path(&path.join("missing")).unwrap_err().is_absent());
        assert!(real_path(Path::new("a/b")).is_err());
    }

    #[test]
    fn what_others_can_change_is_not_followed() {
        let refused = |change: &dyn Fn(&Path)| {
            let (_base, path) = place();
            change(&path);
            let error = real_path(&path.join("a/b/file")).unwrap_err();
            assert!(matches!(error, NotTrusted::Others(_)), "{error:?}");
        };
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        refused(&|path| mode(&path.join("a"), 0o777).unwrap());
        refused(&|path| mode(&path.join("a/b/file"), 0o646).unwrap());
        let (_base, path) = place();
        // As in /tmp: others can put things beside it, and change nothing.
        mode(&path.join("a"), 0o1777).unwrap();
        real_path(&path.join("a/b/file")).unwrap();
        assert!(
            rustix::process::geteuid().is_root(),
            "this test has to be run as root"
        );
        refused(&|path| chown(path.join("a/b"), Some(12_345), None).unwrap());
        refused(&|path| {
            chown(path.join("a/b"), None, Some(12_345)).unwrap();
            mode(&path.join("a/b"), 0o775).unwrap();
        });
        refused(&|path| {
            let link = path.join("a/b/file");
            fs::remove_file(&link).unwrap();
            symlink("/etc/passwd", &link).unwrap();
            std::os::unix::fs::lchown(&link, Some(12_345), None).unwrap();
        });
    }
}
