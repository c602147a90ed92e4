//! The spawner `process`: each server is a process group of this machine, under Lyceum's own account.
//!
//! It separates no users from each other: every server may read what Lyceum may read. It is for one
//! person, for people who trust each other, and for trying things out.

mod blocking;
mod children;
mod config;
mod credentials;
mod environment;
mod failure;
mod family;
mod identity;
mod launch;
mod logs;
mod paths;
mod prefix;
mod profile;
pub mod services;
mod stop;
mod usage;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_broker::PythonFolders;
use lyceum_core::lifecycle::Failure;
use lyceum_core::names::{ServerRef, UserName};
use lyceum_core::seams::{
    Exit, Handle, HomeSpace, Liveness, PythonInUse, SpawnError, Spawner, StartProgress,
    StartRequest, Started, StopMode, Usage,
};
use thiserror::Error;

use self::blocking::Turns;
use self::children::{Children, Watch};
use self::identity::ProcessHandle;
use self::launch::Launched;
use self::logs::Log;

pub use self::config::{ProcessConfig, RunAs, SocketKind};
pub use self::profile::Profile;

/// The spawner's name in configuration, handles and logs.
pub const KIND: &str = "process";
/// The variable by which the processes of one start of a server are known.
pub const SERVER_VARIABLE: &str = "LYCEUM_SERVER";
/// The variable by which the processes of one hub are known.
pub const INSTANCE_VARIABLE: &str = "LYCEUM_INSTANCE";

/// How many ports are remembered as just given away.
const RECENT_PORTS: usize = 64;
/// How long left-over servers are given at a sweep before they are killed.
const SWEEP_GRACE: Duration = Duration::from_secs(5);

/// Where the spawner keeps things. All paths are absolute.
#[derive(Debug, Clone)]
pub struct Places {
    /// The data directory: relative homes lie below it, logs in `logs/servers` below it.
    pub data_dir: PathBuf,
    /// The folder for sockets, of this hub alone. It is closed to everybody else. Its path may have
    /// some 80 bytes, as the system limits the length of a socket's.
    pub runtime_dir: PathBuf,
    /// Folders that come first in the servers' `PATH`, such as that of the prepared Python environment.
    pub programs: Vec<PathBuf>,
    /// How many files a server may have open at first (its soft limit), if not as many as Lyceum itself:
    /// a high limit slows some programs down, and breaks old ones. The hard limit bounds it.
    pub open_files: Option<u64>,
}

/// Why a spawner cannot be made of its configuration.
#[derive(Debug, Error)]
pub enum SetupError {
    /// There is no program to run.
    #[error("the spawner's `command` is empty")]
    NoCommand,
    /// The program is given by a path that depends on the working directory.
    #[error(
        "the spawner's `command` has to be a plain name or an absolute path, and `{0}` is neither"
    )]
    RelativeCommand(String),
    /// A variable's name, or its value, cannot be in an environment.
    #[error(
        "the spawner's environment variable `{0}` is not possible: a name has no `=`, and neither part a zero byte"
    )]
    BadVariable(String),
    /// A folder for programs is not one.
    #[error("the entry `{0}` of the spawner's `path` has to be one absolute path, without a colon")]
    BadSearchPath(String),
    /// There would be no home folder.
    #[error("the spawner's `home` is empty")]
    NoHome,
    /// Something in braces that stands for nothing; it would become part of a folder's name.
    #[error(
        "the spawner's `{key}` has `{text}`, in which something else than `{{username}}` stands in braces"
    )]
    UnknownPlaceholder {
        /// The setting.
        key: &'static str,
        /// Its value.
        text: String,
    },
    /// A path is not absolute.
    #[error("the path {0} has to be absolute")]
    RelativePath(PathBuf),
    /// Sockets in this folder would have too long paths.
    #[error("the path of the folder for sockets, {path}, is {excess} bytes too long")]
    LongRuntimeDir {
        /// The folder.
        path: PathBuf,
        /// By how much.
        excess: usize,
    },
    /// A slice's name is not one.
    #[error("the spawner's `slice` has to be a name that ends with `.slice`, and `{0}` is none")]
    BadSlice(String),
    /// The name of this hub cannot be in an environment.
    #[error("the hub's id `{0}` has to consist of letters, digits and hyphens")]
    BadInstance(String),
}

