//! The actor of one server: applies events to the life cycle, carries out its commands, tells who watches.
//!
//! It never waits for the outside itself: what takes time is a job, and jobs answer with events. A job that
//! is cancelled is dropped and gone before the next command runs.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::lifecycle::{Cause, Command, Event, Failure, Limits, Refusal, Running, State};
use lyceum_core::seams::{Exit, Handle, StartProgress, StartRequest, Started, StopMode};
use lyceum_core::{Route, RouteSpec, ServerRef, Timestamp, escape};
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::progress::ProgressEvent;
use super::records::{self, StartInput};
use super::{Shared, probe};

/// How many lines of its log a failed server's page shows.
const LOG_LINES: usize = 30;
/// How long each of the polite signals is given at a stop.
const GRACE: Duration = Duration::from_secs(15);
/// The pause before a watch that failed is tried again.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// What can be seen of a server at any time.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Where it is in its life.
    pub state: State,
    /// When the present or last run started.
    pub started: Option<Timestamp>,
    /// What was said of the present or last start.
    pub progress: Arc<Vec<ProgressEvent>>,
}

/// What is asked of the actor.
#[derive(Debug)]
pub(crate) enum Message {
    /// Start the server.
    Start {
        input: StartInput,
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// Stop it.
    Stop {
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// It was found in the store at the start of Lyceum.
    Found {
        running: Running,
        started: Option<Timestamp>,
        reply: oneshot::Sender<()>,
    },
    /// Traffic could not reach it: look whether it lives.
    Suspect,
}

/// What a finished job answers.
#[derive(Debug)]
enum Done {
    Prepared(Result<Box<StartRequest>, Failure>),
    Launched(Result<Started, Failure>),
    Probed(Result<(), Failure>),
    Checked(Event),
    Exited(Exit),
    Stopped(bool),
}

type Job = Option<AbortOnDropHandle<Done>>;

/// Drives one server.
pub(crate) struct Actor {
    server: ServerRef,
    shared: Arc<Shared>,
    state: State,
    started: Option<Timestamp>,
    progress: Arc<Vec<ProgressEvent>>,
    seen: watch::Sender<Snapshot>,
    inbox: mpsc::Receiver<Message>,
    /// What a job says before it is done.
    asides: mpsc::UnboundedReceiver<Aside>,
    aside_sender: mpsc::UnboundedSender<Aside>,
    /// Preparing, launching, probing or checking.
    work: Job,
    watch: Job,
    stop: Job,
    input: StartInput,
    request: Option<Box<StartRequest>>,
    deadline: Option<Instant>,
    /// Counts starts, so that words of an earlier one are not taken for the present one's.
    generation: u64,
}

#[derive(Debug)]
enum Aside {
    Handle(u64, Handle),
    Say(u64, u8, String),
}

/// Hands the spawner's words to the actor.
struct Reporter {
    generation: u64,
    sender: mpsc::UnboundedSender<Aside>,
}

impl StartProgress for Reporter {
    fn handle(&self, handle: &Handle) {
        let _ = self
            .sender
            .send(Aside::Handle(self.generation, handle.clone()));
    }

    fn say(&self, percent: u8, message: &str) {
        let _ = self
            .sender
            .send(Aside::Say(self.generation, percent, message.to_owned()));
    }
}

impl Actor {
    pub(crate) fn new(
        server: ServerRef,
        shared: Arc<Shared>,
        seen: watch::Sender<Snapshot>,
        inbox: mpsc::Receiver<Message>,
    ) -> Self {
        let (aside_sender, asides) = mpsc::unbounded_channel();
        let Snapshot {
            state,
            started,
            progress,
        } = seen.borrow().clone();
        Self {
            server,
            shared,
            state,
            started,
            progress,
            seen,
            inbox,
            asides,
            aside_sender,
            work: None,
            watch: None,
            stop: None,
            input: StartInput::default(),
            request: None,
            deadline: None,
            generation: 0,
        }
    }

    /// Runs until nobody can ask anything of it any more.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                // Asides first: a handle must be known before the job that found it is done.
                biased;
                Some(aside) = self.asides.recv() => self.on_aside(aside).await,
                done = finished(&mut self.work) => self.on_done(done).await,
                done = finished(&mut self.stop) => self.on_done(done).await,
                done = finished(&mut self.watch) => self.on_done(done).await,
                () = at(self.deadline) => {
                    self.deadline = None;
                    let _ = self.apply(Event::TimedOut).await;
                }
                message = self.inbox.recv() => match message {
                    Some(message) => self.on_message(message).await,
                    None => return,
                },
            }
        }
    }

    async fn on_message(&mut self, message: Message) {
        match message {
            Message::Start { input, reply } => {
                let earlier = std::mem::replace(&mut self.input, input);
                let result = self.apply(Event::StartRequested).await;
                if result.is_err() {
                    self.input = earlier;
                }
                let _ = reply.send(result);
            }
            Message::Stop { reply } => {
                let result = self.apply(Event::StopRequested).await;
                let _ = reply.send(result);
            }
            Message::Found {
                running,
                started,
                reply,
            } => {
                self.started = started;
                let _ = self.apply(Event::Found(running)).await;
                let _ = reply.send(());
            }
            Message::Suspect => {
                if let State::Ready(running) = &self.state
                    && let Ok(lyceum_core::seams::Liveness::Exited(exit)) =
                        self.shared.spawner.poll(&running.handle).await
                {
                    let _ = self.apply(Event::Exited(exit)).await;
                }
            }
        }
    }

    async fn on_aside(&mut self, aside: Aside) {
        match aside {
            Aside::Handle(generation, handle) if generation == self.generation => {
                if let Err(error) = records::handle_known(&self.shared, &self.server, &handle).await
                {
                    tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                        "could not write down the process of a starting server");
                }
                let _ = self.apply(Event::HandleKnown(handle)).await;
            }
            Aside::Say(generation, percent, message) if generation == self.generation => {
                self.say(ProgressEvent::step(percent.clamp(1, 99), message));
            }
            Aside::Handle(..) | Aside::Say(..) => {}
        }
    }

    async fn on_done(&mut self, done: Done) {
        let event = match done {
            Done::Prepared(Ok(request)) => {
                self.started = Some(self.shared.clock.now());
                self.request = Some(request);
                Event::Prepared
            }
            Done::Launched(Ok(Started { upstream, handle })) => {
                let running = Running { handle, upstream };
                if let Err(error) = records::running(&self.shared, &self.server, &running).await {
                    tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                        "could not write down where a starting server will answer");
                }
                self.say(ProgressEvent::step(
                    50,
                    "The server's process runs; waiting for its first answer",
                ));
                Event::Launched(running)
            }
            Done::Prepared(Err(failure))
            | Done::Launched(Err(failure))
            | Done::Probed(Err(failure)) => Event::Failed(failure),
            Done::Probed(Ok(())) => Event::Published,
            Done::Checked(event) => event,
            Done::Exited(exit) => Event::Exited(exit),
            Done::Stopped(true) => Event::StopDone,
            // The state's time limit tries again.
            Done::Stopped(false) => return,
        };
        let _ = self.apply(event).await;
    }

    /// Applies an event; a refused one changes nothing.
    async fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let (next, commands) = self.state.on(event)?;
        tracing::debug!(server.name = %self.server, from = name(&self.state), to = name(&next), "server state");
        let before = std::mem::replace(&mut self.state, next);
        self.deadline = self
            .state
            .limit(&self.limits())
            .map(|limit| Instant::now() + limit);
        if matches!(self.state, State::Requested) {
            self.generation += 1;
            self.progress = Arc::new(vec![ProgressEvent::step(0, "Server requested")]);
        }
        for command in commands {
            self.carry_out(command).await;
        }
        self.announce(&before).await;
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Cancel => cancel(&mut self.work).await,
            Command::Prepare => self.prepare(),
            Command::Launch => self.launch(),
            Command::Probe => self.probe(),
            Command::Check => self.check(),
            Command::Watch => self.watch(),
            Command::PutRoute => self.put_route().await,
            Command::RemoveRoute => self.remove_route().await,
            Command::Stop => self.stop().await,
            Command::Clear => self.clear().await,
        }
    }

    fn prepare(&mut self) {
        let (shared, server, input) = (
            Arc::clone(&self.shared),
            self.server.clone(),
            self.input.clone(),
        );
        self.work =
            Some(self.job(async move {
                Done::Prepared(records::prepare(&shared, &server, &input).await)
            }));
    }

    fn launch(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let shared = Arc::clone(&self.shared);
        let reporter = Reporter {
            generation: self.generation,
            sender: self.aside_sender.clone(),
        };
        let limit = shared.settings.start_timeout;
        self.work = Some(self.job(async move {
            let started = timeout(limit, shared.spawner.start(*request, &reporter)).await;
            Done::Launched(started.unwrap_or_else(|_| {
                Err(Failure::new(
                    Cause::StartTimeout,
                    format!(
                        "The server's process was not started within {} seconds.",
                        limit.as_secs()
                    ),
                    "The machine may be busy. Try again in a minute.",
                ))
            }))
        }));
    }

    fn probe(&mut self) {
        let State::Probing(running) = &self.state else {
            return;
        };
        let (shared, server, running) = (
            Arc::clone(&self.shared),
            self.server.clone(),
            running.clone(),
        );
        self.work = Some(self.job(async move {
            let prefix = server.url_path(&shared.settings.base_url);
            match probe::wait_until_up(&running.upstream, &prefix, shared.settings.http_timeout)
                .await
            {
                Ok(answer) => {
                    warn_of_other_version(&server, answer.version.as_deref());
                    Done::Probed(publish(&shared, &server, &running).await)
                }
                Err(failure) => Done::Probed(Err(failure)),
            }
        }));
    }

    fn check(&mut self) {
        let State::Checking(running) = &self.state else {
            return;
        };
        let (shared, server, running) = (
            Arc::clone(&self.shared),
            self.server.clone(),
            running.clone(),
        );
        self.work = Some(self.job(async move {
            match shared.spawner.poll(&running.handle).await {
                Ok(lyceum_core::seams::Liveness::Exited(exit)) => {
                    Done::Checked(Event::Exited(exit))
                }
                Ok(lyceum_core::seams::Liveness::Running) | Err(_) => {
                    let prefix = server.url_path(&shared.settings.base_url);
                    // Busy is not dead: a server that lives but is slow to answer stays.
                    let _ = probe::is_up(&running.upstream, &prefix).await;
                    Done::Checked(Event::CheckPassed)
                }
            }
        }));
    }

    fn watch(&mut self) {
        let (State::Probing(running) | State::Checking(running)) = &self.state else {
            return;
        };
        let (shared, server, handle) = (
            Arc::clone(&self.shared),
            self.server.clone(),
            running.handle.clone(),
        );
        self.watch = Some(self.job(async move {
            loop {
                match shared.spawner.wait(&handle).await {
                    Ok(exit) => return Done::Exited(exit),
                    Err(error) => {
                        tracing::warn!(server.name = %server, error = &error as &dyn std::error::Error,
                            "could not watch the process of a server; trying again");
                        tokio::time::sleep(WATCH_AGAIN).await;
                    }
                }
            }
        }));
    }

    async fn put_route(&self) {
        let State::Checking(running) = &self.state else {
            return;
        };
        if let Err(error) = self
            .shared
            .routes
            .put(route(&self.shared, &self.server, running))
            .await
        {
            tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                "could not put the route of a running server");
        }
    }

    async fn remove_route(&self) {
        if let Err(error) = self
            .shared
            .routes
            .remove(&route_spec(&self.shared, &self.server))
            .await
        {
            tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                "could not remove the route of a server");
        }
    }

    async fn stop(&mut self) {
        cancel(&mut self.watch).await;
        let handle = self.state.handle().cloned();
        if let Err(error) = records::stopping(&self.shared, &self.server).await {
            tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                "could not write down that a server is stopping");
        }
        let (shared, server) = (Arc::clone(&self.shared), self.server.clone());
        self.stop = Some(self.job(async move {
            let Some(handle) = handle else {
                return Done::Stopped(true);
            };
            match shared
                .spawner
                .stop(&handle, StopMode::Graceful(GRACE))
                .await
            {
                Ok(()) => Done::Stopped(true),
                Err(error) => {
                    tracing::error!(server.name = %server, error = &error as &dyn std::error::Error,
                        "could not stop a server; trying again later");
                    Done::Stopped(false)
                }
            }
        }));
    }

    /// Cleans up after the end of a run, and completes the failure with the log's last lines.
    async fn clear(&mut self) {
        cancel(&mut self.watch).await;
        if let State::Stopped {
            failure: Some(failure),
        } = &mut self.state
            && failure.log.is_empty()
            && !matches!(
                failure.cause,
                Cause::CommandMissing | Cause::NotAllowed | Cause::Internal
            )
        {
            failure.log = self.shared.spawner.log_tail(&self.server, LOG_LINES).await;
        }
        if let Err(error) = records::cleared(&self.shared, &self.server, self.state.failure()).await
        {
            tracing::error!(server.name = %self.server, error = &error as &dyn std::error::Error,
                "could not write down that a server has stopped");
        }
    }

    /// Says the news to the log, and to whoever waits.
    async fn announce(&mut self, before: &State) {
        match &self.state {
            State::Ready(_) if !before.is_ready() => {
                let url = self.server.url_path(&self.shared.settings.base_url);
                let how = if matches!(before, State::Checking(_)) {
                    "adopted after the restart"
                } else {
                    "is ready"
                };
                tracing::info!(server.name = %self.server, "the server of {} {how}", self.server.user);
                self.push(ProgressEvent::ready(&url));
            }
            State::Stopped {
                failure: Some(failure),
            } => {
                tracing::warn!(server.name = %self.server, cause = ?failure.cause,
                    "the server of {} does not run: {}", self.server.user, failure.message);
                let event = ProgressEvent::failed(failure);
                if failure.is_of_start() {
                    self.push(event);
                }
            }
            State::Stopped { failure: None } => {
                tracing::info!(server.name = %self.server, "the server of {} has stopped", self.server.user);
            }
            _ => {}
        }
        self.publish_snapshot();
    }

    fn say(&mut self, event: ProgressEvent) {
        self.push(event);
        self.publish_snapshot();
    }

    fn push(&mut self, event: ProgressEvent) {
        Arc::make_mut(&mut self.progress).push(event);
    }

    fn publish_snapshot(&self) {
        self.seen.send_replace(Snapshot {
            state: self.state.clone(),
            started: self.started,
            progress: Arc::clone(&self.progress),
        });
    }

    fn limits(&self) -> Limits {
        self.shared.settings.limits()
    }

    fn job(&self, future: impl Future<Output = Done> + Send + 'static) -> AbortOnDropHandle<Done> {
        AbortOnDropHandle::new(self.shared.runtime.spawn(future))
    }
}

