//! Unpacks archives, and copies folders: files and folders only, nothing outside of the target, and no more than allowed.
//!
//! The target is a folder that nobody else can enter yet, so that there is nothing to be followed in it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::DataError;

pub(super) use folder::copy;

mod folder;

/// The most entries of an archive or a folder.
const MAX_ENTRIES: u64 = 2_000_000;
/// The deepest place of a file.
const MAX_DEPTH: usize = 64;
/// The longest name of a file or folder, in bytes.
const MAX_NAME: usize = 255;

/// What has been put into a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// What may be unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// How many bytes in all.
    pub(super) bytes: u64,
    /// The one folder in which everything has to be, if there is one.
    pub(super) below: Option<&'a str>,
}

/// Unpacks a zip file, or a tar archive, plain or compressed. Blocks.
pub(super) fn archive(
    file: &Path,
    what: &str,
    target: &Path,
    bounds: Bounds<'_>,
) -> Result<Amount, DataError> {
    let mut input = File::open(file).map_err(DataError::io("read", file))?;
    let mut start = [0; 4];
    let length = read_start(&mut input, &mut start).map_err(DataError::io("read", file))?;
    let mut output = Output::new(what, target, bounds);
    match start.get(..length).unwrap_or_default() {
        [b'P', b'K', ..] => zip(input, &mut output)?,
        [0x1f, 0x8b, ..] => tar(flate2::read::MultiGzDecoder::new(input), &mut output)?,
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let plain =
                zstd::stream::read::Decoder::new(input).map_err(|error| output.broken(&error))?;
            tar(plain, &mut output)?;
        }
        b"\xfd7zX" => return Err(output.bad("it is compressed by xz")),
        [b'B', b'Z', b'h', _] => return Err(output.bad("it is compressed by bzip2")),
        // Only by its first entry can a tar archive be told from anything else.
        _ if !is_tar(&input) => {
            return Err(output.bad("it is neither a zip file nor a tar archive"));
        }
        _ => {
            input.rewind().map_err(DataError::io("read", file))?;
            tar(input, &mut output)?;
        }
    }
    if output.amount.files == 0 {
        return Err(output.bad("it holds no file"));
    }
    Ok(output.amount)
}

/// Reads the beginning, and stays somewhere behind it.
fn is_tar(input: &File) -> bool {
    let mut archive = tar::Archive::new(input);
    let first = archive.entries().ok().and_then(|mut all| all.next());
    // An empty one is one, too.
    first.is_none_or(|entry| entry.is_ok())
}

fn read_start(input: &mut File, start: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = start.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match input.read(rest)? {
            0 => break,
            count => length += count,
        }
    }
    input.rewind()?;
    Ok(length)
}

fn zip(input: File, output: &mut Output<'_>) -> Result<(), DataError> {
    let mut archive = zip::ZipArchive::new(input).map_err(|error| output.broken(&error))?;
    for number in 0..archive.len() {
        let mut entry = archive
            .by_index(number)
            .map_err(|error| output.broken(&error))?;
        let name = entry.name().map_err(|error| output.broken(&error))?;
        let name = name.into_owned();
        if entry.is_dir() {
            output.folder(&name)?;
        } else if entry.is_symlink() || !entry.is_file() {
            return Err(output.bad(&format!("`{name}` is neither a file nor a folder")));
        } else {
            // Some archives, made elsewhere, have entries with and without their folders' own.
            output.file(&name, &mut entry, true)?;
        }
    }
    Ok(())
}

fn tar(input: impl Read, output: &mut Output<'_>) -> Result<(), DataError> {
    let mut archive = tar::Archive::new(input);
    let entries = archive.entries().map_err(|error| output.broken(&error))?;
    for entry in entries {
        let mut entry = entry.map_err(|error| output.broken(&error))?;
        let kind = entry.header().entry_type();
        let name = match std::str::from_utf8(&entry.path_bytes()) {
            Ok(name) => name.to_owned(),
            Err(_) => return Err(output.bad("a name in it is no text")),
        };
        if kind.is_dir() {
            output.folder(&name)?;
        } else if kind.is_file() {
            output.file(&name, &mut entry, true)?;
        } else if !kind.is_pax_global_extensions() {
            return Err(output.bad(&format!("`{name}` is neither a file nor a folder")));
        }
    }
    Ok(())
}

