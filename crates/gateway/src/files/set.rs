//! The index of one environment: from paths below a server's prefix to files and their compressed forms.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use thiserror::Error;

use super::beneath::{FileId, Root};
use super::environment;
use super::hot::LARGEST;
use super::index::{self, ContentHash, Trust, Walk};
use super::media::Media;
use super::rules::Lifetime;
use super::variants::VariantStore;
use crate::compress::Coding;

/// The length of a coding that was not made yet.
const UNMADE: u64 = u64::MAX;
/// Shorter contents are sent as they are: they fit into one packet anyway.
const MIN_PACKED: u64 = 512;

/// The static files of one environment, ready to be answered.
///
/// It is a picture of one moment: a file that changes afterwards is not answered any more, and a new set is to
/// be made ([`StaticSet::is_current`]).
#[derive(Debug)]
pub struct StaticSet {
    prefix: PathBuf,
    walk: Walk,
    entries: HashMap<Box<str>, Arc<Entry>>,
    contents: Vec<Arc<Content>>,
    store: VariantStore,
}

/// One path that is answered.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) content: Arc<Content>,
    pub(super) media: Media,
    pub(super) lifetime: Lifetime,
    pub(super) modified: i64,
}

/// What one or several files have in them.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) hash: ContentHash,
    pub(super) size: u64,
    /// One of the files.
    root: Arc<Root>,
    relative: String,
    id: FileId,
    /// Whether compressed forms are made of it.
    packs: bool,
    /// The lengths in the codings, by [`slot`].
    lengths: [AtomicU64; 3],
}

/// How far compression is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How many bytes of content are done.
    pub done: u64,
    /// How many there are.
    pub all: u64,
}

/// What is in a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many paths are answered.
    pub files: usize,
    /// Their size in bytes, without compression.
    pub bytes: u64,
    /// How many files and folders were left out, since every account of the machine can write to them, or they
    /// belong to an account that has nothing to do with the environment.
    pub distrusted: usize,
}

/// Why there is no set for an environment.
#[derive(Debug, Error)]
pub enum StaticError {
    /// The environment cannot be looked at.
    #[error("could not look at the environment {}", path.display())]
    Environment {
        /// Its folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The folder for compressed files cannot be used.
    #[error("could not keep compressed files below {}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl StaticError {
    /// What helps.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Environment { .. } => {
                "without it, users' servers send their static files themselves; \
                 `spawner.static_files = false` says so on purpose"
            }
            Self::Cache { .. } => {
                "there may be no space left; pages load all the same, with more bytes"
            }
        }
    }
}

impl StaticSet {
    /// Walks through the environment with this folder, and reads all that counts in it; compressed forms that
    /// an earlier start has left below `cache` are found again.
    ///
    /// Blocks, for some 50 ms if the files are in the system's memory.
    pub fn read(prefix: &Path, cache: &Path) -> Result<Self, StaticError> {
        let fail = |source| StaticError::Environment {
            path: prefix.to_owned(),
            source,
        };
        let store = VariantStore::open(cache).map_err(|source| StaticError::Cache {
            path: cache.to_owned(),
            source,
        })?;
        let walk = walk(prefix).map_err(fail)?;
        let mut set = Self {
            prefix: prefix.to_owned(),
            walk: Walk::default(),
            entries: HashMap::with_capacity(walk.files.len()),
            contents: Vec::new(),
            store,
        };
        let mut known: HashMap<ContentHash, Arc<Content>> = HashMap::new();
        for listed in &walk.files {
            // What cannot be read, or has changed since the walk, is the server's to answer.
            let Ok((file, id)) = listed.root.open_file(&listed.relative) else {
                continue;
            };
            let Some(hash) = ContentHash::of_file(file).ok().filter(|_| id == listed.id) else {
                continue;
            };
            let media = Media::of(&listed.relative);
            let content = known.entry(hash).or_insert_with(|| {
                let lengths = Coding::BY_SIZE
                    .map(|coding| AtomicU64::new(set.store.find(&hash, coding).unwrap_or(UNMADE)));
                Arc::new(Content {
                    hash,
                    size: id.size,
                    root: Arc::clone(&listed.root),
                    relative: listed.relative.clone(),
                    id,
                    packs: media.gains() && id.size >= MIN_PACKED,
                    lengths,
                })
            });
            let path = format!("{}{}", listed.mount.url(), listed.relative);
            let entry = Entry {
                content: Arc::clone(content),
                media,
                lifetime: listed.lifetime,
                modified: id.modified.0,
            };
            // Of several Pythons in one environment the newest comes first, and wins.
            set.entries
                .entry(path.into_boxed_str())
                .or_insert_with(|| Arc::new(entry));
        }
        set.walk = walk;
        set.contents = known.into_values().collect();
        // What is largest gains most.
        set.contents
            .sort_by(|a, b| b.size.cmp(&a.size).then(a.relative.cmp(&b.relative)));
        Ok(set)
    }

