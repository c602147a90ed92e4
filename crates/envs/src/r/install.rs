//! Installs packages that have been chosen: each in a process of its own, as many at once as there are processors, in an
//! order in which each finds what it needs. One that fails stops nobody but those who need it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::diagnosis;
use super::room::{Room, read_short};
use super::{Failure, State};
use crate::command::{Seen, Step};
use crate::error::{Cause, EnvError};

/// How long one package may take; some compile for long.
const PACKAGE_LIMIT: Duration = Duration::from_hours(2);
const LOAD_LIMIT: Duration = Duration::from_mins(5);

/// One package to install.
#[derive(Debug)]
pub(super) struct Task {
    /// The archive, or the folder with its sources.
    pub(super) from: PathBuf,
    pub(super) version: String,
    /// What has to be installed before, of what is installed now.
    pub(super) needs: Vec<String>,
}

/// Installs all, and says how each went. `told` hears of each when it has ended.
pub(super) async fn install(
    room: &Room<'_>,
    tasks: &BTreeMap<String, Task>,
    lacking: &BTreeSet<String>,
    jobs: usize,
    mut told: impl FnMut(&str, &State, usize),
) -> BTreeMap<String, State> {
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    let mut waiting: BTreeSet<&str> = tasks.keys().map(String::as_str).collect();
    let mut running = FuturesUnordered::new();
    loop {
        // Whoever needs what is not to be had, is not tried.
        let mut settled = true;
        while settled {
            settled = false;
            for name in waiting.clone() {
                let Some(task) = tasks.get(name) else {
                    continue;
                };
                let without = task.needs.iter().find(|need| {
                    lacking.contains(*need)
                        || states.get(*need).is_some_and(|state| !state.is_good())
                });
                if let Some(need) = without {
                    let state = State::Skipped {
                        because: format!("it needs {need}"),
                    };
                    waiting.remove(name);
                    told(name, &state, states.len() + 1);
                    states.insert(name.to_owned(), state);
                    settled = true;
                }
            }
        }
        let is_ready = |name: &&&str| {
            tasks.get(**name).is_some_and(|task| {
                task.needs.iter().all(|need| {
                    states.get(need).is_some_and(State::is_good) || !tasks.contains_key(need)
                })
            })
        };
        let ready: Vec<&str> = waiting.iter().filter(is_ready).copied().collect();
        for name in ready {
            if running.len() >= jobs.max(1) {
                break;
            }
            if let Some(task) = tasks.get(name) {
                waiting.remove(name);
                running.push(async move { (name, one(room, name, task).await) });
            }
        }
        match running.next().await {
            Some((name, state)) => {
                told(name, &state, states.len() + 1);
                states.insert(name.to_owned(), state);
            }
            None if waiting.is_empty() => break,
            // Packages that need each other in a circle: no repository has such.
            None => {
                for name in std::mem::take(&mut waiting) {
                    let state = State::Skipped {
                        because: "it needs packages that need it".to_owned(),
                    };
                    told(name, &state, states.len() + 1);
                    states.insert(name.to_owned(), state);
                }
            }
        }
    }
    states
}

async fn one(room: &Room<'_>, name: &str, task: &Task) -> State {
    let mut library = std::ffi::OsString::from("--library=");
    library.push(&room.library);
    let step = Step {
        doing: "install the package",
        program: room.interpreter.program.as_os_str(),
        arguments: vec![
            "CMD".as_ref(),
            "INSTALL".as_ref(),
            "--no-html".as_ref(),
            // Each has a lock of its own: several are installed into one library at once.
            "--pkglock".as_ref(),
            // Without what only debuggers read: it is most of the bytes, and mentions places of this build.
            "--strip".as_ref(),
            library.as_os_str(),
            task.from.as_os_str(),
        ],
        environment: room.environment(),
        limit: PACKAGE_LIMIT,
    };
    if let Err(error) = room.run(step, name).await {
        return State::Failed(explain(&error));
    }
    // What is there counts, not what the program said.
    let there = read_short(&room.library.join(name).join("DESCRIPTION"))
        .map(|text| super::plan::Description::parse(&text).version);
    match there {
        Ok(version) if version == task.version => State::Installed,
        Ok(version) => State::Failed(Failure {
            cause: format!(
                "version {version} was installed instead of {}",
                task.version
            ),
            advice: format!("read {}", room.log_path(name).display()),
            log: room.log_path(name),
            excerpt: String::new(),
        }),
        Err(_) => State::Failed(Failure {
            cause: "R said that it is installed, but it is not there".to_owned(),
            advice: format!("read {}", room.log_path(name).display()),
            log: room.log_path(name),
            excerpt: String::new(),
        }),
    }
}

/// Loads a package in a fresh process, and gives the version that was loaded.
pub(super) async fn load(room: &Room<'_>, name: &str) -> Result<String, Failure> {
    let script = room.path("check.R");
    let program = room.interpreter.script_program();
    let step = Step {
        doing: "load the package",
        program: program.as_os_str(),
        arguments: vec!["--vanilla".as_ref(), script.as_os_str(), name.as_ref()],
        environment: room.environment(),
        limit: LOAD_LIMIT,
    };
    let mut version = None;
    let log = format!("{name}-load");
    let mut watch = |seen: Seen<'_>| {
        if let Seen::Line(line) = seen
            && let Some(rest) = line.strip_prefix("loaded\t")
        {
            version = rest.split('\t').next().map(str::to_owned);
        }
    };
    let ran = room.run_watched(step, &log, &mut watch).await;
    match ran {
        Err(error) => Err(explain(&error)),
        Ok(_) => version.ok_or_else(|| Failure {
            cause: "it ends R when it is loaded".to_owned(),
            advice: format!("read {}", room.log_path(&log).display()),
            log: room.log_path(&log),
            excerpt: String::new(),
        }),
    }
}

/// Says in plain words why a program failed.
pub(super) fn explain(error: &EnvError) -> Failure {
    let EnvError::Step {
        cause, tail, log, ..
    } = error
    else {
        return Failure {
            cause: error.to_string(),
            advice: error.hint().unwrap_or_default(),
            log: PathBuf::new(),
            excerpt: String::new(),
        };
    };
    let found = diagnosis::find(tail.lines());
    let (cause, advice) = match (found, cause) {
        (_, Cause::Timeout(limit)) => (
            format!("it took longer than {} minutes", limit.as_secs() / 60),
            format!("see in {} where it stands still", log.display()),
        ),
        (_, Cause::Killed(9)) => (
            "it was killed; perhaps the machine ran out of memory".to_owned(),
            "check with dmesg, and try again".to_owned(),
        ),
        // How the system's packages are mended, nobody reads from a log.
        (_, Cause::AptBusy | Cause::AptInterrupted) => {
            (cause.to_string(), error.hint().unwrap_or_default())
        }
        (Some(found), _) => (found.cause, found.advice),
        (None, cause) => (cause.to_string(), format!("read {}", log.display())),
    };
    Failure {
        cause,
        advice,
        log: log.clone(),
        excerpt: tail.clone(),
    }
}
