//! What is known of a server: a file of root's, written by its keeper and read by the broker.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lyceum_core::seams::Exit;
use serde::{Deserialize, Serialize};

use super::family::Family;
use super::groups::{self, Group};
use super::job::ProcessKey;
use crate::folders::remove_tree;

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// The server's main process.
    pub(super) main: ProcessKey,
    /// The process that keeps it.
    pub(super) keeper: ProcessKey,
    pub(super) groups: Vec<Group>,
    /// The folder that holds its own `/tmp`, and that of its `/var/tmp`.
    pub(super) folders: Vec<PathBuf>,
    /// Where its output is.
    pub(super) log: PathBuf,
    /// How it has ended.
    pub(super) exit: Option<Exit>,
    /// How often the system has ended one of its processes because of its memory.
    pub(super) out_of_memory: u64,
}

impl Record {
    /// Reads a record; `None` if there is none. One that cannot be understood is an error: its server may well run.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let record = serde_json::from_slice(&bytes).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} cannot be read ({error}); end the server's processes, then remove that file",
                    path.display()
                ),
            )
        })?;
        Ok(Some(record))
    }

    /// Writes it, so that a reader sees the old or the new one.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let new = path.with_added_extension("new");
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?
            .write_all(&serde_json::to_vec(self)?)?;
        fs::rename(new, path)
    }

    pub(super) fn family(&self) -> Family<'_> {
        Family {
            groups: &self.groups,
            keeper: Some(&self.keeper),
        }
    }

    /// Removes what a server that has ended leaves behind, if its keeper cannot do so any more. One that still does has
    /// much to remove, which nobody need wait for.
    pub(super) fn clean(&self) {
        if self.keeper.is_alive() {
            return;
        }
        groups::remove_all(&self.groups);
        remove_folders(&self.folders);
    }
}

/// Removes folders that servers had to themselves, whatever their users have made of them.
pub(super) fn remove_folders(folders: &[PathBuf]) {
    for folder in folders {
        if let Err(error) = remove_tree(folder) {
            tracing::warn!(path = %folder.display(), error = %error, "could not remove a server's temporary files");
        }
    }
}
