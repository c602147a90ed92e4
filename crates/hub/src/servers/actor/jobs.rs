//! The jobs of an actor: what takes time, beside it. Each answers with one [`Done`], or is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lyceum_core::ServerRef;
use lyceum_core::ids::ServerId;
use lyceum_core::lifecycle::{Cause, Event, Failure, Running};
use lyceum_core::seams::{
    Exit, Handle, Liveness, MadeForUser, StartProgress, StartRequest, Started, StopMode,
};
use lyceum_store::StoreError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::servers::records::{self, Prepared, StartInput};
use crate::servers::{Shared, probe, routes};

/// The pauses before a watch that failed is tried again.
pub(super) const WATCH_AGAIN: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_mins(1));
/// How long a start that is given up has to say what there is to stop.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The pauses before a stop that failed is tried again.
const STOP_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long a look at a process may take.
const LOOK_LIMIT: Duration = Duration::from_secs(15);
/// How long a stop waits for the store; then it goes on without.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// The pauses before the end of a run is written down again.
const CLEAR_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A job that may be under way.
pub(super) type Job = Option<JobHandle>;

/// A job that is under way; it is dropped with this.
pub(super) type JobHandle = AbortOnDropHandle<Done>;

/// What a finished job answers.
#[derive(Debug)]
pub(super) enum Done {
    Prepared(Result<Box<Prepared>, Failure>),
    Launched(Result<Started, Failure>),
    Probed(Result<(), Failure>),
    Checked(Event),
    Exited(Exit),
    Stopped,
    Cleared,
    /// It panicked.
    Broke,
}

/// What a job says before it is done, with the number of the start that it belongs to.
#[derive(Debug)]
pub(super) enum Aside {
    Handle(u64, Handle),
    Say(u64, u8, String),
    /// Something was made for the owner, whichever start it was.
    Made(MadeForUser),
}

/// Hands the spawner's words to the actor.
pub(super) struct Reporter {
    generation: u64,
    sender: mpsc::UnboundedSender<Aside>,
    /// Cancelled when the handle has been told.
    told: CancellationToken,
}

impl Reporter {
    pub(super) fn new(generation: u64, sender: mpsc::UnboundedSender<Aside>) -> Self {
        Self {
            generation,
            sender,
            told: CancellationToken::new(),
        }
    }
}

impl StartProgress for Reporter {
    fn handle(&self, handle: &Handle) {
        let _ = self
            .sender
            .send(Aside::Handle(self.generation, handle.clone()));
        self.told.cancel();
    }

    fn say(&self, percent: u8, message: &str) {
        let _ = self
            .sender
            .send(Aside::Say(self.generation, percent, message.to_owned()));
    }

    fn made(&self, made: &MadeForUser) {
        let _ = self.sender.send(Aside::Made(made.clone()));
    }
}

/// What a job is about.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    pub(super) shared: Arc<Shared>,
    pub(super) server: ServerRef,
    /// The server's record, once it is known.
    pub(super) row: Option<ServerId>,
    /// It is logged already that the server lives but does not answer.
    pub(super) silent: Arc<AtomicBool>,
}

impl Subject {
    fn spawn(&self, job: impl Future<Output = Done> + Send + 'static) -> JobHandle {
        AbortOnDropHandle::new(self.shared.runtime.spawn(job))
    }

    fn prefix(&self) -> String {
        self.server.url_path(&self.shared.settings.base_url)
    }

