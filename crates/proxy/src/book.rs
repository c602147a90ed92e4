//! The routes as the REST API knows them: each path with its data as they were given, over the gateway's table.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use lyceum_core::{Clock, Route, RouteSpec};
use lyceum_gateway::RouteTable;

use crate::json::{Json, Object};
use crate::target::{Target, TargetError};
use crate::time;

/// All routes of a proxy. What is put here is in the gateway's table before the call returns.
#[derive(Clone)]
pub struct RouteBook(Arc<Shared>);

struct Shared {
    table: RouteTable,
    host_routing: bool,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

/// Routes by path, listed in the order in which they came.
#[derive(Default)]
struct Kept {
    numbers: HashMap<String, u64>,
    entries: BTreeMap<u64, Entry>,
    next: u64,
}

struct Entry {
    path: String,
    spec: RouteSpec,
    data: Object,
    added: Timestamp,
}

impl RouteBook {
    /// A book without routes over a table. With host routing the first segment of a path is a host.
    pub fn new(table: RouteTable, host_routing: bool, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Shared {
            table,
            host_routing,
            clock,
            kept: Mutex::default(),
        }))
    }

    /// The gateway's table.
    pub fn table(&self) -> &RouteTable {
        &self.0.table
    }

    /// How many routes there are.
    pub fn count(&self) -> usize {
        self.kept().entries.len()
    }

    /// Puts a route that has nothing but a target.
    pub fn put_target(&self, path: &str, target: &str) -> Result<(), TargetError> {
        let target = ("target".to_owned(), Json::Text(target.to_owned()));
        self.put(path, Object::from_iter([target]))
    }

    /// Puts a route, or replaces the one at its path; `data` have a `target`. That counts as activity.
    pub(crate) fn put(&self, path: &str, mut data: Object) -> Result<(), TargetError> {
        let target: Target = data.text("target").unwrap_or_default().parse()?;
        let path = clean(&clean(path));
        if self.0.host_routing && path != "/" {
            let host = path.split('/').nth(1).unwrap_or_default().to_owned();
            data.set("host", Json::Text(host));
        }
        let spec = self.spec_of(&path);
        let route = Route {
            spec: spec.clone(),
            target: target.upstream,
            target_path: target.path,
            data: serde_json::Map::new(),
        };
        let added = self.0.clock.now();
        tracing::info!(route = %path, upstream = %route.target, "added a route");
        let mut kept = self.kept();
        self.0.table.put_in(route);
        kept.put(Entry {
            path,
            spec,
            data,
            added,
        });
        Ok(())
    }

    /// Removes a route; tells whether there was one.
    pub(crate) fn remove(&self, path: &str) -> bool {
        let path = clean(path);
        let mut kept = self.kept();
        let Some(entry) = kept.remove(&path) else {
            return false;
        };
        self.0.table.take_out(&entry.spec);
        tracing::info!(route = %path, "removed a route");
        true
    }

    /// Gives the data of one route, with its last activity.
    pub(crate) fn get(&self, path: &str) -> Option<Object> {
        let kept = self.kept();
        let number = kept.numbers.get(&clean(&clean(path)))?;
        let entry = kept.entries.get(number)?;
        Some(shown(entry, self.last_activity(entry)))
    }

    /// Gives all routes by path, or those without activity since a time.
    pub(crate) fn list(&self, inactive_since: Option<Timestamp>) -> Object {
        let inactive_since = inactive_since.map(time::to_milliseconds);
        let kept = self.kept();
        let all = kept.entries.values().filter_map(|entry| {
            let last = self.last_activity(entry);
            let wanted = inactive_since.is_none_or(|since| last < since);
            wanted.then(|| (entry.path.clone(), Json::Object(shown(entry, last))))
        });
        all.collect()
    }

    fn last_activity(&self, entry: &Entry) -> Timestamp {
        let seen = self.0.table.get(&entry.spec);
        let seen = seen.and_then(|status| status.last_activity);
        time::to_milliseconds(seen.map_or(entry.added, |seen| seen.max(entry.added)))
    }

    fn spec_of(&self, path: &str) -> RouteSpec {
        let inner = path.trim_matches('/');
        if !self.0.host_routing || inner.is_empty() {
            return RouteSpec::path(path);
        }
        let (host, path) = inner.split_once('/').unwrap_or((inner, ""));
        RouteSpec::path(path).on_host(host)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A path that is there already keeps its place.
    fn put(&mut self, entry: Entry) {
        let number = *self.numbers.entry(entry.path.clone()).or_insert(self.next);
        self.next += 1;
        self.entries.insert(number, entry);
    }

    fn remove(&mut self, path: &str) -> Option<Entry> {
        let number = self.numbers.remove(path)?;
        self.entries.remove(&number)
    }
}

