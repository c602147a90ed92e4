//! Servers under their users' own accounts, started by the broker: as units of systemd, or in control groups.
//!
//! Lyceum itself has no rights for that. Nothing is kept here but which starts are ours since Lyceum's own start; a
//! broker that is restarted meanwhile is not noticed.

mod failure;
mod handle;
mod process;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_broker::client::BrokerError;
use lyceum_broker::protocol::{
    self, RefusalKind, RunningServer, ServerKey, ServerState, StartServer, StartedServer, TlsFiles,
};
use lyceum_broker::{Broker, Variables};
use lyceum_core::lifecycle::Failure;
use lyceum_core::names::{ServerRef, UserName};
use lyceum_core::seams::{
    Exit, Handle, HomeSpace, Liveness, MadeForUser, PythonInUse, SpawnError, Spawner,
    StartProgress, StartRequest, Started, StopMode, Usage,
};

use tokio::time::Instant;

use self::handle::BrokeredHandle;

/// How long left-over servers are given before they are killed.
const SWEEP_GRACE: Duration = Duration::from_secs(5);
/// How long the wait for a server pauses while the broker does not answer.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How often the broker is asked how a server ended, before that stays unknown.
const EXIT_TRIES: u32 = 10;
/// How long a start waits for a broker that has gone away in the middle of it: systemd has another one at once.
const NEXT_BROKER: Duration = Duration::from_secs(15);
/// How many starts are remembered as ours.
const REMEMBERED: usize = 4096;

/// Has the broker start servers. See the module's own description.
#[derive(Debug)]
pub struct Brokered {
    broker: Broker,
    kind: Kind,
    /// Whether the option `profile` means a profile.
    profiles: bool,
    own: Mutex<Own>,
}

/// With what the broker starts servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As units of systemd.
    Systemd,
    /// As processes in control groups.
    Process,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            // Not the name of the spawner without broker: its handles are others.
            Self::Process => "process-user",
        }
    }
}

