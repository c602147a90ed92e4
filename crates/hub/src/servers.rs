//! Users' servers: one actor for each drives its life cycle, and everybody may look at its snapshot.

pub mod environment;
pub mod probe;
pub mod progress;

pub(crate) mod reach;

mod actor;
mod listener;
mod records;
mod routes;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::lifecycle::{Pending, Refusal, State};
use lyceum_core::route::Upstream;
use lyceum_core::scope::Catalogue;
use lyceum_core::seams::{Routes, Spawner};
use lyceum_core::{Clock, RouteSpec, ServerRef, UserName};
use lyceum_store::{Server, Store, StoreError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub use self::actor::Snapshot;
use self::actor::{Actor, Message};
pub(crate) use self::actor::{Found, FoundLife};
pub use self::records::{Change, StartInput};
use crate::audit::Audit;
use crate::events::EventLog;
use crate::metrics::Metrics;
use crate::proxy::RouteCheck;
use crate::settings::HubSettings;
use crate::shutdown::Endings;
use crate::usage::RunningServer;

/// How many questions may wait for one server; more than people can click.
const INBOX: usize = 64;
/// How long an actor may take to deal with a question; each of its own waits is shorter.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is asked anew of a server whose actor has just ended, because its record was deleted.
const TRIES: u32 = 3;

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
    /// Nothing is started any more.
    pub(crate) closing: AtomicBool,
    pub(crate) metrics: Metrics,
    pub(crate) events: EventLog,
    pub(crate) audit: Audit,
    pub(crate) endings: Endings,
    pub(crate) route_check: RouteCheck,
}

impl Shared {
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }
}

/// All servers that run, or did something a short time ago.
pub(crate) struct Servers {
    shared: Arc<Shared>,
    known: Arc<Mutex<KnownServers>>,
    actors: TaskTracker,
}

#[derive(Debug, Default)]
struct KnownServers {
    all: HashMap<ServerRef, Known>,
    /// Those that are about to start: admitted, but not yet told.
    admitted: HashSet<ServerRef>,
    /// Lyceum is ending: nobody new is taken on.
    closed: bool,
}

#[derive(Debug, Clone)]
struct Known {
    inbox: mpsc::Sender<Message>,
    seen: watch::Receiver<Snapshot>,
}

/// How many servers may be starting, and how many may be active; 0 for any number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub(crate) starting: u32,
    pub(crate) active: u32,
}

/// Why a server may not start just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Too many are starting.
    Starting,
    /// Too many are active.
    Active,
}

/// A place among the starting servers, held until the start is under way.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    servers: &'a Servers,
    server: Option<ServerRef>,
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let Some(server) = &self.server {
            self.servers.lock().admitted.remove(server);
        }
    }
}

