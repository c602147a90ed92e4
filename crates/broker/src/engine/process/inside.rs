//! What a server's process does before its program runs: it enters its control groups, closes what is closed to it,
//! becomes its user, and enters its folder, last of all and as that user: a home that does not answer holds up this
//! process alone.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Gid, Uid};
use rustix::process::Resource;

use super::job::{Job, Report, Step};
use super::mounts;

/// Becomes the server's program; returns only if that fails.
pub(super) fn run(job: &Job, folders: &[PathBuf], output: &OwnedFd) -> Report {
    match become_program(job, folders, output) {
        Ok(never) => match never {},
        Err((step, error, what)) => Report::Failed {
            step,
            errno: error.raw_os_error().unwrap_or(0),
            what,
        },
    }
}

type Failed = (Step, io::Error, String);

fn become_program(job: &Job, folders: &[PathBuf], output: &OwnedFd) -> Result<Infallible, Failed> {
    let at = |step: Step, what: &str| {
        let what = what.to_owned();
        move |error: io::Error| (step, error, what)
    };
    for group in &job.groups {
        group
            .enter()
            .map_err(at(Step::Groups, &group.path.to_string_lossy()))?;
    }
    let _ = fs::write("/proc/self/oom_score_adj", "0");
    rustix::process::setsid().map_err(|error| at(Step::Limits, "begin a session")(error.into()))?;
    default_signals();
    mounts::close(job, folders)?;
    limits(job).map_err(at(Step::Limits, "set limits"))?;
    stdio(output).map_err(at(Step::Limits, "open /dev/null"))?;
    account(job).map_err(at(Step::Account, &job.uid.to_string()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::env::set_current_dir(&job.working_dir)
        .map_err(at(Step::WorkingDir, &job.working_dir.to_string_lossy()))?;
    let error = execute(job);
    Err(at(
        Step::Program,
        job.argv.first().map_or("", String::as_str),
    )(error))
}

/// Signals that are ignored or blocked stay so across exec; a notebook's interrupt would do nothing.
#[expect(
    unsafe_code,
    reason = "setting an action of a signal is unsafe in general"
)]
fn default_signals() {
    for number in Signal::iterator() {
        // SAFETY: setting the default action runs no code of ours. (KILL and STOP refuse; that is fine.)
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();
}

#[expect(
    unsafe_code,
    reason = "no library has a safe call for this flag of a process"
)]
fn limits(job: &Job) -> io::Result<()> {
    if let Some(wanted) = job.open_files {
        let mut limit = rustix::process::getrlimit(Resource::Nofile);
        limit.current = Some(limit.maximum.map_or(wanted, |most| wanted.min(most)));
        rustix::process::setrlimit(Resource::Nofile, limit)?;
    }
    if job.no_new_privileges {
        // SAFETY: a system call that only sets a flag of this process.
        let done = unsafe { nix::libc::prctl(nix::libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        nix::errno::Errno::result(done)?;
    }
    Ok(())
}

/// Nothing to read, and the keeper's pipe to write to. Everything else is closed by exec.
#[expect(
    unsafe_code,
    reason = "no library has a safe call for closing all descriptors on exec"
)]
fn stdio(output: &OwnedFd) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(output)?;
    // SAFETY: sets flags of this process's own descriptors. Those that are still needed are closed on exec anyway.
    unsafe {
        nix::libc::syscall(
            nix::libc::SYS_close_range,
            3,
            nix::libc::c_uint::MAX,
            nix::libc::CLOSE_RANGE_CLOEXEC,
        );
    }
    Ok(())
}

/// Becomes the user, for ever. Root is refused here once more, whatever was decided.
fn account(job: &Job) -> io::Result<()> {
    if job.uid == 0 || job.gid == 0 || job.gids.contains(&0) {
        return Err(nix::errno::Errno::EPERM.into());
    }
    let groups: Vec<Gid> = job.gids.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups)?;
    let (uid, gid) = (Uid::from_raw(job.uid), Gid::from_raw(job.gid));
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    Ok(())
}

fn execute(job: &Job) -> io::Error {
    let texts = |all: &mut dyn Iterator<Item = String>| -> io::Result<Vec<CString>> {
        all.map(|text| CString::new(text).map_err(io::Error::from))
            .collect()
    };
    let run = || {
        let program = job.argv.first().cloned().unwrap_or_default();
        if !Path::new(&program).is_absolute() {
            return Err(io::Error::from(nix::errno::Errno::ENOENT));
        }
        let program = CString::new(program)?;
        let arguments = texts(&mut job.argv.iter().cloned())?;
        let variables = &job.environment.0;
        let variables = texts(
            &mut variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        )?;
        match nix::unistd::execve(&program, &arguments, &variables)? {}
    };
    match run() {
        Ok(never) => {
            let never: Infallible = never;
            match never {}
        }
        Err(error) => error,
    }
}
