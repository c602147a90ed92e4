//! NLTK's packages, from its index, from a mirror, or from a copy on this machine.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;

use super::fetch::{self, Fetcher, Wanted};
use super::folder::{blocking, md5, sha256};
use super::index::{Checksum, Entry, Index, MAX_INDEX};
use super::keep::keep;
use super::place::{Place, remove_all};
use super::stamp::{DataStamp, Found, find, is_whole};
use super::unpack::{self, Amount, Bounds};
use super::{DataError, Package, Rights};
use crate::progress::{Phase, Progress, Report};

/// Where NLTK's own downloader looks.
const INDEX: &str = "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/index.xml";
/// What is taken if nothing is named.
const USUAL: &str = "popular";
/// How long it takes, about, on a usual connection.
const ESTIMATE: Duration = Duration::from_mins(2);

/// Where packages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NltkSource {
    /// NLTK's own index.
    Official,
    /// The address of another index, with the packages beside it.
    Index(Address),
    /// A folder with `index.xml`.
    Folder(PathBuf),
    /// A zip file of such a folder.
    Archive(PathBuf),
}

/// An address on the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(Url);

/// What is to be added.
#[derive(Debug, Clone)]
pub struct NltkWish {
    /// Packages and collections; empty for the usual ones.
    pub names: Vec<String>,
    /// Where they come from.
    pub source: NltkSource,
    /// How large a package may be, unpacked, in bytes.
    pub max_size: u64,
    /// Who may use them.
    pub rights: Rights,
}

/// What would be done.
#[derive(Debug)]
pub struct NltkPlan {
    /// Packages that are to be got.
    pub wanted: Vec<Planned>,
    /// Names of those that are there already.
    pub there: Vec<String>,
    entries: Vec<Entry>,
    origin: Origin,
}

/// A package that is to be got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its name.
    pub id: String,
    /// Where it will be, relative to the data's folder.
    pub place: String,
    /// How much is downloaded, in bytes, as the index says.
    pub download: u64,
    /// Whether another version of it is there.
    pub replaces: bool,
}

/// Where files are taken from, once the index has been read.
#[derive(Debug)]
enum Origin {
    Web(Url),
    Folder(PathBuf),
    Archive { file: PathBuf, base: String },
}

