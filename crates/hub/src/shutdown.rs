//! Ends that come from inside: somebody asked for it over the API, or too many starts have failed in a row.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::permit::ShutDown;
use crate::{Actor, AuditEvent, AuditKind, Hub, HubPermit};

/// How long requests that are under way have before the hub ends because of failures (JupyterHub: 2 s).
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Why the hub is to end, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Somebody who may has asked for it.
    Asked {
        /// Whether users' servers are stopped, if that was said.
        servers: Option<bool>,
    },
    /// So many starts have failed in a row that something must be wrong with the hub itself.
    TooManyFailures(u32),
}

/// Remembers whether the hub is to end, and how many starts have failed in a row.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    asked: watch::Sender<Option<Ending>>,
    failures: AtomicU32,
}

impl Endings {
    /// A start has worked.
    pub(crate) fn start_worked(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// A start has failed, and not because it was not allowed. With `limit` of them in a row, the hub is to end;
    /// 0 for never.
    pub(crate) fn start_failed(&self, limit: u32) {
        let count = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if limit == 0 {
            return;
        }
        if count >= limit {
            tracing::error!("ending, because {count} starts of servers have failed in a row");
            self.end(Ending::TooManyFailures(count));
        } else if count > 1 {
            tracing::warn!(
                "{count} starts of servers have failed in a row; with {limit}, Lyceum ends"
            );
        }
    }

    fn end(&self, ending: Ending) {
        // The first one counts.
        self.asked.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(ending);
            first
        });
    }
}

impl Hub {
    /// Has the hub end. `servers` says whether users' servers are stopped; `None` for as it was started.
    pub fn end(&self, permit: &HubPermit<ShutDown>, servers: Option<bool>) {
        let actor = Actor::Caller(permit.by());
        self.audit().note(AuditEvent {
            detail: json!({"asked": true, "servers": servers}),
            ..AuditEvent::new(AuditKind::Shutdown, actor, None)
        });
        tracing::warn!("ending, because it was asked for over the API");
        self.shared().endings.end(Ending::Asked { servers });
    }

    /// Waits until the hub is to end, and says how. Never ends if nobody wants that.
    pub fn ending(&self) -> impl Future<Output = Ending> + Send + use<> {
        let mut asked = self.shared().endings.asked.subscribe();
        async move {
            let found = match asked.wait_for(Option::is_some).await {
                Ok(found) => *found,
                Err(_) => None,
            };
            match found {
                Some(ending @ Ending::TooManyFailures(_)) => {
                    sleep(LAST_ANSWERS).await;
                    ending
                }
                Some(ending) => ending,
                None => std::future::pending().await,
            }
        }
    }
}
