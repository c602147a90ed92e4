//! Servers as processes in control groups of their own, where there is no systemd.
//!
//! Each server has a keeper, a small process of root's that is its parent. The broker tells a keeper what to start and
//! reads its record; it may be killed at any moment. What a machine (mostly a container) does not allow is left out,
//! and `missing` says so in words.

mod family;
mod groups;
mod inside;
mod job;
mod keeper;
mod log;
mod mounts;
mod record;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdSocket;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lyceum_core::limits::TotalLimits;
use lyceum_core::seams::Exit;
use rustix::process::Signal;
use serde::Deserialize as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::groups::Hierarchies;
use self::job::{Job, ProcessKey, Report, Step};
use self::record::Record;
use super::turns::Turns;
use super::{Engine, Identity, Running, machine, refuse};
use crate::plan::Plan;
use crate::policy::Sandbox;
use crate::protocol::{Refusal, RefusalKind, ServerState, Usage};

pub(crate) const KIND: &str = "process";
/// The argument behind `lyceum broker-child` with which [`child_main`] is to be called.
pub const STAGE: &str = "run-server";
/// The argument behind that with which the keeper only tries what can be had here.
const TRY: &str = "try";
/// How long a start may take, until the program runs.
const START_LIMIT: Duration = Duration::from_secs(45);
/// How long a keeper may take to clean up after a start that failed.
const CLEAN_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end what was killed.
const KILL_LIMIT: Duration = Duration::from_secs(15);
/// How long a keeper may take to write down how its server ended.
const RECORD_LIMIT: Duration = Duration::from_secs(3);
/// How often one looks for something that a keeper does.
const LOOK: Duration = Duration::from_millis(20);

/// Runs as a keeper. To be called by `lyceum broker-child run-server`, before there is any thread.
pub fn child_main() -> ExitCode {
    if std::env::args().next_back().as_deref() == Some(TRY) {
        let text = serde_json::to_string(&mounts::missing()).unwrap_or_default();
        let written = io::Write::write_all(&mut io::stdout(), text.as_bytes());
        return if written.is_ok() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
    }
    keeper::main()
}

/// The engine.
#[derive(Debug, Clone)]
pub struct ProcessEngine {
    records: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    turns: Arc<Turns>,
    /// Starts, which clean up after themselves even when nobody waits for them any more.
    starts: TaskTracker,
}

impl ProcessEngine {
    /// Makes the engine. Its keepers are this very program; records of servers are kept below `state_dir`, a folder of
    /// root's.
    pub fn new(state_dir: &Path) -> Self {
        let arguments = vec!["broker-child".into(), STAGE.into()];
        Self::with_stage(state_dir, "/proc/self/exe".into(), arguments)
    }

    /// Makes the engine with another program that calls [`child_main`].
    pub fn with_stage(state_dir: &Path, program: PathBuf, arguments: Vec<OsString>) -> Self {
        Self {
            records: state_dir.join("processes"),
            program,
            arguments,
            turns: Arc::default(),
            starts: TaskTracker::new(),
        }
    }

    fn record(&self, unit: &str) -> Result<PathBuf, Refusal> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\:@".contains(c);
        if unit.starts_with("lyceum-") && unit.len() <= 240 && unit.chars().all(fits) {
            return Ok(self.records.join(format!("{unit}.json")));
        }
        Err(Refusal::new(
            RefusalKind::Internal,
            format!("{unit:?} is no name of a server's group."),
            "",
        ))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Gives a job to a keeper, and hears what became of it. Given up, or too slow, the keeper is told so, and its end
    /// is waited for.
    async fn run(
        &self,
        job: &Job,
        given_up: &CancellationToken,
    ) -> io::Result<(Report, BufReader<UnixStream>)> {
        let (ours, theirs) = StdSocket::pair()?;
        ours.set_nonblocking(true)?;
        let mut socket = BufReader::new(UnixStream::from_std(ours)?);
        let child = self.command().stdin(OwnedFd::from(theirs)).spawn()?;
        // The keeper outlives this; the runtime takes its exit status.
        drop(child);
        let mut text = serde_json::to_vec(job)?;
        text.push(b'\n');
        socket.write_all(&text).await?;
        let mut line = Vec::new();
        let heard = tokio::select! {
            heard = timeout(START_LIMIT, socket.read_until(b'\n', &mut line)) => heard.is_ok(),
            () = given_up.cancelled() => false,
        };
        if !heard {
            socket.shutdown().await?;
            let _ = timeout(CLEAN_LIMIT, socket.read_to_end(&mut line)).await;
            return Err(io::ErrorKind::TimedOut.into());
        }
        if line.is_empty() {
            return Err(io::Error::other("the process that keeps servers ended"));
        }
        Ok((serde_json::from_slice(&line)?, socket))
    }

