//! One client's connection: strictness, time limits and the end of it; what is asked for is `front`'s work.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::config::GatewayConfig;
use crate::framing::{Framing, POISON};
use crate::front;
use crate::limit::Slot;
use crate::serve::Core;
use crate::socket::Socket;

/// How long what a client still sends is thrown away after an answer that ended the connection. Closed at
/// once, the system would tear the connection down before the client has read the answer.
const LINGER: Duration = Duration::from_secs(2);
/// The buffer of one connection; heads up to this size are read even if a smaller limit is configured.
const BUFFER: usize = 64 * 1024;

/// The client's side of a connection, before any upgrade.
pub(crate) type ClientIo = TokioIo<Guarded>;

/// What a request needs to know of its connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// The other end; `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    busy: Arc<AtomicBool>,
}

/// While it lives, a request is being served, and no time limit of the connection runs.
#[derive(Debug)]
pub(crate) struct Busy(Arc<AtomicBool>);

impl Connection {
    pub(crate) fn busy(&self) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(Arc::clone(&self.busy))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Prepares the HTTP library as the configuration wants it.
pub(crate) fn builder(config: &GatewayConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .max_headers(config.max_headers.into())
        .max_header_size(header_limit(config))
        .max_buf_size(header_limit(config).max(BUFFER))
        // Its own limit also runs while a connection is merely idle; ours tells the two apart.
        .header_read_timeout(None);
    builder
}

fn header_limit(config: &GatewayConfig) -> usize {
    config.max_header_bytes as usize
}

/// Serves a client until its connection ends, is upgraded, or a drain lets it go.
pub(crate) async fn serve(core: Rc<Core>, socket: Socket, peer: Option<IpAddr>, slot: Slot) {
    let busy = Arc::new(AtomicBool::new(false));
    let connection = Connection {
        peer,
        busy: Arc::clone(&busy),
    };
    let guarded = Guarded::new(socket, slot, &core.config, busy);
    let service = {
        let core = Rc::clone(&core);
        service_fn(move |request| {
            let core = Rc::clone(&core);
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(front::answer(core, connection, request).await) }
        })
    };
    let mut http = core
        .http
        .serve_connection(TokioIo::new(guarded), service)
        .with_upgrades();
    let outcome = tokio::select! {
        outcome = &mut http => outcome,
        () = core.draining.cancelled() => {
            Pin::new(&mut http).graceful_shutdown();
            (&mut http).await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(client.addr = ?peer, error = %error, "a connection ended with an error");
    }
    if let Some(parts) = http.into_parts() {
        parts.io.into_inner().end().await;
    }
}

/// Refuses a connection that is one too many, without waiting for anything.
pub(crate) fn refuse(socket: &Socket) {
    const ANSWER: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
        content-length: 0\r\n\r\n";
    let _ = socket.send_at_once(ANSWER);
}

/// A socket that watches what is read from it and written to it: its framing, and how long it takes.
#[derive(Debug)]
pub(crate) struct Guarded {
    socket: Socket,
    slot: Slot,
    framing: Framing,
    /// What is left of [`POISON`] to be read in place of a bad request.
    poison: &'static [u8],
    refused: bool,
    busy: Arc<AtomicBool>,
    header_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
    send_timeout: Duration,
    /// When the head that is being read began; for the first, when the connection did.
    head_since: Option<Instant>,
    /// Since when the next piece of a body has been waited for.
    body_since: Option<Instant>,
    /// Since when the client has taken nothing although there is something to send.
    stalled_since: Option<Instant>,
    send_timer: Option<Pin<Box<Sleep>>>,
    /// When anything was last read or written.
    last_io: Instant,
    timer: Option<Pin<Box<Sleep>>>,
    timed_out: bool,
}

impl Guarded {
    fn new(socket: Socket, slot: Slot, config: &GatewayConfig, busy: Arc<AtomicBool>) -> Self {
        let now = Instant::now();
        Self {
            socket,
            slot,
            framing: Framing::new(2 * header_limit(config).max(BUFFER)),
            poison: &[],
            refused: false,
            busy,
            header_timeout: config.header_timeout.get(),
            idle_timeout: config.idle_timeout.get(),
            body_timeout: config.body_timeout.get(),
            send_timeout: config.send_timeout.get(),
            head_since: Some(now),
            body_since: None,
            stalled_since: None,
            send_timer: None,
            last_io: now,
            timer: None,
            timed_out: false,
        }
    }

    /// Gives the bare socket, for a tunnel, and the place that it takes.
    pub(crate) fn into_socket(self) -> (Socket, Slot) {
        (self.socket, self.slot)
    }

    /// Ends the connection so that the client can still read the last answer.
    async fn end(mut self) {
        if self.timed_out && self.framing.inside_head() {
            const ANSWER: &[u8] =
                b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
            let _ = tokio::time::timeout(LINGER, self.socket.write_all(ANSWER)).await;
        }
        if self.refused || self.framing.unfinished() {
            let _ = self.socket.shutdown().await;
            let mut scratch = vec![0; 16 * 1024];
            let swallow =
                async { while self.socket.read(&mut scratch).await.is_ok_and(|n| n > 0) {} };
            let _ = tokio::time::timeout(LINGER, swallow).await;
        }
    }

    /// Puts as much of the poison as there is room for.
    fn put_poison(&mut self, buffer: &mut ReadBuf<'_>) {
        let (now, later) = self
            .poison
            .split_at(self.poison.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.poison = later;
    }

    fn looked_at(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let new = buffer.filled().get(before..).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        self.last_io = Instant::now();
        if let Err((good, offence)) = self.framing.look(new) {
            tracing::debug!(reason = offence.0, "refused a malformed request");
            buffer.set_filled(before + good);
            self.refused = true;
            self.poison = POISON;
            self.put_poison(buffer);
        }
        if self.framing.inside_head() {
            self.head_since.get_or_insert(self.last_io);
        } else {
            self.head_since = None;
        }
    }

    /// Fails when the client has kept us waiting too long; otherwise wakes the task to look again.
    ///
    /// The timer is moved as seldom as possible: one that fires too early is set again then. It runs while
    /// a request is served too, as the HTTP library does not ask again when the connection becomes idle.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.framing.is_opaque() {
            return Poll::Pending;
        }
        loop {
            let deadline = self.deadline();
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if timer.deadline() >= deadline {
                self.timed_out = true;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(deadline);
        }
    }

    /// When the client will have kept us waiting too long, if nothing comes meanwhile.
    fn deadline(&self) -> Instant {
        match (self.body_since, self.head_since) {
            // Only set while somebody wants to read the body.
            (Some(since), _) => since + self.body_timeout,
            _ if self.busy.load(Ordering::Relaxed) => Instant::now() + self.idle_timeout,
            (None, Some(since)) => since + self.header_timeout,
            (None, None) => self.last_io + self.idle_timeout,
        }
    }

    /// Looks at the outcome of a write: fails when the client has taken nothing for too long.
    ///
    /// Called only when there is something to send, so that a silent answer may last.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if outcome.is_ready() {
            self.last_io = Instant::now();
            self.stalled_since = None;
            return outcome;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let deadline = since + self.send_timeout;
        let timer = self
            .send_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.refused {
            this.put_poison(buffer);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.socket).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                this.body_since = None;
                this.looked_at(buffer, before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                if this.framing.inside_body() {
                    this.body_since.get_or_insert_with(Instant::now);
                }
                this.poll_limits(cx)
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.written(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.socket).poll_write_vectored(cx, slices);
        this.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}
