//! The server: who may ask, one question on each connection, and the order in which it all ends.
//!
//! It remembers nothing that it could not lose: it may be killed at any moment, and servers go on.

mod accounts;
mod beside;
mod engines;
mod listen;
mod locks;
mod missing;
mod policy;
mod servers;
mod start;
mod verbs;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::children::Children;
use crate::decide;
use crate::engine::Engine;
use crate::folders::Folders;
use crate::policy::Policy;
use crate::protocol::{Answer, Refusal, RefusalKind, Request, frame, transport};

pub use self::listen::bind;
pub use self::policy::PolicySource;

/// How long a client may take to ask.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to read the answer.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
/// How many questions are answered at a time.
const MAX_QUESTIONS: usize = 256;
/// How many of these are logins: strangers can ask for them, and must leave places for all the rest.
const MAX_LOGINS: usize = 64;
/// How long questions that are being answered are given when the broker ends.
const END_LIMIT: Duration = Duration::from_secs(20);
/// How long called-off ones may take to clear up after that.
const CLEAR_LIMIT: Duration = Duration::from_secs(10);
/// How long accepting pauses after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The broker.
#[derive(Debug)]
pub struct Server {
    policy: policy::Keeper,
    engine: Option<Arc<dyn Engine>>,
    children: Children,
    folders: Folders,
    units: locks::Locks,
    logins: Semaphore,
    ports: servers::Ports,
    limited: servers::Limited,
    tried: missing::Tried,
    made: accounts::Untold,
}

impl Server {
    /// Makes a broker: its folders are made, and what an earlier one has left in them is removed. Blocks for moments.
    ///
    /// `source` is asked for a changed configuration before each question.
    pub fn new(
        policy: Policy,
        source: Option<Box<dyn PolicySource>>,
        engine: Option<Arc<dyn Engine>>,
        children: Children,
    ) -> io::Result<Self> {
        let folders = Folders::open(&policy.state_dir, &policy.servers_dir, policy.client_gid)?;
        if let Err(error) = folders.tidy() {
            tracing::warn!(error = %error, "could not remove what is left of earlier servers");
        }
        Ok(Self {
            policy: policy::Keeper::new(policy, source),
            engine,
            children,
            folders,
            units: locks::Locks::default(),
            logins: Semaphore::new(MAX_LOGINS),
            ports: servers::Ports::default(),
            limited: servers::Limited::default(),
            tried: missing::Tried::default(),
            made: accounts::Untold::default(),
        })
    }

