//! What the culler remembers of servers that run, from one check to the next. Gone when Lyceum ends.
//!
//! Its instants are of the line of time that nobody can set (`timeline.rs`), but for the one that a run is known by.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lyceum_core::{Secret, ServerRef, Timestamp};

use super::question::Answer;
use super::rules::{Due, Evidence};
use crate::timeline::{Present, Seen, Timeline};

/// Of all servers.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<ServerRef, Remembered>>);

/// Of one run of a server.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    /// When the run began, by the clock as it was then: by this it is known.
    pub(super) started: Timestamp,
    /// When it began.
    pub(super) begun: Timestamp,
    /// When a person last did something, as far as is known from elsewhere than the gateway: the start, what was
    /// stored when Lyceum began, and the wish to keep it running.
    pub(super) action: Timestamp,
    /// When a person last did something, as the gateway says.
    pub(super) seen_action: Option<Seen>,
    /// When anything last passed between a browser and it, as the gateway says.
    pub(super) traffic: Option<Seen>,
    /// When it was last found to compute.
    pub(super) busy: Option<Timestamp>,
    /// When its kernels and terminals last did something, as it says.
    pub(super) kernel: Option<Seen>,
    /// When it was last active, as it has reported.
    pub(super) reported: Option<Seen>,
    /// What people are told, and since when.
    pub(super) warned: Option<Warned>,
    /// What it is asked with, and until when, by the clock: tokens end by it.
    pub(super) token: Option<(Secret<String>, Timestamp)>,
}

/// What people are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Warned {
    /// Since when.
    pub(super) since: Timestamp,
    /// When it goes, and why; like all instants here not by the clock.
    pub(super) due: Due,
}

impl Warned {
    /// When it goes and why, by the clock.
    pub(super) fn due(self, present: Present) -> Due {
        Due {
            at: present.on_clock(self.due.at),
            ..self.due
        }
    }
}

impl Remembered {
    /// Notes what the server says of itself. What has counted once goes on counting, also when the kernel is gone.
    pub(super) fn add(&mut self, answer: Answer, timeline: &Timeline, present: Present) {
        if answer.busy {
            self.busy = Some(present.steady);
        }
        if let Some(last) = answer.last {
            timeline.see(&mut self.kernel, last, present);
        }
    }

    /// What is known, by the clock as it is now. What the server has reported is only said if it is asked for.
    pub(super) fn evidence(&self, present: Present, with_reports: bool) -> Evidence {
        let seen = |seen: Option<Seen>| seen.map(|seen| present.on_clock(seen.at));
        let action = self
            .seen_action
            .map_or(self.action, |seen| self.action.max(seen.at));
        Evidence {
            now: present.wall,
            started: present.on_clock(self.begun),
            action: present.on_clock(action),
            traffic: seen(self.traffic),
            busy: self.busy.map(|busy| present.on_clock(busy)),
            kernel: seen(self.kernel),
            reported: seen(self.reported.filter(|_| with_reports)),
        }
    }
}

impl Memory {
    /// Changes what is remembered of a run, and gives it; `first` says of a new one when it began, and what is known of
    /// a person's last action.
    pub(super) fn of(
        &self,
        server: &ServerRef,
        started: Timestamp,
        first: impl FnOnce() -> (Timestamp, Timestamp),
        change: impl FnOnce(&mut Remembered),
    ) -> Remembered {
        let mut all = self.lock();
        let known = all.get(server).filter(|known| known.started == started);
        let mut known = known.cloned().unwrap_or_else(|| {
            let (begun, action) = first();
            Remembered {
                started,
                begun,
                action: action.max(begun),
                seen_action: None,
                traffic: None,
                busy: None,
                kernel: None,
                reported: None,
                warned: None,
                token: None,
            }
        });
        change(&mut known);
        all.insert(server.clone(), known.clone());
        known
    }

    /// Changes what is remembered of a run, unless it is another one by now.
    pub(super) fn change(
        &self,
        server: &ServerRef,
        started: Timestamp,
        change: impl FnOnce(&mut Remembered),
    ) {
        let mut all = self.lock();
        if let Some(known) = all.get_mut(server)
            && known.started == started
        {
            change(known);
        }
    }

    /// With what a server is asked, and until when that works.
    pub(super) fn token(
        &self,
        server: &ServerRef,
        started: Timestamp,
    ) -> Option<(Secret<String>, Timestamp)> {
        let all = self.lock();
        let known = all.get(server).filter(|known| known.started == started)?;
        known.token.clone()
    }

    /// What people are told of a server.
    pub(super) fn warned(&self, server: &ServerRef, started: Timestamp) -> Option<Warned> {
        let all = self.lock();
        let known = all.get(server).filter(|known| known.started == started)?;
        known.warned
    }

    /// Forgets all servers but these.
    pub(super) fn keep(&self, wanted: impl Fn(&ServerRef) -> bool) {
        self.lock().retain(|server, _| wanted(server));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerRef, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
