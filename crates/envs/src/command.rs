//! Runs one program of the work: in a process group of its own, with a log, a time limit and an
//! observer, and so that nothing of it is left running when the work is dropped.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, kill_process_group, pidfd_open, pidfd_send_signal,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, interval, sleep, timeout, timeout_at};

use crate::diagnosis;
use crate::error::{Cause, EnvError};

/// How many of the last lines are kept for an error message.
const TAIL_LINES: usize = 60;
/// How many of them an error shows.
const SHOWN_LINES: usize = 12;
/// How often an observer is called when the program is silent.
const TICK: Duration = Duration::from_millis(250);
/// How long output is read after the program itself has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// How long killed programs of an earlier run may take to be gone.
const LEFT_OVER_LIMIT: Duration = Duration::from_secs(10);
/// The environment variable that names the folder for which a program works.
const FOLDER_VARIABLE: &str = "LYCEUM_PREPARES";

/// The account that downloads and builds what others have written, when we are root.
///
/// Its programs get nothing of our environment but what says how to reach the network, and where programs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What another account's programs may know of our environment.
const HANDED_ON: &[&str] = &[
    "PATH",
    "LANG",
    "TZ",
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
];

/// A place for the output of programs, and the folder for which they work.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    path: PathBuf,
    folder: PathBuf,
    account: Option<Account>,
    directory: Option<PathBuf>,
}

impl Log {
    /// Begins an empty log. Programs are marked as working for `folder`, so that [`end_left_over`] finds them.
    pub(crate) fn create(path: PathBuf, folder: PathBuf) -> Result<Self, EnvError> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .open(&path)
            .map_err(|source| EnvError::Io {
                doing: "write",
                path: path.clone(),
                source,
            })?;
        Ok(Self {
            file,
            path,
            folder,
            account: None,
            directory: None,
        })
    }

    /// Lets the programs run under another account; only root can.
    pub(crate) fn run_as(mut self, account: Option<Account>) -> Self {
        self.account = account;
        self
    }

    /// Lets the programs begin in this folder.
    pub(crate) fn run_in(mut self, directory: PathBuf) -> Self {
        self.directory = Some(directory);
        self
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line. A log that cannot be written is no reason to stop: the disk being full shows elsewhere.
    fn line(&self, line: &str) {
        let _ = writeln!(&self.file, "{line}");
    }
}

/// What an observer of a running program is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen<'a> {
    /// The program printed a line.
    Line(&'a str),
    /// Some time went by.
    Tick,
}

/// One program to run.
pub(crate) struct Step<'a> {
    /// What it does, as a verb, for error messages.
    pub(crate) doing: &'static str,
    pub(crate) program: &'a OsStr,
    pub(crate) arguments: Vec<&'a OsStr>,
    /// Changes to our own environment: a value sets, `None` removes.
    pub(crate) environment: Vec<(&'static str, Option<String>)>,
    pub(crate) limit: Duration,
}

impl fmt::Debug for Step<'_> {
    /// Leaves the environment out: the address of a package index may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}

/// Runs a program to its end and returns the last lines that it printed.
///
/// Dropping the future kills the program and its children.
pub(crate) async fn run(
    step: Step<'_>,
    log: &Log,
    observer: &mut (dyn FnMut(Seen<'_>) + Send),
) -> Result<Vec<String>, EnvError> {
    log.line(&format!("$ {}", shown(&step)));
    let mut output = Output {
        log,
        observer,
        tail: VecDeque::new(),
    };
    let (doing, limit) = (step.doing, step.limit);
    match attempt(step, &mut output).await {
        Ok(()) => Ok(output.tail.into()),
        Err(cause) => Err(EnvError::Step {
            doing,
            cause: diagnose(cause, limit, &output.tail),
            tail: last_lines(&output.tail),
            log: log.path.clone(),
        }),
    }
}

/// Kills what a killed run left running for a folder, and waits until it is gone.
///
/// Only the holder of the folder's lock may ask for that.
pub(crate) async fn end_left_over(folder: &Path) -> Result<(), EnvError> {
    end_left_over_within(folder, LEFT_OVER_LIMIT).await
}

async fn end_left_over_within(folder: &Path, limit: Duration) -> Result<(), EnvError> {
    let failed = |source| EnvError::LeftOver {
        path: folder.to_owned(),
        source,
    };
    let deadline = Instant::now() + limit;
    loop {
        let entry = marked(folder);
        let found = timeout(
            LEFT_OVER_LIMIT,
            spawn_blocking(move || open_processes_with(&entry)),
        )
        .await
        .map_err(|error| failed(error.into()))?
        .map_err(|error| failed(error.into()))?
        .map_err(failed)?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let numbers: Vec<String> = found.iter().map(|(pid, _)| pid.to_string()).collect();
            let text = format!("still running after {limit:?}: {}", numbers.join(", "));
            return Err(failed(io::Error::new(io::ErrorKind::TimedOut, text)));
        }
        for (pid, process) in found {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                "ending a program that an earlier run left behind"
            );
            match pidfd_send_signal(process, Signal::KILL) {
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How a program's environment says for which folder it works: its children inherit it, whatever becomes of us.
fn marked(folder: &Path) -> Vec<u8> {
    let mut entry = format!("{FOLDER_VARIABLE}=").into_bytes();
    entry.extend(folder.as_os_str().as_encoded_bytes());
    entry
}

/// Opens the living processes with this entry in their environment, as far as we may look; not we ourselves.
fn open_processes_with(entry: &[u8]) -> io::Result<Vec<(Pid, OwnedFd)>> {
    let carries = |pid: Pid| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == entry))
    };
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let name = process?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else {
            continue;
        };
        if pid == getpid() || !carries(pid) {
            continue;
        }
        let opened = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(opened) => opened,
            Err(Errno::SRCH | Errno::INVAL) => continue,
            Err(error) => return Err(error.into()),
        };
        // Asked again after opening: the number may have become another's. If it changes hands only now,
        // the opened process has ended, and a signal reaches nobody.
        if carries(pid) {
            found.push((pid, opened));
        }
    }
    Ok(found)
}

