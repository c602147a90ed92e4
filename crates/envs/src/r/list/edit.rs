//! Changes a list of packages as little as possible: comments and order stay.

use std::fs;
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, Value};

use super::{Entry, HEADER, Method, PackageList, is_short, short_text};
use crate::r::error::{RError, io};
use crate::whole_file::write_whole;

/// One change.
#[derive(Debug, Clone)]
enum Change {
    Add(Entry),
    Remove(String),
}

/// A list that is being changed. Nothing is written before [`Editor::save`].
#[derive(Debug)]
pub struct Editor {
    path: PathBuf,
    /// What was read.
    before: String,
    /// What was done since, to be done again on what somebody else writes meanwhile.
    changes: Vec<Change>,
    /// The comments of a file that has nothing else: they stay at its beginning.
    begin: String,
    document: DocumentMut,
}

impl Editor {
    /// Opens a list; one that does not exist is empty.
    pub fn open(path: &Path) -> Result<Self, RError> {
        let text = read(path)?;
        // Only what is right is changed.
        PackageList::parse(&text, path)?;
        let mut document: DocumentMut =
            text.parse()
                .map_err(|error: toml_edit::TomlError| RError::List {
                    path: path.to_owned(),
                    line: 1,
                    problem: error.message().to_owned(),
                })?;
        let mut begin = String::new();
        if document.is_empty() {
            begin.clone_from(&text);
            document.set_trailing("");
        }
        Ok(Self {
            path: path.to_owned(),
            before: text,
            changes: Vec::new(),
            begin,
            document,
        })
    }

    /// Adds a package, in the place of one of this name if there is one.
    pub fn add(&mut self, entry: &Entry) -> Result<(), RError> {
        self.changes.push(Change::Add(entry.clone()));
        self.take_out(&entry.name);
        if is_short(entry) {
            let names = self
                .document
                .entry(entry.method.as_str())
                .or_insert_with(|| Item::Value(Value::Array(Array::new())))
                .as_array_mut();
            if let Some(names) = names {
                push(names, &short_text(entry));
            }
        } else {
            let mut table = Table::new();
            table.insert("name", toml_edit::value(&entry.name));
            table.insert("method", toml_edit::value(entry.method.as_str()));
            for (key, value) in [
                ("locator", &entry.locator),
                ("version", &entry.version),
                ("sha256", &entry.sha256),
            ] {
                if let Some(value) = value {
                    table.insert(key, toml_edit::value(value));
                }
            }
            if !entry.required {
                table.insert("required", toml_edit::value(false));
            }
            let tables = self
                .document
                .entry("package")
                .or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
            match tables {
                Item::ArrayOfTables(tables) => tables.push(table),
                Item::Value(Value::Array(inline)) => {
                    inline.push(Value::InlineTable(table.into_inline_table()));
                }
                _ => {}
            }
        }
        self.list().map(drop)
    }

    /// Removes a package.
    pub fn remove(&mut self, name: &str) -> Result<(), RError> {
        if self.take_out(name) {
            self.changes.push(Change::Remove(name.to_owned()));
            Ok(())
        } else {
            Err(RError::NotListed {
                name: name.to_owned(),
                path: self.path.clone(),
            })
        }
    }

    fn take_out(&mut self, name: &str) -> bool {
        let named = |value: &Value| {
            value
                .as_str()
                .is_some_and(|text| text.split('@').next().map(str::trim) == Some(name))
        };
        let mut found = false;
        for method in [Method::Cran, Method::Apt, Method::Bioc] {
            if let Some(names) = self
                .document
                .get_mut(method.as_str())
                .and_then(Item::as_array_mut)
            {
                let before = names.len();
                names.retain(|value| !named(value));
                found |= names.len() != before;
            }
        }
        match self.document.get_mut("package") {
            Some(Item::ArrayOfTables(tables)) => {
                let before = tables.len();
                tables.retain(|table| table.get("name").and_then(Item::as_str) != Some(name));
                found |= tables.len() != before;
            }
            Some(Item::Value(Value::Array(tables))) => {
                let before = tables.len();
                tables.retain(|table| {
                    table
                        .as_inline_table()
                        .and_then(|table| table.get("name"))
                        .and_then(Value::as_str)
                        != Some(name)
                });
                found |= tables.len() != before;
            }
            _ => {}
        }
        found
    }

    /// The list as it is now.
    pub fn list(&self) -> Result<PackageList, RError> {
        PackageList::parse(&self.text(), &self.path)
    }

    /// Writes the file, whole or not at all. What somebody else has written meanwhile stays, with the same changes; tells
    /// whether there was that.
    pub fn save(&self) -> Result<bool, RError> {
        if read(&self.path)? == self.before {
            self.list()?;
            write_file(&self.path, &self.text())?;
            return Ok(false);
        }
        let mut anew = Self::open(&self.path)?;
        for change in &self.changes {
            match change {
                Change::Add(entry) => anew.add(entry)?,
                Change::Remove(name) => {
                    // Perhaps they did the same.
                    anew.take_out(name);
                }
            }
        }
        anew.list()?;
        write_file(&anew.path, &anew.text())?;
        Ok(true)
    }

    fn text(&self) -> String {
        format!("{}{}", self.begin, self.document)
    }
}

/// The text of a list; of one that does not exist, what a new one begins with.
fn read(path: &Path) -> Result<String, RError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HEADER.to_owned()),
        Err(error) => Err(io("read", path)(error)),
    }
}

/// Adds an element in the way the others stand: each in a line of its own, or behind each other.
fn push(names: &mut Array, text: &str) {
    let in_lines = names.iter().last().and_then(|last| {
        last.decor()
            .prefix()?
            .as_str()
            .map(|prefix| prefix.contains('\n'))
    });
    names.push(text);
    if in_lines == Some(false) {
        return;
    }
    if let Some(last) = names.iter_mut().last() {
        last.decor_mut().set_prefix("\n  ");
    }
    names.set_trailing_comma(true);
    if names
        .trailing()
        .as_str()
        .is_none_or(|text| !text.contains('\n'))
    {
        names.set_trailing("\n");
    }
}

/// Writes a file whole or not at all; its owner and its rights stay.
pub(in crate::r) fn write_file(path: &Path, text: &str) -> Result<(), RError> {
    write_whole(path, text.as_bytes()).map_err(io("write", path))
}
