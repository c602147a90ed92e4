//! What is written beside data that we have put somewhere, and what is found there.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, open, openat};
use rustix::io::Errno;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::DataError;

/// The name of the record in the folder.
pub(super) const FILE: &str = ".lyceum-data.json";
/// The longest record that is read, in bytes.
const MAX_STAMP: u64 = 4 << 20;

/// What is in a folder of shared data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataStamp {
    /// Where it comes from, without what may be secret.
    pub source: String,
    /// The pieces that it consists of, sorted by their names.
    pub packages: Vec<Package>,
}

/// One piece of shared data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub id: String,
    /// The file or folder that it is, relative to the data's folder; empty for the folder itself.
    pub place: String,
    /// The checksum of the file that it came in; empty for a folder that was copied.
    pub checksum: String,
    /// How many files it has.
    pub files: u64,
    /// How large they are together, in bytes.
    pub bytes: u64,
}

/// What is in a place of shared data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing, or an empty folder.
    Nothing,
    /// What `lyceum data add` has put there.
    Data(DataStamp),
    /// Something else, which is left alone.
    Other,
}

impl DataStamp {
    /// How large all of it is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.packages.iter().map(|package| package.bytes).sum()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.id == id)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(FILE);
        let text = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .map_err(DataError::io("write", &path))?;
        fs::write(&path, text).map_err(DataError::io("write", &path))
    }
}

/// Tells what is in a place. Blocks.
///
/// A record is believed only where nobody else could have written it: with it, what is there may be replaced and removed.
pub fn find(path: &Path) -> Result<Found, DataError> {
    let failed = |error: Errno| DataError::io("read", path)(error.into());
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match open(path, way, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(Errno::NOTDIR) => return Ok(Found::Other),
        folder => folder.map_err(failed)?,
    };
    // A pipe is not waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = match openat(&folder, FILE, flags, Mode::empty()) {
        Err(Errno::NOENT) => return without_stamp(path),
        Err(Errno::LOOP | Errno::NXIO) => return Ok(Found::Other),
        opened => opened.map_err(|error| DataError::io("read", &path.join(FILE))(error.into()))?,
    };
    let above = fstat(&folder).map_err(failed)?;
    let stat = fstat(&opened).map_err(failed)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    // With other names it may have come from elsewhere.
    if !is_file || stat.st_nlink != 1 || !is_ours(&stat) || !is_ours(&above) {
        return Ok(Found::Other);
    }
    let mut text = Vec::new();
    File::from(opened)
        .take(MAX_STAMP + 1)
        .read_to_end(&mut text)
        .map_err(DataError::io("read", &path.join(FILE)))?;
    if text.len() as u64 > MAX_STAMP {
        return Ok(Found::Other);
    }
    Ok(serde_json::from_slice(&text).map_or(Found::Other, Found::Data))
}

fn without_stamp(path: &Path) -> Result<Found, DataError> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(match entries.next() {
            None => Found::Nothing,
            Some(_) => Found::Other,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(DataError::io("read", path)(error)),
    }
}

/// Whether only root, or whoever we are, can change something. Where there is an access control list, the bits of the group
/// tell the most that anybody has by it.
pub(super) fn is_ours(stat: &Stat) -> bool {
    let is_owner = stat.st_uid == 0 || stat.st_uid == geteuid().as_raw();
    is_owner && stat.st_mode & 0o022 == 0
}

/// Tells whether a piece is there as it was put there; what cannot be looked at is not. Blocks.
pub(super) fn is_whole(path: &Path, package: &Package) -> bool {
    let (mut files, mut bytes) = (0, 0);
    count(&path.join(&package.place), &mut files, &mut bytes).is_ok()
        && (files, bytes) == (package.files, package.bytes)
}

/// Looks whether everything is there that was put there; gives a sentence for each piece that is not. Blocks.
pub fn check(path: &Path, stamp: &DataStamp) -> Result<Vec<String>, DataError> {
    let mut wrong = Vec::new();
    for package in &stamp.packages {
        let place = path.join(&package.place);
        let (mut files, mut bytes) = (0, 0);
        match count(&place, &mut files, &mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                wrong.push(format!("{} is missing", package.id));
            }
            Err(error) => return Err(DataError::io("read", &place)(error)),
            Ok(()) if (files, bytes) != (package.files, package.bytes) => wrong.push(format!(
                "{} has changed: {files} files with {bytes} bytes, and not {} with {}",
                package.id, package.files, package.bytes
            )),
            Ok(()) => {}
        }
    }
    Ok(wrong)
}

fn count(place: &Path, files: &mut u64, bytes: &mut u64) -> io::Result<()> {
    let data = fs::symlink_metadata(place)?;
    if data.is_dir() {
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            if entry.file_name() != FILE {
                count(&entry.path(), files, bytes)?;
            }
        }
    } else {
        *files += 1;
        *bytes += data.len();
    }
    Ok(())
}
