//! Stops servers that nobody uses, after a warning.
//!
//! What counts as use, and who goes when, is decided by the pure functions in `culler/rules.rs`. Deletes nobody's
//! account; kernels inside of a server are the server's own.

mod evidence;
mod memory;
mod pressure;
mod question;
pub mod rules;
mod settings;
mod view;

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lyceum_core::lifecycle::Refusal;
use lyceum_core::seams::RoutesError;
use lyceum_core::{ServerRef, Timestamp, UserName};
use lyceum_store::StoreError;
use serde_json::json;
use thiserror::Error;
use tokio::sync::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

pub use self::settings::{CullSettings, Pressure};
pub use self::view::{CullNotice, CullView};

use self::evidence::{AT_ONCE, Candidate};
use self::memory::{Memory, Warned};
use self::rules::{Due, LastUse, Limit, Reason, Step, decide, due};
use crate::Hub;
use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::permit::{AccessServer, ServerPermit};

/// How long the shares of memory may lag behind a stop.
const SETTLE: Duration = Duration::from_secs(1);
/// So many servers are stopped for the sake of memory in one check at most.
const MOST_FOR_MEMORY: usize = 20;

/// The culler's own state.
#[derive(Debug, Default)]
pub(crate) struct Culler {
    memory: Memory,
    /// Checks follow each other.
    turn: Mutex<()>,
}

