//! What client and broker say to each other: one question and one answer on each connection.
//!
//! An answer that would be longer than any message, the list of all servers, comes in several messages, of which each but
//! the last says that there are more.
//!
//! A message is its length (four bytes, the highest first) and so many bytes of JSON, at most [`MAX_MESSAGE`]. Unknown
//! fields, unknown verbs and anything behind the message are refused. An answer to a start or a look may carry a
//! descriptor: that of the server's process, for waiting until it ends. A client that closes the connection before
//! it has the answer to a start does not want the server any more.

pub mod frame;
pub(crate) mod transport;

use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::names::{GroupName, ServerName, UserName};
use lyceum_core::route::Upstream;
use lyceum_core::seams::{Exit, PythonInUse};
use lyceum_core::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::variables::Variables;

/// The version of this protocol. A broker answers its own and no other.
pub const VERSION: u32 = 2;
/// The most bytes that a message may have.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// A question with its version.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The asker's version of the protocol.
    pub version: u32,
    /// What is asked.
    pub request: Request,
}

/// What the broker can be asked: a closed list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Which broker this is, and what it cannot do here.
    Status {},
    /// Finds out by PAM whether this is somebody's password, and whether the account may be used.
    Authenticate {
        /// The name as normalized by the hub.
        user: UserName,
        /// The password.
        #[serde(with = "secret_text")]
        password: Secret<String>,
        /// Where the person is, for PAM's own log; empty if unknown.
        client_addr: String,
    },
    /// Finds the account under which a user's servers run, and makes it if the configuration says so.
    EnsureAccount {
        /// The user.
        user: UserName,
    },
    /// Starts a server.
    Start(StartServer),
    /// Tells how a server is. Carries a descriptor of its process if it runs.
    Inspect(ServerKey),
    /// Ends a server with everything that it has started, and returns when it has ended.
    Stop {
        /// Which.
        key: ServerKey,
        /// How long it is given after each polite signal; `None` kills at once.
        grace: Option<Duration>,
    },
    /// Sends a signal to a server's main process.
    Signal {
        /// Which.
        key: ServerKey,
        /// One of a short list of signals.
        signal: i32,
    },
    /// Gives the last lines that a server wrote.
    Log {
        /// Whose.
        user: UserName,
        /// Which.
        server: ServerName,
        /// How many lines, at most 1000.
        lines: u32,
    },
    /// Lists all servers that run here.
    List {},
    /// Removes what is kept for a server that is deleted for ever, if it does not run.
    Forget {
        /// Whose.
        user: UserName,
        /// Which.
        server: ServerName,
    },
    /// Tells how much space a user's home has and may have.
    Home {
        /// Whose.
        user: UserName,
    },
}

/// Which start of which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerKey {
    /// Whose.
    pub user: UserName,
    /// Which of that user's servers.
    pub server: ServerName,
    /// The start's own random text; another start of the same server is another one.
    pub marker: String,
}

/// A server that is to be started. Command, account, limits and everything else follow from the configuration.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartServer {
    /// Which start of which server.
    pub key: ServerKey,
    /// The variables that the hub decides. Names that are not on the list are refused.
    pub environment: Variables,
    /// The URL path below which the server answers, with slashes at both ends.
    pub service_prefix: String,
    /// The profile that the user chose, by its name in the configuration.
    pub profile: Option<String>,
    /// The hub's groups of the user, as the hub says.
    pub groups: Vec<GroupName>,
    /// With what the server speaks TLS, if it is to.
    pub tls: Option<TlsFiles>,
}

/// What a server needs to speak TLS.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The private key, PEM.
    #[serde(with = "secret_text")]
    pub key: Secret<String>,
    /// Its certificate with those above it, PEM.
    pub certificate: String,
    /// Whom the server may believe, PEM.
    pub client_ca: String,
    /// The name in the certificate.
    pub server_name: String,
}

/// An answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// It was done, and there is nothing to tell.
    Done {},
    /// Which broker this is.
    Status(Status),
    /// It is this account's password, and the account may be used.
    Authenticated(Account),
    /// The account of a user.
    Account {
        /// The account.
        account: Account,
        /// Whether it was made just now.
        created: bool,
    },
    /// A server was started.
    Started(StartedServer),
    /// How a server is.
    State(ServerState),
    /// The last lines of a server, oldest first.
    Log(Vec<String>),
    /// The servers that run, or some of them.
    Servers {
        /// Which.
        servers: Vec<RunningServer>,
        /// Whether the next message has more.
        more: bool,
    },
    /// Space of a home.
    Home(HomeSpace),
    /// It was not done.
    Refused(Refusal),
}

