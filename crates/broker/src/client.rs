//! The client: what `lyceum serve` asks the broker, with a time limit for each question.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_core::names::{ServerName, UserName};
use lyceum_core::secret::Secret;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::account::Account;
use crate::protocol::{
    Answer, HomeSpace, Question, Refusal, RefusalKind, Request, RunningServer, ServerKey,
    ServerState, StartServer, StartedServer, Status, VERSION, frame, transport,
};

/// How long the broker may take to answer what it does by itself.
const SHORT: Duration = Duration::from_secs(20);
/// How long it may take for what depends on directory servers and homes, or is about all servers.
const LONG: Duration = Duration::from_secs(90);
/// What is added to a stop's own time: two signals, the kill, and looking whether it worked.
const AFTER_STOP: Duration = Duration::from_secs(30);
/// How long a question of another version waits before it is asked again: an upgrade may be under way.
const UPGRADE_PAUSE: Duration = Duration::from_secs(2);

/// The broker of this machine, by the path of its socket. Keeps no connection.
#[derive(Debug, Clone)]
pub struct Broker {
    path: PathBuf,
}

/// Why the broker gave no answer, or a refusal.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// Nobody listens there.
    #[error(
        "the broker does not run (nobody listens at {path}); start it with `systemctl start lyceum-broker.socket`"
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error(
        "the broker has ended the connection without an answer; `journalctl -u lyceum-broker` may say why"
    )]
    Lost(#[source] io::Error),
    /// It did not answer in time.
    #[error("the broker has not answered within {} s", .0.as_secs())]
    Slow(Duration),
    /// What it says cannot be understood.
    #[error(
        "the broker's answer cannot be understood; after an upgrade, restart it with `systemctl restart lyceum-broker.service`"
    )]
    Answer,
    /// It refuses.
    #[error("the broker refuses: {0}")]
    Refused(#[source] Refusal),
}

