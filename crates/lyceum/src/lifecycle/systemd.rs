//! What systemd is told of this process: that it is ready, how it is, that it ends. Says nothing where nobody listens.
//!
//! It is told that we are alive only as long as both halves are: the hub's runtime, on which this runs, and every
//! thread of the gateway. Neither the database nor a name server counts, as a new start would not mend these.

use std::time::Duration;

use lyceum_gateway::{ListenAddress, Pulse};
use lyceum_hub::Hub;
use sd_notify::NotifyState;

/// How long systemd may take to take a message.
const LIMIT: Duration = Duration::from_secs(5);
/// How often the line that `systemctl status` shows is made anew, if no watchdog asks more often.
const LOOK: Duration = Duration::from_secs(30);

/// Says that everything listens.
pub(super) async fn ready(addresses: &[ListenAddress]) {
    let status = format!("listens on {}", super::list(addresses));
    tell(vec![NotifyState::Ready], status).await;
}

/// Says that the end has begun.
pub(super) async fn stopping(why: &str) {
    tell(vec![NotifyState::Stopping], format!("ending: {why}")).await;
}

/// Says again and again that we are alive, and what goes on; for ever.
pub(super) async fn keep_telling(hub: Hub, pulses: Vec<Pulse>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // Three chances within the time after which we would be killed.
    let period = watchdog.map_or(LOOK, |limit| (limit / 3).min(LOOK));
    let mut tick = tokio::time::interval(period);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut states = Vec::new();
        if watchdog.is_some() {
            if are_felt(&pulses, period).await {
                states.push(NotifyState::Watchdog);
            } else {
                tracing::error!(
                    "a thread of the gateway has not answered for {period:?}; systemd starts Lyceum again if that goes on"
                );
            }
        }
        tell(states, status(&hub)).await;
    }
}

async fn are_felt(pulses: &[Pulse], limit: Duration) -> bool {
    for pulse in pulses {
        if !pulse.is_felt(limit).await {
            return false;
        }
    }
    true
}

/// What `systemctl status` shows.
fn status(hub: &Hub) -> String {
    let counts = hub.counts();
    match (counts.ready, counts.active) {
        (_, 0) => "no server runs".to_owned(),
        (1, 1) => "1 server runs".to_owned(),
        (ready, active) if ready == active => format!("{ready} servers run"),
        (ready, active) => format!("{ready} of {active} servers run, the others start or stop"),
    }
}

/// Sends a message. That systemd does not take it is no reason to end, and is said only for those who look for it.
async fn tell(states: Vec<NotifyState<'static>>, status: String) {
    // It waits if systemd's queue is full.
    let sending = tokio::task::spawn_blocking(move || {
        let mut all = states;
        all.push(NotifyState::Status(&status));
        sd_notify::notify(&all)
    });
    match tokio::time::timeout(LIMIT, sending).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => tracing::debug!(error = %error, "could not tell systemd"),
        Ok(Err(error)) => tracing::debug!(error = %error, "could not tell systemd"),
        Err(_) => tracing::debug!("systemd has not taken a message for {LIMIT:?}"),
    }
}
