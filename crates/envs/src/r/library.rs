//! A site library: its generations, and what can be done with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use tokio::time::Instant;

use super::build::{Builder, blocking};
use super::error::{RError, io};
use super::interpreter::Interpreter;
use super::room::Room;
use super::site;
use super::usage::{User, find_users};
use super::{Account, BuildReport, RSpec, Stamp, Upgrade};
use crate::command::end_left_over;
use crate::generations::Generations;
use crate::progress::{Phase, Progress, Report};

/// How long we wait for somebody else who builds the same library.
const LOCK_LIMIT: Duration = Duration::from_hours(2);

/// A site library, for any series of R.
#[derive(Debug, Clone)]
pub struct RLibrary {
    /// `<envs>/r`, absolute and without links as far as it exists.
    root: PathBuf,
    name: String,
}

/// One generation, as a list shows it.
#[derive(Debug, Clone, Serialize)]
pub struct GenerationInfo {
    /// The series of R.
    pub series: String,
    /// Its number.
    pub number: u32,
    /// Whether new starts of R get it.
    pub current: bool,
    /// Whether all that is required is in it.
    pub complete: bool,
    /// The version of R that built it.
    pub r: String,
    /// When it was finished.
    pub finished: SystemTime,
    /// How many packages it has, without the distribution's.
    pub packages: usize,
    /// The bytes of its files.
    pub bytes: u64,
    /// Those of them that no other generation has.
    pub own_bytes: u64,
    /// Packages of the list that are not in it, with the reason.
    pub failed: BTreeMap<String, String>,
    /// The processes that use it, as far as we may see them.
    pub users: Vec<User>,
}

/// How a package differs between two generations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The package.
    pub name: String,
    /// Its version in the first, if it is there.
    pub before: Option<String>,
    /// Its version in the second, if it is there.
    pub after: Option<String>,
}

/// What was collected, or why not.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Collected {
    /// The generations that were removed: series and number.
    pub removed: Vec<(String, u32)>,
    /// Those that are kept because of processes.
    pub in_use: Vec<(String, u32, Vec<User>)>,
}

impl RLibrary {
    /// A library below the folder of all environments.
    pub fn new(envs: &Path, name: &str) -> Result<Self, RError> {
        let envs = envs
            .canonicalize()
            .or_else(|_| std::path::absolute(envs))
            .map_err(io("find", envs))?;
        Ok(Self {
            root: envs.join("r"),
            name: name.to_owned(),
        })
    }

    /// The folder with all series.
    pub fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// The library that new starts of R with this series get.
    pub fn current(&self, series: &str) -> PathBuf {
        self.folder().join(series).join("current/library")
    }

    /// The same for any R: it puts its own series in the place of `%v`. For `R_LIBS_SITE`.
    pub fn pattern(&self) -> PathBuf {
        self.current("%v")
    }

    /// What R runs when it starts.
    pub fn start_file(&self) -> PathBuf {
        self.folder().join("library.R")
    }

    fn generations(&self, series: &str) -> Generations {
        Generations::new(self.folder().join(series))
    }

    /// Builds a generation beside the others, without switching to it; nothing if nothing would change. May be dropped at
    /// any await and killed at any instruction: the next call cleans up.
    pub async fn build(
        &self,
        spec: &RSpec,
        upgrade: &Upgrade,
        progress: &dyn Progress,
    ) -> Result<BuildReport, RError> {
        let generations = self.generations(&spec.interpreter.version.series());
        generations.create_folder()?;
        let _lock = generations
            .lock(LOCK_LIMIT, |holder| report_waiting(progress, holder))
            .await?;
        end_left_over(generations.folder()).await?;
        let (owned, half) = (generations.clone(), generations.list_half_built()?);
        blocking(move || {
            for number in half {
                owned.remove(number)?;
            }
            Ok(())
        })
        .await?;
        site::write_start_file(self)?;
        let number = generations.next_number()?;
        let result = self
            .build_as(number, &generations, spec, upgrade, progress)
            .await;
        let keep = matches!(&result, Ok(report) if report.generation.is_some());
        let (owned, logs) = (
            generations.clone(),
            generations.folder().join(format!("{number}.logs")),
        );
        // What happened to the build is what must be heard of; what cannot be removed now, the next build removes.
        let _ = blocking(move || {
            if keep {
                let folder = owned.path(number).join("build");
                fs::remove_dir_all(&folder).map_err(io("remove", folder))?;
            } else {
                owned.remove(number)?;
            }
            Ok(())
        })
        .await;
        if matches!(&result, Ok(report) if report.generation.is_none() && report.failed().next().is_none())
        {
            let _ = fs::remove_dir_all(logs);
        }
        result
    }

