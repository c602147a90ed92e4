//! The shape of `lyceum.toml`: one struct whose fields are the sections.
//!
//! The structs of the sections live beside what they configure; here are those of the hub itself. They are plain
//! data: what they mean together is checked in `semantic.rs`, and nothing here knows of files or origins.

use std::path::PathBuf;

use lyceum_auth::AuthConfig;
use lyceum_gateway::GatewayConfig;
use lyceum_store::StoreConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod access;
mod hub;
mod log;
mod names;
mod pages;

pub use access::AccessConfig;
pub use hub::{HubConfig, NamedServers};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use lyceum_spawn::SpawnerConfig;
pub use names::Names;
pub use pages::{Language, Link, PagesConfig};

/// All settings of Lyceum. Every one has a default, so that a file holds only what differs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "lyceum.toml")]
pub struct Config {
    /// Puts everything that Lyceum writes below one folder, instead of `/var/lib/lyceum` and `/run/lyceum`:
    /// data in `data`, sockets in `run`. A folder that is set by its own key stays where that key says.
    #[schemars(example = "/opt/jupyter", extend("format" = "path"))]
    pub root: Option<PathBuf>,

    /// The hub: its place in the URL, its folders, how long things may take.
    pub hub: HubConfig,

    /// The gateway: the addresses that browsers reach, and its limits.
    pub gateway: GatewayConfig,

    /// How people prove who they are.
    pub auth: AuthConfig,

    /// Who of those may log in, and who is an administrator. Nobody is admitted by accident: without any entry here,
    /// nobody can log in.
    pub access: AccessConfig,

    /// How users' servers are started.
    pub spawner: SpawnerConfig,

    /// The database.
    pub store: StoreConfig,

    /// How the pages look, and what they say.
    pub pages: PagesConfig,

    /// What is logged, and how.
    pub log: LogConfig,
}
