//! The seam to managed services: programs that the hub starts, hears and ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::{Exit, SpawnError};
use crate::names::ServiceName;
use crate::service::ServiceCommand;

/// Starts the programs of managed services, and ends what an earlier run has left over.
#[async_trait]
pub trait ServiceRunner: fmt::Debug + Send + Sync {
    /// Ends services of this hub that an earlier run has left over, and gives their number.
    async fn sweep(&self) -> Result<usize, SpawnError>;

    /// Starts a program. It ends with this process, however that ends.
    async fn start(
        &self,
        launch: ServiceLaunch,
    ) -> Result<Box<dyn ServiceProcess>, ServiceStartError>;
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct ServiceLaunch {
    /// The service.
    pub name: ServiceName,
    /// What to start, where, as whom.
    pub command: ServiceCommand,
    /// The variables that the hub decides; those of the command win.
    pub environment: BTreeMap<String, String>,
}

/// Why a program could not be started.
#[derive(Debug, Error)]
pub enum ServiceStartError {
    /// There is no such program.
    #[error("there is no program `{program}`; it was looked for in {searched}")]
    NoProgram {
        /// What was to be started.
        program: String,
        /// The folders, with colons between them.
        searched: String,
    },
    /// The folder to start in is not there, or may not be entered.
    #[error("the folder {folder} cannot be entered")]
    Folder {
        /// The folder.
        folder: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The account to start under cannot be used.
    #[error("the account cannot be used: {0}")]
    Account(String),
    /// The operating system refused.
    #[error("could not {doing}")]
    System {
        /// What was being done, such as `make a pipe`.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// Takes the lines that a service writes, one after the other.
pub type ServiceLog<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// A program that was started. Dropped, it is killed.
#[async_trait]
pub trait ServiceProcess: fmt::Debug + Send {
    /// The number of the process.
    fn pid(&self) -> u32;

    /// Waits until it has ended, and hands on what it writes meanwhile; then ends what it has left behind.
    ///
    /// May be dropped and called again. While nobody calls it, the program's output is not read.
    async fn wait(&mut self, log: ServiceLog<'_>) -> Exit;

    /// Ends it and everything that it has started: asks, waits for so long, then kills.
    async fn stop(&mut self, limit: Duration, log: ServiceLog<'_>) -> Result<(), SpawnError>;
}
