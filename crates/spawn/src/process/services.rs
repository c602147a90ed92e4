//! Managed services: programs that Lyceum starts beside users' servers, and that end with it.
//!
//! Each leads a session of its own and carries two marks in its environment: that of its start, by which everything that
//! it has started is found, and that of the hub, by which the next run finds what a crash has left over. The kernel
//! ends the program itself when Lyceum dies.

mod account;
mod output;

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::random;
use lyceum_core::seams::{
    Exit, ServiceLaunch, ServiceLog, ServiceProcess, ServiceRunner, ServiceStartError, SpawnError,
    StopMode,
};
use rustix::process::Signal;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;
use tokio::time::timeout;

pub use self::account::{Account, AccountError};
use self::output::Output;
use super::identity::{self, ProcessHandle};
use super::{SERVER_VARIABLE, blocking, family, launch, stop, system};

/// The variable by which the services of one hub are known.
pub const SERVICES_VARIABLE: &str = "LYCEUM_SERVICES";

/// The variables that services get from Lyceum's own environment (JupyterHub `Spawner.env_keep`).
const KEPT: [&str; 7] = [
    "PYTHONPATH",
    "CONDA_ROOT",
    "CONDA_DEFAULT_ENV",
    "VIRTUAL_ENV",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
];
/// Where programs are looked for if Lyceum itself has no `PATH`.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How long left-over services are given before they are killed.
const SWEEP_GRACE: Duration = Duration::from_secs(5);
/// How long what a program wrote last is read after its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Runs services as processes of this machine.
#[derive(Debug)]
pub struct ProcessServices {
    instance: String,
    programs: Vec<PathBuf>,
    open_files: Option<u64>,
    /// The thread that starts them; see [`Starter`].
    starter: Starter,
}

impl ProcessServices {
    /// Makes a runner for the hub of this name; `programs` are folders that come first on the services' `PATH`, and
    /// `open_files` the soft limit that they get, if not Lyceum's own.
    pub fn new(
        instance: &str,
        programs: Vec<PathBuf>,
        open_files: Option<u64>,
    ) -> io::Result<Self> {
        Ok(Self {
            instance: instance.to_owned(),
            programs,
            open_files,
            starter: Starter::new()?,
        })
    }

    /// Computes the whole environment of a service; later entries win.
    fn environment(
        &self,
        launch: &ServiceLaunch,
        account: Option<&Account>,
        marker: &str,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for name in KEPT {
            if let Ok(value) = std::env::var(name) {
                all.insert(name.to_owned(), value);
            }
        }
        all.insert("PATH".to_owned(), self.search_path());
        all.extend(launch.environment.clone());
        if let Some(account) = account {
            all.insert("USER".to_owned(), account.name.clone());
            for (name, path) in [("HOME", &account.home), ("SHELL", &account.shell)] {
                if !path.as_os_str().is_empty() {
                    all.insert(name.to_owned(), path.display().to_string());
                }
            }
        }
        all.extend(launch.command.environment.clone());
        // Last, as nobody may hide a process from us.
        all.insert(SERVER_VARIABLE.to_owned(), marker.to_owned());
        all.insert(SERVICES_VARIABLE.to_owned(), self.instance.clone());
        all
    }

    fn search_path(&self) -> String {
        let own = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        let own = own.unwrap_or_else(|| USUAL_PATH.to_owned());
        let folders = self
            .programs
            .iter()
            .map(|folder| folder.display().to_string());
        folders.chain([own]).collect::<Vec<_>>().join(":")
    }

    /// Prepares everything and starts the program.
    async fn launch(&self, launch: ServiceLaunch) -> Result<Process, ServiceStartError> {
        let account = match launch.command.user.clone() {
            Some(user) => {
                let unusable =
                    |error: &dyn std::error::Error| ServiceStartError::Account(error.to_string());
                let found = blocking::FILES.run(move || Account::find(&user)).await;
                Some(
                    found
                        .map_err(|error| unusable(&error))?
                        .map_err(|error| unusable(&error))?,
                )
            }
            None => None,
        };
        let marker = random::hex(16);
        let environment = self.environment(&launch, account.as_ref(), &marker);
        let (reader, command) = self.command(&launch, account, &environment)?;
        let started = self.starter.start(command, marker).await;
        let (handle, pidfd) = started.map_err(|error| explain(&launch, &environment, error))?;
        // From here on, a failure drops what was started, which ends it.
        let watched = identity::watchable(pidfd)
            .and_then(|pidfd| Ok((pidfd, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?)));
        match watched {
            Ok((pidfd, output)) => Ok(Process {
                handle,
                pidfd,
                output: Output::new(output),
                exit: None,
                is_over: false,
            }),
            Err(source) => {
                family::signal_all(&family::marked(&handle.marker), Signal::KILL);
                let doing = "watch the service's process";
                Err(ServiceStartError::System { doing, source })
            }
        }
    }

