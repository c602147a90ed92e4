//! Named Python environments of a server, each as generations: built from a requirements file beside the one in use,
//! tried out, switched to and back from by one rename, and removed when nobody uses them any more.
//!
//! Nothing here knows of the configuration or of users' servers: whoever starts one looks where `current` leads. The
//! environment of `lyceum demo` is [`crate::python`]'s.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::EnvError;
use crate::generations::Generations;
use crate::progress::Progress;

mod account;
mod build;
mod diff;
mod edit;
mod gc;
mod inside;
mod installed;
mod interpreters;
mod list;
mod lock;
mod requirements;
mod settings;
mod share;
mod tools;
mod tree;
mod trusted;
mod user_site;
mod uses;
mod version;

pub use account::{builder, check_builder, make_builder};
pub(crate) use build::blocking;
pub use build::{Built, Upgrade, Wish};
pub use diff::{Change, ChangeKind};
pub use gc::{Kept, Removal, Removed};
pub(crate) use inside::{Links, open_file, write_new};
pub(crate) use interpreters::usual_folders;
pub use interpreters::{Interpreter, Origin, interpreters};
pub use list::Listed;
pub use settings::Settings;
pub use uses::InUse;

use build::Stamp;

/// A named Python environment.
#[derive(Debug, Clone)]
pub struct Library {
    settings: Settings,
}

/// A change of the packages that are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Adds requirements, or changes those of the same packages.
    Add(Vec<String>),
    /// Takes packages out.
    Remove(Vec<String>),
}

impl Edit {
    /// Changes the text of a requirements file, and tells which packages shall be newer.
    fn apply(&self, path: &Path, text: &str) -> Result<(String, Option<Upgrade>), EnvError> {
        match self {
            Self::Add(wanted) => {
                // With what is named the newest is meant, as far as its versions say nothing else.
                let named = wanted
                    .iter()
                    .map(|one| edit::name_of(path, one))
                    .collect::<Result<Vec<_>, _>>()?;
                let upgrade = Upgrade::Packages(named.into_iter().flatten().collect());
                Ok((edit::add(path, text, wanted)?.text, Some(upgrade)))
            }
            Self::Remove(names) => {
                if let Some(more) = names
                    .iter()
                    .find(|name| !requirements::is_name(name.trim()))
                {
                    return Err(EnvError::BadPackage {
                        package: more.clone(),
                        what: "it is more than a name".to_owned(),
                        help: "name the package alone, without versions".to_owned(),
                    });
                }
                let wanted = edit::names(names);
                let edited = edit::remove(path, text, &wanted);
                let missing: BTreeSet<_> = wanted.difference(&edited.found).collect();
                if let Some(name) = missing.first() {
                    return Err(EnvError::BadPackage {
                        package: (*name).clone(),
                        what: format!("{} does not name it", path.display()),
                        help: "perhaps another package needs it, or it stands in a file that is named there with -r"
                            .to_owned(),
                    });
                }
                Ok((edited.text, None))
            }
        }
    }
}

/// Between which generations was switched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Switched {
    /// The one before; `None` if there was none.
    pub from: Option<u32>,
    /// The one that is current now.
    pub to: u32,
    /// Those that a rollback came by and that cannot be used, with the reason.
    pub skipped: Vec<(u32, String)>,
}

impl Library {
    /// An environment with these settings; nothing is looked at yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Builds a generation, and switches to nothing.
    ///
    /// Takes minutes and needs the network. May be dropped at any await and killed at any instruction: the generation in
    /// use stays as it is, and the next build cleans up and begins again, with what was downloaded still in the cache.
    /// Several processes may call it at once: one works, the others wait.
    pub async fn build(&self, wish: &Wish, progress: &dyn Progress) -> Result<Built, EnvError> {
        Box::pin(build::build(&self.settings, wish, progress)).await
    }

