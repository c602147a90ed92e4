//! Runs one program of the work: in a session of its own, with a log, a time limit and an
//! observer, and so that nothing of it is left running when the work is dropped.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::mem;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{Instant, interval, timeout, timeout_at};

use crate::diagnosis;
use crate::error::{Cause, EnvError};

mod lasting;
mod left_over;

pub(crate) use lasting::run_to_its_end;
pub(crate) use left_over::{end_left_over, end_left_over_of};

/// How many of the last lines are kept for an error message.
const TAIL_LINES: usize = 60;
/// How many of them an error shows.
const SHOWN_LINES: usize = 12;
/// How often an observer is called when the program is silent.
const TICK: Duration = Duration::from_millis(250);
/// How long output is read after the program itself has ended.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// The longest line that is taken as one, as some answer in one; what is longer becomes several.
const MAX_LINE: usize = 1024 * 1024;
/// How much of each of the last lines is kept.
const MAX_TAIL_LINE: usize = 8 * 1024;
/// How long a log may become. What a program prints beyond that is read, and goes.
const MAX_LOG: u64 = 64 * 1024 * 1024;
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
    /// The bytes that were written.
    length: AtomicU64,
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
            length: AtomicU64::new(0),
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
        let bytes = u64::try_from(line.len())
            .unwrap_or(u64::MAX)
            .saturating_add(1);
        let before = self.length.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) <= MAX_LOG {
            let _ = writeln!(&self.file, "{line}");
        } else if before <= MAX_LOG {
            let _ = writeln!(
                &self.file,
                "The log ends here, at {} MiB; what follows was not kept.",
                MAX_LOG >> 20
            );
            // From now on, not even a short line.
            self.length.store(u64::MAX / 2, Ordering::Relaxed);
        }
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
/// Dropping the future kills the program and its children. What another account's program has left behind is ended, too,
/// before this returns.
pub(crate) async fn run(
    step: Step<'_>,
    log: &Log,
    observer: &mut (dyn FnMut(Seen<'_>) + Send),
) -> Result<Vec<String>, EnvError> {
    log.line(&format!("$ {}", shown(&step)));
    let mut output = Lines::new(Some(log), observer);
    let (doing, limit) = (step.doing, step.limit);
    let result = attempt(step, log, &mut output).await;
    if let Some(account) = &log.account {
        left_over::end_strays(&log.folder, account).await?;
    }
    ended_with(result, doing, limit, log, output)
}

/// What is told of a program that has ended: its last lines, or why it failed.
fn ended_with(
    result: Result<(), Failed>,
    doing: &'static str,
    limit: Duration,
    log: &Log,
    output: Lines<'_>,
) -> Result<Vec<String>, EnvError> {
    match result {
        Ok(()) => Ok(output.tail.into()),
        Err(cause) => Err(EnvError::Step {
            doing,
            cause: diagnose(cause, limit, &output.tail),
            tail: last_lines(&output.tail),
            log: log.path.clone(),
        }),
    }
}

/// The lines of a running program: into the log, to the observer, and the last ones kept.
struct Lines<'a> {
    /// `None` if the program writes into the log itself.
    log: Option<&'a Log>,
    observer: &'a mut (dyn FnMut(Seen<'_>) + Send),
    tail: VecDeque<String>,
}

impl<'a> Lines<'a> {
    fn new(log: Option<&'a Log>, observer: &'a mut (dyn FnMut(Seen<'_>) + Send)) -> Self {
        Self {
            log,
            observer,
            tail: VecDeque::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut line = String::from_utf8_lossy(bytes).trim_end().to_owned();
        if let Some(log) = self.log {
            log.line(&line);
        }
        (self.observer)(Seen::Line(&line));
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        line.truncate(line.floor_char_boundary(MAX_TAIL_LINE));
        line.shrink_to_fit();
        self.tail.push_back(line);
    }
}

/// What a program prints, line by line; a line that is too long comes in pieces, so that it fills nobody's memory.
struct Pieces<R> {
    reader: BufReader<R>,
    begun: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Pieces<R> {
    fn new(reader: R) -> Self {
        Self {
            reader: BufReader::new(reader),
            begun: Vec::new(),
        }
    }

    /// The next line or piece, without its end; nothing when there is no more. Loses nothing when it is dropped.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let buffer = self.reader.fill_buf().await?;
            if buffer.is_empty() {
                let rest = mem::take(&mut self.begun);
                return Ok((!rest.is_empty()).then_some(rest));
            }
            let room = MAX_LINE.saturating_sub(self.begun.len());
            let part = buffer.get(..room).unwrap_or(buffer);
            let end = part.iter().position(|byte| *byte == b'\n');
            let line = part.get(..end.unwrap_or(part.len())).unwrap_or(part);
            self.begun.extend_from_slice(line);
            let taken = line.len() + usize::from(end.is_some());
            self.reader.consume(taken);
            if end.is_some() || self.begun.len() >= MAX_LINE {
                return Ok(Some(mem::take(&mut self.begun)));
            }
        }
    }
}

/// How a program failed, before its output was looked at.
enum Failed {
    NotStarted(io::Error),
    Timeout,
    Status(ExitStatus),
}

async fn attempt(step: Step<'_>, log: &Log, output: &mut Lines<'_>) -> Result<(), Failed> {
    let deadline = Instant::now() + step.limit;
    let (child, reader) = start(step, log).map_err(Failed::NotStarted)?;
    let mut running = Running::new(child);
    let mut lines = Pieces::new(reader);
    let mut ticks = interval(TICK);
    let ended = async {
        loop {
            tokio::select! {
                biased;
                line = lines.next() => match line {
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
        while let Ok(Some(line)) = lines.next().await {
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
        .kill_on_drop(true);
    begin_session(&mut command, log.account.is_some());
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
    if log.account.is_some() {
        left_over::adopt()?;
    }
    let child = left_over::start(|| command.spawn(), number)?;
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// Lets the program lead a session of its own: it has no terminal into which it could type for whoever started us. A
/// `foreign` one, which is another account's, gets no more rights by what it runs, either.
#[expect(
    unsafe_code,
    reason = "the standard library has no safe way to start a program in a session of its own"
)]
pub(crate) fn begin_session(command: &mut Command, foreign: bool) {
    let in_child = move || {
        rustix::process::setsid()?;
        if foreign {
            rustix::thread::set_no_new_privs(true)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes two system calls only: it neither allocates nor locks (an error is
    // a bare number), so that other threads' state at the fork does not matter.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// Starts a program of another account's that only answers something, and gives its answer.
pub(crate) async fn ask_as(account: &Account, mut command: Command) -> io::Result<Output> {
    command.env_clear().uid(account.uid).gid(account.gid);
    command.stdout(Stdio::piped()).kill_on_drop(true);
    begin_session(&mut command, true);
    let child = left_over::start(|| command.spawn(), number)?;
    let pid = number(&child);
    let output = child.wait_with_output().await;
    if let Some(pid) = pid {
        left_over::forget(pid);
    }
    output
}

fn number(child: &Child) -> Option<Pid> {
    child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw)
}

/// A running program; dropping it kills its whole process group.
struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Running {
    fn new(child: Child) -> Self {
        let group = number(&child);
        Self { child, group }
    }

    /// Notes that the program ended by itself: its number may belong to somebody else from now on.
    fn ended(&mut self) {
        if let Some(group) = self.group.take() {
            left_over::forget(group);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
            left_over::forget(group);
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
mod tests;