    /// Answers until `ending`, or until nobody has asked for `idle`; servers stay. Questions that are being answered
    /// are given some time, then starts are called off.
    pub async fn run(
        self: Arc<Self>,
        listener: UnixListener,
        ending: CancellationToken,
        idle: Option<Duration>,
    ) {
        let hard = CancellationToken::new();
        let places = Arc::new(Semaphore::new(MAX_QUESTIONS));
        let mut questions = JoinSet::new();
        let looking = Arc::clone(&self);
        questions.spawn(async move { looking.tell_missing().await });
        loop {
            let place = tokio::select! {
                place = Arc::clone(&places).acquire_owned() => place,
                () = ending.cancelled() => break,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(ended) = questions.join_next(), if !questions.is_empty() => {
                    note(&ended);
                    continue;
                }
                () = ending.cancelled() => break,
                () = pause(idle), if questions.is_empty() => {
                    tracing::debug!("nobody has asked for a while; the next question starts the broker again");
                    break;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    let server = Arc::clone(&self);
                    let hard = hard.clone();
                    questions.spawn(async move {
                        let _place = place;
                        server.serve(stream, hard).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(error = %error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let all_ended = async |questions: &mut JoinSet<()>| {
            while let Some(ended) = questions.join_next().await {
                note(&ended);
            }
        };
        if timeout(END_LIMIT, all_ended(&mut questions)).await.is_err() {
            hard.cancel();
            let _ = timeout(CLEAR_LIMIT, all_ended(&mut questions)).await;
        }
        questions.shutdown().await;
        let engine = async {
            if let Some(engine) = &self.engine {
                let _ = timeout(CLEAR_LIMIT, engine.finish()).await;
            }
        };
        // Accounts and homes may be in the middle of being made though nobody waits for them any more.
        let children = timeout(CLEAR_LIMIT, self.children.finish());
        let ((), _) = tokio::join!(engine, children);
    }

    /// With what servers are started, if the broker starts any.
    fn engine(&self) -> Result<&dyn Engine, Refusal> {
        self.engine.as_deref().ok_or_else(|| {
            Refusal::policy(
                "The configuration lets the broker start no servers.",
                "Set `spawner.kind = \"systemd\"`, or `spawner.run_as = \"user\"`.",
            )
        })
    }

    /// Answers one question.
    async fn serve(&self, mut stream: UnixStream, hard: CancellationToken) {
        let begun = Instant::now();
        let policy = self.policy.current().await;
        let request = match self.read(&mut stream, &policy).await {
            Ok(request) => request,
            Err(refusal) => {
                tracing::warn!(
                    kind = ?refusal.kind,
                    "refused a question that is none: {refusal}"
                );
                let _ = self
                    .write(&mut stream, &Answer::Refused(refusal), None)
                    .await;
                return;
            }
        };
        let verb = request.verb();
        let user = request.user().cloned();
        let user = user.as_ref().map_or("", |user| user.as_str());
        let starts = match &request {
            Request::Start(start) => Some(decide::unit_name(&start.key.user, &start.key.server)),
            _ => None,
        };
        let gone = hard.child_token();
        let answered = {
            let mut work = std::pin::pin!(self.answer(request, &policy, &gone));
            tokio::select! {
                answered = &mut work => answered,
                () = left(&stream) => {
                    gone.cancel();
                    work.await
                }
            }
        };
        let (answer, process) = match answered {
            Ok(answered) => answered,
            Err(refusal) => (Answer::Refused(refusal), None),
        };
        let mut told = !gone.is_cancelled();
        if told {
            told = self.write(&mut stream, &answer, process).await.is_ok();
        }
        if !told && let (Some(unit), Answer::Started(_)) = (&starts, &answer) {
            // Nobody knows of it, so nobody would ever stop it.
            self.call_off(unit).await;
        }
        log(verb, user, &answer, told, begun.elapsed());
    }

    async fn read(&self, stream: &mut UnixStream, policy: &Policy) -> Result<Request, Refusal> {
        let peer = stream
            .peer_cred()
            .map_err(|error| Refusal::system("see who asks", &error))?;
        if peer.uid() != 0 && peer.uid() != policy.client_uid {
            return Err(Refusal::new(
                RefusalKind::Peer,
                format!(
                    "The account with the number {} may not ask the broker.",
                    peer.uid()
                ),
                "Only Lyceum's own account and root may.",
            ));
        }
        let message = timeout(READ_LIMIT, transport::read(stream))
            .await
            .map_err(|_| {
                Refusal::protocol(format!(
                    "The question has not come within {} s.",
                    READ_LIMIT.as_secs()
                ))
            })?
            .map_err(|error| Refusal::protocol(format!("This is no question: {error}.")))?;
        frame::decode_question(&message)
    }

    async fn write(
        &self,
        stream: &mut UnixStream,
        answer: &Answer,
        process: Option<OwnedFd>,
    ) -> io::Result<()> {
        let mut process = process.as_ref().map(|process| process.as_fd());
        for bytes in frame::encode_answer(answer).map_err(io::Error::other)? {
            timeout(
                WRITE_LIMIT,
                transport::write(stream, &bytes, process.take()),
            )
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        }
        Ok(())
    }
}

/// Waits until the client has closed the connection, or says more than one question.
async fn left(stream: &UnixStream) {
    let mut more = [0; 1];
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut more) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return,
        }
    }
}

async fn pause(idle: Option<Duration>) {
    match idle {
        Some(idle) => tokio::time::sleep(idle).await,
        None => std::future::pending().await,
    }
}

fn note(ended: &Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!("a question has ended by a mistake in the broker");
    }
}

fn log(verb: &str, user: &str, answer: &Answer, told: bool, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let unit = match answer {
        Answer::Started(started) => started.unit.as_str(),
        _ => "",
    };
    match answer {
        Answer::Refused(refusal) => tracing::info!(
            verb, user.name = user, duration_ms, kind = ?refusal.kind,
            "refused: {refusal}"
        ),
        _ if !told => tracing::info!(
            verb,
            user.name = user,
            unit,
            duration_ms,
            "the client has gone away before it had the answer"
        ),
        Answer::Done {}
        | Answer::Authenticated(_)
        | Answer::Account { .. }
        | Answer::Started(_) => {
            tracing::info!(verb, user.name = user, unit, duration_ms, "done: {verb}");
        }
        _ => tracing::debug!(verb, user.name = user, duration_ms, "done: {verb}"),
    }
}