impl SetupError {
    /// The setting of `[spawner]` that is wrong, if it is one.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::NoCommand | Self::RelativeCommand(_) => Some("command"),
            Self::BadVariable(_) => Some("environment"),
            Self::BadSearchPath(_) => Some("path"),
            Self::NoHome => Some("home"),
            Self::BadSlice(_) => Some("slice"),
            Self::UnknownPlaceholder { key, .. } => Some(key),
            Self::RelativePath(_) | Self::LongRuntimeDir { .. } | Self::BadInstance(_) => None,
        }
    }
}

impl ProcessConfig {
    /// Finds what cannot work, whatever the machine.
    pub fn check(&self) -> Result<(), SetupError> {
        let command = self.command.first().filter(|name| !name.is_empty());
        let command = command.ok_or(SetupError::NoCommand)?;
        if command.contains('/') && !command.starts_with('/') {
            return Err(SetupError::RelativeCommand(command.clone()));
        }
        let impossible = |(name, value): &(&String, &String)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        };
        if let Some((name, _)) = self.environment.iter().find(impossible) {
            return Err(SetupError::BadVariable(name.clone()));
        }
        if self.home.is_empty() {
            return Err(SetupError::NoHome);
        }
        for (key, text) in [
            ("home", &self.home),
            ("working_dir", &self.working_dir),
            ("default_url", &self.default_url),
        ] {
            if text.replace("{username}", "").contains(['{', '}']) {
                let text = text.clone();
                return Err(SetupError::UnknownPlaceholder { key, text });
            }
        }
        if let Some(dir) = self
            .path
            .iter()
            .find(|dir| !dir.starts_with('/') || dir.contains([':', '\0']))
        {
            return Err(SetupError::BadSearchPath(dir.clone()));
        }
        Ok(())
    }
}

/// Starts servers as processes of this machine. See the module's own description.
#[derive(Debug)]
pub struct ProcessSpawner {
    settings: Arc<Settings>,
    children: Children,
    turns: Turns,
    /// Whose home is being looked at.
    looks: Turns,
}

/// What a start needs to know.
#[derive(Debug)]
struct Settings {
    config: ProcessConfig,
    places: Places,
    profiles: BTreeMap<String, Profile>,
    /// The Python environments that servers are started from, if the configuration has any.
    python: Option<PythonFolders>,
    instance: String,
    recent_ports: Mutex<VecDeque<u16>>,
    /// The letters in the names of folders that were made since Lyceum's start.
    life: String,
}

impl ProcessSpawner {
    /// Makes a spawner; nothing is touched before the first start.
    ///
    /// `instance` is a random text that stays the same for a hub as long as its database lives; it tells
    /// the processes of this hub from those of another on the same machine.
    pub fn new(config: ProcessConfig, places: Places, instance: &str) -> Result<Self, SetupError> {
        config.check()?;
        let dirs = [&places.data_dir, &places.runtime_dir];
        if let Some(path) = dirs.into_iter().find(|path| !path.is_absolute()) {
            return Err(SetupError::RelativePath(path.clone()));
        }
        let excess = paths::excess_length(&places.runtime_dir);
        if excess > 0 && config.socket != SocketKind::Tcp {
            return Err(SetupError::LongRuntimeDir {
                path: places.runtime_dir,
                excess,
            });
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if instance.is_empty() || !instance.chars().all(plain) {
            return Err(SetupError::BadInstance(instance.to_owned()));
        }
        Ok(Self {
            settings: Arc::new(Settings {
                config,
                places,
                profiles: BTreeMap::new(),
                python: None,
                instance: instance.to_owned(),
                recent_ports: Mutex::default(),
                life: credentials::new_life(),
            }),
            children: Children::default(),
            turns: Turns::default(),
            looks: Turns::default(),
        })
    }

    /// Gives users these profiles to choose among, by name.
    pub fn with_profiles(self, profiles: BTreeMap<String, Profile>) -> Result<Self, SetupError> {
        for profile in profiles.values() {
            let mut config = profile.over(&self.settings.config);
            config.path.clone_from(&profile.path);
            config.check()?;
        }
        Ok(Self {
            settings: Arc::new(Settings {
                profiles,
                ..self.settings.again()
            }),
            ..self
        })
    }

    /// Has servers started from the current generation of a Python environment, if the command is a plain name.
    #[must_use]
    pub fn with_python(self, python: Option<PythonFolders>) -> Self {
        Self {
            settings: Arc::new(Settings {
                python,
                ..self.settings.again()
            }),
            ..self
        }
    }

    /// How long a server is given after each polite signal, as configured.
    pub fn stop_timeout(&self) -> Duration {
        self.settings.config.stop_timeout.get()
    }

    /// Finds the Python environment whose static files may be answered for servers that start from now on, if
    /// the configuration wants that and there is one. Blocks for moments.
    pub fn find_environment(&self) -> Option<PathBuf> {
        prefix::of_command(&self.settings)
    }

    fn watch(&self, launched: &mut Launched) -> Result<(), Failure> {
        let doing = "watch the server's process";
        // On an error the process is still the launched one's, and is killed with it.
        let pidfd = launched
            .duplicate()
            .map_err(|error| failure::of_system(doing, &error))?;
        let watch = Watch::new(pidfd, launched.log.clone())
            .map_err(|error| failure::of_system(doing, &error))?;
        launched.keep();
        self.children.watch(launched.handle.clone(), watch);
        Ok(())
    }
}

impl Settings {
    /// The same for a spawner that has not started anything yet.
    fn again(&self) -> Self {
        Self {
            config: self.config.clone(),
            places: self.places.clone(),
            profiles: self.profiles.clone(),
            python: self.python.clone(),
            instance: self.instance.clone(),
            recent_ports: Mutex::default(),
            life: self.life.clone(),
        }
    }

