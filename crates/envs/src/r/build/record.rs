//! What a build says: how each package stands, the report for people, and the stamp that a generation keeps.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::apt;
use super::super::choose::Choice;
use super::super::error::RError;
use super::super::list::{Entry, Method};
use super::super::lock::{Exact, Origin, RLock};
use super::super::plan::From;
use super::super::room::Room;
use super::super::tree::mentions;
use super::super::{BuildReport, Locked, PackageReport, Stamp, State};
use super::{Builder, FORMAT, blocking, has_lock};
use crate::command::Log;

impl Builder<'_> {
    pub(super) fn is_the_same(&self, choice: &Choice) -> bool {
        let Some((stamp, library)) = &self.previous else {
            return false;
        };
        let kept = |name: &String| {
            choice
                .plan
                .packages
                .get(name)
                .is_some_and(|one| one.from == From::Previous)
        };
        has_lock(library)
            && stamp.failed.is_empty()
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
                    From::Repository { .. } | From::Archive { .. } | From::Source => false,
                })
            && stamp
                .here
                .keys()
                .all(|name| self.spec.list.find(name).is_some())
    }

    /// How all packages stand before anything is installed.
    pub(super) fn first_states(&self, choice: &Choice) -> BTreeMap<String, State> {
        let mut states: BTreeMap<String, State> = choice
            .lost
            .iter()
            .map(|(name, failure)| (name.clone(), State::Failed(failure.clone())))
            .collect();
        for (name, chosen) in &choice.plan.packages {
            let state = match chosen.from {
                From::Previous => State::Kept,
                From::Here => State::Here,
                From::Repository { .. } | From::Archive { .. } | From::Source => State::Planned,
            };
            states.entry(name.clone()).or_insert(state);
        }
        // What apt would install is told as such.
        let from_apt = |entry: &&Entry| {
            let name = entry.debian_name();
            name.is_some_and(|name| choice.apt.contains(&name))
        };
        let entries = self.spec.list.entries.iter().filter(|_| self.dry_run);
        for entry in entries.filter(|entry| !from_apt(entry)) {
            states.entry(entry.name.clone()).or_insert(State::Planned);
        }
        states
    }

    pub(super) async fn stamp(
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

    /// Exactly what is in the library, with what the machine has for it.
    pub(super) async fn lock(
        &self,
        room: &Room<'_>,
        choice: &Choice,
        states: &BTreeMap<String, State>,
        packages: &BTreeMap<String, Locked>,
    ) -> Result<RLock, RError> {
        let debian = self.debian_versions(room, choice).await?;
        let is_good = |name: &String| states.get(name).is_some_and(State::is_good);
        let all = &choice.plan.packages;
        let exact = all.iter().filter(|(name, _)| is_good(name));
        let exact = exact.filter_map(|(name, chosen)| {
            let origin = match packages.get(name) {
                Some(locked) => locked.origin()?,
                None if chosen.from != From::Here => return None,
                None => match debian.get(name) {
                    Some((package, version)) => Origin::Debian {
                        package: package.clone(),
                        version: version.clone(),
                    },
                    None => Origin::Machine,
                },
            };
            let here = chosen.from == From::Here;
            let known = |names: &[String]| -> Vec<String> {
                let names = names.iter().filter(|one| !here && is_good(one));
                names.cloned().collect()
            };
            let exact = Exact {
                version: chosen.version.clone(),
                origin,
                needs: known(&chosen.needs),
                linking: known(&chosen.linking),
            };
            Some((name.clone(), exact))
        });
        let r = self.spec.interpreter.version.to_string();
        Ok(RLock::new(r, &self.spec.list, exact.collect()))
    }

    /// Which of the machine's packages are the distribution's: its name for them, and its version.
    async fn debian_versions(
        &self,
        room: &Room<'_>,
        choice: &Choice,
    ) -> Result<BTreeMap<String, (String, String)>, RError> {
        if !self.spec.interpreter.is_distributions() || !apt::is_there() {
            return Ok(BTreeMap::new());
        }
        let is_distributions = |name: &str| {
            let has = |library: &&PathBuf| library.join(name).join("DESCRIPTION").is_file();
            let found = room.libraries.iter().find(has);
            found.is_some_and(|library| library.starts_with(&self.spec.interpreter.home))
        };
        let names: BTreeMap<String, String> = choice
            .plan
            .packages
            .iter()
            .filter(|(name, chosen)| chosen.from == From::Here && is_distributions(name))
            .filter_map(|(name, _)| {
                let entry = self.spec.list.find(name);
                let package = match entry {
                    Some(entry) => entry.debian_name()?,
                    None => Entry::named(Method::Apt, name).debian_name()?,
                };
                Some((package, name.clone()))
            })
            .collect();
        let log = Log::create(room.log_path("apt-versions"), room.mark.clone())?;
        let asked: Vec<String> = names.keys().cloned().collect();
        let known = apt::ask(&asked, &log).await?;
        Ok(known
            .into_iter()
            .filter_map(|(package, state)| {
                let name = names.get(&package)?.clone();
                Some((name, (package, state.installed?)))
            })
            .collect())
    }

    pub(super) fn report(
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
            apt_failed: choice.apt_failed.clone(),
            offline: choice.plan.offline.clone(),
            logs: room.logs.clone(),
        }
    }
}
