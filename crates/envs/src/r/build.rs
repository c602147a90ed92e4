//! Builds one generation of a library: chooses, gets, installs, takes over, tries out.
//!
//! Called with the lock held. Nothing that is in use is touched; what an interruption leaves, the next build removes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::apt;
use super::error::{RError, io};
use super::install::{self, Task, explain};
use super::list::{Entry, Method};
use super::plan::{self, Chosen, From, Plan, Question};
use super::room::{Room, sha256};
use super::sources::{self, Got, NotGot};
use super::tree::{How, mentions, transfer};
use super::{BuildReport, Failure, Locked, PackageReport, RSpec, Stamp, State, Upgrade};
use crate::command::Log;
use crate::error::EnvError;
use crate::progress::{Phase, Progress, Report};

/// Changes when libraries are built differently, so that older ones are not shared.
pub(super) const FORMAT: u32 = 1;
/// How often the choice is made anew because of what was compiled with what.
const ROUNDS: usize = 8;

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

/// What was chosen, and why the rest was not.
struct Choice {
    plan: Plan,
    sources: BTreeMap<String, Got>,
    /// Entries whose sources are what they were.
    stay: BTreeSet<String>,
    /// Entries of the list that cannot be had.
    lost: BTreeMap<String, Failure>,
    apt: Vec<String>,
}

