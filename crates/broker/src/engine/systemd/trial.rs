//! A trial of the properties of the configuration, with a unit that does nothing: what this systemd does not take is
//! known when the broker starts, and not when the first user does.

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_core::random;
use tokio::time::Instant;
use zbus::Variant;

use super::manager::{Manager, ManagerError, Property};
use super::{Unit, raw, words};
use crate::protocol::Refusal;

/// How long the unit may take that does nothing.
const LIMIT: Duration = Duration::from_secs(10);
/// What it runs, and as whom (`nobody`).
const PROGRAM: &str = "/bin/true";
const NOBODY: &str = "65534";

/// Has systemd make a unit with these properties.
pub(super) async fn of_properties(texts: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let raw = raw::properties(texts)?;
    if raw.is_empty() {
        return Ok(());
    }
    let text = |name: &str, value: &str| (name.to_owned(), Variant::from(value.to_owned()));
    let run = (PROGRAM.to_owned(), vec![PROGRAM.to_owned()], true);
    let mut properties: Vec<Property> = vec![
        text("Description", "Trial of `sandbox.properties` by Lyceum"),
        text("Type", "oneshot"),
        text("User", NOBODY),
        text("CollectMode", "inactive-or-failed"),
        ("ExecStart".to_owned(), vec![run].into()),
    ];
    properties.extend(raw);
    // No server's unit begins so.
    let service = Unit(format!("lyceumtrial-{}.service", random::alphanumeric(8)));
    let mut manager = Manager::connect()
        .await
        .map_err(|error| of_manager(&error))?;
    let all: Vec<&Property> = properties.iter().collect();
    let job = match manager.start_transient_unit(&service.0, &all).await {
        Ok(job) => job,
        Err(ManagerError::Refused { name, message }) => {
            return Err(words::refused_properties(&name, &message));
        }
        Err(error) => return Err(of_manager(&error)),
    };
    // Whether it ran tells nothing: a program that is closed to `nobody` may be open to users. It goes by itself.
    let _ = manager.job_result(&job, Instant::now() + LIMIT).await;
    Ok(())
}

fn of_manager(error: &ManagerError) -> Refusal {
    words::of_manager("try the properties of units", error)
}
