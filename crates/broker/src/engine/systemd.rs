//! Servers as transient units of systemd, in a slice: `lyceum-ada.service`.
//!
//! systemd is asked over its own socket, without the D-Bus daemon. It keeps what there is to know of a server: whether
//! it runs, how it has ended, what it uses and has written. A unit that has failed stays until it is stopped, so that
//! the broker can say how it ended; one that ended in order is gone, which says the same.

mod environment;
mod journal;
mod manager;
mod properties;
mod raw;
mod socket;
mod start;
mod stop;
mod trial;
mod words;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::limits::TotalLimits;
use lyceum_core::seams::Exit;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::manager::{Manager, UnitState};
use super::turns::Turns;
use super::{Engine, Identity, Running, machine, refuse};
use crate::plan::Plan;
use crate::policy::Sandbox;
use crate::protocol::{Refusal, RefusalKind, ServerState, Usage};

pub(crate) const KIND: &str = "systemd";
/// Where control groups are, in every layout of systemd.
const GROUPS: &str = "/sys/fs/cgroup";

/// The engine.
#[derive(Debug)]
pub struct SystemdEngine {
    environments: PathBuf,
    turns: Arc<Turns>,
    /// Starts, which clean up after themselves even when nobody waits for them any more.
    starts: TaskTracker,
}

impl SystemdEngine {
    /// Makes the engine. Environments of servers that start are written below `state_dir`, a folder of root's.
    pub fn new(state_dir: &Path) -> Self {
        Self {
            environments: state_dir.join("environments"),
            turns: Arc::default(),
            starts: TaskTracker::new(),
        }
    }

    /// Tells what is wrong with further properties of the configuration, before any server is started with them.
    pub fn check_properties(properties: &BTreeMap<String, String>) -> Result<(), Refusal> {
        raw::properties(properties).map(drop)
    }
}

#[async_trait]
impl Engine for SystemdEngine {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn missing(&self, total: &TotalLimits) -> Vec<String> {
        let version =
            match Manager::asked(|mut manager| async move { manager.version().await }).await {
                Ok(version) => version,
                Err(error) => return vec![words::of_manager("ask systemd", &error).message],
            };
        let mut missing: Vec<String> = properties::OPTIONAL
            .iter()
            .filter(|(_, since, _)| version < *since)
            .map(|(.., what)| (*what).to_owned())
            .collect();
        let groups = Path::new(GROUPS);
        if !groups.join("cgroup.controllers").exists() {
            missing.push("`memory_high` and limits of the swap have no effect: they need control groups of version 2 (the kernel's option systemd.unified_cgroup_hierarchy=1).".to_owned());
            for (controller, what) in [
                ("memory", "Memory is not limited"),
                ("cpu", "Processor time is not limited"),
                ("pids", "The number of processes is not limited"),
                ("blkio", "`io_weight` has no effect"),
            ] {
                if !groups.join(controller).exists() {
                    missing.push(format!(
                        "{what}: this kernel has no controller `{controller}`."
                    ));
                }
            }
        }
        if total.cpu.is_some() && !Path::new("/sys/fs/cgroup").exists() {
            missing.push("This machine has no control groups.".to_owned());
        }
        missing
    }

    async fn try_sandbox(&self, sandbox: &Sandbox) -> Result<(), Refusal> {
        trial::of_properties(&sandbox.properties).await
    }

    async fn start(&self, plan: &Plan) -> Result<Running, Refusal> {
        let dropped = CancellationToken::new();
        // When the caller goes away, so does this, and the task below hears of it.
        let _guard = dropped.clone().drop_guard();
        let (plan, turns) = (plan.clone(), Arc::clone(&self.turns));
        let dir = self.environments.clone();
        let work = async move {
            let _turn = turns.take(&plan.unit).await;
            let started = tokio::select! {
                started = start::start(&dir, &plan) => started,
                () = dropped.cancelled() => Err(refuse::slow("nobody waits for it any more")),
            };
            let exists = |refusal: &Refusal| refusal.kind == RefusalKind::Exists;
            if dropped.is_cancelled() || started.as_ref().is_err_and(|refusal| !exists(refusal)) {
                start::clean(&plan.unit).await;
            }
            started
        };
        self.starts.spawn(work).await.unwrap_or_else(|error| {
            Err(Refusal::new(
                RefusalKind::Internal,
                format!("The start was broken off: {error}."),
                "",
            ))
        })
    }

