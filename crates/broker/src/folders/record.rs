//! What is known of a server: written down, so that the broker itself need not remember anything.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use lyceum_core::random;
use lyceum_core::route::Upstream;
use lyceum_core::seams::{Exit, PythonInUse};
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
    /// The Python environment of the configuration that it was started from.
    #[serde(default)]
    pub(crate) python: Option<PythonInUse>,
    /// The kind of the engine that it was started with; nothing in records of earlier versions.
    #[serde(default)]
    pub(crate) engine: Option<String>,
    /// How the engine knows it; `None` from before the start until it has succeeded.
    pub(crate) identity: Option<Identity>,
    /// How it ended, once that has been seen.
    pub(crate) exit: Option<Exit>,
}

/// What is found of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// Nothing: it was never started, or is forgotten.
    Nothing,
    /// A record that cannot be read, and why. Its server may well run.
    Damaged(String),
    /// Its record.
    Record(Box<Record>),
}

impl Found {
    /// The record, if there is one that can be read.
    pub(crate) fn record(self) -> Option<Record> {
        match self {
            Self::Record(record) => Some(*record),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

impl Folders {
    /// Where the engines have what they know: the folder that all this is in.
    pub(crate) fn state_dir(&self) -> &Path {
        self.records.parent().unwrap_or(&self.records)
    }

    /// Finds the record of a unit.
    pub(crate) fn find_record(&self, unit: &str) -> io::Result<Found> {
        let path = self.record_path(unit);
        let damaged = |why: &str| Ok(Found::Damaged(why.to_owned()));
        match fs::metadata(&path) {
            Ok(metadata) if metadata.len() <= MAX_RECORD => {}
            Ok(_) => return damaged("it is too long"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        }
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Record>(&bytes) {
                Ok(record) if record.unit == unit => Ok(Found::Record(Box::new(record))),
                Ok(_) => damaged("it is about another unit"),
                Err(error) => damaged(&error.to_string()),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
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
        for unit in self.recorded_units()? {
            match self.find_record(&unit)? {
                Found::Record(record) => records.push(*record),
                Found::Damaged(why) => tracing::warn!(
                    unit,
                    "the record of a server cannot be read ({why}): a stop, or its next start, ends it if it runs"
                ),
                Found::Nothing => {}
            }
        }
        Ok(records)
    }

    /// The units of all records, also of those that cannot be read.
    fn recorded_units(&self) -> io::Result<Vec<String>> {
        let mut units = Vec::new();
        for entry in fs::read_dir(&self.records)? {
            let name = entry?.file_name();
            let unit = name.to_str().and_then(|name| name.strip_suffix(".json"));
            units.extend(unit.map(str::to_owned));
        }
        Ok(units)
    }

    /// Removes folders whose server has no record, and half-written records. A record that cannot be read is one: its
    /// server may well run.
    pub(crate) fn tidy(&self) -> io::Result<()> {
        let known: HashSet<String> = self
            .recorded_units()?
            .iter()
            .map(|unit| folder_name(unit))
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

    /// Where the record of a unit is.
    pub(crate) fn record_path(&self, unit: &str) -> PathBuf {
        // A unit's name has no slash, and does not begin with a dot.
        self.records.join(format!("{unit}.json"))
    }
}
