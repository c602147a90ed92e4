//! The actor of one server: applies events to the life cycle, carries out its commands, tells who watches.
//!
//! What takes time is a job, and jobs answer with events. A job that is cancelled is dropped and gone before
//! the next command runs.

mod jobs;
mod messages;
mod told;

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use lyceum_core::lifecycle::{Cause, Command, Event, Failure, Refusal, Running, State};
use lyceum_core::route::Upstream;
use lyceum_core::seams::{StartRequest, Started};
use lyceum_core::{ServerRef, Timestamp};
use lyceum_store::{Phase, Server, StoreError};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::jobs::{Aside, Done, Job, Reporter, Subject, WATCH_AGAIN, cancel, finished, give_up};
pub use self::messages::Snapshot;
pub(crate) use self::messages::{Found, FoundLife, Message};
use super::progress::ProgressEvent;
use super::records::{self, Change, StartInput};
use super::{Shared, routes};
use crate::audit::AuditKind;

/// How many lines of its log a failed server's page shows.
const LOG_LINES: usize = 30;
/// How long reading them may take: a log may be on a disk that hangs.
const LOG_LIMIT: Duration = Duration::from_secs(5);
/// How often a server is looked at because traffic could not reach it: seldom, as each such request asks for it.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The pauses before an actor that panicked goes on.
const GO_ON_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// How long reading the server's record may take then.
const READ_LIMIT: Duration = Duration::from_secs(10);

