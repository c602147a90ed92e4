//! The seams: what the hub asks of the outside, as object-safe traits with values in and out.
//!
//! No method may be called "only after" another: what must be remembered is a value that the caller keeps.

mod credentials;
mod python;
mod report;
mod service;
mod usage;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::lifecycle::Failure;
use crate::names::{GroupName, ServerRef, UserName};
use crate::route::{Route, RouteSpec, RouteStatus, Upstream};
use crate::secret::Secret;

pub use self::credentials::ServerCredentials;
pub use self::python::{PythonInUse, PythonNow, Pythons};
pub use self::report::{Gauge, Notice, Reporter};
pub use self::service::{
    ServiceLaunch, ServiceLog, ServiceProcess, ServiceRunner, ServiceStartError,
};
pub use self::usage::{HomeSpace, Usage};

// --- Authenticator -----------------------------------------------------------------------------

/// Finds out who somebody is. Who is *allowed* in is decided by the hub, never here.
#[async_trait]
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// The method's name in configuration and logs, such as `shared-password`.
    fn kind(&self) -> &'static str;

    /// Takes what a person entered, and answers with the next step.
    ///
    /// May take seconds (a password hash, a directory server); the caller sets the time limit.
    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError>;
}

/// What a person entered on the login form.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The user name as typed, trimmed of outer white space.
    pub username: String,
    /// The password, exactly as typed.
    pub password: Secret<String>,
    /// Where the attempt comes from, as text; empty if unknown.
    pub client_addr: String,
}

/// What happens next in a login. (Redirects and further forms join with the methods that need them.)
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Step {
    /// We know who it is.
    Identity(Identity),
    /// The entered data are not right. The reason is for the log; people see one sentence for all reasons.
    Refused(&'static str),
    /// The entered data are right, and yet nobody gets in with them. People see why, as only who has the right data
    /// is told.
    Closed(ClosedAccount),
}

/// Why somebody whose data are right is not let in by what knows the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedAccount {
    /// The password has to be changed first, elsewhere.
    PasswordExpired,
    /// The account has expired, is locked, or is closed at this hour.
    NotUsable,
}

/// Who somebody is, according to an authenticator.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The user's name, before normalization.
    pub name: String,
    /// Whether the person is an administrator; `None` leaves the flag as it is.
    pub admin: Option<bool>,
    /// The groups, if the login method tells of any. They always count for the rules of who may log in, and replace
    /// those of the hub where the configuration lets the login method manage groups.
    pub groups: Option<Vec<GroupName>>,
    /// What clients may know of the user (`user_info` in the API).
    pub user_info: Option<Map<String, Value>>,
    /// What is kept for later, such as tokens of other sites: encrypted, where that is switched on. `None` forgets
    /// what was kept before.
    pub auth_state: Option<Map<String, Value>>,
}

/// Why an authenticator could not tell; never that the password is wrong.
#[derive(Debug, Error)]
pub enum AuthError {
    /// What stands behind the authenticator does not answer.
    #[error("the login method `{kind}` is not available: {reason}")]
    Unavailable {
        /// The method.
        kind: &'static str,
        /// What is wrong, for the log.
        reason: String,
    },
}

// --- Spawner -----------------------------------------------------------------------------------

/// Starts, watches and stops users' servers. Keeps nothing: what must be known later is in the [`Handle`].
#[async_trait]
pub trait Spawner: fmt::Debug + Send + Sync {
    /// The spawner's name in configuration and logs, such as `process`.
    fn kind(&self) -> &'static str;

