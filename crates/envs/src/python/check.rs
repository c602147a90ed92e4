//! Tries an environment out before anybody uses it: a real server for a user, JupyterLab's page, a cell in every kernel.
//!
//! Changes nothing in the environment; what it starts lives in a home of its own and ends with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::build::environment;
use crate::command::{Log, Seen, Step, run};
use crate::error::{Cause, EnvError};

/// What is tried, and for how long.
#[derive(Debug, Clone, Serialize)]
pub struct CheckOptions {
    /// Modules that must be importable.
    pub modules: Vec<String>,
    /// Names of packages whose modules must be importable, as far as the machine has what they need.
    pub requirements: Vec<String>,
    /// Folders beside the environment where a server finds kernels and extensions, as in `JUPYTER_PATH`.
    pub jupyter_path: Vec<PathBuf>,
    /// Whether it is a fault that no server can be started; environments may also be for kernels only.
    pub need_server: bool,
    /// How long all imports together may take.
    #[serde(rename = "imports_seconds", serialize_with = "as_seconds")]
    pub imports_limit: Duration,
    /// How long a server may take until it answers.
    #[serde(rename = "server_seconds", serialize_with = "as_seconds")]
    pub server_limit: Duration,
    /// How long one kernel may take to start and run a cell.
    #[serde(rename = "kernel_seconds", serialize_with = "as_seconds")]
    pub kernel_limit: Duration,
    /// How long everything may take.
    #[serde(skip)]
    pub limit: Duration,
}

impl Default for CheckOptions {
    fn default() -> Self {
        Self {
            modules: Vec::new(),
            requirements: Vec::new(),
            jupyter_path: Vec::new(),
            need_server: true,
            imports_limit: Duration::from_mins(5),
            server_limit: Duration::from_mins(2),
            kernel_limit: Duration::from_mins(1),
            limit: Duration::from_mins(20),
        }
    }
}

fn as_seconds<S: serde::Serializer>(limit: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(limit.as_secs().max(1))
}

/// What was seen in an environment that works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The versions of `python`, `jupyterhub`, `jupyterlab` and `ipykernel`, as far as they are there.
    pub versions: BTreeMap<String, String>,
    /// How long a server took until it answered, in milliseconds; `None` without a server.
    pub server_started_ms: Option<u32>,
    /// The kernels that a server of this environment lists.
    pub kernels: Vec<CheckedKernel>,
    /// The extensions of JupyterLab that its page loads.
    pub extensions: Vec<String>,
    /// What does not work and stops nobody.
    pub notes: Vec<Problem>,
}

/// A kernel that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedKernel {
    /// The name of its folder, such as `python3`.
    pub name: String,
    /// What people see.
    pub title: String,
    /// Whether a cell ran.
    pub works: bool,
}

/// A part of an environment that does not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which part: `server`, `kernel python3`, `import pandas`, `extension nbgrader`, `packages`.
    pub part: String,
    /// What happened.
    pub text: String,
    /// The last lines of output.
    pub tail: String,
    /// What a person can do about it.
    pub advice: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.text)
    }
}

/// A step that the check has come to.
#[derive(Deserialize)]
struct Doing {
    at: f32,
    doing: String,
}

#[derive(Deserialize)]
struct Answer {
    problems: Vec<Problem>,
    #[serde(flatten)]
    report: CheckReport,
}

/// Tries the environment out; an environment that does not work is an error, [`EnvError::Unfit`].
///
/// Runs as the account of the log. `said` hears how far it is, from 0 to 1, and what is being tried. Dropping the
/// future ends what was started.
pub(crate) async fn check(
    prefix: &Path,
    options: &CheckOptions,
    log: &Log,
    said: &mut (dyn FnMut(f32, &str) + Send),
) -> Result<CheckReport, EnvError> {
    let python = prefix.join("bin/python");
    let options_text = serde_json::to_string(options).unwrap_or_default();
    let step = Step {
        doing: "try the environment out",
        program: python.as_os_str(),
        arguments: vec![
            "-I".as_ref(),
            "-c".as_ref(),
            include_str!("check/check.py").as_ref(),
            options_text.as_ref(),
        ],
        environment: environment(),
        limit: options.limit,
    };
    let mut last = String::new();
    let lines = run(step, log, &mut |seen| {
        if let Seen::Line(line) = seen {
            match serde_json::from_str::<Doing>(line) {
                Ok(step) => said(step.at, &step.doing),
                Err(_) => line.clone_into(&mut last),
            }
        }
    })
    .await?;
    let answer: Answer = serde_json::from_str(&last).map_err(|_| EnvError::Step {
        doing: "try the environment out",
        cause: Cause::Other("an unexpected answer".to_owned()),
        tail: lines.join("\n"),
        log: log.path().to_owned(),
    })?;
    if answer.problems.is_empty() {
        Ok(answer.report)
    } else {
        Err(EnvError::Unfit {
            problems: answer.problems,
            log: log.path().to_owned(),
        })
    }
}