/// Drives one server.
pub(crate) struct Actor {
    subject: Subject,
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
    /// Writing down the end of a run, where that did not work at once.
    clearing: Job,
    /// Gives up the launch that is under way, if it is one.
    launch: Option<CancellationToken>,
    /// What the start is asked with, until it is prepared.
    input: Option<Arc<StartInput>>,
    request: Option<StartRequest>,
    deadline: Option<Instant>,
    /// When the server was last looked at because traffic could not reach it.
    looked: Option<Instant>,
    /// When the start or the stop that is going on began.
    begun: Option<Instant>,
    /// Counts starts, so that words of an earlier one are not taken for the present one's.
    generation: u64,
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
            subject: Subject {
                silent: Arc::default(),
                shared,
                server,
                row: None,
            },
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
            clearing: None,
            launch: None,
            input: None,
            request: None,
            deadline: None,
            looked: None,
            begun: None,
            generation: 0,
        }
    }

    /// Runs until nobody can ask anything of it any more, or its server is removed.
    ///
    /// After a panic it goes on with what the store says of the server. Whoever asked something just then gets no
    /// answer; whoever asks meanwhile waits.
    pub(crate) async fn run(mut self) {
        let (mut pause, longest) = GO_ON_AFTER;
        while AssertUnwindSafe(self.drive()).catch_unwind().await.is_err() {
            tracing::error!(server.name = %self.subject.server,
                "what drives a server panicked; going on in {pause:?} with what is stored of it");
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(longest);
                if self.inbox.is_closed() {
                    return;
                }
                if let Ok(true) = AssertUnwindSafe(self.begin_again()).catch_unwind().await {
                    break;
                }
            }
        }
    }

    /// Forgets all but what the store says of the server; returns whether that could be read.
    async fn begin_again(&mut self) -> bool {
        for job in [
            &mut self.work,
            &mut self.watch,
            &mut self.stop,
            &mut self.clearing,
        ] {
            cancel(job).await;
        }
        while self.asides.try_recv().is_ok() {}
        (self.launch, self.input, self.request, self.deadline) = (None, None, None, None);
        self.generation += 1;
        let (shared, server) = (&self.subject.shared, &self.subject.server);
        let read = async {
            let user = shared.store.get_user(&server.user).await?;
            shared.store.find_server(user.id, &server.server).await
        };
        let row = match timeout(READ_LIMIT, read).await {
            Ok(Ok(row)) => row,
            Ok(Err(StoreError::NotFound { .. })) => None,
            Ok(Err(error)) => {
                tracing::error!(server.name = %server, error = &error as &dyn std::error::Error,
                    "could not read what is stored of a server");
                return false;
            }
            Err(_) => return false,
        };
        self.state = State::initial();
        if let Some(row) = row.filter(|row| row.phase != Phase::Stopped) {
            self.on_found(Found::of(row)).await;
        } else {
            routes::remove(&self.subject.shared, &self.subject.server).await;
            self.publish_snapshot();
        }
        true
    }

    async fn drive(&mut self) {
        let memory = self.subject.shared.settings.servers.memory;
        loop {
            tokio::select! {
                // Asides first: a handle must be known before the job that found it is done.
                biased;
                Some(aside) = self.asides.recv() => self.on_aside(aside).await,
                done = finished(&mut self.work) => self.on_done(done).await,
                done = finished(&mut self.stop) => self.on_stop_done(done).await,
                done = finished(&mut self.watch) => self.on_watch_done(done).await,
                _ = finished(&mut self.clearing) => {}
                () = at(self.deadline) => {
                    self.deadline = None;
                    let _ = self.apply(Event::TimedOut).await;
                }
                message = self.inbox.recv() => match message {
                    Some(message) => if self.on_message(message).await.is_break() {
                        return;
                    },
                    None => return,
                },
                // Begins anew with each turn.
                () = sleep(memory), if self.may_rest() => {
                    // What comes at this very moment is not answered, and so asked again of the next one.
                    self.inbox.close();
                    return;
                }
            }
        }
    }

    /// Whether nothing would be lost with it: what there is to know of a server that does not run is stored.
    fn may_rest(&self) -> bool {
        !self.state.is_active() && self.clearing.is_none()
    }

    async fn on_message(&mut self, message: Message) -> ControlFlow<()> {
        match message {
            // Whoever asked has given up, and with it the place among those that start.
            Message::Start { reply, .. } if reply.is_closed() => {}
            Message::Start { reply, .. } if self.subject.shared.is_closing() => {
                let _ = reply.send(Err(Refusal::Closing));
            }
            Message::Start { input, reply } => {
                self.input = Some(input);
                let result = self.apply(Event::StartRequested).await;
                self.input = None;
                let _ = reply.send(result);
            }
            Message::Stop { reply } => {
                let result = self.apply(Event::StopRequested).await;
                let _ = reply.send(result);
            }
            Message::Found { found, reply } => {
                self.on_found(found).await;
                let _ = reply.send(());
            }
            Message::Suspect => {
                let now = Instant::now();
                let lately = self.looked.is_some_and(|at| now < at + LOOK_EVERY);
                if let (State::Ready(running), true, false) =
                    (&self.state, self.work.is_none(), lately)
                {
                    self.looked = Some(now);
                    self.work = Some(self.subject.check(running.clone()));
                }
            }
            Message::MendRoute { target, reply } => {
                self.mend_route(target).await;
                let _ = reply.send(());
            }
            Message::Remove { reply } => {
                if self.state.is_active() {
                    let _ = reply.send(Ok(false));
                    return ControlFlow::Continue(());
                }
                // Whoever asks for something from now on asks a new actor, which finds no record.
                cancel(&mut self.clearing).await;
                let deleted = records::delete(&self.subject.shared, &self.subject.server).await;
                let ends = deleted.is_ok();
                if ends {
                    self.inbox.close();
                }
                let _ = reply.send(deleted.map(|()| true));
                if ends {
                    return ControlFlow::Break(());
                }
            }
            Message::Change { change, reply } => return self.on_change(change, reply).await,
        }
        ControlFlow::Continue(())
    }

    async fn on_change(
        &mut self,
        change: Change,
        reply: oneshot::Sender<Result<Option<Server>, StoreError>>,
    ) -> ControlFlow<()> {
        // The end of a run that is not yet written down would be written over the change.
        if self.state.is_active() || self.clearing.is_some() {
            let _ = reply.send(Ok(None));
            return ControlFlow::Continue(());
        }
        let renames = change.name.is_some();
        let changed = records::change(&self.subject.shared, &self.subject.server, change).await;
        let ends = renames && changed.is_ok();
        if ends {
            // There is no server of this name any more: whoever asks for it asks a new actor.
            self.inbox.close();
        }
        let _ = reply.send(changed.map(Some));
        if ends {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    async fn mend_route(&self, target: Option<Upstream>) {
        let (shared, server) = (&self.subject.shared, &self.subject.server);
        match (&self.state, target) {
            // A proxy elsewhere tells addresses alone, and not whose they are.
            (State::Ready(running), target)
                if target.as_ref().map(ToString::to_string)
                    != Some(running.upstream.to_string()) =>
            {
                tracing::warn!(server.name = %server, "the route of {server} was missing or wrong");
                // What goes wrong is logged, and tried again at the next check.
                let _ = routes::publish(shared, server, running).await;
            }
            (State::Stopped { .. }, Some(_)) => {
                tracing::warn!(server.name = %server, "there was a route of {server}, which does not run");
                routes::remove(shared, server).await;
            }
            _ => {}
        }
    }

    async fn on_found(&mut self, found: Found) {
        if self.state.is_active() {
            return;
        }
        self.subject.row = Some(found.row);
        self.started = found.started;
        let event = match found.life {
            FoundLife::Running(running) => Event::Found(running),
            FoundLife::Unfinished { handle, failure } => Event::Left { handle, failure },
        };
        let _ = self.apply(event).await;
    }

    async fn on_aside(&mut self, aside: Aside) {
        match aside {
            Aside::Handle(generation, handle) if generation == self.generation => {
                self.subject.write_handle(&handle).await;
                let _ = self.apply(Event::HandleKnown(handle)).await;
            }
            Aside::Say(generation, percent, message) if generation == self.generation => {
                self.say(ProgressEvent::step(percent.clamp(1, 99), message));
            }
            Aside::Handle(..) | Aside::Say(..) => {}
            Aside::Made(made) => {
                let detail = json!({"account": made.account, "home": made.home, "uid": made.uid});
                self.note(AuditKind::AccountCreated, detail);
            }
        }
    }

    /// Preparing, launching, probing or checking is done.
    async fn on_done(&mut self, done: Done) {
        self.launch = None;
        let event = match done {
            Done::Prepared(Ok(prepared)) => {
                self.subject.row = Some(prepared.row);
                self.started = Some(prepared.started);
                self.request = Some(prepared.request);
                Event::Prepared
            }
            Done::Launched(Ok(Started { upstream, handle })) => {
                self.say(ProgressEvent::step(50, "Waiting for its first answer"));
                Event::Launched(Running { handle, upstream })
            }
            Done::Prepared(Err(failure))
            | Done::Launched(Err(failure))
            | Done::Probed(Err(failure)) => Event::Failed(failure),
            Done::Probed(Ok(())) => Event::Published,
            Done::Checked(event) => event,
            Done::Broke => Event::Failed(Failure::new(
                Cause::Internal,
                "Something in Lyceum itself went wrong.",
                "Try again; the administrator finds the reason in Lyceum's log.",
            )),
            Done::Exited(_) | Done::Stopped | Done::Cleared => return,
        };
        let _ = self.apply(event).await;
    }

    async fn on_stop_done(&mut self, done: Done) {
        // One that broke, or hangs, is begun again at the state's time limit.
        if let Done::Stopped = done {
            let _ = self.apply(Event::StopDone).await;
        }
    }

    async fn on_watch_done(&mut self, done: Done) {
        match (done, self.state.handle()) {
            (Done::Exited(exit), _) => {
                let _ = self.apply(Event::Exited(exit)).await;
            }
            (_, Some(handle)) => {
                self.watch = Some(self.subject.watch(handle.clone(), WATCH_AGAIN.0));
            }
            (_, None) => {}
        }
    }

    /// Applies an event; a refused one changes nothing.
    async fn apply(&mut self, event: Event) -> Result<(), Refusal> {
        let timed_out = matches!(event, Event::TimedOut);
        let (next, commands) = self.state.on(event)?;
        tracing::debug!(server.name = %self.subject.server, from = name(&self.state), to = name(&next), "server state");
        let before = std::mem::replace(&mut self.state, next);
        self.deadline = self
            .state
            .limit(&self.subject.shared.settings.limits())
            .map(|limit| Instant::now() + limit);
        match (&before, &self.state) {
            (_, State::Requested) => {
                self.generation += 1;
                self.begun = Some(Instant::now());
                self.progress = Arc::new(vec![ProgressEvent::step(0, "Server requested")]);
            }
            (State::Stopping { .. }, State::Stopping { .. }) if timed_out => {
                self.subject.shared.metrics.stopped(false, self.took());
            }
            (State::Stopping { .. }, State::Stopping { .. }) => {}
            (_, State::Stopping { failure: None, .. }) => self.begun = Some(Instant::now()),
            _ => {}
        }
        for command in commands {
            self.carry_out(command).await;
        }
        self.announce(&before);
        Ok(())
    }

    async fn carry_out(&mut self, command: Command) {
        match (command, &self.state) {
            (Command::Cancel, _) => {
                give_up(&mut self.work, self.launch.take()).await;
                cancel(&mut self.work).await;
            }
            (Command::Prepare, _) => {
                // The end of the run before must not be written over the new one.
                cancel(&mut self.clearing).await;
                self.started = None;
                self.work = Some(self.subject.prepare(self.input.take().unwrap_or_default()));
            }
            (Command::Launch, _) => self.launch(),
            (Command::Probe, State::Probing(running)) => {
                self.work = Some(self.subject.probe(running.clone()));
            }
            (Command::Check, State::Checking(running)) => {
                self.work = Some(self.subject.check(running.clone()));
            }
            (Command::Watch, State::Probing(running) | State::Checking(running)) => {
                self.watch = Some(self.subject.watch(running.handle.clone(), Duration::ZERO));
            }
            (Command::PutRoute, State::Checking(running)) => {
                // What went wrong is logged; the server is left as it is.
                let _ = routes::publish(&self.subject.shared, &self.subject.server, running).await;
            }
            (Command::RemoveRoute, _) => {
                routes::remove(&self.subject.shared, &self.subject.server).await;
            }
            (Command::Stop, state) => {
                let handle = state.handle().cloned();
                cancel(&mut self.watch).await;
                cancel(&mut self.stop).await;
                self.stop = Some(self.subject.stop(handle));
            }
            (Command::Clear, _) => self.clear().await,
            (Command::Probe | Command::Check | Command::Watch | Command::PutRoute, _) => {}
        }
    }

    fn launch(&mut self) {
        let Some(request) = self.request.take() else {
            return;
        };
        let reporter = Reporter::new(self.generation, self.aside_sender.clone());
        let given_up = CancellationToken::new();
        self.launch = Some(given_up.clone());
        self.work = Some(self.subject.launch(request, reporter, given_up));
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
            let log = self
                .subject
                .shared
                .spawner
                .log_tail(&self.subject.server, LOG_LINES);
            if let Ok(lines) = timeout(LOG_LIMIT, log).await {
                failure.log = lines;
            } else {
                tracing::warn!(server.name = %self.subject.server,
                    "the log of a failed server could not be read in time");
            }
        }
        if !self.subject.write_cleared(self.state.failure()).await {
            self.clearing = Some(self.subject.clear(self.state.failure().cloned()));
        }
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