impl Broker {
    /// The broker that listens at this path. Nothing is asked yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The path of its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks which broker this is, and what it cannot do here.
    pub async fn status(&self) -> Result<Status, BrokerError> {
        match self.ask(Request::Status {}, SHORT).await? {
            (Answer::Status(status), _) => Ok(status),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Asks whether this is somebody's password, and gives the account.
    pub async fn authenticate(
        &self,
        user: &UserName,
        password: &Secret<String>,
        client_addr: &str,
    ) -> Result<Account, BrokerError> {
        let request = Request::Authenticate {
            user: user.clone(),
            password: password.clone(),
            client_addr: client_addr.to_owned(),
        };
        match self.ask(request, LONG).await? {
            (Answer::Authenticated(account), _) => Ok(account),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Finds the account of a user, or makes it where that is allowed; tells whether it was made just now.
    pub async fn ensure_account(&self, user: &UserName) -> Result<(Account, bool), BrokerError> {
        let request = Request::EnsureAccount { user: user.clone() };
        match self.ask(request, LONG).await? {
            (Answer::Account { account, created }, _) => Ok((account, created)),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Starts a server, and gives a descriptor of its process. If this is dropped, the start is called off.
    pub async fn start(&self, start: StartServer) -> Result<(StartedServer, OwnedFd), BrokerError> {
        match self.ask(Request::Start(start), LONG).await? {
            (Answer::Started(started), Some(process)) => Ok((started, process)),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Asks how a server is; gives a descriptor of its process if it runs.
    pub async fn inspect(
        &self,
        key: &ServerKey,
    ) -> Result<(ServerState, Option<OwnedFd>), BrokerError> {
        match self.ask(Request::Inspect(key.clone()), SHORT).await? {
            (Answer::State(state), process) => Ok((state, process)),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Ends a server and waits for its end; `None` kills it at once.
    pub async fn stop(&self, key: &ServerKey, grace: Option<Duration>) -> Result<(), BrokerError> {
        let request = Request::Stop {
            key: key.clone(),
            grace,
        };
        let limit = grace.unwrap_or_default().saturating_mul(2) + AFTER_STOP;
        self.done(request, limit).await
    }

    /// Sends a signal to a server's main process.
    pub async fn signal(&self, key: &ServerKey, signal: i32) -> Result<(), BrokerError> {
        let request = Request::Signal {
            key: key.clone(),
            signal,
        };
        self.done(request, SHORT).await
    }

    /// Gives the last lines that a server wrote, oldest first.
    pub async fn log(
        &self,
        user: &UserName,
        server: &ServerName,
        lines: u32,
    ) -> Result<Vec<String>, BrokerError> {
        let request = Request::Log {
            user: user.clone(),
            server: server.clone(),
            lines,
        };
        match self.ask(request, SHORT).await? {
            (Answer::Log(lines), _) => Ok(lines),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Lists the servers that run.
    pub async fn list(&self) -> Result<Vec<RunningServer>, BrokerError> {
        match self.ask(Request::List {}, LONG).await? {
            (Answer::Servers { servers, .. }, _) => Ok(servers),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Removes what is kept for a server that does not run and never will again.
    pub async fn forget(&self, user: &UserName, server: &ServerName) -> Result<(), BrokerError> {
        let request = Request::Forget {
            user: user.clone(),
            server: server.clone(),
        };
        self.done(request, SHORT).await
    }

    /// Tells how much space a user's home has and may have.
    pub async fn home(&self, user: &UserName) -> Result<HomeSpace, BrokerError> {
        let request = Request::Home { user: user.clone() };
        match self.ask(request, SHORT).await? {
            (Answer::Home(space), _) => Ok(space),
            _ => Err(BrokerError::Answer),
        }
    }

    async fn done(&self, request: Request, limit: Duration) -> Result<(), BrokerError> {
        match self.ask(request, limit).await? {
            (Answer::Done {}, _) => Ok(()),
            _ => Err(BrokerError::Answer),
        }
    }

    /// Asks, and once more if the broker is just being replaced by one of this version.
    async fn ask(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<(Answer, Option<OwnedFd>), BrokerError> {
        let question = Question {
            version: VERSION,
            request,
        };
        let bytes = frame::encode(&question).map_err(|_| {
            BrokerError::Refused(Refusal::protocol(
                "The question is too long for the broker.",
            ))
        })?;
        let mut answer = self.ask_within(&bytes, limit).await;
        if matches!(&answer, Err(BrokerError::Refused(refusal)) if refusal.kind == RefusalKind::Version)
        {
            tokio::time::sleep(UPGRADE_PAUSE).await;
            answer = self.ask_within(&bytes, limit).await;
        }
        answer
    }

    async fn ask_within(
        &self,
        question: &[u8],
        limit: Duration,
    ) -> Result<(Answer, Option<OwnedFd>), BrokerError> {
        timeout(limit, self.ask_once(question))
            .await
            .map_err(|_| BrokerError::Slow(limit))?
    }

    async fn ask_once(&self, question: &[u8]) -> Result<(Answer, Option<OwnedFd>), BrokerError> {
        let mut stream =
            UnixStream::connect(&self.path)
                .await
                .map_err(|source| BrokerError::NotRunning {
                    path: self.path.clone(),
                    source,
                })?;
        // Who is refused at the door cannot write, but may read why.
        let written = transport::write(&mut stream, question, None).await;
        let (message, descriptor) = match transport::read_with_descriptor(&mut stream).await {
            Ok(answer) => answer,
            Err(error) => return Err(BrokerError::Lost(written.err().unwrap_or(error))),
        };
        match frame::decode_answer(&message).map_err(|_| BrokerError::Answer)? {
            Answer::Refused(refusal) => Err(BrokerError::Refused(refusal)),
            Answer::Servers { servers, more } => {
                let servers = rest_of_list(&mut stream, servers, more).await?;
                Ok((
                    Answer::Servers {
                        servers,
                        more: false,
                    },
                    None,
                ))
            }
            answer => Ok((answer, descriptor)),
        }
    }
}

/// Reads the further messages of a list.
async fn rest_of_list(
    stream: &mut UnixStream,
    mut all: Vec<RunningServer>,
    mut more: bool,
) -> Result<Vec<RunningServer>, BrokerError> {
    while more {
        let message = transport::read(stream).await.map_err(BrokerError::Lost)?;
        match frame::decode_answer(&message).map_err(|_| BrokerError::Answer)? {
            Answer::Servers {
                servers,
                more: yet_more,
            } => {
                all.extend(servers);
                more = yet_more;
            }
            _ => return Err(BrokerError::Answer),
        }
    }
    Ok(all)
}

impl BrokerError {
    /// The kind of refusal, if it is one.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}
