//! What the culler remembers of servers that run, from one check to the next. Gone when Lyceum ends.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lyceum_core::{Secret, ServerRef, Timestamp};

use super::question::Answer;
use super::rules::Due;

/// Of all servers.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<ServerRef, Remembered>>);

/// Of one run of a server.
#[derive(Debug, Clone)]
pub(super) struct Remembered {
    /// When the run began.
    pub(super) started: Timestamp,
    /// When a person last did something, as far as is known from elsewhere than the gateway: the start, what was
    /// stored when Lyceum began, and the wish to keep it running.
    pub(super) action: Timestamp,
    /// When it was last found to compute.
    pub(super) busy: Option<Timestamp>,
    /// When its kernels and terminals last did something.
    pub(super) kernel: Option<Timestamp>,
    /// What people are told, and since when.
    pub(super) warned: Option<Warned>,
    /// What it is asked with, and until when.
    pub(super) token: Option<(Secret<String>, Timestamp)>,
}

/// What people are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Warned {
    /// Since when.
    pub(super) since: Timestamp,
    /// When it goes, and why.
    pub(super) due: Due,
}

impl Remembered {
    /// Notes what the server says of itself. What has counted once goes on counting, also when the kernel is gone.
    pub(super) fn add(&mut self, answer: Answer, now: Timestamp) {
        if answer.busy {
            self.busy = Some(now);
        }
        self.kernel = self.kernel.max(answer.last.map(|last| last.min(now)));
    }
}

impl Memory {
    /// Gives what is remembered of a run; `first` says what is known of a person's last action if it is new.
    pub(super) fn of(
        &self,
        server: &ServerRef,
        started: Timestamp,
        first: impl FnOnce() -> Timestamp,
    ) -> Remembered {
        let mut all = self.lock();
        let known = all.get(server).filter(|known| known.started == started);
        if let Some(known) = known {
            return known.clone();
        }
        let new = Remembered {
            started,
            action: first().max(started),
            busy: None,
            kernel: None,
            warned: None,
            token: None,
        };
        all.insert(server.clone(), new.clone());
        new
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
