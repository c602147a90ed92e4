//! The Python environment that users' servers run from: JupyterHub's single-user server and JupyterLab.
//!
//! Made once, from PyPI or from a folder of wheels; afterwards finding it costs two small files.

pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod interpreter;
pub(crate) mod meter;
#[cfg(test)]
mod tests;
pub(crate) mod tune;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::{Log, end_left_over};
use crate::error::EnvError;
use crate::generations::Generations;
use crate::progress::{Phase, Progress, Report};

pub use check::{CheckOptions, CheckReport, CheckedKernel, Problem};
pub use interpreter::Host;
pub(crate) use interpreter::is_executable;
pub use tune::{Finding, TuneOptions, TuneReport};

/// Changes when we prepare environments differently, so that older ones are made anew.
const FORMAT: u32 = 2;
/// How long we wait for somebody else who prepares the same environment.
const LOCK_LIMIT: Duration = Duration::from_hours(1);
/// What the work takes on a usual connection.
const ESTIMATE: Duration = Duration::from_mins(2);

/// What shall be in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSpec {
    /// Requirements in pip's notation, such as `jupyterlab>=4,<5`.
    pub packages: Vec<String>,
    /// The interpreter; `None` takes the best that is found.
    pub python: Option<PathBuf>,
    /// Where packages come from. A change of it alone makes no new environment.
    pub source: PackageSource,
}

/// Where packages come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PackageSource {
    /// PyPI, or what pip's or uv's own configuration and environment variables say.
    #[default]
    Configured,
    /// An index at this address. It goes to the installer in its environment, since it may hold a password.
    Index(String),
    /// A folder of wheels, without any network.
    Folder(PathBuf),
}

impl Default for PythonSpec {
    /// The environment for a hub that speaks JupyterHub 6's protocol.
    fn default() -> Self {
        Self {
            packages: vec![
                "jupyterhub>=6,<7".to_owned(),
                "jupyterlab>=4.4,<5".to_owned(),
            ],
            python: None,
            source: PackageSource::Configured,
        }
    }
}

/// A complete environment. It stays as it is: a changed one is a new generation in another folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonEnvironment {
    /// The number of the generation.
    pub generation: u32,
    /// The environment's folder, `sys.prefix` of its Python; absolute.
    pub prefix: PathBuf,
    /// The versions of `python`, `jupyterhub` and `jupyterlab` in it.
    pub versions: BTreeMap<String, String>,
    /// Whether this call made it.
    pub fresh: bool,
}

impl PythonEnvironment {
    /// Finds the current environment below `root` (`<data>/envs`), or prepares one.
    ///
    /// If there is one that fits, this reads two small files and starts no process. Otherwise it takes minutes
    /// and needs the network. May be dropped at any await and killed at any instruction: the next call cleans up
    /// and begins again, with what was downloaded still in the installer's cache. Several processes may call it at once:
    /// one works, the others wait.
    pub async fn ensure(
        root: &Path,
        spec: &PythonSpec,
        progress: &dyn Progress,
    ) -> Result<Self, EnvError> {
        Self::ensure_on(&Host::this(), root, spec, progress).await
    }

    /// Does the same with the programs of a given host.
    pub async fn ensure_on(
        host: &Host,
        root: &Path,
        spec: &PythonSpec,
        progress: &dyn Progress,
    ) -> Result<Self, EnvError> {
        let folder = absolute(root)?.join("python/base");
        if folder.as_os_str().as_encoded_bytes().contains(&b':') {
            return Err(EnvError::PathWithColon { path: folder });
        }
        let generations = Generations::new(folder);
        if let Some(found) = find_fitting(&generations, spec) {
            return Ok(found);
        }
        generations.create_folder()?;
        // Only now can links in the path be resolved: what is built must not depend on them.
        let generations = Generations::new(absolute(root)?.join("python/base"));
        let _lock = generations
            .lock(LOCK_LIMIT, |holder| report_waiting(progress, holder))
            .await?;
        // Whoever had the lock may have done the work.
        if let Some(found) = find_fitting(&generations, spec) {
            return Ok(found);
        }
        clean(&generations, progress).await?;
        if let Some(found) = finish_switch(&generations, spec)? {
            return Ok(found);
        }
        build::build(host, &generations, spec, progress).await
    }

    /// The folder of the environment's programs.
    pub fn bin(&self) -> PathBuf {
        self.prefix.join("bin")
    }

