//! Passwords that are known to Lyceum itself: read from files, compared without telling anything by the time it takes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use lyceum_core::Secret;
use lyceum_core::random::{Randomness, SystemRandomness};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};
use thiserror::Error;

/// The longest password that is read from a file, in bytes.
const MAX_BYTES: usize = 4096;

/// Why a password cannot be used.
#[derive(Debug, Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("could not read the password in {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file is too long to be a password.
    #[error("the password in {0} is longer than {MAX_BYTES} bytes")]
    TooLong(PathBuf),
    /// The first line of the file is empty.
    #[error("the first line of {0} is empty, and has to be the password")]
    Empty(PathBuf),
}

/// Reads a password: the first line of a file, without the end of the line. Blocks, briefly.
pub(crate) fn read(path: &Path) -> Result<Secret<String>, PasswordError> {
    let unreadable = |source| PasswordError::Unreadable {
        path: path.to_owned(),
        source,
    };
    // Whole at once, so that growing leaves no copy of a secret behind.
    let mut content = String::with_capacity(MAX_BYTES + 1);
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_string(&mut content))
        .map_err(unreadable)?;
    let content = Secret::new(content);
    if content.expose().len() > MAX_BYTES {
        return Err(PasswordError::TooLong(path.to_owned()));
    }
    match content.expose().lines().next() {
        Some(line) if !line.is_empty() => Ok(line.into()),
        _ => Err(PasswordError::Empty(path.to_owned())),
    }
}

/// Turns texts into marks of equal length, which can be compared in a time that depends on nothing secret.
///
/// The key is drawn anew for each process, so that a mark is of no use to anybody else.
pub(crate) struct Marker(Hmac<Sha256>);

/// The mark of a text.
#[derive(Clone, Copy)]
pub(crate) struct Mark([u8; 32]);

impl Marker {
    pub(crate) fn new() -> Self {
        // As long as a block of the hash, so that it is used as it is (RFC 2104 §3).
        let mut key = [0; 64];
        SystemRandomness.fill(&mut key);
        Self(Hmac::new(&key.into()))
    }

    /// Marks a text. The time depends on the length of this text alone.
    pub(crate) fn mark(&self, text: &str) -> Mark {
        let mut mac = self.0.clone();
        mac.update(text.as_bytes());
        Mark(mac.finalize().into_bytes().into())
    }
}

impl Mark {
    /// Compares two marks in constant time.
    pub(crate) fn is(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let check = |content: &str, expected: Option<&str>| {
            std::fs::write(&path, content).unwrap();
            let found = read(&path).ok().map(|found| found.expose().clone());
            assert_eq!(found.as_deref(), expected, "{content:?}");
        };
        check("open sesame", Some("open sesame"));
        check("open sesame\n", Some("open sesame"));
        check("open sesame\r\nsecond line", Some("open sesame"));
        check(" spaces stay \n", Some(" spaces stay "));
        check("", None);
        check("\nlater", None);
        check(&"x".repeat(4096), Some(&"x".repeat(4096)));
        check(&"x".repeat(4097), None);
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(read(&path), Err(PasswordError::Unreadable { .. })));
        assert!(read(&dir.path().join("none")).is_err());
    }

    #[test]
    fn marks_are_equal_for_equal_texts_of_one_process_only() {
        let marker = Marker::new();
        let same = |left: &Mark, right: &Mark| bool::from(left.is(right));
        assert!(same(&marker.mark("ada"), &marker.mark("ada")));
        assert!(!same(&marker.mark("ada"), &marker.mark("ad")));
        assert!(!same(&marker.mark("ada"), &Marker::new().mark("ada")));
    }
}
