//! What is done ahead, beside the parts that come first: fetching from elsewhere, and builds that take their time from
//! nobody.
//!
//! Nothing fails here: each part does all that it needs once more, which takes no time where it is done, and tells
//! what is wrong where it is not.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};

use super::needs::{self, Installing};
use super::{Part, api, browsers, build_program, environments, pebble};
use crate::shell;

/// The work that is under way.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    preparing: Option<JoinHandle<()>>,
    building: Option<JoinHandle<()>>,
    /// Closed as soon as the program is built.
    program: Option<Receiver<()>>,
}

impl Ahead {
    /// Begins to fetch what the parts need from elsewhere: the network is slow, and compilers do not use it.
    pub(super) fn prepare(&mut self, root: &Path, parts: &[Part]) {
        let (root, parts) = (root.to_owned(), parts.to_owned());
        self.preparing = Some(thread::spawn(move || prepare(&root, &parts)));
    }

    /// Waits until all is fetched.
    pub(super) fn wait_for_needs(&mut self) {
        join(self.preparing.take());
    }

    /// Begins to build what later parts need: processors are used while tests wait, and tests come first where they do
    /// not.
    pub(super) fn build(&mut self, root: &Path, parts: &[Part], installing: Installing) {
        let (root, parts) = (root.to_owned(), parts.to_owned());
        let (done, built) = mpsc::channel();
        self.program = Some(built);
        self.building = Some(thread::spawn(move || {
            // The end of one build keeps a single processor busy, and both have folders of their own.
            thread::scope(|scope| {
                if parts.contains(&Part::Deny) {
                    scope.spawn(|| needs::cargo_deny(&root, installing));
                }
                build_ahead(&root, &parts);
                drop(done);
            });
        }));
    }

    /// Waits until the program is built.
    pub(super) fn wait_for_program(&mut self) {
        if let Some(built) = self.program.take() {
            // Nothing is ever sent: it ends when the other side is dropped.
            let _ = built.recv();
        }
    }

    /// Waits until all builds are done.
    pub(super) fn wait_for_tools(&mut self) {
        join(self.building.take());
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if let Some(thread) = thread {
        let _ = thread.join();
    }
}

fn prepare(root: &Path, parts: &[Part]) {
    let installing = Installing::Allowed;
    if parts.contains(&Part::Unit) || parts.contains(&Part::E2e) {
        let _ = environments::prepare(root, &environments::ENVIRONMENTS, installing);
        let _ = pebble::find(root, installing);
    }
    if parts.contains(&Part::Api) {
        let _: Option<PathBuf> = api::prepare(root, installing).ok();
    }
    if parts.contains(&Part::E2e) {
        let _: Option<PathBuf> = browsers::prepare(root, installing).ok();
    }
}

fn build_ahead(root: &Path, parts: &[Part]) {
    if parts.contains(&Part::Build) {
        let mut build = shell::patiently(&build_program(root));
        let _ = build.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
