//! Starting and stopping servers, and following what becomes of it.

use std::time::Duration;

use futures_util::future::join_all;
use lyceum_core::lifecycle::{Cause, Failure, Refusal, State};
use lyceum_core::limits::NamedServers;
use lyceum_core::{ServerName, ServerRef, random};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::error::StartError;
use crate::metrics::NotStarted;
use crate::named_servers::OldNames;
use crate::permit::{ManageServer, ReadServer, ServerPermit, StartServer, StopServer};
use crate::servers::{Admission, Capacity, Counts, NoRoom, Snapshot, StartInput};
use crate::{Action, Actor, AuditEvent, AuditKind, Hub};

/// Permissions that include starting.
pub trait MayStart: Action {}
impl MayStart for StartServer {}
impl MayStart for ManageServer {}

/// Permissions that include stopping.
pub trait MayStop: Action {}
impl MayStop for StopServer {}
impl MayStop for ManageServer {}

/// Permissions that include seeing what a server does.
pub trait MaySee: Action {}
impl MaySee for ReadServer {}
impl MaySee for ManageServer {}
impl MaySee for StartServer {}
impl MaySee for StopServer {}
impl MaySee for crate::permit::AccessServer {}

/// How far a start or a stop got within the time that the caller had for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It goes on.
    Pending,
}

/// The pause before servers that are left are asked again to stop.
const ASK_AGAIN: Duration = Duration::from_millis(50);

impl Hub {
    /// Looks at a server.
    pub fn see<A: MaySee>(&self, permit: &ServerPermit<A>) -> Snapshot {
        self.servers().snapshot(permit.server())
    }

    /// Follows a server; `None` if it did nothing since Lyceum was started.
    pub fn follow<A: MaySee>(&self, permit: &ServerPermit<A>) -> Option<watch::Receiver<Snapshot>> {
        self.servers().follow(permit.server())
    }

    /// Looks at a server on behalf of its owner, or of nobody who could learn from it.
    pub fn snapshot(&self, server: &ServerRef) -> Snapshot {
        self.servers().snapshot(server)
    }

    /// Whether a server runs or something is going on with it.
    pub fn is_active(&self, server: &ServerRef) -> bool {
        self.servers().snapshot(server).state.is_active()
    }

    /// How many servers are kept in memory: those that are active, or were a short time ago.
    pub fn remembered_servers(&self) -> usize {
        self.servers().remembered()
    }

    /// How many servers do what.
    pub fn counts(&self) -> Counts {
        self.servers().counts()
    }

    /// Checks whether there may be a server of this name, as [`Hub::request_start`] does.
    pub async fn may_start<A: MayStart>(&self, permit: &ServerPermit<A>) -> Result<(), StartError> {
        self.check_name(permit).await
    }

    /// Asks for a start, without waiting for it. Two requests are one start: the second gets
    /// [`Refusal::AlreadyStarting`].
    pub async fn request_start<A: MayStart>(
        &self,
        permit: &ServerPermit<A>,
        input: StartInput,
    ) -> Result<(), StartError> {
        self.check_name(permit).await?;
        let input = self.choose_profile(permit, input).await?;
        if !self.is_active(permit.server()) {
            self.check_memory().await.inspect_err(|_| {
                self.metrics().not_started(NotStarted::TooMany);
            })?;
        }
        let options = input.user_options.as_ref();
        let profile = self.settings().profiles.named_in(options);
        let detail = json!({"profile": profile.map(|profile| profile.name.clone())});
        let place = self.take_place(permit.server())?;
        let asked = self.servers().start(permit.server(), input).await;
        if let Err(Refusal::AlreadyStarting | Refusal::Stopping | Refusal::Checking) = asked {
            self.metrics().not_started(NotStarted::AlreadyPending);
        }
        asked?;
        drop(place);
        // Whoever has a server started for them counts as active (JupyterHub `User.spawn`).
        self.activity().user_seen(permit.user().id);
        self.note_server(
            AuditKind::ServerStart,
            Actor::Caller(permit.by()),
            permit.server(),
            detail,
        );
        tracing::info!(server.name = %permit.server(), user.name = %permit.user().name,
            "starting the server of {}", permit.user().name);
        Ok(())
    }

    /// Waits for a start, as long as an API call waits; gives the failure if it failed meanwhile.
    pub async fn await_start<A: MayStart>(
        &self,
        permit: &ServerPermit<A>,
    ) -> Result<Outcome, Failure> {
        let limit = self.settings().slow_spawn_timeout;
        self.await_start_for(permit, limit).await
    }

    /// Waits for a start, at most `limit`.
    pub async fn await_start_for<A: MayStart>(
        &self,
        permit: &ServerPermit<A>,
        limit: Duration,
    ) -> Result<Outcome, Failure> {
        // A failed start counts as done when its remains are gone, too.
        let settled = |state: &State| matches!(state, State::Ready(_) | State::Stopped { .. });
        let last = self.servers().wait(permit.server(), limit, settled).await;
        match last.state {
            State::Ready(_) => Ok(Outcome::Done),
            State::Stopped {
                failure: Some(failure),
            }
            | State::Stopping {
                failure: Some(failure),
                ..
            } => Err(failure),
            // Stopped by somebody else meanwhile.
            State::Stopped { failure: None } => Err(Failure::new(
                Cause::ExitedEarly,
                "The start was cancelled.",
                "Start the server again if you want it.",
            )),
            _ => Ok(Outcome::Pending),
        }
    }

