//! Digests of files, as text.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use sha2::{Digest, Sha256};

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The digest of all that can be read. Blocks.
pub(crate) fn of<D: Digest>(mut input: impl Read) -> io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(hex(&digest.finalize())),
            Ok(length) => digest.update(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The SHA-256 of a file that an administrator has named. Blocks; refuses what has no end, such as a pipe.
pub(crate) fn sha256(path: &Path) -> io::Result<String> {
    of::<Sha256>(regular(path, OFlags::NONBLOCK)?)
}

/// The SHA-256 of a file that somebody else has written: no link is followed. Blocks.
pub(crate) fn sha256_of_others(path: &Path) -> io::Result<String> {
    of::<Sha256>(regular(path, OFlags::NONBLOCK | OFlags::NOFOLLOW)?)
}

fn regular(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        let kind = io::ErrorKind::InvalidData;
        return Err(io::Error::new(kind, "no regular file"));
    }
    Ok(file)
}
