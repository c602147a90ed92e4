//! The life of a server, as one pure state machine: states, events, what each allows and asks for.
//!
//! Nothing is done here. [`State::on`] says which state follows and which [`Command`]s the driver carries
//! out; what comes of them returns as further events. Every state that waits has a time limit.

mod reasons;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::route::Upstream;
use crate::seams::{Exit, Handle};

/// Where a server is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// It does not run; if its last start failed, or it died, we know why.
    Stopped {
        /// Why it does not run, unless it was stopped on purpose or never started.
        failure: Option<Failure>,
    },
    /// A start was accepted; record, token and environment are being prepared.
    Requested,
    /// The spawner is at work. The handle is known as soon as there is something to stop.
    Starting {
        /// What to stop, if there is something already.
        handle: Option<Handle>,
    },
    /// The process runs; we wait for its first answer, then for its route.
    Probing(Running),
    /// It runs, answers, and has a route.
    Ready(Running),
    /// It was running when Lyceum ended; its route is back, and we look whether it still answers.
    Checking(Running),
    /// It is being stopped.
    Stopping {
        /// What is being stopped, if the start got that far.
        handle: Option<Handle>,
        /// Why, if it was not on purpose.
        failure: Option<Failure>,
    },
}

/// A server's process: how it is known, and where it answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Running {
    /// How the spawner knows it.
    pub handle: Handle,
    /// Where it answers.
    pub upstream: Upstream,
}

/// Why a server does not run, in words for the person who wanted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure, for programs and logs.
    pub cause: Cause,
    /// What happened, one sentence.
    pub message: String,
    /// What to do next, one sentence.
    pub hint: String,
    /// The last lines of the server's log, oldest first.
    #[serde(default)]
    pub log: Vec<String>,
}

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The command of the server does not exist or may not be run.
    CommandMissing,
    /// The machine refused: no memory, no process, no space, no permission.
    System,
    /// The process ended during the start.
    ExitedEarly,
    /// The spawner did not finish in time.
    StartTimeout,
    /// The process runs, but never answered.
    NeverAnswered,
    /// Something answered, but not a Jupyter server.
    BadAnswer,
    /// The process ended while it was in use.
    Died,
    /// Somebody has stopped it past Lyceum, by the system's own commands.
    StoppedFromOutside,
    /// The process was gone when Lyceum came back.
    GoneAtRestart,
    /// A limit, or a rule, did not allow the start.
    NotAllowed,
    /// A mistake of Lyceum's own.
    Internal,
}

impl Failure {
    /// Makes a failure without log lines.
    pub fn new(cause: Cause, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            hint: hint.into(),
            log: Vec::new(),
        }
    }

    /// Whether a start failed; a server that ran and died is merely stopped (JupyterHub's "failed").
    pub fn is_of_start(&self) -> bool {
        !matches!(
            self.cause,
            Cause::Died | Cause::StoppedFromOutside | Cause::GoneAtRestart
        )
    }

    /// The failure of a process that ended although it was wanted.
    pub fn died(exit: Exit) -> Self {
        let message = match exit {
            Exit::Signal(9) => {
                "The server was killed, most likely because the machine ran out of memory."
                    .to_owned()
            }
            Exit::OutOfMemory => {
                "The server was ended because the memory that it may use was used up.".to_owned()
            }
            Exit::StoppedFromOutside => {
                return Self::new(
                    Cause::StoppedFromOutside,
                    "The server was stopped from outside Lyceum, by an administrator of the machine.",
                    "Start it again, or ask whether it was on purpose.",
                );
            }
            Exit::Unknown => "The server has ended by itself.".to_owned(),
            Exit::Code(_) | Exit::Signal(_) => {
                format!("The server has ended by itself, with {exit}.")
            }
        };
        Self::new(
            Cause::Died,
            message,
            "Start it again; if this repeats, the last lines of its log say more.",
        )
    }
}

/// What can happen to a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Somebody wants it to run.
    StartRequested,
    /// Record, token and environment are ready.
    Prepared,
    /// The spawner has something that can be stopped.
    HandleKnown(Handle),
    /// The spawner is done; the process runs.
    Launched(Running),
    /// The server answered and its route is in place.
    Published,
    /// Preparing, starting or probing failed.
    Failed(Failure),
    /// Somebody wants it stopped.
    StopRequested,
    /// The process has ended.
    Exited(Exit),
    /// The spawner has stopped it, and nothing of it is left.
    StopDone,
    /// The state's time limit has passed.
    TimedOut,
    /// Lyceum has started and found this server in its store as running.
    Found(Running),
    /// The check after a restart found it alive.
    CheckPassed,
    /// Lyceum has started and found this server in its store in the midst of a start or a stop.
    Left {
        /// What there may be to stop, as far as it was written down.
        handle: Option<Handle>,
        /// Why it does not run, if that was not on purpose.
        failure: Option<Failure>,
    },
}

