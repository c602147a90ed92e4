//! What surrounds the hub: a clock that moves when told, one password for all, servers without processes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::route::{Route, RouteSpec, RouteStatus, Upstream};
use lyceum_core::seams::{
    Attempt, AuthError, Authenticator, Exit, Handle, Identity, Liveness, PythonInUse, Routes,
    RoutesError, SpawnError, Spawner, StartProgress, StartRequest, Started, Step, StopMode,
};
use lyceum_core::{Clock, ServerRef, SystemClock, Timestamp};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse";

/// The machine's clock, a number of seconds ahead.
#[derive(Debug, Default)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        SystemClock.steady() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// Knows everybody who knows [`PASSWORD`]; cannot be asked about `down`.
#[derive(Debug)]
pub(crate) struct FakeLogin;

#[async_trait]
impl Authenticator for FakeLogin {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        if attempt.username == "down" {
            return Err(AuthError::Unavailable {
                kind: "fake",
                reason: "it is down".to_owned(),
            });
        }
        if attempt.password.expose() != PASSWORD {
            return Ok(Step::Refused("the password is wrong"));
        }
        Ok(Step::Identity(Identity {
            name: attempt.username,
            ..Identity::default()
        }))
    }
}

/// What becomes of the next starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    /// They work.
    #[default]
    Works,
    /// They take for ever.
    Hangs,
    /// They fail.
    Fails,
    /// The rules of the machine refuse them.
    Refuses,
    /// They fail, and the log may say why.
    Breaks,
}

/// Starts servers that answer "ok" to everything. A clone is the same spawner.
#[derive(Debug, Clone)]
pub(crate) struct FakeSpawner(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    port: u16,
    mood: Mutex<Mood>,
    python: Mutex<Option<PythonInUse>>,
    requests: Mutex<Vec<StartRequest>>,
    ended: watch::Sender<BTreeSet<u64>>,
    _answering: JoinSet<()>,
}

impl FakeSpawner {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut answering = JoinSet::new();
        answering.spawn(say_ok(listener));
        Self(Arc::new(Inner {
            port,
            mood: Mutex::default(),
            python: Mutex::default(),
            requests: Mutex::default(),
            ended: watch::channel(BTreeSet::new()).0,
            _answering: answering,
        }))
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.0.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// Says from which Python environment servers are started from now on.
    pub(crate) fn starts_from(&self, python: PythonInUse) {
        *self.0.python.lock().unwrap() = Some(python);
    }

    /// How many starts there were.
    pub(crate) fn starts(&self) -> usize {
        self.requests().len()
    }

    /// The environment of the last start.
    pub(crate) fn last_environment(&self) -> BTreeMap<String, String> {
        self.requests().last().unwrap().environment.clone()
    }

    /// The options of the last start.
    pub(crate) fn last_options(&self) -> serde_json::Value {
        json!(self.requests().last().unwrap().user_options)
    }

    fn requests(&self) -> Vec<StartRequest> {
        let requests = self.0.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Spawner for FakeSpawner {
    fn kind(&self) -> &'static str {
        "fake"
    }

    async fn start(
        &self,
        request: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure> {
        let mood = *self.0.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let number = {
            let mut requests = self
                .0
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            requests.push(request);
            requests.len()
        };
        match mood {
            Mood::Works => {}
            Mood::Hangs => std::future::pending().await,
            Mood::Fails => {
                let (message, hint) = ("The disk is full.", "Delete something.");
                return Err(Failure::new(Cause::System, message, hint));
            }
            Mood::Refuses => {
                let (message, hint) = ("You may not have that.", "Choose another one.");
                return Err(Failure::new(Cause::NotAllowed, message, hint));
            }
            Mood::Breaks => return Err(Failure::new(Cause::System, "It broke.", "Wait.")),
        }
        let python = self.0.python.lock().unwrap().clone();
        let handle = Handle(json!({ "number": number, "python": python }));
        progress.handle(&handle);
        Ok(Started {
            upstream: Upstream::Tcp {
                host: "127.0.0.1".to_owned(),
                port: self.0.port,
            },
            handle,
        })
    }

    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError> {
        let number = handle.0["number"].as_u64().unwrap_or_default();
        let ended = self.0.ended.borrow().contains(&number);
        Ok(if ended {
            Liveness::Exited(Exit::Code(0))
        } else {
            Liveness::Running
        })
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError> {
        let number = handle.0["number"].as_u64().unwrap_or_default();
        let mut ended = self.0.ended.subscribe();
        let _ = ended.wait_for(|ended| ended.contains(&number)).await;
        Ok(Exit::Code(0))
    }

    async fn stop(&self, handle: &Handle, _: StopMode) -> Result<(), SpawnError> {
        let number = handle.0["number"].as_u64().unwrap_or_default();
        self.0.ended.send_modify(|ended| {
            ended.insert(number);
        });
        Ok(())
    }

    async fn log_tail(&self, _: &ServerRef, _: usize) -> Vec<String> {
        vec!["<script>the last line</script>".to_owned()]
    }

    async fn sweep(&self, _: &[Handle]) -> Result<usize, SpawnError> {
        Ok(0)
    }

    fn python(&self, handle: &Handle) -> Option<PythonInUse> {
        serde_json::from_value(handle.0["python"].clone()).unwrap()
    }

    async fn forget(&self, _: &ServerRef) -> Result<(), SpawnError> {
        Ok(())
    }
}

async fn say_ok(listener: TcpListener) {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 2\r\n\
        Connection: close\r\n\r\nok";
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(OK).await;
        });
    }
}

/// Takes all routes and keeps none: no request in these tests comes through the gateway.
#[derive(Debug)]
pub(crate) struct NoRoutes;

#[async_trait]
impl Routes for NoRoutes {
    async fn put(&self, _: Route) -> Result<(), RoutesError> {
        Ok(())
    }

    async fn remove(&self, _: &RouteSpec) -> Result<(), RoutesError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<RouteStatus>, RoutesError> {
        Ok(Vec::new())
    }
}
