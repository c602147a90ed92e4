//! What the actor tells of a server: to the log, to the audit table, to metrics and events, and to whoever watches.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::lifecycle::{Cause, State};
use serde_json::{Value, json};

use super::{Actor, Snapshot};
use crate::audit::{Actor as Who, AuditEvent, AuditKind};
use crate::events::Deed;
use crate::servers::progress::ProgressEvent;

impl Actor {
    /// Says the news to the log, and to whoever waits.
    pub(super) fn announce(&mut self, before: &State) {
        self.count(before);
        let (server, user) = (&self.subject.server, &self.subject.server.user);
        match &self.state {
            State::Ready(_) if !before.is_ready() => {
                let how = if matches!(before, State::Checking(_)) {
                    "was adopted after the restart"
                } else {
                    "is ready"
                };
                tracing::info!(server.name = %server, "the server of {user} {how}");
                let url = server.url_path(&self.subject.shared.settings.base_url);
                if !matches!(before, State::Checking(_)) {
                    // Tenths of a second are enough for people.
                    let took = (self.took().as_secs_f64() * 10.0).round() / 10.0;
                    self.note(AuditKind::ServerStarted, json!({"seconds": took}));
                }
                self.push(ProgressEvent::ready(&url));
            }
            State::Stopped {
                failure: Some(failure),
            } => {
                tracing::warn!(server.name = %server, cause = ?failure.cause,
                    "the server of {user} does not run: {}", failure.message);
                let cause = format!("{:?}", failure.cause);
                let detail = json!({"cause": cause, "message": failure.message});
                self.note(AuditKind::ServerFailed, detail);
                if failure.is_of_start() {
                    self.push(ProgressEvent::failed(failure));
                }
            }
            State::Stopped { failure: None } => {
                tracing::info!(server.name = %server, "the server of {user} has stopped");
            }
            _ => {}
        }
        self.publish_snapshot();
    }

    pub(super) fn note(&self, kind: AuditKind, detail: Value) {
        let server = &self.subject.server;
        self.subject.shared.audit.note(AuditEvent {
            server: Some(&server.server),
            detail,
            ..AuditEvent::new(kind, Who::Hub, Some(&server.user))
        });
    }

    /// Tells what has become of a start or a stop to those who count.
    fn count(&self, before: &State) {
        let (shared, server) = (&self.subject.shared, &self.subject.server);
        match (before, &self.state) {
            (State::Probing(_), State::Ready(_)) => {
                shared.metrics.spawned(self.took());
                shared.endings.start_worked();
                shared.events.tell(Deed::Start, server, &*shared.clock);
            }
            (
                State::Requested | State::Stopping { .. },
                State::Stopped {
                    failure: Some(failure),
                },
            ) if failure.is_of_start() => {
                shared.metrics.spawn_failed(failure, self.took());
                if failure.cause != Cause::NotAllowed {
                    shared
                        .endings
                        .start_failed(shared.settings.servers.failure_limit);
                }
            }
            (State::Stopping { .. }, State::Stopped { failure: None }) => {
                shared.metrics.stopped(true, self.took());
                // At the end of Lyceum, nobody has asked for this one server to stop.
                if !shared.is_closing() {
                    shared.events.tell(Deed::Stop, server, &*shared.clock);
                }
            }
            _ => {}
        }
    }

    /// How long the start or the stop that is going on has taken so far.
    pub(super) fn took(&self) -> Duration {
        self.begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    pub(super) fn say(&mut self, event: ProgressEvent) {
        self.push(event);
        self.publish_snapshot();
    }

    fn push(&mut self, event: ProgressEvent) {
        Arc::make_mut(&mut self.progress).push(event);
    }

    pub(super) fn publish_snapshot(&self) {
        self.seen.send_replace(Snapshot {
            state: self.state.clone(),
            started: self.started,
            progress: Arc::clone(&self.progress),
        });
    }
}
