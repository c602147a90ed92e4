//! What is done ahead, beside the parts that come first: fetching from elsewhere, and a build that takes its time from
//! nobody.
//!
//! Nothing fails here: each part does all that it needs once more, which takes no time where it is done, and tells
//! what is wrong where it is not.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::needs::{self, Installing};
use super::{Part, api, browsers, environments, pebble};

/// The work that is under way.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    fetching: Option<JoinHandle<()>>,
    environments: Option<JoinHandle<()>>,
    building: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Begins to fetch what the parts need from elsewhere, as the network is slow and compilers do not use it; and to
    /// build what is not ours, where other builds leave a processor idle.
    pub(super) fn begin(&mut self, root: &Path, parts: &[Part]) {
        let (folder, wanted) = (root.to_owned(), parts.to_owned());
        self.fetching = Some(thread::spawn(move || fetch(&folder, &wanted)));
        if parts.contains(&Part::Deny) {
            let folder = root.to_owned();
            self.building = Some(thread::spawn(move || {
                let _: Option<PathBuf> = needs::cargo_deny(&folder, Installing::Allowed).ok();
            }));
        }
    }

    /// Begins to make the Python environments of the tests; what makes them is compiled.
    pub(super) fn make_environments(&mut self, root: &Path, parts: &[Part]) {
        if parts.contains(&Part::Unit) || parts.contains(&Part::E2e) {
            let root = root.to_owned();
            self.environments = Some(thread::spawn(move || {
                let all = &environments::ENVIRONMENTS;
                let _ = environments::prepare(&root, all, Installing::Allowed);
            }));
        }
    }

    /// Waits until all is fetched, and the environments are made.
    pub(super) fn wait_for_needs(&mut self) {
        join(self.fetching.take());
        join(self.environments.take());
    }

    /// Waits until all is built.
    pub(super) fn wait_for_tools(&mut self) {
        join(self.building.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = thread.join();
    }
}

fn fetch(root: &Path, parts: &[Part]) {
    let installing = Installing::Allowed;
    if parts.contains(&Part::Unit) || parts.contains(&Part::E2e) {
        let _ = pebble::find(root, installing);
    }
    if parts.contains(&Part::Api) {
        let _: Option<PathBuf> = api::prepare(root, installing).ok();
    }
    if parts.contains(&Part::E2e) {
        let _: Option<PathBuf> = browsers::prepare(root, installing).ok();
    }
}
