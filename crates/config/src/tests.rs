//! Tests of the whole: what people see when something is wrong, and what is loaded when nothing is.

mod declared;
mod docs;
mod env;
mod errors;
mod kernels;
mod limits;
mod loading;
mod paths;
mod robust;
mod shared;
mod sites;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::{ConfigErrors, LoadOptions, Loaded, Override, load};
use tempfile::TempDir;

/// A folder with a `lyceum.toml`.
pub(super) struct Folder {
    folder: TempDir,
    options: LoadOptions,
}

impl Folder {
    /// Writes the file. If it says nothing of `auth`, the login that needs no password file is set.
    pub(super) fn with(text: impl AsRef<[u8]>) -> Self {
        let says = text.as_ref().windows(6).any(|window| window == b"[auth]");
        let folder = Self::bare(text);
        if says {
            folder
        } else {
            folder.env("LYCEUM_AUTH__KIND", "dummy")
        }
    }

    /// Writes the file, and nothing else.
    pub(super) fn bare(text: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lyceum.toml");
        fs::write(&file, text).unwrap();
        let options = LoadOptions {
            file: Some(file),
            current_dir: PathBuf::from("/current"),
            ..LoadOptions::default()
        };
        Self { folder, options }
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes another file beside it.
    pub(super) fn and(self, name: &str, text: &str) -> Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Writes a file that nobody else can read.
    pub(super) fn and_secret(self, name: &str, text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.and(name, text);
        let path = folder.path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        folder
    }

    /// Sets an environment variable.
    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.options
            .environment
            .push((OsString::from(name), OsString::from(value)));
        self
    }

    /// Sets a value on the command line.
    pub(super) fn flag(mut self, given: Override) -> Self {
        self.options.overrides.push(given);
        self
    }

    pub(super) fn load(&self) -> Result<Loaded, ConfigErrors> {
        load(&self.options)
    }

    /// Loads what must be right.
    pub(super) fn good(&self) -> Loaded {
        self.load().unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Loads what must be wrong, and gives the errors as they are shown, without the folder's name.
    pub(super) fn bad(&self) -> String {
        let errors = self
            .load()
            .expect_err("the configuration should be refused");
        self.without_folder(&errors.to_string())
    }

    pub(super) fn without_folder(&self, text: &str) -> String {
        let folder = format!("{}/", self.path().display());
        text.replace(&folder, "")
    }
}
