//! Spawners: the ways to start, watch and stop users' servers.
//!
//! Each lives in its own module, behind [`lyceum_core::seams::Spawner`]. None knows the hub or the gateway.

pub mod brokered;
pub mod process;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use brokered::Brokered;
pub use process::services as service;
pub use process::{ProcessConfig, ProcessSpawner};

/// How users' servers are started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SpawnerConfig {
    /// As processes of this machine, all under the account that runs Lyceum.
    Process(ProcessConfig),
}

impl Default for SpawnerConfig {
    fn default() -> Self {
        Self::Process(ProcessConfig::default())
    }
}
