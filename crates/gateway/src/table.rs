//! The route table: an immutable snapshot, replaced whole; readers never wait.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use lyceum_core::clock::Timestamp;
use lyceum_core::seams::{Routes, RoutesError};
use lyceum_core::{Route, RouteSpec, RouteStatus, Upstream};

use crate::path;

/// The gateway's routes; a clone is the same table.
///
/// Kept in memory only: the hub puts its routes again after a restart.
#[derive(Clone, Default)]
pub struct RouteTable(Arc<Shared>);

#[derive(Default)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    /// Held while a new snapshot is made, so that two changes cannot lose one another.
    change: Mutex<()>,
}

/// All routes at one moment.
///
/// Keys are path prefixes without their last slash, so that a prefix of the request's path, cut at a
/// slash, is a key as it stands.
#[derive(Default, Clone)]
struct Snapshot {
    anywhere: Paths,
    hosts: HashMap<Arc<str>, Paths>,
}

#[derive(Default, Clone)]
struct Paths {
    entries: HashMap<Arc<str>, Arc<Entry>>,
    /// The number of segments of the deepest route, beyond which no prefix is tried.
    deepest: usize,
}

/// One route with what the gateway has seen of it.
pub(crate) struct Entry {
    pub(crate) route: Route,
    /// Tells pooled connections of this target from those of any other, ever.
    pub(crate) target_id: u64,
    activity: Arc<Activity>,
}

/// The time of the last activity, which outlives the replacement of a route.
pub(crate) struct Activity(AtomicI64);

const NEVER: i64 = i64::MIN;

impl Activity {
    fn new() -> Self {
        Self(AtomicI64::new(NEVER))
    }

    /// Moves the last activity forward; never back.
    fn touch(&self, now: Timestamp) {
        self.0.fetch_max(now.as_microsecond(), Ordering::Relaxed);
    }

    fn last(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros != NEVER)
            .then(|| Timestamp::from_microsecond(micros).ok())
            .flatten()
    }
}

impl Entry {
    /// Notes that user traffic passed.
    pub(crate) fn touch(&self, now: Timestamp) {
        self.activity.touch(now);
    }
}

impl RouteTable {
    /// Makes a table without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells which route serves a request, by the longest prefix of host and path.
    ///
    /// `host` may have a port, `path` is the raw path of the URL. A route for the host wins over one for
    /// every host. A route for `/user/ada/` covers `/user/ada` and not `/user/adam/`.
    pub fn find_spec(&self, host: &str, path: &str) -> Option<RouteSpec> {
        self.find(host, &path::resolve_dots(path))
            .map(|entry| entry.route.spec.clone())
    }

    /// Finds the route for a request; the path has no dot segments any more.
    ///
    /// Works on one snapshot. Allocates only if the path has escapes, or routes have hosts and the
    /// request's host has capital letters.
    pub(crate) fn find(&self, host: &str, raw_path: &str) -> Option<Arc<Entry>> {
        let snapshot = self.0.snapshot.load();
        let decoded = path::decode(raw_path);
        let for_host = (!snapshot.hosts.is_empty())
            .then(|| snapshot.of_host(host))
            .flatten()
            .and_then(|paths| paths.longest(&decoded));
        for_host
            .or_else(|| snapshot.anywhere.longest(&decoded))
            .cloned()
    }