    async fn build_as(
        &self,
        number: u32,
        generations: &Generations,
        spec: &RSpec,
        upgrade: &Upgrade,
        progress: &dyn Progress,
    ) -> Result<BuildReport, RError> {
        let begun = Instant::now();
        let path = generations.path(number);
        let library = path.join("library");
        let cache = self.folder().join("cache");
        for folder in [&library, &cache] {
            fs::create_dir_all(folder).map_err(io("create the folder", folder))?;
        }
        let logs = generations.folder().join(format!("{number}.logs"));
        let _ = fs::remove_dir_all(&logs);
        if let Some(account) = &spec.account {
            give(&library, account, true)?;
            give(&cache, account, false)?;
        }
        let mut room = Room {
            folder: path.join("build"),
            library,
            logs,
            mark: generations.folder().to_owned(),
            interpreter: &spec.interpreter,
            account: spec.account.clone(),
            libraries: Vec::new(),
        };
        let builder = Builder {
            spec,
            upgrade,
            progress,
            previous: self.previous(generations)?,
            cache,
            ours: self.root.clone(),
            dry_run: false,
            begun,
        };
        let (mut report, stamp) = builder.fill(&mut room).await?;
        if let Some(stamp) = stamp {
            let owned = generations.clone();
            blocking(move || Ok(owned.complete(number, &stamp)?)).await?;
            report.generation = Some(number);
            progress.report(&Report {
                phase: Phase::Done,
                text: format!("generation {number} is built"),
                fraction: Some(1.0),
                estimate: begun.elapsed(),
            });
        }
        Ok(report)
    }

    /// Says what a build would do. Writes nothing but below the folder for temporary files.
    pub async fn plan(
        &self,
        spec: &RSpec,
        upgrade: &Upgrade,
        progress: &dyn Progress,
    ) -> Result<BuildReport, RError> {
        let generations = self.generations(&spec.interpreter.version.series());
        let scratch = Scratch::new(spec.account.as_ref())?;
        let mut room = Room {
            folder: scratch.0.join("build"),
            library: scratch.0.join("library"),
            logs: scratch.0.join("logs"),
            mark: scratch.0.clone(),
            interpreter: &spec.interpreter,
            account: spec.account.clone(),
            libraries: Vec::new(),
        };
        let builder = Builder {
            spec,
            upgrade,
            progress,
            previous: self.previous(&generations)?,
            cache: scratch.0.clone(),
            ours: self.root.clone(),
            dry_run: true,
            begun: Instant::now(),
        };
        let (report, _) = builder.fill(&mut room).await?;
        Ok(report)
    }

    /// The newest generation that was finished, whether it can be switched to or not.
    fn previous(&self, generations: &Generations) -> Result<Option<(Stamp, PathBuf)>, RError> {
        if !generations.folder().is_dir() {
            return Ok(None);
        }
        let newest = generations.find_newest::<Stamp>()?;
        Ok(newest
            .filter(|(_, stamp)| stamp.format == super::build::FORMAT)
            .map(|(number, stamp)| (stamp, generations.path(number).join("library"))))
    }

    /// Lets new starts of R have a generation: the newest complete one, if none is named. Gives its number, and the number
    /// of the one before, which R that runs keeps.
    pub async fn switch(
        &self,
        series: &str,
        number: Option<u32>,
    ) -> Result<(u32, Option<u32>), RError> {
        let generations = self.generations(series);
        let all = self.stamps(&generations)?;
        let number = match number {
            Some(number) => number,
            None => all
                .iter()
                .rev()
                .find(|(_, stamp)| stamp.lacking.is_empty())
                .map(|(number, _)| *number)
                .ok_or_else(|| RError::NothingBefore {
                    path: generations.folder().to_owned(),
                })?,
        };
        let stamp = all.get(&number).ok_or_else(|| RError::NoGeneration {
            number,
            path: generations.folder().to_owned(),
        })?;
        if !stamp.lacking.is_empty() {
            return Err(RError::Incomplete {
                number,
                missing: stamp.lacking.clone(),
            });
        }
        let before = generations
            .find_current::<Stamp>()
            .map(|(number, _)| number);
        let folder = generations.folder().to_owned();
        blocking(move || {
            // Written first: an R that starts between the two is thought to use the old one, which only delays its end.
            if let Some(before) = before.filter(|before| *before != number) {
                let path = folder.join(format!("{before}.left"));
                fs::write(&path, "").map_err(io("write", path))?;
            }
            generations.switch(number)?;
            let _ = fs::remove_file(folder.join(format!("{number}.left")));
            Ok(())
        })
        .await?;
        Ok((number, before))
    }

