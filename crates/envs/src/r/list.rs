//! The list of packages: what an R library shall hold, as TOML that people write.
//!
//! ```toml
//! cran = ["data.table", "ggplot2@3.5.1"]
//! apt = ["xml2"]
//! bioc = ["limma"]
//!
//! [[package]]
//! name = "rethinking"
//! method = "github"
//! locator = "rmcelreath/rethinking@v2.40"
//! required = false
//! ```

mod edit;
mod entry;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::error::{RError, io};

pub use edit::Editor;
pub(super) use edit::write_file;
pub use entry::{Entry, Method};
pub(super) use entry::{is_archive_address, is_package_name, is_version, split_reference};
use entry::{is_short, short, short_text};

/// What people write above a new list.
const HEADER: &str = "\
# The packages of an R library; `docs/r.md` tells what can stand here. After a change:
#   lyceum env r build

";

/// A list, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageList {
    /// Its packages, each name once.
    pub entries: Vec<Entry>,
}

impl PackageList {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, RError> {
        let text = fs::read_to_string(path).map_err(io("read", path))?;
        Self::parse(&text, path)
    }

    /// Reads the text of a file, which is named in errors.
    pub fn parse(text: &str, path: &Path) -> Result<Self, RError> {
        let fail = |at: usize, problem: String| RError::List {
            path: path.to_owned(),
            line: line_of(text, at),
            problem,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            fail(at, error.message().trim().replace('\n', "; "))
        })?;
        let mut entries: Vec<(usize, Entry)> = Vec::new();
        for (method, names) in [
            (Method::Cran, file.cran),
            (Method::Apt, file.apt),
            (Method::Bioc, file.bioc),
        ] {
            for name in names {
                let at = name.span().start;
                let entry = short(method, name.get_ref()).map_err(|problem| fail(at, problem))?;
                entry.check().map_err(|(_, problem)| fail(at, problem))?;
                entries.push((at, entry));
            }
        }
        for table in file.package {
            let at = table.span().start;
            let entry = table.into_inner().entry();
            entry.check().map_err(|(_, problem)| fail(at, problem))?;
            entries.push((at, entry));
        }
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, entry) in &entries {
            if let Some(first) = seen.insert(&entry.name, *at) {
                let line = line_of(text, first);
                return Err(fail(
                    *at,
                    format!("{} stands in line {line} already", entry.name),
                ));
            }
        }
        Ok(Self {
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        })
    }

    /// Writes the list anew, the plain names in rows.
    pub fn to_toml(&self) -> String {
        let mut text = HEADER.to_owned();
        for method in [Method::Cran, Method::Apt, Method::Bioc] {
            let names: Vec<String> = self
                .entries
                .iter()
                .filter(|entry| entry.method == method && is_short(entry))
                .map(short_text)
                .collect();
            if !names.is_empty() {
                let _ = writeln!(text, "{method} = [");
                for name in names {
                    let _ = writeln!(text, "  {},", quoted(&name));
                }
                text.push_str("]\n");
            }
        }
        for entry in self.entries.iter().filter(|entry| !is_short(entry)) {
            text.push_str("\n[[package]]\n");
            let _ = writeln!(text, "name = {}", quoted(&entry.name));
            let _ = writeln!(text, "method = {}", quoted(entry.method.as_str()));
            for (key, value) in [
                ("locator", &entry.locator),
                ("version", &entry.version),
                ("sha256", &entry.sha256),
            ] {
                if let Some(value) = value {
                    let _ = writeln!(text, "{key} = {}", quoted(value));
                }
            }
            if !entry.required {
                text.push_str("required = false\n");
            }
        }
        text
    }

    /// Whether a package is in the list.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct File {
    cran: Vec<Spanned<String>>,
    apt: Vec<Spanned<String>>,
    bioc: Vec<Spanned<String>>,
    package: Vec<Spanned<Table>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default = "cran")]
    method: Method,
    locator: Option<String>,
    version: Option<String>,
    sha256: Option<String>,
    #[serde(default = "yes")]
    required: bool,
}

impl Table {
    fn entry(self) -> Entry {
        Entry {
            name: self.name,
            method: self.method,
            locator: self.locator,
            version: self.version,
            sha256: self.sha256.map(|sum| sum.to_lowercase()),
            required: self.required,
        }
    }
}

fn cran() -> Method {
    Method::Cran
}

fn yes() -> bool {
    true
}

pub(super) fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// The line, from 1, in which a byte lies.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
