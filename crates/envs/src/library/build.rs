//! Builds one generation: chooses packages, installs them under the builder's account, takes the result over, tries it
//! out, and only then declares it complete.
//!
//! The generation in use is not touched at any point, and nothing is switched here.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Edit;
use super::diff::{Change, changes};
use super::gc;
use super::installed::installed;
use super::interpreters::{self, Interpreter};
use super::lock::{Lock, Source};
use super::requirements::{self, Requirements, normalized};
use super::settings::{Places, Settings, remove};
use super::share::{Taken, byte_code_of, find_same, take_over};
use super::tools::{Choosing, Tools};
use super::trusted;
use super::version;
use crate::command::{Log, end_left_over_of};
use crate::error::{Cause, EnvError};
use crate::generations::Generations;
use crate::progress::{Phase, Progress, Report};
use crate::python::build::check_room;
use crate::python::check::{self, CheckOptions, CheckReport};
use crate::python::meter::{InstallerWatch, Meter};
use crate::python::tune::{self, TuneOptions, TuneReport};

/// Changes when generations are made differently, so that the same packages make a new one.
const FORMAT: u32 = 1;
/// The lock file inside of a generation.
pub(super) const LOCK_NAME: &str = "requirements.lock";
/// How long we wait for somebody else who builds the same environment.
const LOCK_LIMIT: Duration = Duration::from_hours(2);
/// What a build takes on a usual connection.
const ESTIMATE: Duration = Duration::from_mins(3);
const COPY_LIMIT: Duration = Duration::from_mins(10);

/// How an environment shall be built.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Only choose, and say what would change.
    pub dry_run: bool,
    /// Take exactly what the lock file says.
    pub from_lock: bool,
    /// Build also if nothing would change.
    pub force: bool,
    /// Another Python than the settings say: a version or a path.
    pub python: Option<String>,
    /// Which packages shall be newer.
    pub upgrade: Upgrade,
    /// What is taken for the text of the requirements file.
    pub requirements: Option<String>,
}

/// Which packages shall be newer than in the lock file, where the requirements let them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// None: what is there stays as far as it can.
    #[default]
    Keep,
    /// These, by name.
    Packages(Vec<String>),
    /// All.
    All,
}

/// What a build has come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The generation; `None` if it was only tried.
    pub generation: Option<u32>,
    /// Whether it was made now: without, there was one already that is the same.
    pub fresh: bool,
    /// The version of its Python.
    pub python: String,
    /// Which installer chose: `uv` or `pip`.
    pub installer: &'static str,
    /// How many packages it has.
    pub packages: usize,
    /// With which generation it is compared; `None` if it is the first.
    pub before: Option<u32>,
    /// What is other than in that one.
    pub changes: Vec<Change>,
    /// How large it is, in bytes.
    pub bytes: u64,
    /// How much of that it shares with older generations.
    pub shared: u64,
    /// How long it took, in seconds.
    pub seconds: u64,
    /// What whoever asked should know.
    pub notes: Vec<String>,
}

/// What a complete generation says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) format: u32,
    /// Stands for the packages with their hashes.
    pub(super) lock: String,
    /// The version of its Python, such as `3.11.2`.
    pub(super) python: String,
    /// The interpreter that it runs on, with all links resolved.
    pub(super) interpreter: PathBuf,
    /// The versions of its packages.
    pub(super) packages: BTreeMap<String, String>,
    pub(super) user_packages: bool,
    /// Its size when it was made, in bytes.
    pub(super) bytes: u64,
    /// How long it took, in seconds: the estimate for the next one.
    pub(super) seconds: u64,
}

impl Stamp {
    /// Why the generation does not run any more; `None` if it does.
    pub(super) fn fault(&self, prefix: &Path) -> Option<String> {
        match prefix.join("bin/python").canonicalize() {
            Ok(real) if real == self.interpreter => None,
            Ok(real) => Some(format!(
                "its Python was {}, and is {} now",
                self.interpreter.display(),
                real.display()
            )),
            Err(_) => Some(format!(
                "its Python is not there any more: {}",
                self.interpreter.display()
            )),
        }
    }
}