impl NltkSource {
    /// Reads what was given for `--from`.
    pub fn parse(text: Option<&str>) -> Result<Self, DataError> {
        let Some(text) = text else {
            return Ok(Self::Official);
        };
        if !text.contains("://") {
            let path = PathBuf::from(text);
            let data = fs::metadata(&path).map_err(DataError::io("read", &path))?;
            return Ok(if data.is_dir() {
                Self::Folder(path)
            } else {
                Self::Archive(path)
            });
        }
        let mut url = fetch::parse(text)?;
        let is_file = Path::new(url.path())
            .extension()
            .is_some_and(|end| end == "xml");
        if !is_file {
            let path = format!("{}/index.xml", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(Self::Index(Address(url)))
    }
}

/// Finds out what would be done; changes nothing.
pub async fn plan_nltk(path: &Path, wish: &NltkWish) -> Result<NltkPlan, DataError> {
    let (index, origin) = match &wish.source {
        NltkSource::Official => {
            let url = fetch::parse(INDEX)?;
            (web_index(&url).await?, Origin::Web(url))
        }
        NltkSource::Index(Address(url)) => (web_index(url).await?, Origin::Web(url.clone())),
        NltkSource::Folder(folder) => {
            let file = folder.join("index.xml");
            let input = File::open(&file).map_err(DataError::io("read", &file))?;
            let text = read(input, &file)?;
            let index = Index::parse(&text, &file.display().to_string())?;
            (index, Origin::Folder(folder.clone()))
        }
        NltkSource::Archive(file) => {
            let file = file.clone();
            blocking(path, move || archive_index(file)).await?
        }
    };
    let usual = [USUAL.to_owned()];
    let names = if wish.names.is_empty() {
        &usual[..]
    } else {
        &wish.names
    };
    let asked = path.to_owned();
    let (old, damaged) = blocking(path, move || {
        let old = match find(&asked)? {
            Found::Nothing => DataStamp::default(),
            Found::Data(stamp) => stamp,
            Found::Other => return Err(DataError::NotOurs { path: asked }),
        };
        let damaged = old.packages.iter().filter(|one| !is_whole(&asked, one));
        let damaged: BTreeSet<String> = damaged.map(|one| one.id.clone()).collect();
        Ok((old, damaged))
    })
    .await?;
    let mut plan = NltkPlan {
        wanted: Vec::new(),
        there: Vec::new(),
        entries: Vec::new(),
        origin,
    };
    for entry in index.choose(names)? {
        let old = old.find(&entry.id);
        let is_same = old.is_some_and(|old| old.checksum == entry.checksum.text());
        if is_same && !damaged.contains(&entry.id) {
            plan.there.push(entry.id);
            continue;
        }
        plan.wanted.push(Planned {
            id: entry.id.clone(),
            place: place_of(&entry),
            download: entry.size,
            replaces: old.is_some(),
        });
        plan.entries.push(entry);
    }
    Ok(plan)
}

/// Puts packages beside those that are there already, all at once. `None` if there is nothing to do.
///
/// May be dropped at any moment: then there is what was there before, and downloads go on the next time.
pub async fn add_nltk(
    path: &Path,
    wish: &NltkWish,
    progress: &dyn Progress,
) -> Result<Option<DataStamp>, DataError> {
    let plan = plan_nltk(path, wish).await?;
    let place = Place::take(path)?;
    let old = place.replaceable()?;
    if plan.entries.is_empty() {
        // The configuration may have changed, or something be left of a run that was broken off.
        if old.is_some() {
            let rights = wish.rights.clone();
            blocking(path, move || place.leave(&rights)).await?;
        }
        return Ok(None);
    }
    let old = old.unwrap_or_default();
    let sizes = |size: fn(&Entry) -> u64| plan.entries.iter().map(size).sum::<u64>();
    let total = sizes(|entry| entry.size);
    place.check_room(total.saturating_add(sizes(|entry| entry.unzipped_size)))?;
    let downloads = place.downloads()?;
    let mut files = Vec::new();
    let mut done = 0;
    for entry in &plan.entries {
        let mut seen = |bytes: u64| progress.report(&told(entry, done + bytes, total));
        seen(0);
        let file = downloads.join(format!("{}-{}.zip", entry.id, entry.checksum.text()));
        plan.origin
            .get(entry, &file, wish.max_size, &mut seen)
            .await?;
        files.push((entry.clone(), file));
        done += entry.size;
    }
    progress.report(&Report {
        phase: Phase::Installing,
        text: match &files[..] {
            [(entry, _)] => format!("unpacking {}", entry.id),
            _ => format!("unpacking {} packages", files.len()),
        },
        fraction: Some(0.8),
        estimate: ESTIMATE,
    });
    let (max_size, rights) = (wish.max_size, wish.rights.clone());
    let source = plan.origin.shown();
    blocking(path, move || {
        let stage = place.stage()?;
        let mut packages = Vec::new();
        for package in old.packages {
            if !files.iter().any(|(entry, _)| entry.id == package.id)
                && keep(place.path(), &package, &stage)?
            {
                packages.push(package);
            }
        }
        for (entry, file) in &files {
            let amount = put(entry, file, &stage, max_size)?;
            packages.push(Package {
                id: entry.id.clone(),
                place: place_of(entry),
                checksum: entry.checksum.text().to_owned(),
                files: amount.files,
                bytes: amount.bytes,
            });
        }
        packages.sort_by(|a, b| a.id.cmp(&b.id));
        let stamp = DataStamp { source, packages };
        place.commit(&stamp, &rights)?;
        Ok(Some(stamp))
    })
    .await
}

fn told(entry: &Entry, done: u64, total: u64) -> Report {
    #[expect(clippy::cast_precision_loss, reason = "it is for a bar")]
    let fraction = 0.8 * (done as f32 / total.max(1) as f32).min(1.0);
    Report {
        phase: Phase::Downloading,
        text: format!("downloading {}", entry.id),
        fraction: Some(fraction),
        estimate: ESTIMATE,
    }
}

/// Where a package is, relative to the data's folder.
fn place_of(entry: &Entry) -> String {
    let ending = if entry.unzip { "" } else { ".zip" };
    format!("{}/{}{ending}", entry.subdir, entry.id)
}

impl Origin {
    /// As it may be shown.
    fn shown(&self) -> String {
        match self {
            Self::Web(url) => fetch::shown(url),
            Self::Folder(path) | Self::Archive { file: path, .. } => path.display().to_string(),
        }
    }

    /// Gets a package's file, and sees that it is the right one.
    async fn get(
        &self,
        entry: &Entry,
        file: &Path,
        limit: u64,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), DataError> {
        let inside = format!("packages/{}/{}.zip", entry.subdir, entry.id);
        match self {
            Self::Web(index) => {
                let url = file_url(index, entry, &inside)?;
                let fetcher = Fetcher::new()?;
                let went_on = file.exists();
                let wanted = Wanted {
                    url: &url,
                    file,
                    limit,
                    is_known: true,
                };
                fetcher.to_file(wanted, seen).await?;
                match verify(entry, file).await {
                    // What was left of an earlier run may have been broken.
                    Err(DataError::Checksum { .. }) if went_on => {
                        remove_all(file)?;
                        fetcher.to_file(wanted, seen).await?;
                    }
                    done => return done,
                }
            }
            Self::Folder(folder) => {
                let plain = format!("{}/{}.zip", entry.subdir, entry.id);
                let source = [inside, plain].map(|place| folder.join(place));
                let source = source.iter().find(|path| path.is_file());
                let source = source.ok_or_else(|| missing(entry, folder))?;
                fs::copy(source, file).map_err(DataError::io("copy", source))?;
            }
            Self::Archive {
                file: archive,
                base,
            } => {
                let (archive, inside) = (archive.clone(), format!("{base}{inside}"));
                let (entry, target) = (entry.clone(), file.to_owned());
                blocking(file, move || {
                    take_out(&archive, &inside, &entry, &target, limit)
                })
                .await?;
            }
        }
        verify(entry, file).await
    }
}

/// Where a package's file is: where the index says, if that is beside the index or the index is NLTK's own; else beside it,
/// as an index that was mirrored still names NLTK's own server.
fn file_url(index: &Url, entry: &Entry, inside: &str) -> Result<Url, DataError> {
    if let Ok(url) = fetch::parse(&entry.url)
        && url.origin() == index.origin()
    {
        return Ok(url);
    }
    index.join(inside).map_err(|_| DataError::BadSource {
        text: fetch::shown(index),
        why: "nothing can be beside it",
    })
}

/// Checks everything that the index tells, and removes what is not right: it is no beginning of anything.
async fn verify(entry: &Entry, file: &Path) -> Result<(), DataError> {
    let (
        id,
        Checksum {
            md5: want_md5,
            sha256: want_sha256,
        },
    ) = (entry.id.clone(), entry.checksum.clone());
    let path = file.to_owned();
    blocking(file, move || {
        for (expected, sum) in [
            (want_sha256, sha256 as fn(&Path) -> _),
            (want_md5, md5 as fn(&Path) -> _),
        ] {
            let Some(expected) = expected else { continue };
            let found = sum(&path)?;
            if found != expected {
                remove_all(&path)?;
                return Err(DataError::Checksum {
                    what: format!("{id}.zip"),
                    found,
                    expected,
                });
            }
        }
        Ok(())
    })
    .await
}

fn missing(entry: &Entry, place: &Path) -> DataError {
    DataError::BadIndex {
        what: place.display().to_string(),
        why: format!("the file of the package {} is not beside it", entry.id),
    }
}

async fn web_index(url: &Url) -> Result<Index, DataError> {
    let text = Fetcher::new()?.text(url, MAX_INDEX).await?;
    Index::parse(&text, &fetch::shown(url))
}

fn read(input: impl io::Read, file: &Path) -> Result<String, DataError> {
    let mut text = String::new();
    input
        .take(MAX_INDEX)
        .read_to_string(&mut text)
        .map_err(DataError::io("read", file))?;
    Ok(text)
}

fn open_zip(file: &Path) -> Result<zip::ZipArchive<File>, DataError> {
    let input = File::open(file).map_err(DataError::io("read", file))?;
    zip::ZipArchive::new(input).map_err(|error| DataError::BadArchive {
        what: file.display().to_string(),
        why: error.to_string(),
    })
}

/// Finds the index in a zip file: at its top, or in the one folder that everything is in.
fn archive_index(file: PathBuf) -> Result<(Index, Origin), DataError> {
    let mut archive = open_zip(&file)?;
    let what = file.display().to_string();
    let is_index = |name: &String| {
        let base = name.strip_suffix("index.xml");
        base.is_some_and(|base| base.is_empty() || base.ends_with('/'))
    };
    let names = archive.file_names().filter_map(Result::ok);
    let name = names
        .map(std::borrow::Cow::into_owned)
        .filter(is_index)
        .min_by_key(String::len)
        .ok_or_else(|| DataError::BadIndex {
            what: what.clone(),
            why: "there is no index.xml in it".to_owned(),
        })?;
    let entry = archive
        .by_name(&name)
        .map_err(|error| DataError::BadArchive {
            what: what.clone(),
            why: error.to_string(),
        })?;
    let text = read(entry, &file)?;
    let base = name
        .strip_suffix("index.xml")
        .unwrap_or_default()
        .to_owned();
    Ok((Index::parse(&text, &what)?, Origin::Archive { file, base }))
}

/// Takes a package's file out of an archive of all.
fn take_out(
    archive: &Path,
    inside: &str,
    entry: &Entry,
    target: &Path,
    limit: u64,
) -> Result<(), DataError> {
    let mut opened = open_zip(archive)?;
    let input = opened
        .by_name(inside)
        .map_err(|_| missing(entry, archive))?;
    let mut output = File::create(target).map_err(DataError::io("write", target))?;
    let count = io::copy(&mut input.take(limit.saturating_add(1)), &mut output)
        .map_err(DataError::io("write", target))?;
    if count > limit {
        return Err(DataError::TooLarge {
            what: entry.id.clone(),
            limit,
        });
    }
    Ok(())
}

/// Puts a package's file into the stage, as NLTK wants it.
fn put(entry: &Entry, file: &Path, stage: &Path, limit: u64) -> Result<Amount, DataError> {
    let folder = stage.join(&entry.subdir);
    fs::create_dir_all(&folder).map_err(DataError::io("make the folder", &folder))?;
    if entry.unzip {
        let bounds = Bounds {
            bytes: limit,
            below: Some(&entry.id),
        };
        return unpack::archive(file, &format!("{}.zip", entry.id), &folder, bounds);
    }
    let target = stage.join(place_of(entry));
    let mut input = File::open(file).map_err(DataError::io("read", file))?;
    let mut output = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&target)
        .map_err(DataError::io("write", &target))?;
    let bytes = io::copy(&mut input, &mut output).map_err(DataError::io("write", &target))?;
    Ok(Amount { files: 1, bytes })
}
