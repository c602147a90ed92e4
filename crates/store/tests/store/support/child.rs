//! Tests that end or confine a process run this test binary once more, as a child with a task.

use std::ffi::OsString;
use std::process::Command;

/// Names the task of a child; the test [`child`] does it.
const TASK: &str = "LYCEUM_STORE_TEST_TASK";
/// What the task is about, usually a path.
const ARGUMENT: &str = "LYCEUM_STORE_TEST_ARGUMENT";

/// The command that does a task in a child process, run by the program and arguments of `wrapper`, if any.
pub(crate) fn command(wrapper: &[&str], task: &str, argument: impl Into<OsString>) -> Command {
    let us = std::env::current_exe().unwrap();
    let mut command = match wrapper {
        [] => Command::new(us),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(us);
            command
        }
    };
    command
        .args(["support::child::child", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(ARGUMENT, argument.into());
    command
}

/// Does the task of a child; without one there is nothing to do.
#[tokio::test]
async fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let argument = std::env::var_os(ARGUMENT).unwrap();
    match task.as_str() {
        "commit until killed" => crate::outages::commit_until_killed(argument.as_ref()).await,
        "fill the disk" => crate::outages::fill_the_disk(argument.as_ref()).await,
        "upgrade until killed" => crate::upgrades::upgrade_until_killed(argument.as_ref()).await,
        other => panic!("there is no task `{other}`"),
    }
}