/// What the driver has to do on entering a state, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Write down the start: record, token, OAuth client, environment. Answer with `Prepared` or `Failed`.
    Prepare,
    /// Ask the spawner to start. Answer with `HandleKnown`, then `Launched` or `Failed`.
    Launch,
    /// Drop whatever [`Command::Prepare`], [`Command::Launch`], [`Command::Probe`] or [`Command::Check`] still does.
    Cancel,
    /// Wait for the first answer, put the route, and answer with `Published` or `Failed`.
    Probe,
    /// Watch the process, and answer with `Exited` when it ends.
    Watch,
    /// Put the route (of a server found at a restart).
    PutRoute,
    /// See whether the process lives and answers: `CheckPassed` or `Exited`.
    Check,
    /// Remove the route.
    RemoveRoute,
    /// Ask the spawner to stop it, and answer with `StopDone`.
    Stop,
    /// Delete token and OAuth client, and write down that it does not run.
    Clear,
}

/// Why an event is not possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// It runs already.
    #[error("the server is already running")]
    AlreadyRunning,
    /// It is starting already; the one start serves both requests.
    #[error("the server is already starting")]
    AlreadyStarting,
    /// It is being stopped; start it again after that.
    #[error("the server is stopping")]
    Stopping,
    /// It is being checked after a restart of Lyceum.
    #[error("the server is being checked after a restart")]
    Checking,
    /// It does not run.
    #[error("the server is not running")]
    NotRunning,
    /// The event comes from something that was cancelled meanwhile.
    #[error("the event comes too late")]
    Late,
    /// Lyceum is ending, and starts nothing any more.
    #[error("the hub is shutting down and starts no more servers; try again in a few minutes")]
    Closing,
    /// What drives the server did not answer in time, or went wrong: nobody knows what it does.
    #[error("the hub could not deal with this server just now; try again in a minute")]
    NoAnswer,
}

impl Refusal {
    /// Whether the hub itself is why, and not what the server does: later it may be possible.
    pub fn is_of_hub(self) -> bool {
        matches!(self, Self::Closing | Self::NoAnswer)
    }
}

/// The time limits of the states that wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the spawner to start the process (JupyterHub `start_timeout`).
    pub start: Duration,
    /// For the server's first answer (JupyterHub `http_timeout`).
    pub http: Duration,
    /// For all of the stop.
    pub stop: Duration,
}

/// What is going on, as the API calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pending {
    /// It is being started.
    Spawn,
    /// It is being stopped.
    Stop,
    /// It is being checked after a restart.
    Check,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spawn => "spawn",
            Self::Stop => "stop",
            Self::Check => "check",
        })
    }
}

impl State {
    /// A server that never ran.
    pub fn initial() -> Self {
        Self::Stopped { failure: None }
    }

    /// What is going on, or `None` if nothing is.
    pub fn pending(&self) -> Option<Pending> {
        match self {
            Self::Stopped { .. } | Self::Ready(_) => None,
            Self::Requested | Self::Starting { .. } | Self::Probing(_) => Some(Pending::Spawn),
            Self::Checking(_) => Some(Pending::Check),
            Self::Stopping { .. } => Some(Pending::Stop),
        }
    }

    /// Whether it runs and nothing is going on.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    /// Whether it runs or something is going on.
    pub fn is_active(&self) -> bool {
        !matches!(self, Self::Stopped { .. })
    }

