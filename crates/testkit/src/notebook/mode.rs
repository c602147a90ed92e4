//! The ways in which the tiny server can fail, on request.

use std::fmt;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use thiserror::Error;

use super::NotebookError;

/// The argument with which the program only sleeps, in a session of its own.
pub const SLEEP_ARGUMENT: &str = "--sleep";

/// How the server behaves; `TINY_MODE` or `--mode=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// As it should.
    #[default]
    Normal,
    /// `exit-at-once`: prints a message and ends with status 3.
    ExitAtOnce,
    /// `never-listen`: runs, and does nothing.
    NeverListen,
    /// `never-answer`: accepts connections and says nothing.
    NeverAnswer,
    /// `garbage`: answers with something that is not HTTP.
    Garbage,
    /// `http-500`: answers every request with status 500.
    Http500,
    /// `slow=SECONDS`: starts to listen only after this many seconds.
    Slow(u64),
    /// `ignore-sigterm`: takes no notice of SIGINT and SIGTERM.
    IgnoreSigterm,
    /// `spawn-child`: starts a process in another session, which sleeps for an hour.
    SpawnChild,
}

/// A text is not a mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a mode: known are normal, exit-at-once, never-listen, never-answer, garbage, http-500, slow=SECONDS, ignore-sigterm and spawn-child"
)]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "" | "normal" => Ok(Self::Normal),
            "exit-at-once" => Ok(Self::ExitAtOnce),
            "never-listen" => Ok(Self::NeverListen),
            "never-answer" => Ok(Self::NeverAnswer),
            "garbage" => Ok(Self::Garbage),
            "http-500" => Ok(Self::Http500),
            "ignore-sigterm" => Ok(Self::IgnoreSigterm),
            "spawn-child" => Ok(Self::SpawnChild),
            _ => text
                .strip_prefix("slow=")
                .and_then(|seconds| seconds.parse().ok())
                .map(Self::Slow)
                .ok_or_else(|| UnknownMode(text.to_owned())),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("normal"),
            Self::ExitAtOnce => f.write_str("exit-at-once"),
            Self::NeverListen => f.write_str("never-listen"),
            Self::NeverAnswer => f.write_str("never-answer"),
            Self::Garbage => f.write_str("garbage"),
            Self::Http500 => f.write_str("http-500"),
            Self::Slow(seconds) => write!(f, "slow={seconds}"),
            Self::IgnoreSigterm => f.write_str("ignore-sigterm"),
            Self::SpawnChild => f.write_str("spawn-child"),
        }
    }
}

/// Starts the sleeping child; it is not waited for, and outlives the server unless somebody ends it.
pub(super) fn start_child() -> Result<u32, NotebookError> {
    let system = |source| NotebookError::System {
        doing: "start the child process",
        source,
    };
    let program = std::env::current_exe().map_err(system)?;
    Command::new(program)
        .arg(SLEEP_ARGUMENT)
        .stdin(Stdio::null())
        .spawn()
        .map(|child| Child::id(&child))
        .map_err(system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_printed() {
        for text in [
            "normal",
            "exit-at-once",
            "never-listen",
            "never-answer",
            "garbage",
            "http-500",
            "slow=7",
            "ignore-sigterm",
            "spawn-child",
        ] {
            assert_eq!(text.parse::<Mode>().unwrap().to_string(), text);
        }
        for text in ["slow", "slow=", "slow=x", "Normal", "exit"] {
            assert!(text.parse::<Mode>().is_err(), "{text}");
        }
    }
}
