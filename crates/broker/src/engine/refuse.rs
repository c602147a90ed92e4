//! Refusals that both engines make.

use std::io;

use crate::protocol::{Refusal, RefusalKind};

/// The machine refused something: `doing` says what, such as `make the folder /run/x`.
pub(super) fn of_system(doing: &str, error: &io::Error) -> Refusal {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => RefusalKind::Slow,
        _ => RefusalKind::System,
    };
    Refusal::new(
        kind,
        format!("The broker could not {doing}: {error}."),
        "See the broker's log; the machine may have no memory, no space or no processes left.",
    )
}

/// An identity that this engine has never given.
pub(super) fn foreign_identity(kind: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Internal,
        format!("The record of this server was not made by the engine `{kind}`."),
        "It was started with another engine by an earlier version of Lyceum: set `spawner.kind` back and stop it, or reboot.",
    )
}

/// Such a server runs already.
pub(super) fn exists(unit: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Exists,
        format!("There is a server {unit} already."),
        "Stop it first.",
    )
}

/// The working folder cannot be entered.
pub(super) fn working_dir(path: &std::path::Path, account: &str, why: &str) -> Refusal {
    Refusal::new(
        RefusalKind::System,
        format!(
            "The folder {} cannot be entered by the account {account}: {why}.",
            path.display()
        ),
        "Look whether it exists, whose it is, and what may be done with it.",
    )
}

/// The program cannot be run.
pub(super) fn command(program: &str, why: &str) -> Refusal {
    Refusal::new(
        RefusalKind::CommandMissing,
        format!("The program {program} cannot be run: {why}."),
        "Look whether it exists and may be run by everybody; the key `spawner.command` names it.",
    )
}

/// Something that the server needs does not answer.
pub(super) fn slow(what: &str) -> Refusal {
    Refusal::new(
        RefusalKind::Slow,
        format!("The server's program was not running in time: {what}."),
        "A home folder on the network that does not answer is a common cause.",
    )
}

/// A signal that nobody has a reason to send.
pub(super) fn signal(signal: i32) -> Refusal {
    Refusal::new(
        RefusalKind::Policy,
        format!("The broker does not send the signal {signal}."),
        "It sends SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 and SIGKILL.",
    )
}