/// Builds as it is wished. The caller holds no lock; may be dropped at any await.
pub(super) async fn build(
    settings: &Settings,
    wish: &Wish,
    progress: &dyn Progress,
) -> Result<Built, EnvError> {
    let places = Places::prepare(settings)?;
    let generations = Generations::new(places.generations.clone());
    let _lock = generations
        .lock(LOCK_LIMIT, |holder| waiting(progress, holder))
        .await?;
    build_locked(settings, &places, &generations, wish, progress).await
}

/// Changes the requirements file and builds. The file is read when nobody else builds any more, so that of two changes
/// at once none is lost.
pub(super) async fn edit(
    settings: &Settings,
    edit: &Edit,
    mut wish: Wish,
    progress: &dyn Progress,
) -> Result<Built, EnvError> {
    let places = Places::prepare(settings)?;
    let generations = Generations::new(places.generations.clone());
    let _lock = generations
        .lock(LOCK_LIMIT, |holder| waiting(progress, holder))
        .await?;
    let path = &settings.requirements;
    let text = requirements::read_text(path)?;
    let (edited, upgrade) = edit.apply(path, &text)?;
    wish.upgrade = upgrade.unwrap_or(wish.upgrade);
    wish.requirements = Some(edited.clone());
    let mut built = build_locked(settings, &places, &generations, &wish, progress).await?;
    if wish.dry_run {
        return Ok(built);
    }
    // Whoever changes the file by hand holds no lock.
    let now = requirements::read_text(path)?;
    let (edited, note) = if now == text {
        (edited, None)
    } else {
        let (edited, _) = edit.apply(path, &now)?;
        let note = format!(
            "{} was changed by somebody else meanwhile; that is kept, and not built yet",
            path.display()
        );
        (edited, Some(note))
    };
    built.notes.extend(note);
    if edited != now {
        super::write_file(path, &edited).map_err(|source| EnvError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
    }
    Ok(built)
}

/// The same, by the holder of the lock.
async fn build_locked(
    settings: &Settings,
    places: &Places,
    generations: &Generations,
    wish: &Wish,
    progress: &dyn Progress,
) -> Result<Built, EnvError> {
    let begun = Instant::now();
    clean(places, generations, progress).await?;
    let newest = generations.find_newest::<Stamp>()?;
    let estimate = newest.as_ref().map_or(ESTIMATE, |(_, stamp)| {
        Duration::from_secs(stamp.seconds.max(1))
    });
    let mut meter = Meter::new(progress, estimate);
    let wanted = read_requirements(settings, wish)?;
    if settings.needed_mib > 0 {
        let needed = newest.as_ref().map_or(settings.needed_mib, |(_, stamp)| {
            200 + stamp.bytes / 3 / (1024 * 1024)
        });
        check_room(&places.generations, needed)?;
    }
    meter.enter(Phase::Searching, "looking for Python");
    let python = choose_python(settings, wish, places, newest.as_ref()).await?;
    let number = generations.next_unlogged_number()?;
    let log = Log::create(generations.log_path(number), places.generations.clone())?
        .run_as(places.builder.clone())
        .run_in(places.out.clone());
    places.begin_work()?;
    let wheels = settings.wheels.as_deref();
    let tools = Tools::find(&settings.host, places, &python, wheels, &log).await?;
    let builder = Builder {
        settings,
        wish,
        places,
        generations,
        tools: &tools,
        wanted: &wanted,
        newest: newest.as_ref(),
        begun,
        number,
    };
    let result = builder.all(&mut meter).await;
    // What was told may hold a password; what cannot be removed now, the next run removes.
    let _ = places.end_work();
    match &result {
        Err(_) => builder.give_up().await,
        Ok(built) if !built.fresh => {
            let _ = fs::remove_file(generations.log_path(number));
        }
        Ok(_) => {}
    }
    result
}

/// Ends and removes what an interrupted run left. The caller holds the lock.
pub(super) async fn clean(
    places: &Places,
    generations: &Generations,
    progress: &dyn Progress,
) -> Result<(), EnvError> {
    end_left_over_of(generations.folder(), places.builder.as_ref()).await?;
    let (places, generations) = (places.clone(), generations.clone());
    let left = blocking(move || {
        let in_use = |number| Ok(gc::look(generations.folder())?.includes(number));
        let mut left = generations.clean_moved(in_use)?;
        for number in generations.list_half_built()? {
            left = true;
            remove(&generations.path(number))?;
        }
        for entry in fs::read_dir(generations.folder())
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name();
            let is_ours = name.to_str().is_some_and(|name| {
                name.strip_suffix(BUILT)
                    .is_some_and(|number| number.parse::<u32>().is_ok())
            });
            if is_ours {
                left = true;
                remove(&entry.path())?;
            }
        }
        places.end_work()?;
        Ok(left)
    })
    .await?;
    if left {
        progress.report(&Report {
            phase: Phase::Cleaning,
            text: "removed what an interrupted run had left".to_owned(),
            fraction: None,
            estimate: ESTIMATE,
        });
    }
    Ok(())
}

