//! Data from a folder or an archive, here or elsewhere.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use md5::Md5;
use tokio::task::spawn_blocking;

use super::fetch::{self, Fetcher, Wanted};
use super::place::{Place, remove_all};
use super::stamp::is_whole;
use super::unpack::{self, Bounds};
use super::{DataError, DataStamp, Package, Rights};
use crate::digest;
use crate::progress::{Phase, Progress, Report};

/// What is to be put into a place.
#[derive(Debug, Clone)]
pub struct FolderWish {
    /// A folder, an archive, or the address of one.
    pub source: String,
    /// What the archive's SHA-256 has to be.
    pub sha256: Option<String>,
    /// How large it may be, unpacked, in bytes.
    pub max_size: u64,
    /// Who may use it.
    pub rights: Rights,
}

/// Puts a folder or an archive into a place, instead of what we have put there before. `None` if it is the same archive.
///
/// May be dropped at any moment: then the old is there, and a download goes on the next time.
pub async fn add_folder(
    path: &Path,
    wish: &FolderWish,
    progress: &dyn Progress,
) -> Result<Option<DataStamp>, DataError> {
    let is_url = wish.source.contains("://");
    let url = is_url.then(|| fetch::parse(&wish.source)).transpose()?;
    let expected = wish.sha256.as_deref().map(sum).transpose()?;
    if let (Some(url), None) = (&url, &expected)
        && url.scheme() == "http"
    {
        return Err(DataError::NoSum {
            url: fetch::shown(url),
        });
    }
    let mut place = Place::take(path)?;
    let old = place.replaceable()?;
    let (file, source) = match &url {
        Some(url) => {
            let file = match &expected {
                // Halves of different archives do not meet: what has another checksum has another name.
                Some(sum) => place.downloads()?.join(format!("archive-{sum}")),
                None => place.passing_download("archive")?,
            };
            let whole = Whole {
                url,
                file: &file,
                limit: wish.max_size,
                expected: expected.as_deref(),
            };
            whole.download(progress).await?;
            (file, fetch::shown(url))
        }
        None => (PathBuf::from(&wish.source), wish.source.clone()),
    };
    let said = Report {
        phase: Phase::Installing,
        text: format!("unpacking {source}"),
        fraction: Some(0.7),
        estimate: Duration::from_mins(1),
    };
    progress.report(&said);
    let (wish, name) = (wish.clone(), source.clone());
    // What was downloaded has been checked.
    let known = url.and(expected.clone());
    blocking(path, move || {
        let about = fs::metadata(&file).map_err(DataError::io("read", &file))?;
        let is_folder = about.is_dir();
        // A pipe would be waited for, and a device may have no end.
        if !is_folder && !about.is_file() {
            return Err(DataError::BadSource {
                text: source,
                why: "it is neither a file nor a folder",
            });
        }
        let checksum = match (&expected, is_folder) {
            (Some(_), true) => {
                return Err(DataError::BadSum {
                    why: "a folder has no checksum",
                });
            }
            (None, true) => String::new(),
            (_, false) => match known {
                Some(checksum) => checksum,
                None => sha256(&file)?,
            },
        };
        if let Some(expected) = expected.filter(|expected| *expected != checksum) {
            return Err(DataError::Checksum {
                what: source,
                found: checksum,
                expected,
            });
        }
        let same = |old: &DataStamp| {
            let mut same = old.packages.iter().filter(|one| one.checksum == checksum);
            // What was damaged is put there again.
            same.any(|one| is_whole(place.path(), one))
        };
        if !checksum.is_empty() && old.as_ref().is_some_and(same) {
            place.leave(&wish.rights)?;
            return Ok(None);
        }
        let stage = place.stage()?;
        let bounds = Bounds {
            bytes: wish.max_size,
            below: None,
        };
        let amount = if is_folder {
            unpack::copy(&file, &stage, wish.max_size)?
        } else {
            unpack::archive(&file, &source, &stage, bounds)?
        };
        let id = path_name(place.path());
        let stamp = DataStamp {
            source: name,
            packages: vec![Package {
                id,
                place: String::new(),
                checksum,
                files: amount.files,
                bytes: amount.bytes,
            }],
        };
        place.commit(&stamp, &wish.rights)?;
        Ok(Some(stamp))
    })
    .await
}

/// A download that is checked when it is whole, if it is known what it has to be.
pub(super) struct Whole<'a> {
    pub(super) url: &'a reqwest::Url,
    pub(super) file: &'a Path,
    pub(super) limit: u64,
    pub(super) expected: Option<&'a str>,
}

impl Whole<'_> {
    async fn download(&self, progress: &dyn Progress) -> Result<(), DataError> {
        let name = fetch::shown(self.url);
        let mut seen = |bytes: u64| {
            progress.report(&Report {
                phase: Phase::Downloading,
                text: format!("downloading {name}: {} MiB", bytes >> 20),
                fraction: None,
                estimate: Duration::from_mins(1),
            });
        };
        let fetcher = Fetcher::new()?;
        let went_on = self.file.exists();
        let wanted = Wanted {
            url: self.url,
            file: self.file,
            limit: self.limit,
            is_known: self.expected.is_some(),
        };
        fetcher.to_file(wanted, &mut seen).await?;
        match self.verify().await {
            // What was left of an earlier run may have been broken.
            Err(DataError::Checksum { .. }) if went_on => {
                fetcher.to_file(wanted, &mut seen).await?;
                self.verify().await
            }
            done => done,
        }
    }

    /// Removes what is not right: it is no beginning of anything.
    async fn verify(&self) -> Result<(), DataError> {
        let Some(expected) = self.expected.map(str::to_owned) else {
            return Ok(());
        };
        let (file, what) = (self.file.to_owned(), fetch::shown(self.url));
        blocking(self.file, move || {
            let found = sha256(&file)?;
            if found == expected {
                return Ok(());
            }
            remove_all(&file)?;
            Err(DataError::Checksum {
                what,
                found,
                expected,
            })
        })
        .await
    }
}

/// Does what blocks elsewhere. If that breaks off, `path` is what we were working at.
pub(super) async fn blocking<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce() -> Result<T, DataError> + Send + 'static,
) -> Result<T, DataError> {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(DataError::io("work at", path)(io::Error::other(error))),
    }
}

fn path_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Reads a checksum as somebody has typed it.
fn sum(text: &str) -> Result<String, DataError> {
    let text = text.trim().to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(text);
    }
    Err(DataError::BadSum {
        why: "a SHA-256 has 64 digits of 0 to 9 and a to f",
    })
}

pub(super) fn sha256(file: &Path) -> Result<String, DataError> {
    digest::sha256(file).map_err(DataError::io("read", file))
}

pub(super) fn md5(file: &Path) -> Result<String, DataError> {
    let input = File::open(file).map_err(DataError::io("read", file))?;
    digest::of::<Md5>(input).map_err(DataError::io("read", file))
}
