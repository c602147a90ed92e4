//! From which Python environment a server runs, and whether another generation waits for its next start.
//!
//! Nothing is looked up here: the handle says the first, and whoever watches the environments the second.

use lyceum_core::ServerRef;
use lyceum_core::seams::PythonInUse;

use crate::Hub;

/// The Python environment that a server runs from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPython {
    /// Which, and which generation of it.
    pub python: PythonInUse,
    /// What people see of it.
    pub title: String,
    /// The generation that the next start has, if it is another one.
    pub next: Option<u32>,
}

impl ServerPython {
    /// Whether the next start has a newer generation; if one waits at all, it is an older one otherwise.
    pub fn is_newer_ready(&self) -> bool {
        self.next.is_some_and(|next| next > self.python.generation)
    }
}

impl Hub {
    /// Tells from which Python environment a server runs; `None` if it does not run, or from none of the configuration's.
    pub fn server_python(&self, server: &ServerRef) -> Option<ServerPython> {
        let running = self.servers().running_server(server)?;
        let python = self.shared().spawner.python(&running.handle)?;
        let now = self.settings().pythons.as_ref();
        let now = now.and_then(|pythons| pythons.find(&python.name));
        let next = now.as_ref().and_then(|now| now.current);
        Some(ServerPython {
            title: now.map_or_else(|| python.name.clone(), |now| now.title),
            next: next.filter(|next| *next != python.generation),
            python,
        })
    }
}