    fn change(&self, edit: impl FnOnce(&mut Snapshot)) {
        let guard = self.0.change.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.0.snapshot.load());
        edit(&mut next);
        self.0.snapshot.store(Arc::new(next));
        drop(guard);
    }

    fn put_now(&self, route: Route) {
        let unchanged = |entry: &Arc<Entry>| entry.route == route;
        if self
            .0
            .snapshot
            .load()
            .get(&route.spec)
            .is_some_and(unchanged)
        {
            return;
        }
        self.change(|snapshot| {
            let key: Arc<str> = key_of(&route.spec).into();
            let paths = match route.spec.host() {
                None => &mut snapshot.anywhere,
                Some(host) => snapshot.hosts.entry(host.into()).or_default(),
            };
            let old = paths.entries.get(&key);
            let target_id = old
                .filter(|old| old.route.target == route.target)
                .map_or_else(next_target_id, |old| old.target_id);
            let activity = old.map_or_else(
                || Arc::new(Activity::new()),
                |old| Arc::clone(&old.activity),
            );
            paths.deepest = paths.deepest.max(segments(&key));
            let entry = Arc::new(Entry {
                route,
                target_id,
                activity,
            });
            paths.entries.insert(key, entry);
        });
    }

    fn remove_now(&self, spec: &RouteSpec) {
        if self.0.snapshot.load().get(spec).is_none() {
            return;
        }
        self.change(|snapshot| {
            let key = key_of(spec);
            match spec.host() {
                None => snapshot.anywhere.remove(key),
                Some(host) => {
                    if let Some(paths) = snapshot.hosts.get_mut(host) {
                        paths.remove(key);
                        if paths.entries.is_empty() {
                            snapshot.hosts.remove(host);
                        }
                    }
                }
            }
        });
    }
}

impl Snapshot {
    fn of_host(&self, host: &str) -> Option<&Paths> {
        let name = without_port(host);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.hosts.get(name.to_ascii_lowercase().as_str())
        } else {
            self.hosts.get(name)
        }
    }

    fn get(&self, spec: &RouteSpec) -> Option<&Arc<Entry>> {
        let paths = match spec.host() {
            None => &self.anywhere,
            Some(host) => self.hosts.get(host)?,
        };
        paths.entries.get(key_of(spec))
    }
}

impl Paths {
    fn longest(&self, decoded: &str) -> Option<&Arc<Entry>> {
        if self.entries.is_empty() {
            return None;
        }
        let trimmed = decoded.strip_suffix('/').unwrap_or(decoded);
        // Cut to the depth of the deepest route, then take segments away one by one.
        let mut prefix = trimmed
            .match_indices('/')
            .nth(self.deepest)
            .and_then(|(at, _)| trimmed.get(..at))
            .unwrap_or(trimmed);
        loop {
            if let Some(entry) = self.entries.get(prefix) {
                return Some(entry);
            }
            prefix = prefix.get(..prefix.rfind('/')?)?;
        }
    }

    fn remove(&mut self, key: &str) {
        self.entries.remove(key);
        self.deepest = self
            .entries
            .keys()
            .map(|key| segments(key))
            .max()
            .unwrap_or(0);
    }
}

fn key_of(spec: &RouteSpec) -> &str {
    let prefix = spec.path_prefix();
    prefix.strip_suffix('/').unwrap_or(prefix)
}

fn segments(key: &str) -> usize {
    key.matches('/').count()
}

fn next_target_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Gives a host without its port: `hub.example.org:8000`, `[::1]:8000`.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host.get(colon..).is_some_and(|tail| tail.contains(']')) => {
            host.get(..colon).unwrap_or(host)
        }
        _ => host,
    }
}

#[async_trait]
impl Routes for RouteTable {
    async fn put(&self, route: Route) -> Result<(), RoutesError> {
        self.put_now(route);
        Ok(())
    }

    async fn remove(&self, spec: &RouteSpec) -> Result<(), RoutesError> {
        self.remove_now(spec);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<RouteStatus>, RoutesError> {
        let snapshot = self.0.snapshot.load();
        let mut all: Vec<RouteStatus> = std::iter::once(&snapshot.anywhere)
            .chain(snapshot.hosts.values())
            .flat_map(|paths| paths.entries.values())
            .map(|entry| RouteStatus {
                route: entry.route.clone(),
                last_activity: entry.activity.last(),
            })
            .collect();
        all.sort_by(|a, b| a.route.spec.cmp(&b.route.spec));
        Ok(all)
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot.load();
        let routes = snapshot.anywhere.entries.len()
            + snapshot
                .hosts
                .values()
                .map(|paths| paths.entries.len())
                .sum::<usize>();
        f.debug_struct("RouteTable")
            .field("routes", &routes)
            .finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("route", &self.route)
            .field("last_activity", &self.activity.last())
            .finish_non_exhaustive()
    }
}

impl Entry {
    pub(crate) fn target(&self) -> &Upstream {
        &self.route.target
    }
}

#[cfg(test)]
mod tests;