fn shown(entry: &Entry, last_activity: Timestamp) -> Object {
    let mut data = entry.data.clone();
    data.set("last_activity", Json::Text(time::format(last_activity)));
    data
}

/// Gives a path a slash before it, and takes one after it away.
///
/// configurable-http-proxy does so twice where routes are put and shown, and once where they are removed.
fn clean(path: &str) -> String {
    let path = match path.strip_prefix('/') {
        Some(_) => path.to_owned(),
        None => format!("/{path}"),
    };
    match path.strip_suffix('/') {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => path,
    }
}

impl fmt::Debug for RouteBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteBook")
            .field("routes", &self.count())
            .field("host_routing", &self.0.host_routing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lyceum_core::SystemClock;

    use super::*;

    fn book(host_routing: bool) -> RouteBook {
        RouteBook::new(RouteTable::new(), host_routing, Arc::new(SystemClock))
    }

    fn paths(book: &RouteBook) -> Vec<String> {
        let list = serde_json::to_value(book.list(None)).unwrap();
        list.as_object().unwrap().keys().cloned().collect()
    }

    fn check_clean(path: &str, expected: &str) {
        assert_eq!(clean(path), expected, "{path}");
    }

    #[test]
    fn paths_begin_with_a_slash_and_end_without() {
        check_clean("/", "/");
        check_clean("", "/");
        check_clean("//", "/");
        check_clean("/a/", "/a");
        check_clean("a", "/a");
        check_clean("/a//", "/a/");
    }

    #[test]
    fn a_route_is_in_the_table_until_it_is_removed() {
        let book = book(false);
        book.put_target("/user/a b", "http://h:1/x").unwrap();
        let route = book.table().find_route("any", "/user/a%20b/lab").unwrap();
        assert_eq!(route.target.to_string(), "http://h:1");
        assert_eq!(route.target_path, "/x");
        assert!(book.remove("/user/a b/"));
        assert!(!book.remove("/user/a b"));
        assert_eq!(book.table().find_spec("any", "/user/a%20b/lab"), None);
        assert_eq!(book.count(), 0);
    }

    #[test]
    fn with_host_routing_the_first_segment_is_the_host() {
        let book = book(true);
        book.put_target("/", "http://h:1").unwrap();
        book.put_target("/ada.example.org/user/ada", "http://h:2")
            .unwrap();
        book.put_target("/hub.example.org", "http://h:3").unwrap();
        let found = |host: &str, path: &str| {
            let route = book.table().find_route(host, path).unwrap();
            route.target.to_string()
        };
        assert_eq!(found("ada.example.org:8000", "/user/ada/lab"), "http://h:2");
        assert_eq!(found("ada.example.org", "/user/adam"), "http://h:1");
        assert_eq!(found("hub.example.org", "/anything"), "http://h:3");
        assert_eq!(found("elsewhere", "/"), "http://h:1");
        let data = book.get("/ada.example.org/user/ada").unwrap();
        assert_eq!(data.text("host"), Some("ada.example.org"));
        assert_eq!(book.get("/").unwrap().text("host"), None);
    }

    #[test]
    fn routes_are_listed_in_the_order_in_which_they_came() {
        let book = book(false);
        for path in ["/z", "/a", "/m"] {
            book.put_target(path, "http://h:1").unwrap();
        }
        book.put_target("/z", "http://h:2").unwrap();
        let text = serde_json::to_string(&book.list(None)).unwrap();
        let place = |path: &str| text.find(&format!("\"{path}\"")).unwrap();
        assert!(
            place("/z") < place("/a") && place("/a") < place("/m"),
            "{text}"
        );
        assert_eq!(paths(&book).len(), 3);
    }

    #[test]
    fn adding_a_route_is_activity_of_it() {
        let book = book(false);
        book.put_target("/a", "http://h:1").unwrap();
        let now = SystemClock.now();
        let listed = |since| serde_json::to_value(book.list(Some(since))).unwrap();
        let later = now.checked_add(Duration::from_mins(1)).unwrap();
        let earlier = now.checked_sub(Duration::from_mins(1)).unwrap();
        assert!(listed(later).get("/a").is_some());
        assert!(listed(earlier).get("/a").is_none());
        book.table().touch(&RouteSpec::path("/a"), later);
        assert!(
            listed(later).get("/a").is_none(),
            "traffic is activity, too"
        );
    }

    #[test]
    fn a_target_that_is_none_changes_nothing() {
        let book = book(false);
        book.put_target("/a", "http://h:1").unwrap();
        book.put_target("/a", "nonsense").unwrap_err();
        assert_eq!(book.get("/a").unwrap().text("target"), Some("http://h:1"));
    }
}
