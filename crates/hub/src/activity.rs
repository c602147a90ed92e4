//! Who was active when: gathered in memory, written in batches, moved only forward.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::ids::{ServerId, TokenId, UserId};
use lyceum_core::{Clock, Timestamp};
use lyceum_store::{ActivityBatch, Store};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long what was merely noticed (a page, a token in use) may wait before it is written.
const NOTICED: Duration = Duration::from_secs(30);
/// How long a report waits for others, so that many become one transaction.
const GATHER: Duration = Duration::from_millis(10);
/// The pause after a write that failed.
const AGAIN: Duration = Duration::from_secs(5);

/// Gathers activity.
#[derive(Debug)]
pub struct Activity {
    clock: std::sync::Arc<dyn Clock>,
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    batch: ActivityBatch,
    reports: Vec<oneshot::Sender<()>>,
}

/// The activity was not written within reasonable time; it is kept, and written later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the activity could not be written yet")]
pub struct NotWritten;

impl Activity {
    pub(crate) fn new(clock: std::sync::Arc<dyn Clock>) -> Self {
        Self {
            clock,
            pending: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Notes that a user did something just now.
    pub(crate) fn user_seen(&self, user: UserId) {
        let now = self.clock.now();
        self.lock().batch.user(user, now);
    }

    /// Notes that a token was used just now.
    pub(crate) fn token_used(&self, token: TokenId) {
        let now = self.clock.now();
        self.lock().batch.token(token, now);
    }

    /// Notes what the gateway saw.
    pub(crate) fn server_used(&self, user: UserId, server: ServerId, at: Timestamp) {
        let mut pending = self.lock();
        pending.batch.user(user, at);
        pending.batch.server(server, at);
    }

    /// Takes a report and returns when it is written.
    pub async fn report(
        &self,
        user: Option<(UserId, Timestamp)>,
        servers: &[(ServerId, Timestamp)],
    ) -> Result<(), NotWritten> {
        let (sender, written) = oneshot::channel();
        {
            let mut pending = self.lock();
            if let Some((id, at)) = user {
                pending.batch.user(id, at);
            }
            for (id, at) in servers {
                pending.batch.server(*id, *at);
            }
            pending.reports.push(sender);
        }
        self.wake.notify_one();
        match tokio::time::timeout(Duration::from_secs(10), written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotWritten),
        }
    }

    /// Writes batches until it is told to end, and then the last one.
    pub(crate) async fn run(&self, store: &Store, stop: &CancellationToken) {
        let mut next = Instant::now() + NOTICED;
        loop {
            tokio::select! {
                () = self.wake.notified() => sleep(GATHER).await,
                () = sleep_until(next) => {}
                () = stop.cancelled() => {
                    self.write(store).await;
                    return;
                }
            }
            next = Instant::now()
                + if self.write(store).await {
                    NOTICED
                } else {
                    AGAIN
                };
        }
    }

    /// Writes what is pending; what cannot be written is kept. Returns whether it was.
    pub(crate) async fn write(&self, store: &Store) -> bool {
        let Pending { batch, reports } = std::mem::take(&mut *self.lock());
        if batch.is_empty() && reports.is_empty() {
            return true;
        }
        let written = async {
            let mut tx = store.begin().await?;
            tx.record_activity(&batch).await?;
            tx.commit().await
        };
        match written.await {
            Ok(()) => {
                for report in reports {
                    let _ = report.send(());
                }
                true
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not write activity; it is kept and tried again"
                );
                let mut pending = self.lock();
                pending.batch.merge(batch);
                pending.reports.extend(reports);
                false
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