/// Why servers could not be looked at.
#[derive(Debug, Error)]
pub enum CullError {
    /// The store failed.
    #[error("the hub's database did not tell which servers run")]
    Store(#[from] StoreError),
    /// The proxy failed.
    #[error("the proxy did not tell which servers were used")]
    Routes(#[from] RoutesError),
}

/// A server that was culled.
#[derive(Debug, Clone)]
pub struct Culled {
    /// Which server.
    pub server: ServerRef,
    /// Why.
    pub reason: Reason,
    /// How long nobody had used it.
    pub idle: Duration,
    /// When it was last used, and by what.
    pub last: LastUse,
}

/// A server that is about to be culled.
#[derive(Debug)]
struct Going {
    candidate: Candidate,
    reason: Reason,
    /// How long it must have been idle.
    least: Duration,
}

impl Hub {
    /// Looks at the servers again and again.
    pub(crate) async fn cull_for_ever(&self) {
        let every = self.settings().cull.check;
        // Not at once: nobody goes so soon after a start.
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.cull_idle_servers().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look for servers that nobody uses"
                );
            }
        }
    }

    /// Looks at all servers once: warns, and stops those whose time has come. Returns which were stopped.
    pub async fn cull_idle_servers(&self) -> Result<Vec<Culled>, CullError> {
        let _one_at_a_time = self.culler().turn.lock().await;
        let candidates = self.cull_candidates().await?;
        let (quiet, used): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| self.step(candidate) != Step::Keep);
        for candidate in &used {
            self.set_warning(candidate, None);
        }
        // Only those are asked whose use is not known otherwise.
        let asked = self.ask_servers(quiet).await;
        let mut going = Vec::new();
        for candidate in asked {
            match self.step(&candidate) {
                Step::Keep => self.set_warning(&candidate, None),
                Step::Warn(due) => self.set_warning(&candidate, Some(due)),
                Step::Cull(due) => {
                    let least = match (due.reason, candidate.rule.idle.value) {
                        (Reason::Idle, Limit::After(idle)) => idle,
                        _ => Duration::ZERO,
                    };
                    going.push(Going {
                        candidate,
                        reason: due.reason,
                        least,
                    });
                }
            }
        }
        let mut culled = self.cull_all(going).await;
        culled.extend(self.relieve_memory().await?);
        Ok(culled)
    }

    /// Stops servers at once that have been idle for so long, or for as long as their rules say; of one user, or of
    /// all. Neither warnings nor class hours count. Returns which were stopped.
    pub async fn cull_now(
        &self,
        idle: Option<Duration>,
        user: Option<&UserName>,
    ) -> Result<Vec<Culled>, CullError> {
        let _one_at_a_time = self.culler().turn.lock().await;
        let mut candidates = self.cull_candidates().await?;
        candidates.retain(|one| user.is_none_or(|user| one.server.user == *user));
        let limit = |candidate: &Candidate| match (idle, candidate.rule.idle.value) {
            (Some(idle), _) => Some(idle),
            (None, Limit::After(idle)) if candidate.rule.enabled.value => Some(idle),
            (None, _) => None,
        };
        let is_idle = |candidate: &Candidate| {
            limit(candidate).is_some_and(|limit| self.idle_time(candidate) >= limit)
        };
        candidates.retain(is_idle);
        let mut asked = self.ask_servers(candidates).await;
        asked.retain(is_idle);
        let going = asked.into_iter().filter_map(|candidate| {
            Some(Going {
                least: limit(&candidate)?,
                candidate,
                reason: Reason::ByHand,
            })
        });
        let going = going.collect();
        Ok(self.cull_all(going).await)
    }

    /// Notes that somebody wants a server to go on: it counts as used now.
    pub fn keep_running(
        &self,
        permit: &ServerPermit<AccessServer>,
        row: Option<lyceum_core::ids::ServerId>,
    ) {
        let server = permit.server();
        let Some(started) = self.servers().snapshot(server).started else {
            return;
        };
        let present = self.present();
        let place = |at| self.timeline().place(at, present);
        let first = || (place(started), place(started));
        self.culler().memory.of(server, started, first, |known| {
            known.action = known.action.max(present.steady);
            // What cannot be put off stays.
            known.warned = known
                .warned
                .filter(|warned| warned.due.reason == Reason::MaxAge);
        });
        if let Some(row) = row {
            // Stored, too: a restart and other programs must know of it.
            self.activity()
                .server_used(permit.user().id, row, present.wall);
            self.activity().write_soon();
        }
        tracing::info!(server.name = %server, "the server {server} is kept running, as somebody has asked for it");
    }

    /// Decides about a server with what is known of it.
    fn step(&self, candidate: &Candidate) -> Step {
        let settings = &self.settings().cull;
        let seen = &candidate.evidence;
        let present = candidate.present;
        let last = candidate.last_use(self);
        let due = due(&candidate.rule, seen.started, last, &settings.class_hours);
        let warned = self
            .culler()
            .memory
            .warned(&candidate.server, candidate.run);
        decide(
            due,
            seen.now,
            settings.warn,
            warned.map(|warned| present.on_clock(warned.since)),
            present.on_clock(self.cull_earliest()),
            &settings.class_hours,
        )
    }

    /// Before this instant nothing is culled: right after a start of Lyceum it is not known what people did before.
    fn cull_earliest(&self) -> Timestamp {
        crate::sessions::after(self.timeline().begun(), self.settings().cull.grace)
    }

    fn set_warning(&self, candidate: &Candidate, due: Option<Due>) {
        let present = candidate.present;
        let warn = !self.settings().cull.warn.is_zero();
        let (server, run) = (&candidate.server, candidate.run);
        self.culler().memory.change(server, run, |known| {
            let since = known.warned.map_or(present.steady, |warned| warned.since);
            known.warned = due.filter(|_| warn).map(|due| Warned {
                since,
                due: Due {
                    at: present.on_line(due.at),
                    ..due
                },
            });
        });
    }

    /// How long a server was not used when it was looked at: whatever becomes of the clock meanwhile.
    fn idle_time(&self, candidate: &Candidate) -> Duration {
        between(candidate.last_use(self).at, candidate.evidence.now)
    }

    /// Stops servers, several at a time.
    async fn cull_all(&self, going: Vec<Going>) -> Vec<Culled> {
        stream::iter(going)
            .map(|going| self.cull(going))
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Stops a server, if nothing has happened there meanwhile; waits until it has stopped.
    async fn cull(&self, going: Going) -> Option<Culled> {
        let Going {
            candidate,
            reason,
            least,
        } = going;
        let again = match self.look_again(&candidate).await {
            Ok(again) => self.ask_server(again?).await,
            Err(error) => {
                tracing::warn!(server.name = %candidate.server, error = &error as &dyn std::error::Error,
                    "a server is not culled, as it is not known whether it is used");
                return None;
            }
        };
        let last = again.last_use(self);
        if self.idle_time(&again) < least {
            tracing::debug!(server.name = %candidate.server, "a server is used again, and stays");
            return None;
        }
        let culled = Culled {
            server: candidate.server,
            reason,
            idle: self.idle_time(&again),
            last,
        };
        match self.servers().stop(&culled.server).await {
            Ok(()) => self.note_cull(&culled),
            // Somebody was quicker.
            Err(Refusal::NotRunning | Refusal::Stopping) => return None,
            Err(refusal) => {
                tracing::warn!(server.name = %culled.server, reason = %refusal, "could not cull a server");
                return None;
            }
        }
        self.finish_cull(&culled.server).await;
        Some(culled)
    }

    /// Waits until a culled server has stopped, and deletes it if it has a name and that is wanted.
    async fn finish_cull(&self, server: &ServerRef) {
        let limit = self.settings().limits().stop;
        let stopped = self
            .servers()
            .wait(server, limit, |state| !state.is_active())
            .await;
        if stopped.state.is_active()
            || server.server.is_default()
            || !self.settings().cull.remove_named
        {
            return;
        }
        match self.servers().remove(server).await {
            Ok(true) => {
                tracing::info!(user.name = %server.user, server.name = %server,
                    "deleted the server {server}, which was culled and has a name");
                self.note_deleted(Actor::Hub, server, "cull");
                self.forget_server(server).await;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(server.name = %server, error = &error as &dyn std::error::Error,
                    "could not delete a named server that was culled");
            }
        }
    }

    /// Writes down that a server was culled.
    fn note_cull(&self, culled: &Culled) {
        let Culled {
            server,
            reason,
            idle,
            last,
        } = culled;
        let (reason, idle) = (reason.as_str(), idle.as_secs());
        tracing::info!(user.name = %server.user, server.name = %server, reason, idle_seconds = idle, last_use = last.by.as_str(),
            "culled the server {server}: {reason}, unused for {idle} seconds");
        self.audit().note(AuditEvent {
            kind: AuditKind::Cull,
            actor: Actor::Hub,
            about: Some(&server.user),
            server: Some(&server.server),
            client_addr: None,
            detail: json!({"reason": reason, "idle_seconds": idle, "last_use": last.by.as_str()}),
        });
    }

    /// Stops servers that are idle if memory is short: the idlest first, one after the other, until it is not.
    async fn relieve_memory(&self) -> Result<Vec<Culled>, CullError> {
        let settings = &self.settings().cull;
        let mut culled = Vec::new();
        let Some(pressure) = &settings.pressure else {
            return Ok(culled);
        };
        let is_short = || {
            pressure::memory_in_use(&pressure.meminfo).is_some_and(|share| share >= pressure.memory)
        };
        let early = self.steady_now() < self.cull_earliest();
        if early || !is_short() || settings.class_hours.contain(self.now()) {
            return Ok(culled);
        }
        let mut idle = self.cull_candidates().await?;
        idle.retain(|one| one.rule.enabled.value && self.idle_time(one) >= pressure.idle);
        idle.sort_by_key(|one| one.last_use(self).at);
        for candidate in idle {
            if culled.len() >= MOST_FOR_MEMORY || !is_short() {
                break;
            }
            let candidate = self.ask_server(candidate).await;
            if self.idle_time(&candidate) < pressure.idle {
                continue;
            }
            let going = Going {
                candidate,
                reason: Reason::MemoryPressure,
                least: pressure.idle,
            };
            if let Some(one) = self.cull(going).await {
                culled.push(one);
                tokio::time::sleep(SETTLE).await;
            }
        }
        Ok(culled)
    }
}

/// The time from one instant to a later one; none if it is earlier.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