    /// Makes the command, and the end of the pipe at which its output is read.
    fn command(
        &self,
        launch: &ServiceLaunch,
        account: Option<Account>,
        environment: &BTreeMap<String, String>,
    ) -> Result<(io::PipeReader, Command), ServiceStartError> {
        let no_pipe = |source| ServiceStartError::System {
            doing: "make a pipe",
            source,
        };
        let (reader, writer) = io::pipe().map_err(no_pipe)?;
        let error_writer = writer.try_clone().map_err(no_pipe)?;
        let mut words = launch.command.command.iter();
        let mut command = Command::new(words.next().map_or("", String::as_str));
        command
            .args(words)
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(writer)
            .stderr(error_writer);
        if let Some(cwd) = &launch.command.cwd {
            command.current_dir(cwd);
        }
        launch::detach(&mut command, self.open_files);
        bind(&mut command, account);
        Ok((reader, command))
    }
}

/// Finds out what was not there.
fn explain(
    launch: &ServiceLaunch,
    environment: &BTreeMap<String, String>,
    source: io::Error,
) -> ServiceStartError {
    if let Some(cwd) = &launch.command.cwd
        && let Err(source) = std::fs::read_dir(cwd)
    {
        let folder = cwd.display().to_string();
        return ServiceStartError::Folder { folder, source };
    }
    if source.kind() == io::ErrorKind::NotFound {
        return ServiceStartError::NoProgram {
            program: launch.command.command.first().cloned().unwrap_or_default(),
            searched: environment.get("PATH").cloned().unwrap_or_default(),
        };
    }
    let doing = "start the program";
    ServiceStartError::System { doing, source }
}