    /// Why the last start failed or the server died, if it does not run.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Stopped { failure } => failure.as_ref(),
            _ => None,
        }
    }

    /// What the spawner has running for it, if anything.
    pub fn handle(&self) -> Option<&Handle> {
        match self {
            Self::Stopped { .. } | Self::Requested => None,
            Self::Starting { handle } | Self::Stopping { handle, .. } => handle.as_ref(),
            Self::Probing(running) | Self::Ready(running) | Self::Checking(running) => {
                Some(&running.handle)
            }
        }
    }

    /// How long it may stay in this state, or `None` for ever.
    pub fn limit(&self, limits: &Limits) -> Option<Duration> {
        match self {
            Self::Stopped { .. } | Self::Ready(_) => None,
            Self::Requested | Self::Starting { .. } => Some(limits.start),
            Self::Probing(_) | Self::Checking(_) => Some(limits.http),
            Self::Stopping { .. } => Some(limits.stop),
        }
    }

    /// Says which state follows on an event, and what is to be done, or why the event is not possible.
    ///
    /// A refused event changes nothing.
    pub fn on(&self, event: Event) -> Result<(Self, Vec<Command>), Refusal> {
        use Command::{
            Cancel, Check, Clear, Launch, Prepare, Probe, PutRoute, RemoveRoute, Stop, Watch,
        };
        match (self, event) {
            // Starting.
            (Self::Stopped { .. }, Event::StartRequested) => Ok((Self::Requested, vec![Prepare])),
            (Self::Requested, Event::Prepared) => {
                Ok((Self::Starting { handle: None }, vec![Launch]))
            }
            (Self::Starting { .. }, Event::HandleKnown(handle)) => Ok((
                Self::Starting {
                    handle: Some(handle),
                },
                vec![],
            )),
            (Self::Starting { .. }, Event::Launched(running)) => {
                Ok((Self::Probing(running), vec![Watch, Probe]))
            }
            (Self::Probing(running), Event::Published)
            // Coming back after a restart of Lyceum, alive.
            | (Self::Checking(running), Event::CheckPassed | Event::Failed(_)) => {
                Ok((Self::Ready(running.clone()), vec![]))
            }

            // Coming back after a restart of Lyceum.
            (Self::Stopped { .. }, Event::Found(running)) => {
                Ok((Self::Checking(running), vec![PutRoute, Watch, Check]))
            }
            // What was under way is brought to an end, and nothing starts before that is done.
            (Self::Stopped { .. }, Event::Left { handle, failure }) => {
                Ok((Self::Stopping { handle, failure }, vec![Stop]))
            }
            // Slow is not dead: the process lives, or we would have had `Exited`.
            (Self::Checking(running), Event::TimedOut) => {
                Ok((Self::Ready(running.clone()), vec![Cancel]))
            }

            // Failing to start.
            (Self::Requested, Event::Failed(failure)) => Ok((
                Self::Stopped {
                    failure: Some(failure),
                },
                vec![Clear],
            )),
            (Self::Requested, Event::TimedOut) => Ok((
                Self::Stopped {
                    failure: Some(reasons::too_slow_to_prepare()),
                },
                vec![Cancel, Clear],
            )),
            (Self::Starting { handle }, Event::Failed(failure)) => {
                Ok((stopping(handle.clone(), failure), vec![Stop]))
            }
            (Self::Starting { handle }, Event::TimedOut) => Ok((
                stopping(handle.clone(), reasons::too_slow_to_start()),
                vec![Cancel, Stop],
            )),
            (Self::Probing(running), Event::Failed(failure)) => Ok((
                stopping(Some(running.handle.clone()), failure),
                vec![Cancel, RemoveRoute, Stop],
            )),
            (Self::Probing(running), Event::TimedOut) => Ok((
                stopping(Some(running.handle.clone()), reasons::too_slow_to_answer()),
                vec![Cancel, RemoveRoute, Stop],
            )),
            (Self::Probing(running), Event::Exited(exit)) => Ok((
                stopping(Some(running.handle.clone()), reasons::exited_early(exit)),
                vec![Cancel, RemoveRoute, Stop],
            )),

            // Ending by itself. `Stop` then ends whatever the process has left behind.
            (Self::Ready(running), Event::Exited(exit)) => Ok((
                stopping(Some(running.handle.clone()), Failure::died(exit)),
                vec![RemoveRoute, Stop],
            )),
            (Self::Checking(running), Event::Exited(_)) => Ok((
                stopping(Some(running.handle.clone()), reasons::gone_at_restart()),
                vec![Cancel, RemoveRoute, Stop],
            )),

            // Stopping on purpose; during a start it cancels the start.
            (Self::Requested, Event::StopRequested) => {
                Ok((Self::Stopped { failure: None }, vec![Cancel, Clear]))
            }
            (Self::Starting { handle }, Event::StopRequested) => Ok((
                Self::Stopping {
                    handle: handle.clone(),
                    failure: None,
                },
                vec![Cancel, Stop],
            )),
            (Self::Probing(running) | Self::Checking(running), Event::StopRequested) => Ok((
                Self::Stopping {
                    handle: Some(running.handle.clone()),
                    failure: None,
                },
                vec![Cancel, RemoveRoute, Stop],
            )),
            (Self::Ready(running), Event::StopRequested) => Ok((
                Self::Stopping {
                    handle: Some(running.handle.clone()),
                    failure: None,
                },
                vec![RemoveRoute, Stop],
            )),
            (Self::Stopping { handle, .. }, Event::HandleKnown(known)) if handle.is_none() => {
                let Self::Stopping { failure, .. } = self else {
                    return Err(Refusal::Late);
                };
                Ok((
                    Self::Stopping {
                        handle: Some(known),
                        failure: failure.clone(),
                    },
                    vec![Stop],
                ))
            }
            (Self::Stopping { failure, .. }, Event::StopDone) => Ok((
                Self::Stopped {
                    failure: failure.clone(),
                },
                vec![Clear],
            )),
            // A stop that does not end is tried again, for ever: forgetting the process would lose it.
            (Self::Stopping { .. }, Event::TimedOut) => Ok((self.clone(), vec![Stop])),

            // What is not possible now.
            (Self::Requested | Self::Starting { .. } | Self::Probing(_), Event::StartRequested) => {
                Err(Refusal::AlreadyStarting)
            }
            (Self::Ready(_), Event::StartRequested) => Err(Refusal::AlreadyRunning),
            (Self::Checking(_), Event::StartRequested) => Err(Refusal::Checking),
            (Self::Stopping { .. }, Event::StartRequested | Event::StopRequested) => {
                Err(Refusal::Stopping)
            }
            (Self::Stopped { .. }, Event::StopRequested) => Err(Refusal::NotRunning),
            _ => Err(Refusal::Late),
        }
    }
}

fn stopping(handle: Option<Handle>, failure: Failure) -> State {
    State::Stopping {
        handle,
        failure: Some(failure),
    }
}

#[cfg(test)]
mod tests;
