//! What the life cycle itself has to say about failures: time limits and ends that nobody wanted.

use super::{Cause, Failure};
use crate::seams::Exit;

pub(super) fn too_slow_to_prepare() -> Failure {
    Failure::new(
        Cause::Internal,
        "The start could not be prepared in time.",
        "Try again; if this repeats, the administrator finds the reason in Lyceum's log.",
    )
}

pub(super) fn too_slow_to_start() -> Failure {
    Failure::new(
        Cause::StartTimeout,
        "The server's process was not started in time.",
        "The machine may be busy. Try again in a minute.",
    )
}

pub(super) fn too_slow_to_answer() -> Failure {
    Failure::new(
        Cause::NeverAnswered,
        "The server was started, but did not answer in time.",
        "Try again; if this repeats, the last lines of its log say what it was doing.",
    )
}

pub(super) fn exited_early(exit: Exit) -> Failure {
    let message = match exit {
        Exit::OutOfMemory => {
            "The server used up the memory that it may use before it was ready.".to_owned()
        }
        Exit::StoppedFromOutside => {
            "The server was stopped from outside Lyceum, by an administrator of the machine, before it was ready."
                .to_owned()
        }
        Exit::Unknown => "The server ended before it was ready.".to_owned(),
        Exit::Code(_) | Exit::Signal(_) => {
            format!("The server ended before it was ready, with {exit}.")
        }
    };
    Failure::new(
        Cause::ExitedEarly,
        message,
        "The last lines of its log usually name the reason.",
    )
}

pub(super) fn gone_at_restart() -> Failure {
    Failure::new(
        Cause::GoneAtRestart,
        "The server has ended while Lyceum was restarting.",
        "Start it again; files that were saved are where they were.",
    )
}
