//! Background tasks with an owner: each has a name, ends at shutdown, and is missed when it ends early.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Owns all background tasks of one hub.
///
/// A clone refers to the same tasks.
#[derive(Debug, Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    runtime: Handle,
}

impl Tasks {
    /// Makes an owner of tasks that run on the given runtime.
    pub fn new(runtime: Handle) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime,
        }
    }

    /// The token that is cancelled when tasks shall end.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Runs a task that ends by itself; at shutdown it is dropped at its next await.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let work = async move {
            tokio::select! {
                () = future => tracing::trace!(task = name, "task ended"),
                () = stop.cancelled() => tracing::trace!(task = name, "task dropped at shutdown"),
            }
        };
        self.tracker.spawn_on(work, &self.runtime);
    }

    /// Runs a task that has to reach its end, also during shutdown; it must be short.
    pub fn spawn_to_end(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn_on(future, &self.runtime);
    }

    /// Ends all tasks and waits for them, at most `limit`; returns whether all have ended.
    pub async fn shut_down(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_ends_tasks_that_would_run_for_ever() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn("for ever", std::future::pending());
        assert!(tasks.shut_down(Duration::from_secs(5)).await);
    }
}
