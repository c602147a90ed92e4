//! A tiny notebook server: to the hub it behaves as `jupyterhub-singleuser` does, and starts in milliseconds.
//!
//! It reads the `JUPYTERHUB_*` variables, asks the hub for its version, listens where it is told to, logs visitors
//! in by OAuth with PKCE, and reports activity. It runs no notebooks. As the program `tiny-notebook` it can also
//! fail in all the ways in which a server may fail ([`Mode`]).
//!
//! | below the prefix | answers |
//! | --- | --- |
//! | `api` | the version, without login |
//! | `whoami` | the visitor's user model, as the hub gives it |
//! | `request` | the request's method, address and headers |
//! | `echo` | a WebSocket that sends everything back |
//! | `api/kernels` | the file `kernels.json` of the user's home folder |
//! | `events?count=N&interval_ms=M` | an event stream |
//! | `process`, without login | process ids: `pid`, and `child` in mode `spawn-child` |
//! | `exit?code=N`, without login | ends the process |
//! | anything else | a page |

mod hub;
mod listen;
mod login;
mod mode;
mod pages;
mod program;
mod settings;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use mode::{Mode, SLEEP_ARGUMENT, UnknownMode};
pub use program::{ProgramError, program};
pub use settings::{Settings, SettingsError};

use crate::http::HttpError;

/// The version that the server announces.
pub const VERSION: &str = "6.1.1";

/// Why the server cannot run.
#[derive(Debug, Error)]
pub enum NotebookError {
    /// The hub does not answer.
    #[error("could not reach the hub at {url}")]
    Hub {
        /// The API's address.
        url: String,
        /// Why not.
        #[source]
        source: HttpError,
    },
    /// The hub answers with an error.
    #[error("the hub at {url} answers with status {status}")]
    HubStatus {
        /// The address.
        url: String,
        /// The answer.
        status: u16,
    },
    /// The address is taken, or cannot be used.
    #[error("could not listen on {place}")]
    Listen {
        /// Where.
        place: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Something of the system does not work.
    #[error("could not {doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the server until it is told to end, and gives the exit status of the process.
///
/// Dropping the future ends the server at once, with its open connections.
pub async fn run(settings: Settings) -> Result<u8, NotebookError> {
    let mode = settings.mode;
    say(&format!("starting for {} in mode {mode}", settings.user));
    if mode == Mode::ExitAtOnce {
        say("told to exit at once: something is missing");
        return Ok(3);
    }
    let mut signals = listen::Signals::watch()?;
    let deaf = mode == Mode::IgnoreSigterm;
    let (end, mut ends) = mpsc::channel(1);
    let serving = serve(settings, end);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            result = &mut serving => return result.map(|()| 0),
            Some(code) = ends.recv() => return Ok(code),
            name = signals.next() => {
                say(&format!("received {name}"));
                if !deaf {
                    break;
                }
            }
        }
    }
    Ok(0)
}

async fn serve(settings: Settings, end: mpsc::Sender<u8>) -> Result<(), NotebookError> {
    match settings.mode {
        Mode::NeverListen => std::future::pending().await,
        Mode::Slow(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
        _ => {}
    }
    let child = match settings.mode {
        Mode::SpawnChild => Some(mode::start_child()?),
        _ => None,
    };
    let hub = hub::Hub::new(&settings);
    hub.check().await?;
    let listener = listen::Listener::bind(&settings).await?;
    say(&format!("listening on {}", settings.place()));
    match settings.mode {
        Mode::NeverAnswer => return listener.hold().await,
        Mode::Garbage => return listener.answer_garbage().await,
        _ => {}
    }
    let mut background = JoinSet::new();
    background.spawn(hub.clone().report_activity(settings.activity_interval));
    let state = pages::State::new(settings, hub, child, end);
    listener.serve(Arc::new(state)).await
}

/// Says something on standard error, which the hub keeps as the server's log.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "tiny-notebook: {text}");
}
