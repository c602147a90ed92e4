//! What is known of a server: written down, so that the broker itself need not remember anything.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use lyceum_core::random;
use lyceum_core::route::Upstream;
use lyceum_core::seams::Exit;
use serde::{Deserialize, Serialize};

use super::Folders;
use crate::decide::folder_name;
use crate::engine::Identity;
use crate::protocol::ServerKey;

/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024;

/// What is known of the last start of a server. No secret is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Which start of which server.
    pub(crate) key: ServerKey,
    /// The name of its unit.
    pub(crate) unit: String,
    /// The account.
    pub(crate) uid: u32,
    /// Where it answers.
    pub(crate) upstream: Upstream,
    /// The Python environment whose static files may be answered for it.
    pub(crate) environment: Option<PathBuf>,
    /// How the engine knows it; `None` from before the start until it has succeeded.
    pub(crate) identity: Option<Identity>,
    /// How it ended, once that has been seen.
    pub(crate) exit: Option<Exit>,
}

impl Folders {
    /// Finds the record of a unit. One that cannot be read as one counts as none: the server's next start clears up.
    pub(crate) fn find_record(&self, unit: &str) -> io::Result<Option<Record>> {
        let path = self.record_path(unit);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= MAX_RECORD => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes)
                .ok()
                .filter(|record: &Record| record.unit == unit)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a record, whole or not at all.
    pub(crate) fn write_record(&self, record: &Record) -> io::Result<()> {
        let bytes = serde_json::to_vec(record)?;
        let new = self
            .records
            .join(format!(".new-{}", random::alphanumeric(12)));
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&new, self.record_path(&record.unit)));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Removes a record; succeeds if there is none.
    pub(crate) fn remove_record(&self, unit: &str) -> io::Result<()> {
        match fs::remove_file(self.record_path(unit)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Lists all records that can be read.
    pub(crate) fn list_records(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.records)? {
            let path = entry?.path();
            let unit = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.strip_suffix(".json"));
            if let Some(unit) = unit
                && let Some(record) = self.find_record(unit)?
            {
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Removes folders whose server has no record, and half-written records.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let known: std::collections::HashSet<String> = self
            .list_records()?
            .iter()
            .map(|record| folder_name(&record.unit))
            .collect();
        self.sweep(|folder| known.contains(folder))?;
        for entry in fs::read_dir(&self.records)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn record_path(&self, unit: &str) -> PathBuf {
        // A unit's name has no slash, and does not begin with a dot.
        self.records.join(format!("{unit}.json"))
    }
}
