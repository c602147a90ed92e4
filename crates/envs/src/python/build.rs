//! Builds one generation: an empty environment, the packages, tidying, a try-out, and the switch.
//!
//! Called with the lock held; leaves nothing but a log if it fails.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::interpreter::{self, Found, Host, Maker};
use super::meter::{InstallerWatch, Meter};
use super::{ESTIMATE, FORMAT, PackageSource, PythonEnvironment, PythonSpec, Stamp, remove, tune};
use crate::command::{Log, Seen, Step, run};
use crate::error::{Cause, EnvError};
use crate::generations::Generations;
use crate::progress::{Phase, Progress};

/// What JupyterHub and JupyterLab bring along, as of this writing: for the bar only.
const EXPECTED_PACKAGES: usize = 112;
/// What an environment and the download of its packages need, with some room to spare, in MiB.
const NEEDED_MIB: u64 = 700;

const CREATE_LIMIT: Duration = Duration::from_mins(10);
const INSTALL_LIMIT: Duration = Duration::from_hours(1);
const SHORT_LIMIT: Duration = Duration::from_mins(3);

/// Builds a generation and makes it the current one.
pub(super) async fn build(
    host: &Host,
    generations: &Generations,
    spec: &PythonSpec,
    progress: &dyn Progress,
) -> Result<PythonEnvironment, EnvError> {
    let begun = Instant::now();
    let estimate = generations
        .find_newest::<Stamp>()?
        .map_or(ESTIMATE, |(_, stamp)| {
            Duration::from_secs(stamp.seconds.max(1))
        });
    let mut meter = Meter::new(progress, estimate);
    check_room(generations.folder(), NEEDED_MIB)?;
    meter.enter(Phase::Searching, "looking for Python");
    let found = interpreter::find(host, spec.python.as_deref()).await?;
    let number = generations.next_number()?;
    let log = Log::create(
        generations.log_path(number),
        generations.folder().to_owned(),
    )?;
    let builder = Builder {
        prefix: generations.path(number),
        python: generations.path(number).join("bin/python"),
        spec,
        found,
        log,
    };
    match builder.all(&mut meter).await {
        Ok(versions) => {
            let interpreter = builder
                .python
                .canonicalize()
                .map_err(|source| EnvError::Io {
                    doing: "find",
                    path: builder.python.clone(),
                    source,
                })?;
            let stamp = Stamp {
                format: FORMAT,
                packages: spec.packages.clone(),
                asked: spec.python.clone(),
                interpreter,
                versions,
                seconds: begun.elapsed().as_secs(),
            };
            finish(generations, number, &stamp).await?;
            meter.enter(Phase::Done, "the Python environment is ready");
            Ok(PythonEnvironment::new(generations, number, stamp, true))
        }
        Err(error) => {
            // The failure is what the caller must hear of; what cannot be removed now, the next run removes.
            let _ = remove(generations, number).await;
            Err(error)
        }
    }
}

/// Stamps and switches on a thread that may block: it waits for the disk.
async fn finish(generations: &Generations, number: u32, stamp: &Stamp) -> Result<(), EnvError> {
    let (owned, stamp) = (generations.clone(), stamp.clone());
    tokio::task::spawn_blocking(move || owned.finish(number, &stamp))
        .await
        .unwrap_or_else(|error| {
            Err(EnvError::Io {
                doing: "finish",
                path: generations.path(number),
                source: error.into(),
            })
        })
}

struct Builder<'a> {
    prefix: PathBuf,
    python: PathBuf,
    spec: &'a PythonSpec,
    found: Found,
    log: Log,
}

