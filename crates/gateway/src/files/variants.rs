//! Compressed contents on the disk, made once and found again by every later start.
//!
//! ```text
//! static-cache/1/            1 is the format: other levels are another folder
//!   8f1d….br                 the content with the hash 8f1d…, in brotli, and 16 bytes of hash after it
//!   8f1d….zst, 8f1d….gz
//!   77ab….br                 nothing but the 16 bytes: compression does not pay here
//!   8f1d….br.new             being written; left over from a crash, the next sweep removes it
//! ```
//!
//! Names are contents: environments share what is the same in them, and nothing here is ever out of date. A file
//! is renamed into place when it is whole, and its hash is looked at whenever it is read, so that neither a kill
//! nor a power cut at any moment makes an answer wrong.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;

use super::index::ContentHash;
use crate::compress::Coding;

/// Changes with the levels or the form of the files.
const FORMAT: &str = "1";
/// How many bytes of hash follow the content.
const TRAILER: usize = 16;
/// The strongest levels: the work is done once, at a low priority. See `docs/benchmarks.md`.
/// One step more takes twice the time for two per cent.
const BROTLI_QUALITY: i32 = 10;
const BROTLI_WINDOW: i32 = 22;
const ZSTD_LEVEL: i32 = 19;
const GZIP_LEVEL: u32 = 9;

/// The folder of compressed contents.
#[derive(Debug, Clone)]
pub(super) struct VariantStore {
    folder: PathBuf,
}

impl VariantStore {
    /// Opens the folder below `cache`, and makes it if it is missing.
    pub(super) fn open(cache: &Path) -> io::Result<Self> {
        let folder = cache.join(FORMAT);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, hash: &ContentHash, coding: Coding) -> PathBuf {
        self.folder.join(file_name(hash, coding))
    }

    /// The length of a content in a coding, if it was made: 0 if it does not pay. Looks at one name, reads nothing.
    pub(super) fn find(&self, hash: &ContentHash, coding: Coding) -> Option<u64> {
        let metadata = fs::symlink_metadata(self.path(hash, coding)).ok()?;
        let regular = metadata.is_file();
        metadata
            .len()
            .checked_sub(TRAILER as u64)
            .filter(|_| regular)
    }

    /// Reads a content in a coding. One that is damaged is removed, so that it is made again.
    pub(super) fn read(&self, hash: &ContentHash, coding: Coding) -> io::Result<Bytes> {
        let path = self.path(hash, coding);
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(nofollow())
            .open(&path)?;
        let mut all = Vec::new();
        file.read_to_end(&mut all)?;
        let sound = all
            .split_last_chunk::<TRAILER>()
            .is_some_and(|(content, trailer)| ContentHash::of(content).bytes() == trailer);
        if !sound {
            tracing::warn!(
                "the compressed file {} is damaged, and is made anew by the next start",
                path.display()
            );
            fs::remove_file(&path)?;
            return Err(io::ErrorKind::InvalidData.into());
        }
        all.truncate(all.len() - TRAILER);
        Ok(Bytes::from(all))
    }

    /// Makes a content in a coding, and gives its length; 0 if that does not pay. Takes seconds for megabytes.
    pub(super) fn make(
        &self,
        content: &[u8],
        hash: &ContentHash,
        coding: Coding,
    ) -> io::Result<u64> {
        let mut packed = compress(content, coding)?;
        // Less than a twentieth is not worth unpacking.
        if packed.len() > content.len() - content.len() / 20 {
            packed.clear();
        }
        let length = packed.len() as u64;
        let trailer = ContentHash::of(&packed);
        packed.extend_from_slice(trailer.bytes());
        let path = self.path(hash, coding);
        let draft = self.folder.join(format!("{}.new", file_name(hash, coding)));
        let written = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(nofollow())
            .open(&draft)
            .and_then(|mut file| file.write_all(&packed))
            .and_then(|()| fs::rename(&draft, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&draft);
            return Err(error);
        }
        Ok(length)
    }

