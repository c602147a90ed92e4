//! A site library: its generations, and what can be done with them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::build::{Builder, blocking};
use super::error::{RError, io};
use super::list::PackageList;
use super::lock::{self, RLock};
use super::room::Room;
use super::site;
use super::{Account, BuildReport, RSpec, Stamp, Upgrade};
use crate::command::end_left_over_of;
use crate::generations::{Generations, Lock, held};
use crate::progress::{Phase, Progress, Report};

/// How long we wait for somebody else who builds the same library.
pub(super) const LOCK_LIMIT: Duration = Duration::from_hours(2);

/// A site library, for any series of R.
#[derive(Debug, Clone)]
pub struct RLibrary {
    /// `<envs>/r`, absolute and without links as far as it exists.
    root: PathBuf,
    name: String,
}

/// The right to change a library's list; the system takes it back when the holder ends.
#[derive(Debug)]
pub struct ListLock {
    _lock: Lock,
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

    pub(super) fn generations(&self, series: &str) -> Generations {
        Generations::new(self.folder().join(series))
    }

    /// Waits for the right to change the list by a command: from the reading of it to the writing, with a build between.
    /// Whoever builds without a change does not wait for that.
    pub async fn hold_list(&self, progress: &dyn Progress) -> Result<ListLock, RError> {
        create_open(&self.root)?;
        let lock = Generations::new(self.folder())
            .lock(LOCK_LIMIT, |holder| report_waiting(progress, holder))
            .await?;
        Ok(ListLock { _lock: lock })
    }

    /// Builds a generation beside the others, without switching to it; nothing if nothing would change. May be dropped at
    /// any await and killed at any instruction: the next call cleans up.
    pub async fn build(
        &self,
        spec: &RSpec,
        upgrade: &Upgrade,
        progress: &dyn Progress,
    ) -> Result<BuildReport, RError> {
        let series = spec.interpreter.version.series();
        if let Some(lock) = &spec.lock {
            lock.check(&series, &spec.list)?;
        }
        let generations = self.generations(&series);
        create_open(generations.folder())?;
        let lock = generations
            .lock(LOCK_LIMIT, |holder| report_waiting(progress, holder))
            .await?;
        let work = self.build_locked(&generations, spec, upgrade, progress);
        held(&Arc::new(lock), Box::pin(work)).await
    }

    /// The same, by the holder of the lock.
    async fn build_locked(
        &self,
        generations: &Generations,
        spec: &RSpec,
        upgrade: &Upgrade,
        progress: &dyn Progress,
    ) -> Result<BuildReport, RError> {
        end_left_over_of(generations.folder(), spec.account.as_ref()).await?;
        let (owned, half) = (generations.clone(), generations.list_half_built()?);
        blocking(move || {
            for number in half {
                owned.remove(number)?;
            }
            // Of any R that is as old: what is not used, `collect` removes later.
            owned.clean_moved(|number| Ok(!Self::users(&owned, number, &[]).is_empty()))?;
            Ok(())
        })
        .await?;
        site::write_start_file(self)?;
        let number = generations.next_number()?;
        let result = self
            .build_as(number, generations, spec, upgrade, progress)
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
            create_open(folder)?;
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
            previous: Self::previous(generations)?,
            cache,
            ours: self.root.clone(),
            dry_run: false,
            begun,
        };
        let (mut report, stamp) = builder.fill(&mut room).await?;
        if let Some((stamp, lock)) = stamp {
            let owned = generations.clone();
            let text = lock.to_toml(&self.name);
            blocking(move || {
                super::list::write_file(&path.join(lock::FILE), &text)?;
                Ok(owned.complete(number, &stamp)?)
            })
            .await?;
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
        let series = spec.interpreter.version.series();
        if let Some(lock) = &spec.lock {
            lock.check(&series, &spec.list)?;
        }
        let generations = self.generations(&series);
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
            previous: Self::previous(&generations)?,
            cache: scratch.0.clone(),
            ours: self.root.clone(),
            dry_run: true,
            begun: Instant::now(),
        };
        let (report, _) = builder.fill(&mut room).await?;
        Ok(report)
    }

    /// Writes the lock file of the newest complete generation beside the list that it was built from, if it differs. Gives
    /// its path, if it was written.
    pub fn write_lock(
        &self,
        series: &str,
        list: &PackageList,
        list_file: &Path,
    ) -> Result<Option<PathBuf>, RError> {
        let generations = self.generations(series);
        let newest = Self::stamps(&generations)?
            .into_iter()
            .rev()
            .find(|(_, stamp)| stamp.lacking.is_empty());
        let Some((number, _)) = newest else {
            return Ok(None);
        };
        let own = generations.path(number).join(lock::FILE);
        // Generations from before there were locks have none.
        if !own.is_file() {
            return Ok(None);
        }
        let text = RLock::read(&own)?.of_list(list).to_toml(&self.name);
        let path = RLock::beside(list_file);
        if fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(None);
        }
        super::list::write_file(&path, &text)?;
        Ok(Some(path))
    }

    /// The newest generation that was finished, whether it can be switched to or not.
    fn previous(generations: &Generations) -> Result<Option<(Stamp, PathBuf)>, RError> {
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
        let all = Self::stamps(&generations)?;
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
        let found = Self::stamps(&generations)?
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

    pub(super) fn stamps(generations: &Generations) -> Result<BTreeMap<u32, Stamp>, RError> {
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
}

/// Creates a folder and those above it, all readable by everybody, whatever is usual for files that we make.
fn create_open(folder: &Path) -> Result<(), RError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_open(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io("create the folder", folder)(error)),
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .map_err(io("create the folder", folder)),
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
                    number += 1;
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