impl Builder<'_> {
    /// Does all steps and returns the versions of what is in the environment.
    async fn all(&self, meter: &mut Meter<'_>) -> Result<BTreeMap<String, String>, EnvError> {
        self.create(meter).await?;
        self.install(meter).await?;
        self.tune(meter).await?;
        self.write_lock().await?;
        self.try_out(meter).await
    }

    async fn create(&self, meter: &mut Meter<'_>) -> Result<(), EnvError> {
        let text = self.found.version.as_ref().map_or_else(
            || "creating an environment, with a Python that uv fetches".to_owned(),
            |version| format!("creating an environment with Python {version}"),
        );
        meter.enter(Phase::Creating, text);
        let prefix = self.prefix.as_os_str();
        let (program, arguments): (&Path, Vec<&OsStr>) = match &self.found.maker {
            Maker::Venv { python } => (
                python,
                vec!["-I".as_ref(), "-m".as_ref(), "venv".as_ref(), prefix],
            ),
            Maker::Virtualenv {
                program,
                module,
                python,
            } => {
                let mut arguments: Vec<&OsStr> = Vec::new();
                if *module {
                    arguments.extend(["-m", "virtualenv"].map(OsStr::new));
                }
                arguments.extend(["--python".as_ref(), python.as_os_str(), prefix]);
                (program, arguments)
            }
            Maker::Uv { uv, python } => {
                let mut arguments: Vec<&OsStr> = vec!["venv".as_ref()];
                // So that people can say `%pip install` in a notebook.
                if !matches!(self.spec.source, PackageSource::Folder(_)) {
                    arguments.push("--seed".as_ref());
                }
                arguments.push("--python".as_ref());
                arguments.push(
                    python
                        .as_ref()
                        .map_or(OsStr::new(">=3.10"), |path| path.as_os_str()),
                );
                arguments.push(prefix);
                (uv, arguments)
            }
        };
        let step = Step {
            doing: "create the Python environment",
            program: program.as_os_str(),
            arguments,
            environment: environment(),
            limit: CREATE_LIMIT,
        };
        match run(step, &self.log, &mut |_| {}).await {
            Err(EnvError::Step {
                cause: Cause::NoVenv,
                ..
            }) if self.found.version.is_some() => Err(self.no_venv()),
            other => other.map(drop),
        }
    }

    fn no_venv(&self) -> EnvError {
        let python = match &self.found.maker {
            Maker::Venv { python } | Maker::Virtualenv { python, .. } => python.clone(),
            Maker::Uv { python, .. } => python.clone().unwrap_or_default(),
        };
        EnvError::NoVenv {
            python,
            version: self.found.version.clone().unwrap_or_default(),
        }
    }

    async fn install(&self, meter: &mut Meter<'_>) -> Result<(), EnvError> {
        meter.enter(Phase::Downloading, "choosing packages");
        let mut step = self.package_step("install the packages", "install", INSTALL_LIMIT);
        // Compiled afterwards, on all processors at once.
        if !self.with_uv() {
            step.arguments
                .extend(["--no-compile", "--progress-bar=off"].map(OsStr::new));
        }
        match &self.spec.source {
            PackageSource::Configured => {}
            PackageSource::Index(address) => {
                step.environment
                    .push(("PIP_INDEX_URL", Some(address.clone())));
                step.environment
                    .push(("UV_DEFAULT_INDEX", Some(address.clone())));
            }
            PackageSource::Folder(folder) => {
                step.arguments.extend([
                    "--no-index".as_ref(),
                    "--find-links".as_ref(),
                    folder.as_os_str(),
                ]);
            }
        }
        step.arguments
            .extend(self.spec.packages.iter().map(OsStr::new));
        let mut watch = InstallerWatch::new(&self.prefix, EXPECTED_PACKAGES);
        run(step, &self.log, &mut |seen| watch.see(seen, meter))
            .await
            .map(drop)
    }

    /// Compiles all modules and mends what slows a start: users' servers may not write here.
    async fn tune(&self, meter: &mut Meter<'_>) -> Result<(), EnvError> {
        meter.enter(
            Phase::Compiling,
            "compiling modules, so that servers start faster",
        );
        let options = tune::TuneOptions {
            requirements: self.spec.packages.clone(),
            title: String::new(),
        };
        let report = tune::tune(&self.prefix, &options, &self.log).await?;
        for finding in report.findings.iter().filter(|finding| !finding.mended) {
            tracing::debug!(finding = finding.name, "{}", finding.text);
        }
        Ok(())
    }

    /// Writes down what is in the environment.
    async fn write_lock(&self) -> Result<(), EnvError> {
        let lines = self.package_command("list the packages", "freeze").await?;
        let path = self.prefix.join("requirements.lock");
        fs::write(&path, lines.join("\n") + "\n").map_err(|source| EnvError::Io {
            doing: "write",
            path,
            source,
        })
    }

    async fn try_out(&self, meter: &mut Meter<'_>) -> Result<BTreeMap<String, String>, EnvError> {
        meter.enter(
            Phase::Testing,
            "checking that JupyterHub and JupyterLab load",
        );
        let step = Step {
            doing: "load JupyterHub and JupyterLab",
            program: self.python.as_os_str(),
            arguments: vec![
                "-I".as_ref(),
                "-c".as_ref(),
                include_str!("smoke.py").as_ref(),
            ],
            environment: environment(),
            limit: SHORT_LIMIT,
        };
        let lines = run(step, &self.log, &mut |_| {}).await?;
        let versions = lines
            .last()
            .and_then(|line| serde_json::from_str(line).ok());
        meter.inside(Phase::Testing, 0.5, "checking that a server starts");
        let program = self.prefix.join("bin/jupyterhub-singleuser");
        let step = Step {
            doing: "start jupyterhub-singleuser",
            program: program.as_os_str(),
            arguments: vec!["--version".as_ref()],
            environment: environment(),
            limit: SHORT_LIMIT,
        };
        run(step, &self.log, &mut |_| {}).await?;
        versions.ok_or_else(|| EnvError::Step {
            doing: "read the versions of JupyterHub and JupyterLab",
            cause: Cause::Other("an unexpected answer".to_owned()),
            tail: lines.join("\n"),
            log: self.log.path().to_owned(),
        })
    }

    fn with_uv(&self) -> bool {
        matches!(self.found.maker, Maker::Uv { .. })
    }

    async fn package_command(
        &self,
        doing: &'static str,
        verb: &'static str,
    ) -> Result<Vec<String>, EnvError> {
        let mut lines = Vec::new();
        let step = self.package_step(doing, verb, SHORT_LIMIT);
        run(step, &self.log, &mut |seen| {
            if let Seen::Line(line) = seen
                && (line.contains("==") || line.contains(" @ "))
            {
                lines.push(line.to_owned());
            }
        })
        .await?;
        Ok(lines)
    }

    /// A call of pip, or of uv's stand-in for it.
    fn package_step(&self, doing: &'static str, verb: &'static str, limit: Duration) -> Step<'_> {
        let (program, arguments): (&Path, Vec<&OsStr>) = match &self.found.maker {
            Maker::Uv { uv, .. } => (
                uv,
                vec![
                    "pip".as_ref(),
                    verb.as_ref(),
                    "--python".as_ref(),
                    self.python.as_os_str(),
                ],
            ),
            _ => (
                &self.python,
                vec!["-I".as_ref(), "-m".as_ref(), "pip".as_ref(), verb.as_ref()],
            ),
        };
        Step {
            doing,
            program: program.as_os_str(),
            arguments,
            environment: environment(),
            limit,
        }
    }
}

