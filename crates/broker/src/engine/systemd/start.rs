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
/// How often a unit is looked at whose job was lost sight of.
const LOOK: Duration = Duration::from_millis(200);

/// Starts a server. To be run to its end, or to be followed by [`clean`].
pub(super) async fn start(dir: &Path, plan: &Plan) -> Result<Running, Refusal> {
    let service = &Unit::of(&plan.unit)?;
    let text = environment::format(&plan.environment)?;
    let (folder, unit) = (dir.to_owned(), plan.unit.clone());
    let file = tokio::task::spawn_blocking(move || EnvironmentFile::write(&folder, &unit, &text))
        .await
        .unwrap_or_else(|error| Err(error.into()))
        .map_err(|error| refuse::of_system("write a server's environment", &error))?;
    let properties = properties::of_server(plan, file.pattern(), START_LIMIT)?;
    let until = Instant::now() + START_LIMIT + PATIENCE;
    let mut result = begin(service, properties, until).await?;
    if plan.session.is_some() && result == "done" {
        result = until_program(service, until).await?;
    }
    drop(file);
    let (state, pidfd) = Manager::asked(|mut manager| async move {
        let manager = &mut manager;
        let state = manager.service(&service.0).await?;
        let pidfd = match &state {
            Some(state) => process_of(manager, service, state).await?,
            None => None,
        };
        Ok((state, pidfd))
    })
    .await
    .map_err(|error| words::of_manager("look at the new unit", &error))?;
    match state {
        Some(state) if result == "done" => {
            inside(service, plan, &state)?;
            Ok(Running {
                identity: service.identity(&state)?,
                pidfd: pidfd.ok_or_else(|| ended_at_once(&plan.unit))?,
            })
        }
        None if result == "done" => Err(ended_at_once(&plan.unit)),
        state => Err(words::not_started(plan, &result, state.as_ref())),
    }
}

/// Asks for the unit, and waits for the result of that.
async fn begin(
    service: &Unit,
    properties: Vec<Property>,
    until: Instant,
) -> Result<String, Refusal> {
    let of_manager = |error| words::of_manager(&format!("start {}", service.0), &error);
    loop {
        let mut manager = Manager::connect().await.map_err(of_manager)?;
        let there = async {
            // A unit that has failed stands in the way of the next one of its name.
            manager.reset_failed_unit(&service.0).await?;
            manager.service(&service.0).await
        };
        match there.await {
            Ok(Some(state)) if state.is_alive() => return Err(refuse::exists(&service.0)),
            Ok(_) => {}
            Err(error) if error.is_lost() && Instant::now() < until => continue,
            Err(error) => return Err(of_manager(error)),
        }
        let job = match request(&mut manager, service, &properties).await {
            Ok(job) => Some(job),
            Err(Asked::Lost) => None,
            Err(Asked::Refused(refusal)) => return Err(refusal),
        };
        if let Some(job) = job {
            match manager.job_result(&job, until).await {
                // The manager begins anew; the unit goes on.
                Err(error) if error.is_lost() => {}
                result => return result.map_err(of_manager),
            }
        }
        match settle(service, until).await? {
            Some(result) => return Ok(result),
            None if Instant::now() < until => {}
            None => return Err(refuse::slow("systemd is not to be reached")),
        }
    }
}

/// Removes what a start has left that was not finished.
pub(super) async fn clean(unit: &str) {
    let Ok(service) = Unit::of(unit) else { return };
    if let Err(refusal) = stop::kill(&service, None, CLEAN_LIMIT).await {
        tracing::warn!(unit, error = %refusal, "could not remove what a failed start has left");
    }
}

/// Why there is no job.
enum Asked {
    /// The manager begins anew, and may have heard the question or not.
    Lost,
    Refused(Refusal),
}

