//! Builds exactly what a lock file says: nothing is chosen, and what cannot be had any more is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Failure;
use super::apt;
use super::build::{Builder, blocking};
use super::choose::{Choice, not_from_apt, plain};
use super::error::{RError, io};
use super::list::{Entry, Method, split_reference};
use super::lock::{Exact, Origin, RLock};
use super::plan::{Chosen, Description, From};
use super::room::{Room, read_short};
use super::sources;
use crate::command::Log;
use crate::digest::sha256_of_others;
use crate::progress::Phase;

/// What is said to whoever cannot have just what the lock file says.
const WITHOUT: &str =
    "build without --from-lock, which takes what there is now and writes a new lock file";

impl Builder<'_> {
    /// Takes the packages of a lock instead of choosing.
    pub(super) async fn choose_locked(
        &self,
        room: &Room<'_>,
        lock: &RLock,
    ) -> Result<Choice, RError> {
        let mut choice = Choice::default();
        self.take_the_machines(room, lock, &mut choice).await?;
        for entry in &self.spec.list.entries {
            if !lock.packages.contains_key(&entry.name) {
                let failure = plain(
                    "it is not in the lock file: it could not be had when that was written"
                        .to_owned(),
                    WITHOUT,
                );
                choice.lost.insert(entry.name.clone(), failure);
            }
        }
        for (name, exact) in &lock.packages {
            let from = match &exact.origin {
                Origin::Machine | Origin::Debian { .. } => continue,
                _ if self.has_exactly(name, exact, lock) => From::Previous,
                Origin::Repository {
                    method,
                    address,
                    sha256,
                } => From::Archive {
                    method: *method,
                    addresses: self.addresses(name, &exact.version, address),
                    sha256: sha256.clone(),
                },
                Origin::Entry { .. } => From::Source,
            };
            choice
                .plan
                .packages
                .insert(name.clone(), exact.chosen(from));
        }
        if !self.dry_run {
            self.get_locked_sources(room, lock, &mut choice).await;
        }
        for name in choice.lost.keys() {
            choice.plan.packages.remove(name);
        }
        Ok(choice)
    }

    /// Whether the generation before has a package just as the lock says.
    fn has_exactly(&self, name: &str, exact: &Exact, lock: &RLock) -> bool {
        let Some(before) = self.shareable(name) else {
            return false;
        };
        let identity = match &exact.origin {
            Origin::Repository { sha256, .. } => sha256,
            Origin::Entry { identity, .. } => identity,
            Origin::Machine | Origin::Debian { .. } => return false,
        };
        let same_headers = exact.linking.iter().all(|other| {
            let version = lock.packages.get(other).map(|one| &one.version);
            version == before.linking.get(other)
        });
        before.version == exact.version
            && !identity.is_empty()
            && before.identity == *identity
            && same_headers
            && exact.linking.len() == before.linking.len()
    }

    /// Where an archive may lie, the likeliest place first: where it was, and where repositories put older versions.
    fn addresses(&self, name: &str, version: &str, address: &str) -> Vec<String> {
        let file = format!("{name}_{version}.tar.gz");
        let mut all = vec![address.to_owned()];
        let mut folders: Vec<String> = address
            .strip_suffix(&format!("/{file}"))
            .map(|folder| {
                let archive = format!("/Archive/{name}");
                folder.strip_suffix(&archive).unwrap_or(folder).to_owned()
            })
            .into_iter()
            .collect();
        folders.extend(
            self.spec
                .repositories
                .iter()
                .map(|one| format!("{}/src/contrib", one.trim_end_matches('/'))),
        );
        for folder in folders {
            for one in [
                format!("{folder}/{file}"),
                format!("{folder}/Archive/{name}/{file}"),
            ] {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        all
    }

    /// Compares the machine's packages with the lock, and installs what apt still has.
    async fn take_the_machines(
        &self,
        room: &Room<'_>,
        lock: &RLock,
        choice: &mut Choice,
    ) -> Result<(), RError> {
        let mut absent: BTreeMap<String, (&str, &Exact)> = BTreeMap::new();
        for (name, exact) in &lock.packages {
            let package = match &exact.origin {
                Origin::Debian { package, version } => Some(format!("{package}={version}")),
                Origin::Machine => None,
                _ => continue,
            };
            match (version_here(room, name), package) {
                (Some(version), _) if version == exact.version => {
                    let chosen = exact.chosen(From::Here);
                    choice.plan.packages.insert(name.clone(), chosen);
                }
                (Some(version), package) => {
                    let failure = another_version(&version, exact, package.as_deref());
                    choice.lost.insert(name.clone(), failure);
                }
                (None, Some(package)) => {
                    absent.insert(package, (name, exact));
                }
                (None, None) => {
                    let cause = format!(
                        "the machine had version {} when the lock file was written, and has none now",
                        exact.version
                    );
                    choice.lost.insert(name.clone(), plain(cause, WITHOUT));
                }
            }
        }
        if absent.is_empty() {
            return Ok(());
        }
        let log = Log::create(room.log_path("apt"), room.mark.clone())?;
        let usable = self.spec.interpreter.is_distributions() && apt::is_there();
        let names: Vec<String> = absent
            .keys()
            .filter_map(|package| Some(package.split_once('=')?.0.to_owned()))
            .collect();
        let known = if usable {
            apt::ask(&names, &log).await?
        } else {
            BTreeMap::new()
        };
        let may = rustix::process::geteuid().is_root();
        for (package, (name, _)) in &absent {
            let Some((debian, version)) = package.split_once('=') else {
                continue;
            };
            let state = known.get(debian);
            if state.is_none_or(|state| !state.versions.iter().any(|one| one == version)) {
                let instead = state.and_then(|state| state.candidate.as_ref());
                let cause = match instead {
                    Some(other) => format!("apt no longer has {debian} {version}, but {other}"),
                    None => format!("apt has no {debian} {version}"),
                };
                choice
                    .lost
                    .insert((*name).to_owned(), plain(cause, WITHOUT));
            } else if may || self.dry_run {
                choice.apt.push(package.clone());
            } else {
                let failure = not_from_apt(package, true);
                choice.lost.insert((*name).to_owned(), failure);
            }
        }
        if !self.dry_run && !choice.apt.is_empty() {
            self.tell(
                Phase::Downloading,
                &format!("installing {} packages with apt", choice.apt.len()),
                0.03,
            );
            for (package, failure) in self.install_with_apt(&choice.apt, &log).await {
                choice.apt.retain(|one| *one != package);
                if let Some((name, _)) = absent.get(&package) {
                    choice.lost.insert((*name).to_owned(), failure.clone());
                }
                choice.apt_failed = Some(failure);
            }
        }
        for package in &choice.apt {
            let Some((name, exact)) = absent.get(package) else {
                continue;
            };
            let there = version_here(room, name);
            if self.dry_run || there.as_ref() == Some(&exact.version) {
                let chosen = exact.chosen(From::Here);
                choice.plan.packages.insert((*name).to_owned(), chosen);
            } else {
                let failure = another_version(&there.unwrap_or_default(), exact, Some(package));
                choice.lost.insert((*name).to_owned(), failure);
            }
        }
        Ok(())
    }

    /// Gets the sources that entries of the list name, each as it was.
    async fn get_locked_sources(&self, room: &Room<'_>, lock: &RLock, choice: &mut Choice) {
        let wanted: Vec<(Entry, String)> = choice
            .plan
            .packages
            .iter()
            .filter(|(_, chosen)| chosen.from == From::Source)
            .filter_map(|(name, chosen)| {
                let Origin::Entry { identity, .. } = &lock.packages.get(name)?.origin else {
                    return None;
                };
                let entry = self.spec.list.find(name)?;
                Some((exactly(entry, &chosen.version, identity), identity.clone()))
            })
            .collect();
        for (entry, identity) in wanted {
            self.tell(
                Phase::Downloading,
                &format!("getting the sources of {}", entry.name),
                0.05,
            );
            let failure = match sources::get(room, &entry).await {
                Ok(got) if got.identity == identity => {
                    choice.sources.insert(entry.name.clone(), got);
                    continue;
                }
                Ok(got) => plain(
                    format!(
                        "what is there now is {}, and the lock file says {identity}",
                        got.identity
                    ),
                    WITHOUT,
                ),
                Err(not_got) => not_got.failure(),
            };
            choice.lost.insert(entry.name, failure);
        }
    }

    /// Downloads archives of a lock, each from the first place that has just this one. Gives for each whether it is there.
    pub(super) async fn fetch_locked(
        &self,
        room: &Room<'_>,
        packages: &BTreeMap<String, Chosen>,
    ) -> Result<BTreeMap<String, Failure>, RError> {
        let mut wanted: BTreeMap<&str, Wanted<'_>> = packages
            .iter()
            .filter_map(|(name, chosen)| {
                let From::Archive {
                    addresses, sha256, ..
                } = &chosen.from
                else {
                    return None;
                };
                let wanted = Wanted {
                    addresses: addresses.iter(),
                    sha256,
                    file: self.archive(name, chosen),
                    other: None,
                };
                Some((name.as_str(), wanted))
            })
            .collect();
        let mut failures = BTreeMap::new();
        let mut round = 0;
        loop {
            let mut files = Vec::new();
            let mut settled = Vec::new();
            for (name, one) in &mut wanted {
                if one.look().await? {
                    settled.push(*name);
                } else if let Some(address) = one.addresses.next() {
                    files.push((address.clone(), one.file.clone(), String::new()));
                } else {
                    failures.insert((*name).to_owned(), one.failure(room));
                    settled.push(*name);
                }
            }
            wanted.retain(|name, _| !settled.contains(name));
            if files.is_empty() {
                return Ok(failures);
            }
            self.tell(
                Phase::Downloading,
                &format!("downloading {} packages", files.len()),
                0.1,
            );
            round += 1;
            sources::download(room, &files, &format!("download-{round}")).await?;
        }
    }
}

/// An archive that is sought.
struct Wanted<'a> {
    addresses: std::slice::Iter<'a, String>,
    sha256: &'a str,
    file: std::path::PathBuf,
    /// What was found instead.
    other: Option<String>,
}