/// What is changed in our own environment, which otherwise goes to the installer as it is: proxies, certificates
/// and mirrors are set there.
pub(crate) fn environment() -> Vec<(&'static str, Option<String>)> {
    let mut changes: Vec<_> = [
        "PYTHONHOME",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "PYTHONDONTWRITEBYTECODE",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_ROOT",
        "PIP_REQUIRE_VIRTUALENV",
        "PIP_LOG",
        "PIP_QUIET",
    ]
    .map(|name| (name, None))
    .into();
    changes.extend(
        [
            ("PIP_USER", "0"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONNOUSERSITE", "1"),
            ("UV_NO_PROGRESS", "1"),
            ("NO_COLOR", "1"),
            // So that causes can be read from messages.
            ("LC_ALL", "C.UTF-8"),
        ]
        .map(|(name, value)| (name, Some(value.to_owned()))),
    );
    changes
}

/// Refuses at once what would fail after minutes.
pub(crate) fn check_room(folder: &Path, needed_mib: u64) -> Result<(), EnvError> {
    let fail = |source| EnvError::Io {
        doing: "look at the free space of",
        path: folder.to_owned(),
        source,
    };
    let system = rustix::fs::statvfs(folder).map_err(|error| fail(error.into()))?;
    let free_mib = system.f_bavail.saturating_mul(system.f_frsize) / (1024 * 1024);
    if free_mib < needed_mib {
        return Err(EnvError::DiskFull {
            path: folder.to_owned(),
            free_mib,
            needed_mib,
        });
    }
    Ok(())
}
