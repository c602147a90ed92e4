//! What an administrator can say about servers as units of systemd. The broker starts them; see `lyceum_broker`.

use std::collections::BTreeMap;

use lyceum_core::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ProcessConfig;
use crate::process::{SetupError, SocketKind};

/// The spawner's name in configuration, handles and logs.
pub const KIND: &str = "systemd";

/// Servers as units of systemd, each under its user's account of this machine, started by the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SystemdConfig {
    /// The program that is a user's server, and its first arguments. A plain name is looked for in `path`.
    pub command: Vec<String>,
    /// Further arguments, put last. Never write a secret here: everybody on the machine can list them.
    pub args: Vec<String>,
    /// Environment variables for every server, over those that Lyceum sets.
    pub environment: BTreeMap<String, String>,
    /// The folders in which servers find programs, in this order.
    pub path: Vec<String>,
    /// The folder in which a server starts. `{username}` stands for the user's name; relative to the home folder,
    /// empty for the home folder itself. It has to exist.
    pub working_dir: String,
    /// Where a server listens: on a `unix` socket, which only Lyceum can open, on a `tcp` port of the
    /// loopback address, which every account of this machine can reach, or `auto`: a socket for
    /// `jupyterhub-singleuser` and `jupyter-labhub`, a port for every other program.
    pub socket: SocketKind,
    /// The page that a server opens first, such as `/lab` or `/tree`; empty for the server's own choice.
    /// `{username}` stands for the user's name.
    pub default_url: String,
    /// How long a server is given after it was asked to end, before it is killed.
    pub stop_timeout: HumanDuration,
    /// Whether Lyceum answers requests for JupyterLab's own scripts, fonts and icons from the folder of the Python
    /// environment that `command` belongs to, without the user's server, and compressed. See `docs/static-files.md`.
    pub static_files: bool,
    /// The slice of all servers: `systemctl status` and `systemd-cgtop` show them together below it, and what
    /// `limits.total` says is its limit.
    pub slice: String,
    /// How many files a server may have open at first (its soft limit).
    pub open_files: u32,
}

impl SystemdConfig {
    /// Finds what cannot work, whatever the machine.
    pub fn check(&self) -> Result<(), SetupError> {
        let name = self.slice.strip_suffix(".slice");
        if name.is_none_or(|name| name.is_empty() || name.contains('/')) {
            return Err(SetupError::BadSlice(self.slice.clone()));
        }
        // The same rules hold for the same keys.
        ProcessConfig {
            command: self.command.clone(),
            args: self.args.clone(),
            environment: self.environment.clone(),
            path: self.path.clone(),
            working_dir: self.working_dir.clone(),
            default_url: self.default_url.clone(),
            ..ProcessConfig::default()
        }
        .check()
    }
}

impl Default for SystemdConfig {
    fn default() -> Self {
        let process = ProcessConfig::default();
        Self {
            command: process.command,
            args: Vec::new(),
            environment: BTreeMap::new(),
            path: process.path,
            working_dir: String::new(),
            socket: SocketKind::Auto,
            default_url: String::new(),
            stop_timeout: process.stop_timeout,
            static_files: true,
            slice: "lyceum-servers.slice".to_owned(),
            open_files: 1024,
        }
    }
}
