//! Work that may block, on a bounded number of threads, and with time limits for those who wait for it.
//!
//! A file system that has gone away, such as a network one, holds its callers up for as long as it likes, and
//! nothing can make them return. Such work keeps its place until it does, so that it uses up its own kind's
//! places at worst, and never the threads that everything else needs.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use lyceum_core::seams::SpawnError;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long work may wait for a place.
const WAIT_LIMIT: Duration = Duration::from_secs(5);
/// How long its caller waits for its end.
const WORK_LIMIT: Duration = Duration::from_secs(10);
/// How much of a kind of work is done at a time.
const PLACES: usize = 32;

/// Starts: they touch the users' home folders.
pub(super) static STARTS: Pool = Pool::new(PLACES, WAIT_LIMIT, WORK_LIMIT);
/// Looks at the space of the users' home folders, with nothing but a picture depending on them.
pub(super) static HOMES: Pool = Pool::new(PLACES, WAIT_LIMIT, WORK_LIMIT);
/// Logs and sockets, which lie in the folders of the hub.
pub(super) static FILES: Pool = Pool::new(PLACES, WAIT_LIMIT, WORK_LIMIT);
/// Looks at the processes of the machine, without which no server can be stopped.
pub(super) static PROCESSES: Pool = Pool::new(PLACES, WAIT_LIMIT, WORK_LIMIT);

/// The places for one kind of work.
#[derive(Debug)]
pub(super) struct Pool {
    places: Semaphore,
    wait_limit: Duration,
    work_limit: Duration,
}

/// Lets each user's starts go one after the other, so that one whose home folder hangs takes one place only.
#[derive(Debug, Default)]
pub(super) struct Turns {
    users: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Turns {
    /// Waits for a user's turn, which lasts until the permit is dropped.
    pub(super) async fn take(&self, user: &str) -> Result<OwnedSemaphorePermit, Held> {
        self.take_within(user, WAIT_LIMIT).await
    }

    async fn take_within(&self, user: &str, limit: Duration) -> Result<OwnedSemaphorePermit, Held> {
        timeout(limit, self.of(user).acquire_owned())
            .await
            .map_err(|_| Held::NoPlace(limit))?
            .map_err(|_| Held::Failed)
    }

    fn of(&self, user: &str) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = users.get(user).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Semaphore::new(1));
        users.insert(user.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// Why work was not done, or is not known to be.
#[derive(Debug, Error)]
pub(super) enum Held {
    /// All places are taken by work that does not end.
    #[error(
        "the machine's file system is slow: the work before has not ended within {} s",
        .0.as_secs()
    )]
    NoPlace(Duration),
    /// The work itself does not end; it may still do so later.
    #[error("the machine's file system is slow: it has not answered within {} s", .0.as_secs())]
    Slow(Duration),
    /// The thread has panicked, or the runtime is going down.
    #[error("the thread for blocking work has failed")]
    Failed,
}

impl Pool {
    const fn new(places: usize, wait_limit: Duration, work_limit: Duration) -> Self {
        Self {
            places: Semaphore::const_new(places),
            wait_limit,
            work_limit,
        }
    }

    /// Does something that may block.
    ///
    /// When the caller gives up, or the limit has come, the work goes on by itself, and its result is dropped
    /// at its end.
    pub(super) async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Held> {
        let place = timeout(self.wait_limit, self.places.acquire())
            .await
            .map_err(|_| Held::NoPlace(self.wait_limit))?
            .map_err(|_| Held::Failed)?;
        let working = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        timeout(self.work_limit, working)
            .await
            .map_err(|_| Held::Slow(self.work_limit))?
            .map_err(|_| Held::Failed)
    }
}

impl From<Held> for SpawnError {
    fn from(held: Held) -> Self {
        let kind = match held {
            Held::NoPlace(_) | Held::Slow(_) => io::ErrorKind::TimedOut,
            Held::Failed => io::ErrorKind::Other,
        };
        Self::System {
            doing: "use the machine's files".to_owned(),
            source: io::Error::new(kind, held),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn work_that_hangs_holds_its_own_place_only_and_nobody_waits_for_ever() {
        let short = Duration::from_millis(50);
        let pool: &'static Pool = Box::leak(Box::new(Pool::new(2, LIMIT, short)));
        let (release, hung) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let hang = move || {
            let _ = hung.recv();
            tell.send(()).unwrap();
        };
        let held = timeout(LIMIT, pool.run(hang)).await.unwrap().unwrap_err();
        assert!(matches!(held, Held::Slow(_)), "{held:?}");
        assert!(held.to_string().contains("file system is slow"), "{held}");
        // The other place is free, also for the next one.
        for number in 0..3 {
            assert_eq!(pool.run(move || number).await.unwrap(), number);
        }
        assert_eq!(pool.places.available_permits(), 1);
        drop(release);
        tokio::task::spawn_blocking(move || told.recv_timeout(LIMIT).unwrap())
            .await
            .unwrap();
        let both = timeout(LIMIT, pool.places.acquire_many(2)).await;
        assert_eq!(both.unwrap().unwrap().num_permits(), 2);
    }

    #[tokio::test]
    async fn a_user_whose_start_hangs_is_refused_in_time_and_others_go_on() {
        let turns = Turns::default();
        let hanging = turns.take("ada").await.unwrap();
        let refused = turns.take_within("ada", Duration::from_millis(20)).await;
        assert!(matches!(refused, Err(Held::NoPlace(_))), "{refused:?}");
        drop(turns.take("bob").await.unwrap());
        drop(hanging);
        drop(turns.take("ada").await.unwrap());
        drop(turns.of("bob"));
        assert_eq!(turns.users.lock().unwrap().len(), 1, "others are forgotten");
    }

    #[tokio::test]
    async fn whoever_finds_no_place_is_told_so_in_time() {
        let short = Duration::from_millis(50);
        let pool: &'static Pool = Box::leak(Box::new(Pool::new(1, short, LIMIT)));
        let (release, hung) = mpsc::channel::<()>();
        let (hanging, refused) = tokio::join!(pool.run(move || hung.recv().is_err()), async {
            let refused = timeout(LIMIT, pool.run(|| ())).await.unwrap();
            drop(release);
            refused.unwrap_err()
        });
        assert!(hanging.unwrap());
        assert!(matches!(refused, Held::NoPlace(_)), "{refused:?}");
        let error = SpawnError::from(refused);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("file system is slow"), "{cause}");
    }
}