    fn home(&self, safe_user: &str) -> PathBuf {
        let home = self.config.home.replace("{username}", safe_user);
        self.places.data_dir.join(home)
    }

    fn log_dir(&self) -> PathBuf {
        self.places.data_dir.join("logs/servers")
    }

    fn log(&self, server: &ServerRef) -> Log {
        self.log_at(self.log_dir().join(paths::log_name(server)))
    }

    fn log_at(&self, path: PathBuf) -> Log {
        Log {
            path,
            limit: u64::from(self.config.log_limit_mib.max(1)) * 1024 * 1024,
        }
    }

    fn search_path(&self) -> String {
        let programs = self
            .places
            .programs
            .iter()
            .map(|dir| dir.display().to_string());
        let dirs: Vec<String> = programs.chain(self.config.path.iter().cloned()).collect();
        dirs.join(":")
    }

    /// Takes a port unless it was taken a moment ago.
    fn take_port(&self, port: u16) -> bool {
        let mut recent = self
            .recent_ports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if recent.contains(&port) {
            return false;
        }
        recent.push_back(port);
        if recent.len() > RECENT_PORTS {
            recent.pop_front();
        }
        true
    }
}

#[async_trait]
impl Spawner for ProcessSpawner {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn start(
        &self,
        request: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure> {
        progress.say(10, "Preparing the home folder and the environment");
        let settings = Arc::clone(&self.settings);
        let reservation = self.children.reserve(&request.marker);
        let turn = self.turns.take(request.server.user.as_str()).await;
        let turn = turn.map_err(|held| failure::of_held(&held))?;
        // If this future is dropped meanwhile, the result is dropped too, and that ends the process.
        let mut launched = blocking::STARTS
            .run(move || {
                let _turn = turn;
                launch::launch(&settings, &request, reservation)
            })
            .await
            .map_err(|held| failure::of_held(&held))??;
        self.watch(&mut launched)?;
        let handle = launched.handle.encode();
        progress.handle(&handle);
        progress.say(30, "The server's program is running");
        Ok(Started {
            upstream: launched.upstream.clone(),
            handle,
        })
    }

    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError> {
        let handle = ProcessHandle::decode(handle)?;
        if let Some(exit) = self.children.find(&handle)
            && let Some(exit) = *exit.borrow()
        {
            return Ok(Liveness::Exited(exit));
        }
        let looked = handle.open().and_then(|pidfd| match pidfd {
            Some(pidfd) => identity::has_ended(&pidfd),
            None => Ok(true),
        });
        match looked {
            Ok(false) => Ok(Liveness::Running),
            // Of a child of ours the status is known within moments; for others this returns at once.
            Ok(true) => self.wait_for(handle).await.map(Liveness::Exited),
            Err(error) => Err(system(format!("look at process {}", handle.pid), error)),
        }
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError> {
        let handle = ProcessHandle::decode(handle)?;
        let exit = self.wait_for(handle.clone()).await?;
        stop::remove_credentials(&handle).await;
        Ok(exit)
    }

    async fn stop(&self, handle: &Handle, how: StopMode) -> Result<(), SpawnError> {
        let handle = ProcessHandle::decode(handle)?;
        stop::stop(&handle, how).await
    }

    async fn log_tail(&self, server: &ServerRef, lines: usize) -> Vec<String> {
        let log = self.settings.log(server);
        match blocking::FILES.run(move || log.tail(lines)).await {
            Ok(lines) => lines,
            Err(held) => {
                tracing::warn!(%server, error = %held, "could not read a server's log");
                Vec::new()
            }
        }
    }

    async fn sweep(&self, known: &[Handle]) -> Result<usize, SpawnError> {
        let known: Vec<ProcessHandle> = known
            .iter()
            .filter_map(|handle| ProcessHandle::decode(handle).ok())
            .collect();
        let markers: HashSet<&str> = known.iter().map(|handle| handle.marker.as_str()).collect();
        let instance = self.settings.instance.clone();
        let mut left = blocking::PROCESSES
            .run(move || family::marks_of(INSTANCE_VARIABLE, &instance))
            .await?;
        left.retain(|marker| !markers.contains(marker.as_str()) && !self.children.knows(marker));
        // One that cannot be ended keeps neither the others nor the sockets from being seen to.
        let mut failed = None;
        let mut ended = 0;
        for marker in &left {
            tracing::warn!("ending a server that is left over from a crash");
            match stop::end_marked(marker, SWEEP_GRACE).await {
                Ok(()) => ended += 1,
                Err(error) => {
                    tracing::error!(error = %error, "could not end a server that is left over from a crash");
                    failed.get_or_insert(error);
                }
            }
        }
        let kept: HashSet<PathBuf> = known
            .into_iter()
            .flat_map(|one| [one.socket, one.credentials])
            .flatten()
            .collect();
        let settings = Arc::clone(&self.settings);
        blocking::FILES
            .run(move || {
                let dir = &settings.places.runtime_dir;
                let keep = |path: &Path| kept.contains(path);
                paths::remove_stale_sockets(dir, keep).and(credentials::remove_stale(
                    dir,
                    &settings.life,
                    keep,
                ))
            })
            .await?
            .map_err(|error| system("remove files that nobody uses".to_owned(), error))?;
        failed.map_or(Ok(ended), Err)
    }

    async fn forget(&self, server: &ServerRef) -> Result<(), SpawnError> {
        let log = self.settings.log(server);
        let doing = format!("remove the log of server {server}");
        blocking::FILES
            .run(move || log.remove())
            .await?
            .map_err(|error| system(doing, error))
    }

    fn environment(&self, handle: &Handle) -> Option<String> {
        let environment = ProcessHandle::decode(handle).ok()?.environment?;
        Some(environment.to_str()?.to_owned())
    }

    fn python(&self, handle: &Handle) -> Option<PythonInUse> {
        ProcessHandle::decode(handle)
            .ok()?
            .python
            .map(|python| *python)
    }

    async fn usage(&self, handle: &Handle) -> Option<Usage> {
        let all = self.usage_of_all(std::slice::from_ref(handle)).await;
        all.into_iter().next().flatten()
    }

    async fn usage_of_all(&self, handles: &[Handle]) -> Vec<Option<Usage>> {
        let known: Vec<_> = handles
            .iter()
            .map(|handle| ProcessHandle::decode(handle).ok())
            .collect();
        let looked = blocking::PROCESSES.run(move || usage::of_all(&known)).await;
        looked.unwrap_or_else(|_| vec![None; handles.len()])
    }

    async fn home_space(&self, user: &UserName) -> Option<HomeSpace> {
        let home = self.settings.home(&paths::safe_name(user.as_str()));
        // One look for each user at a time: a home that hangs takes one place only.
        let turn = self.looks.take(user.as_str()).await.ok()?;
        let look = move || {
            let _turn = turn;
            usage::of_home(&home)
        };
        blocking::HOMES.run(look).await.ok().flatten()
    }
}

impl ProcessSpawner {
    async fn wait_for(&self, handle: ProcessHandle) -> Result<Exit, SpawnError> {
        if let Some(mut exit) = self.children.find(&handle)
            && let Ok(exit) = exit.wait_for(Option::is_some).await
            && let Some(exit) = *exit
        {
            return Ok(exit);
        }
        let opened = handle
            .open()
            .map_err(|error| system(format!("look at process {}", handle.pid), error))?;
        let Some(pidfd) = opened else {
            return Ok(Exit::Unknown);
        };
        let watch = Watch::new(pidfd, self.settings.log_at(handle.log))
            .map_err(|error| system(format!("watch process {}", handle.pid), error))?;
        Ok(watch.until_exit().await)
    }
}

fn system(doing: String, source: io::Error) -> SpawnError {
    SpawnError::System { doing, source }
}