/// Which broker answers, and what it can do here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Lyceum's version.
    pub version: String,
    /// `systemd` or `process`, or `none` if it starts no servers.
    pub engine: String,
    /// What the configuration asks for and this machine cannot give, a sentence each.
    pub missing: Vec<String>,
}

/// A server that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartedServer {
    /// Where it will answer.
    pub upstream: Upstream,
    /// The account under which it runs.
    pub uid: u32,
    /// The name of its unit or control group, for administrators.
    pub unit: String,
    /// The Python environment whose static files may be answered for it.
    pub environment: Option<PathBuf>,
    /// The Python environment of the configuration that it was started from.
    pub python: Option<PythonInUse>,
    /// What was made for its user.
    #[serde(default)]
    pub made: Made,
}

/// What was made for a user since the last start of one of their servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    /// The name of the account, if that was made.
    pub account: Option<String>,
    /// The home folder, if that was made.
    pub home: Option<PathBuf>,
}

/// How a server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ServerState {
    /// It runs.
    Running(Usage),
    /// It has ended, or there never was such a start.
    Ended {
        /// How.
        exit: Exit,
    },
}

/// What a server uses of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// The most bytes of memory that it may use.
    pub memory_limit: Option<u64>,
    /// Microseconds of processor time since its start.
    pub cpu_micros: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
    /// How often the system has ended one of its processes because the memory was used up.
    pub out_of_memory: u64,
}

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningServer {
    /// Which start of which server.
    pub key: ServerKey,
    /// The name of its unit or control group.
    pub unit: String,
    /// What it uses.
    pub usage: Usage,
}

/// Space of a home folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HomeSpace {
    /// Bytes that the user's files take, where the file system counts them for each user.
    pub used: Option<u64>,
    /// The most bytes that the user may have there.
    pub quota: Option<u64>,
    /// Bytes that are free on the file system.
    pub free: Option<u64>,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The kind of refusal, for programs.
    pub kind: RefusalKind,
    /// What happened, one sentence; no secret is in it.
    pub message: String,
    /// What to do next, one sentence; may be empty.
    pub hint: String,
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The peer is nobody who may ask.
    Peer,
    /// The question cannot be understood.
    Protocol,
    /// The question is of another version of the protocol: program and broker are of different versions.
    Version,
    /// The configuration does not allow it.
    Policy,
    /// The configuration cannot be followed on this machine, so that it is nobody's own fault.
    Configuration,
    /// The password is wrong, or there is no such account; which of both is not told.
    Credentials,
    /// The password is right, but the account may not be used: expired, locked, closed for the hour.
    AccountClosed,
    /// The password is right, but has to be changed first.
    PasswordExpired,
    /// There is no account of this name.
    NoAccount,
    /// Such a server runs already.
    Exists,
    /// Something that it needs (a directory server, a home on the network, the disk) does not answer in time.
    Slow,
    /// The machine refused: no memory, no process, no space.
    System,
    /// The command of the server does not exist or may not be run.
    CommandMissing,
    /// A mistake of ours.
    Internal,
}

impl Refusal {
    /// Makes a refusal; `hint` may be empty.
    pub fn new(kind: RefusalKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// The configuration does not allow it.
    pub(crate) fn policy(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(RefusalKind::Policy, message, hint)
    }

    /// The question cannot be understood.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Protocol, message, "")
    }

    /// The machine refused.
    pub(crate) fn system(doing: &str, error: &std::io::Error) -> Self {
        Self::new(
            RefusalKind::System,
            format!("The broker could not {doing}: {error}."),
            "See `journalctl -u lyceum-broker`.",
        )
    }
}

impl Request {
    /// The verb, for the log.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Status {} => "status",
            Self::Authenticate { .. } => "authenticate",
            Self::EnsureAccount { .. } => "ensure-account",
            Self::Start(_) => "start",
            Self::Inspect(_) => "inspect",
            Self::Stop { .. } => "stop",
            Self::Signal { .. } => "signal",
            Self::Log { .. } => "log",
            Self::List {} => "list",
            Self::Forget { .. } => "forget",
            Self::Home { .. } => "home",
        }
    }

    /// Whom it is about, if anybody.
    pub fn user(&self) -> Option<&UserName> {
        match self {
            Self::Status {} | Self::List {} => None,
            Self::Start(start) => Some(&start.key.user),
            Self::Inspect(key) | Self::Stop { key, .. } | Self::Signal { key, .. } => {
                Some(&key.user)
            }
            Self::Authenticate { user, .. }
            | Self::EnsureAccount { user }
            | Self::Log { user, .. }
            | Self::Forget { user, .. }
            | Self::Home { user } => Some(user),
        }
    }
}

/// A text that is secret, as it is on the wire.
pub(crate) mod secret_text {
    use lyceum_core::secret::Secret;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        secret: &Secret<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Secret<String>, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}