/// Makes the program run under the account, and end when the thread ends that has started it.
#[expect(
    unsafe_code,
    reason = "the standard library has no safe way to change a child between fork and exec"
)]
fn bind(command: &mut Command, account: Option<Account>) {
    use nix::unistd::{setgid, setgroups, setuid};

    let parent = rustix::process::getpid();
    let in_child = move || {
        if let Some(account) = account.as_ref().filter(|account| !account.is_own) {
            // In this order: without root's rights, the groups could not be changed any more.
            setgroups(&account.groups)?;
            setgid(account.gid)?;
            setuid(account.uid)?;
        }
        // After the change of account, which would clear it.
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may be gone already.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(nix::libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only, on values that it holds already: it neither
    // allocates nor locks (an error is a bare number), so that other threads' state at the fork does not matter.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// A thread that starts programs, and lives as long as the runner.
///
/// The kernel tells a program of the end of the *thread* that has started it. The threads of the runtime come and go.
#[derive(Debug)]
struct Starter {
    orders: mpsc::Sender<Order>,
}

struct Order {
    command: Command,
    marker: String,
    done: oneshot::Sender<io::Result<(ProcessHandle, OwnedFd)>>,
}

impl Starter {
    fn new() -> io::Result<Self> {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::Builder::new()
            .name("services".to_owned())
            .spawn(move || {
                for order in inbox {
                    let started = start(order.command, order.marker);
                    if let Err(Ok((handle, pidfd))) = order.done.send(started) {
                        // Whoever asked has gone meanwhile.
                        let _ = identity::send(&pidfd, Signal::KILL);
                        family::signal_all(&family::marked(&handle.marker), Signal::KILL);
                        let _ = identity::reap(&pidfd);
                    }
                }
            })?;
        Ok(Self { orders })
    }

    async fn start(
        &self,
        command: Command,
        marker: String,
    ) -> io::Result<(ProcessHandle, OwnedFd)> {
        let (done, answer) = oneshot::channel();
        let gone = || io::Error::other("the thread that starts services has ended");
        let order = Order {
            command,
            marker,
            done,
        };
        self.orders.send(order).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn start(mut command: Command, marker: String) -> io::Result<(ProcessHandle, OwnedFd)> {
    let mut child = command.spawn()?;
    // Our own copies of the pipe's end go with the command.
    drop(command);
    let handle = ProcessHandle::of_child(child.id().cast_signed(), marker, PathBuf::new(), None);
    let opened = handle.and_then(|handle| {
        let pidfd = handle.open()?.ok_or(io::ErrorKind::NotFound)?;
        Ok((handle, pidfd))
    });
    if opened.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    opened
}

#[async_trait]
impl ServiceRunner for ProcessServices {
    async fn sweep(&self) -> Result<usize, SpawnError> {
        let instance = self.instance.clone();
        let left = blocking::PROCESSES
            .run(move || family::marks_of(SERVICES_VARIABLE, &instance))
            .await?;
        let mut ending = tokio::task::JoinSet::new();
        let count = left.len();
        for marker in left {
            ending.spawn(async move { stop::end_marked(&marker, SWEEP_GRACE).await });
        }
        while let Some(ended) = ending.join_next().await {
            ended.map_err(|error| {
                system("end left-over services".to_owned(), io::Error::other(error))
            })??;
        }
        Ok(count)
    }

    async fn start(
        &self,
        launch: ServiceLaunch,
    ) -> Result<Box<dyn ServiceProcess>, ServiceStartError> {
        Ok(Box::new(self.launch(launch).await?))
    }
}

/// A service's process.
#[derive(Debug)]
struct Process {
    handle: ProcessHandle,
    pidfd: AsyncFd<OwnedFd>,
    output: Output,
    /// How it ended, once that is known.
    exit: Option<Exit>,
    /// Nothing of it is left.
    is_over: bool,
}

impl Process {
    /// Waits for the end of the main process, and hands on what is written meanwhile.
    async fn ended(&mut self, log: ServiceLog<'_>) -> Exit {
        loop {
            if let Some(exit) = self.exit {
                return exit;
            }
            tokio::select! {
                _ = self.pidfd.readable() => {
                    let _ = timeout(LAST_WORDS, self.output.rest(log)).await;
                    self.output.finish(log);
                    self.exit = Some(identity::reap(&self.pidfd.as_fd()));
                }
                () = self.output.read(log) => {}
            }
        }
    }

    /// Ends what the main process has left behind.
    async fn clear(&mut self) -> Result<(), SpawnError> {
        if !self.is_over {
            stop::stop(&self.handle, StopMode::Now).await?;
            self.is_over = true;
        }
        Ok(())
    }
}

#[async_trait]
impl ServiceProcess for Process {
    fn pid(&self) -> u32 {
        self.handle.pid.cast_unsigned()
    }

    async fn wait(&mut self, log: ServiceLog<'_>) -> Exit {
        let exit = self.ended(log).await;
        if let Err(error) = self.clear().await {
            tracing::warn!(
                pid = self.handle.pid,
                error = &error as &dyn std::error::Error,
                "a service has left processes behind that could not be ended"
            );
        }
        exit
    }

    async fn stop(&mut self, limit: Duration, log: ServiceLog<'_>) -> Result<(), SpawnError> {
        if self.exit.is_none() {
            let handle = self.handle.clone();
            let stopping = stop::stop(&handle, StopMode::Graceful(limit));
            tokio::pin!(stopping);
            // What it writes has to be read, or it could not end.
            let stopped = tokio::select! {
                stopped = &mut stopping => stopped,
                _ = self.ended(log) => stopping.await,
            };
            stopped?;
            let _ = self.ended(log).await;
            self.is_over = true;
            return Ok(());
        }
        self.clear().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // A walk through `/proc` takes milliseconds; this is for the end of everything, or for a panic.
        let mut seen = HashSet::new();
        let found = family::find(&self.handle, &mut seen);
        family::signal_all(&found, Signal::KILL);
        if self.exit.is_none() {
            let _ = identity::reap(&self.pidfd.as_fd());
        }
    }
}

#[cfg(test)]
mod tests;
