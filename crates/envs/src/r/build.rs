//! Builds one generation of a library: chooses, gets, installs, takes over, tries out.
//!
//! Called with the lock held. Nothing that is in use is touched; what an interruption leaves, the next build removes.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::choose::{Choice, plain};
use super::error::{RError, io};
use super::install::{self, Task};
use super::list::Method;
use super::lock::RLock;
use super::plan::{Chosen, From};
use super::room::Room;
use super::sources;
use super::tree::{How, check_links, transfer};
use super::{BuildReport, Failure, Locked, RSpec, Stamp, State, Upgrade};
use crate::digest::sha256_of_others;
use crate::error::EnvError;
use crate::generations::held_now;
use crate::progress::{Phase, Progress, Report};

/// Changes when libraries are built differently, so that older ones are not shared.
pub(super) const FORMAT: u32 = 1;

/// What a build works with.
pub(super) struct Builder<'a> {
    pub(super) spec: &'a RSpec,
    pub(super) upgrade: &'a Upgrade,
    pub(super) progress: &'a dyn Progress,
    /// The newest generation that was finished, and its library.
    pub(super) previous: Option<(Stamp, PathBuf)>,
    /// Archives that have been downloaded.
    pub(super) cache: PathBuf,
    /// Below it are libraries of ours: no library of the machine.
    pub(super) ours: PathBuf,
    pub(super) dry_run: bool,
    pub(super) begun: Instant,
}