    /// Changes the requirements file and builds. If that fails, or only a trial was wanted, the file stays as it was. What
    /// somebody else writes there meanwhile stays, too.
    pub async fn edit(
        &self,
        edit: &Edit,
        wish: Wish,
        progress: &dyn Progress,
    ) -> Result<Built, EnvError> {
        Box::pin(build::edit(&self.settings, edit, wish, progress)).await
    }

    /// Makes a complete generation the current one: `number`, or else the newest. Waits for nobody.
    pub fn switch(&self, number: Option<u32>) -> Result<Switched, EnvError> {
        let generations = self.generations()?;
        let number = match number {
            Some(number) => number,
            None => match generations.find_newest::<Stamp>()? {
                Some((number, _)) => number,
                None => return Err(self.no_generation(None)),
            },
        };
        let stamp = generations
            .find_stamp::<Stamp>(number)
            .ok_or_else(|| self.no_generation(Some(number)))?;
        if let Some(what) = stamp.fault(&generations.path(number)) {
            return Err(EnvError::Unusable {
                folder: self.settings.generations(),
                number,
                what,
            });
        }
        let prefix = generations.path(number);
        for path in [&prefix, &prefix.join("bin/python")] {
            trusted::check(path)?;
        }
        let from = self.current();
        if from != Some(number) {
            generations.switch(number)?;
        }
        Ok(Switched {
            from,
            to: number,
            skipped: Vec::new(),
        })
    }

    /// Makes the newest complete generation before the current one the current one. Those that cannot be used any more, as
    /// their Python is gone, are passed over.
    pub fn rollback(&self) -> Result<Switched, EnvError> {
        let generations = self.generations()?;
        let current = self.current().ok_or_else(|| self.no_generation(None))?;
        let mut numbers = generations.list()?;
        numbers.retain(|number| {
            *number < current && generations.find_stamp::<Stamp>(*number).is_some()
        });
        let mut skipped = Vec::new();
        for number in numbers.into_iter().rev() {
            match self.switch(Some(number)) {
                Ok(switched) => {
                    return Ok(Switched {
                        skipped,
                        ..switched
                    });
                }
                Err(EnvError::Unusable { what, .. }) => skipped.push((number, what)),
                Err(error) => return Err(error),
            }
        }
        let folder = self.settings.generations();
        Err(match skipped.into_iter().next() {
            Some((number, what)) => EnvError::Unusable {
                folder,
                number,
                what,
            },
            None => EnvError::NothingBefore {
                folder,
                number: current,
            },
        })
    }

    /// The number of the current generation.
    pub fn current(&self) -> Option<u32> {
        let generations = Generations::new(self.settings.generations());
        generations
            .find_current::<Stamp>()
            .map(|(number, _)| number)
    }

    /// The folder of a generation, `sys.prefix` of its Python.
    pub fn prefix(&self, number: u32) -> PathBuf {
        self.settings.generations().join(number.to_string())
    }

    /// The log of the build of a generation.
    pub fn log(&self, number: u32) -> PathBuf {
        Generations::new(self.settings.generations()).log_path(number)
    }

    /// Lists the generations, with who uses them. Looks at all their files, and at all processes.
    pub async fn list(&self) -> Result<Vec<Listed>, EnvError> {
        let folder = self.settings.generations();
        blocking(move || list::list(&folder)).await
    }

