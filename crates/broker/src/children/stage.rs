//! The child's side: reads its job, does it, says what came of it.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use zeroize::Zeroizing;

use super::job::{Job, Outcome};
use super::{creation, home, links, names};
use crate::protocol::frame::{self, LENGTH_BYTES};

/// Runs as a child of the broker: one job from the standard input, one answer on the standard output.
///
/// Nothing but the broker has a use for it; started by anybody else it can do what that one can do anyhow.
pub fn child_main() -> ExitCode {
    // A session of its own, so that whatever modules start is killed with it, and nobody can be asked at a terminal.
    let _ = rustix::process::setsid();
    // It must not outlive the broker, which alone knows its time limit.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    match read().map(run).and_then(|outcome| write(&outcome)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn read() -> io::Result<Job> {
    let mut input = io::stdin().lock();
    let mut prefix = [0; LENGTH_BYTES];
    input.read_exact(&mut prefix)?;
    let length = frame::length(prefix).map_err(io::Error::other)?;
    let mut message = Zeroizing::new(vec![0; length]);
    input.read_exact(&mut message)?;
    frame::decode(&message).map_err(io::Error::other)
}

fn write(outcome: &Outcome) -> io::Result<()> {
    let bytes = serde_json::to_vec(outcome)?;
    let mut output = io::stdout().lock();
    output.write_all(&bytes)?;
    output.flush()
}

fn run(job: Job) -> Outcome {
    let done = match job {
        Job::Find { name } => names::find(&name).map(Outcome::Account),
        Job::Authenticate(login) => Ok(authenticate(&login)),
        Job::CheckAccount { service, name } => Ok(check_account(&service, &name)),
        Job::Create(creation) => creation::create(&creation),
        Job::MakeHome(wanted) => home::make(&wanted),
        Job::PutLinks(wanted) => links::put(&wanted),
        Job::Space { account } => home::space(&account).map(Outcome::Space),
    };
    done.unwrap_or_else(|error| Outcome::Failed(error.to_string()))
}

#[cfg(feature = "pam")]
fn authenticate(login: &super::Login) -> Outcome {
    super::pam::authenticate(login)
}

#[cfg(feature = "pam")]
fn check_account(service: &str, name: &str) -> Outcome {
    super::pam::check_account(service, name)
}

#[cfg(not(feature = "pam"))]
fn authenticate(_: &super::Login) -> Outcome {
    without_pam()
}

#[cfg(not(feature = "pam"))]
fn check_account(_: &str, _: &str) -> Outcome {
    without_pam()
}

#[cfg(not(feature = "pam"))]
fn without_pam() -> Outcome {
    Outcome::Failed("This Lyceum was built without PAM.".to_owned())
}