/// How the folder ends that the builder has filled, and that is being taken over.
const BUILT: &str = ".built";

/// Does work that waits for the disk, on a thread that may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnvError> + Send + 'static,
) -> Result<T, EnvError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(EnvError::Io {
                doing: "work on",
                path: PathBuf::from("an environment"),
                source: error.into(),
            })
        })
}

fn waiting(progress: &dyn Progress, holder: Option<&str>) {
    let holder = holder.map_or(String::new(), |holder| format!(" ({holder})"));
    progress.report(&Report {
        phase: Phase::Waiting,
        text: format!("somebody else{holder} is building this environment, waiting for it"),
        fraction: None,
        estimate: ESTIMATE,
    });
}

fn read_requirements(settings: &Settings, wish: &Wish) -> Result<Requirements, EnvError> {
    requirements::read(&settings.requirements, wish.requirements.as_deref())
}

async fn choose_python(
    settings: &Settings,
    wish: &Wish,
    places: &Places,
    newest: Option<&(u32, Stamp)>,
) -> Result<Interpreter, EnvError> {
    let asked = wish.python.as_deref().unwrap_or(&settings.python);
    let before = newest.map(|(number, stamp)| (*number, stamp.interpreter.as_path()));
    let account = places.builder.as_ref();
    interpreters::choose(&settings.host, account, asked, before).await
}

struct Builder<'a> {
    settings: &'a Settings,
    wish: &'a Wish,
    places: &'a Places,
    generations: &'a Generations,
    tools: &'a Tools<'a>,
    wanted: &'a Requirements,
    newest: Option<&'a (u32, Stamp)>,
    begun: Instant,
    number: u32,
}

