//! One start: the unit is made, its job waited for, and the process looked at. What fails leaves nothing.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::environment::{self, EnvironmentFile};
use super::manager::{Manager, ManagerError, Property, UnitState};
use super::{KIND, Unit, properties, stop, words};
use crate::engine::{Running, machine, refuse};
use crate::plan::Plan;
use crate::protocol::{Refusal, RefusalKind};

/// How long a start may take, until the program runs.
const START_LIMIT: Duration = Duration::from_secs(45);
/// How much longer we wait, so that systemd's own end of the time comes first.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what a failed start has left may take to end.
const CLEAN_LIMIT: Duration = Duration::from_secs(10);

/// Starts a server. To be run to its end, or to be followed by [`clean`].
pub(super) async fn start(dir: &Path, plan: &Plan) -> Result<Running, Refusal> {
    let service = Unit::of(&plan.unit)?;
    let text = environment::format(&plan.environment)?;
    let (folder, unit) = (dir.to_owned(), plan.unit.clone());
    let file = tokio::task::spawn_blocking(move || EnvironmentFile::write(&folder, &unit, &text))
        .await
        .unwrap_or_else(|error| Err(error.into()))
        .map_err(|error| refuse::of_system("write a server's environment", &error))?;
    let properties = properties::of_server(plan, file.path(), START_LIMIT)?;
    let mut manager = connect(&service).await?;
    // A unit that has failed stands in the way of the next one of its name.
    manager
        .reset_failed_unit(&service.0)
        .await
        .map_err(|error| words::of_manager("forget the server's last end", &error))?;
    let job = request(&manager, &service, properties).await?;
    let until = Instant::now() + START_LIMIT + PATIENCE;
    let result = match manager.job_result(&job, until).await {
        // The manager begins anew; the unit goes on.
        Err(error) if error.is_lost() => settle(&service, until).await?,
        result => result.map_err(|error| words::of_manager("wait for the start", &error))?,
    };
    drop(file);
    let manager = connect(&service).await?;
    let state = manager
        .service(&service.0)
        .await
        .map_err(|error| words::of_manager("look at the new unit", &error))?;
    match state {
        Some(state) if result == "done" => {
            // An ended process is no failure of the start: how it has ended will be told.
            let pidfd = process_of(&manager, &service, &state).await?;
            inside(&service, plan, &state)?;
            Ok(Running {
                identity: service.identity(&state)?,
                pidfd: pidfd.ok_or_else(|| ended_at_once(&plan.unit))?,
            })
        }
        None if result == "done" => Err(ended_at_once(&plan.unit)),
        state => Err(words::not_started(plan, &result, state.as_ref())),
    }
}

/// Removes what a start has left that was not finished.
pub(super) async fn clean(unit: &str) {
    let Ok(service) = Unit::of(unit) else { return };
    if let Err(refusal) = stop::kill(&service, None, CLEAN_LIMIT).await {
        tracing::warn!(unit, error = %refusal, "could not remove what a failed start has left");
    }
}

/// Asks for the unit, without the properties that this systemd does not know if they can be done without.
async fn request(
    manager: &Manager,
    service: &Unit,
    mut properties: Vec<Property>,
) -> Result<zbus::OwnedObjectPath, Refusal> {
    loop {
        match manager.start_transient_unit(&service.0, &properties).await {
            Ok(job) => return Ok(job),
            Err(error) if error.is_unit_exists() => return Err(refuse::exists(&service.0)),
            Err(ManagerError::Refused { name, message }) => {
                let unknown = properties::OPTIONAL
                    .iter()
                    .find(|(name, ..)| message.contains(name))
                    .map(|(name, ..)| *name)
                    .filter(|name| properties.iter().any(|(other, _)| other == name));
                let Some(unknown) = unknown else {
                    return Err(Refusal::new(
                        RefusalKind::System,
                        format!("systemd refused the unit {}: {message}.", service.0),
                        if name.ends_with(".PropertyReadOnly") {
                            "This systemd is older than a property in `sandbox.properties`."
                        } else {
                            "Look at `sandbox.properties`, and at `journalctl -b _PID=1`."
                        },
                    ));
                };
                properties.retain(|(name, _)| name != unknown);
            }
            Err(error) => return Err(words::of_manager("ask systemd for a unit", &error)),
        }
    }
}

/// Finds out by looking how a start has gone on whose job was lost sight of.
async fn settle(service: &Unit, until: Instant) -> Result<String, Refusal> {
    loop {
        let state = match Manager::connect().await {
            Ok(mut manager) => {
                let state = manager.service(&service.0).await;
                if let Ok(Some(state)) = &state
                    && state.text("ActiveState") == "activating"
                {
                    // It may tell, or the connection may end again.
                    let _ = manager.news(Duration::from_millis(200)).await;
                }
                state
            }
            Err(error) => Err(error),
        };
        match state {
            Ok(Some(state)) if state.text("ActiveState") != "activating" => {
                let failed = state.text("ActiveState") == "failed";
                return Ok(if failed { "failed" } else { "done" }.to_owned());
            }
            Ok(None) => return Ok("lost, as systemd began anew meanwhile".to_owned()),
            _ if Instant::now() > until => {
                return Err(refuse::slow("systemd is not to be reached"));
            }
            Ok(Some(_)) => {}
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Opens the main process of a unit, and makes sure that it is that of this very invocation; `None` if it has ended.
pub(super) async fn process_of(
    manager: &Manager,
    service: &Unit,
    state: &UnitState,
) -> Result<Option<OwnedFd>, Refusal> {
    let Some(pid) = state.pid("MainPID") else {
        return Ok(None);
    };
    let Some(pidfd) =
        machine::open_process(pid).map_err(|error| refuse::of_system("open a process", &error))?
    else {
        return Ok(None);
    };
    // The number may have become another process's before it was opened. If the manager, which is told of the end of
    // its children, still names it now, it had not.
    let again = manager
        .service(&service.0)
        .await
        .map_err(|error| words::of_manager("look at a unit", &error))?;
    let same = again.is_some_and(|again| {
        again.pid("MainPID") == Some(pid) && again.invocation() == state.invocation()
    });
    Ok(same.then_some(pidfd))
}

/// Makes sure that the server is still in its unit. PAM's module `pam_systemd` moves whom it opens a session for into a
/// unit of its own: no limit would hold, and no stop would end it.
fn inside(service: &Unit, plan: &Plan, state: &UnitState) -> Result<(), Refusal> {
    let (Some(session), Some(pid)) = (&plan.session, state.pid("MainPID")) else {
        return Ok(());
    };
    let Ok(groups) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else {
        return Ok(());
    };
    if groups
        .lines()
        .any(|line| line.split('/').any(|part| part == service.0))
    {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::System,
        format!("The PAM service {session} has moved the server out of its unit, where no limit would hold."),
        format!("Leave `pam_systemd` out of /etc/pam.d/{session}: with `@include common-session-noninteractive` it is."),
    ))
}

async fn connect(service: &Unit) -> Result<Manager, Refusal> {
    Manager::connect()
        .await
        .map_err(|error| words::of_manager(&format!("start {}", service.0), &error))
}

fn ended_at_once(unit: &str) -> Refusal {
    Refusal::new(
        RefusalKind::System,
        format!("The server {unit} ended at once."),
        format!("The engine {KIND} has no more of it; see `journalctl -u '{unit}'`."),
    )
}