    /// The path of one of the environment's programs, such as `jupyterhub-singleuser`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    fn new(generations: &Generations, number: u32, stamp: Stamp, fresh: bool) -> Self {
        Self {
            generation: number,
            prefix: generations.path(number),
            versions: stamp.versions,
            fresh,
        }
    }
}

/// Tries an environment out, as it is done before a new one is switched to: a server for a user answers, a cell runs in
/// every kernel. What the programs print goes to the file `log`; `said` hears how far it is, from 0 to 1, and what is
/// being tried. What does not work is [`EnvError::Unfit`].
pub async fn check_environment(
    prefix: &Path,
    options: &CheckOptions,
    log: PathBuf,
    said: &mut (dyn FnMut(f32, &str) + Send),
) -> Result<CheckReport, EnvError> {
    let log = Log::create(log, prefix.to_owned())?;
    check::check(prefix, options, &log, said).await
}

/// What a complete generation says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stamp {
    format: u32,
    packages: Vec<String>,
    /// The interpreter that was asked for.
    asked: Option<PathBuf>,
    /// The interpreter that the environment runs on, with all links resolved.
    interpreter: PathBuf,
    versions: BTreeMap<String, String>,
    /// How long it took, in seconds: the estimate for the next one.
    seconds: u64,
}

impl Stamp {
    /// Whether the generation is what was asked for, and still runs.
    ///
    /// An upgrade of the system's Python from 3.11 to 3.13 leaves the link `bin/python` pointing to something, but not
    /// to what the packages were installed for: hence the look at the resolved path.
    fn fits(&self, prefix: &Path, spec: &PythonSpec) -> bool {
        self.format == FORMAT
            && self.packages == spec.packages
            && self.asked == spec.python
            && prefix
                .join("bin/python")
                .canonicalize()
                .is_ok_and(|real| real == self.interpreter)
            && is_executable(&prefix.join("bin/jupyterhub-singleuser"))
    }
}

/// The folder's absolute path, without links as far as it exists.
fn absolute(root: &Path) -> Result<PathBuf, EnvError> {
    root.canonicalize()
        .or_else(|_| std::path::absolute(root))
        .map_err(|source| EnvError::Io {
            doing: "find",
            path: root.to_owned(),
            source,
        })
}

fn find_fitting(generations: &Generations, spec: &PythonSpec) -> Option<PythonEnvironment> {
    let (number, stamp) = generations.find_current::<Stamp>()?;
    stamp
        .fits(&generations.path(number), spec)
        .then(|| PythonEnvironment::new(generations, number, stamp, false))
}

/// Switches to a generation that was completed just before a crash.
fn finish_switch(
    generations: &Generations,
    spec: &PythonSpec,
) -> Result<Option<PythonEnvironment>, EnvError> {
    let Some((number, stamp)) = generations.find_newest::<Stamp>()? else {
        return Ok(None);
    };
    if !stamp.fits(&generations.path(number), spec) {
        return Ok(None);
    }
    generations.switch(number)?;
    Ok(Some(PythonEnvironment::new(
        generations,
        number,
        stamp,
        false,
    )))
}

/// Ends and removes what an interrupted run left.
async fn clean(generations: &Generations, progress: &dyn Progress) -> Result<(), EnvError> {
    end_left_over(generations.folder()).await?;
    for number in generations.list_half_built()? {
        progress.report(&Report {
            phase: Phase::Cleaning,
            text: "removing what an interrupted run left".to_owned(),
            fraction: None,
            estimate: ESTIMATE,
        });
        remove(generations, number).await?;
    }
    Ok(())
}

/// Removes a half-built generation without blocking the runtime: it may have many thousand files.
async fn remove(generations: &Generations, number: u32) -> Result<(), EnvError> {
    let path = generations.path(number);
    let owned = generations.clone();
    tokio::task::spawn_blocking(move || owned.remove(number))
        .await
        .unwrap_or_else(|error| {
            Err(EnvError::Io {
                doing: "remove",
                path,
                source: error.into(),
            })
        })
}

fn report_waiting(progress: &dyn Progress, holder: Option<&str>) {
    let holder = holder
        .map(|holder| format!(" ({holder})"))
        .unwrap_or_default();
    progress.report(&Report {
        phase: Phase::Waiting,
        text: format!("somebody else{holder} is preparing this environment, waiting for it"),
        fraction: None,
        estimate: ESTIMATE,
    });
}
