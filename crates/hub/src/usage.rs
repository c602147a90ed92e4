//! What servers use of the machine: looked at in the background and for pages, and remembered for some seconds.
//!
//! Nothing waits long for it, and nothing depends on it: a spawner that cannot tell, or does not answer in time, leaves
//! a gap on the page.

mod notice;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyceum_core::seams::{Handle, HomeSpace, Usage};
use lyceum_core::{ServerRef, Timestamp, UserName};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

pub use self::notice::{Happening, ServerNotice};
use crate::Hub;

/// How often all servers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long that may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// How long a page waits for an answer.
const PAGE_LIMIT: Duration = Duration::from_secs(1);
/// How long what a server uses is not asked again.
const FRESH: Duration = Duration::from_secs(5);
/// How long the space of a home is not asked again.
const HOME_FRESH: Duration = Duration::from_secs(20);
/// How old what is shown may be.
const OLDEST: Duration = Duration::from_mins(1);
/// How many homes are remembered; more are forgotten at once.
const HOMES: usize = 10_000;
/// How many notices of a server are kept.
const NOTICES: usize = 5;

/// What is known of the use of servers.
#[derive(Debug)]
pub(crate) struct Usages {
    /// When this run of Lyceum began: what happened to servers before was told then.
    since: Timestamp,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    servers: HashMap<ServerRef, Seen>,
    homes: HashMap<UserName, Home>,
}

/// What was seen of one run of a server.
#[derive(Debug)]
struct Seen {
    handle: Handle,
    /// When a page last asked for it.
    asked: Option<Instant>,
    /// What the answer was, and when.
    last: Option<(Instant, Usage)>,
    /// How many ends for lack of memory are told already; `None` before the first answer.
    told: Option<u64>,
    notices: Vec<ServerNotice>,
}

#[derive(Debug)]
struct Home {
    asked: Instant,
    space: Option<HomeSpace>,
}

/// Nobody has asked lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ToAsk;

/// A server that runs.
#[derive(Debug, Clone)]
pub(crate) struct RunningServer {
    pub(crate) server: ServerRef,
    pub(crate) handle: Handle,
    pub(crate) started: Option<Timestamp>,
}

