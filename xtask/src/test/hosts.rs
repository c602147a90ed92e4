//! Test hosts, which are whole Debian systems: what all of them begin with is made beside the builds.
//!
//! `e2e/hosts/host.sh` makes it if nobody has, and waits for whoever does; so nothing here has to be waited for.

use std::path::Path;
use std::process::{Child, Stdio};

use super::needs::Installing;
use crate::shell::command;

/// The making of the base, which goes on by itself.
#[derive(Debug)]
pub(super) struct Making(Option<Child>);

/// Begins to make the base, unless nothing may be installed. If that fails, the tests that need hosts say why.
pub(super) fn begin(root: &Path, wanted: bool, installing: Installing) -> Making {
    if !wanted || installing == Installing::Forbidden {
        return Making(None);
    }
    println!("    preparing test hosts from Debian's mirror, beside the rest");
    let script = root.join("e2e/hosts/host.sh");
    let mut making = command(root, script, &["base"]);
    making.stdout(Stdio::null()).stderr(Stdio::null());
    Making(making.spawn().ok())
}

impl Drop for Making {
    /// Waits until it is made: cut off, it would leave half of it.
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.wait();
        }
    }
}
