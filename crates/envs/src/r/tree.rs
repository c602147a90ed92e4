//! Copies and links folders of packages, where the account that builds must not lead us elsewhere.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, linkat, mkdirat, openat, readlinkat, statat, symlinkat,
};

use super::error::{RError, io as fail};
use crate::library::Links;

/// How deep folders may lie in each other.
const DEPTH: usize = 100;

/// How the files of a tree get to their new place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As the same files: for what only we can change.
    Link,
    /// As new files of ours, from files of this account alone, if one is given: a link of its making to another's
    /// file is none of its files.
    Copy { owner: Option<u32> },
}

/// Makes `to` like the folder `from`. `to` must not exist. Blocks.
pub(super) fn transfer(from: &Path, to: &Path, how: How) -> Result<(), RError> {
    let source = open_folder(rustix::fs::CWD, from).map_err(fail("open", from))?;
    fs::create_dir(to).map_err(fail("create the folder", to))?;
    let target = open_folder(rustix::fs::CWD, to).map_err(fail("open", to))?;
    rustix::fs::fchmod(&target, Mode::from_raw_mode(0o755))
        .map_err(|error| fail("write", to)(error.into()))?;
    folder(&source, &target, from, how, 0)
}

fn open_folder(at: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

fn folder(
    from: &OwnedFd,
    to: &OwnedFd,
    shown: &Path,
    how: How,
    depth: usize,
) -> Result<(), RError> {
    let strange = |path: &Path| RError::StrangeFile {
        path: path.to_owned(),
    };
    if depth > DEPTH {
        return Err(strange(shown));
    }
    let entries = Dir::read_from(from).map_err(|error| fail("read", shown)(error.into()))?;
    for entry in entries {
        let entry = entry.map_err(|error| fail("read", shown)(error.into()))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let path = shown.join(name.to_string_lossy().as_ref());
        let failed = |error: rustix::io::Errno| fail("copy", &path)(error.into());
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let inner: PathBuf = name.to_string_lossy().as_ref().into();
                mkdirat(to, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
                let source = open_folder(from, &inner).map_err(fail("open", &path))?;
                let target = open_folder(to, &inner).map_err(fail("open", &path))?;
                rustix::fs::fchmod(&target, Mode::from_raw_mode(0o755)).map_err(failed)?;
                folder(&source, &target, &path, how, depth + 1)?;
            }
            FileType::RegularFile if how == How::Link => {
                linkat(from, name, to, name, AtFlags::empty()).map_err(failed)?;
            }
            FileType::RegularFile => {
                let owner = match how {
                    How::Copy { owner } => owner,
                    How::Link => None,
                };
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut source =
                    File::from(openat(from, name, flags, Mode::empty()).map_err(failed)?);
                // Opened is what counts: the name may lead elsewhere by now.
                let data = source.metadata().map_err(fail("copy", &path))?;
                if !data.is_file() || owner.is_some_and(|owner| owner != data.uid()) {
                    return Err(strange(&path));
                }
                let runs = stat.st_mode & 0o111 != 0;
                let mode = Mode::from_raw_mode(if runs { 0o755 } else { 0o644 });
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let mut target = File::from(openat(to, name, flags, mode).map_err(failed)?);
                io::copy(&mut source, &mut target).map_err(fail("copy", &path))?;
                rustix::fs::fchmod(&target, mode).map_err(failed)?;
            }
            FileType::Symlink => {
                let leads = readlinkat(from, name, Vec::new()).map_err(failed)?;
                symlinkat(&leads, to, name).map_err(failed)?;
            }
            _ => return Err(strange(&path)),
        }
    }
    Ok(())
}

/// Refuses a package with a link that leads out of it, on any way, or to nothing: whoever can change what is there would
/// decide what everybody's R loads. Nobody else may write to the package meanwhile. Blocks.
pub(super) fn check_links(package: &Path) -> Result<(), RError> {
    // Nothing outside is allowed, no interpreter either.
    let links = Links::new(package, Path::new(""));
    let mut pending = vec![(PathBuf::new(), 0)];
    while let Some((folder, depth)) = pending.pop() {
        let path = package.join(&folder);
        if depth > DEPTH {
            return Err(RError::StrangeFile { path });
        }
        for entry in fs::read_dir(&path).map_err(fail("read", &path))? {
            let entry = entry.map_err(fail("read", &path))?;
            let below = folder.join(entry.file_name());
            let kind = entry.file_type().map_err(fail("look at", entry.path()))?;
            if kind.is_dir() {
                pending.push((below, depth + 1));
            } else if kind.is_symlink() && links.check(&below).is_err() {
                return Err(RError::LeadsOut {
                    target: fs::read_link(entry.path()).unwrap_or_default(),
                    path: entry.path(),
                });
            }
        }
    }
    Ok(())
}