impl Usages {
    pub(crate) fn new(since: Timestamp) -> Self {
        Self {
            since,
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a run of a server, if that is not too old.
    fn last(&self, server: &ServerRef, handle: &Handle, now: Instant) -> Option<Usage> {
        let known = self.lock();
        let seen = known
            .servers
            .get(server)
            .filter(|seen| seen.handle == *handle)?;
        let (at, usage) = seen.last?;
        (now.saturating_duration_since(at) < OLDEST).then_some(usage)
    }

    /// Notes that a server is asked about; `false` if it has been a moment ago.
    fn ask(&self, running: &RunningServer, now: Instant) -> bool {
        let mut known = self.lock();
        let seen = known.entry(running);
        let is_due = seen
            .asked
            .is_none_or(|asked| now.saturating_duration_since(asked) >= FRESH);
        if is_due {
            seen.asked = Some(now);
        }
        is_due
    }

    /// Writes an answer down; returns how many ends for lack of memory are new in it.
    fn note(&self, running: &RunningServer, usage: Usage, at: Timestamp) -> u64 {
        let mut known = self.lock();
        let seen = known.entry(running);
        seen.last = Some((Instant::now(), usage));
        // What happened before this run of Lyceum to a server that it has found is not news.
        let is_ours = running.started.is_some_and(|started| started >= self.since);
        let told = seen
            .told
            .unwrap_or(if is_ours { 0 } else { usage.out_of_memory });
        let new = usage.out_of_memory.saturating_sub(told);
        seen.told = Some(usage.out_of_memory.max(told));
        if new > 0 {
            let limit = usage.memory_limit;
            let what = Happening::OutOfMemory { limit, times: new };
            seen.notices.push(ServerNotice { at, what });
            let excess = seen.notices.len().saturating_sub(NOTICES);
            seen.notices.drain(..excess);
        }
        new
    }

    /// Forgets servers that do not run any more.
    fn keep_only(&self, running: &[RunningServer]) {
        let running: HashSet<&ServerRef> = running.iter().map(|one| &one.server).collect();
        let mut known = self.lock();
        known.servers.retain(|server, _| running.contains(server));
        known.homes.retain(|_, home| home.asked.elapsed() < OLDEST);
    }

    fn notices(&self, server: &ServerRef, handle: &Handle) -> Vec<ServerNotice> {
        let known = self.lock();
        let seen = known
            .servers
            .get(server)
            .filter(|seen| seen.handle == *handle);
        seen.map(|seen| seen.notices.clone()).unwrap_or_default()
    }

    /// The space of a home, as the answer was a moment ago; an error if it has to be asked now.
    fn home(&self, user: &UserName, now: Instant) -> Result<Option<HomeSpace>, ToAsk> {
        let mut known = self.lock();
        if let Some(home) = known.homes.get_mut(user) {
            // A home that is not there yet may be so in a moment.
            let fresh = if home.space.is_some() {
                HOME_FRESH
            } else {
                FRESH
            };
            if now.saturating_duration_since(home.asked) < fresh {
                return Ok(home.space);
            }
            home.asked = now;
        } else if known.homes.len() < HOMES {
            let home = Home {
                asked: now,
                space: None,
            };
            known.homes.insert(user.clone(), home);
        }
        Err(ToAsk)
    }

    fn forget_home(&self, user: &UserName) {
        self.lock().homes.remove(user);
    }

    fn note_home(&self, user: &UserName, space: Option<HomeSpace>) {
        if let Some(home) = self.lock().homes.get_mut(user) {
            home.space = space;
        }
    }
}

impl Known {
    /// What is known of this run of a server; another run's is dropped.
    fn entry(&mut self, running: &RunningServer) -> &mut Seen {
        let new = || Seen {
            handle: running.handle.clone(),
            asked: None,
            last: None,
            told: None,
            notices: Vec::new(),
        };
        let seen = self
            .servers
            .entry(running.server.clone())
            .or_insert_with(new);
        if seen.handle != running.handle {
            *seen = new();
        }
        seen
    }
}

impl Hub {
    /// Tells what a server uses; asks the spawner if that was not done a moment ago, and waits a second at most. `None`
    /// if it does not run, or nobody can say.
    pub async fn server_usage(&self, server: &ServerRef) -> Option<Usage> {
        let running = self.servers().running_server(server)?;
        if self.usages().ask(&running, Instant::now()) {
            let asked = timeout(PAGE_LIMIT, self.shared().spawner.usage(&running.handle)).await;
            if let Ok(Some(usage)) = asked {
                self.note_usage(&running, usage);
            }
        }
        self.usages().last(server, &running.handle, Instant::now())
    }

    /// Tells what a server used when it was last looked at, a minute ago at most; asks nobody.
    pub fn last_usage(&self, server: &ServerRef) -> Option<Usage> {
        let running = self.servers().running_server(server)?;
        self.usages().last(server, &running.handle, Instant::now())
    }

    /// Tells how much space a user's home has; asks the spawner if that was not done a moment ago, and waits a second at
    /// most. `None` if nobody can say.
    pub async fn home_space(&self, user: &UserName) -> Option<HomeSpace> {
        if let Ok(space) = self.usages().home(user, Instant::now()) {
            return space;
        }
        let asked = self.shared().spawner.home_space(user);
        match timeout(PAGE_LIMIT, asked).await {
            // There is no home yet, or nobody counts: that was told at once, and may be otherwise in a moment.
            Ok(None) => {
                self.usages().forget_home(user);
                None
            }
            Ok(space @ Some(_)) => {
                self.usages().note_home(user, space);
                space
            }
            // It hangs: not every page is to wait for it.
            Err(_) => {
                self.usages().note_home(user, None);
                None
            }
        }
    }

    /// What has happened to a server that runs and its user should know, oldest first.
    pub fn server_notices(&self, server: &ServerRef) -> Vec<ServerNotice> {
        let running = self.servers().running_server(server);
        running.map_or_else(Vec::new, |running| {
            self.usages().notices(server, &running.handle)
        })
    }

    /// Looks at what all servers use, again and again.
    pub(crate) async fn look_at_usage(self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look_at_usage_once().await;
        }
    }

    /// Looks at what all servers use.
    pub async fn look_at_usage_once(&self) {
        let running = self.servers().running_servers();
        self.usages().keep_only(&running);
        let mut memory = 0_u64;
        if !running.is_empty() {
            let handles: Vec<Handle> = running.iter().map(|one| one.handle.clone()).collect();
            let asked = timeout(LOOK_LIMIT, self.shared().spawner.usage_of_all(&handles)).await;
            let Ok(all) = asked else {
                tracing::warn!("what servers use could not be seen in time");
                return;
            };
            for (running, usage) in running.iter().zip(all) {
                let Some(usage) = usage else { continue };
                memory = memory.saturating_add(usage.memory.unwrap_or(0));
                self.note_usage(running, usage);
            }
        }
        self.metrics().memory_of_servers(memory);
    }

    fn note_usage(&self, running: &RunningServer, usage: Usage) {
        let new = self.usages().note(running, usage, self.now());
        if new > 0 {
            self.metrics().out_of_memory(new);
            tracing::warn!(server.name = %running.server,
                "{new} programs of the server {} were ended because its memory was used up", running.server);
        }
    }
}

#[cfg(test)]
mod tests;