    /// Removes what is none of these contents, and what a crash has left; gives the number of files.
    pub(super) fn sweep(&self, contents: &HashSet<ContentHash>) -> io::Result<usize> {
        let wanted: HashSet<String> = contents
            .iter()
            .flat_map(|hash| Coding::BY_SIZE.map(|coding| file_name(hash, coding)))
            .collect();
        let mut removed = 0;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let unwanted = entry
                .file_name()
                .to_str()
                .is_none_or(|name| !wanted.contains(name));
            if unwanted && entry.file_type()?.is_file() {
                fs::remove_file(entry.path())?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn nofollow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0)
}

fn file_name(hash: &ContentHash, coding: Coding) -> String {
    let extension = match coding {
        Coding::Brotli => "br",
        Coding::Zstd => "zst",
        Coding::Gzip => "gz",
    };
    format!("{hash}.{extension}")
}

fn compress(content: &[u8], coding: Coding) -> io::Result<Vec<u8>> {
    match coding {
        Coding::Brotli => {
            let params = BrotliEncoderParams {
                quality: BROTLI_QUALITY,
                lgwin: BROTLI_WINDOW,
                size_hint: content.len(),
                ..BrotliEncoderParams::default()
            };
            let mut packed = Vec::new();
            brotli::BrotliCompress(&mut &*content, &mut packed, &params)?;
            Ok(packed)
        }
        // The window is at most as large as the content, and so far below what browsers allow (8 MiB).
        Coding::Zstd => zstd::bulk::compress(content, ZSTD_LEVEL),
        Coding::Gzip => {
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(content)?;
            encoder.finish()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, VariantStore) {
        let base = tempfile::tempdir().unwrap();
        let store = VariantStore::open(&base.path().join("static-cache")).unwrap();
        (base, store)
    }

    #[test]
    fn what_was_made_is_found_and_read_again() {
        let (base, store) = store();
        let content = b"to be or not to be ".repeat(100);
        let hash = ContentHash::of(&content);
        for coding in Coding::BY_SIZE {
            assert_eq!(store.find(&hash, coding), None);
            let length = store.make(&content, &hash, coding).unwrap();
            assert!(length > 0 && length < 100, "{coding:?} {length}");
            let again = VariantStore::open(&base.path().join("static-cache")).unwrap();
            assert_eq!(again.find(&hash, coding), Some(length));
            assert_eq!(again.read(&hash, coding).unwrap().len() as u64, length);
        }
    }

    #[test]
    fn what_does_not_pay_is_remembered_as_such() {
        let (_base, store) = store();
        let noise: Vec<u8> = (0..64).map(|i: u8| i.wrapping_mul(167) ^ 0x5a).collect();
        let hash = ContentHash::of(&noise);
        for coding in Coding::BY_SIZE {
            assert_eq!(store.make(&noise, &hash, coding).unwrap(), 0);
            assert_eq!(store.find(&hash, coding), Some(0));
        }
    }

    #[test]
    fn a_damaged_or_half_written_file_is_never_given_out() {
        let (_base, store) = store();
        let content = b"abc ".repeat(500);
        let hash = ContentHash::of(&content);
        let path = store.path(&hash, Coding::Gzip);
        store.make(&content, &hash, Coding::Gzip).unwrap();
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        flipped[5] ^= 1;
        let zeros = vec![0; whole.len()];
        for damaged in [
            &whole[..whole.len() - 1],
            &flipped,
            &zeros,
            &whole[..3],
            b"",
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(store.read(&hash, Coding::Gzip).is_err());
            assert!(!path.exists());
        }
        store.make(&content, &hash, Coding::Gzip).unwrap();
        assert!(store.read(&hash, Coding::Gzip).is_ok());
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let (base, store) = store();
        let content = b"abc ".repeat(500);
        let hash = ContentHash::of(&content);
        let target = base.path().join("target");
        fs::write(&target, "left alone").unwrap();
        let draft = store.folder.join(format!("{hash}.gz.new"));
        std::os::unix::fs::symlink(&target, &draft).unwrap();
        assert!(store.make(&content, &hash, Coding::Gzip).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "left alone");
        std::os::unix::fs::symlink(&target, store.path(&hash, Coding::Zstd)).unwrap();
        assert_eq!(store.find(&hash, Coding::Zstd), None);
        assert!(store.read(&hash, Coding::Zstd).is_err());
    }

    #[test]
    fn a_sweep_removes_what_is_not_wanted_and_what_a_crash_left() {
        let (_base, store) = store();
        let content = b"abc ".repeat(500);
        let (kept, gone) = (ContentHash::of(&content), ContentHash::of(b"gone"));
        store.make(&content, &kept, Coding::Gzip).unwrap();
        store.make(&content, &gone, Coding::Gzip).unwrap();
        fs::write(store.folder.join(format!("{kept}.br.new")), "half").unwrap();
        assert_eq!(store.sweep(&HashSet::from([kept])).unwrap(), 2);
        assert!(store.find(&kept, Coding::Gzip).is_some());
        assert_eq!(store.find(&gone, Coding::Gzip), None);
    }
}