/// Writes into the target, and counts.
struct Output<'a> {
    what: &'a str,
    target: &'a Path,
    bounds: Bounds<'a>,
    made: BTreeSet<PathBuf>,
    entries: u64,
    amount: Amount,
}

impl<'a> Output<'a> {
    fn new(what: &'a str, target: &'a Path, bounds: Bounds<'a>) -> Self {
        Self {
            what,
            target,
            bounds,
            made: BTreeSet::new(),
            entries: 0,
            amount: Amount::default(),
        }
    }

    fn bad(&self, why: &str) -> DataError {
        DataError::BadArchive {
            what: self.what.to_owned(),
            why: why.to_owned(),
        }
    }

    fn broken(&self, error: &dyn std::error::Error) -> DataError {
        self.bad(&error.to_string())
    }

    /// The place of an entry, relative to the target; refuses whatever is not plainly below it.
    fn place(&mut self, name: &str) -> Result<PathBuf, DataError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(self.bad("it has too many entries"));
        }
        let shown: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        let refuse = |why: &str| self.bad(&format!("`{shown}` {why}"));
        if name.starts_with('/') || name.contains('\\') {
            return Err(refuse("is no path inside of the archive"));
        }
        let mut place = PathBuf::new();
        let mut depth = 0;
        for part in name.split('/') {
            match part {
                "" | "." => {}
                ".." => return Err(refuse("leads out of the archive")),
                part if part.len() > MAX_NAME || part.contains(char::is_control) => {
                    return Err(refuse("is no name of a file"));
                }
                part => {
                    let outside = self.bounds.below.is_some_and(|below| below != part);
                    if depth == 0 && outside {
                        return Err(refuse("is not in the folder of its package"));
                    }
                    place.push(part);
                    depth += 1;
                }
            }
        }
        if depth > MAX_DEPTH {
            return Err(refuse("lies too deep"));
        }
        // The record of what is there is ours.
        if place.starts_with(super::stamp::FILE) {
            return Err(refuse("has a name that is taken"));
        }
        Ok(place)
    }

    fn folder(&mut self, name: &str) -> Result<(), DataError> {
        let place = self.place(name)?;
        self.make(&place)
    }

    fn make(&mut self, place: &Path) -> Result<(), DataError> {
        if place.as_os_str().is_empty() || self.made.contains(place) {
            return Ok(());
        }
        let path = self.target.join(place);
        fs::create_dir_all(&path).map_err(DataError::io("make the folder", &path))?;
        for folder in place.ancestors() {
            self.made.insert(folder.to_owned());
        }
        Ok(())
    }

    fn file(
        &mut self,
        name: &str,
        input: &mut dyn Read,
        of_archive: bool,
    ) -> Result<(), DataError> {
        let place = self.place(name)?;
        let Some(parent) = place.parent() else {
            return Err(self.bad("a file in it has no name"));
        };
        self.make(parent)?;
        let path = self.target.join(&place);
        // Nothing is written twice, so that nothing can be put in the way of what comes later.
        let mut output = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => self.bad(&format!("it has `{name}` twice")),
                _ => DataError::io("write", &path)(error),
            })?;
        let room = self.bounds.bytes.saturating_sub(self.amount.bytes);
        let mut buffer = vec![0; 256 * 1024];
        let mut count = 0;
        loop {
            let length = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if of_archive => return Err(self.broken(&error)),
                Err(error) => return Err(DataError::io("read", Path::new(name))(error)),
            };
            count += length as u64;
            // What an archive says of its sizes need not be true.
            if count > room {
                return Err(DataError::TooLarge {
                    what: self.what.to_owned(),
                    limit: self.bounds.bytes,
                });
            }
            output
                .write_all(buffer.get(..length).unwrap_or_default())
                .map_err(DataError::io("write", &path))?;
        }
        self.amount.files += 1;
        self.amount.bytes += count;
        Ok(())
    }
}