    async fn start_now(
        &self,
        plan: &Plan,
        given_up: &CancellationToken,
    ) -> Result<Running, Refusal> {
        let path = self.record(&plan.unit)?;
        check_sandbox(&plan.sandbox)?;
        let (unit, old) = (plan.unit.clone(), path.clone());
        blocking("look for a server", move || {
            if let Some(record) = Record::read(&old)? {
                if record.main.is_alive() || !record.family().members().is_empty() {
                    return Ok(Err(refuse::exists(&unit)));
                }
                record.clean();
                let _ = fs::remove_file(&old);
            }
            Ok(Ok(()))
        })
        .await??;
        let job = Job::of(plan, path);
        let (report, mut socket) = match self.run(&job, given_up).await {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(refuse::slow("its folder or its program may not answer"));
            }
            done => done.map_err(|error| refuse::of_system("start a server", &error))?,
        };
        let main = match report {
            Report::Started(main) => main,
            Report::Failed { step, errno, what } => {
                // The keeper has cleaned up before it said so.
                return Err(not_started(plan, step, errno, &what));
            }
        };
        let pidfd = machine::open_process(main.pid)
            .and_then(|pidfd| pidfd.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|error| refuse::of_system("open a server's process", &error))?;
        socket
            .write_all(keeper::KEEP)
            .await
            .map_err(|error| refuse::of_system("tell a keeper to go on", &error))?;
        let identity = serde_json::to_value(main)
            .map_err(|error| refuse::of_system("write an identity", &error.into()))?;
        Ok(Running {
            identity: Identity(identity),
            pidfd,
        })
    }
}

#[async_trait]
impl Engine for ProcessEngine {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn missing(&self, _total: &TotalLimits) -> Vec<String> {
        let mut missing = vec![
            "No session of PAM is opened for servers: only the spawner `systemd` can do that."
                .to_owned(),
        ];
        match blocking("find control groups", Hierarchies::find).await {
            Ok(all) => missing.extend(all.missing()),
            Err(refusal) => missing.push(refusal.message),
        }
        let mut command = self.command();
        command.arg(TRY).stdin(Stdio::null()).stdout(Stdio::piped());
        let output = timeout(CLEAN_LIMIT, command.kill_on_drop(true).output()).await;
        let tried = output
            .ok()
            .and_then(Result::ok)
            .and_then(|output| serde_json::from_slice::<Vec<String>>(&output.stdout).ok());
        missing.extend(tried.unwrap_or_else(|| {
            vec!["It could not be tried what can be closed to servers here.".to_owned()]
        }));
        missing
    }

    async fn try_sandbox(&self, sandbox: &Sandbox) -> Result<(), Refusal> {
        check_sandbox(sandbox)
    }

    async fn start(&self, plan: &Plan) -> Result<Running, Refusal> {
        let given_up = CancellationToken::new();
        // When the caller goes away, so does this, and the task below hears of it.
        let _guard = given_up.clone().drop_guard();
        let (engine, plan) = (self.clone(), plan.clone());
        let work = async move {
            let _turn = engine.turns.take(&plan.unit).await;
            let started = engine.start_now(&plan, &given_up).await;
            if started.is_ok() && given_up.is_cancelled() {
                let path = engine.record(&plan.unit)?;
                blocking("end a server", move || stop(&path, None, None)).await?;
            }
            started
        };
        self.starts.spawn(work).await.unwrap_or_else(|error| {
            Err(Refusal::new(
                RefusalKind::Internal,
                format!("The start was broken off: {error}."),
                "",
            ))
        })
    }

    async fn finish(&self) {
        self.starts.close();
        self.starts.wait().await;
    }

    async fn inspect(
        &self,
        unit: &str,
        identity: &Identity,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal> {
        let (path, known) = (self.record(unit)?, known(identity)?);
        blocking("look at a server", move || inspect(&path, &known)).await
    }

    async fn stop(
        &self,
        unit: &str,
        identity: Option<&Identity>,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        let path = self.record(unit)?;
        let known = identity.map(known).transpose()?;
        let name = unit.to_owned();
        let _turn = self.turns.take(unit).await;
        let ended = blocking("stop a server", move || stop(&path, known.as_ref(), grace)).await?;
        if ended {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::Slow,
            format!("The server {name} did not end, even after it was killed."),
            "A process may wait for a file system that does not answer; it ends when that does.",
        ))
    }

    async fn signal(&self, unit: &str, identity: &Identity, signal: i32) -> Result<(), Refusal> {
        let signal = machine::allowed_signal(signal).ok_or_else(|| refuse::signal(signal))?;
        let (_, pidfd) = self.inspect(unit, identity).await?;
        match pidfd {
            Some(pidfd) => machine::send(&pidfd, signal)
                .map_err(|error| refuse::of_system("signal a server", &error)),
            None => Ok(()),
        }
    }

