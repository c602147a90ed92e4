//! Writes a file whole or not at all, also in a folder that others may write to: a course's teachers keep lists there that
//! root changes.
//!
//! Links are followed only where root or we have made them. Whoever may write to a folder can put a link there, and would
//! have us write where he cannot.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use lyceum_core::trusted::{MAX_LINKS, steps};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use rustix::process::geteuid;

/// Puts a file into its place, with the owner, group and mode of the one that was there. Missing folders are made. Blocks
/// until it is on the disk.
pub(crate) fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let (folder, name) = find(path)?;
    let mut draft = name.clone();
    draft.push(".new");
    match unlinkat(&folder, &draft, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(&folder, &draft, flags, Mode::from_raw_mode(0o600))?);
    let written = (|| {
        file.write_all(text)?;
        let old = statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let old = old.filter(|old| FileType::from_raw_mode(old.st_mode) == FileType::RegularFile);
        if let Some(old) = &old {
            // Whoever may not give files away keeps his own.
            let _ = fchown(&file, Some(old.st_uid), Some(old.st_gid));
        }
        let mode = old.map_or(0o644, |old| old.st_mode & 0o777);
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        renameat(&folder, &draft, &folder, &name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(openat(&folder, c".", flags, Mode::empty())?).sync_all()
    })();
    if written.is_err() {
        let _ = unlinkat(&folder, &draft, AtFlags::empty());
    }
    written
}

/// Goes step by step to the folder of a file, and gives it with the file's name there.
fn find(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let path = std::path::absolute(path)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at: &OwnedFd, name: &OsStr| openat(at, name, flags, Mode::empty());
    let root = || openat(CWD, c"/", flags, Mode::empty());
    let mut here = root()?;
    let mut steps = steps(&path);
    let mut links = 0;
    while let Some(step) = steps.pop() {
        let is_last = steps.is_empty();
        let next = match open(&here, &step) {
            Err(Errno::NOENT) if is_last => return Ok((here, step)),
            Err(Errno::NOENT) => {
                // Somebody else who makes it at the same time is as good.
                match mkdirat(&here, &step, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => open(&here, &step)?,
                    Err(error) => return Err(error.into()),
                }
            }
            opened => opened?,
        };
        let seen = fstat(&next)?;
        match FileType::from_raw_mode(seen.st_mode) {
            FileType::Symlink => {
                let us = geteuid().as_raw();
                if seen.st_uid != 0 && seen.st_uid != us {
                    return Err(io::Error::other(format!(
                        "`{}` on the way there is a link of another account's, which is not followed",
                        Path::new(&step).display()
                    )));
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                // What was opened is read, whatever has this name now.
                let target = readlinkat(&next, c"", Vec::new())?;
                let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
                if target.is_absolute() {
                    here = root()?;
                }
                steps.extend(self::steps(&target));
            }
            FileType::Directory if is_last => return Err(Errno::ISDIR.into()),
            _ if is_last => return Ok((here, step)),
            FileType::Directory => here = next,
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    Err(Errno::ISDIR.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, chown, lchown, symlink};

    use super::*;

    /// The account of a teacher, and the group of a course.
    const TEACHER: u32 = 54_331;

    fn course(root: &Path) -> PathBuf {
        assert!(geteuid().is_root(), "this test has to be run as root");
        let folder = root.join("course");
        fs::create_dir(&folder).unwrap();
        chown(&folder, Some(0), Some(TEACHER)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o2770)).unwrap();
        folder
    }

    #[test]
    fn a_planted_link_leads_nobody_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let folder = course(root.path());
        let (list, secret) = (folder.join("list.toml"), root.path().join("secret"));
        fs::write(&secret, "root's").unwrap();
        symlink(&secret, folder.join("list.toml.new")).unwrap();
        write_whole(&list, b"one").unwrap();
        assert_eq!(fs::read_to_string(&list).unwrap(), "one");
        // In the place of the file itself, and of a folder on the way.
        fs::remove_file(&list).unwrap();
        symlink(&secret, &list).unwrap();
        lchown(&list, Some(TEACHER), None).unwrap();
        let error = write_whole(&list, b"two").unwrap_err();
        assert!(
            error.to_string().contains("a link of another account"),
            "{error}"
        );
        symlink(root.path(), folder.join("inner")).unwrap();
        lchown(folder.join("inner"), Some(TEACHER), None).unwrap();
        write_whole(&folder.join("inner/secret"), b"three").unwrap_err();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root's");
    }

    #[test]
    fn a_file_keeps_its_owner_group_and_mode() {
        let root = tempfile::tempdir().unwrap();
        let list = course(root.path()).join("list.toml");
        fs::write(&list, "one").unwrap();
        chown(&list, Some(TEACHER), Some(TEACHER)).unwrap();
        fs::set_permissions(&list, Permissions::from_mode(0o660)).unwrap();
        write_whole(&list, b"two").unwrap();
        let data = fs::metadata(&list).unwrap();
        assert_eq!(
            (data.uid(), data.gid(), data.mode() & 0o7777),
            (TEACHER, TEACHER, 0o660)
        );
        assert_eq!(fs::read_to_string(&list).unwrap(), "two");
    }

    #[test]
    fn links_of_our_own_are_followed_and_folders_are_made() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        symlink("etc", root.path().join("lib")).unwrap();
        symlink("../etc/real", root.path().join("etc/file")).unwrap();
        write_whole(&root.path().join("lib/file"), b"text").unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("etc/real")).unwrap(),
            "text"
        );
        let new = root.path().join("lib/a/b/file");
        write_whole(&new, b"text").unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o644);
        write_whole(&root.path().join("etc"), b"text").unwrap_err();
    }

    #[test]
    fn what_cannot_be_put_into_its_place_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("list");
        fs::create_dir(&path).unwrap();
        write_whole(&path, b"text").unwrap_err();
        let left: Vec<_> = fs::read_dir(root.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
