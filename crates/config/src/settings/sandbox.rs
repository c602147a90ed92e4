//! `[sandbox]`: what is closed to users' servers that run under their users' accounts.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is closed to users' servers, where they run under their users' own accounts. What the rights of files close, is
/// closed anyhow, and nobody sees others' processes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxConfig {
    /// Whether each server has `/tmp` and `/var/tmp` of its own.
    #[schemars(example = false)]
    pub private_tmp: bool,

    /// Whether the system's folders (`/usr`, `/boot`, `/etc`) cannot be written to, whatever their rights say.
    #[schemars(example = false)]
    pub protect_system: bool,

    /// Whether programs that a server starts never get more rights than it has: `sudo` does nothing.
    #[schemars(example = false)]
    pub no_new_privileges: bool,

    /// Whether servers see only the devices that every program needs, and those of `devices`.
    #[schemars(example = true)]
    pub private_devices: bool,

    /// Devices that servers may use, such as those of a graphics card; with a `*` at the end for all that begin so. Their
    /// rights have to let the users in, too.
    #[schemars(example = ["/dev/nvidia*"])]
    pub devices: Vec<String>,

    /// Folders that servers can read, and not write to.
    #[schemars(example = ["/srv/courses"])]
    pub read_only: Vec<PathBuf>,

    /// Folders that servers cannot see into.
    #[schemars(example = ["/srv/exams"])]
    pub hidden: Vec<PathBuf>,

    /// Further properties of each server's unit, as unit files spell them. For the spawner `systemd` only.
    #[schemars(example = serde_json::json!({"Nice": "5"}))]
    pub properties: BTreeMap<String, String>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            private_tmp: true,
            protect_system: true,
            no_new_privileges: true,
            private_devices: false,
            devices: Vec::new(),
            read_only: Vec::new(),
            hidden: Vec::new(),
            properties: BTreeMap::new(),
        }
    }
}
