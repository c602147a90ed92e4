//! Engines: the ways to run a server under its user's account.
//!
//! An engine remembers nothing between two questions: the broker may be killed at any moment, and servers go on.

mod devices;
pub mod lines;
mod machine;
pub mod process;
mod refuse;
pub mod systemd;
mod turns;

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::limits::TotalLimits;
use serde_json::Value;

use crate::plan::Plan;
use crate::policy::Sandbox;
use crate::protocol::{Refusal, ServerState, Usage};

/// Runs servers. What it must know of a server later is in the [`Identity`] that it gives at the start.
#[async_trait]
pub trait Engine: fmt::Debug + Send + Sync {
    /// `systemd` or `process`.
    fn kind(&self) -> &'static str;

    /// What of the configuration this machine cannot give, a sentence each.
    async fn missing(&self, total: &TotalLimits) -> Vec<String>;

    /// Tries what of the configuration's sandbox can be tried without a server, so that a mistake is known before the
    /// first user meets it.
    async fn try_sandbox(&self, sandbox: &Sandbox) -> Result<(), Refusal>;

    /// Starts a server and returns when its program runs. If the future is dropped, or fails, nothing is left over.
    async fn start(&self, plan: &Plan) -> Result<Running, Refusal>;

    /// Tells how a server is, and gives a descriptor of its main process if it runs.
    async fn inspect(
        &self,
        unit: &str,
        identity: &Identity,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal>;

    /// Ends a server with everything in its unit or control group, and forgets it; succeeds if there was nothing.
    ///
    /// Without an identity, whatever runs under the unit's name is ended: what a broker that was killed has left. It
    /// is called for ended servers, too, to remove what they left behind.
    async fn stop(
        &self,
        unit: &str,
        identity: Option<&Identity>,
        grace: Option<Duration>,
    ) -> Result<(), Refusal>;

    /// Sends a signal to the main process.
    async fn signal(&self, unit: &str, identity: &Identity, signal: i32) -> Result<(), Refusal>;

    /// Gives the last lines of a server's output, oldest first; also after it has ended.
    async fn log(&self, unit: &str, lines: u32) -> Result<Vec<String>, Refusal>;

    /// The names of all units of ours that run, and what they use.
    async fn list(&self) -> Result<Vec<(String, Usage)>, Refusal>;

    /// Applies what all servers together may use. Called before the first start, and when it has changed.
    async fn limit_all(&self, slice: &str, total: &TotalLimits) -> Result<(), Refusal>;

    /// Waits until everything is cleaned away that was given up. Called once, at the end of the broker.
    async fn finish(&self) {}
}

/// A server that has been started.
#[derive(Debug)]
pub struct Running {
    /// How the engine knows it again: data that survive the broker.
    pub identity: Identity,
    /// A descriptor of its main process.
    pub pidfd: OwnedFd,
}

/// How an engine knows a server again, such as the id of a unit's invocation, or a process's number and start time.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Identity(pub Value);
