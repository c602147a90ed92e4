//! Which engine is asked about a server: the one that has started it, also after the configuration names another one.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::seams::Exit;

use super::Server;
use crate::engine::process::ProcessEngine;
use crate::engine::systemd::SystemdEngine;
use crate::engine::{self, Engine};
use crate::folders::{Found, Record};
use crate::protocol::{Refusal, RefusalKind, ServerState};

/// Where a machine shows that systemd runs it (`sd_booted(3)`).
const BOOTED: &str = "/run/systemd/system";

impl Server {
    /// The engine of a server; `None` if nothing that it has started can run here any more.
    fn engine_of(&self, record: &Record) -> Result<Option<Arc<dyn Engine>>, Refusal> {
        let state_dir = self.folders.state_dir();
        match (record.engine.as_deref(), &self.engine) {
            (Some(kind), Some(own)) if kind == own.kind() => Ok(Some(Arc::clone(own))),
            (Some(engine::systemd::KIND), _) if !Path::new(BOOTED).exists() => Ok(None),
            (Some(engine::systemd::KIND), _) => Ok(Some(Arc::new(SystemdEngine::new(state_dir)))),
            (Some(engine::process::KIND), _) => Ok(Some(Arc::new(ProcessEngine::new(state_dir)))),
            (None, Some(own)) => Ok(Some(Arc::clone(own))),
            (None, None) => self.engine().map(|_| None),
            (Some(other), _) => Err(Refusal::new(
                RefusalKind::Configuration,
                format!(
                    "The server {} was started with `{other}`, which this Lyceum does not know.",
                    record.unit
                ),
                format!(
                    "End its processes, and remove {}.",
                    self.folders.record_path(&record.unit).display()
                ),
            )),
        }
    }

    /// Tells how a server is that nobody has seen end.
    pub(super) async fn look_at(
        &self,
        record: &Record,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal> {
        let Some(identity) = &record.identity else {
            return Ok(ended());
        };
        match self.engine_of(record)? {
            Some(engine) => engine.inspect(&record.unit, identity).await,
            None => Ok(ended()),
        }
    }

    /// Ends a server, and has its engine forget it.
    pub(super) async fn stop_unit(
        &self,
        record: &Record,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        match self.engine_of(record)? {
            Some(engine) => {
                let identity = record.identity.as_ref();
                engine.stop(&record.unit, identity, grace).await
            }
            None => Ok(()),
        }
    }

    /// Sends a signal to a server's main process.
    pub(super) async fn signal_unit(&self, record: &Record, signal: i32) -> Result<(), Refusal> {
        match (self.engine_of(record)?, &record.identity) {
            (Some(engine), Some(identity)) => engine.signal(&record.unit, identity, signal).await,
            _ => Ok(()),
        }
    }

    /// Ends what a broker that was killed has left in a unit, whichever engine it was started with.
    pub(super) async fn end_left_over(&self, unit: &str) -> Result<(), Refusal> {
        let own = self.engine()?;
        match self.record(unit).await? {
            Found::Nothing => {}
            Found::Damaged(_) => return self.end_by_name(unit, None).await,
            Found::Record(record) => {
                if record
                    .engine
                    .as_deref()
                    .is_some_and(|kind| kind != own.kind())
                {
                    self.stop_unit(&record, None).await?;
                }
            }
        }
        own.stop(unit, None, None).await
    }

    /// Ends whatever runs under a unit's name, with every engine that may have started it: nothing else is known of it.
    pub(super) async fn end_by_name(
        &self,
        unit: &str,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        let state_dir = self.folders.state_dir();
        let own = self.engine.as_deref().map(Engine::kind);
        if let Some(engine) = &self.engine {
            engine.stop(unit, None, grace).await?;
        }
        if own != Some(engine::systemd::KIND) && Path::new(BOOTED).exists() {
            SystemdEngine::new(state_dir)
                .stop(unit, None, grace)
                .await?;
        }
        if own != Some(engine::process::KIND) {
            ProcessEngine::new(state_dir)
                .stop(unit, None, grace)
                .await?;
        }
        Ok(())
    }
}

fn ended() -> (ServerState, Option<OwnedFd>) {
    let exit = Exit::Unknown;
    (ServerState::Ended { exit }, None)
}
