//! Connections to upstreams, kept open between requests; one pool per thread, without locks.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use lyceum_core::Upstream;
use lyceum_core::clock::Clock;

use crate::body::BodyError;
use crate::socket::Socket;
use crate::table::Entry;

/// How long an unused connection to an upstream is kept.
pub(crate) const KEEP: Duration = Duration::from_mins(1);
/// How long it is good for a request that must not be repeated, should it turn out to be closed.
const FRESH: Duration = Duration::from_secs(1);
/// How many unused connections to one upstream are kept by each thread.
const PER_TARGET: usize = 256;
/// The largest buffer of one connection, and so the largest head of an answer.
const BUFFER: usize = 64 * 1024;

/// A connection on which one request at a time can be sent.
pub(crate) type Sender = SendRequest<RequestBody>;

/// The unused connections of one thread.
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    /// Owns the tasks that drive the connections.
    drivers: TaskTracker,
    connect_timeout: Duration,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// Why there is no connection to an upstream.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    #[error("could not connect to {target}")]
    Unreachable {
        target: Upstream,
        #[source]
        source: io::Error,
    },
    #[error("{target} did not accept the connection within {limit:?}")]
    Timeout { target: Upstream, limit: Duration },
    #[error("could not begin HTTP with {target}")]
    Handshake {
        target: Upstream,
        #[source]
        source: hyper::Error,
    },
}

impl Pool {
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            drivers: TaskTracker::new(),
            connect_timeout,
        }
    }

    /// Takes an unused connection, the one used last, which is the least likely to be closed by now.
    pub(crate) fn take(&self, target_id: u64, repeatable: bool) -> Option<Sender> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&target_id)?;
        let limit = if repeatable { KEEP } else { FRESH };
        connections.retain(|connection| !connection.sender.is_closed());
        let ready = connections
            .iter()
            .rposition(|idle| idle.sender.is_ready() && idle.since.elapsed() < limit)?;
        Some(connections.swap_remove(ready).sender)
    }

    /// Gives a connection back whose answer has been read to its end.
    pub(crate) fn give_back(&self, target_id: u64, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(target_id).or_default();
        if connections.len() < PER_TARGET {
            connections.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that were not used for long; called now and then.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|connection| {
                !connection.sender.is_closed() && connection.since.elapsed() < KEEP
            });
            !connections.is_empty()
        });
    }

    /// Opens a new connection.
    pub(crate) async fn connect(&self, target: &Upstream) -> Result<Sender, ConnectError> {
        let socket = self.open(target).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|source| ConnectError::Handshake {
                target: target.clone(),
                source,
            })?;
        // The driver ends with the connection; how it ended shows in the answer to the request.
        self.drivers.spawn_local(async move {
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    async fn open(&self, target: &Upstream) -> Result<Socket, ConnectError> {
        let connect = async {
            match target {
                Upstream::Tcp { host, port } | Upstream::Tls { host, port } => {
                    Socket::connect_tcp(host, *port).await
                }
                Upstream::Unix(path) => Socket::connect_unix(path).await,
            }
        };
        match tokio::time::timeout(self.connect_timeout, connect).await {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(source)) => Err(ConnectError::Unreachable {
                target: target.clone(),
                source,
            }),
            Err(_) => Err(ConnectError::Timeout {
                target: target.clone(),
                limit: self.connect_timeout,
            }),
        }
    }
}

/// The body of a request on its way to an upstream; its data count as activity.
pub(crate) struct RequestBody {
    body: Option<Incoming>,
    entry: Arc<Entry>,
    clock: Arc<dyn Clock>,
    fate: Rc<Cell<BodyFate>>,
}

/// What became of a request's body so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFate {
    Untouched,
    Taken,
    /// The client broke it off, or it was malformed.
    Broken,
    /// The client stopped sending it.
    TimedOut,
}

/// Tells whether the connection was given up because nothing came.
fn is_timeout(error: &hyper::Error) -> bool {
    std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
}

impl RequestBody {
    pub(crate) fn new(
        body: Option<Incoming>,
        entry: Arc<Entry>,
        clock: Arc<dyn Clock>,
        fate: Rc<Cell<BodyFate>>,
    ) -> Self {
        Self {
            body,
            entry,
            clock,
            fate,
        }
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.fate.set(BodyFate::Taken);
                if frame.is_data() {
                    self.entry.touch(self.clock.now());
                }
            }
            Some(Err(error)) if is_timeout(error) => self.fate.set(BodyFate::TimedOut),
            Some(Err(_)) => self.fate.set(BodyFate::Broken),
            None => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::new)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}
