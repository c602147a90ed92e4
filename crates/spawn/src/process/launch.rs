//! From a request to a running process: folders, environment, arguments, then the start itself.
//!
//! All of it blocks for milliseconds, and runs on a thread where that is allowed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lyceum_broker::python::JUPYTER_PROGRAMS;
use lyceum_core::lifecycle::Failure;
use lyceum_core::route::Upstream;
use lyceum_core::seams::StartRequest;
use rustix::fs::Access;
use rustix::process::Resource;

use super::children::Reservation;
use super::credentials::{self, Credentials};
use super::identity::ProcessHandle;
use super::logs::Log;
use super::profile::Own;
use super::{
    INSTANCE_VARIABLE, ProcessConfig, SERVER_VARIABLE, Settings, SocketKind, failure, family,
    paths, prefix,
};

/// The folders in which Jupyter's programs look for what belongs to them, with colons between them.
const JUPYTER_PATH: &str = "JUPYTER_PATH";
/// The port in the variables of a server that listens on a socket: it has to be Jupyter Server's default,
/// any other is refused beside a socket. Nobody listens on it.
const PORT_BESIDE_SOCKET: u16 = 8888;
/// How often a free port is looked for that was not given away a moment ago.
const PORT_TRIES: usize = 20;

/// A process that has just been started. Dropped before [`Launched::keep`], it is killed: the start was
/// given up meanwhile, and nobody else knows the process.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) handle: ProcessHandle,
    pub(super) upstream: Upstream,
    pub(super) log: Log,
    child: Option<Child>,
    pidfd: OwnedFd,
    _reservation: Reservation,
}

impl Launched {
    /// Opens the process once more, for whoever will watch it.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// Leaves the process to whoever watches it from now on.
    pub(super) fn keep(&mut self) {
        self.child = None;
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            kill(child, &self.handle.marker);
            if let Some(socket) = &self.handle.socket {
                let _ = paths::remove_file(socket);
            }
            if let Some(credentials) = &self.handle.credentials {
                let _ = credentials::remove(credentials);
            }
        }
    }
}

/// Kills a child that nobody is told of, with what it may have started already.
fn kill(mut child: Child, marker: &str) {
    let _ = child.kill();
    let _ = child.wait();
    family::signal_all(&family::marked(marker), rustix::process::Signal::KILL);
}

/// Starts a server's process.
pub(super) fn launch(
    settings: &Settings,
    request: &StartRequest,
    reservation: Reservation,
) -> Result<Launched, Failure> {
    let own = Own::of(settings, request)?;
    let user = paths::safe_name(request.server.user.as_str());
    let home = settings.home(&user);
    prepare_home(&home)?;
    let working_dir = working_dir(settings, &user, &home)?;
    let place = Place::choose(&own, request)?;
    let environment = environment(&own, request, &home, &place);
    let search = environment.get("PATH").map_or("", String::as_str);
    let program = find_program(&own.config.command, search)?;
    let log = settings.log(&request.server);
    let output = open_log(settings, &log)?;

    let arguments = arguments(&own.config, &place);
    let served_from = prefix::of_start(settings, &program, &arguments, &environment);

    let mut command = Command::new(&program);
    command
        .args(&arguments)
        .env_clear()
        .envs(&environment)
        .current_dir(&working_dir)
        .stdin(Stdio::null())
        .stdout(output.0)
        .stderr(output.1);
    detach(&mut command, settings.places.open_files);
    let child = command
        .spawn()
        .map_err(|error| failure::of_spawn(&program, &error))?;

    let marker = request.marker.clone();
    let socket = place.socket().map(Path::to_owned);
    let described =
        ProcessHandle::of_child(child.id().cast_signed(), marker, log.path.clone(), socket)
            .and_then(|mut handle| {
                handle.environment = served_from;
                handle.python = own.python.clone().map(Box::new);
                let pidfd = handle.open()?;
                Ok((pidfd.ok_or(io::ErrorKind::NotFound)?, handle))
            });
    match described {
        Ok((pidfd, mut handle)) => {
            handle.credentials = place.keep_credentials();
            Ok(Launched {
                handle,
                upstream: place.upstream(),
                log,
                child: Some(child),
                pidfd,
                _reservation: reservation,
            })
        }
        Err(error) => {
            kill(child, &request.marker);
            Err(failure::of_system("look at the server's process", &error))
        }
    }
}