    /// Goes back to the newest complete generation that is older than the current one.
    pub async fn roll_back(&self, series: &str) -> Result<(u32, Option<u32>), RError> {
        let generations = self.generations(series);
        let current = generations
            .find_current::<Stamp>()
            .map(|(number, _)| number);
        let found = self
            .stamps(&generations)?
            .into_iter()
            .rev()
            .find(|(number, stamp)| {
                current.is_some_and(|current| *number < current) && stamp.lacking.is_empty()
            });
        match found {
            Some((number, _)) => self.switch(series, Some(number)).await,
            None => Err(RError::NothingBefore {
                path: generations.folder().to_owned(),
            }),
        }
    }

    fn stamps(&self, generations: &Generations) -> Result<BTreeMap<u32, Stamp>, RError> {
        if !generations.folder().is_dir() {
            return Ok(BTreeMap::new());
        }
        let numbers = generations.list()?;
        Ok(numbers
            .into_iter()
            .filter_map(|number| Some((number, generations.find_stamp(number)?)))
            .collect())
    }

    /// The series of R for which there are generations, the oldest first.
    pub fn series(&self) -> Vec<String> {
        let mut found: Vec<(u32, u32, String)> = fs::read_dir(self.folder())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let (major, minor) = name.split_once('.')?;
                Some((major.parse().ok()?, minor.parse().ok()?, name))
            })
            .collect();
        found.sort();
        found.into_iter().map(|(_, _, name)| name).collect()
    }

    /// The number of the current generation.
    pub fn find_current(&self, series: &str) -> Option<u32> {
        self.generations(series)
            .find_current::<Stamp>()
            .map(|(number, _)| number)
    }

    /// Lists all generations that were finished. Blocks: it looks at every file.
    pub fn list(&self, interpreters: &[Interpreter]) -> Result<Vec<GenerationInfo>, RError> {
        let mut list = Vec::new();
        for series in self.series() {
            let generations = self.generations(&series);
            let current = self.find_current(&series);
            for (number, stamp) in self.stamps(&generations)? {
                let path = generations.path(number);
                let (bytes, own_bytes) = size(&path);
                let finished = fs::metadata(&path)
                    .and_then(|data| data.modified())
                    .map_err(io("look at", &path))?;
                list.push(GenerationInfo {
                    users: self.users(&generations, number, interpreters, &series),
                    series: series.clone(),
                    number,
                    current: current == Some(number),
                    complete: stamp.lacking.is_empty(),
                    r: stamp.r,
                    finished,
                    packages: stamp.packages.len(),
                    bytes,
                    own_bytes,
                    failed: stamp.failed,
                });
            }
        }
        Ok(list)
    }

    fn users(
        &self,
        generations: &Generations,
        number: u32,
        interpreters: &[Interpreter],
        series: &str,
    ) -> Vec<User> {
        let left = generations.folder().join(format!("{number}.left"));
        let left = fs::metadata(left).and_then(|data| data.modified()).ok();
        let home = interpreters
            .iter()
            .find(|one| one.version.series() == series)
            .map(|one| one.home.clone())
            .unwrap_or_default();
        find_users(&generations.path(number), &home, left)
    }

    /// Compares two generations.
    pub fn diff(&self, series: &str, before: u32, after: u32) -> Result<Vec<Difference>, RError> {
        let generations = self.generations(series);
        let versions = |number| -> Result<BTreeMap<String, String>, RError> {
            let stamp: Stamp =
                generations
                    .find_stamp(number)
                    .ok_or_else(|| RError::NoGeneration {
                        number,
                        path: generations.folder().to_owned(),
                    })?;
            let own = stamp
                .packages
                .into_iter()
                .map(|(name, one)| (name, one.version));
            Ok(stamp.here.into_iter().chain(own).collect())
        };
        let (before, after) = (versions(before)?, versions(after)?);
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        Ok(names
            .into_iter()
            .map(|name| Difference {
                name: name.clone(),
                before: before.get(name).cloned(),
                after: after.get(name).cloned(),
            })
            .filter(|one| one.before != one.after)
            .collect())
    }

    /// Removes old generations: all but the current one, the `keep` newest complete ones older than it, newer ones that are
    /// complete, and those that somebody uses.
    pub async fn collect(
        &self,
        keep: usize,
        interpreters: &[Interpreter],
        dry_run: bool,
    ) -> Result<Collected, RError> {
        let mut collected = Collected::default();
        for series in self.series() {
            let generations = self.generations(&series);
            let _lock = generations.lock(LOCK_LIMIT, |_| {}).await?;
            end_left_over(generations.folder()).await?;
            let stamps = self.stamps(&generations)?;
            let current = self.find_current(&series);
            let older: Vec<u32> = stamps
                .iter()
                .filter(|(number, stamp)| {
                    current.is_some_and(|current| **number < current) && stamp.lacking.is_empty()
                })
                .map(|(number, _)| *number)
                .rev()
                .take(keep)
                .collect();
            let newest = stamps.keys().next_back().copied();
            for number in generations.list()? {
                let stays = match stamps.get(&number) {
                    None => false,
                    Some(stamp) => {
                        // Without a current one nothing is old; and the newest is where the next build takes from.
                        let newer = current.is_none_or(|current| number >= current)
                            && stamp.lacking.is_empty();
                        newer || older.contains(&number) || newest == Some(number)
                    }
                };
                if stays {
                    continue;
                }
                let users = self.users(&generations, number, interpreters, &series);
                if !users.is_empty() {
                    collected.in_use.push((series.clone(), number, users));
                    continue;
                }
                if !dry_run {
                    let owned = generations.clone();
                    blocking(move || {
                        // The stamp goes first: what is half removed is no generation.
                        let path = owned.path(number);
                        let gone = owned.folder().join(format!("{number}.gone"));
                        let _ = fs::remove_dir_all(&gone);
                        fs::rename(&path, &gone).map_err(io("remove", &path))?;
                        fs::remove_dir_all(&gone).map_err(io("remove", &gone))?;
                        let _ = fs::remove_dir_all(owned.folder().join(format!("{number}.logs")));
                        let _ = fs::remove_file(owned.folder().join(format!("{number}.left")));
                        Ok(())
                    })
                    .await?;
                }
                collected.removed.push((series.clone(), number));
            }
        }
        Ok(collected)
    }
}

