//! One thing at a time for each unit: a stop that comes while a start that was given up is being cleaned away waits for
//! the end of that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// The turns of all units.
#[derive(Debug, Default)]
pub(super) struct Turns {
    units: Mutex<HashMap<String, Weak<Turn<()>>>>,
}

impl Turns {
    /// Waits for a unit's turn, which lasts until the guard is dropped.
    pub(super) async fn take(&self, unit: &str) -> OwnedMutexGuard<()> {
        self.of(unit).lock_owned().await
    }

    fn of(&self, unit: &str) -> Arc<Turn<()>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = units.get(unit).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::new(()));
        units.insert(unit.to_owned(), Arc::downgrade(&turn));
        turn
    }
}