/// Puts the route; only then is the server ready.
async fn publish(shared: &Shared, server: &ServerRef, running: &Running) -> Result<(), Failure> {
    shared.routes.put(route(shared, server, running)).await.map_err(|error| {
        tracing::error!(server.name = %server, error = &error as &dyn std::error::Error, "could not put a route");
        Failure::new(
            Cause::Internal,
            "The server runs, but the proxy could not be told where.",
            "Try again; if this repeats, the administrator finds the reason in Lyceum's log.",
        )
    })
}

fn route(shared: &Shared, server: &ServerRef, running: &Running) -> Route {
    let data = json!({"user": server.user, "server_name": server.server});
    let data = if let Value::Object(data) = data {
        data
    } else {
        Map::new()
    };
    Route {
        spec: route_spec(shared, server),
        target: running.upstream.clone(),
        data,
    }
}

/// The route of a server; routes are written with decoded paths.
pub(crate) fn route_spec(shared: &Shared, server: &ServerRef) -> RouteSpec {
    let path = server.url_path(&shared.settings.base_url);
    RouteSpec::path(&escape::decode(&path).unwrap_or(path))
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

async fn finished(job: &mut Job) -> Done {
    match job {
        Some(handle) => {
            let result = handle.await;
            *job = None;
            result.unwrap_or_else(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a job of a server broke off"
                );
                Done::Probed(Err(Failure::new(
                    Cause::Internal,
                    "Something in Lyceum itself went wrong.",
                    "Try again; the administrator finds the reason in Lyceum's log.",
                )))
            })
        }
        None => std::future::pending().await,
    }
}

/// Drops a job and waits until it is gone.
async fn cancel(job: &mut Job) {
    if let Some(handle) = job.take() {
        handle.abort();
        let _ = handle.await;
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn name(state: &State) -> &'static str {
    match state {
        State::Stopped { failure: None } => "stopped",
        State::Stopped { failure: Some(_) } => "failed",
        State::Requested => "requested",
        State::Starting { .. } => "starting",
        State::Probing(_) => "probing",
        State::Ready(_) => "ready",
        State::Checking(_) => "checking",
        State::Stopping { .. } => "stopping",
    }
}
