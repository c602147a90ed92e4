//! The sets of all environments that servers run from, and the way from a request to its file.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Response;
use lyceum_core::Route;
use tokio::runtime::Handle;

use super::answer::{self, StaticRequest};
use super::disk::Shared;
use super::rules;
use super::set::{Entry, StaticSet};
use crate::body::Body;
use crate::path;

/// The sets by the key of their environment; a clone is the same registry.
///
/// Which one is a server's is told by its route: the hub writes the key into the data of the route
/// ([`Route::ENVIRONMENT`]) if it knows which environment the server was started from. Without it nothing is found.
#[derive(Clone, Default)]
pub struct StaticSets(Arc<Inner>);

#[derive(Default)]
struct Inner {
    sets: ArcSwap<HashMap<String, Arc<StaticSet>>>,
    shared: Arc<Shared>,
}

/// A file that a request is for.
#[derive(Debug, Clone)]
pub struct StaticFile {
    pub(super) entry: Arc<Entry>,
    pub(super) set: Arc<StaticSet>,
    pub(super) shared: Arc<Shared>,
}

impl StaticSets {
    /// A registry without sets.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a set under a key, in place of the one that was there.
    pub fn put(&self, key: &str, set: &Arc<StaticSet>) {
        self.0.sets.rcu(|sets| {
            let mut sets = HashMap::clone(sets);
            sets.insert(key.to_owned(), Arc::clone(set));
            sets
        });
    }

    /// Takes a set out. Requests that have found a file in it already are still answered.
    pub fn remove(&self, key: &str) {
        self.0.sets.rcu(|sets| {
            let mut sets = HashMap::clone(sets);
            sets.remove(key);
            sets
        });
    }

    /// Gives the set of a key.
    pub fn get(&self, key: &str) -> Option<Arc<StaticSet>> {
        self.0.sets.load().get(key).cloned()
    }

    /// The keys that there are sets for, in no order.
    pub fn keys(&self) -> Vec<String> {
        self.0.sets.load().keys().cloned().collect()
    }

    /// Finds the file that a request is for; `None` if the server has to answer.
    ///
    /// `path` is the raw path of the URL, without dot segments, as [`RouteTable`](crate::RouteTable) takes it.
    /// Runs for every request of a server: costs a comparison or two if the path is none of ours.
    pub fn find(&self, route: &Route, path: &str) -> Option<StaticFile> {
        let key = route.environment()?;
        let decoded = path::decode(path);
        let below = decoded.strip_prefix(route.spec.path_prefix())?;
        if !rules::may_be_static(below) {
            return None;
        }
        let sets = self.0.sets.load();
        let set = sets.get(key)?;
        let entry = set.find(below)?;
        Some(StaticFile {
            entry: Arc::clone(entry),
            set: Arc::clone(set),
            shared: Arc::clone(&self.0.shared),
        })
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

impl StaticFile {
    /// Answers the request; `None` if the server has to, after all: for a method other than `GET` and `HEAD`,
    /// or if the file has vanished.
    ///
    /// What is in memory is answered at once; otherwise a thread of `disk`, the hub's runtime, reads it, at most
    /// for some seconds. May be dropped at any await.
    pub async fn respond(
        &self,
        request: StaticRequest<'_>,
        disk: &Handle,
    ) -> Option<Response<Body>> {
        answer::respond(self, request, disk).await
    }
}

impl fmt::Debug for StaticSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = self.0.sets.load();
        f.debug_map()
            .entries(sets.iter().map(|(key, set)| (key, set.summary())))
            .finish()
    }
}
