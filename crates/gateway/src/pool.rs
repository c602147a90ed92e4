//! Connections to upstreams, kept open between requests; one pool per thread, without locks.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lyceum_core::Upstream;
use thiserror::Error;
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::time::Instant;

use crate::buffer::Inbox;
use crate::options::ForwardOptions;
use crate::patience::Patience;
use crate::socket::Socket;

/// How long a user's server may take for a handshake of TLS: as long as a busy notebook keeps it from anything else.
const HANDSHAKE_LIMIT: Duration = Duration::from_mins(2);
/// How long an unused connection to an upstream is kept.
pub(crate) const KEEP: Duration = Duration::from_mins(1);
/// How long it is good for a request that must not be repeated, should it turn out to be closed.
const FRESH: Duration = Duration::from_secs(1);
/// How many unused connections to one upstream are kept by each thread.
const PER_TARGET: usize = 256;

/// A connection to an upstream, on which one request at a time can be sent.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) io: Socket,
    /// What has come and was not used.
    pub(crate) inbox: Inbox,
}

/// The unused connections of one thread.
pub(crate) struct Pool {
    idle: RefCell<HashMap<u64, Vec<Idle>>>,
    connect_timeout: Duration,
}

struct Idle {
    link: Link,
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
}

impl Link {
    /// Whether a connection that nobody uses is still good. Costs no call of the system unless something has
    /// happened to it.
    fn is_alive(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut nobody = Context::from_waker(Waker::noop());
        matches!(
            pin!(&mut self.io).poll_read(&mut nobody, &mut buffer),
            Poll::Pending
        )
    }
}

impl Pool {
    pub(crate) fn new(connect_timeout: Duration) -> Self {
        Self {
            idle: RefCell::default(),
            connect_timeout,
        }
    }

    /// Takes an unused connection, the one used last, which is the least likely to be closed by now.
    pub(crate) fn take(&self, target_id: u64, repeatable: bool) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&target_id)?;
        let limit = if repeatable { KEEP } else { FRESH };
        while let Some(Idle { mut link, since }) = connections.pop() {
            if !link.is_alive() {
                continue;
            }
            if since.elapsed() >= limit || (!repeatable && link.io.is_spent()) {
                // Those before it are older still. For others it may be good yet.
                if since.elapsed() < KEEP {
                    connections.push(Idle { link, since });
                }
                return None;
            }
            return Some(link);
        }
        None
    }

    /// Gives a connection back whose answer has been read to its end.
    pub(crate) fn give_back(&self, target_id: u64, link: Link) {
        if !link.inbox.is_empty() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(target_id).or_default();
        if connections.len() < PER_TARGET {
            connections.push(Idle {
                link,
                since: Instant::now(),
            });
        }
    }

    /// Closes connections that were not used for long; called now and then.
    pub(crate) fn sweep(&self) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain_mut(|idle| idle.since.elapsed() < KEEP && idle.link.is_alive());
            !connections.is_empty()
        });
    }

    /// Opens a new connection.
    pub(crate) async fn connect(
        &self,
        target: &Upstream,
        options: &ForwardOptions,
        limit: Option<Duration>,
    ) -> Result<Link, ConnectError> {
        let connect = async {
            let not_set_up =
                || io::Error::new(io::ErrorKind::Unsupported, "TLS to upstreams is not set up");
            match target {
                Upstream::Tcp { host, port } => Socket::connect_tcp(host, *port).await,
                Upstream::Tls { host, port } => {
                    let tls = options.client_tls.as_ref().ok_or_else(not_set_up)?;
                    Socket::connect_tls(host, *port, host, tls).await
                }
                // Whoever answers there has to prove that it is this very server, whatever its address.
                Upstream::Internal { host, port, name } => {
                    let tls = options.internal_tls.as_ref().ok_or_else(not_set_up)?;
                    Socket::connect_tls(host, *port, name, tls).await
                }
                Upstream::Unix(path) => Socket::connect_unix(path).await,
                Upstream::OwnedTcp { port, uid } => Socket::connect_owned_tcp(*port, *uid).await,
                Upstream::Owned { path, uid } => Socket::connect_owned(path, *uid).await,
            }
        };
        let mut limit = limit.unwrap_or(self.connect_timeout);
        if matches!(target, Upstream::Internal { .. }) {
            // A handshake needs the server's own attention, which a busy one gives late; through a socket it would have
            // been the request that waits.
            limit = limit.max(HANDSHAKE_LIMIT);
        }
        match Patience::within(limit, connect).await {
            Some(Ok(io)) => Ok(Link {
                io,
                inbox: Inbox::default(),
            }),
            Some(Err(source)) => Err(ConnectError::Unreachable {
                target: target.clone(),
                source,
            }),
            None => Err(ConnectError::Timeout {
                target: target.clone(),
                limit,
            }),
        }
    }
}