    pub(super) fn prepare(&self, input: Arc<StartInput>) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            Done::Prepared(records::prepare(&subject.shared, &subject.server, input).await)
        })
    }

    /// Has the spawner start the server. Once `given_up`, a start that is about to have something to stop still
    /// gets the time to say so: what it is making just now could not be stopped otherwise.
    pub(super) fn launch(
        &self,
        request: StartRequest,
        reporter: Reporter,
        given_up: CancellationToken,
    ) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            let limit = subject.shared.settings.start_timeout;
            let too_late = async {
                tokio::select! {
                    () = tokio::time::sleep(limit) => {}
                    () = given_up.cancelled() => {}
                }
                let _ = timeout(LAST_WORDS, reporter.told.cancelled()).await;
            };
            tokio::select! {
                started = subject.shared.spawner.start(request, &reporter) => {
                    if let (Ok(started), false) = (&started, reporter.told.is_cancelled()) {
                        reporter.handle(&started.handle);
                    }
                    Done::Launched(started)
                }
                () = too_late => Done::Launched(Err(too_slow(limit))),
            }
        })
    }

    /// Waits for the server's first answer, writes down where it is, and puts the route.
    pub(super) fn probe(&self, running: Running) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move { Done::Probed(subject.until_ready(&running).await) })
    }

    async fn until_ready(&self, running: &Running) -> Result<(), Failure> {
        let limit = self.shared.settings.http_timeout;
        let internal = self.shared.settings.internal_tls.as_ref();
        let prefix = self.prefix();
        let answer = probe::wait_until_up(&running.upstream, internal, &prefix, limit).await?;
        self.silent.store(false, Ordering::Relaxed);
        warn_of_other_version(&self.server, answer.version.as_deref());
        // Not before it has answered: a restart takes what is written here for a server that works. And not
        // without: a server that is not written down would be ended at the next restart.
        records::running(&self.shared, self.row, running)
            .await
            .map_err(|error| {
                tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                    "could not write down where a server answers");
                records::store_failure(&error)
            })?;
        routes::publish(&self.shared, &self.server, running).await
    }

    /// Looks whether the process lives. Busy is not dead: a server that lives but is slow to answer stays.
    pub(super) fn check(&self, running: Running) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            let begun = Instant::now();
            let look = timeout(LOOK_LIMIT, subject.shared.spawner.poll(&running.handle)).await;
            let runs = !matches!(look, Ok(Ok(Liveness::Exited(_))));
            subject.shared.metrics.polled(runs, begun.elapsed());
            match look {
                Ok(Ok(Liveness::Exited(exit))) => Done::Checked(Event::Exited(exit)),
                Ok(Ok(Liveness::Running)) => {
                    let internal = subject.shared.settings.internal_tls.as_ref();
                    let prefix = subject.prefix();
                    let silent = !probe::is_up(&running.upstream, internal, &prefix).await;
                    if silent && !subject.silent.swap(silent, Ordering::Relaxed) {
                        tracing::warn!(server.name = %subject.server,
                            "the process of a server lives, but the server does not answer");
                    }
                    subject.silent.store(silent, Ordering::Relaxed);
                    Done::Checked(Event::CheckPassed)
                }
                Ok(Err(error)) => {
                    tracing::warn!(server.name = %subject.server, error = &error as &dyn std::error::Error,
                        "could not look at the process of a server");
                    Done::Checked(Event::CheckPassed)
                }
                Err(_) => Done::Checked(Event::CheckPassed),
            }
        })
    }

    /// Waits for the end of the process; begins `after` this time.
    pub(super) fn watch(&self, handle: Handle, after: Duration) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            tokio::time::sleep(after).await;
            let (mut pause, longest) = WATCH_AGAIN;
            loop {
                match subject.shared.spawner.wait(&handle).await {
                    Ok(exit) => return Done::Exited(exit),
                    Err(error) => {
                        tracing::warn!(server.name = %subject.server, error = &error as &dyn std::error::Error,
                            "could not watch the process of a server; trying again in {pause:?}");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(longest);
                    }
                }
            }
        })
    }

    /// Writes down that the server is stopping, and stops it; tries again for as long as it is asked to.
    pub(super) fn stop(&self, handle: Option<Handle>) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            subject.write_stopping().await;
            let Some(handle) = handle else {
                return Done::Stopped;
            };
            let mode = StopMode::Graceful(subject.shared.settings.stop_grace);
            let (mut pause, longest) = STOP_AGAIN;
            loop {
                match subject.shared.spawner.stop(&handle, mode).await {
                    Ok(()) => return Done::Stopped,
                    Err(error) => {
                        tracing::error!(server.name = %subject.server, error = &error as &dyn std::error::Error,
                            "could not stop a server; trying again in {pause:?}");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(longest);
                    }
                }
            }
        })
    }

    async fn write_stopping(&self) {
        self.write(
            "that it is stopping",
            records::stopping(&self.shared, self.row),
        )
        .await;
    }

    /// Writes something down, within a limit; that it could not be done is logged. Returns whether it was.
    async fn write(
        &self,
        what: &str,
        writing: impl Future<Output = Result<(), StoreError>>,
    ) -> bool {
        let written = timeout(WRITE_LIMIT, writing).await;
        let error: &(dyn std::error::Error + 'static) = match &written {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed,
        };
        tracing::error!(server.name = %self.server, error, "could not write into the database, about a server: {what}");
        false
    }

    /// Writes down the end of a run until that has worked: as long as it has not, the token works.
    pub(super) fn clear(&self, failure: Option<Failure>) -> JobHandle {
        let subject = self.clone();
        self.spawn(async move {
            let (mut pause, longest) = CLEAR_AGAIN;
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
                if subject.write_cleared(failure.as_ref()).await {
                    return Done::Cleared;
                }
            }
        })
    }

    /// Tries once to write down the end of a run; returns whether it worked.
    pub(super) async fn write_cleared(&self, failure: Option<&Failure>) -> bool {
        let cleared = records::cleared(&self.shared, &self.server, self.row, failure);
        self.write("that it has stopped", cleared).await
    }

    /// Writes down what there is to stop. Without it, a sweep after a crash still finds the process.
    pub(super) async fn write_handle(&self, handle: &Handle) {
        let written = records::handle_known(&self.shared, self.row, handle);
        self.write("its process", written).await;
    }
}

/// Waits for the end of a job; for ever if there is none.
pub(super) async fn finished(job: &mut Job) -> Done {
    match job {
        Some(handle) => {
            let result = handle.await;
            *job = None;
            result.unwrap_or_else(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a job of a server broke off"
                );
                Done::Broke
            })
        }
        None => std::future::pending().await,
    }
}

/// Gives up a launch and waits until it has said its last words; then, as any job, it can be cancelled.
pub(super) async fn give_up(job: &mut Job, launch: Option<CancellationToken>) {
    if let (Some(handle), Some(launch)) = (job.as_mut(), launch) {
        launch.cancel();
        if timeout(LAST_WORDS * 2, handle).await.is_ok() {
            *job = None;
        }
    }
}

/// Drops a job and waits until it is gone.
pub(super) async fn cancel(job: &mut Job) {
    if let Some(handle) = job.take() {
        handle.abort();
        let _ = handle.await;
    }
}

fn too_slow(limit: Duration) -> Failure {
    Failure::new(
        Cause::StartTimeout,
        format!(
            "The server's process was not started within {} seconds.",
            limit.as_secs()
        ),
        "The machine may be busy. Try again in a minute.",
    )
}

fn warn_of_other_version(server: &ServerRef, version: Option<&str>) {
    let major = |version: &str| version.split('.').next().map(str::to_owned);
    if let Some(version) = version
        && major(version) != major(crate::JUPYTERHUB_VERSION)
    {
        tracing::warn!(server.name = %server, %version,
            "the single-user server is of JupyterHub {version}; this hub speaks {}", crate::JUPYTERHUB_VERSION);
    }
}