/// The lines of a running program: into the log, to the observer, and the last ones kept.
struct Output<'a> {
    log: &'a Log,
    observer: &'a mut (dyn FnMut(Seen<'_>) + Send),
    tail: VecDeque<String>,
}

impl Output<'_> {
    fn take(&mut self, bytes: &[u8]) {
        let line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        self.log.line(&line);
        (self.observer)(Seen::Line(&line));
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

/// How a program failed, before its output was looked at.
enum Failed {
    NotStarted(io::Error),
    Timeout,
    Status(ExitStatus),
}

async fn attempt(step: Step<'_>, output: &mut Output<'_>) -> Result<(), Failed> {
    let deadline = Instant::now() + step.limit;
    let (child, reader) = start(step, output.log).map_err(Failed::NotStarted)?;
    let mut running = Running::new(child);
    let mut lines = BufReader::new(reader).split(b'\n');
    let mut ticks = interval(TICK);
    let ended = async {
        loop {
            tokio::select! {
                biased;
                line = lines.next_segment() => match line {
                    Ok(Some(line)) => output.take(&line),
                    // The output is closed: only the end remains.
                    Ok(None) | Err(_) => break running.child.wait().await,
                },
                status = running.child.wait() => break status,
                _ = ticks.tick() => (output.observer)(Seen::Tick),
            }
        }
    };
    let status = timeout_at(deadline, ended).await;
    if status.is_ok() {
        running.ended();
    }
    let status = status
        .map_err(|_| Failed::Timeout)?
        .map_err(Failed::NotStarted)?;
    // Grandchildren may hold the pipe open, so the rest is read for a moment only.
    let _ = timeout(DRAIN_LIMIT, async {
        while let Ok(Some(line)) = lines.next_segment().await {
            output.take(&line);
        }
    })
    .await;
    if status.success() {
        Ok(())
    } else {
        Err(Failed::Status(status))
    }
}

/// Starts the program with both its outputs in one pipe, so that the order of the lines is kept.
fn start(step: Step<'_>, log: &Log) -> io::Result<(Child, pipe::Receiver)> {
    let (reader, writer) = io::pipe()?;
    let mut command = Command::new(step.program);
    command
        .args(step.arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(account) = &log.account {
        command.env_clear().uid(account.uid).gid(account.gid);
        for name in HANDED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
    }
    if let Some(directory) = &log.directory {
        command.current_dir(directory);
    }
    command.env(FOLDER_VARIABLE, &log.folder);
    for (name, value) in step.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let child = command.spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// A running program; dropping it kills its whole process group.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        Self { child, group }
    }

    /// Notes that the program ended by itself: its number may belong to somebody else from now on.
    fn ended(&mut self) {
        self.group = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// A command line as it goes into the log.
fn shown(step: &Step<'_>) -> String {
    let mut line = step.program.to_string_lossy().into_owned();
    for argument in &step.arguments {
        line.push(' ');
        let argument = argument.to_string_lossy();
        // A program's whole text says less than its first line, which tells what it does.
        match argument.split_once('\n') {
            Some((first, _)) => line.extend(["'", first, " …'"]),
            None => line.push_str(&argument),
        }
    }
    line
}

fn last_lines(tail: &VecDeque<String>) -> String {
    let skipped = tail.len().saturating_sub(SHOWN_LINES);
    tail.iter()
        .skip(skipped)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n")
}

/// Reads the likely cause from the last lines of output.
fn diagnose(failed: Failed, limit: Duration, tail: &VecDeque<String>) -> Cause {
    let status = match failed {
        Failed::Timeout => return Cause::Timeout(limit),
        Failed::NotStarted(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Cause::Permission;
        }
        Failed::NotStarted(error) => return Cause::NotStarted(error.to_string()),
        Failed::Status(status) => status,
    };
    if let Some(cause) = diagnosis::from_output(tail.iter().map(String::as_str)) {
        return cause;
    }
    match status.signal() {
        Some(signal) => Cause::Killed(signal),
        None => Cause::Other(status.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &Path) -> Command {
        let mut command = Command::new("sleep");
        command.arg("1000").env(FOLDER_VARIABLE, folder);
        command.kill_on_drop(true);
        command
    }

    #[tokio::test]
    async fn what_works_for_a_folder_is_ended_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, other) = (dir.path().join("env"), dir.path().join("env2"));
        let mut wanted = sleeper(&folder).spawn().unwrap();
        let mut left_alone = sleeper(&other).spawn().unwrap();
        // Its status has to be taken while we wait, as a zombie has no environment, but is not gone.
        let (ended, status) = tokio::join!(end_left_over(&folder), wanted.wait());
        ended.unwrap();
        assert_eq!(status.unwrap().signal(), Some(9));
        assert!(left_alone.try_wait().unwrap().is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_ended_in_time_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let child = sleeper(dir.path()).spawn().unwrap();
        let number = child.id().unwrap().to_string();
        // No time at all: it is found once, and not waited for.
        let error = end_left_over_within(dir.path(), Duration::ZERO).await;
        let EnvError::LeftOver { source, .. } = error.unwrap_err() else {
            panic!("another error");
        };
        assert!(source.to_string().contains(&number), "{source}");
    }
}
