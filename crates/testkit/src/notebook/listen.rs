//! Listening on a port or a socket; and the signals that end the process.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

use super::pages::State;
use super::{NotebookError, Settings, say};

/// How long the garbage mode waits for a request's first bytes.
const FIRST_BYTES: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
type AnyStream = Box<dyn Stream>;

/// A listener of either kind; a socket is removed when it is dropped.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    pub(super) async fn bind(settings: &Settings) -> Result<Self, NotebookError> {
        let failed = |source| NotebookError::Listen {
            place: settings.place(),
            source,
        };
        match &settings.socket {
            None => TcpListener::bind(&settings.address)
                .await
                .map(Self::Tcp)
                .map_err(failed),
            Some(path) => {
                let listener = UnixListener::bind(path).map_err(failed)?;
                let mode = std::fs::Permissions::from_mode(settings.socket_mode);
                std::fs::set_permissions(path, mode).map_err(failed)?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    async fn accept(&self) -> Result<AnyStream, NotebookError> {
        let accepted: io::Result<AnyStream> = match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                let _ = stream.set_nodelay(true);
                Box::new(stream) as AnyStream
            }),
            Self::Unix(listener, _) => listener
                .accept()
                .await
                .map(|(stream, _)| Box::new(stream) as AnyStream),
        };
        accepted.map_err(|source| NotebookError::System {
            doing: "accept a connection",
            source,
        })
    }

    /// Answers requests for ever.
    pub(super) async fn serve(self, state: Arc<State>) -> Result<(), NotebookError> {
        let mut connections = JoinSet::new();
        loop {
            let stream = self.accept().await?;
            while connections.try_join_next().is_some() {}
            let state = Arc::clone(&state);
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(request).await) }
                });
                let served = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
                if let Err(error) = served {
                    say(&format!("a connection broke off: {error}"));
                }
            });
        }
    }

    /// Keeps every connection and says nothing.
    pub(super) async fn hold(self) -> Result<(), NotebookError> {
        let mut held = Vec::new();
        loop {
            held.push(self.accept().await?);
        }
    }

    /// Says something that is not HTTP to everybody.
    pub(super) async fn answer_garbage(self) -> Result<(), NotebookError> {
        let mut connections = JoinSet::new();
        loop {
            let mut stream = self.accept().await?;
            connections.spawn(async move {
                let mut request = [0; 1024];
                let _ = tokio::time::timeout(FIRST_BYTES, stream.read(&mut request)).await;
                let _ = stream.write_all(b"\x16\x03 this is not HTTP\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The two polite signals.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn watch() -> Result<Self, NotebookError> {
        let watch = |kind| {
            signal(kind).map_err(|source| NotebookError::System {
                doing: "watch for signals",
                source,
            })
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal and gives its name.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
