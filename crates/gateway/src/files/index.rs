//! The walk through an environment's folders: which files there are, which of them count, and what is in them.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Stat};
use sha2::{Digest as _, Sha256};

use super::beneath::{FileId, Found, Links, Root};
use super::rules::{Lifetime, Mount};

/// How deep folders may lie in one another, and how many files there may be; more is none of Jupyter's.
const MAX_DEPTH: usize = 12;
const MAX_FILES: usize = 50_000;
/// Contents that are larger are not answered from here.
pub(super) const MAX_SIZE: u64 = 64 * 1024 * 1024;

/// What a file has in it, as 128 bits of its SHA-256: two contents never have the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ContentHash([u8; 16]);

impl ContentHash {
    pub(super) fn of(content: &[u8]) -> Self {
        Self::cut(&Sha256::digest(content))
    }

    fn cut(digest: &[u8]) -> Self {
        let mut cut = [0; 16];
        for (to, from) in cut.iter_mut().zip(digest) {
            *to = *from;
        }
        Self(cut)
    }

    pub(super) fn of_file(mut file: File) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self::cut(&hasher.finalize())),
                count => hasher.update(buffer.get(..count).unwrap_or_default()),
            }
        }
    }

    pub(super) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl std::fmt::Display for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A file that may be answered.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) mount: Mount,
    pub(super) root: Arc<Root>,
    /// Its path below the root.
    pub(super) relative: String,
    pub(super) lifetime: Lifetime,
    pub(super) id: FileId,
}

/// All that a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) files: Vec<Listed>,
    /// How many files and folders were left out since others can write to them.
    pub(super) distrusted: usize,
    /// The state of each folder that was walked; it changes when a name in it does.
    pub(super) folders: HashSet<FileId>,
}

impl Walk {
    /// Whether another walk found the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let key = |listed: &Listed| (listed.mount.url(), listed.relative.clone(), listed.id);
        let set = |walk: &Self| walk.files.iter().map(key).collect::<HashSet<_>>();
        self.folders == other.folders && set(self) == set(other)
    }
}

/// Whose files are trusted.
#[derive(Debug, Clone)]
pub(super) struct Trust {
    owners: Vec<u32>,
}

impl Trust {
    /// Files of root, of the account that we run as, and of whoever owns the environment: they decide anyway
    /// what runs in it.
    pub(super) fn of_environment(prefix: &Path) -> io::Result<Self> {
        let owner = rustix::fs::stat(prefix)?.st_uid;
        Ok(Self {
            owners: vec![0, rustix::process::geteuid().as_raw(), owner],
        })
    }

    /// Whether nobody else could have put this there: what everybody can write to, everybody could have.
    fn covers(&self, stat: &Stat) -> bool {
        self.owners.contains(&stat.st_uid) && stat.st_mode & 0o002 == 0
    }
}

/// Walks through the folders. One that cannot be read is left out, as if it were not there.
pub(super) fn walk(mounts: &[(Mount, Arc<Root>)], trust: &Trust) -> Walk {
    let mut walk = Walk::default();
    for (mount, root) in mounts {
        let begin = root.find("", Links::Refuse);
        let (Ok(Found::Folder(folder)), Ok(stat)) = (begin, root.stat()) else {
            continue;
        };
        if trust.covers(&stat) {
            walk.folders.insert(FileId::of(&stat));
            walk.enter(&folder, "", 0, *mount, root, trust);
        } else {
            walk.distrusted += 1;
        }
    }
    walk
}

impl Walk {
    fn enter(
        &mut self,
        folder: &OwnedFd,
        prefix: &str,
        depth: usize,
        mount: Mount,
        root: &Arc<Root>,
        trust: &Trust,
    ) {
        let Ok(entries) = Dir::read_from(folder) else {
            return;
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name.starts_with('.') || self.files.len() >= MAX_FILES {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            let relative = format!("{prefix}{name}");
            let kind = FileType::from_raw_mode(stat.st_mode);
            let lifetime = match kind {
                FileType::RegularFile => mount.lifetime(&relative),
                FileType::Directory => None,
                _ => continue,
            };
            if kind == FileType::RegularFile && lifetime.is_none() {
                continue;
            }
            if !trust.covers(&stat) {
                self.distrusted += 1;
                continue;
            }
            let id = FileId::of(&stat);
            match lifetime {
                Some(lifetime) if id.size <= MAX_SIZE => self.files.push(Listed {
                    mount,
                    root: Arc::clone(root),
                    relative,
                    lifetime,
                    id,
                }),
                None if depth < MAX_DEPTH => {
                    if let Ok(Found::Folder(inner)) = root.find(&relative, Links::Refuse) {
                        self.folders.insert(id);
                        let prefix = format!("{relative}/");
                        self.enter(&inner, &prefix, depth + 1, mount, root, trust);
                    }
                }
                _ => {}
            }
        }
    }
}