    /// What differs between two generations: by default the current one, and the newest, or else the one before it.
    pub fn diff(
        &self,
        from: Option<u32>,
        to: Option<u32>,
    ) -> Result<(u32, u32, Vec<Change>), EnvError> {
        let generations = self.generations()?;
        let newest = generations
            .find_newest::<Stamp>()?
            .map(|(number, _)| number);
        let Some(newest) = newest else {
            return Err(self.no_generation(None));
        };
        let current = self.current();
        let complete = |number: &u32| generations.find_stamp::<Stamp>(*number).is_some();
        let older = |than: u32| {
            let numbers = generations.list().ok()?;
            let mut older = numbers.into_iter().filter(|number| *number < than);
            older.rfind(complete)
        };
        let (from, to) = match (from, to) {
            (Some(from), Some(to)) => (from, to),
            (Some(from), None) => (from, current.unwrap_or(newest)),
            (None, _) => match current {
                Some(current) if current != newest => (current, newest),
                _ => (older(newest).unwrap_or(newest), newest),
            },
        };
        let packages = |number: u32| {
            let stamp = generations.find_stamp::<Stamp>(number);
            stamp
                .map(|stamp| stamp.packages)
                .ok_or_else(|| self.no_generation(Some(number)))
        };
        Ok((from, to, diff::changes(&packages(from)?, &packages(to)?)))
    }

    /// Removes generations that nobody uses and nobody may want back; with `dry_run`, only says which.
    pub async fn gc(&self, dry_run: bool, progress: &dyn Progress) -> Result<Removal, EnvError> {
        gc::gc(&self.settings, dry_run, progress).await
    }

    /// Whether the current generation is what the files say; `None` if it is, or else what has to be done, as a sentence.
    ///
    /// The lock file decides if it was made from the requirements as they are; else packages have to be chosen anew.
    pub fn due(&self) -> Result<Option<Due>, EnvError> {
        let settings = &self.settings;
        let wanted = requirements::read(&settings.requirements, None)?;
        let path = settings.lock_file();
        let lock = match requirements::read_text(&path) {
            Ok(text) => lock::Lock::parse(&path, &text).ok(),
            Err(_) => None,
        };
        let locked = lock.filter(|lock| lock.requirements == wanted.fingerprint);
        let generations = Generations::new(settings.generations());
        let Some((number, stamp)) = generations.find_current::<Stamp>() else {
            let from_lock = locked.is_some();
            return Ok(Some(Due {
                why: "no generation is in use yet".to_owned(),
                from_lock,
            }));
        };
        let due = |why: &str, from_lock| {
            Ok(Some(Due {
                why: why.to_owned(),
                from_lock,
            }))
        };
        if let Some(fault) = stamp.fault(&generations.path(number)) {
            return due(&fault, false);
        }
        let Some(locked) = locked else {
            return due("the requirements have changed", false);
        };
        let same = || build::lock_of(&generations, number).is_some_and(|old| old.is_in(&locked));
        if build::fingerprint(&locked) != stamp.lock && !same() {
            return due("the lock file names other packages than are in use", true);
        }
        if let Some(file) = locked.changed_file() {
            return due(&format!("{} is another file now", file.display()), false);
        }
        let minor = stamp.python.rsplit_once('.').map(|(minor, _)| minor);
        let asked = settings.python.as_str();
        let is_version = !asked.is_empty() && !asked.starts_with('/');
        let other =
            is_version && stamp.python != asked && !stamp.python.starts_with(&format!("{asked}."));
        let elsewhere = asked.starts_with('/')
            && Path::new(asked).canonicalize().ok().as_deref() != Some(&stamp.interpreter);
        if other || elsewhere || minor.is_none() {
            return due("another Python is configured", false);
        }
        if stamp.user_packages != settings.user_packages {
            return due("`user_packages` has changed", true);
        }
        Ok(None)
    }

    fn generations(&self) -> Result<Generations, EnvError> {
        let folder = self.settings.generations();
        if !folder.is_dir() {
            return Err(self.no_generation(None));
        }
        settings::check_ours(&folder)?;
        Ok(Generations::new(folder))
    }

    fn no_generation(&self, number: Option<u32>) -> EnvError {
        EnvError::NoGeneration {
            folder: self.settings.generations(),
            number,
        }
    }
}

/// What has to be done so that an environment is what the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Why, as a sentence.
    pub why: String,
    /// Whether the lock file says which packages, or they have to be chosen.
    pub from_lock: bool,
}
