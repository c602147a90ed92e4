//! Spawners: the ways to start, watch and stop users' servers.
//!
//! Each lives in its own module, behind [`lyceum_core::seams::Spawner`]. None knows the hub or the gateway.

pub mod brokered;
pub mod process;
pub mod systemd;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use brokered::Brokered;
pub use process::services as service;
pub use process::{ProcessConfig, ProcessSpawner, Profile, RunAs};
pub use systemd::SystemdConfig;

/// How users' servers are started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SpawnerConfig {
    /// As processes of this machine: all under the account that runs Lyceum, or each under its user's (`run_as`).
    Process(ProcessConfig),
    /// As units of systemd, each under its user's account of this machine.
    Systemd(SystemdConfig),
}

impl Default for SpawnerConfig {
    fn default() -> Self {
        Self::Process(ProcessConfig::default())
    }
}

impl SpawnerConfig {
    /// Whether the broker starts the servers, each under its user's account.
    pub fn is_brokered(&self) -> bool {
        match self {
            Self::Process(process) => process.run_as == RunAs::User,
            Self::Systemd(_) => true,
        }
    }

    /// The program that is a user's server, and its first arguments.
    pub fn command(&self) -> &[String] {
        match self {
            Self::Process(process) => &process.command,
            Self::Systemd(systemd) => &systemd.command,
        }
    }

    /// How long a server is given after it was asked to end.
    pub fn stop_timeout(&self) -> Duration {
        match self {
            Self::Process(process) => process.stop_timeout.get(),
            Self::Systemd(systemd) => systemd.stop_timeout.get(),
        }
    }
}
