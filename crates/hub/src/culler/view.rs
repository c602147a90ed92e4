//! What is told of culling: to the people at a server, and to administrators.

use std::time::Duration;

use lyceum_core::{ServerRef, Timestamp};
use tokio::time::timeout;

use super::rules::{Due, LastUse, Reason, Rule, due};
use super::{Candidate, CullError, between};
use crate::Hub;

/// How long all servers may take to say what they do.
const LIMIT: Duration = Duration::from_secs(20);

/// What people are told at a server that is about to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CullNotice {
    /// When it will be stopped.
    pub at: Timestamp,
    /// How long that is from now on.
    pub left: Duration,
    /// Why.
    pub reason: Reason,
    /// Whether it can be put off.
    pub can_be_kept: bool,
}

/// A server that runs, as the culler sees it.
#[derive(Debug, Clone)]
pub struct CullView {
    /// Which server.
    pub server: ServerRef,
    /// When it was started.
    pub started: Timestamp,
    /// When it was last in use, and by what.
    pub last: LastUse,
    /// Its rule.
    pub rule: Rule,
    /// When it goes if nothing happens any more; `None` for never.
    pub due: Option<Due>,
    /// Whether people are being told.
    pub warned: bool,
    /// Whether it has said what it computes.
    pub answered: bool,
}

impl Hub {
    /// What people at a server are told, if it is about to be stopped.
    pub fn cull_notice(&self, server: &ServerRef) -> Option<CullNotice> {
        let snapshot = self.servers().snapshot(server);
        if !snapshot.state.is_ready() {
            return None;
        }
        let warned = self.culler().memory.warned(server, snapshot.started?)?;
        let present = self.present();
        let Due { at, reason } = warned.due(present);
        Some(CullNotice {
            at,
            left: between(present.wall, at),
            reason,
            can_be_kept: reason != Reason::MaxAge,
        })
    }

    /// Tells of all servers that run when they go and why, without stopping one.
    pub async fn cull_views(&self) -> Result<Vec<CullView>, CullError> {
        let candidates = self.cull_candidates().await?;
        let unasked = candidates.clone();
        let asked = timeout(LIMIT, self.ask_servers(candidates)).await;
        let mut views: Vec<_> = asked
            .unwrap_or(unasked)
            .iter()
            .map(|candidate| self.cull_view(candidate))
            .collect();
        views.sort_by_key(|view| (view.due.map_or(Timestamp::MAX, |due| due.at), view.last.at));
        Ok(views)
    }

    fn cull_view(&self, candidate: &Candidate) -> CullView {
        let started = candidate.evidence.started;
        let last = candidate.last_use(self);
        let class = &self.settings().cull.class_hours;
        let warned = self
            .culler()
            .memory
            .warned(&candidate.server, candidate.run);
        CullView {
            server: candidate.server.clone(),
            started,
            last,
            due: warned
                .map(|warned| warned.due(candidate.present))
                .or_else(|| due(&candidate.rule, started, last, class)),
            rule: candidate.rule.clone(),
            warned: warned.is_some(),
            answered: candidate.answered == Some(true),
        }
    }
}
