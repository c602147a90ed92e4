//! The Python environment that a server runs from: a named one, and its generation.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// From which generation of which environment a server was started. It keeps that for as long as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonInUse {
    /// The environment's name in the configuration.
    pub name: String,
    /// The number of its generation.
    pub generation: u32,
    /// The generation's own folder, without links: `sys.prefix` of what runs in it.
    pub prefix: PathBuf,
}

/// What is known of the environments that servers are started from. Asked for each page: must not wait.
pub trait Pythons: fmt::Debug + Send + Sync {
    /// What there is now of the environment of this name; `None` if the configuration has none.
    fn find(&self, name: &str) -> Option<PythonNow>;
}

/// An environment as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonNow {
    /// What people see of it.
    pub title: String,
    /// The generation that servers are started from; `None` if there is none, or nobody has looked yet.
    pub current: Option<u32>,
}
