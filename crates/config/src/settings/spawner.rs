//! `[spawner]`: which spawner starts users' servers. To add one, add its line here.

use lyceum_spawn::process::ProcessConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
