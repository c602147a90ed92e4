//! Users' servers: one actor for each drives its life cycle, and everybody may look at its snapshot.

pub mod environment;
pub mod probe;
pub mod progress;

mod actor;
pub(crate) mod records;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lyceum_core::lifecycle::{Refusal, Running, State};
use lyceum_core::scope::Catalogue;
use lyceum_core::seams::{Routes, Spawner};
use lyceum_core::{Clock, ServerRef, Timestamp};
use lyceum_store::Store;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use self::actor::Snapshot;
use self::actor::{Actor, Message};
pub use self::records::StartInput;
use crate::settings::HubSettings;

/// How many questions may wait for one server; more than people can click.
const INBOX: usize = 64;

/// What every actor needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Arc<HubSettings>,
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Catalogue,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) routes: Arc<dyn Routes>,
    pub(crate) runtime: Handle,
}

/// All servers that run, or did something since Lyceum was started.
pub(crate) struct Servers {
    shared: Arc<Shared>,
    known: Mutex<HashMap<ServerRef, Known>>,
    actors: TaskTracker,
}

#[derive(Debug, Clone)]
struct Known {
    inbox: mpsc::Sender<Message>,
    seen: watch::Receiver<Snapshot>,
}

impl Servers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            known: Mutex::default(),
            actors: TaskTracker::new(),
        }
    }

    /// Looks at a server; one that never did anything is stopped.
    pub(crate) fn snapshot(&self, server: &ServerRef) -> Snapshot {
        self.find(server)
            .map_or_else(Snapshot::never_started, |known| known.seen.borrow().clone())
    }

    /// Follows a server; `None` if it never did anything.
    pub(crate) fn follow(&self, server: &ServerRef) -> Option<watch::Receiver<Snapshot>> {
        self.find(server).map(|known| known.seen)
    }

    /// How many servers are starting, and how many are active in all.
    pub(crate) fn counts(&self) -> Counts {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Counts::default();
        for entry in known.values() {
            let state = &entry.seen.borrow().state;
            counts.active += u32::from(state.is_active());
            counts.ready += u32::from(state.is_ready());
            counts.starting +=
                u32::from(state.pending() == Some(lyceum_core::lifecycle::Pending::Spawn));
        }
        counts
    }

    /// Asks for a start; returns when it is accepted or refused, not when it is done.
    pub(crate) async fn start(&self, server: &ServerRef, input: StartInput) -> Result<(), Refusal> {
        let known = self.find_or_make(server);
        let (reply, answer) = oneshot::channel();
        if known
            .inbox
            .send(Message::Start { input, reply })
            .await
            .is_err()
        {
            return Err(Refusal::Late);
        }
        answer.await.unwrap_or(Err(Refusal::Late))
    }

    /// Asks for a stop; returns when it is accepted or refused.
    pub(crate) async fn stop(&self, server: &ServerRef) -> Result<(), Refusal> {
        let Some(known) = self.find(server) else {
            return Err(Refusal::NotRunning);
        };
        let (reply, answer) = oneshot::channel();
        if known.inbox.send(Message::Stop { reply }).await.is_err() {
            return Err(Refusal::Late);
        }
        answer.await.unwrap_or(Err(Refusal::Late))
    }

    /// Takes over a server that was running when Lyceum ended; returns when its route is back.
    pub(crate) async fn adopt(
        &self,
        server: &ServerRef,
        running: Running,
        started: Option<Timestamp>,
    ) {
        let known = self.find_or_make(server);
        let (reply, answer) = oneshot::channel();
        if known
            .inbox
            .send(Message::Found {
                running,
                started,
                reply,
            })
            .await
            .is_ok()
        {
            let _ = answer.await;
        }
    }

    /// Has a server looked at because traffic could not reach it; does nothing if its inbox is full.
    pub(crate) fn suspect(&self, server: &ServerRef) {
        if let Some(known) = self.find(server) {
            let _ = known.inbox.try_send(Message::Suspect);
        }
    }

    /// Waits until the condition holds, at most `limit`; gives the last snapshot either way.
    pub(crate) async fn wait(
        &self,
        server: &ServerRef,
        limit: Duration,
        condition: impl Fn(&State) -> bool + Send,
    ) -> Snapshot {
        let Some(mut seen) = self.follow(server) else {
            return Snapshot::never_started();
        };
        let _ = timeout(limit, seen.wait_for(|snapshot| condition(&snapshot.state))).await;
        let last = seen.borrow().clone();
        last
    }

    /// Forgets a server that does not run; returns whether it did not.
    pub(crate) fn forget(&self, server: &ServerRef) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known
            .get(server)
            .is_some_and(|entry| entry.seen.borrow().state.is_active())
        {
            return false;
        }
        known.remove(server);
        true
    }

    /// All servers that are active now.
    pub(crate) fn active(&self) -> Vec<(ServerRef, Snapshot)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshots = known
            .iter()
            .map(|(server, entry)| (server.clone(), entry.seen.borrow().clone()));
        snapshots
            .filter(|(_, snapshot)| snapshot.state.is_active())
            .collect()
    }

    /// Ends all actors, leaving the servers as they are. Jobs that were under way are dropped.
    pub(crate) async fn shut_down(&self, limit: Duration) {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        self.actors.close();
        let _ = timeout(limit, self.actors.wait()).await;
    }

    fn find(&self, server: &ServerRef) -> Option<Known> {
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(server)
            .cloned()
    }

    fn find_or_make(&self, server: &ServerRef) -> Known {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let (inbox, receiver) = mpsc::channel(INBOX);
            let (sender, seen) = watch::channel(Snapshot::never_started());
            let actor = Actor::new(server.clone(), Arc::clone(&self.shared), sender, receiver);
            self.actors.spawn_on(actor.run(), &self.shared.runtime);
            Known { inbox, seen }
        };
        known.entry(server.clone()).or_insert_with(make).clone()
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("actors", &self.actors.len())
            .finish_non_exhaustive()
    }
}

/// How many servers there are, by what they do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Starting.
    pub starting: u32,
    /// Running, starting, stopping or being checked.
    pub active: u32,
    /// Running, with nothing going on.
    pub ready: u32,
}

impl Snapshot {
    fn never_started() -> Self {
        Self {
            state: State::initial(),
            started: None,
            progress: Arc::default(),
        }
    }
}