/// Whether a file of this package has a path in it: then it works in no other place. Blocks.
pub(super) fn mentions(package: &Path, text: &Path) -> bool {
    let needle = text.as_os_str().as_encoded_bytes();
    let mut pending: Vec<PathBuf> = ["libs", "bin", "lib", "etc"]
        .map(|name| package.join(name))
        .into();
    while let Some(path) = pending.pop() {
        let Ok(data) = path.symlink_metadata() else {
            continue;
        };
        if data.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        } else if data.is_file()
            && fs::read(&path)
                .is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
        {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_copy_is_ours_and_follows_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        fs::create_dir_all(from.join("libs")).unwrap();
        fs::write(from.join("libs/a.so"), "code").unwrap();
        fs::set_permissions(from.join("libs/a.so"), fs::Permissions::from_mode(0o4777)).unwrap();
        fs::write(root.path().join("secret"), "secret").unwrap();
        symlink("../secret", from.join("link")).unwrap();
        transfer(&from, &to, How::Copy { owner: None }).unwrap();
        let mode = fs::metadata(to.join("libs/a.so")).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o755, "no more rights than a program needs");
        assert!(to.join("link").symlink_metadata().unwrap().is_symlink());
        assert_ne!(
            fs::metadata(to.join("libs/a.so")).unwrap().ino(),
            fs::metadata(from.join("libs/a.so")).unwrap().ino()
        );
        let linked = root.path().join("linked");
        transfer(&to, &linked, How::Link).unwrap();
        assert_eq!(
            fs::metadata(to.join("libs/a.so")).unwrap().ino(),
            fs::metadata(linked.join("libs/a.so")).unwrap().ino()
        );
    }

    #[test]
    fn links_stay_inside_of_their_package() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join("tool");
        fs::create_dir_all(package.join("libs/arch")).unwrap();
        fs::write(package.join("libs/tool.so"), "code").unwrap();
        fs::write(root.path().join("x.so"), "code").unwrap();
        symlink("../tool.so", package.join("libs/arch/tool.so")).unwrap();
        symlink("arch", package.join("libs/other")).unwrap();
        check_links(&package).unwrap();
        for target in [
            root.path().join("x.so").to_str().unwrap(),
            "../../x.so",
            // Out and in again, and by a link of its own.
            "../../tool/libs/tool.so",
            "other/../../../x.so",
            "nothing",
        ] {
            let link = package.join("libs/x.so");
            symlink(target, &link).unwrap();
            let error = check_links(&package).unwrap_err();
            assert!(error.to_string().contains(target), "{error}");
            fs::remove_file(link).unwrap();
        }
        check_links(&package).unwrap();
    }

    #[test]
    fn a_pipe_or_a_linked_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let from = root.path().join("from");
        fs::create_dir(&from).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join("pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        )
        .unwrap();
        let refused = transfer(&from, &root.path().join("to"), How::Copy { owner: None });
        assert!(
            matches!(refused, Err(RError::StrangeFile { .. })),
            "{refused:?}"
        );
        symlink(&from, root.path().join("link")).unwrap();
        assert!(
            transfer(
                &root.path().join("link"),
                &root.path().join("to2"),
                How::Copy { owner: None }
            )
            .is_err()
        );
    }

    #[test]
    fn a_path_in_a_library_is_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("libs")).unwrap();
        fs::write(
            root.path().join("libs/a.so"),
            b"\x7fELF...RPATH=/opt/x/r/base/4.2/3/library/foo",
        )
        .unwrap();
        assert!(mentions(root.path(), Path::new("/opt/x/r/base/4.2/3")));
        assert!(!mentions(root.path(), Path::new("/opt/x/r/base/4.2/7")));
    }
}
