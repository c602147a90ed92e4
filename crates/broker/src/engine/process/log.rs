//! The log of a server, in a folder of root's: written by its keeper, so that it is bounded whether the broker runs or not.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::engine::lines::clean_lines;

/// How much of the end of a log is read.
const TAIL_BYTES: u64 = 256 * 1024;

/// A log that is written. Two files, each with half of what is allowed.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    limit: u64,
    file: File,
    length: u64,
}

impl Log {
    /// Opens a log, for appending.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        if let Some(dir) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = open(
            path,
            OpenOptions::new().append(true).create(true).mode(0o600),
        )?;
        let length = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            limit: (limit / 2).max(4096),
            file,
            length,
        })
    }

    /// Writes some bytes. When the half is full, it takes the place of the one before.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.length + bytes.len() as u64 > self.limit {
            fs::rename(&self.path, previous(&self.path))?;
            let mut options = OpenOptions::new();
            options.append(true).create_new(true).mode(0o600);
            self.file = open(&self.path, &mut options)?;
            self.length = 0;
        }
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Gives the last lines of a log, oldest first; none if there is no log.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut text = end(&previous(path))?;
    text.extend(end(path)?);
    Ok(clean_lines(&text, lines))
}

fn end(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = match open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(file)
}

/// The file with the older half.
pub(super) fn previous(path: &Path) -> PathBuf {
    path.with_added_extension("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_never_outgrows_its_limit_and_keeps_its_newest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("logs/ada.log");
        assert_eq!(tail(&path, 5).unwrap(), Vec::<String>::new());
        let mut log = Log::open(&path, 20_000).unwrap();
        for number in 0..5_000 {
            log.write(format!("line {number}\n").as_bytes()).unwrap();
        }
        let size: u64 = [&path, &previous(&path)]
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum();
        assert!(size <= 20_000, "{size}");
        assert_eq!(tail(&path, 2).unwrap(), ["line 4998", "line 4999"]);
        assert_eq!(tail(&path, 700).unwrap().len(), 700);
    }

    #[test]
    fn a_link_in_the_place_of_a_log_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("ada.log"), dir.path().join("other"));
        fs::write(&other, "secret").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        Log::open(&path, 9).unwrap_err();
        tail(&path, 9).unwrap_err();
    }
}
