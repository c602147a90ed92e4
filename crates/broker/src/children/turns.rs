//! Turns: how many children there are at a time, in all and for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::protocol::{Refusal, RefusalKind};

/// A number of places, of which each user has a few.
#[derive(Debug)]
pub(super) struct Turns {
    places: Arc<Semaphore>,
    for_each: usize,
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// A user's turn, and a place.
#[derive(Debug)]
pub(super) struct Turn {
    /// Kept until the child is really gone, so that one that cannot be ended uses up its own user's turn.
    own: OwnedSemaphorePermit,
    shared: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl Turn {
    /// Gives back what others wait for, and keeps the user's own turn.
    pub(super) fn into_own(self) -> OwnedSemaphorePermit {
        drop(self.shared);
        self.own
    }
}

impl Turns {
    pub(super) fn new(places: usize, for_each: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            for_each,
            users: Mutex::default(),
        }
    }

    /// Waits for a turn of this user, then for `besides`, then for a place; `None` if the time is over before.
    pub(super) async fn take(
        &self,
        user: &str,
        besides: Option<Arc<Semaphore>>,
        limit: Duration,
    ) -> Option<Result<Turn, Refusal>> {
        let own = self.of(user);
        let places = Arc::clone(&self.places);
        // In this order: whoever waits for one takes nothing from others that comes after it.
        let waited = async {
            let own = own.acquire_owned().await?;
            let besides = match besides {
                Some(besides) => Some(besides.acquire_owned().await?),
                None => None,
            };
            let place = places.acquire_owned().await?;
            let shared = (besides, place);
            Ok(Turn { own, shared })
        };
        let waited = timeout(limit, waited).await.ok()?;
        Some(waited.map_err(|_: tokio::sync::AcquireError| {
            Refusal::new(RefusalKind::Internal, "The broker is ending.", "")
        }))
    }

    fn of(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = users.get(user).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(self.for_each));
        users.insert(user.to_owned(), Arc::downgrade(&turn));
        turn
    }
}
