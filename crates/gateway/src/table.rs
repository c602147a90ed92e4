//! The route table: an immutable snapshot, replaced whole; readers never wait.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;

use lyceum_core::clock::Timestamp;
use lyceum_core::seams::{Routes, RoutesError};
use lyceum_core::{Route, RouteSpec, RouteStatus, Upstream};

use crate::path;
use crate::site::{Site, SiteAction};

mod sharded;

use sharded::Sharded;

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
#[derive(Default, Clone)]
struct Snapshot {
    routes: Layer,
    /// Those of the configuration.
    sites: Arc<Layer>,
}

/// Entries by host and path.
///
/// Keys are path prefixes without their last slash, so that a prefix of the request's path, cut at a
/// slash, is a key as it stands.
#[derive(Default, Clone)]
struct Layer {
    anywhere: Paths,
    hosts: Sharded<Paths>,
}

#[derive(Default, Clone)]
struct Paths {
    entries: Sharded<Arc<Entry>>,
    /// How many entries have a prefix of 0, 1, 2, … segments. Beyond the last of them no prefix is tried.
    depths: Vec<usize>,
}

/// One route with what the gateway has seen of it.
pub(crate) struct Entry {
    pub(crate) route: Route,
    /// The site, if it is one.
    pub(crate) site: Option<Arc<Site>>,
    /// Tells pooled connections of this target from those of any other, ever.
    pub(crate) target_id: u64,
    activity: Arc<Activity>,
}

/// The times of the last activity and of the last action, which outlive the replacement of a route.
pub(crate) struct Activity {
    traffic: Latest,
    /// What looks like a person's doing; see `action.rs`.
    action: Latest,
}

/// The latest instant of something.
struct Latest(AtomicI64);

const NEVER: i64 = i64::MIN;
/// Activity that close to the last, in microseconds, is not noted.
const FINEST: i64 = 5_000;
/// So much before the last one, in microseconds, activity comes only if the clock was set back.
const SET_BACK: i64 = 10_000_000;

impl Activity {
    fn new() -> Self {
        Self {
            traffic: Latest::never(),
            action: Latest::never(),
        }
    }
}

impl Latest {
    fn never() -> Self {
        Self(AtomicI64::new(NEVER))
    }

    /// Moves it forward; never back.
    fn touch(&self, now: Timestamp) {
        let now = now.as_microsecond();
        let last = self.0.load(Ordering::Relaxed);
        let passed = now.saturating_sub(last);
        // Reading is cheap while nobody writes; several threads that write the same place are not.
        if passed > FINEST {
            self.0.fetch_max(now, Ordering::Relaxed);
        } else if passed < -SET_BACK {
            // The clock was set back. What comes now is later, whatever it says.
            self.0.store(now, Ordering::Relaxed);
        }
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
        self.activity.traffic.touch(now);
    }

    /// Notes that somebody did something.
    pub(crate) fn touch_action(&self, now: Timestamp) {
        self.activity.action.touch(now);
    }
}

impl RouteTable {
    /// Removes a route at once; tells whether there was one. The same as [`Routes::remove`] otherwise.
    pub fn take_out(&self, spec: &RouteSpec) -> bool {
        self.remove_now(spec)
    }

    /// Puts a route at once. The same as [`Routes::put`] otherwise.
    pub fn put_in(&self, route: Route) {
        self.put_now(route);
    }

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
        let site = snapshot.sites.longest(host, &decoded);
        let route = snapshot.routes.longest(host, &decoded);
        match (site, route) {
            (Some(site), Some(route)) if rank(site) > rank(route) => Some(site),
            (site, route) => route.or(site),
        }
        .cloned()
    }

    /// Replaces all sites. Two with the same host and prefix are one: the last.
    pub fn set_sites(&self, sites: impl IntoIterator<Item = Site>) {
        let mut layer = Layer::default();
        for site in sites {
            let target = match &site.action {
                SiteAction::Forward(forwarding) => forwarding.target.clone(),
                // Never asked for.
                SiteAction::Files(_) | SiteAction::Redirect { .. } => {
                    Upstream::Unix(PathBuf::new())
                }
            };
            let route = Route {
                spec: site.spec.clone(),
                target,
                target_path: String::new(),
                data: serde_json::Map::default(),
            };
            let entry = Arc::new(Entry {
                route,
                site: Some(Arc::new(site)),
                target_id: next_target_id(),
                activity: Arc::new(Activity::new()),
            });
            layer.put(entry);
        }
        self.change(|snapshot| snapshot.sites = Arc::new(layer));
    }

    /// Gives the site that serves a request, if it is one and no route.
    pub fn find_site(&self, host: &str, path: &str) -> Option<Arc<Site>> {
        self.find(host, &path::resolve_dots(path))
            .and_then(|entry| entry.site.clone())
    }

    /// Gives the route that serves a request, if it is one and no site.
    pub fn find_route(&self, host: &str, path: &str) -> Option<Route> {
        self.find(host, &path::resolve_dots(path))
            .filter(|entry| entry.site.is_none())
            .map(|entry| entry.route.clone())
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
            .routes
            .get(&route.spec)
            .is_some_and(unchanged)
        {
            return;
        }
        self.change(|snapshot| {
            let old = snapshot.routes.get(&route.spec);
            let target_id = old
                .filter(|old| old.route.target == route.target)
                .map_or_else(next_target_id, |old| old.target_id);
            let activity = old.map_or_else(
                || Arc::new(Activity::new()),
                |old| Arc::clone(&old.activity),
            );
            snapshot.routes.put(Arc::new(Entry {
                route,
                site: None,
                target_id,
                activity,
            }));
        });
    }

    fn remove_now(&self, spec: &RouteSpec) -> bool {
        if self.0.snapshot.load().routes.get(spec).is_none() {
            return false;
        }
        self.change(|snapshot| snapshot.routes.remove(spec));
        true
    }

    /// Gives one route with its last activity; `None` if there is none of exactly this spec.
    pub fn get(&self, spec: &RouteSpec) -> Option<RouteStatus> {
        self.0.snapshot.load().routes.get(spec).map(status)
    }

    /// Notes activity on a route, as configurable-http-proxy does when one is added.
    pub fn touch(&self, spec: &RouteSpec, now: Timestamp) {
        if let Some(entry) = self.0.snapshot.load().routes.get(spec) {
            entry.touch(now);
        }
    }
}