/// Asks for the unit, without the properties that this systemd does not know if they can be done without.
async fn request(
    manager: &mut Manager,
    service: &Unit,
    properties: &[Property],
) -> Result<zbus::OwnedObjectPath, Asked> {
    let mut without = Vec::new();
    loop {
        let some: Vec<&Property> = properties
            .iter()
            .filter(|(name, _)| !without.contains(name))
            .collect();
        let (name, message) = match manager.start_transient_unit(&service.0, &some).await {
            Ok(job) => return Ok(job),
            Err(error) if error.is_lost() => return Err(Asked::Lost),
            Err(error) if error.is_unit_exists() => {
                return Err(Asked::Refused(refuse::exists(&service.0)));
            }
            Err(ManagerError::Refused { name, message }) => (name, message),
            Err(error) => {
                let refusal = words::of_manager("ask systemd for a unit", &error);
                return Err(Asked::Refused(refusal));
            }
        };
        let unknown = properties::OPTIONAL
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .find(|name| message.contains(name) && !without.contains(name));
        match unknown {
            Some(unknown) => without.push(unknown),
            None => {
                return Err(Asked::Refused(words::refused_unit(
                    service, &name, &message,
                )));
            }
        }
    }
}

/// Finds out by looking how a start has gone on whose job was lost sight of; `None` if there is no such unit.
async fn settle(service: &Unit, until: Instant) -> Result<Option<String>, Refusal> {
    loop {
        let state = Manager::asked(|mut manager| async move { manager.service(&service.0).await })
            .await
            .map_err(|error| words::of_manager("look at the new unit", &error))?;
        let Some(state) = state else {
            return Ok(None);
        };
        match state.text("ActiveState").as_str() {
            "activating" if Instant::now() > until => {
                return Err(refuse::slow("systemd began anew meanwhile"));
            }
            "activating" => tokio::time::sleep(LOOK).await,
            "failed" => return Ok(Some("failed".to_owned())),
            _ => return Ok(Some("done".to_owned())),
        }
    }
}

/// Waits until the main process is no longer systemd's own, which opens the session first.
async fn until_program(service: &Unit, until: Instant) -> Result<String, Refusal> {
    let is_systemds = |pid: i32| {
        let own = fs::read_link("/proc/1/exe").ok();
        match fs::read_link(format!("/proc/{pid}/exe")) {
            Ok(exe) => Some(&exe) == own.as_ref() || exe.ends_with("systemd-executor"),
            // It ends, or has ended.
            Err(_) => true,
        }
    };
    loop {
        let state = Manager::asked(|mut manager| async move { manager.service(&service.0).await })
            .await
            .map_err(|error| words::of_manager("look at the new unit", &error))?;
        match state {
            None => return Ok("done".to_owned()),
            Some(state) if !state.is_alive() => return Ok("failed".to_owned()),
            Some(state) if state.pid("MainPID").is_some_and(|pid| !is_systemds(pid)) => {
                return Ok("done".to_owned());
            }
            Some(_) if Instant::now() > until => {
                return Err(refuse::slow("the session was not opened"));
            }
            Some(_) => tokio::time::sleep(LOOK / 4).await,
        }
    }
}

/// Opens the main process of a unit, and makes sure that it is that of this very invocation; `None` if it has ended.
pub(super) async fn process_of(
    manager: &mut Manager,
    service: &Unit,
    state: &UnitState,
) -> Result<Option<OwnedFd>, ManagerError> {
    let Some(pid) = state.pid("MainPID") else {
        return Ok(None);
    };
    let Some(pidfd) = machine::open_process(pid).map_err(ManagerError::Process)? else {
        return Ok(None);
    };
    // The number may have become another process's before it was opened. If the manager, which is told of the end of
    // its children, still names it now, it had not.
    let again = manager.service(&service.0).await?;
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
        format!(
            "The PAM service {session} has moved the server out of its unit, where no limit would hold."
        ),
        format!(
            "Leave `pam_systemd` out of /etc/pam.d/{session}: with `@include common-session-noninteractive` it is."
        ),
    ))
}

fn ended_at_once(unit: &str) -> Refusal {
    Refusal::new(
        RefusalKind::System,
        format!("The server {unit} ended at once."),
        format!("The engine {KIND} has no more of it; see `journalctl -u '{unit}'`."),
    )
}