    /// Starts a server and returns when its process runs; it need not answer yet.
    ///
    /// Cancelled by dropping, so `progress` is told the handle as soon as there is something to stop.
    async fn start(
        &self,
        request: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure>;

    /// Tells whether the server of this handle runs. A process that merely has the same number is not it.
    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError>;

    /// Waits until the server has ended, however long that takes, and tells how; returns at once if it has.
    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError>;

    /// Ends the server and everything that it started; succeeds if there was nothing to end.
    async fn stop(&self, handle: &Handle, how: StopMode) -> Result<(), SpawnError>;

    /// Gives the last lines that the server wrote, oldest first, at most `lines`; empty if there are none.
    async fn log_tail(&self, server: &ServerRef, lines: usize) -> Vec<String>;

    /// Ends servers that carry this hub's mark but are not among `known`: left over from a crash between
    /// starting a process and writing it down. Returns how many there were.
    async fn sweep(&self, known: &[Handle]) -> Result<usize, SpawnError>;

    /// Removes what is kept for a server that is deleted for ever (its log, its socket's folder).
    async fn forget(&self, server: &ServerRef) -> Result<(), SpawnError>;

    /// Names the environment that the server of this handle was started from, if its static files may be
    /// answered without the server; see [`Route::ENVIRONMENT`]. Looks at the handle only.
    fn environment(&self, handle: &Handle) -> Option<String> {
        let _ = handle;
        None
    }

    /// Tells from which Python environment the server of this handle was started, if it is one of the
    /// configuration's. Looks at the handle only.
    fn python(&self, handle: &Handle) -> Option<PythonInUse> {
        let _ = handle;
        None
    }

    /// Tells what the server of this handle uses of the machine; `None` if nobody can say, or it does not run.
    ///
    /// The caller sets the time limit, and asks seldom.
    async fn usage(&self, handle: &Handle) -> Option<Usage> {
        let _ = handle;
        None
    }

    /// Tells what each of many servers uses, in their order: for spawners that find that out with one look.
    async fn usage_of_all(&self, handles: &[Handle]) -> Vec<Option<Usage>> {
        let mut all = Vec::with_capacity(handles.len());
        for handle in handles {
            all.push(self.usage(handle).await);
        }
        all
    }

    /// Tells how much space a user's home has; `None` if nobody can say, or there is no home yet.
    ///
    /// May hang as long as a network file system does; the caller sets the time limit.
    async fn home_space(&self, user: &UserName) -> Option<HomeSpace> {
        let _ = user;
        None
    }
}

/// What a spawner is asked to start.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Which server.
    pub server: ServerRef,
    /// A random text that is new for each start; the process carries it, so that it can be known again.
    pub marker: String,
    /// The environment that the hub decides (the `JUPYTERHUB_*` variables, without `JUPYTERHUB_SERVICE_URL`,
    /// which the spawner adds, as it alone knows where the server shall listen).
    pub environment: BTreeMap<String, String>,
    /// The URL path below which the server answers, with slashes at both ends.
    pub service_prefix: String,
    /// What the user chose at start.
    pub user_options: Map<String, Value>,
    /// The user's groups, as the hub knows them.
    pub groups: Vec<GroupName>,
    /// With what the server speaks TLS, if it is to: the spawner hands it over by the variables
    /// `JUPYTERHUB_SSL_KEYFILE`, `JUPYTERHUB_SSL_CERTFILE` and `JUPYTERHUB_SSL_CLIENT_CA`, which name files that the
    /// server alone can read, and gives back an [`Upstream::Internal`].
    pub tls: Option<ServerCredentials>,
}

/// What a started server is known by: data that survive a restart of Lyceum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub Value);

/// A server that has been started.
#[derive(Debug, Clone, PartialEq)]
pub struct Started {
    /// Where it will answer.
    pub upstream: Upstream,
    /// How it is known later.
    pub handle: Handle,
}

/// Is told of a start's progress, by the spawner.
pub trait StartProgress: Send + Sync {
    /// There is now something to stop.
    fn handle(&self, handle: &Handle);
    /// Something worth telling the waiting person; `percent` is 1 to 99.
    fn say(&self, percent: u8, message: &str);
    /// An account of the machine was made for the server's owner, or a home folder, or both.
    fn made(&self, made: &MadeForUser) {
        let _ = made;
    }
}

/// What was made on the machine for a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeForUser {
    /// The name of the account, if that was made.
    pub account: Option<String>,
    /// The home folder, if that was made.
    pub home: Option<PathBuf>,
    /// The number of the account.
    pub uid: u32,
}

/// Whether a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It runs.
    Running,
    /// It has ended.
    Exited(Exit),
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// By the system, because the memory that the server may use was used up.
    OutOfMemory,
    /// Somebody has stopped it, past Lyceum: by the system's own commands.
    StoppedFromOutside,
    /// Nobody can say: the process was not our child any more.
    Unknown,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory => f.write_str("its memory limit used up"),
            Self::StoppedFromOutside => f.write_str("a stop from outside"),
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}

/// How to stop a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ask first, then insist: each of the two polite signals is given this long.
    Graceful(Duration),
    /// At once.
    Now,
}

/// Why a spawner could not do its work on a server that exists.
#[derive(Debug, Error)]
pub enum SpawnError {
    /// The handle is not one of this spawner's.
    #[error("the stored handle of the server is not one of spawner `{kind}`")]
    ForeignHandle {
        /// The spawner that was asked.
        kind: &'static str,
    },
    /// The operating system refused.
    #[error("could not {doing}")]
    System {
        /// What was being done, such as `signal process 12`.
        doing: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The server is still there after every signal.
    #[error("the server did not end within {0:?}, even after it was killed")]
    WontEnd(Duration),
}

// --- Routes ------------------------------------------------------------------------------------

/// The table of routes: the gateway's own, or an external proxy's.
#[async_trait]
pub trait Routes: fmt::Debug + Send + Sync {
    /// Adds a route, or replaces the one with the same spec. Requests that come after the return see it.
    async fn put(&self, route: Route) -> Result<(), RoutesError>;
    /// Removes a route; succeeds if there was none. Connections that are open stay.
    async fn remove(&self, spec: &RouteSpec) -> Result<(), RoutesError>;
    /// Lists all routes with their last activity.
    async fn list(&self) -> Result<Vec<RouteStatus>, RoutesError>;
}

/// Why the table of routes could not be changed or read.
#[derive(Debug, Error)]
#[error("the proxy did not accept the change of routes: {0}")]
pub struct RoutesError(pub String);