impl Wanted<'_> {
    /// Whether the archive is there; another one is removed.
    async fn look(&mut self) -> Result<bool, RError> {
        let path = self.file.clone();
        let sum = blocking(move || {
            if path.symlink_metadata().is_err() {
                return Ok(None);
            }
            let sum = sha256_of_others(&path).ok();
            Ok(Some(sum.unwrap_or_default()))
        })
        .await?;
        match sum {
            None => Ok(false),
            Some(sum) if sum == self.sha256 => Ok(true),
            Some(sum) => {
                fs::remove_file(&self.file).map_err(io("remove", &self.file))?;
                self.other = Some(sum);
                Ok(false)
            }
        }
    }

    fn failure(&self, room: &Room<'_>) -> Failure {
        let log = room.log_path("download-1");
        match &self.other {
            Some(sum) => plain(
                format!(
                    "the archive's sha256 is {sum}, and the lock file says {}",
                    self.sha256
                ),
                "find out why it was changed; if that is right, build without --from-lock",
            ),
            None => Failure {
                advice: format!(
                    "check the network connection and `repositories`, and try again ({} tells more); or {WITHOUT}",
                    log.display()
                ),
                log,
                ..plain(
                    "no repository has the version that the lock file names, nor its archive of older ones"
                        .to_owned(),
                    "",
                )
            },
        }
    }
}

