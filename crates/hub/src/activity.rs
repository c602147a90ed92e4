//! Who was active when: gathered in memory, written in batches, moved only forward.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::ids::{ServerId, SessionId, TokenId, UserId};
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
/// How long it is known what was written: longer than anybody remembers rows from before.
const WRITTEN: Duration = Duration::from_mins(1);

/// Gathers activity.
#[derive(Debug)]
pub struct Activity {
    clock: Arc<dyn Clock>,
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    gathered: Gathered,
    /// What is being written just now.
    in_flight: Arc<Gathered>,
    written: Written,
    /// What servers have reported of themselves, apart from what was seen of their traffic.
    reported: BTreeMap<ServerId, Timestamp>,
    reports: Vec<oneshot::Sender<()>>,
}

impl Pending {
    fn all(&self) -> [&Gathered; 4] {
        let written = &self.written;
        [
            &self.gathered,
            &self.in_flight,
            &written.young,
            &written.old,
        ]
    }
}

/// What was written of late: rows that are remembered from before do not tell it.
#[derive(Debug, Default)]
struct Written {
    young: Gathered,
    old: Gathered,
    since: Option<Instant>,
}

impl Written {
    fn add(&mut self, gathered: &Gathered) {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if now.duration_since(since) > WRITTEN {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        for (id, at) in &gathered.users {
            note(&mut self.young.users, *id, *at);
        }
        for (id, at) in &gathered.servers {
            note(&mut self.young.servers, *id, *at);
        }
    }
}

/// The latest instant of each.
#[derive(Debug, Default)]
struct Gathered {
    users: BTreeMap<UserId, Timestamp>,
    servers: BTreeMap<ServerId, Timestamp>,
    tokens: BTreeMap<TokenId, Timestamp>,
    sessions: BTreeMap<SessionId, Timestamp>,
}

fn note<K: Ord>(map: &mut BTreeMap<K, Timestamp>, key: K, at: Timestamp) {
    let known = map.entry(key).or_insert(at);
    *known = at.max(*known);
}

impl Gathered {
    fn is_empty(&self) -> bool {
        self.users.is_empty()
            && self.servers.is_empty()
            && self.tokens.is_empty()
            && self.sessions.is_empty()
    }

    fn merge(&mut self, other: &Self) {
        for (id, at) in &other.users {
            note(&mut self.users, *id, *at);
        }
        for (id, at) in &other.servers {
            note(&mut self.servers, *id, *at);
        }
        for (id, at) in &other.tokens {
            note(&mut self.tokens, *id, *at);
        }
        for (id, at) in &other.sessions {
            note(&mut self.sessions, *id, *at);
        }
    }

    fn batch(&self) -> ActivityBatch {
        let mut batch = ActivityBatch::default();
        for (id, at) in &self.users {
            batch.user(*id, *at);
        }
        for (id, at) in &self.servers {
            batch.server(*id, *at);
        }
        for (id, at) in &self.tokens {
            batch.token(*id, *at);
        }
        for (id, at) in &self.sessions {
            batch.session(*id, *at);
        }
        batch
    }
}

/// The activity was not written within reasonable time; it is kept, and written later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the activity could not be written yet")]
pub struct NotWritten;

impl Activity {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            pending: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Notes that a user did something just now.
    pub(crate) fn user_seen(&self, user: UserId) {
        let now = self.clock.now();
        note(&mut self.lock().gathered.users, user, now);
    }

    /// Notes that a login was used just now.
    pub(crate) fn session_seen(&self, session: SessionId, user: Option<UserId>) {
        let now = self.clock.now();
        let mut pending = self.lock();
        note(&mut pending.gathered.sessions, session, now);
        if let Some(user) = user {
            note(&mut pending.gathered.users, user, now);
        }
    }

    /// Notes that a token was used just now, and that this was its user's doing, if it was.
    pub(crate) fn token_seen(&self, token: TokenId, user: Option<UserId>) {
        let now = self.clock.now();
        let mut pending = self.lock();
        note(&mut pending.gathered.tokens, token, now);
        if let Some(user) = user {
            note(&mut pending.gathered.users, user, now);
        }
    }

    /// Notes what the gateway saw.
    pub(crate) fn server_used(&self, user: UserId, server: ServerId, at: Timestamp) {
        let mut pending = self.lock();
        note(&mut pending.gathered.users, user, at);
        note(&mut pending.gathered.servers, server, at);
    }

    /// Has what was noticed written as soon as a report.
    pub(crate) fn write_soon(&self) {
        self.wake.notify_one();
    }

    /// When a user was last seen, as far as it is not written yet, or was written a moment ago.
    pub(crate) fn of_user(&self, user: UserId) -> Option<Timestamp> {
        let pending = self.lock();
        pending
            .all()
            .into_iter()
            .filter_map(|one| one.users.get(&user))
            .max()
            .copied()
    }

    /// When a server was last used, as far as it is not written yet, or was written a moment ago.
    pub(crate) fn of_server(&self, server: ServerId) -> Option<Timestamp> {
        let pending = self.lock();
        pending
            .all()
            .into_iter()
            .filter_map(|one| one.servers.get(&server))
            .max()
            .copied()
    }

    /// When a server was last active, as it has reported in this run of Lyceum.
    pub(crate) fn reported_of(&self, server: ServerId) -> Option<Timestamp> {
        self.lock().reported.get(&server).copied()
    }

    /// Forgets the reports of servers that are not wanted any more.
    pub(crate) fn keep_reports(&self, wanted: &BTreeSet<ServerId>) {
        self.lock().reported.retain(|id, _| wanted.contains(id));
    }

    /// When a token was last used, as far as it is not written yet, or was written a moment ago.
    pub(crate) fn of_token(&self, token: TokenId) -> Option<Timestamp> {
        let pending = self.lock();
        pending
            .all()
            .into_iter()
            .filter_map(|one| one.tokens.get(&token))
            .max()
            .copied()
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
                note(&mut pending.gathered.users, id, at);
            }
            let now = self.clock.now();
            for (id, at) in servers {
                note(&mut pending.gathered.servers, *id, *at);
                // What was reported before the clock was set back must not hide what is reported from then on.
                if let Some(known) = pending.reported.get_mut(id) {
                    *known = now.min(*known);
                }
                note(&mut pending.reported, *id, *at);
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
        let (gathered, reports) = {
            let mut pending = self.lock();
            pending.in_flight = Arc::new(std::mem::take(&mut pending.gathered));
            (
                Arc::clone(&pending.in_flight),
                std::mem::take(&mut pending.reports),
            )
        };
        if gathered.is_empty() && reports.is_empty() {
            return true;
        }
        let written = async {
            let mut tx = store.begin().await?;
            tx.record_activity(&gathered.batch()).await?;
            tx.commit().await
        };
        let written = written.await;
        let mut pending = self.lock();
        pending.in_flight = Arc::default();
        match written {
            Ok(()) => {
                pending.written.add(&gathered);
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
                pending.gathered.merge(&gathered);
                // Who does not wait any more was told that it is not written yet.
                let waiting = reports.into_iter().filter(|report| !report.is_closed());
                pending.reports.extend(waiting);
                false
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