    /// The folder of the environment.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// What is in it.
    pub fn summary(&self) -> Summary {
        Summary {
            files: self.entries.len(),
            bytes: self.entries.values().map(|entry| entry.content.size).sum(),
            distrusted: self.walk.distrusted,
        }
    }

    /// Whether the environment still has the same files. Blocks for some milliseconds.
    pub fn is_current(&self) -> bool {
        walk(&self.prefix).is_ok_and(|now| now.is_same(&self.walk))
    }

    /// Makes what is missing in a coding; each form is used from the moment when it is there. `go_on` is asked
    /// between two contents, and ends the work with `false`.
    ///
    /// Blocks: for JupyterLab half a second for `gzip`, some 5 for `zstd` and 20 for `br`. Fails if nothing can
    /// be written; what is there stays in use.
    pub fn compress(
        &self,
        coding: Coding,
        go_on: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<(), StaticError> {
        let missing: Vec<&Arc<Content>> = self
            .contents
            .iter()
            .filter(|content| content.packs && content.length(coding).is_none())
            .collect();
        let all = missing.iter().map(|content| content.size).sum();
        let mut done = 0;
        for content in missing {
            if !go_on(Progress { done, all }) {
                return Ok(());
            }
            done += content.size;
            // What has changed meanwhile is not answered any more.
            let Ok(plain) = content.read() else {
                continue;
            };
            let length = self
                .store
                .make(&plain, &content.hash, coding)
                .map_err(|source| StaticError::Cache {
                    path: self.store.folder().to_owned(),
                    source,
                })?;
            content.set_length(coding, length);
        }
        go_on(Progress { done, all });
        Ok(())
    }

    /// Removes from the cache what none of these sets has; gives the number of files. All sets that use the
    /// same cache have to be among them. Blocks.
    pub fn sweep(sets: &[Arc<Self>]) -> Result<usize, StaticError> {
        let contents: HashSet<ContentHash> = sets
            .iter()
            .flat_map(|set| set.contents.iter().map(|content| content.hash))
            .collect();
        let Some(store) = sets.first().map(|set| &set.store) else {
            return Ok(0);
        };
        store.sweep(&contents).map_err(|source| StaticError::Cache {
            path: store.folder().to_owned(),
            source,
        })
    }

    /// Finds a path below a server's prefix.
    pub(super) fn find(&self, path: &str) -> Option<&Arc<Entry>> {
        self.entries.get(path)
    }

    pub(super) fn store(&self) -> &VariantStore {
        &self.store
    }
}

fn walk(prefix: &Path) -> io::Result<Walk> {
    let trust = Trust::of_environment(prefix)?;
    Ok(index::walk(&environment::mounts(prefix), &trust))
}

fn slot(coding: Coding) -> usize {
    match coding {
        Coding::Brotli => 0,
        Coding::Zstd => 1,
        Coding::Gzip => 2,
    }
}

impl Content {
    /// The length in a coding, if it was made; 0 if it does not pay.
    fn length(&self, coding: Coding) -> Option<u64> {
        let length = self.lengths.get(slot(coding))?.load(Ordering::Acquire);
        (length != UNMADE).then_some(length)
    }

    fn set_length(&self, coding: Coding, length: u64) {
        if let Some(slot) = self.lengths.get(slot(coding)) {
            slot.store(length, Ordering::Release);
        }
    }

    /// Whether its answers depend on what the client accepts.
    pub(super) fn varies(&self) -> bool {
        self.packs
    }

    /// The codings that there are, the smallest first, with their lengths.
    pub(super) fn forms(&self) -> impl Iterator<Item = (Coding, u64)> {
        Coding::BY_SIZE
            .into_iter()
            .filter_map(|coding| Some((coding, self.length(coding).filter(|one| *one > 0)?)))
            .filter(|_| self.packs)
    }

    /// A form that could not be read is not there.
    pub(super) fn drop_form(&self, coding: Coding) {
        self.set_length(coding, UNMADE);
    }

    /// Opens the file, if it is still the one that was read.
    pub(super) fn open(&self) -> io::Result<std::fs::File> {
        let (file, id) = self.root.open_file(&self.relative)?;
        if id == self.id {
            Ok(file)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Reads the file, if it still has the content that it had.
    pub(super) fn read(&self) -> io::Result<Bytes> {
        let mut plain = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        self.open()?.take(self.size + 1).read_to_end(&mut plain)?;
        if ContentHash::of(&plain) == self.hash {
            Ok(Bytes::from(plain))
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    /// Whether the content as it is may be kept in memory.
    pub(super) fn fits_in_memory(&self) -> bool {
        self.size <= LARGEST as u64
    }
}
