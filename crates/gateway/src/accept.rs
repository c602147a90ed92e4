//! New connections: may they be here, is it TLS, which version of HTTP.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixListener};
use tokio::time::Instant;

use crate::buffer::Inbox;
use crate::client::Client;
use crate::counts::Counts;
use crate::forwarded;
use crate::h1;
use crate::h2;
use crate::limit::{Full, Slot};
use crate::plan::Peer;
use crate::proxy_protocol::{self, Parsed};
use crate::secure;
use crate::serve::Core;
use crate::socket::{Plain, Socket};

/// How long to wait after the system refused to accept a connection, for want of files or memory.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is said, per listener, that connections are refused.
const FULL_PAUSE: Duration = Duration::from_secs(10);

pub(crate) async fn tcp(core: Rc<Core>, listener: TcpListener, secure: bool) {
    accept(&core, secure, || async {
        let (stream, peer) = listener.accept().await?;
        Ok((Plain::Tcp(stream), Some(peer.ip().to_canonical())))
    })
    .await;
}

pub(crate) async fn unix(core: Rc<Core>, listener: UnixListener, secure: bool) {
    accept(&core, secure, || async {
        let (stream, _) = listener.accept().await?;
        Ok((Plain::Unix(stream), None))
    })
    .await;
}

/// Accepts until the drain begins.
async fn accept(
    core: &Rc<Core>,
    secure: bool,
    next: impl AsyncFn() -> io::Result<(Plain, Option<IpAddr>)>,
) {
    let mut last_told = None;
    loop {
        let accepted = tokio::select! {
            accepted = next() => accepted,
            () = core.draining.cancelled() => return,
        };
        match accepted {
            Ok((stream, peer)) => match core.limits.take(peer) {
                Ok(slot) => {
                    let newcomer = Newcomer {
                        stream,
                        addr: peer,
                        slot,
                    };
                    core.clients
                        .spawn_local(welcome(Rc::clone(core), newcomer, secure));
                }
                Err(full) => {
                    if !secure {
                        refuse(stream);
                    }
                    tell_full(&mut last_told, full, peer);
                }
            },
            // The client went away before it was accepted; the listener is well.
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, "could not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Counts a connection while it is open.
struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that was accepted.
struct Newcomer {
    stream: Plain,
    /// The other end; `None` on a Unix socket.
    addr: Option<IpAddr>,
    slot: Slot,
}

/// Finds out what a client speaks, and serves it.
async fn welcome(core: Rc<Core>, newcomer: Newcomer, secure: bool) {
    let Newcomer {
        mut stream,
        mut addr,
        mut slot,
    } = newcomer;
    let counts = Arc::clone(&core.parts.counts);
    counts.connections_open.fetch_add(1, Ordering::Relaxed);
    let _open = Open(counts);
    let since = Instant::now();
    if core.config.expects_proxy_header(addr) {
        match proxied(&core, &mut stream, &mut slot).await {
            Ok(client) => addr = client.or(addr),
            Err(error) => {
                tracing::debug!(client.addr = ?addr, error = %error, "closed a proxy's connection");
                return;
            }
        }
    }
    let mut peer = Peer {
        addr,
        secure,
        believed: core.parts.options.believe_claims
            || forwarded::is_trusted(&core.config.trusted_proxies, addr),
        says_hsts: false,
        certificate: None,
    };
    let socket = match &core.tls {
        Some(tls) if secure => match secure::begin(&core, tls, stream, &mut peer).await {
            Some(socket) => socket,
            None => return,
        },
        _ => plain(stream),
    };
    let speaks_h2 = socket.chose_h2();
    let client = Client::new(socket, Inbox::default(), peer, slot, since);
    if speaks_h2 {
        h2::serve(core, client).await;
    } else {
        h1::serve(core, client).await;
    }
}

fn plain(stream: Plain) -> Socket {
    match stream {
        Plain::Tcp(stream) => Socket::Tcp(stream),
        Plain::Unix(stream) => Socket::Unix(stream),
    }
}

/// Reads the header of the PROXY protocol, and not a byte more; gives the client that it names.
async fn proxied(core: &Core, stream: &mut Plain, slot: &mut Slot) -> io::Result<Option<IpAddr>> {
    let read = async {
        let mut bytes = Vec::new();
        loop {
            match proxy_protocol::parse(&bytes).map_err(io::Error::other)? {
                Parsed::Header { source, .. } => {
                    return Ok::<_, io::Error>(source.map(|source| source.ip()));
                }
                Parsed::Incomplete { at_least } => {
                    let known = bytes.len();
                    bytes.resize(at_least, 0);
                    let room = bytes.get_mut(known..).unwrap_or_default();
                    stream.read_exact(room).await?;
                }
            }
        }
    };
    let client = match tokio::time::timeout(core.config.header_timeout.get(), read).await {
        Ok(read) => read?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    slot.count_client(client)
        .map_err(|_| io::Error::other("too many connections of its client"))?;
    Ok(client)
}

/// Refuses a connection that is one too many, without waiting for anything. By TLS nothing could be said.
fn refuse(stream: Plain) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
        content-length: 0\r\n\r\n";
    let _ = plain(stream).send_at_once(ANSWER);
}

/// Says that a limit was reached, now and then: whoever connects must not fill the log.
fn tell_full(last_told: &mut Option<Instant>, full: Full, peer: Option<IpAddr>) {
    if last_told.is_some_and(|told| told.elapsed() < FULL_PAUSE) {
        return;
    }
    *last_told = Some(Instant::now());
    let setting = match full {
        Full::Total => "max_connections",
        Full::Address => "max_connections_per_address",
    };
    tracing::warn!(
        client.addr = ?peer,
        setting,
        "refused a connection, as too many are open already"
    );
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotConnected
    )
}