impl Builder<'_> {
    /// Fills a generation's folder. Gives the report, and the stamp if the generation is worth keeping.
    pub(super) async fn fill(
        &self,
        room: &mut Room<'_>,
    ) -> Result<(BuildReport, Option<Stamp>), RError> {
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
        let worth = report.complete || !stamp.packages.is_empty();
        Ok((report, worth.then_some(stamp)))
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

    fn tell(&self, phase: Phase, text: &str, fraction: f32) {
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

    /// What of the generation before may be shared, by name.
    fn shareable(&self, name: &str) -> Option<&Locked> {
        let (stamp, _) = self.previous.as_ref()?;
        stamp.packages.get(name).filter(|locked| !locked.bound)
    }

    fn wants_anew(&self, name: &str) -> bool {
        match self.upgrade {
            Upgrade::Nothing => false,
            Upgrade::Named(names) => names.iter().any(|one| one == name),
            Upgrade::All => true,
        }
    }

    async fn choose(&self, room: &Room<'_>) -> Result<Choice, RError> {
        let mut fresh: BTreeSet<String> = match self.upgrade {
            Upgrade::Nothing => BTreeSet::new(),
            Upgrade::Named(names) => names.iter().cloned().collect(),
            Upgrade::All => BTreeSet::from(["*".to_owned()]),
        };
        if let Some((stamp, _)) = &self.previous {
            fresh.extend(
                stamp
                    .packages
                    .iter()
                    .filter(|(_, one)| one.bound)
                    .map(|(name, _)| name.clone()),
            );
        }
        for entry in &self.spec.list.entries {
            if self
                .shareable(&entry.name)
                .is_some_and(|locked| !is_of(locked, entry))
            {
                fresh.insert(entry.name.clone());
            }
        }
        let mut choice = Choice {
            plan: Plan::default(),
            sources: BTreeMap::new(),
            stay: BTreeSet::new(),
            lost: BTreeMap::new(),
            apt: Vec::new(),
        };
        self.from_apt(room, &fresh, &mut choice).await?;
        for _ in 0..ROUNDS {
            self.get_sources(room, &fresh, &mut choice).await;
            choice.plan = plan::ask(room, &self.question(room, &fresh, &choice)).await?;
            let more = self.compiled_otherwise(&choice.plan);
            if more.iter().all(|name| fresh.contains(name)) {
                break;
            }
            fresh.extend(more);
        }
        for (name, reason) in &choice.plan.missing {
            let offline = choice.plan.offline.first();
            let failure = match offline {
                Some((repository, said)) => Failure {
                    cause: format!("the repository {repository} cannot be reached"),
                    advice: format!(
                        "check the network connection and `repositories`, and try again ({said})"
                    ),
                    log: PathBuf::new(),
                    excerpt: String::new(),
                },
                None => plain(
                    reason.clone(),
                    "check its name, and that it exists for this version of R",
                ),
            };
            choice.lost.entry(name.clone()).or_insert(failure);
        }
        Ok(choice)
    }

    fn question(&self, room: &Room<'_>, fresh: &BTreeSet<String>, choice: &Choice) -> Question {
        let entries = self.spec.list.entries.iter();
        Question {
            wants: entries
                .filter(|entry| !choice.lost.contains_key(&entry.name))
                .filter(|entry| {
                    entry.method.by_name() || !self.dry_run || self.shareable(&entry.name).is_some()
                })
                .map(|entry| {
                    (
                        entry.name.clone(),
                        entry.version.clone().unwrap_or_default(),
                        entry.method,
                    )
                })
                .collect(),
            repositories: self.spec.repositories.clone(),
            bioconductor: self.spec.bioconductor.clone(),
            libraries: room.libraries.clone(),
            previous: self.previous.as_ref().map(|(_, library)| library.clone()),
            fresh: fresh.clone(),
            stay: choice.stay.difference(fresh).cloned().collect(),
            absent: choice.lost.keys().cloned().collect(),
            sources: choice
                .sources
                .values()
                .map(|got| got.description.clone())
                .collect(),
            prefer_here: self.spec.prefer_apt,
        }
    }

    /// Installs what the distribution has ready-made. Its packages are everybody's at once, but they replace nothing of ours.
    async fn from_apt(
        &self,
        room: &Room<'_>,
        fresh: &BTreeSet<String>,
        choice: &mut Choice,
    ) -> Result<(), RError> {
        let usable = self.spec.interpreter.is_distributions() && apt::is_there();
        let is_there = |name: &str| {
            room.libraries
                .iter()
                .any(|folder| folder.join(name).join("DESCRIPTION").is_file())
        };
        let mut wanted: BTreeMap<String, &Entry> = BTreeMap::new();
        for entry in &self.spec.list.entries {
            let preferred = self.spec.prefer_apt
                && matches!(entry.method, Method::Cran | Method::Bioc)
                && entry.version.is_none()
                && entry.sha256.is_none()
                && (fresh.contains(&entry.name) || self.shareable(&entry.name).is_none());
            if is_there(&entry.name) || !(entry.method == Method::Apt || preferred) {
                continue;
            }
            if usable && let Some(name) = entry.debian_name() {
                wanted.insert(name, entry);
            } else if entry.method == Method::Apt {
                let failure = plain(
                    "packages from apt are made for the distribution's R, and this is another"
                        .to_owned(),
                    "write method cran for it",
                );
                choice.lost.insert(entry.name.clone(), failure);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let log = Log::create(room.log_path("apt"), room.mark.clone())?;
        let names: Vec<String> = wanted.keys().cloned().collect();
        let known = apt::ask(&names, &log).await?;
        let may = rustix::process::geteuid().is_root();
        let mut lost = BTreeMap::new();
        for (name, entry) in &wanted {
            let there = known.contains_key(name);
            if there && (may || self.dry_run) {
                choice.apt.push(name.clone());
            } else if entry.method == Method::Apt {
                lost.insert(entry.name.clone(), not_from_apt(name, there));
            }
        }
        if !self.dry_run && !choice.apt.is_empty() {
            self.tell(
                Phase::Downloading,
                &format!("installing {} packages with apt", choice.apt.len()),
                0.03,
            );
            if apt::install(&choice.apt, &log).await.is_err() {
                // Each alone, so that one that fails takes no other with it.
                for name in choice.apt.clone() {
                    let ran = apt::install(std::slice::from_ref(&name), &log).await;
                    if let (Err(error), Some(entry)) = (ran, wanted.get(&name)) {
                        choice.apt.retain(|one| *one != name);
                        if entry.method == Method::Apt {
                            lost.insert(entry.name.clone(), explain(&error));
                        }
                    }
                }
            }
        }
        choice.lost.extend(lost);
        Ok(())
    }

    /// Gets the sources of entries that no repository has, as far as they are not there from before.
    async fn get_sources(&self, room: &Room<'_>, fresh: &BTreeSet<String>, choice: &mut Choice) {
        if self.dry_run {
            return;
        }
        let wanted: Vec<&Entry> = self
            .spec
            .list
            .entries
            .iter()
            .filter(|entry| !entry.method.by_name())
            .filter(|entry| {
                let name = &entry.name;
                let known = choice.sources.contains_key(name) || choice.lost.contains_key(name);
                !known && (!choice.stay.contains(name) || fresh.contains(name))
            })
            .filter(|entry| {
                let anew = fresh.contains(&entry.name) || self.wants_anew(&entry.name);
                anew || self.shareable(&entry.name).is_none()
            })
            .collect();
        let works = wanted
            .into_iter()
            .map(|entry| async move { (entry, sources::get(room, entry).await) });
        let mut running = futures_util::stream::iter(works).buffer_unordered(self.spec.jobs.max(1));
        while let Some((entry, got)) = running.next().await {
            self.tell(
                Phase::Downloading,
                &format!("getting the sources of {}", entry.name),
                0.05,
            );
            match got {
                // An upgrade that would bring the same again brings nothing.
                Ok(got)
                    if self.shareable(&entry.name).is_some_and(|one| {
                        !got.identity.is_empty()
                            && one.identity == got.identity
                            && is_of(one, entry)
                    }) && !fresh.contains(&entry.name) =>
                {
                    choice.stay.insert(entry.name.clone());
                }
                Ok(got) => {
                    choice.sources.insert(entry.name.clone(), got);
                }
                Err(NotGot::Program(error)) => {
                    choice.lost.insert(entry.name.clone(), explain(&error));
                }
                Err(NotGot::Wrong { cause, advice }) => {
                    choice
                        .lost
                        .insert(entry.name.clone(), plain(cause, &advice));
                }
            }
        }
    }

    /// Packages of the generation before that were compiled with headers of another version than is chosen now.
    fn compiled_otherwise(&self, plan: &Plan) -> Vec<String> {
        let kept = plan
            .packages
            .iter()
            .filter(|(_, chosen)| chosen.from == From::Previous);
        kept.filter(|(name, _)| {
            self.shareable(name).is_none_or(|locked| {
                locked.linking.iter().any(|(other, version)| {
                    plan.packages
                        .get(other)
                        .is_none_or(|chosen| chosen.version != *version)
                })
            })
        })
        .map(|(name, _)| name.clone())
        .collect()
    }

    fn is_the_same(&self, choice: &Choice) -> bool {
        let Some((stamp, _)) = &self.previous else {
            return false;
        };
        let kept = |name: &String| {
            choice
                .plan
                .packages
                .get(name)
                .is_some_and(|one| one.from == From::Previous)
        };
        stamp.failed.is_empty()
            && choice.lost.is_empty()
            && stamp.r == self.spec.interpreter.version.to_string()
            && stamp.packages.keys().all(kept)
            && choice
                .plan
                .packages
                .iter()
                .all(|(name, one)| match one.from {
                    From::Previous => stamp.packages.contains_key(name),
                    From::Here => {
                        self.spec.list.find(name).is_none() || stamp.here.contains_key(name)
                    }
                    From::Repository { .. } | From::Source => false,
                })
            && stamp
                .here
                .keys()
                .all(|name| self.spec.list.find(name).is_some())
    }

    /// How all packages stand before anything is installed.
    fn first_states(&self, choice: &Choice) -> BTreeMap<String, State> {
        let mut states: BTreeMap<String, State> = choice
            .lost
            .iter()
            .map(|(name, failure)| (name.clone(), State::Failed(failure.clone())))
            .collect();
        for (name, chosen) in &choice.plan.packages {
            let state = match chosen.from {
                From::Previous => State::Kept,
                From::Here => State::Here,
                From::Repository { .. } | From::Source => State::Planned,
            };
            states.entry(name.clone()).or_insert(state);
        }
        for entry in self.spec.list.entries.iter().filter(|_| self.dry_run) {
            states.entry(entry.name.clone()).or_insert(State::Planned);
        }
        states
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

    /// Downloads archives, and says what there is to install, and what exactly it is.
    async fn get(
        &self,
        room: &Room<'_>,
        choice: &Choice,
        states: &mut BTreeMap<String, State>,
    ) -> Result<(BTreeMap<String, Task>, BTreeMap<String, Locked>), RError> {
        let packages = &choice.plan.packages;
        let file_of = |name: &str, chosen: &Chosen| {
            self.cache.join(format!("{name}_{}.tar.gz", chosen.version))
        };
        let files: Vec<_> = packages
            .iter()
            .filter_map(|(name, chosen)| match &chosen.from {
                From::Repository { address, md5 } => {
                    Some((address.clone(), file_of(name, chosen), md5.clone()))
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
                From::Repository { address, .. } => {
                    let file = file_of(name, chosen);
                    let path = file.clone();
                    let Ok(sum) = blocking(move || sha256(&path).map_err(io("read", &path))).await
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
                } else if account.is_some() && data.uid() != 0 {
                    let owner = Some(data.uid());
                    let draft = library.join(format!(".{name}.new"));
                    transfer(&path, &draft, How::Copy { owner })?;
                    fs::remove_dir_all(&path).map_err(fail(&path))?;
                    fs::rename(&draft, &path).map_err(fail(&path))?;
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

    async fn stamp(
        &self,
        room: &Room<'_>,
        choice: &Choice,
        states: &BTreeMap<String, State>,
        mut packages: BTreeMap<String, Locked>,
    ) -> Stamp {
        let library = room.library.clone();
        let names: Vec<String> = packages.keys().cloned().collect();
        let bound = blocking(move || {
            Ok(names
                .into_iter()
                .filter(|name| mentions(&library.join(name), &library))
                .collect::<Vec<_>>())
        })
        .await
        .unwrap_or_default();
        for name in bound {
            if let Some(one) = packages.get_mut(&name) {
                one.bound = true;
            }
        }
        let entries = &self.spec.list.entries;
        let state = |entry: &Entry| states.get(&entry.name);
        let lacks = |entry: &&Entry| !state(entry).is_some_and(State::is_good);
        let reason = |entry: &Entry| match state(entry) {
            Some(State::Failed(failure)) => failure.cause.clone(),
            Some(State::Skipped { because }) => because.clone(),
            _ => String::new(),
        };
        Stamp {
            format: FORMAT,
            r: self.spec.interpreter.version.to_string(),
            here: entries
                .iter()
                .filter(|entry| state(entry) == Some(&State::Here))
                .filter_map(|entry| {
                    let chosen = choice.plan.packages.get(&entry.name)?;
                    Some((entry.name.clone(), chosen.version.clone()))
                })
                .collect(),
            failed: entries
                .iter()
                .filter(lacks)
                .map(|entry| (entry.name.clone(), reason(entry)))
                .collect(),
            lacking: entries
                .iter()
                .filter(lacks)
                .filter(|entry| entry.required)
                .map(|entry| entry.name.clone())
                .collect(),
            packages,
            seconds: self.begun.elapsed().as_secs(),
        }
    }

    fn report(
        &self,
        room: &Room<'_>,
        choice: &Choice,
        states: &BTreeMap<String, State>,
        complete: bool,
    ) -> BuildReport {
        let packages = states
            .iter()
            .map(|(name, state)| {
                let entry = self.spec.list.find(name);
                PackageReport {
                    name: name.clone(),
                    version: choice
                        .plan
                        .packages
                        .get(name)
                        .map(|chosen| chosen.version.clone()),
                    state: state.clone(),
                    listed: entry.is_some(),
                    required: entry.is_some_and(|entry| entry.required),
                }
            })
            .collect();
        BuildReport {
            series: self.spec.interpreter.version.series(),
            generation: None,
            complete,
            packages,
            apt: choice.apt.clone(),
            offline: choice.plan.offline.clone(),
            logs: room.logs.clone(),
        }
    }
}

/// Whether a package of an earlier generation is what an entry says.
fn is_of(locked: &Locked, entry: &Entry) -> bool {
    if entry.method.by_name() {
        return matches!(locked.method.as_str(), "cran" | "bioc")
            && entry
                .sha256
                .as_ref()
                .is_none_or(|sum| *sum == locked.identity);
    }
    locked.method == entry.method.as_str()
        && entry.locator.as_deref() == Some(&locked.source)
        && !locked.identity.is_empty()
        && entry
            .sha256
            .as_ref()
            .is_none_or(|sum| *sum == locked.identity)
        && entry
            .version
            .as_ref()
            .is_none_or(|version| *version == locked.version)
}

fn plain(cause: String, advice: &str) -> Failure {
    Failure {
        cause,
        advice: advice.to_owned(),
        log: PathBuf::new(),
        excerpt: String::new(),
    }
}

fn not_from_apt(name: &str, there: bool) -> Failure {
    if there {
        let cause = format!("only root can install {name}");
        plain(cause, &format!("as root: apt install {name}"))
    } else {
        let cause = format!("apt knows no package {name}");
        plain(
            cause,
            "check its name, run `apt update`, or write method cran for it",
        )
    }
}

/// Does file work on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RError> + Send + 'static,
) -> Result<T, RError> {
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