impl Servers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            known: Arc::default(),
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

    /// How many servers have an actor.
    pub(crate) fn remembered(&self) -> usize {
        self.lock().all.len()
    }

    /// How many servers are starting, and how many are active in all.
    pub(crate) fn counts(&self) -> Counts {
        self.lock().counts()
    }

    /// Takes a place for a start, if there is room; requests at the same time cannot take the same place.
    /// A server that is active needs none: the life cycle has its own answer for it.
    pub(crate) fn admit(
        &self,
        server: &ServerRef,
        capacity: Capacity,
    ) -> Result<Admission<'_>, NoRoom> {
        let mut known = self.lock();
        let active = |entry: &Known| entry.seen.borrow().state.is_active();
        let held = known.admitted.contains(server) || known.all.get(server).is_some_and(active);
        if held {
            return Ok(Admission {
                servers: self,
                server: None,
            });
        }
        let counts = known.counts();
        if capacity.starting > 0 && counts.starting >= capacity.starting {
            return Err(NoRoom::Starting);
        }
        if capacity.active > 0 && counts.active >= capacity.active {
            return Err(NoRoom::Active);
        }
        known.admitted.insert(server.clone());
        Ok(Admission {
            servers: self,
            server: Some(server.clone()),
        })
    }

    /// Asks for a start; returns when it is accepted or refused, not when it is done.
    pub(crate) async fn start(&self, server: &ServerRef, input: StartInput) -> Result<(), Refusal> {
        let input = Arc::new(input);
        for _ in 0..TRIES {
            let Some(known) = self.find_or_make(server) else {
                break;
            };
            let input = Arc::clone(&input);
            match ask(&known, |reply| Message::Start { input, reply }).await {
                Ok(result) => return result,
                Err(Unanswered::Ended) => self.drop_ended(server, &known),
                Err(Unanswered::Broke | Unanswered::TooSlow) => break,
            }
        }
        Err(if self.shared.is_closing() {
            Refusal::Closing
        } else {
            Refusal::NoAnswer
        })
    }

    /// Asks for a stop; returns when it is accepted or refused.
    pub(crate) async fn stop(&self, server: &ServerRef) -> Result<(), Refusal> {
        let Some(known) = self.find(server) else {
            return Err(Refusal::NotRunning);
        };
        match ask(&known, |reply| Message::Stop { reply }).await {
            Ok(result) => result,
            Err(Unanswered::Ended) => Err(Refusal::NotRunning),
            Err(Unanswered::Broke | Unanswered::TooSlow) => Err(Refusal::NoAnswer),
        }
    }

    /// Takes over a server that was not stopped when Lyceum ended; returns when its route is back, if it runs.
    pub(crate) async fn adopt(&self, server: &ServerRef, found: Found) {
        if let Some(known) = self.find_or_make(server) {
            let asked = ask(&known, |reply| Message::Found { found, reply });
            if asked.await.is_err() {
                tracing::error!(server.name = %server, "could not take over a server at once");
            }
        }
    }

    /// The route of a server, whether it is in the table or not.
    pub(crate) fn spec_of(&self, server: &ServerRef) -> RouteSpec {
        routes::spec(&self.shared, server)
    }

    /// All servers that run, with nothing going on, and where they answer.
    pub(crate) fn running(&self) -> Vec<(ServerRef, Upstream)> {
        let known = self.lock();
        let running =
            known
                .all
                .iter()
                .filter_map(|(server, entry)| match &entry.seen.borrow().state {
                    State::Ready(running) => Some((server.clone(), running.upstream.clone())),
                    _ => None,
                });
        running.collect()
    }

    /// A server that runs, with nothing going on.
    pub(crate) fn running_server(&self, server: &ServerRef) -> Option<RunningServer> {
        running_server(server, &self.find(server)?.seen.borrow())
    }

    /// All servers that run, with nothing going on.
    pub(crate) fn running_servers(&self) -> Vec<RunningServer> {
        let known = self.lock();
        let all = known.all.iter();
        all.filter_map(|(server, entry)| running_server(server, &entry.seen.borrow()))
            .collect()
    }

    /// Compares the route of a server with what the table says of it, and mends it.
    pub(crate) async fn mend_route(&self, server: &ServerRef, target: Option<Upstream>) {
        if let Some(known) = self.find_or_make(server) {
            let asked = ask(&known, |reply| Message::MendRoute { target, reply });
            if let Err(Unanswered::Broke | Unanswered::TooSlow) = asked.await {
                tracing::warn!(server.name = %server, "could not check the route of a server");
            }
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
        seen.borrow().clone()
    }

    /// Deletes the record of a server that does not run; returns whether it did not.
    pub(crate) async fn remove(&self, server: &ServerRef) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let Some(known) = self.find_or_make(server) else {
                break;
            };
            let answer = ask(&known, |reply| Message::Remove { reply }).await;
            match answer {
                Ok(answer) => {
                    if let Ok(true) = answer {
                        self.drop_ended(server, &known);
                    }
                    return answer;
                }
                Err(Unanswered::Ended) => self.drop_ended(server, &known),
                Err(Unanswered::Broke | Unanswered::TooSlow) => break,
            }
        }
        Ok(false)
    }

    /// Changes the record of a server that does not run; `None` if it runs, or nobody can tell.
    pub(crate) async fn change(
        &self,
        server: &ServerRef,
        change: Change,
    ) -> Result<Option<Server>, StoreError> {
        for _ in 0..TRIES {
            let Some(known) = self.find_or_make(server) else {
                break;
            };
            let change = change.clone();
            match ask(&known, |reply| Message::Change { change, reply }).await {
                Ok(answer) => {
                    if known.inbox.is_closed() {
                        self.drop_ended(server, &known);
                    }
                    return answer;
                }
                Err(Unanswered::Ended) => self.drop_ended(server, &known),
                Err(Unanswered::Broke | Unanswered::TooSlow) => break,
            }
        }
        Ok(None)
    }

    /// Has all starts refused from now on.
    pub(crate) fn close_to_starts(&self) {
        self.shared.closing.store(true, Ordering::SeqCst);
    }

    /// All servers that are active now, or about to start.
    pub(crate) fn active(&self) -> Vec<ServerRef> {
        let known = self.lock();
        let active = known
            .all
            .iter()
            .filter(|(_, entry)| entry.seen.borrow().state.is_active());
        let active: HashSet<_> = active
            .map(|(server, _)| server)
            .chain(&known.admitted)
            .collect();
        active.into_iter().cloned().collect()
    }

    /// The servers of a user that are active now, or about to start.
    pub(crate) fn active_of(&self, user: &UserName) -> Vec<ServerRef> {
        let mut active = self.active();
        active.retain(|server| server.user == *user);
        active
    }

    /// Ends the actors of a user's servers that are not active: the name is about to be nobody's, or another's.
    ///
    /// An actor ends when nobody can ask anything of it any more.
    pub(crate) fn forget_inactive(&self, user: &UserName) {
        self.lock()
            .all
            .retain(|server, entry| server.user != *user || entry.seen.borrow().state.is_active());
    }

    /// Ends all actors, leaving the servers as they are. Jobs that were under way are dropped.
    pub(crate) async fn shut_down(&self, limit: Duration) {
        {
            let mut known = self.lock();
            known.closed = true;
            known.all.clear();
        }
        self.actors.close();
        let _ = timeout(limit, self.actors.wait()).await;
    }

    fn find(&self, server: &ServerRef) -> Option<Known> {
        self.lock().all.get(server).cloned()
    }

    /// `None` when Lyceum is ending.
    fn find_or_make(&self, server: &ServerRef) -> Option<Known> {
        let mut known = self.lock();
        if known.closed {
            return None;
        }
        let make = || {
            let (inbox, receiver) = mpsc::channel(INBOX);
            let (sender, seen) = watch::channel(Snapshot::never_started());
            let actor = Actor::new(server.clone(), Arc::clone(&self.shared), sender, receiver);
            let all = Arc::downgrade(&self.known);
            let name = server.clone();
            let work = async move {
                actor.run().await;
                if let Some(all) = all.upgrade() {
                    let mut known = all.lock().unwrap_or_else(PoisonError::into_inner);
                    // It may have been replaced meanwhile.
                    if known
                        .all
                        .get(&name)
                        .is_some_and(|entry| entry.inbox.is_closed())
                    {
                        known.all.remove(&name);
                    }
                }
            };
            self.actors.spawn_on(work, &self.shared.runtime);
            Known { inbox, seen }
        };
        Some(known.all.entry(server.clone()).or_insert_with(make).clone())
    }

    /// Forgets an actor that has ended.
    fn drop_ended(&self, server: &ServerRef, ended: &Known) {
        let mut known = self.lock();
        if known
            .all
            .get(server)
            .is_some_and(|entry| entry.inbox.same_channel(&ended.inbox))
        {
            known.all.remove(server);
        }
    }

    fn lock(&self) -> MutexGuard<'_, KnownServers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownServers {
    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (server, entry) in &self.all {
            let state = &entry.seen.borrow().state;
            // Those that are admitted are counted below.
            let waits = self.admitted.contains(server);
            counts.active += u32::from(state.is_active() && !waits);
            counts.ready += u32::from(state.is_ready());
            counts.starting += u32::from(state.pending() == Some(Pending::Spawn) && !waits);
        }
        let admitted = u32::try_from(self.admitted.len()).unwrap_or(u32::MAX);
        counts.active = counts.active.saturating_add(admitted);
        counts.starting = counts.starting.saturating_add(admitted);
        counts
    }
}

fn running_server(server: &ServerRef, seen: &Snapshot) -> Option<RunningServer> {
    let State::Ready(running) = &seen.state else {
        return None;
    };
    Some(RunningServer {
        server: server.clone(),
        handle: running.handle.clone(),
        started: seen.started,
    })
}

/// Why an actor did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unanswered {
    /// It had ended before it dealt with the question.
    Ended,
    /// It panicked over the question. It goes on, but the question is lost.
    Broke,
    /// It is not done yet.
    TooSlow,
}

/// Asks an actor.
async fn ask<T>(
    known: &Known,
    message: impl FnOnce(oneshot::Sender<T>) -> Message,
) -> Result<T, Unanswered> {
    let (reply, answer) = oneshot::channel();
    let asked = async {
        known.inbox.send(message(reply)).await.ok()?;
        answer.await.ok()
    };
    match timeout(PATIENCE, asked).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) if known.inbox.is_closed() => Err(Unanswered::Ended),
        Ok(None) => Err(Unanswered::Broke),
        Err(_) => Err(Unanswered::TooSlow),
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
