//! A copy of a database file with what belongs to it, taken without touching anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::error::ReadError;

/// The first bytes of every database of SQLite 3.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The files of a database: itself, and what is not yet written into it, or half written.
const ADDITIONS: [&str; 3] = ["", "-wal", "-journal"];
/// How often a file that changes meanwhile is copied anew.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(200);

/// A copy, which is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Copy {
    folder: TempDir,
}

impl Copy {
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("copy.sqlite")
    }
}

/// How the files of a database were at one moment; any write to one of them changes this.
#[derive(Debug, PartialEq, Eq)]
struct Look(Vec<Option<(u64, u64, i64, i64)>>);

/// Copies a database into a folder of its own, that nobody else can enter.
pub(super) async fn take(path: &Path) -> Result<Copy, ReadError> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let path = path.to_owned();
        let taken = tokio::task::spawn_blocking(move || try_take(&path)).await;
        let taken = taken.map_err(|error| ReadError::File {
            doing: "finish copying",
            path: PathBuf::new(),
            source: io::Error::other(error),
        })?;
        if let Some(copy) = taken? {
            return Ok(copy);
        }
    }
    Err(ReadError::Changing {
        path: path.to_owned(),
    })
}

/// Copies a database; `None` if it was changed meanwhile.
fn try_take(path: &Path) -> Result<Option<Copy>, ReadError> {
    let failed = |doing, source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ReadError::Missing {
            path: path.to_owned(),
        },
        _ => ReadError::File {
            doing,
            path: path.to_owned(),
            source,
        },
    };
    // SQLite looks for the journal beside the file itself, not beside a link to it.
    let file = fs::canonicalize(path).map_err(|error| failed("find", error))?;
    let found = fs::metadata(&file).map_err(|error| failed("look at", error))?;
    if !found.is_file() {
        return Err(ReadError::NotAFile {
            path: path.to_owned(),
        });
    }
    check_magic(path, &file)?;
    let folder = tempfile::Builder::new()
        .prefix("lyceum-import-")
        .tempdir()
        .map_err(|error| write_error(&std::env::temp_dir(), error))?;
    let copy = Copy { folder };
    let before = look(&file);
    for addition in ADDITIONS {
        let (from, to) = (beside(&file, addition), beside(&copy.file(), addition));
        match File::open(&from) {
            Ok(mut from) => write_new(&mut from, &to)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !addition.is_empty() => {}
            Err(error) => return Err(failed("read", error)),
        }
    }
    Ok((before == look(&file)).then_some(copy))
}

fn look(file: &Path) -> Look {
    let one = |addition: &&str| {
        let data = fs::metadata(beside(file, addition)).ok()?;
        Some((data.ino(), data.len(), data.mtime(), data.mtime_nsec()))
    };
    Look(ADDITIONS.iter().map(one).collect())
}

fn check_magic(path: &Path, file: &Path) -> Result<(), ReadError> {
    let mut start = [0; MAGIC.len()];
    let read = File::open(file).and_then(|mut file| file.read_exact(&mut start));
    match read {
        Ok(()) if &start == MAGIC => Ok(()),
        Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => Err(ReadError::File {
            doing: "read",
            path: path.to_owned(),
            source,
        }),
        _ => Err(ReadError::NotADatabase {
            path: path.to_owned(),
        }),
    }
}

/// Writes a file anew; the rights of the original, which may be too few or too many, are not taken over.
fn write_new(from: &mut File, to: &Path) -> Result<(), ReadError> {
    let mut write = || {
        from.rewind()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)?;
        io::copy(from, &mut file)
    };
    write().map(drop).map_err(|error| write_error(to, error))
}

fn write_error(path: &Path, source: io::Error) -> ReadError {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ReadError::Full {
            folder: path.parent().unwrap_or(path).to_owned(),
        },
        _ => ReadError::File {
            doing: "write a copy of the database to",
            path: path.to_owned(),
            source,
        },
    }
}

fn beside(file: &Path, addition: &str) -> PathBuf {
    let mut path = file.to_owned().into_os_string();
    path.push(addition);
    path.into()
}
