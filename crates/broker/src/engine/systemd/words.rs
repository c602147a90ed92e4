//! What systemd's numbers and words mean: exit statuses of programs that were never run, and results of units.

use lyceum_core::seams::Exit;

use super::Unit;
use super::manager::{ManagerError, UnitState};
use crate::engine::refuse;
use crate::plan::Plan;
use crate::protocol::{Refusal, RefusalKind};

/// `CLD_EXITED` of waitid(2): the process ended by itself.
const EXITED: i32 = 1;
/// `CLD_KILLED` and `CLD_DUMPED`: a signal ended it.
const KILLED: [i32; 2] = [2, 3];

/// How a service has ended that the manager still knows.
pub(super) fn exit(state: &UnitState) -> Exit {
    if state.text("Result") == "oom-kill" {
        return Exit::OutOfMemory;
    }
    let status = state.int("ExecMainStatus");
    match (state.int("ExecMainCode"), status) {
        (Some(EXITED), Some(status)) => Exit::Code(status),
        (Some(code), Some(signal)) if KILLED.contains(&code) => Exit::Signal(signal),
        _ => Exit::Unknown,
    }
}

/// Why a unit whose job has failed did not start. The numbers are those of systemd.exec(5), "Process Exit Codes".
pub(super) fn not_started(plan: &Plan, result: &str, state: Option<&UnitState>) -> Refusal {
    let unit = &plan.unit;
    let account = &plan.account.name;
    let program = plan.argv.first().map_or("", String::as_str);
    let status =
        state.and_then(
            |state| match (state.int("ExecMainCode"), state.int("ExecMainStatus")) {
                (Some(EXITED), Some(status)) => Some(status),
                _ => None,
            },
        );
    let outcome = state.map(|state| state.text("Result")).unwrap_or_default();
    let system = |message: String, hint: String| Refusal::new(RefusalKind::System, message, hint);
    let journal = format!("See `journalctl -u '{unit}'`.");
    match status {
        _ if result == "timeout" || outcome == "timeout" => {
            refuse::slow(&format!("systemd gave up {unit}"))
        }
        Some(200) => refuse::working_dir(
            &plan.working_dir,
            account,
            "systemd says that it is missing or closed",
        ),
        Some(203) => refuse::command(program, "systemd says that it is missing, or no program"),
        Some(216 | 217) => Refusal::new(
            RefusalKind::NoAccount,
            format!("The account {account} is not known to systemd, or its groups are not."),
            format!(
                "See `getent passwd {account}` and `id {account}`; a directory server may not answer."
            ),
        ),
        Some(224) => Refusal::new(
            RefusalKind::AccountClosed,
            format!("PAM did not open a session for the account {account}."),
            "See the journal of the broker and of PAM's modules, and the service's file in /etc/pam.d.",
        ),
        Some(226) => system(
            format!("The folders that are closed to servers could not be closed for {unit}."),
            format!(
                "A folder in `sandbox.hidden` or `sandbox.read_only` may be on a file system that does not answer. {journal}"
            ),
        ),
        Some(218 | 228 | 244) => system(
            format!(
                "The sandbox of {unit} could not be set up on this kernel (status {}).",
                status.unwrap_or_default()
            ),
            format!("Look at `sandbox.properties`. {journal}"),
        ),
        Some(status @ 201..=245) => system(
            format!("systemd could not prepare {unit} (status {status})."),
            format!("The status is explained in `man systemd.exec`. {journal}"),
        ),
        _ if outcome == "resources" => system(
            format!(
                "systemd could not start {unit}: the machine has no processes, no memory or no space left."
            ),
            journal,
        ),
        _ if result == "canceled" => stopped(unit),
        _ => system(
            format!(
                "systemd did not start {unit}: {}.",
                // Where a job fails before the unit does anything, nothing of the unit has failed.
                if outcome.is_empty() || outcome == "success" {
                    result
                } else {
                    &outcome
                }
            ),
            journal,
        ),
    }
}

/// The manager does not like a unit.
pub(super) fn refused_unit(service: &Unit, name: &str, message: &str) -> Refusal {
    // The manager is told to stop everything, and does not begin the contrary.
    if name.ends_with(".TransactionIsDestructive") {
        return stopped(&service.0);
    }
    let hint = if name.ends_with(".PropertyReadOnly") {
        "This systemd is older than a property in `sandbox.properties`."
    } else {
        "Look at `sandbox.properties`, and at `journalctl -b _PID=1`."
    };
    let message = message.trim_end_matches('.');
    Refusal::new(
        RefusalKind::System,
        format!("systemd refused the unit {}: {message}.", service.0),
        hint,
    )
}

/// The manager does not like properties of the configuration.
pub(super) fn refused_properties(name: &str, message: &str) -> Refusal {
    let message = message.trim_end_matches('.');
    Refusal::new(
        RefusalKind::Configuration,
        format!(
            "This systemd does not take what `sandbox.properties` says, so that no server can start: {message}."
        ),
        format!(
            "Correct it, or leave it out; see `man systemd.exec` and `man systemd.resource-control` of this machine ({name})."
        ),
    )
}

/// A unit was stopped before it had started.
fn stopped(unit: &str) -> Refusal {
    Refusal::new(
        RefusalKind::System,
        format!("systemd stopped {unit} before it had started."),
        "The machine may be shutting down or rebooting; else somebody has stopped the unit by `systemctl`. Try again.",
    )
}

/// The manager did not do what was asked.
pub(super) fn of_manager(doing: &str, error: &ManagerError) -> Refusal {
    let chain = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let (kind, hint) = match error {
        ManagerError::Slow => (
            RefusalKind::Slow,
            "The machine may be very busy: see `systemctl list-jobs`.",
        ),
        ManagerError::Absent(_) => (
            RefusalKind::System,
            "This machine may not run systemd: the engine `process` does without. Else see whether the broker runs as root.",
        ),
        _ => (
            RefusalKind::System,
            "See the journal of systemd: `journalctl -b _PID=1`.",
        ),
    };
    Refusal::new(
        kind,
        format!("The broker could not {doing}: {chain}."),
        hint,
    )
}
