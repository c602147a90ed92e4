//! Paths that nobody but root, or whoever runs this, can lead elsewhere: resolved step by step, each step looked at.
//!
//! Reads nothing of what the files hold.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// How many links one path may go over, as in the kernel.
const MAX_LINKS: usize = 40;
/// In a folder with this bit, others change nothing but what is theirs.
const STICKY: u32 = 0o1000;

/// Why a path is not followed.
#[derive(Debug)]
pub(crate) enum NotTrusted {
    /// Somebody else can change what is there.
    Others(PathBuf),
    /// It cannot be looked at.
    Io(PathBuf, io::Error),
}

impl NotTrusted {
    /// Whether there is nothing at the path.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Gives the path without links, if nobody else can change anything on the way. Takes an absolute one. Blocks for moments.
///
/// Sound without descriptors: what root's folders hold cannot be swapped by others between the look and the use.
pub(crate) fn real_path(path: &Path) -> Result<PathBuf, NotTrusted> {
    let fail = |errno: Errno| NotTrusted::Io(path.to_owned(), errno.into());
    if !path.is_absolute() {
        return Err(fail(Errno::INVAL));
    }
    let mut real = PathBuf::from("/");
    look(&real)?;
    let mut steps = steps(path);
    let mut links = 0;
    while let Some(step) = steps.pop() {
        if step == ".." {
            real.pop();
            continue;
        }
        let next = real.join(step);
        if !look(&next)?.is_symlink() {
            real = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(fail(Errno::LOOP));
        }
        let target = fs::read_link(&next).map_err(|error| NotTrusted::Io(next, error))?;
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        steps.extend(self::steps(&target));
    }
    Ok(real)
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

/// Looks at one step, which is root's or ours, and which others cannot write to.
fn look(path: &Path) -> Result<Metadata, NotTrusted> {
    let metadata = fs::symlink_metadata(path);
    let metadata = metadata.map_err(|error| NotTrusted::Io(path.to_owned(), error))?;
    let (user, group) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let ours = metadata.uid() == 0 || metadata.uid() == user;
    let shared = metadata.gid() != 0 && metadata.gid() != group;
    let mode = metadata.mode();
    let open = mode & 0o002 != 0 || shared && mode & 0o020 != 0;
    // The mode of a link says nothing; its folder says who can change it.
    let closed = !open || metadata.is_symlink() || metadata.is_dir() && mode & STICKY != 0;
    if ours && closed {
        Ok(metadata)
    } else {
        Err(NotTrusted::Others(path.to_owned()))
    }
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
        if !rustix::process::geteuid().is_root() {
            return;
        }
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
