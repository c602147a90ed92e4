//! Ways to start a hub: Lyceum, JupyterHub, or none because it runs already.

mod declared;
mod jupyterhub;
mod lyceum;
mod process;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use thiserror::Error;
use url::Url;

use crate::case::{Case, Target};
use crate::list::Profile;
use crate::single;
pub(crate) use jupyterhub::JupyterHub;
pub(crate) use lyceum::Lyceum;
pub(crate) use process::Process;

/// The token of the service that may do everything.
pub(crate) const ADMIN_TOKEN: &str = "conformance-admin-token-0123456789";
/// How long a hub may take until it answers.
const START: Duration = Duration::from_mins(1);
/// How long a hub may take to stop its users' servers and itself.
const SHUTDOWN: Duration = Duration::from_secs(15);
/// How much of a log is shown when a hub does not start.
const TAIL: usize = 3000;

/// Why there is no hub.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    #[error("could not write the files of {0}")]
    Files(String, #[source] io::Error),
    #[error("could not start {0}")]
    Program(String, #[source] io::Error),
    #[error("{hub} does not answer within {} s; the end of its log:\n{log}", START.as_secs())]
    Silent { hub: String, log: String },
    #[error("{hub} ended at its start; the end of its log:\n{log}")]
    Ended { hub: String, log: String },
    #[error("the address {0} cannot be reached like this: it has to be http://HOST[:PORT]/[PATH/]")]
    Address(String),
    #[error("the hub runs already, and cannot be started with the settings `{0}`")]
    Fixed(Profile),
}

/// A way to come by a hub with the settings of a profile.
pub(crate) trait Start: Sync {
    /// What to call the hub.
    fn name(&self) -> &'static str;

    /// Whether a hub with these settings can be had.
    fn has(&self, profile: Profile) -> bool;

    fn start(&self, profile: Profile) -> Result<Running, StartError>;
}

/// A hub that runs; it ends when this is dropped, if it was started here.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) target: Target,
    // In this order: the process ends before its folder goes.
    process: Option<Process>,
    _folder: Option<TempDir>,
}

impl Drop for Running {
    /// Asks a hub that was started here to end with its users' servers: otherwise Lyceum leaves them to its next start.
    fn drop(&mut self) {
        let Some(process) = &mut self.process else {
            return;
        };
        let case = Case::new(&self.target);
        let all = serde_json::json!({"proxy": true, "servers": true});
        // A case may have done so already: then nobody answers, but servers may still be stopping.
        let _ = case.admin().post("shutdown").json(&all).send();
        process.wait(SHUTDOWN);
    }
}

/// A hub that somebody else has started.
#[derive(Debug)]
pub(crate) struct AlreadyThere {
    pub(crate) url: String,
    pub(crate) admin_token: String,
}

impl Start for AlreadyThere {
    fn name(&self) -> &'static str {
        "the hub"
    }

    fn has(&self, profile: Profile) -> bool {
        profile == Profile::Main
    }

    fn start(&self, profile: Profile) -> Result<Running, StartError> {
        if profile != Profile::Main {
            return Err(StartError::Fixed(profile));
        }
        let wrong = || StartError::Address(self.url.clone());
        let url = Url::parse(&self.url).map_err(|_| wrong())?;
        let host = url
            .host_str()
            .filter(|_| url.scheme() == "http")
            .ok_or_else(wrong)?;
        let port = url.port_or_known_default().unwrap_or(80);
        let address = (host.trim_matches(['[', ']']), port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut found| found.next())
            .ok_or_else(wrong)?;
        let shown = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Running {
            target: Target {
                address,
                host: shown,
                base: url.path().trim_end_matches('/').to_owned(),
                admin_token: self.admin_token.clone(),
                salt: salt(),
            },
            process: None,
            _folder: None,
        })
    }
}

/// Where the hub puts its things, and what it is to be told.
#[derive(Debug)]
struct Room {
    folder: TempDir,
    log: PathBuf,
    hub: &'static str,
    /// The port for browsers.
    port: u16,
    /// The service `web`, which this process runs itself.
    web_port: u16,
    base: &'static str,
}

impl Room {
    fn new(hub: &'static str, logs: Option<&Path>, profile: Profile) -> Result<Self, StartError> {
        let failed = |error| StartError::Files(hub.to_owned(), error);
        let folder = tempfile::Builder::new()
            .prefix("conformance-")
            .tempdir()
            .map_err(failed)?;
        let log = match logs {
            Some(logs) => {
                fs::create_dir_all(logs).map_err(failed)?;
                logs.join(format!("{hub}-{profile}.log"))
            }
            None => folder.path().join("hub.log"),
        };
        Ok(Self {
            folder,
            log,
            hub,
            port: free_port().map_err(failed)?,
            web_port: single::echo_port().map_err(failed)?,
            base: if profile == Profile::Plain {
                "/jupyter"
            } else {
                ""
            },
        })
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf, StartError> {
        let path = self.folder.path().join(name);
        // Tokens are in there.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| StartError::Files(self.hub.to_owned(), error))?;
        Ok(path)
    }

    /// Waits until the hub that was started in here answers.
    fn running(self, mut process: Process) -> Result<Running, StartError> {
        let target = Target {
            address: SocketAddr::from(([127, 0, 0, 1], self.port)),
            host: format!("127.0.0.1:{}", self.port),
            base: self.base.to_owned(),
            admin_token: ADMIN_TOKEN.to_owned(),
            salt: salt(),
        };
        let hub = self.hub.to_owned();
        let end = Instant::now() + START;
        while !answers(&target) {
            let log = || tail(&self.log);
            if process.has_ended() {
                return Err(StartError::Ended { hub, log: log() });
            }
            if Instant::now() > end {
                return Err(StartError::Silent { hub, log: log() });
            }
            crate::case::pause(Duration::from_millis(20));
        }
        Ok(Running {
            target,
            process: Some(process),
            _folder: Some(self.folder),
        })
    }
}

/// Whether the API is there: also the proxy knows the hub then.
fn answers(target: &Target) -> bool {
    let case = Case::new(target);
    case.admin()
        .get("user")
        .send()
        .is_ok_and(|answer| answer.status() == 200)
}

/// Letters that make the names of this run its own.
fn salt() -> String {
    let number: u16 = rand::random();
    // Letters only: what follows is a number.
    format!("{number:04x}")
        .chars()
        .map(|digit| char::from(b'g' + u8::try_from(digit.to_digit(16).unwrap_or(0)).unwrap_or(0)))
        .collect()
}

/// A port of the loopback address that nobody listened on a moment ago, and that was not given out before.
fn free_port() -> io::Result<u16> {
    static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    loop {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.contains(&port) {
            given.push(port);
            return Ok(port);
        }
    }
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let begin = text.len().saturating_sub(TAIL);
    String::from_utf8_lossy(text.get(begin..).unwrap_or_default()).into_owned()
}