    async fn log(&self, unit: &str, lines: u32) -> Result<Vec<String>, Refusal> {
        let path = self.record(unit)?;
        let lines = usize::try_from(lines).unwrap_or(usize::MAX);
        blocking("read a server's log", move || match Record::read(&path)? {
            Some(record) => log::tail(&record.log, lines),
            None => Ok(Vec::new()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<(String, Usage)>, Refusal> {
        let records = self.records.clone();
        blocking("list the servers", move || {
            let entries = match fs::read_dir(&records) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                entries => entries?,
            };
            Ok(entries
                .flatten()
                .filter_map(|entry| {
                    let name = entry.file_name().into_string().ok()?;
                    let unit = name.strip_suffix(".json")?.to_owned();
                    // One that cannot be read is told of when somebody asks about its server.
                    let record = Record::read(&entry.path()).ok()??;
                    let lives = record.main.is_alive() || !record.family().members().is_empty();
                    lives.then(|| (unit, groups::usage(&record.groups)))
                })
                .collect())
        })
        .await
    }

    async fn limit_all(&self, slice: &str, total: &TotalLimits) -> Result<(), Refusal> {
        let (slice, total) = (slice.to_owned(), total.clone());
        blocking("limit all servers together", move || {
            Hierarchies::find()?.limit_all(&slice, &total)
        })
        .await
    }
}

fn check_sandbox(sandbox: &Sandbox) -> Result<(), Refusal> {
    if sandbox.properties.is_empty() {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::Configuration,
        "`sandbox.properties` are properties of units of systemd, which this engine does not have.",
        "Remove them, or use the spawner `systemd`.",
    ))
}

fn known(identity: &Identity) -> Result<ProcessKey, Refusal> {
    ProcessKey::deserialize(&identity.0)
        .ok()
        .filter(|known| known.pid > 1)
        .ok_or_else(|| refuse::foreign_identity(KIND))
}

fn inspect(path: &Path, known: &ProcessKey) -> io::Result<(ServerState, Option<OwnedFd>)> {
    let record = || {
        let record = Record::read(path).ok().flatten();
        record.filter(|record| record.main == *known)
    };
    let pidfd = machine::open_process(known.pid)?;
    // Asked after opening: if it is this process now, the descriptor is of it.
    if known.is_alive() {
        let usage = record().map(|record| groups::usage(&record.groups));
        return Ok((ServerState::Running(usage.unwrap_or_default()), pidfd));
    }
    // The keeper may just be writing down how it ended.
    let until = Instant::now() + RECORD_LIMIT;
    let exit = loop {
        let Some(record) = record() else {
            break Exit::Unknown;
        };
        match record.exit {
            Some(exit) => break exit,
            None if !record.keeper.exists() || Instant::now() > until => break Exit::Unknown,
            None => family::pause(LOOK),
        }
    };
    Ok((ServerState::Ended { exit }, None))
}

/// Ends a server. Tells whether it has ended.
fn stop(path: &Path, known: Option<&ProcessKey>, grace: Option<Duration>) -> io::Result<bool> {
    let Some(record) = Record::read(path)? else {
        return Ok(true);
    };
    if known.is_some_and(|known| *known != record.main) {
        return Ok(true);
    }
    let family = record.family();
    if let Some(grace) = grace {
        if record.main.is_alive()
            && let Some(pidfd) = machine::open_process(record.main.pid)?
            && record.main.exists()
        {
            machine::send(&pidfd, Signal::TERM)?;
        }
        if !family.wait_end(grace) {
            family.signal(Signal::TERM);
            family.wait_end(grace);
        }
    }
    if !family.kill(KILL_LIMIT) {
        return Ok(false);
    }
    // The keeper cleans up and ends; if it is gone, this does it instead.
    let until = Instant::now() + CLEAN_LIMIT;
    while record.keeper.is_alive() && Instant::now() < until {
        family::pause(LOOK);
    }
    record.clean();
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(true),
    }
}

fn not_started(plan: &Plan, step: Step, errno: i32, what: &str) -> Refusal {
    let error = io::Error::from_raw_os_error(errno);
    let account = &plan.account.name;
    match step {
        Step::WorkingDir => refuse::working_dir(&plan.working_dir, account, &error.to_string()),
        Step::Program => refuse::command(what, &error.to_string()),
        Step::Account => refuse::of_system(&format!("become the account {account}"), &error),
        Step::Groups if errno == nix::libc::EEXIST => refuse::exists(&plan.unit),
        Step::Groups => refuse::of_system(&format!("enter the control group {what}"), &error),
        Step::Namespace => refuse::of_system(
            "close the folders in `sandbox.hidden` and `sandbox.read_only`, as the machine allows no mount namespace",
            &error,
        ),
        Step::Folders => refuse::of_system(&format!("close {what} to a server"), &error),
        Step::Limits | Step::Keeper => refuse::of_system(what, &error),
    }
}

/// Does work that blocks for milliseconds, on a thread where that is allowed.
async fn blocking<T: Send + 'static>(
    doing: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| refuse::of_system(doing, &error))
}
