//! A spawner without processes: its servers start, fail and end as a test says.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lyceum_core::lifecycle::Failure;
use lyceum_core::seams::{
    Exit, Handle, Liveness, MadeForUser, SpawnError, Spawner, StartProgress, StartRequest, Started,
    StopMode, Usage,
};
use lyceum_core::{ServerRef, Upstream};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

const KIND: &str = "fake";
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

/// What becomes of a start.
#[derive(Debug, Clone, Default)]
pub enum Start {
    /// The server runs, and answers.
    #[default]
    Works,
    /// Nothing is ever started.
    Hangs,
    /// There is something to stop, and the start never ends.
    HangsWithHandle,
    /// The spawner says why not.
    Fails(Failure),
    /// This is made for the user first; then the server runs, and answers.
    Makes(MadeForUser),
    /// The spawner has a mistake.
    Panics,
}

/// What becomes of a stop.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stop {
    /// The server ends.
    #[default]
    Works,
    /// It does not end before something else is said.
    Hangs,
    /// The spawner cannot do it.
    Fails,
}

/// A spawner without processes. A clone is the same spawner.
#[derive(Debug, Clone)]
pub struct FakeSpawner(Arc<Inner>);

struct Inner {
    upstream: Upstream,
    script: Mutex<Script>,
    stop: watch::Sender<Stop>,
    servers: Mutex<HashMap<u64, watch::Sender<Option<Exit>>>>,
    /// Answers everybody, on behalf of all servers.
    _answering: JoinSet<()>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeSpawner").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Script {
    start: Start,
    starts: u64,
    stops: u64,
    swept: Option<Vec<Handle>>,
    usage: Option<Usage>,
    looks: u64,
}

impl FakeSpawner {
    /// Makes a spawner whose servers work.
    #[expect(clippy::expect_used, reason = "a test that cannot be set up fails")]
    pub async fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        let mut answering = JoinSet::new();
        answering.spawn(answer_all(listener));
        Self(Arc::new(Inner {
            upstream: Upstream::Tcp {
                host: "127.0.0.1".to_owned(),
                port,
            },
            script: Mutex::default(),
            stop: watch::channel(Stop::default()).0,
            servers: Mutex::default(),
            _answering: answering,
        }))
    }

    /// Says what becomes of starts from now on.
    pub fn on_start(&self, start: Start) {
        lock(&self.0.script).start = start;
    }

    /// Says what becomes of stops from now on.
    pub fn on_stop(&self, stop: Stop) {
        self.0.stop.send_replace(stop);
    }

    /// Says what each server uses from now on.
    pub fn uses(&self, usage: Usage) {
        lock(&self.0.script).usage = Some(usage);
    }

    /// How often it was asked what a server uses.
    pub fn looks(&self) -> u64 {
        lock(&self.0.script).looks
    }

    /// How often a start was asked for.
    pub fn starts(&self) -> u64 {
        lock(&self.0.script).starts
    }

    /// How often a stop was asked for.
    pub fn stops(&self) -> u64 {
        lock(&self.0.script).stops
    }

    /// How many servers run.
    pub fn running(&self) -> usize {
        let servers = lock(&self.0.servers);
        servers
            .values()
            .filter(|exit| exit.borrow().is_none())
            .count()
    }

    /// The handles that the last sweep was told to spare; `None` before the first.
    pub fn swept(&self) -> Option<Vec<Handle>> {
        lock(&self.0.script).swept.clone()
    }

    /// Ends all servers as if by themselves.
    pub fn end_all(&self, exit: Exit) {
        for server in lock(&self.0.servers).values() {
            server.send_if_modified(|known| {
                let news = known.is_none();
                known.get_or_insert(exit);
                news
            });
        }
    }

    fn new_server(&self) -> Handle {
        let id = lock(&self.0.script).starts;
        lock(&self.0.servers).insert(id, watch::channel(None).0);
        Handle(json!({"kind": KIND, "id": id}))
    }

    fn find(&self, handle: &Handle) -> Result<watch::Receiver<Option<Exit>>, SpawnError> {
        let id = handle.0.get("id").and_then(serde_json::Value::as_u64);
        id.and_then(|id| lock(&self.0.servers).get(&id).map(watch::Sender::subscribe))
            .ok_or(SpawnError::ForeignHandle { kind: KIND })
    }
}

#[async_trait]
impl Spawner for FakeSpawner {
    fn kind(&self) -> &'static str {
        KIND
    }

    #[expect(clippy::panic, reason = "a panic is what a test asked for")]
    async fn start(
        &self,
        _: StartRequest,
        progress: &dyn StartProgress,
    ) -> Result<Started, Failure> {
        let start = {
            let mut script = lock(&self.0.script);
            script.starts += 1;
            script.start.clone()
        };
        match start {
            Start::Works => {}
            Start::Makes(made) => progress.made(&made),
            Start::Hangs => std::future::pending().await,
            Start::HangsWithHandle => {
                progress.handle(&self.new_server());
                std::future::pending::<()>().await;
            }
            Start::Fails(failure) => return Err(failure),
            Start::Panics => panic!("the spawner was told to panic"),
        }
        let handle = self.new_server();
        progress.handle(&handle);
        Ok(Started {
            upstream: self.0.upstream.clone(),
            handle,
        })
    }

    async fn poll(&self, handle: &Handle) -> Result<Liveness, SpawnError> {
        let exit = *self.find(handle)?.borrow();
        Ok(exit.map_or(Liveness::Running, Liveness::Exited))
    }

    async fn wait(&self, handle: &Handle) -> Result<Exit, SpawnError> {
        let mut exit = self.find(handle)?;
        let known = exit.wait_for(Option::is_some).await;
        Ok(known.ok().and_then(|exit| *exit).unwrap_or(Exit::Unknown))
    }

    async fn stop(&self, handle: &Handle, _: StopMode) -> Result<(), SpawnError> {
        lock(&self.0.script).stops += 1;
        let mut stop = self.0.stop.subscribe();
        let stop = stop
            .wait_for(|stop| *stop != Stop::Hangs)
            .await
            .map(|stop| *stop);
        if !matches!(stop, Ok(Stop::Works)) {
            return Err(SpawnError::WontEnd(std::time::Duration::ZERO));
        }
        if let Some(id) = handle.0.get("id").and_then(serde_json::Value::as_u64)
            && let Some(server) = lock(&self.0.servers).get(&id)
        {
            server.send_if_modified(|known| {
                let news = known.is_none();
                known.get_or_insert(Exit::Signal(15));
                news
            });
        }
        Ok(())
    }

    async fn log_tail(&self, server: &ServerRef, _: usize) -> Vec<String> {
        vec![format!("the log of {server}")]
    }

    async fn sweep(&self, known: &[Handle]) -> Result<usize, SpawnError> {
        lock(&self.0.script).swept = Some(known.to_vec());
        Ok(0)
    }

    async fn forget(&self, _: &ServerRef) -> Result<(), SpawnError> {
        Ok(())
    }

    async fn usage(&self, _: &Handle) -> Option<Usage> {
        let mut script = lock(&self.0.script);
        script.looks += 1;
        script.usage
    }
}

async fn answer_all(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(ANSWER).await;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