/// Lets the account put new packages into a folder, but not touch those of root that are there; or gives it the folder.
fn give(folder: &Path, account: &Account, shared: bool) -> Result<(), RError> {
    let owner = if shared { 0 } else { account.uid };
    std::os::unix::fs::chown(folder, Some(owner), Some(account.gid))
        .and_then(|()| {
            let mode = if shared { 0o1775 } else { 0o755 };
            fs::set_permissions(folder, fs::Permissions::from_mode(mode))
        })
        .map_err(io("give away", folder))
}

/// The bytes of all files, and of those with one name only.
fn size(folder: &Path) -> (u64, u64) {
    let (mut all, mut own) = (0, 0);
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.path().symlink_metadata() else {
                continue;
            };
            if data.is_dir() {
                pending.push(entry.path());
            } else {
                let bytes = data.blocks() * 512;
                all += bytes;
                own += if data.nlink() > 1 { 0 } else { bytes };
            }
        }
    }
    (all, own)
}

fn report_waiting(progress: &dyn Progress, holder: Option<&str>) {
    let holder = holder
        .map(|holder| format!(" ({holder})"))
        .unwrap_or_default();
    progress.report(&Report {
        phase: Phase::Waiting,
        text: format!("somebody else{holder} builds this library, waiting for it"),
        fraction: None,
        estimate: Duration::from_mins(10),
    });
}

/// A folder for temporary files that goes when it is dropped.
pub(super) struct Scratch(pub(super) PathBuf);

impl Scratch {
    pub(super) fn new(account: Option<&Account>) -> Result<Self, RError> {
        let parent = std::env::temp_dir();
        let mut number = 0_u32;
        loop {
            let path = parent.join(format!("lyceum-r-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let made = Self(path);
                    let mode =
                        fs::Permissions::from_mode(if account.is_some() { 0o755 } else { 0o700 });
                    fs::set_permissions(&made.0, mode).map_err(io("write", &made.0))?;
                    let library = made.0.join("library");
                    fs::create_dir(&library).map_err(io("create the folder", library))?;
                    return Ok(made);
                }
                Err(error)
                    if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 =>
                {
                    number += 1
                }
                Err(error) => return Err(io("create the folder", path)(error)),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