impl Builder<'_> {
    async fn all(&self, meter: &mut Meter<'_>) -> Result<Built, EnvError> {
        let lock = if self.wish.from_lock {
            self.read_lock()?
        } else {
            self.choose(meter).await?
        };
        self.wanted.check_hashes(lock.packages.keys())?;
        let mut built = self.describe(&lock)?;
        if self.wish.dry_run {
            return Ok(built);
        }
        if let Some((number, stamp)) = self.newest
            && !self.wish.force
            && self.is_same(&lock, *number, stamp)
        {
            built.generation = Some(*number);
            (built.bytes, built.packages) = (stamp.bytes, stamp.packages.len());
            built.notes.extend(self.keep_lock(&lock));
            return Ok(built);
        }
        let (taken, tuned) = self.make(&lock, meter).await?;
        let prefix = self.generations.path(self.number);
        let packages = installed(&prefix);
        let checked = self.check(&prefix, &packages, meter).await?;
        let stamp = Stamp {
            format: FORMAT,
            lock: fingerprint(&lock),
            python: self.tools.python.version.clone().unwrap_or_default(),
            interpreter: real_python(&prefix)?,
            packages,
            user_packages: self.settings.user_packages,
            bytes: taken.bytes,
            seconds: self.begun.elapsed().as_secs(),
        };
        self.complete(&lock, &stamp).await?;
        built.generation = Some(self.number);
        built.fresh = true;
        (built.bytes, built.shared) = (taken.bytes, taken.shared);
        (built.seconds, built.packages) = (stamp.seconds, stamp.packages.len());
        if let Some((_, before)) = self.before()? {
            built.changes = changes(&before.packages, &stamp.packages);
        } else {
            built.changes = changes(&BTreeMap::new(), &stamp.packages);
        }
        built.notes.extend(told(&tuned, &checked));
        built.notes.extend(self.keep_lock(&lock));
        meter.enter(Phase::Done, "the new generation is ready");
        Ok(built)
    }

    /// Removes what was begun. What cannot be removed now, the next run removes.
    async fn give_up(&self) {
        let path = self.generations.path(self.number);
        let built = path.with_extension(BUILT.trim_start_matches('.'));
        let _ = blocking(move || remove(&path).and(remove(&built))).await;
    }

    fn platform(&self) -> &str {
        &self.tools.python.platform
    }

    fn minor(&self) -> String {
        self.tools.python.minor().unwrap_or_default()
    }

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
    fn read_lock(&self) -> Result<Lock, EnvError> {
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

    async fn choose(&self, meter: &mut Meter<'_>) -> Result<Lock, EnvError> {
        meter.enter(Phase::Searching, "choosing packages");
        let before = self.lock_before();
        let list = self.places.tell("requirements.in", &self.wanted.list)?;
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
        lock.platform = self.platform().to_owned();
        lock.requirements.clone_from(&self.wanted.fingerprint);
        Ok(lock)
    }

    /// Reads what the builder wrote.
    fn answer(&self, path: &Path) -> Result<Vec<u8>, EnvError> {
        self.places.read_answer(path)
    }

    /// The generation to compare with: the current one, or else the newest.
    fn before(&self) -> Result<Option<(u32, Stamp)>, EnvError> {
        match self.generations.find_current() {
            Some(found) => Ok(Some(found)),
            None => Ok(self.newest.cloned()),
        }
    }

    /// What would be other with these packages.
    fn describe(&self, lock: &Lock) -> Result<Built, EnvError> {
        let mut built = Built {
            generation: None,
            fresh: false,
            python: self.tools.python.version.clone().unwrap_or_default(),
            installer: self.tools.name(),
            packages: lock.packages.len(),
            before: None,
            changes: Vec::new(),
            bytes: 0,
            shared: 0,
            seconds: 0,
            notes: Vec::new(),
        };
        let mut before = BTreeMap::new();
        if let Some((number, stamp)) = self.before()? {
            built.before = Some(number);
            // What a tuned generation goes without was chosen all the same.
            before = match self.lock_of(number) {
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
        built.changes = changes(&before, &versions(lock));
        Ok(built)
    }

    fn lock_of(&self, number: u32) -> Option<Lock> {
        let path = self.generations.path(number).join(LOCK_NAME);
        let text = requirements::read_text(&path).ok()?;
        Lock::parse(&path, &text).ok()
    }

    fn is_same(&self, lock: &Lock, number: u32, stamp: &Stamp) -> bool {
        let python = self.tools.python.executable.canonicalize();
        stamp.format == FORMAT
            && stamp.lock == fingerprint(lock)
            && stamp.user_packages == self.settings.user_packages
            && python.is_ok_and(|python| python == stamp.interpreter)
            && stamp.fault(&self.generations.path(number)).is_none()
    }

    /// Installs, compiles and takes over.
    async fn make(
        &self,
        lock: &Lock,
        meter: &mut Meter<'_>,
    ) -> Result<(Taken, TuneReport), EnvError> {
        let prefix = self.generations.path(self.number);
        let version = self.tools.python.version.clone().unwrap_or_default();
        meter.enter(
            Phase::Creating,
            format!("creating generation {} with Python {version}", self.number),
        );
        self.places.hand_over(&prefix)?;
        self.tools.create(&prefix).await?;
        meter.enter(
            Phase::Downloading,
            format!("downloading {} packages", lock.packages.len()),
        );
        let options: String = self
            .wanted
            .list
            .lines()
            .filter(|line| line.starts_with('-'))
            .map(|line| format!("{line}\n"))
            .collect();
        let (hashed, others) = lock.lists();
        for (name, list, with_hashes) in
            [("hashed.txt", hashed, true), ("others.txt", others, false)]
        {
            if list.is_empty() {
                continue;
            }
            let file = self.places.tell(name, &format!("{options}{list}"))?;
            let mut watch = InstallerWatch::new(&prefix, lock.packages.len());
            self.tools
                .install(&prefix, &file, with_hashes, &mut |seen| {
                    watch.see(seen, meter)
                })
                .await?;
        }
        if !lock.packages.contains_key("pip") {
            self.tools.add_pip(&prefix).await?;
        }
        self.compare_with(lock, &prefix)?;
        meter.enter(
            Phase::Compiling,
            "compiling modules, so that servers start faster",
        );
        let owner = self.places.owner();
        let donors = self.donors();
        self.take_byte_code(&prefix, &donors).await?;
        let options = TuneOptions {
            requirements: self.wanted.names.iter().cloned().collect(),
            title: self.settings.title.clone(),
        };
        let tuned = tune::tune(&prefix, &options, self.tools.log).await?;
        meter.inside(Phase::Compiling, 0.8, "taking it over");
        // Nothing of the builder is left that could still write; and if anything were, only to what we have moved away.
        end_left_over_of(self.generations.folder(), self.places.builder.as_ref()).await?;
        let user_packages = self.settings.user_packages;
        let chosen = self.tools.python.executable.clone();
        let taken = blocking(move || {
            let interpreter = chosen.canonicalize().map_err(|source| EnvError::Io {
                doing: "find",
                path: chosen,
                source,
            })?;
            let staged = prefix.with_extension(BUILT.trim_start_matches('.'));
            fs::rename(&prefix, &staged).map_err(|source| EnvError::Io {
                doing: "move",
                path: prefix.clone(),
                source,
            })?;
            let same = find_same(&staged, owner, &donors)?;
            let taken = take_over(&staged, &prefix, owner, &interpreter, &same)?;
            check_python(&prefix, &interpreter)?;
            super::user_site::place(&prefix, user_packages)?;
            remove(&staged)?;
            Ok(taken)
        })
        .await?;
        Ok((taken, tuned))
    }

    /// Finished generations whose files may be the same: the newest of this environment, and the current ones of others.
    fn donors(&self) -> Vec<PathBuf> {
        let mut donors = Vec::new();
        donors.extend(
            self.newest
                .map(|(number, _)| self.generations.path(*number)),
        );
        let others = self.generations.folder().parent();
        let others = others.and_then(|folder| fs::read_dir(folder).ok());
        for entry in others.into_iter().flatten().flatten() {
            let other = Generations::new(entry.path());
            if let Some((number, _)) = other.find_current::<Stamp>() {
                let path = other.path(number);
                if !donors.contains(&path) {
                    donors.push(path);
                }
            }
        }
        donors
    }

    /// Lets the builder take byte-code of sources that are the same from finished generations: compiling them again is
    /// most of the work. What it makes of it is compared again.
    async fn take_byte_code(&self, prefix: &Path, donors: &[PathBuf]) -> Result<(), EnvError> {
        let (staged, owner, donors) = (prefix.to_owned(), self.places.owner(), donors.to_vec());
        let pairs =
            blocking(move || Ok(byte_code_of(&find_same(&staged, owner, &donors)?))).await?;
        if pairs.is_empty() {
            return Ok(());
        }
        let mut list = String::new();
        for (from, to) in pairs {
            // A name that cannot be written on a line is compiled again.
            if let (Some(from), Some(to)) = (from.to_str(), to.to_str())
                && !from.contains(['\n', '\t'])
                && !to.contains(['\n', '\t'])
            {
                let _ = writeln!(list, "{from}\t{to}");
            }
        }
        let list = self.places.tell("byte-code.txt", &list)?;
        let code = include_str!("byte_code.py");
        let mut arguments = ["-I", "-S", "-c", code].map(OsString::from).to_vec();
        arguments.extend([list.into(), prefix.into()]);
        let python = &self.tools.python.executable;
        self.tools
            .run_python("take byte-code over", python, arguments, COPY_LIMIT)
            .await
    }

    /// Tries it out as whoever builds, who may not change it any more.
    async fn check(
        &self,
        prefix: &Path,
        packages: &BTreeMap<String, String>,
        meter: &mut Meter<'_>,
    ) -> Result<CheckReport, EnvError> {
        let options = CheckOptions {
            modules: self.settings.smoke.clone(),
            requirements: self.wanted.names.iter().cloned().collect(),
            need_server: packages.contains_key("jupyterhub"),
            ..CheckOptions::default()
        };
        meter.enter(Phase::Testing, "trying it out");
        check::check(prefix, &options, self.tools.log, &mut |at, doing| {
            meter.inside(Phase::Testing, at, doing);
        })
        .await
    }

    /// Compares what is there with what was chosen.
    #[expect(clippy::unused_self, reason = "reads better beside the other steps")]
    fn compare_with(&self, lock: &Lock, prefix: &Path) -> Result<(), EnvError> {
        let found = installed(prefix);
        let different: Vec<String> = lock
            .packages
            .iter()
            .filter_map(|(name, package)| match (&package.source, found.get(name)) {
                (_, None) => Some(format!("{name} is missing")),
                (Source::Version(wanted), Some(version))
                    if version::compare(wanted, version).is_ne() =>
                {
                    Some(format!("{name} is {version} and not {wanted}"))
                }
                _ => None,
            })
            .collect();
        if different.is_empty() {
            Ok(())
        } else {
            Err(EnvError::NotAsLocked { different })
        }
    }

    async fn complete(&self, lock: &Lock, stamp: &Stamp) -> Result<(), EnvError> {
        let (generations, number) = (self.generations.clone(), self.number);
        let (text, stamp) = (lock.text(&self.settings.name), stamp.clone());
        blocking(move || {
            let path = generations.path(number).join(LOCK_NAME);
            super::write_new(&path, text.as_bytes()).map_err(|source| EnvError::Io {
                doing: "write",
                path,
                source,
            })?;
            generations.complete(number, &stamp)
        })
        .await
    }

    /// Writes the lock file beside the requirements; what keeps it from that is told and is no failure.
    fn keep_lock(&self, lock: &Lock) -> Option<String> {
        let path = self.settings.lock_file();
        let text = lock.text(&self.settings.name);
        if fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return None;
        }
        super::write_file(&path, &text)
            .err()
            .map(|error| format!("could not write the lock file {}: {error}", path.display()))
    }
}

/// The versions in a lock, or the addresses of what has none before it is there.
fn versions(lock: &Lock) -> BTreeMap<String, String> {
    let packages = lock.packages.iter();
    packages
        .map(|(name, package)| (name.clone(), package.version().to_owned()))
        .collect()
}

/// What people should know about a generation that works.
fn told(tuned: &TuneReport, checked: &CheckReport) -> Vec<String> {
    let slow = tuned.findings.iter().filter(|one| !one.mended);
    let slow = slow.map(|one| match &one.advice {
        Some(advice) => format!("{}: {advice}", one.text),
        None => one.text.clone(),
    });
    slow.chain(checked.notes.iter().map(ToString::to_string))
        .collect()
}

/// Refuses an environment whose Python is not the one that was chosen.
fn check_python(prefix: &Path, interpreter: &Path) -> Result<(), EnvError> {
    if real_python(prefix)? == interpreter {
        return trusted::check(&prefix.join("bin/python"));
    }
    Err(EnvError::Strange {
        path: "bin/python".into(),
        what: format!("it is not {}, which was chosen", interpreter.display()),
    })
}

fn real_python(prefix: &Path) -> Result<PathBuf, EnvError> {
    let path = prefix.join("bin/python");
    path.canonicalize().map_err(|source| EnvError::Io {
        doing: "find",
        path,
        source,
    })
}

/// Stands for the packages of a lock.
pub(super) fn fingerprint(lock: &Lock) -> String {
    let (hashed, others) = lock.lists();
    let digest = Sha256::digest(format!("{}\n{hashed}\n{others}", lock.python).as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
