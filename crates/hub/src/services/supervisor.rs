//! Keeps one managed service running: starts it, hears it, and starts it again when it ends.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::Secret;
use lyceum_core::seams::{ServiceLaunch, ServiceProcess, ServiceRunner};
use tokio::time::{Instant, sleep};

use crate::Hub;

/// The pause before a service is started again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause; it doubles until then.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// A service that ran so long was well, and gets the first pause again.
const WELL_AFTER: Duration = Duration::from_mins(1);
/// How long a service is given after each polite signal.
const STOP_GRACE: Duration = Duration::from_secs(5);

pub(super) struct Supervisor {
    pub(super) hub: Hub,
    pub(super) runner: Arc<dyn ServiceRunner>,
    pub(super) launch: ServiceLaunch,
    pub(super) token: Secret<String>,
}

impl Supervisor {
    /// Runs until all services shall end.
    pub(super) async fn run(self) {
        let name = &self.launch.name;
        let stop = self.hub.services().stop.clone();
        let mut pauses = Pauses::new();
        loop {
            let began = Instant::now();
            match self.runner.start(self.launch.clone()).await {
                Ok(process) => {
                    if self.watch(process).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(service.name = %name, error = &error as &dyn std::error::Error,
                        "could not start the service {name}");
                }
            }
            let pause = pauses.after(began.elapsed());
            tracing::warn!(service.name = %name, "the service {name} is started again in {} s", pause.as_secs());
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Watches a process to its end; whether all services shall end.
    async fn watch(&self, mut process: Box<dyn ServiceProcess>) -> bool {
        let name = &self.launch.name;
        let services = self.hub.services();
        let pid = process.pid();
        tracing::info!(service.name = %name, pid, "started the service {name}");
        services.set_pid(name, Some(pid));
        let log = |line: &str| self.log(line);
        let exit = tokio::select! {
            exit = process.wait(&log) => Some(exit),
            () = services.stop.cancelled() => None,
        };
        if let Some(exit) = exit {
            services.set_pid(name, None);
            tracing::warn!(service.name = %name, "the service {name} has ended with {exit}");
            return false;
        }
        if let Err(error) = process.stop(STOP_GRACE, &log).await {
            tracing::error!(service.name = %name, error = &error as &dyn std::error::Error,
                "could not stop the service {name}");
        } else {
            tracing::info!(service.name = %name, "stopped the service {name}");
        }
        services.set_pid(name, None);
        true
    }

    /// Hands a line on to our own log. A service that prints its environment must not print its token there.
    fn log(&self, line: &str) {
        let name = &self.launch.name;
        let line = line.replace(self.token.expose().as_str(), "[secret]");
        tracing::info!(service.name = %name, "{name}: {line}");
    }
}

/// The pauses between one end and the next start: growing, until the service was well for a while.
#[derive(Debug)]
struct Pauses {
    next: Duration,
}

impl Pauses {
    fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    /// The pause after the service ran for so long.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= WELL_AFTER {
            self.next = FIRST_PAUSE;
        }
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_again_after_a_minute_of_health() {
        let mut pauses = Pauses::new();
        let seconds = Duration::from_secs;
        let found: Vec<u64> = (0..8).map(|_| pauses.after(seconds(5)).as_secs()).collect();
        assert_eq!(found, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pauses.after(seconds(60)), seconds(1));
        assert_eq!(pauses.after(seconds(59)), seconds(2));
    }
}
