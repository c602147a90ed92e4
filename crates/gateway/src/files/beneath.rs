//! Opening files below a folder, and never outside: no `..`, no link that leads out, nothing but regular files.
//!
//! Everything here blocks; none of it runs on the gateway's threads.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// A folder that is held open: what is opened below it cannot be led elsewhere by renaming what is above it.
#[derive(Debug)]
pub(super) struct Root {
    fd: OwnedFd,
}

/// What becomes of symbolic links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// They are refused.
    Refuse,
    /// They are followed as long as they stay inside; an absolute one never does.
    Inside,
}

/// What tells one state of a file from any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
    pub(super) size: u64,
    /// When it was last changed, in seconds since 1970, and nanoseconds.
    pub(super) modified: (i64, i64),
}

/// Something that was found below a folder.
#[derive(Debug)]
pub(super) enum Found {
    File(File, FileId),
    Folder(OwnedFd),
}

impl FileId {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (
                stat.st_mtime,
                i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
            ),
        }
    }

    /// The state as a text for an `ETag`.
    pub(super) fn tag(&self) -> String {
        let (seconds, nanos) = self.modified;
        format!("{:x}-{:x}-{seconds:x}{nanos:08x}", self.inode, self.size)
    }
}

impl Root {
    /// Opens a folder; links that lead to it are followed, as whoever names it knows them.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            fd: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Opens what is at a path below the folder; the path itself for an empty one.
    ///
    /// Anything but a file or a folder is "not found", as is what cannot be below: a path with `..`, say.
    pub(super) fn find(&self, relative: &str, links: Links) -> io::Result<Found> {
        let path = match relative {
            "" => ".",
            relative if is_relative(relative) => relative,
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let fd = open_at(self.fd.as_fd(), path, links)?;
        let stat = rustix::fs::fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::File(File::from(fd), FileId::of(&stat))),
            FileType::Directory => Ok(Found::Folder(fd)),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Opens a regular file without following any link.
    pub(super) fn open_file(&self, relative: &str) -> io::Result<(File, FileId)> {
        match self.find(relative, Links::Refuse)? {
            Found::File(file, id) => Ok((file, id)),
            Found::Folder(_) => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// Names of files and folders with slashes between them, and nothing else.
fn is_relative(path: &str) -> bool {
    path.split('/')
        .all(|segment| !matches!(segment, "" | "." | ".."))
        && !path.contains('\0')
}

/// A pipe or a device must not hold us up before we see what it is.
fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
}

fn open_at(folder: impl AsFd, path: &str, links: Links) -> io::Result<OwnedFd> {
    let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlags::NO_SYMLINKS;
    }
    match rustix::fs::openat2(&folder, path, flags(), Mode::empty(), resolve) {
        // Linux before 5.6, or a sandbox that knows it not: without any link, then.
        Err(Errno::NOSYS | Errno::PERM) => open_step_by_step(folder, path),
        opened => Ok(opened?),
    }
}

/// Opens a path segment by segment, each without following a link.
fn open_step_by_step(folder: impl AsFd, path: &str) -> io::Result<OwnedFd> {
    let mut segments = path.split('/');
    let last = segments.next_back().unwrap_or(path);
    let mut here: Option<OwnedFd> = None;
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for segment in segments {
        let from = here.as_ref().map_or(folder.as_fd(), OwnedFd::as_fd);
        here = Some(rustix::fs::openat(from, segment, step, Mode::empty())?);
    }
    let from = here.as_ref().map_or(folder.as_fd(), OwnedFd::as_fd);
    let last = rustix::fs::openat(from, last, flags() | OFlags::NOFOLLOW, Mode::empty())?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn playground() -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        fs::create_dir_all(at("root/deep/er")).unwrap();
        fs::write(at("secret"), "secret").unwrap();
        fs::write(at("root/a"), "a").unwrap();
        fs::write(at("root/deep/er/b"), "b").unwrap();
        symlink("a", at("root/to_a")).unwrap();
        symlink("deep", at("root/to_deep")).unwrap();
        symlink("../secret", at("root/out")).unwrap();
        symlink("..", at("root/up")).unwrap();
        symlink(at("root/a"), at("root/absolute")).unwrap();
        symlink("/proc/self/root", at("root/magic")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("root/pipe"),
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        base
    }

    fn read(found: io::Result<Found>) -> Option<String> {
        match found {
            Ok(Found::File(mut file, _)) => {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                Some(text)
            }
            _ => None,
        }
    }

    const OUTSIDE: &[&str] = &[
        "../secret",
        "..",
        "deep/../../secret",
        "./a",
        "/etc/passwd",
        "deep//er/b",
        "out",
        "up/secret",
        "absolute",
        "magic/etc/passwd",
        "pipe",
        "missing",
        "a/b",
        "a\0",
    ];

    #[test]
    fn nothing_outside_is_ever_opened() {
        let base = playground();
        let root = Root::open(&base.path().join("root")).unwrap();
        for path in OUTSIDE {
            assert_eq!(read(root.find(path, Links::Inside)), None, "{path}");
            assert_eq!(read(root.find(path, Links::Refuse)), None, "{path}");
        }
        assert_eq!(read(root.find("a", Links::Refuse)).unwrap(), "a");
        assert_eq!(read(root.find("deep/er/b", Links::Refuse)).unwrap(), "b");
        assert!(matches!(root.find("", Links::Inside), Ok(Found::Folder(_))));
    }

    #[test]
    fn links_inside_are_followed_only_where_they_may_be() {
        let base = playground();
        let root = Root::open(&base.path().join("root")).unwrap();
        for (path, text) in [("to_a", "a"), ("to_deep/er/b", "b")] {
            assert_eq!(read(root.find(path, Links::Inside)).unwrap(), text);
            assert_eq!(read(root.find(path, Links::Refuse)), None);
        }
    }

    #[test]
    fn the_way_for_old_kernels_is_as_strict() {
        let base = playground();
        let root = Root::open(&base.path().join("root")).unwrap();
        let step_by_step = |path: &str| {
            let fd = open_step_by_step(&root.fd, path).ok()?;
            let stat = rustix::fs::fstat(&fd).unwrap();
            (FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
                .then(|| read(Ok(Found::File(File::from(fd), FileId::of(&stat)))))
                .flatten()
        };
        for path in OUTSIDE.iter().filter(|path| is_relative(path)) {
            assert_eq!(step_by_step(path), None, "{path}");
        }
        assert_eq!(step_by_step("to_a"), None);
        assert_eq!(step_by_step("to_deep/er/b"), None);
        assert_eq!(step_by_step("a").unwrap(), "a");
        assert_eq!(step_by_step("deep/er/b").unwrap(), "b");
    }

    #[test]
    fn a_changed_file_is_another() {
        let base = playground();
        let root = Root::open(&base.path().join("root")).unwrap();
        let (_, before) = root.open_file("a").unwrap();
        assert_eq!(root.open_file("a").unwrap().1, before);
        fs::write(base.path().join("root/new"), "a").unwrap();
        fs::rename(base.path().join("root/new"), base.path().join("root/a")).unwrap();
        let (_, after) = root.open_file("a").unwrap();
        assert_ne!(after, before);
        assert_ne!(after.tag(), before.tag());
    }
}
