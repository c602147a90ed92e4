//! One change at a time for each server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::protocol::{Refusal, RefusalKind};

/// How long a change waits for the one before: a stop with all its signals.
const LIMIT: Duration = Duration::from_mins(1);

#[derive(Debug, Default)]
pub(super) struct Locks(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits until nothing else changes this unit.
    pub(super) async fn take(&self, unit: &str) -> Result<OwnedMutexGuard<()>, Refusal> {
        timeout(LIMIT, self.of(unit).lock_owned())
            .await
            .map_err(|_| {
                Refusal::new(
                    RefusalKind::Slow,
                    "What was asked before for this server is still under way.",
                    "Try again in a minute.",
                )
            })
    }

    /// Takes a unit if nothing else changes it.
    pub(super) fn try_take(&self, unit: &str) -> Option<OwnedMutexGuard<()>> {
        self.of(unit).try_lock_owned().ok()
    }

    fn of(&self, unit: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = all.get(unit).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(unit.to_owned(), Arc::downgrade(&lock));
        lock
    }
}
