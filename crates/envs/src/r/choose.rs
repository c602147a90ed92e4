//! Chooses what a generation is made of: what is kept, what apt has, what sources there are, and what repositories give.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use futures_util::StreamExt as _;

use super::apt;
use super::build::Builder;
use super::error::RError;
use super::install::explain;
use super::list::{Entry, Method};
use super::plan::{self, From, Plan, Question};
use super::room::Room;
use super::sources::{self, Got};
use super::{Failure, Locked, Upgrade};
use crate::command::Log;
use crate::progress::Phase;

/// How often the choice is made anew because of what was compiled with what.
const ROUNDS: usize = 8;

/// What was chosen, and why the rest was not.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) plan: Plan,
    pub(super) sources: BTreeMap<String, Got>,
    /// Entries whose sources are what they were.
    pub(super) stay: BTreeSet<String>,
    /// Entries of the list that cannot be had.
    pub(super) lost: BTreeMap<String, Failure>,
    pub(super) apt: Vec<String>,
    /// Why apt could not install something that it has.
    pub(super) apt_failed: Option<Failure>,
}

impl Builder<'_> {
    /// What of the generation before may be shared, by name.
    pub(super) fn shareable(&self, name: &str) -> Option<&Locked> {
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

    pub(super) async fn choose(&self, room: &Room<'_>) -> Result<Choice, RError> {
        if let Some(lock) = &self.spec.lock {
            return self.choose_locked(room, lock).await;
        }
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
        let mut choice = Choice::default();
        self.take_from_apt(room, &fresh, &mut choice).await?;
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
            let failure = match (in_another_case(&room.libraries, name), offline) {
                (Some(meant), _) => plain(
                    format!("there is a package {meant}, and none that is called {name}"),
                    &format!("write {meant}: R tells capitals and small letters apart"),
                ),
                (None, Some((repository, said))) => Failure {
                    cause: format!("the repository {repository} cannot be reached"),
                    advice: format!(
                        "check the network connection and `repositories`, and try again ({said})"
                    ),
                    log: PathBuf::new(),
                    excerpt: String::new(),
                },
                (None, None) => plain(
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
                // What apt would install is not there yet when it is only asked.
                .filter(|entry| {
                    let name = entry.debian_name();
                    !self.dry_run || name.is_none_or(|name| !choice.apt.contains(&name))
                })
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
    async fn take_from_apt(
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
            let failed = self.install_with_apt(&choice.apt, &log).await;
            for (name, failure) in failed {
                choice.apt.retain(|one| *one != name);
                if let Some(entry) = wanted
                    .get(&name)
                    .filter(|entry| entry.method == Method::Apt)
                {
                    lost.insert(entry.name.clone(), failure.clone());
                }
                choice.apt_failed = Some(failure);
            }
        }
        choice.lost.extend(lost);
        Ok(())
    }

    /// Installs packages with apt, and gives those that failed.
    pub(super) async fn install_with_apt(
        &self,
        names: &[String],
        log: &Log,
    ) -> Vec<(String, Failure)> {
        let waits = |holder: &str| {
            self.tell(
                Phase::Waiting,
                &format!("{holder} installs packages of the system, waiting for it"),
                0.03,
            );
        };
        let Err(error) = apt::install(names, log, &waits).await else {
            return Vec::new();
        };
        if names.len() == 1 || apt::is_useless_now(&error) {
            let failure = explain(&error);
            return names
                .iter()
                .map(|name| (name.clone(), failure.clone()))
                .collect();
        }
        // Each alone, so that one that fails takes no other with it.
        let mut failed = Vec::new();
        for name in names {
            if let Err(error) = apt::install(std::slice::from_ref(name), log, &waits).await {
                failed.push((name.clone(), explain(&error)));
            }
        }
        failed
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
                // A folder changes without a sign.
                anew || entry.is_folder() || self.shareable(&entry.name).is_none()
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
                Err(not_got) => {
                    choice.lost.insert(entry.name.clone(), not_got.failure());
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

/// A package of the machine that differs from a name in capitals only: Debian's names do not tell them apart, so that apt
/// may just have installed it. Blocks for a moment.
fn in_another_case(libraries: &[PathBuf], name: &str) -> Option<String> {
    let entries = libraries.iter().flat_map(fs::read_dir).flatten().flatten();
    let mut names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.find(|one| one != name && one.eq_ignore_ascii_case(name))
}

pub(super) fn plain(cause: String, advice: &str) -> Failure {
    Failure {
        cause,
        advice: advice.to_owned(),
        log: PathBuf::new(),
        excerpt: String::new(),
    }
}

pub(super) fn not_from_apt(name: &str, there: bool) -> Failure {
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
