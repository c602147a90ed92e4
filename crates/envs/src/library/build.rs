//! Builds one generation: chooses packages, installs them under the builder's account, takes the result over, tries it
//! out, and only then declares it complete.
//!
//! The generation in use is not touched at any point, and nothing is switched here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Edit;
use super::diff::{Change, changes};
use super::gc;
use super::installed::installed;
use super::interpreters::{self, Interpreter};
use super::list::sizes;
use super::lock::Lock;
use super::requirements::{self, Requirements};
use super::settings::{Places, Settings, remove};
use super::tools::Tools;
use super::trusted;
use crate::command::{Log, end_left_over_of};
use crate::digest::hex;
use crate::error::EnvError;
use crate::generations::{self, Generations, held, held_now};
use crate::progress::{Phase, Progress, Report};
use crate::python::build::check_room;
use crate::python::check::CheckReport;
use crate::python::meter::Meter;
use crate::python::tune::TuneReport;
use crate::whole_file::write_whole;

mod choosing;
mod making;

pub(super) use choosing::lock_of;

/// Changes when generations are made differently, so that the same packages make a new one.
const FORMAT: u32 = 1;
/// The lock file inside of a generation.
pub(super) const LOCK_NAME: &str = "requirements.lock";
/// How long we wait for somebody else who builds the same environment.
const LOCK_LIMIT: Duration = Duration::from_hours(2);
/// What a build takes on a usual connection.
const ESTIMATE: Duration = Duration::from_mins(3);

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
    /// How large it is on the disk, in bytes.
    pub bytes: u64,
    /// How much of that it shares with other generations.
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
    let lock = lock(&generations, progress).await?;
    let work = build_locked(settings, &places, &generations, wish, progress);
    held(&lock, Box::pin(work)).await
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
    let lock = lock(&generations, progress).await?;
    let path = &settings.requirements;
    let text = requirements::read_text(path)?;
    let (edited, upgrade) = edit.apply(path, &text)?;
    wish.upgrade = upgrade.unwrap_or(wish.upgrade);
    wish.requirements = Some(edited.clone());
    let work = build_locked(settings, &places, &generations, &wish, progress);
    let mut built = held(&lock, Box::pin(work)).await?;
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
        write_whole(path, edited.as_bytes()).map_err(|source| EnvError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
    }
    Ok(built)
}

async fn lock(
    generations: &Generations,
    progress: &dyn Progress,
) -> Result<Arc<generations::Lock>, EnvError> {
    let lock = generations
        .lock(LOCK_LIMIT, |holder| waiting(progress, holder))
        .await?;
    Ok(Arc::new(lock))
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
    let told = Told(places);
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
    drop(told);
    match &result {
        Err(_) => builder.give_up().await,
        Ok(built) if !built.fresh => {
            let _ = fs::remove_file(generations.log_path(number));
        }
        Ok(_) => {}
    }
    result
}

/// What a build is told, which may hold a password: it goes with the build, also when that is dropped. What cannot be
/// removed then, the next run removes.
struct Told<'a>(&'a Places);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let _ = self.0.end_work();
    }
}

/// Ends and removes what an interrupted run left. The caller holds the lock.
pub(super) async fn clean(
    places: &Places,
    generations: &Generations,
    progress: &dyn Progress,
) -> Result<(), EnvError> {
    end_left_over_of(generations.folder(), places.builder.as_ref()).await?;
    let half_built = left_over(generations)?;
    if !half_built.is_empty() {
        progress.report(&Report {
            phase: Phase::Cleaning,
            text: "removing what an interrupted run has left".to_owned(),
            fraction: None,
            estimate: ESTIMATE,
        });
    }
    let (places, generations) = (places.clone(), generations.clone());
    blocking(move || {
        let in_use = |number| Ok(gc::look(generations.folder())?.includes(number));
        generations.clean_moved(in_use)?;
        for path in half_built {
            remove(&path)?;
        }
        places.end_work()
    })
    .await
}

/// The folders that an interrupted build has left.
fn left_over(generations: &Generations) -> Result<Vec<PathBuf>, EnvError> {
    let half_built = generations.list_half_built()?;
    let mut left: Vec<_> = half_built
        .into_iter()
        .map(|number| generations.path(number))
        .collect();
    let entries = fs::read_dir(generations.folder()).into_iter().flatten();
    left.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.and_then(|name| name.strip_suffix(BUILT))
            .is_some_and(|number| number.parse::<u32>().is_ok())
    }));
    Ok(left)
}

/// How the folder ends that the builder has filled, and that is being taken over.
const BUILT: &str = ".built";

/// Does work that waits for the disk, on a thread that may. It goes on when this is dropped, with the lock of its task.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnvError> + Send + 'static,
) -> Result<T, EnvError> {
    let lock = held_now();
    let work = move || {
        let _lock = lock;
        work()
    };
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
        self.check_choice(&lock)?;
        self.wanted.check_hashes(lock.packages.keys())?;
        let mut built = self.describe(&lock);
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
        let tuned = self.make(&lock, meter).await?;
        let prefix = self.generations.path(self.number);
        let packages = installed(&prefix);
        let checked = self.check(&prefix, &packages, meter).await?;
        let place = prefix.clone();
        let (own, shared) = blocking(move || Ok(sizes(&place))).await?;
        let stamp = Stamp {
            format: FORMAT,
            lock: fingerprint(&lock),
            python: self.tools.python.version.clone().unwrap_or_default(),
            interpreter: real_python(&prefix)?,
            packages,
            user_packages: self.settings.user_packages,
            bytes: own + shared,
            seconds: self.begun.elapsed().as_secs(),
        };
        self.complete(&lock, &stamp).await?;
        built.generation = Some(self.number);
        built.fresh = true;
        (built.bytes, built.shared) = (stamp.bytes, shared);
        (built.seconds, built.packages) = (stamp.seconds, stamp.packages.len());
        if let Some((_, before)) = self.before() {
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
        write_whole(&path, text.as_bytes())
            .err()
            .map(|error| format!("could not write the lock file {}: {error}", path.display()))
    }
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
    hex(&digest)
}