/// Makes the process lead a session of its own, with default signals, its own limit of open files, and
/// without ours.
#[expect(
    unsafe_code,
    reason = "the standard library has no safe way to start a process in a session of its own"
)]
pub(super) fn detach(command: &mut Command, open_files: Option<u64>) {
    use nix::sys::signal::{SigHandler, Signal, signal};

    let in_child = move || {
        rustix::process::setsid()?;
        if let Some(wanted) = open_files {
            let mut limit = rustix::process::getrlimit(Resource::Nofile);
            limit.current = Some(limit.maximum.map_or(wanted, |most| wanted.min(most)));
            rustix::process::setrlimit(Resource::Nofile, limit)?;
        }
        // Signals that were ignored stay so across exec; a shell ignores SIGINT for what it runs in the
        // background, and a notebook's interrupt would do nothing. (KILL and STOP refuse; that is fine.)
        for number in Signal::iterator() {
            // SAFETY: setting the default action runs no code of ours; `signal` is async-signal-safe.
            let _ = unsafe { signal(number, SigHandler::SigDfl) };
        }
        // Every file that we open is closed on exec anyhow; this covers what we have inherited ourselves.
        // SAFETY: a plain system call that only sets flags on this process's own descriptors. It cannot
        // harm the pipe by which the standard library reports a failed exec: that one is closed on exec too.
        unsafe {
            nix::libc::syscall(
                nix::libc::SYS_close_range,
                3,
                nix::libc::c_uint::MAX,
                nix::libc::CLOSE_RANGE_CLOEXEC,
            );
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only: it neither allocates nor locks
    // (an error is a bare number), so that other threads' state at the fork does not matter.
    unsafe {
        command.pre_exec(in_child);
    }
}

/// Where a new server will listen.
#[derive(Debug)]
enum Place {
    Socket(PathBuf),
    Port(u16),
    /// A port with TLS.
    Secure(u16, Credentials),
}

impl Place {
    fn choose(own: &Own<'_>, request: &StartRequest) -> Result<Self, Failure> {
        let settings = own.settings;
        let dir = &settings.places.runtime_dir;
        let port =
            || free_port(settings).map_err(|error| failure::of_system("find a free port", &error));
        if let Some(tls) = &request.tls {
            let credentials = paths::secure_dir(dir)
                .and_then(|()| Credentials::write(dir, &settings.life, tls))
                .map_err(|error| failure::of_file("the folder for certificates", dir, &error))?;
            return Ok(Self::Secure(port()?, credentials));
        }
        let socket = match own.config.socket {
            SocketKind::Unix => true,
            SocketKind::Tcp => false,
            SocketKind::Auto => runs_jupyter(&own.config),
        };
        if socket {
            paths::secure_dir(dir)
                .map_err(|error| failure::of_file("the folder for sockets", dir, &error))?;
            Ok(Self::Socket(paths::new_socket(dir)))
        } else {
            port().map(Self::Port)
        }
    }

    fn socket(&self) -> Option<&Path> {
        match self {
            Self::Socket(path) => Some(path),
            Self::Port(_) | Self::Secure(..) => None,
        }
    }

    fn port(&self) -> u16 {
        match self {
            Self::Socket(_) => PORT_BESIDE_SOCKET,
            Self::Port(port) | Self::Secure(port, _) => *port,
        }
    }

    fn scheme(&self) -> &'static str {
        match self {
            Self::Socket(_) | Self::Port(_) => "http",
            Self::Secure(..) => "https",
        }
    }

    fn credentials(&self) -> Option<&Credentials> {
        match self {
            Self::Socket(_) | Self::Port(_) => None,
            Self::Secure(_, credentials) => Some(credentials),
        }
    }

    /// Leaves the files to the server, and to whoever stops it.
    fn keep_credentials(&self) -> Option<PathBuf> {
        self.credentials().map(Credentials::keep)
    }

    fn upstream(&self) -> Upstream {
        match self {
            Self::Socket(path) => Upstream::Unix(path.clone()),
            Self::Port(port) => Upstream::Tcp {
                host: "127.0.0.1".to_owned(),
                port: *port,
            },
            Self::Secure(port, credentials) => Upstream::Internal {
                host: "127.0.0.1".to_owned(),
                port: *port,
                name: credentials.server_name().to_owned(),
            },
        }
    }
}

fn runs_jupyter(config: &ProcessConfig) -> bool {
    config
        .command
        .first()
        .and_then(|command| Path::new(command).file_name())
        .is_some_and(|name| JUPYTER_PROGRAMS.iter().any(|program| name == *program))
}

/// Finds a port that is free now, and was not given to another server that may not listen yet.
fn free_port(settings: &Settings) -> io::Result<u16> {
    let mut port = 0;
    for _ in 0..PORT_TRIES {
        port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if settings.take_port(port) {
            break;
        }
    }
    Ok(port)
}

fn prepare_home(home: &Path) -> Result<(), Failure> {
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    paths::make_private_dir(home)
        .and_then(|()| Ok(rustix::fs::access(home, writable)?))
        .map_err(|error| failure::of_file("the home folder", home, &error))
}

fn working_dir(settings: &Settings, user: &str, home: &Path) -> Result<PathBuf, Failure> {
    let dir = home.join(settings.config.working_dir.replace("{username}", user));
    let usable = fs::metadata(&dir).and_then(|metadata| {
        if !metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::NotADirectory));
        }
        Ok(rustix::fs::access(&dir, Access::EXEC_OK)?)
    });
    match usable {
        Ok(()) => Ok(dir),
        Err(error) => Err(failure::no_working_dir(&dir, &error)),
    }
}