    /// Stops a server, and waits as long as an API call waits. A server that does not run is stopped already.
    pub async fn stop<A: MayStop>(&self, permit: &ServerPermit<A>) -> Result<Outcome, Refusal> {
        match self.request_stop(permit).await {
            Ok(()) | Err(Refusal::Stopping) => {}
            Err(Refusal::NotRunning) => return Ok(Outcome::Done),
            Err(refusal) => return Err(refusal),
        }
        let limit = self.settings().slow_stop_timeout;
        let last = self
            .servers()
            .wait(permit.server(), limit, |state| !state.is_active())
            .await;
        Ok(if last.state.is_active() {
            Outcome::Pending
        } else {
            Outcome::Done
        })
    }

    /// Waits until a server has stopped, at most `limit`; returns whether it has.
    pub async fn await_stop<A: MayStop>(&self, permit: &ServerPermit<A>, limit: Duration) -> bool {
        !self
            .servers()
            .wait(permit.server(), limit, |state| !state.is_active())
            .await
            .state
            .is_active()
    }

    /// Asks for a stop, without waiting for it. During a start, it cancels the start.
    pub async fn request_stop<A: MayStop>(&self, permit: &ServerPermit<A>) -> Result<(), Refusal> {
        self.servers().stop(permit.server()).await?;
        self.note_stop(Actor::Caller(permit.by()), permit.server(), "asked");
        tracing::info!(server.name = %permit.server(), "stopping the server of {}", permit.user().name);
        Ok(())
    }

    /// Has a server looked at because traffic could not reach it.
    pub fn suspect(&self, server: &ServerRef) {
        self.servers().suspect(server);
    }

    /// Has all starts refused from now on, also those that were asked for already: Lyceum is ending.
    ///
    /// Call it before [`Hub::stop_all`].
    pub fn close_to_starts(&self) {
        self.servers().close_to_starts();
    }

    /// Stops all servers at once and waits for them, at most `limit`; returns how many are left.
    pub async fn stop_all(&self, limit: Duration) -> usize {
        let all = async {
            // A start that was under way may be accepted while the others stop.
            loop {
                let active = self.servers().active();
                if active.is_empty() {
                    return;
                }
                let stops = active.iter().map(|server| self.servers().stop(server));
                for (server, stop) in active.iter().zip(join_all(stops).await) {
                    if stop.is_ok() {
                        self.note_stop(Actor::Hub, server, "shutdown");
                    }
                }
                for server in &active {
                    self.servers()
                        .wait(server, limit, |state| !state.is_active())
                        .await;
                }
                // Those that are about to start, or whose stop was not heard, are asked again.
                sleep(ASK_AGAIN).await;
            }
        };
        let _ = timeout(limit, all).await;
        self.servers().active().len()
    }

    /// Notes that a server was asked to stop, and why.
    pub(crate) fn note_stop(&self, actor: Actor<'_>, server: &ServerRef, why: &str) {
        self.note_server(AuditKind::ServerStop, actor, server, json!({"why": why}));
    }

    /// Notes that a server was deleted, and why.
    pub(crate) fn note_deleted(&self, actor: Actor<'_>, server: &ServerRef, why: &str) {
        self.note_server(AuditKind::ServerDeleted, actor, server, json!({"why": why}));
    }

    /// Notes that something happened to a server.
    pub(crate) fn note_server(
        &self,
        kind: AuditKind,
        actor: Actor<'_>,
        server: &ServerRef,
        detail: Value,
    ) {
        self.audit().note(AuditEvent {
            server: Some(&server.server),
            detail,
            ..AuditEvent::new(kind, actor, Some(&server.user))
        });
    }

    async fn check_name<A: Action>(&self, permit: &ServerPermit<A>) -> Result<(), StartError> {
        let server = &permit.server().server;
        if server.is_default() {
            return Ok(());
        }
        if self.named_servers_of(permit.user()).await? == NamedServers::Off {
            return Err(StartError::NamedServersOff);
        }
        if self.server_exists(permit).await? {
            // Names from before the rules.
            let may_start = self.settings().servers.old_names == OldNames::AllowStart;
            return match ServerName::parse_new(server.as_str()) {
                Err(error) if !may_start => Err(StartError::Name(error)),
                _ => Ok(()),
            };
        }
        Ok(self.check_new_name(permit.user(), server.as_str()).await?)
    }

    fn take_place(&self, server: &ServerRef) -> Result<Admission<'_>, StartError> {
        let capacity = Capacity {
            starting: self.settings().concurrent_spawn_limit,
            active: self.settings().active_server_limit,
        };
        self.servers()
            .admit(server, capacity)
            .map_err(|full| match full {
                NoRoom::Starting => {
                    self.metrics().not_started(NotStarted::Throttled);
                    StartError::Busy(random_within(self.settings().servers.retry_range))
                }
                NoRoom::Active => {
                    self.metrics().not_started(NotStarted::TooMany);
                    StartError::Full
                }
            })
    }
}

/// Gives a number in this range, its ends included.
fn random_within((low, high): (u64, u64)) -> u64 {
    let mut bytes = [0; 8];
    random::Randomness::fill(&random::SystemRandomness, &mut bytes);
    let span = high.saturating_sub(low).saturating_add(1);
    low.saturating_add(u64::from_le_bytes(bytes) % span)
}
