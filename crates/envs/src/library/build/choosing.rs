//! Which packages a generation shall have: chosen by an installer, or read from the lock file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Builder, Built, FORMAT, LOCK_NAME, Stamp, Upgrade, fingerprint};
use crate::error::{Cause, EnvError};
use crate::generations::Generations;
use crate::library::diff::changes;
use crate::library::lock::Lock;
use crate::library::requirements::{self, normalized};
use crate::library::tools::Choosing;
use crate::progress::Phase;
use crate::python::meter::Meter;

/// What tuning takes out of an environment, since it makes each start slower (`python/tune/tune.py`).
const LEFT_OUT: &str = "rfc3987-syntax";

impl Builder<'_> {
    /// The lock file beside the requirements, and else that of the newest generation; one for another Python says
    /// nothing about this one.
    fn lock_before(&self) -> Option<Lock> {
        let file = self.settings.lock_file();
        let newest = self
            .newest
            .map(|(number, _)| self.generations.path(*number).join(LOCK_NAME));
        let found = [Some(file), newest]
            .into_iter()
            .flatten()
            .find_map(|path| {
                let text = requirements::read_text(&path).ok()?;
                Lock::parse(&path, &text).ok()
            })?;
        (found.python == self.minor()).then_some(found)
    }

    /// Reads the lock file that shall be built from.
    pub(super) fn read_lock(&self) -> Result<Lock, EnvError> {
        let path = self.settings.lock_file();
        let text = requirements::read_text(&path)?;
        let lock = Lock::parse(&path, &text)?;
        if lock.python != self.minor() || lock.platform != self.platform() {
            return Err(EnvError::OtherPython {
                path,
                locked: format!("Python {} on {}", lock.python, lock.platform),
                wanted: format!("Python {} on {}", self.minor(), self.platform()),
            });
        }
        if lock.requirements != self.wanted.fingerprint {
            return Err(EnvError::StaleLock {
                path,
                requirements: self.settings.requirements.clone(),
            });
        }
        Ok(lock)
    }

    pub(super) async fn choose(&self, meter: &mut Meter<'_>) -> Result<Lock, EnvError> {
        meter.enter(Phase::Searching, "choosing packages");
        let before = self.lock_before();
        let list = self.tools.readable(&self.wanted.list);
        let list = self.places.tell("requirements.in", &list)?;
        let limits = self
            .places
            .tell("constraints.txt", &self.wanted.constraints)?;
        let choice = self.places.out.join("choice");
        let (upgrade, newer) = match &self.wish.upgrade {
            Upgrade::Keep => (Some(&[][..]), BTreeSet::new()),
            Upgrade::Packages(names) => {
                let normal = names.iter().map(|name| normalized(name)).collect();
                (Some(names.as_slice()), normal)
            }
            Upgrade::All => (None, BTreeSet::new()),
        };
        let mut choosing = Choosing {
            list: &list,
            constraints: vec![&limits],
            choice: &choice,
            upgrade,
        };
        let pins = before
            .as_ref()
            .filter(|_| upgrade.is_some())
            .map(|lock| lock.constraints(&newer));
        let mut seen = |_: crate::command::Seen<'_>| {};
        let mut lock = if self.tools.chooses_with_pins() {
            let pins = match pins {
                Some(pins) => Some(self.places.tell("pins.txt", &pins)?),
                None => None,
            };
            choosing.constraints.extend(pins.as_deref());
            match self.tools.choose(&choosing, &mut seen).await {
                // What was chosen before does not go with what is wanted now.
                Err(EnvError::Step {
                    cause: Cause::Conflict | Cause::NoSuchPackage(_),
                    ..
                }) if pins.is_some() => {
                    choosing.constraints.pop();
                    self.tools.choose(&choosing, &mut seen).await
                }
                other => other,
            }?;
            Lock::parse_report(&choice, &self.answer(&choice)?)?
        } else {
            if let Some(pins) = pins {
                // uv keeps what stands in the file that it writes.
                self.places.answer_before(&choice, &pins)?;
            }
            self.tools.choose(&choosing, &mut seen).await?;
            let text = self.answer(&choice)?;
            Lock::parse_compiled(&choice, &String::from_utf8_lossy(&text))?
        };
        lock.demand(&self.wanted.hashes);
        lock.python = self.minor();
        self.platform().clone_into(&mut lock.platform);
        lock.requirements.clone_from(&self.wanted.fingerprint);
        Ok(lock)
    }

    /// Reads what the builder wrote.
    fn answer(&self, path: &Path) -> Result<Vec<u8>, EnvError> {
        self.places.read_answer(path)
    }

    /// The generation to compare with: the current one, or else the newest.
    pub(super) fn before(&self) -> Option<(u32, Stamp)> {
        self.generations
            .find_current()
            .or_else(|| self.newest.cloned())
    }

    /// Refuses a choice that cannot be meant: packages that shall be newer and are not there, or nothing that servers of
    /// the environment could start from.
    pub(super) fn check_choice(&self, lock: &Lock) -> Result<(), EnvError> {
        // What is being added may be for other platforms.
        if let (Upgrade::Packages(names), None) = (&self.wish.upgrade, &self.wish.requirements)
            && let Some(name) = names
                .iter()
                .find(|name| !lock.packages.contains_key(&normalized(name)))
        {
            return Err(EnvError::BadPackage {
                package: name.clone(),
                what: format!("{} has no such package", self.settings.name),
                help: "name packages without versions; `lyceum env python add` adds new ones, and asks for versions"
                    .to_owned(),
            });
        }
        if self.settings.serves && !lock.packages.contains_key("jupyterhub") {
            return Err(EnvError::NoServer {
                path: self.settings.requirements.clone(),
            });
        }
        Ok(())
    }

    /// What would be other with these packages.
    pub(super) fn describe(&self, lock: &Lock) -> Built {
        let mut built = Built {
            generation: None,
            fresh: false,
            python: self.tools.python.version.clone().unwrap_or_default(),
            installer: self.tools.name(),
            // pip comes with the interpreter, if it is not among them.
            packages: lock.packages.len() - usize::from(self.leaves_out(lock))
                + usize::from(!lock.packages.contains_key("pip") && self.tools.adds_pip()),
            before: None,
            changes: Vec::new(),
            bytes: 0,
            shared: 0,
            seconds: 0,
            notes: Vec::new(),
        };
        let mut before = BTreeMap::new();
        if let Some((number, stamp)) = self.before() {
            built.before = Some(number);
            // What a tuned generation goes without was chosen all the same.
            before = match lock_of(self.generations, number) {
                Some(locked) => versions(&locked),
                None => stamp.packages,
            };
            let old = stamp
                .python
                .rsplit_once('.')
                .map(|(minor, _)| minor.to_owned());
            if old.as_ref().is_some_and(|old| *old != self.minor()) {
                built.notes.push(format!(
                    "Python {} takes the place of {}: packages that users have installed for themselves are not seen by it",
                    self.minor(),
                    old.unwrap_or_default()
                ));
            }
        }
        let mut after = versions(lock);
        if built.before.is_none() && self.leaves_out(lock) {
            after.remove(LEFT_OUT);
        }
        built.changes = changes(&before, &after);
        built
    }

    /// Whether tuning will take a package out again, as far as the requirements tell: not if another package cannot do
    /// without it.
    fn leaves_out(&self, lock: &Lock) -> bool {
        lock.packages.contains_key(LEFT_OUT) && !self.wanted.names.contains(LEFT_OUT)
    }

    pub(super) fn is_same(&self, lock: &Lock, number: u32, stamp: &Stamp) -> bool {
        let python = self.tools.python.executable.canonicalize();
        stamp.format == FORMAT
            && (stamp.lock == fingerprint(lock)
                || lock_of(self.generations, number).is_some_and(|old| old.is_in(lock)))
            && stamp.user_packages == self.settings.user_packages
            && python.is_ok_and(|python| python == stamp.interpreter)
            && stamp.fault(&self.generations.path(number)).is_none()
    }
}

/// The lock file in a generation.
pub(in crate::library) fn lock_of(generations: &Generations, number: u32) -> Option<Lock> {
    let path = generations.path(number).join(LOCK_NAME);
    let text = requirements::read_text(&path).ok()?;
    Lock::parse(&path, &text).ok()
}

/// The versions in a lock, or the addresses of what has none before it is there.
fn versions(lock: &Lock) -> BTreeMap<String, String> {
    let packages = lock.packages.iter();
    packages
        .map(|(name, package)| (name.clone(), package.version().to_owned()))
        .collect()
}