impl Builder<'_> {
    /// Fills a generation's folder. Gives the report, and the stamp and the lock if the generation is worth keeping.
    pub(super) async fn fill(
        &self,
        room: &mut Room<'_>,
    ) -> Result<(BuildReport, Option<(Stamp, RLock)>), RError> {
        self.know_what_is_upgraded()?;
        self.tell(Phase::Searching, "looking at R and its packages", 0.01);
        room.furnish()?;
        room.look(&self.ours).await?;
        let choice = self.choose(room).await?;
        let mut states = self.first_states(&choice);
        if self.dry_run || self.is_the_same(&choice) {
            return Ok((self.report(room, &choice, &states, !self.dry_run), None));
        }
        let links = self.link_kept(room, &choice).await?;
        let (tasks, mut locked) = self.get(room, &choice, &mut states).await?;
        let done = self.install(room, &tasks, &states).await;
        states.extend(done);
        self.take_over(room, &states, &links).await?;
        self.try_out(room, &mut states).await?;
        locked.retain(|name, _| states.get(name).is_some_and(State::is_good));
        let stamp = self.stamp(room, &choice, &states, locked).await;
        let mut report = self.report(room, &choice, &states, true);
        report.complete = stamp.lacking.is_empty();
        // What failed before and has failed again makes no new generation.
        let nothing_new = self.previous.as_ref().is_some_and(|(before, library)| {
            has_lock(library)
                && before.packages == stamp.packages
                && before.here == stamp.here
                && before.lacking == stamp.lacking
                && before.failed.keys().eq(stamp.failed.keys())
        });
        let worth = !nothing_new && (report.complete || !stamp.packages.is_empty());
        if !worth {
            return Ok((report, None));
        }
        let lock = self.lock(room, &choice, &states, &stamp.packages).await?;
        Ok((report, Some((stamp, lock))))
    }

    /// Refuses the upgrade of a package that nobody has: its name is misspelt.
    fn know_what_is_upgraded(&self) -> Result<(), RError> {
        let Upgrade::Named(names) = self.upgrade else {
            return Ok(());
        };
        let is_there = |name: &str| {
            let before = self.previous.as_ref();
            self.spec.list.find(name).is_some()
                || before.is_some_and(|(stamp, _)| stamp.packages.contains_key(name))
        };
        match names.iter().find(|name| !is_there(name)) {
            Some(name) => Err(RError::NotThere { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Installs into a library that has other packages, too: nothing is removed, shared or taken over.
    pub(super) async fn fill_in_place(&self, room: &Room<'_>) -> Result<BuildReport, RError> {
        room.furnish()?;
        let choice = self.choose(room).await?;
        let mut states = self.first_states(&choice);
        let (tasks, _) = self.get(room, &choice, &mut states).await?;
        let done = self.install(room, &tasks, &states).await;
        states.extend(done);
        self.try_out(room, &mut states).await?;
        Ok(self.report(room, &choice, &states, true))
    }

    async fn install(
        &self,
        room: &Room<'_>,
        tasks: &BTreeMap<String, Task>,
        states: &BTreeMap<String, State>,
    ) -> BTreeMap<String, State> {
        let lacking = states
            .iter()
            .filter(|(_, state)| !state.is_good())
            .map(|(name, _)| name.clone())
            .collect();
        let count = tasks.len();
        install::install(room, tasks, &lacking, self.spec.jobs, |name, state, at| {
            let word = if state.is_good() {
                "installed"
            } else {
                "could not install"
            };
            #[expect(clippy::cast_precision_loss, reason = "a part of a bar")]
            let part = at as f32 / count.max(1) as f32;
            self.tell(
                Phase::Installing,
                &format!("{word} {name} ({at} of {count})"),
                0.25 + 0.6 * part,
            );
        })
        .await
    }

    pub(super) fn tell(&self, phase: Phase, text: &str, fraction: f32) {
        let estimate = self
            .previous
            .as_ref()
            .map_or(600, |(stamp, _)| stamp.seconds.max(1));
        self.progress.report(&Report {
            phase,
            text: text.to_owned(),
            fraction: Some(fraction),
            estimate: Duration::from_secs(estimate),
        });
    }

    /// Puts the packages of the generation before into the new library, as the same files.
    async fn link_kept(
        &self,
        room: &Room<'_>,
        choice: &Choice,
    ) -> Result<BTreeSet<String>, RError> {
        let Some((_, library)) = &self.previous else {
            return Ok(BTreeSet::new());
        };
        let names: BTreeSet<String> = choice
            .plan
            .packages
            .iter()
            .filter(|(_, chosen)| chosen.from == From::Previous)
            .map(|(name, _)| name.clone())
            .collect();
        let (from, to, wanted) = (library.clone(), room.library.clone(), names.clone());
        blocking(move || {
            for name in &wanted {
                transfer(&from.join(name), &to.join(name), How::Link)?;
            }
            Ok(())
        })
        .await?;
        Ok(names)
    }

    /// Where the archive of a package lies when it has been downloaded.
    pub(super) fn archive(&self, name: &str, chosen: &Chosen) -> PathBuf {
        self.cache.join(format!("{name}_{}.tar.gz", chosen.version))
    }

    /// Downloads archives, and says what there is to install, and what exactly it is.
    async fn get(
        &self,
        room: &Room<'_>,
        choice: &Choice,
        states: &mut BTreeMap<String, State>,
    ) -> Result<(BTreeMap<String, Task>, BTreeMap<String, Locked>), RError> {
        let packages = &choice.plan.packages;
        let not_fetched = self.fetch_locked(room, packages).await?;
        let files: Vec<_> = packages
            .iter()
            .filter_map(|(name, chosen)| match &chosen.from {
                From::Repository { address, md5 } => {
                    Some((address.clone(), self.archive(name, chosen), md5.clone()))
                }
                _ => None,
            })
            .collect();
        if !files.is_empty() {
            self.tell(
                Phase::Downloading,
                &format!("downloading {} packages", files.len()),
                0.1,
            );
            sources::download(room, &files, "download").await?;
        }
        let (mut tasks, mut locked) = (BTreeMap::new(), BTreeMap::new());
        for (name, chosen) in packages {
            let entry = self.spec.list.find(name);
            let (from, method, source, identity) = match &chosen.from {
                From::Here => continue,
                From::Previous => {
                    if let Some(one) = self.shareable(name) {
                        locked.insert(name.clone(), one.clone());
                    }
                    continue;
                }
                From::Source => {
                    let (Some(got), Some(entry)) = (choice.sources.get(name), entry) else {
                        continue;
                    };
                    let locator = entry.locator.clone().unwrap_or_default();
                    (
                        got.folder.clone(),
                        entry.method,
                        locator,
                        got.identity.clone(),
                    )
                }
                From::Archive {
                    method,
                    addresses,
                    sha256,
                } => {
                    if let Some(failure) = not_fetched.get(name) {
                        states.insert(name.clone(), State::Failed(failure.clone()));
                        continue;
                    }
                    let source = addresses.first().cloned().unwrap_or_default();
                    (self.archive(name, chosen), *method, source, sha256.clone())
                }
                From::Repository { address, .. } => {
                    let file = self.archive(name, chosen);
                    let path = file.clone();
                    let Ok(sum) =
                        blocking(move || sha256_of_others(&path).map_err(io("read", &path))).await
                    else {
                        let log = room.log_path("download");
                        let failure = Failure {
                            cause: format!("{address} cannot be downloaded"),
                            advice: format!(
                                "check the network connection and try again; {} tells more",
                                log.display()
                            ),
                            log,
                            excerpt: String::new(),
                        };
                        states.insert(name.clone(), State::Failed(failure));
                        continue;
                    };
                    if let Some(wanted) = entry.and_then(|entry| entry.sha256.as_ref())
                        && *wanted != sum
                    {
                        let cause =
                            format!("the archive's sha256 is {sum}, and the list says {wanted}");
                        let advice = "find out why it was changed; if it is right, write the new sha256 into the list";
                        states.insert(name.clone(), State::Failed(plain(cause, advice)));
                        continue;
                    }
                    let method = entry.map_or(Method::Cran, |entry| entry.method);
                    (file, method, address.clone(), sum)
                }
            };
            let linking = chosen
                .linking
                .iter()
                .filter_map(|other| Some((other.clone(), packages.get(other)?.version.clone())))
                .collect();
            tasks.insert(
                name.clone(),
                Task {
                    from,
                    version: chosen.version.clone(),
                    needs: chosen.needs.clone(),
                },
            );
            locked.insert(
                name.clone(),
                Locked {
                    version: chosen.version.clone(),
                    method: method.as_str().to_owned(),
                    source,
                    identity,
                    linking,
                    bound: false,
                },
            );
        }
        Ok((tasks, locked))
    }

    /// Makes the library ours: what the account has built is copied, what it may have done to the rest is undone.
    async fn take_over(
        &self,
        room: &Room<'_>,
        states: &BTreeMap<String, State>,
        links: &BTreeSet<String>,
    ) -> Result<(), RError> {
        self.tell(Phase::Installing, "taking over what was built", 0.87);
        let good: BTreeSet<String> = states
            .iter()
            .filter(|(_, state)| **state == State::Installed)
            .map(|(name, _)| name.clone())
            .chain(links.iter().cloned())
            .collect();
        let (library, account) = (room.library.clone(), room.account.clone());
        blocking(move || {
            let fail = |path: &Path| io("take over", path.to_owned());
            if account.is_some() {
                std::os::unix::fs::chown(&library, Some(0), Some(0)).map_err(fail(&library))?;
            }
            fs::set_permissions(&library, fs::Permissions::from_mode(0o755))
                .map_err(fail(&library))?;
            for entry in fs::read_dir(&library).map_err(fail(&library))? {
                let entry = entry.map_err(fail(&library))?;
                let path = entry.path();
                let data = path.symlink_metadata().map_err(fail(&path))?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if !data.is_dir() {
                    fs::remove_file(&path).map_err(fail(&path))?;
                } else if !good.contains(&name) {
                    fs::remove_dir_all(&path).map_err(fail(&path))?;
                } else {
                    if account.is_some() && data.uid() != 0 {
                        let owner = Some(data.uid());
                        let draft = library.join(format!(".{name}.new"));
                        transfer(&path, &draft, How::Copy { owner })?;
                        fs::remove_dir_all(&path).map_err(fail(&path))?;
                        fs::rename(&draft, &path).map_err(fail(&path))?;
                    }
                    check_links(&path)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Loads every package of the list in a process of its own.
    async fn try_out(
        &self,
        room: &Room<'_>,
        states: &mut BTreeMap<String, State>,
    ) -> Result<(), RError> {
        self.tell(Phase::Testing, "loading each package once", 0.9);
        room.script("check.R", include_str!("check.R"))?;
        let names: Vec<&str> = self
            .spec
            .list
            .entries
            .iter()
            .map(|entry| entry.name.as_str())
            .filter(|name| states.get(*name).is_some_and(State::is_good))
            .collect();
        let works = names
            .into_iter()
            .map(|name| async move { (name, install::load(room, name).await) });
        let mut running = futures_util::stream::iter(works).buffer_unordered(self.spec.jobs.max(1));
        while let Some((name, loaded)) = running.next().await {
            if let Err(failure) = loaded {
                states.insert(name.to_owned(), State::Failed(failure));
            }
        }
        Ok(())
    }
}

/// Whether the generation of this library has a lock file: those from before there were any do not.
fn has_lock(library: &Path) -> bool {
    library.with_file_name(super::lock::FILE).is_file()
}

/// Does file work on a thread that may block. It goes on when this is dropped, with the lock of its task.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RError> + Send + 'static,
) -> Result<T, RError> {
    let lock = held_now();
    let work = move || {
        let _lock = lock;
        work()
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(RError::Env(EnvError::Io {
                doing: "finish work on",
                path: PathBuf::from("files"),
                source: error.into(),
            }))
        })
}