fn open_log(settings: &Settings, log: &Log) -> Result<(fs::File, fs::File), Failure> {
    paths::secure_dir(&settings.log_dir())
        .and_then(|()| log.renew())
        .and_then(|file| Ok((file.try_clone()?, file)))
        .map_err(|error| failure::of_file("the server's log", &log.path, &error))
}

/// Computes the whole environment of a server; later entries win.
fn environment(
    own: &Own<'_>,
    request: &StartRequest,
    home: &Path,
    place: &Place,
) -> BTreeMap<String, String> {
    let config = &own.config;
    let user = request.server.user.as_str();
    let shell = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .find(|shell| Path::new(shell).exists())
        .unwrap_or("/bin/sh");
    let text = |value: &str| value.to_owned();
    let mut all = BTreeMap::from([(text("LANG"), text("C.UTF-8"))]);
    for name in &config.env_keep {
        if let Ok(value) = std::env::var(name) {
            all.insert(name.clone(), value);
        }
    }
    all.extend([
        (text("HOME"), home.display().to_string()),
        (text("USER"), text(user)),
        (text("LOGNAME"), text(user)),
        (text("SHELL"), text(shell)),
        (text("PATH"), own.search_path()),
    ]);
    if let Some(python) = &own.python {
        let prefix = python.prefix.display().to_string();
        all.insert(text(lyceum_broker::python::VARIABLE), prefix);
    }
    let kept_path = all.get(JUPYTER_PATH).cloned();
    all.extend(request.environment.clone());
    all.insert(
        text("JUPYTERHUB_SERVICE_URL"),
        format!(
            "{}://127.0.0.1:{}{}",
            place.scheme(),
            place.port(),
            request.service_prefix
        ),
    );
    if let Some(credentials) = place.credentials() {
        all.extend(credentials.variables());
    }
    if !config.default_url.is_empty() {
        let url = config
            .default_url
            .replace("{username}", &lyceum_core::escape::path_segment(user));
        all.insert(text("JUPYTERHUB_DEFAULT_URL"), url);
    }
    all.extend(config.environment.clone());
    // Where Jupyter's programs look: the hub's folder first, then those that were configured.
    let configured = config.environment.get(JUPYTER_PATH).or(kept_path.as_ref());
    if let (Some(first), Some(then)) = (request.environment.get(JUPYTER_PATH), configured) {
        all.insert(text(JUPYTER_PATH), format!("{first}:{then}"));
    }
    // Last, as nobody may hide a process from us.
    all.insert(text(SERVER_VARIABLE), request.marker.clone());
    all.insert(text(INSTANCE_VARIABLE), own.settings.instance.clone());
    all
}

/// The arguments after the program. Everybody on the machine can read them: nothing secret is here.
fn arguments(config: &ProcessConfig, place: &Place) -> Vec<String> {
    let mut all: Vec<String> = config.command.iter().skip(1).cloned().collect();
    if let Some(socket) = place.socket() {
        all.push(format!("--ServerApp.sock={}", socket.display()));
        all.push("--ServerApp.sock_mode=0600".to_owned());
    }
    // Without it, Jupyter Server ends at once with exit status 1.
    if runs_jupyter(config) && rustix::process::geteuid().is_root() {
        all.push("--allow-root".to_owned());
    }
    all.extend(config.args.iter().cloned());
    all
}

/// Finds the program as a shell would, but tells a missing one from one that may not be run.
pub(super) fn find_program(command: &[String], search: &str) -> Result<PathBuf, Failure> {
    let name = command.first().map_or("", String::as_str);
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        search
            .split(':')
            .filter(|dir| dir.starts_with('/'))
            .map(|dir| Path::new(dir).join(name))
            .collect()
    };
    let mut forbidden = None;
    for candidate in candidates {
        match fs::metadata(&candidate) {
            Ok(metadata) if metadata.is_file() => {
                if rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
                    return Ok(candidate);
                }
                forbidden.get_or_insert(candidate);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                forbidden.get_or_insert(candidate);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(match forbidden {
        Some(program) => failure::not_executable(&program),
        None => failure::command_missing(name, search),
    })
}