/// The marks of starts of this Lyceum since its own start, which a sweep leaves alone.
#[derive(Debug, Default)]
struct Own {
    marks: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Brokered {
    /// Makes a spawner; nothing is asked yet. `profiles` tells whether there are any: without, an option of that name
    /// is a form's own, and nothing that the broker knows.
    pub fn new(broker: Broker, kind: Kind, profiles: bool) -> Self {
        Self {
            broker,
            kind,
            profiles,
            own: Mutex::default(),
        }
    }

    fn own(&self) -> MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decode(&self, handle: &Handle) -> Result<BrokeredHandle, SpawnError> {
        BrokeredHandle::decode(handle, self.kind.name())
    }

    /// Ends a server of which the hub does not know any more, so that its place is free.
    async fn end_unknown(&self, server: &ServerRef) -> Result<(), BrokerError> {
        let running = self.broker.list().await?;
        let same = |key: &&ServerKey| key.user == server.user && key.server == server.server;
        for key in running.iter().map(|one| &one.key).filter(same) {
            tracing::warn!(%server, "ending a server of which the hub does not know");
            self.broker.stop(key, Some(SWEEP_GRACE)).await?;
        }
        Ok(())
    }

    /// Asks for a start. If the broker goes away in the middle of it, the next one is asked, once: what was half started
    /// it ends first, by the start's mark.
    async fn begin(
        &self,
        request: &StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<(StartedServer, std::os::fd::OwnedFd), BrokerError> {
        let start = || start_of(request.clone(), self.profiles);
        let started = self.broker.start(start()).await;
        let Err(lost @ BrokerError::Lost(_)) = started else {
            return started;
        };
        tracing::warn!(server = %request.server, "the broker has gone away during a start; asking the next one");
        progress.say(
            10,
            "What starts servers was restarted at this moment; beginning again",
        );
        let until = Instant::now() + NEXT_BROKER;
        loop {
            let started = self.broker.start(start()).await;
            match &started {
                Err(BrokerError::NotRunning { .. }) if Instant::now() < until => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                // It had started, and nobody could say so any more: what failed is the saying, and the hub ends it.
                Err(error) if is_of(error, RefusalKind::Exists) => return Err(lost),
                _ => return started,
            }
        }
    }

    /// Asks how a server is, however long the broker does not answer.
    async fn inspect_patiently(
        &self,
        key: &ServerKey,
    ) -> Result<(ServerState, Option<std::os::fd::OwnedFd>), BrokerError> {
        let mut told = false;
        loop {
            match self.broker.inspect(key).await {
                Err(error) if is_passing(&error) => {
                    if !told {
                        tracing::warn!(error = %error, "waiting for the broker, to see how a server is");
                        told = true;
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                looked => return looked,
            }
        }
    }
}

/// Whether the broker may answer in a moment: it is being restarted, or busy.
fn is_passing(error: &BrokerError) -> bool {
    match error {
        BrokerError::NotRunning { .. } | BrokerError::Lost(_) | BrokerError::Slow(_) => true,
        BrokerError::Answer => false,
        BrokerError::Refused(refusal) => matches!(
            refusal.kind,
            RefusalKind::Slow | RefusalKind::System | RefusalKind::Version
        ),
    }
}

fn usage_of(usage: &protocol::Usage) -> Usage {
    Usage {
        memory: usage.memory,
        memory_limit: usage.memory_limit,
        cpu_micros: usage.cpu_micros,
        tasks: usage.tasks,
        out_of_memory: usage.out_of_memory,
    }
}

fn start_of(request: StartRequest, profiles: bool) -> StartServer {
    let profile = request.user_options.get("profile").filter(|_| profiles);
    StartServer {
        key: ServerKey {
            user: request.server.user,
            server: request.server.server,
            marker: request.marker,
        },
        environment: Variables(request.environment),
        service_prefix: request.service_prefix,
        profile: profile
            .and_then(|name| name.as_str())
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        groups: request.groups,
        tls: request.tls.map(|tls| TlsFiles {
            key: tls.key,
            certificate: tls.certificate,
            client_ca: tls.client_ca,
            server_name: tls.server_name,
        }),
    }
}

#[async_trait]
impl Spawner for Brokered {
    fn kind(&self) -> &'static str {
        self.kind.name()
    }

    async fn start(
        &self,
        request: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure> {
        let server = request.server.clone();
        let key = ServerKey {
            user: server.user.clone(),
            server: server.server.clone(),
            marker: request.marker.clone(),
        };
        self.own().remember(&key.marker);
        // Before the question: whatever becomes of it, the hub can stop what this may have started.
        let early = BrokeredHandle::new(self.kind.name(), &key);
        progress.handle(&early.encode());
        progress.say(10, "Preparing the account and the home folder");
        let mut started = self.begin(&request, progress).await;
        if matches!(&started, Err(error) if is_of(error, RefusalKind::Exists)) {
            self.end_unknown(&server)
                .await
                .map_err(|error| failure::of_start(&error))?;
            started = self.begin(&request, progress).await;
        }
        let (started, _) = started.map_err(|error| failure::of_start(&error))?;
        if started.made.account.is_some() || started.made.home.is_some() {
            progress.made(&MadeForUser {
                account: started.made.account.clone(),
                home: started.made.home.clone(),
                uid: started.uid,
            });
        }
        progress.say(30, "The server's program is running");
        let handle = early.with(&started);
        Ok(Started {
            upstream: started.upstream,
            handle: handle.encode(),
        })
    }

    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError> {
        let handle = self.decode(handle)?;
        let looked = self.broker.inspect(&handle.key()).await;
        match looked.map_err(|error| asked(format!("ask how server {handle} is"), error))? {
            (ServerState::Running(_), _) => Ok(Liveness::Running),
            (ServerState::Ended { exit }, _) => Ok(Liveness::Exited(exit)),
        }
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError> {
        let handle = self.decode(handle)?;
        let key = handle.key();
        loop {
            let looked = self.inspect_patiently(&key).await;
            match looked.map_err(|error| asked(format!("ask how server {handle} is"), error))? {
                (ServerState::Ended { exit }, _) => return Ok(exit),
                (ServerState::Running(_), Some(pidfd)) => {
                    process::ended(pidfd)
                        .await
                        .map_err(|source| SpawnError::System {
                            doing: format!("wait for the process of server {handle}"),
                            source,
                        })?;
                    return Ok(self.exit_of(&key).await);
                }
                (ServerState::Running(_), None) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    async fn stop(&self, handle: &Handle, how: StopMode) -> Result<(), SpawnError> {
        let handle = self.decode(handle)?;
        let grace = match how {
            StopMode::Graceful(grace) => Some(grace),
            StopMode::Now => None,
        };
        self.broker
            .stop(&handle.key(), grace)
            .await
            .map_err(|error| asked(format!("stop server {handle}"), error))
    }

    async fn log_tail(&self, server: &ServerRef, lines: usize) -> Vec<String> {
        let lines = u32::try_from(lines).unwrap_or(u32::MAX);
        match self.broker.log(&server.user, &server.server, lines).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::warn!(%server, error = %error, "could not read a server's log");
                Vec::new()
            }
        }
    }

    async fn sweep(&self, known: &[Handle]) -> Result<usize, SpawnError> {
        let known: BTreeSet<String> = known
            .iter()
            .filter_map(|handle| Some(self.decode(handle).ok()?.key().marker))
            .collect();
        let running = self.broker.list().await;
        let running = running.map_err(|error| asked("list the servers".to_owned(), error))?;
        // One that cannot be ended keeps no other from being seen to.
        let mut failed = None;
        let mut ended = 0;
        for one in running {
            let marker = &one.key.marker;
            if known.contains(marker) || self.own().marks.contains(marker) {
                continue;
            }
            tracing::warn!(
                unit = one.unit,
                "ending a server that is left over from a crash"
            );
            match self.broker.stop(&one.key, Some(SWEEP_GRACE)).await {
                Ok(()) => ended += 1,
                Err(error) => {
                    tracing::error!(unit = one.unit, error = %error, "could not end a server that is left over from a crash");
                    failed.get_or_insert_with(|| {
                        asked(format!("end the left-over unit {}", one.unit), error)
                    });
                }
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    async fn forget(&self, server: &ServerRef) -> Result<(), SpawnError> {
        self.broker
            .forget(&server.user, &server.server)
            .await
            .map_err(|error| asked(format!("forget server {server}"), error))
    }

    async fn usage(&self, handle: &Handle) -> Option<Usage> {
        let key = self.decode(handle).ok()?.key();
        match self.broker.inspect(&key).await {
            Ok((ServerState::Running(usage), _)) => Some(usage_of(&usage)),
            Ok((ServerState::Ended { .. }, _)) | Err(_) => None,
        }
    }

    async fn usage_of_all(&self, handles: &[Handle]) -> Vec<Option<Usage>> {
        let running = self.broker.list().await.unwrap_or_default();
        let running: HashMap<&str, &RunningServer> = running
            .iter()
            .map(|one| (one.key.marker.as_str(), one))
            .collect();
        let of = |handle| {
            let key = self.decode(handle).ok()?.key();
            let one = running.get(key.marker.as_str())?;
            (one.key == key).then(|| usage_of(&one.usage))
        };
        handles.iter().map(of).collect()
    }

    async fn home_space(&self, user: &UserName) -> Option<HomeSpace> {
        let space = self.broker.home(user).await.ok()?;
        Some(HomeSpace {
            used: space.used,
            quota: space.quota,
            free: space.free,
        })
    }

    fn environment(&self, handle: &Handle) -> Option<String> {
        let environment = self.decode(handle).ok()?.environment?;
        Some(environment.to_str()?.to_owned())
    }

    fn python(&self, handle: &Handle) -> Option<PythonInUse> {
        self.decode(handle).ok()?.python
    }
}

impl Brokered {
    /// How a server ended that is known to have ended.
    async fn exit_of(&self, key: &ServerKey) -> Exit {
        for _ in 0..EXIT_TRIES {
            match self.broker.inspect(key).await {
                Ok((ServerState::Ended { exit }, _)) => return exit,
                // Its process has ended, and the engine learns of it in a moment.
                Ok((ServerState::Running(_), _)) => {}
                Err(error) if is_passing(&error) => {}
                Err(_) => break,
            }
            tokio::time::sleep(RETRY_PAUSE / 4).await;
        }
        Exit::Unknown
    }
}

impl Own {
    fn remember(&mut self, marker: &str) {
        if self.marks.insert(marker.to_owned()) {
            self.order.push_back(marker.to_owned());
        }
        while self.order.len() > REMEMBERED {
            if let Some(oldest) = self.order.pop_front() {
                self.marks.remove(&oldest);
            }
        }
    }
}

fn is_of(error: &BrokerError, kind: RefusalKind) -> bool {
    error.refusal().is_some_and(|refusal| refusal.kind == kind)
}

fn asked(doing: String, error: BrokerError) -> SpawnError {
    let kind = match &error {
        BrokerError::Slow(_) => io::ErrorKind::TimedOut,
        BrokerError::NotRunning { .. } => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    };
    SpawnError::System {
        doing,
        source: io::Error::new(kind, error),
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
