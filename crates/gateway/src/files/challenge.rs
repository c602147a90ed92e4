//! Answers for authorities that another program, such as certbot, puts into a folder. Not those of our own.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::beneath::{Found, Links, Root};
use super::sets::StaticSets;

/// An answer is a token and a fingerprint, and much shorter.
const LONGEST: u64 = 64 * 1024;
/// No token is longer than a name of a file can be.
const LONGEST_TOKEN: usize = 255;

/// A file that may be there.
#[derive(Debug)]
pub(crate) struct ChallengeFile {
    folder: Arc<Path>,
    below: String,
    /// Nothing but its length is wanted.
    pub(crate) to_head: bool,
}

impl ChallengeFile {
    /// The file of a token; `None` if the text can be none (RFC 8555 §8.3).
    pub(crate) fn new(folder: &Arc<Path>, token: &str, to_head: bool) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_token =
            !token.is_empty() && token.len() <= LONGEST_TOKEN && token.bytes().all(plain);
        is_token.then(|| Self {
            folder: Arc::clone(folder),
            below: format!(".well-known/acme-challenge/{token}"),
            to_head,
        })
    }

    /// Reads it, on a thread that may block.
    pub(crate) async fn read(&self, sets: &StaticSets, disk: &Handle) -> Option<Bytes> {
        let (folder, below) = (Arc::clone(&self.folder), self.below.clone());
        let reading = sets.shared().run(disk, move || read(&folder, &below));
        match reading.await {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::debug!(
                    error = %error,
                    "could not read {} below {}",
                    self.below,
                    self.folder.display()
                );
                None
            }
        }
    }
}

fn read(folder: &Path, below: &str) -> io::Result<Bytes> {
    let Found::File(file, id) = Root::open(folder)?.find(below, Links::Inside)? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    if id.size > LONGEST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text.into())
}