    async fn inspect(
        &self,
        unit: &str,
        identity: &Identity,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal> {
        let (service, known) = (&Unit::of(unit)?, &Known::of(identity)?);
        let ended = |exit| Ok((ServerState::Ended { exit }, None));
        let (state, pidfd) = Manager::asked(|mut manager| async move {
            let manager = &mut manager;
            let state = manager.service(&service.0).await?;
            let pidfd = match &state {
                Some(state) if known.is(state) => {
                    start::process_of(manager, service, state).await?
                }
                _ => None,
            };
            Ok((state, pidfd))
        })
        .await
        .map_err(|error| words::of_manager("look at a server", &error))?;
        match state {
            _ if !known.is_this_boot() => ended(Exit::Unknown),
            // What ends in order is forgotten at once; what fails is kept.
            None if journal::was_stopped(&service.0, &known.invocation).await => {
                ended(Exit::StoppedFromOutside)
            }
            None => ended(Exit::Code(0)),
            Some(state) if !known.is(&state) => ended(Exit::Unknown),
            Some(state) if state.is_alive() => Ok((ServerState::Running(usage(&state)), pidfd)),
            Some(state) => {
                let exit = words::exit(&state);
                let killed = exit == Exit::Signal(Signal::KILL.as_raw());
                if killed
                    && let Some(pid) = state.pid("ExecMainPID")
                    && journal::was_out_of_memory(&service.0, pid).await
                {
                    return ended(Exit::OutOfMemory);
                }
                // One that did not end in order when it was stopped is kept, too.
                if exit != Exit::OutOfMemory
                    && journal::was_stopped(&service.0, &known.invocation).await
                {
                    return ended(Exit::StoppedFromOutside);
                }
                ended(exit)
            }
        }
    }

    async fn stop(
        &self,
        unit: &str,
        identity: Option<&Identity>,
        grace: Option<Duration>,
    ) -> Result<(), Refusal> {
        let service = Unit::of(unit)?;
        let known = identity.map(Known::of).transpose()?;
        let _turn = self.turns.take(unit).await;
        match grace {
            Some(grace) => stop::gracefully(&service, known.as_ref(), grace).await,
            None => stop::now(&service, known.as_ref()).await,
        }
    }

    async fn signal(&self, unit: &str, identity: &Identity, signal: i32) -> Result<(), Refusal> {
        let signal = machine::allowed_signal(signal).ok_or_else(|| refuse::signal(signal))?;
        // Sent to the descriptor: by its name, the unit might have become another one meanwhile.
        let (_, pidfd) = self.inspect(unit, identity).await?;
        match pidfd {
            Some(pidfd) => machine::send(&pidfd, signal)
                .map_err(|error| refuse::of_system("signal a server", &error)),
            None => Ok(()),
        }
    }

    async fn log(&self, unit: &str, lines: u32) -> Result<Vec<String>, Refusal> {
        journal::tail(&Unit::of(unit)?.0, lines).await
    }

    async fn list(&self) -> Result<Vec<(String, Usage)>, Refusal> {
        Manager::asked(|mut manager| async move {
            let manager = &mut manager;
            let mut servers = Vec::new();
            for unit in manager.list_units("lyceum-*.service").await? {
                if matches!(unit.active.as_str(), "inactive" | "failed") {
                    continue;
                }
                if let Some(state) = manager.service(&unit.name).await?
                    && is_ours(&state)
                    && let Some(name) = unit.name.strip_suffix(".service")
                {
                    servers.push((name.to_owned(), usage(&state)));
                }
            }
            Ok(servers)
        })
        .await
        .map_err(|error| words::of_manager("list the servers", &error))
    }

    async fn limit_all(&self, slice: &str, total: &TotalLimits) -> Result<(), Refusal> {
        let dir = self.environments.clone();
        let _ = tokio::task::spawn_blocking(move || environment::remove_left_over(&dir)).await;
        let (slice, properties) = (&properties::slice_name(slice), &properties::of_slice(total));
        Manager::asked(
            |mut manager| async move { manager.set_unit_properties(slice, properties).await },
        )
        .await
        .map_err(|error| words::of_manager("limit all servers together", &error))
    }

    async fn finish(&self) {
        self.starts.close();
        self.starts.wait().await;
    }
}

/// The name of a server's unit.
#[derive(Debug)]
struct Unit(String);

impl Unit {
    /// Takes only names that servers have.
    fn of(unit: &str) -> Result<Self, Refusal> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.\\:@".contains(c);
        if unit.starts_with("lyceum-") && unit.len() <= 240 && unit.chars().all(fits) {
            return Ok(Self(format!("{unit}.service")));
        }
        Err(Refusal::new(
            RefusalKind::Internal,
            format!("{unit:?} is no name of a server's unit."),
            "",
        ))
    }

    fn identity(&self, state: &UnitState) -> Result<Identity, Refusal> {
        let boot = machine::boot_id()
            .map_err(|error| refuse::of_system("read the name of this boot", &error))?;
        let known = Known {
            invocation: state.invocation(),
            boot: boot.to_owned(),
        };
        serde_json::to_value(known).map(Identity).map_err(|error| {
            Refusal::new(
                RefusalKind::Internal,
                format!("The identity of {} cannot be written: {error}.", self.0),
                "",
            )
        })
    }
}

/// What a server is known by.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// The id of the unit's invocation: each start has another one.
    invocation: String,
    boot: String,
}

impl Known {
    fn of(identity: &Identity) -> Result<Self, Refusal> {
        Self::deserialize(&identity.0)
            .ok()
            .filter(|known| !known.invocation.is_empty())
            .ok_or_else(|| refuse::foreign_identity(KIND))
    }

    fn is_this_boot(&self) -> bool {
        machine::boot_id().is_ok_and(|boot| boot == self.boot)
    }

    fn is(&self, state: &UnitState) -> bool {
        self.is_this_boot() && state.invocation() == self.invocation
    }
}

/// Whether a unit was made by this engine; `lyceum-broker.service` is none of them.
fn is_ours(state: &UnitState) -> bool {
    state.flag("Transient")
        && state
            .text("Description")
            .starts_with(properties::DESCRIPTION)
}

fn usage(state: &UnitState) -> Usage {
    Usage {
        memory: state.number("MemoryCurrent"),
        memory_limit: state.number("MemoryMax"),
        cpu_micros: state.number("CPUUsageNSec").map(|nanos| nanos / 1000),
        tasks: state.number("TasksCurrent"),
        out_of_memory: state
            .control_group()
            .and_then(|group| {
                let root = Path::new(GROUPS);
                [root.join(&group), root.join("memory").join(&group)]
                    .iter()
                    .find_map(|folder| machine::out_of_memory(folder))
            })
            .unwrap_or(0),
    }
}
