//! Background tasks with an owner: each has a name and ends at shutdown, and one that breaks off is missed.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::watch;
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
    /// The name of the first task that has failed.
    failed: watch::Sender<Option<&'static str>>,
}

/// What becomes of the others when a task panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It did something for one person or server, which is lost.
    Single,
    /// The hub is not whole without it.
    Vital,
}

impl Tasks {
    /// Makes an owner of tasks that run on the given runtime.
    pub fn new(runtime: Handle) -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime,
            failed: watch::Sender::new(None),
        }
    }

    /// The token that is cancelled when tasks shall end.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Waits until a task has failed without which the hub is not whole, and gives its name.
    ///
    /// Never ends if all is well. Whoever runs the hub must end it then.
    pub fn failed(&self) -> impl Future<Output = &'static str> + Send + use<> {
        let mut failed = self.failed.subscribe();
        async move {
            let waited = failed.wait_for(Option::is_some).await;
            let name = waited.map_or(None, |name| *name);
            match name {
                Some(name) => name,
                // The hub is gone, and with it all of its tasks.
                None => std::future::pending().await,
            }
        }
    }

    /// Runs a task that ends by itself and does something for one person or server; at shutdown it is dropped at
    /// its next await. A panic is logged, and stays with it.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.spawn_as(name, Weight::Single, self.until_stopped(future));
    }

    /// Runs a task that the hub needs for as long as it runs; at shutdown it is dropped at its next await.
    /// If it panics, or ends before, [`Tasks::failed`] says so.
    pub fn spawn_vital(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_as(name, Weight::Vital, self.until_stopped(future));
    }

    /// Runs a task that the hub needs and that has to reach its end, also during shutdown: it must watch
    /// [`Tasks::stop_token`]. If it panics, or ends before, [`Tasks::failed`] says so.
    pub fn spawn_to_end(
        &self,
        name: &'static str,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn_as(name, Weight::Vital, future);
    }

    fn until_stopped(
        &self,
        future: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let stop = self.stop.clone();
        async move {
            tokio::select! {
                () = future => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn spawn_as(
        &self,
        name: &'static str,
        weight: Weight,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let (stop, failed) = (self.stop.clone(), self.failed.clone());
        let work = async move {
            // What a panic left half done is looked at by nobody: the task is gone, and so is what it held.
            let panicked = AssertUnwindSafe(future).catch_unwind().await.is_err();
            let early = weight == Weight::Vital && !stop.is_cancelled();
            if panicked {
                tracing::error!(task = name, "the background task \"{name}\" panicked");
            } else if early {
                tracing::error!(
                    task = name,
                    "the background task \"{name}\" has ended by itself"
                );
            } else {
                tracing::trace!(task = name, "task ended");
            }
            if weight == Weight::Vital && (panicked || early) {
                failed.send_if_modified(|first| {
                    let news = first.is_none();
                    first.get_or_insert(name);
                    news
                });
            }
        };
        self.tracker.spawn_on(work, &self.runtime);
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
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn shutdown_ends_tasks_that_would_run_for_ever_and_none_of_them_has_failed() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn("for ever", std::future::pending());
        tasks.spawn_vital("vital", std::future::pending());
        assert!(tasks.shut_down(LIMIT).await);
        assert_eq!(tasks.failed().now_or_never(), None);
    }

    #[tokio::test]
    async fn a_vital_task_that_panics_or_ends_is_missed() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn_vital("breaks", async { panic!("on purpose") });
        assert_eq!(timeout(LIMIT, tasks.failed()).await, Ok("breaks"));
        let tasks = Tasks::new(Handle::current());
        tasks.spawn_to_end("ends", async {});
        assert_eq!(timeout(LIMIT, tasks.failed()).await, Ok("ends"));
    }

    #[tokio::test]
    async fn a_panic_for_one_person_is_not_everybodys() {
        let tasks = Tasks::new(Handle::current());
        tasks.spawn("breaks", async { panic!("on purpose") });
        assert!(tasks.shut_down(LIMIT).await);
        assert_eq!(tasks.failed().now_or_never(), None);
    }
}
