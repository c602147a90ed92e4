//! Makes an installed environment start fast: compiles its modules, and mends or names what slows a server's start.
//!
//! Adds nothing that users could miss: extensions, `/tree` and language servers stay.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::build::environment;
use crate::command::{Log, Seen, Step, run};
use crate::error::{Cause, EnvError};

/// Compiling is what takes long.
const LIMIT: Duration = Duration::from_mins(20);

/// What the environment is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TuneOptions {
    /// What was asked for, in pip's notation or as names: left in even where it slows a start.
    pub requirements: Vec<String>,
    /// What people see of the environment, in the title of its kernel: `Python 3.13 (TITLE)`. If it is empty, the kernel
    /// keeps the title that it came with.
    pub title: String,
}

/// What was done so that an environment starts fast, and what is left to people.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TuneReport {
    /// How many modules are compiled.
    pub compiled: usize,
    /// How many cannot be, such as templates that look like modules.
    pub not_compiled: usize,
    /// How long the imports of a user's server took as it was installed, in milliseconds; `None` if they failed.
    pub imports_before_ms: Option<u32>,
    /// The same afterwards.
    pub imports_after_ms: Option<u32>,
    /// What slows a start, mended or not.
    pub findings: Vec<Finding>,
}

/// Something that makes each start slower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A short name that stays the same, such as `node-at-start`.
    pub name: String,
    /// Whether it costs nothing any more.
    pub mended: bool,
    /// What it is, as one sentence without a full stop.
    pub text: String,
    /// What it costs or cost at each start, in milliseconds, where that was measured.
    pub cost_ms: Option<u32>,
    /// What a person can do about it.
    pub advice: Option<String>,
}

/// Makes the environment start fast. Takes some 20 s of processor time for JupyterLab's 4,000 modules, most of it
/// for compiling what is not compiled yet.
///
/// Runs as the account of the log, which has to own the files. May be called again, and then changes nothing.
///
/// Byte-code is written so that it needs no look at the source (PEP 552, unchecked), with names relative to the
/// environment. So the byte-code of one source is the same in every generation, whatever the times of its files,
/// and may be one file with several names. The price: who edits a module in a finished generation has to compile it.
pub(crate) async fn tune(
    prefix: &Path,
    options: &TuneOptions,
    log: &Log,
) -> Result<TuneReport, EnvError> {
    let python = prefix.join("bin/python");
    let mut arguments: Vec<&OsStr> = vec![
        "-I".as_ref(),
        "-c".as_ref(),
        include_str!("tune/tune.py").as_ref(),
        include_str!("tune/singleuser.py").as_ref(),
        options.title.as_ref(),
    ];
    arguments.extend(
        options
            .requirements
            .iter()
            .map(|one| OsStr::new(name_of(one))),
    );
    let step = Step {
        doing: "compile the modules",
        program: python.as_os_str(),
        arguments,
        environment: environment(),
        limit: LIMIT,
    };
    let mut last = String::new();
    let lines = run(step, log, &mut |seen| {
        if let Seen::Line(line) = seen {
            line.clone_into(&mut last);
        }
    })
    .await?;
    serde_json::from_str(&last).map_err(|_| EnvError::Step {
        doing: "compile the modules",
        cause: Cause::Other("an unexpected answer".to_owned()),
        tail: lines.join("\n"),
        log: log.path().to_owned(),
    })
}

/// The name of the package at the beginning of a requirement.
fn name_of(requirement: &str) -> &str {
    let end = requirement
        .find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.".contains(letter))
        .unwrap_or(requirement.len());
    requirement.get(..end).unwrap_or_default()
}