fn status(entry: &Arc<Entry>) -> RouteStatus {
    RouteStatus {
        route: entry.route.clone(),
        last_activity: entry.activity.traffic.last(),
        last_action: entry.activity.action.last(),
    }
}

/// What wins: a host before none, then the longer prefix.
fn rank(entry: &Arc<Entry>) -> (bool, usize) {
    let spec = &entry.route.spec;
    (spec.host().is_some(), spec.path_prefix().len())
}

impl Layer {
    fn longest(&self, host: &str, decoded: &str) -> Option<&Arc<Entry>> {
        let for_host = (!self.hosts.is_empty())
            .then(|| self.of_host(host))
            .flatten()
            .and_then(|paths| paths.longest(decoded));
        for_host.or_else(|| self.anywhere.longest(decoded))
    }

    fn of_host(&self, host: &str) -> Option<&Paths> {
        let name = without_port(host);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.hosts.get(&name.to_ascii_lowercase())
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

    fn put(&mut self, entry: Arc<Entry>) {
        match entry.route.spec.host() {
            None => self.anywhere.put(entry),
            Some(host) => {
                let mut paths = self.hosts.get(host).cloned().unwrap_or_default();
                let host: Arc<str> = host.into();
                paths.put(entry);
                self.hosts.put(host, paths);
            }
        }
    }

    fn remove(&mut self, spec: &RouteSpec) {
        let key = key_of(spec);
        let Some(host) = spec.host() else {
            self.anywhere.remove(key);
            return;
        };
        let Some(mut paths) = self.hosts.get(host).cloned() else {
            return;
        };
        paths.remove(key);
        if paths.entries.is_empty() {
            self.hosts.remove(host);
        } else {
            self.hosts.put(host.into(), paths);
        }
    }
}

impl Paths {
    fn longest(&self, decoded: &str) -> Option<&Arc<Entry>> {
        let deepest = self.depths.len().checked_sub(1)?;
        let trimmed = decoded.strip_suffix('/').unwrap_or(decoded);
        // Cut to the depth of the deepest route, then take segments away one by one.
        let mut prefix = trimmed
            .match_indices('/')
            .nth(deepest)
            .and_then(|(at, _)| trimmed.get(..at))
            .unwrap_or(trimmed);
        loop {
            if let Some(entry) = self.entries.get(prefix) {
                return Some(entry);
            }
            prefix = prefix.get(..prefix.rfind('/')?)?;
        }
    }

    fn put(&mut self, entry: Arc<Entry>) {
        let key: Arc<str> = key_of(&entry.route.spec).into();
        let depth = segments(&key);
        if self.entries.put(key, entry).is_some() {
            return;
        }
        if self.depths.len() <= depth {
            self.depths.resize(depth + 1, 0);
        }
        if let Some(count) = self.depths.get_mut(depth) {
            *count += 1;
        }
    }

    fn remove(&mut self, key: &str) {
        if self.entries.remove(key).is_none() {
            return;
        }
        if let Some(count) = self.depths.get_mut(segments(key)) {
            *count -= 1;
        }
        while self.depths.last() == Some(&0) {
            self.depths.pop();
        }
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
        let mut all: Vec<RouteStatus> = snapshot.routes.all().map(status).collect();
        all.sort_by(|a, b| a.route.spec.cmp(&b.route.spec));
        Ok(all)
    }
}

impl Layer {
    fn all(&self) -> impl Iterator<Item = &Arc<Entry>> {
        std::iter::once(&self.anywhere)
            .chain(self.hosts.values())
            .flat_map(|paths| paths.entries.values())
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot.load();
        f.debug_struct("RouteTable")
            .field("routes", &snapshot.routes.all().count())
            .field("sites", &snapshot.sites.all().count())
            .finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("route", &self.route)
            .field("last_activity", &self.activity.traffic.last())
            .finish_non_exhaustive()
    }
}

impl Entry {
    /// Where requests go.
    pub(crate) fn target(&self) -> &Upstream {
        &self.route.target
    }
}

#[cfg(test)]
mod tests;