impl Exact {
    fn chosen(&self, from: From) -> Chosen {
        Chosen {
            version: self.version.clone(),
            needs: self.needs.clone(),
            linking: self.linking.clone(),
            from,
        }
    }
}

/// An entry of the list that asks for just these sources.
fn exactly(entry: &Entry, version: &str, identity: &str) -> Entry {
    let mut exact = Entry {
        version: Some(version.to_owned()),
        ..entry.clone()
    };
    let locator = entry.locator.as_deref().unwrap_or_default();
    match entry.method {
        Method::Git | Method::Github => {
            let (place, _) = split_reference(locator);
            exact.locator = Some(format!("{place}@{identity}"));
        }
        Method::Url | Method::Local if !identity.is_empty() => {
            exact.sha256 = Some(identity.to_owned());
        }
        _ => {}
    }
    exact
}

/// The version that the machine has of a package.
fn version_here(room: &Room<'_>, name: &str) -> Option<String> {
    let read = |library: &Path| read_short(&library.join(name).join("DESCRIPTION")).ok();
    let text = room.libraries.iter().find_map(|library| read(library))?;
    Some(Description::parse(&text).version)
}

fn another_version(there: &str, exact: &Exact, package: Option<&str>) -> Failure {
    let there = if there.is_empty() { "none" } else { there };
    let cause = format!(
        "the machine has version {there}, and the lock file says {}",
        exact.version
    );
    match package {
        Some(package) => plain(
            cause,
            &format!("if apt still has it: apt install {package}; or {WITHOUT}"),
        ),
        None => plain(cause, WITHOUT),
    }
}
