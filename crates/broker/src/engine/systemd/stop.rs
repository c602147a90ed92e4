//! The end of a server: asked first, then insisted on; and nothing of its unit stays.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::manager::{Manager, ManagerError, UnitState};
use super::{Known, Unit, words};
use crate::protocol::{Refusal, RefusalKind};

/// How long the kernel may take to end what was killed. A process that waits for a file system that has gone away
/// takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(15);
/// How long we wait for news before we look.
const LOOK: Duration = Duration::from_millis(250);

/// Ends a server: its main process is asked first, which ends its kernels in order; then everything in the unit; then
/// it is killed. `grace` is for each of the two.
pub(super) async fn gracefully(
    service: &Unit,
    known: Option<&Known>,
    grace: Duration,
) -> Result<(), Refusal> {
    let ended = Manager::asked(|mut manager| async move {
        let manager = &mut manager;
        if state(manager, service, known).await?.is_none() {
            return Ok(true);
        }
        let term = Signal::TERM.as_raw();
        gone(manager.kill_unit(&service.0, "main", term).await)?;
        if ended(manager, service, known, grace).await? {
            return Ok(true);
        }
        gone(manager.stop_unit(&service.0).await)?;
        ended(manager, service, known, grace).await
    })
    .await
    .map_err(|error| of_stop(service, &error))?;
    if ended {
        return Ok(());
    }
    kill(service, known, KILL_LIMIT).await
}

/// Ends a server at once.
pub(super) async fn now(service: &Unit, known: Option<&Known>) -> Result<(), Refusal> {
    kill(service, known, KILL_LIMIT).await
}

/// Kills whatever is in the unit, and waits for its end.
pub(super) async fn kill(
    service: &Unit,
    known: Option<&Known>,
    limit: Duration,
) -> Result<(), Refusal> {
    let ended = Manager::asked(|mut manager| async move {
        let manager = &mut manager;
        if state(manager, service, known).await?.is_none() {
            return Ok(true);
        }
        let signal = Signal::KILL.as_raw();
        gone(manager.kill_unit(&service.0, "all", signal).await)?;
        // A unit that is still on its way up has to be told as well, or it goes on with the next step.
        gone(manager.stop_unit(&service.0).await)?;
        gone(manager.kill_unit(&service.0, "all", signal).await)?;
        ended(manager, service, known, limit).await
    })
    .await
    .map_err(|error| of_stop(service, &error))?;
    if ended {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalKind::Slow,
        format!(
            "The server {} did not end, even after it was killed.",
            service.0
        ),
        "A process may wait for a file system that does not answer; it ends when that does.",
    ))
}

/// Waits until the unit has no processes, and forgets it then. Tells whether that was in time.
async fn ended(
    manager: &mut Manager,
    service: &Unit,
    known: Option<&Known>,
    limit: Duration,
) -> Result<bool, ManagerError> {
    let until = Instant::now() + limit;
    loop {
        if state(manager, service, known).await?.is_none() {
            return Ok(true);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        manager.news(left.min(LOOK)).await?;
    }
}

/// Gives the unit's state if it is the one that is meant and lives. One that is meant and has failed is forgotten.
async fn state(
    manager: &mut Manager,
    service: &Unit,
    known: Option<&Known>,
) -> Result<Option<UnitState>, ManagerError> {
    let Some(state) = manager.service(&service.0).await? else {
        return Ok(None);
    };
    if !super::is_ours(&state) || known.is_some_and(|known| !known.is(&state)) {
        return Ok(None);
    }
    if state.is_alive() {
        return Ok(Some(state));
    }
    manager.reset_failed_unit(&service.0).await?;
    Ok(None)
}

/// A unit that is gone meanwhile, or has no such process any more, needs nothing.
fn gone<T>(result: Result<T, ManagerError>) -> Result<(), ManagerError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_no_such_unit() || error.is_no_such_process() => Ok(()),
        Err(error) => Err(error),
    }
}

fn of_stop(service: &Unit, error: &ManagerError) -> Refusal {
    words::of_manager(&format!("stop {}", service.0), error)
}
