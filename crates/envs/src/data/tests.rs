//! Shared data as it comes and goes, with a mirror made here, and with the rights of real accounts.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Audience, Rights};

mod below;
mod downloads;
mod folders;
mod forged;
mod named;
mod nltk;
mod retries;
mod rights;

fn zip_of(path: &Path, files: &[(&str, &str)]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, text) in files {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(*name, options).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
}

fn open_rights() -> Rights {
    Rights {
        read: Audience::Everybody,
        write: Audience::Nobody,
    }
}

struct Target {
    _dir: TempDir,
    path: PathBuf,
}

fn target() -> Target {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data/nltk");
    Target { _dir: dir, path }
}
