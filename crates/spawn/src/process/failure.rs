//! What went wrong at a start, in plain words for the person who waits, with what to do about it.

use std::io;
use std::path::Path;

use lyceum_broker::python::PythonError;
use lyceum_core::lifecycle::{Cause, Failure};
use rustix::io::Errno;

use super::blocking::Held;

const DISK_HINT: &str =
    "Free some space (`df -h` shows where it is short), then start the server again.";

/// A command that is not there.
pub(super) fn command_missing(command: &str, searched: &str) -> Failure {
    let message = if command.contains('/') {
        format!("The server's program {command} does not exist.")
    } else {
        format!(
            "The server's program `{command}` was not found in any of these folders: {}.",
            searched.replace(':', ", ")
        )
    };
    let hint = if command.ends_with("jupyterhub-singleuser") || command.ends_with("jupyter-labhub")
    {
        "Install it with `pip install jupyterhub jupyterlab`, or name its folder in the spawner's `path`."
    } else {
        "Install it, or correct the spawner's `command` or `path`."
    };
    Failure::new(Cause::CommandMissing, message, hint)
}

/// No Python environment to start from.
pub(super) fn no_python(error: &PythonError) -> Failure {
    tracing::error!("a server was not started: {error} {}", error.hint());
    Failure::new(Cause::CommandMissing, error.to_string(), error.hint())
}

/// A command that is there, but is not a program.
pub(super) fn not_executable(program: &Path) -> Failure {
    let program = program.display();
    Failure::new(
        Cause::CommandMissing,
        format!("The server's program {program} may not be run by Lyceum."),
        format!(
            "Make it executable with `chmod a+rx {program}`, and see that its folders may be entered."
        ),
    )
}

/// A folder to start in that is not there, or may not be entered.
pub(super) fn no_working_dir(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    let message = if error.kind() == io::ErrorKind::NotFound {
        format!("The folder {path}, in which the server is to start, does not exist.")
    } else {
        format!("The folder {path}, in which the server is to start, cannot be used: {error}.")
    };
    Failure::new(
        Cause::System,
        message,
        "Make the folder, or correct the spawner's `working_dir`.",
    )
}

/// A file or folder that could not be prepared; `what` is such as `the home folder`.
pub(super) fn of_file(what: &str, path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::new(
            Cause::System,
            format!("There is no space left for {what} {path}."),
            DISK_HINT,
        ),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Failure::new(
            Cause::System,
            format!("Lyceum may not write to {what} {path}: {error}."),
            format!(
                "Let the account with the number {} own it.",
                rustix::process::geteuid().as_raw()
            ),
        ),
        _ => Failure::new(
            Cause::System,
            format!("Lyceum could not prepare {what} {path}: {error}."),
            "See that the path is right and its disk is well, then start the server again.",
        ),
    }
}

/// The system's refusal to run a program that is there.
pub(super) fn of_spawn(program: &Path, error: &io::Error) -> Failure {
    let program = program.display();
    let system = |message: String, hint: &str| Failure::new(Cause::System, message, hint);
    let command = |message: String, hint: &str| Failure::new(Cause::CommandMissing, message, hint);
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOENT) => command(
            format!(
                "The server's program {program} exists, but the interpreter in its first line does not."
            ),
            "Install the package again; a Python environment cannot be moved to another folder.",
        ),
        Some(Errno::ACCESS | Errno::PERM) => command(
            format!("The system does not let Lyceum run the server's program {program}."),
            "See that it and its interpreter are executable, and that their disk is not mounted `noexec`.",
        ),
        Some(Errno::AGAIN) => system(
            "The machine allows no further process.".to_owned(),
            "Stop servers that are not needed, or raise the limit (`ulimit -u`, or `TasksMax` of the service).",
        ),
        Some(Errno::NOMEM) => system(
            "The machine has too little memory for another server.".to_owned(),
            "Stop servers that are not needed, then try again.",
        ),
        Some(Errno::MFILE | Errno::NFILE) => system(
            "Lyceum has too many files open to start another server.".to_owned(),
            "Raise the limit (`ulimit -n`, or `LimitNOFILE` of the service).",
        ),
        _ => system(
            format!("The system could not run {program}: {error}."),
            "The log of Lyceum may say more.",
        ),
    }
}

/// Another refusal of the system; `doing` is such as `find a free port`.
pub(super) fn of_system(doing: &str, error: &io::Error) -> Failure {
    Failure::new(
        Cause::System,
        format!("Lyceum could not {doing}: {error}."),
        "Start the server again; if this repeats, the log of Lyceum may say more.",
    )
}

/// Blocking work that has not ended in time.
pub(super) fn of_held(held: &Held) -> Failure {
    match held {
        Held::NoPlace(_) | Held::Slow(_) => Failure::new(
            Cause::System,
            format!("The server could not be prepared: {held}."),
            "See that the disks and network folders of the users' homes answer, then start the server again.",
        ),
        Held::Failed => internal("the thread that starts processes has failed"),
    }
}

/// A part of ours that gave up.
pub(super) fn internal(what: &str) -> Failure {
    Failure::new(
        Cause::Internal,
        format!("The start was broken off by a mistake in Lyceum: {what}."),
        "Start the server again, and please report the mistake.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_missing_interpreter_are_told_plainly() {
        let full = io::Error::from(Errno::NOSPC);
        let failure = of_file("the home folder", Path::new("/srv/ada"), &full);
        assert_eq!(
            failure.message,
            "There is no space left for the home folder /srv/ada."
        );
        assert!(failure.hint.contains("df -h"));
        let failure = of_spawn(Path::new("/opt/x"), &io::Error::from(Errno::NOENT));
        assert_eq!(failure.cause, Cause::CommandMissing);
        assert!(failure.message.contains("interpreter"), "{failure}");
        let failure = of_spawn(Path::new("/opt/x"), &io::Error::from(Errno::AGAIN));
        assert_eq!(failure.cause, Cause::System);
    }
}
