//! What a build says: how each package stands, the report for people, and the stamp that a generation keeps.

use std::collections::BTreeMap;

use super::super::choose::Choice;
use super::super::list::Entry;
use super::super::plan::From;
use super::super::room::Room;
use super::super::tree::mentions;
use super::super::{BuildReport, Locked, PackageReport, Stamp, State};
use super::{Builder, FORMAT, blocking};

impl Builder<'_> {
    pub(super) fn is_the_same(&self, choice: &Choice) -> bool {
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
                From::Repository { .. } | From::Source => State::Planned,
            };
            states.entry(name.clone()).or_insert(state);
        }
        for entry in self.spec.list.entries.iter().filter(|_| self.dry_run) {
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
