//! A client's side of an HTTP/1 connection: waiting for heads, time limits, writing, and the end of it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::time::Instant;

use crate::buffer::{CHUNK, Inbox};
use crate::head::{BadHead, Scan};
use crate::limit::Slot;
use crate::patience::Patience;
use crate::plan::Peer;
use crate::serve::Core;
use crate::socket::Socket;
use crate::splice::Pipe;

/// How long what a client still sends is thrown away after an answer that ended the connection. Closed at
/// once, the system would tear the connection down before the client has read the answer.
const LINGER: Duration = Duration::from_secs(2);

/// A client, and what it has sent that was not used yet.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) io: Socket,
    pub(crate) inbox: Inbox,
    pub(crate) peer: Peer,
    pub(crate) patience: Patience,
    /// Its place among the connections that may be open.
    pub(crate) slot: Slot,
    /// Since when the client has taken nothing although there is something to send.
    stalled: Option<Instant>,
    /// The first head may have begun before anybody looked.
    pub(crate) since: Instant,
}

/// Why there is no further head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHead {
    /// The client has gone, or has asked for nothing for long, or a drain has begun.
    Closed,
    /// A part of a head has come, and the rest not in time.
    TooSlow,
    Bad(BadHead),
}

/// Why an answer did not reach the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gone;

impl Client {
    pub(crate) fn new(io: Socket, inbox: Inbox, peer: Peer, slot: Slot, since: Instant) -> Self {
        Self {
            io,
            inbox,
            peer,
            patience: Patience::default(),
            slot,
            stalled: None,
            since,
        }
    }

    /// Waits for the head of the next request; gives its length.
    pub(crate) async fn read_head(&mut self, core: &Core, first: bool) -> Result<usize, NoHead> {
        let limit = core.config.max_header_bytes as usize;
        let mut scan = Scan::default();
        let mut begun = first.then_some(self.since);
        let mut idle_since = None;
        poll_fn(|cx| {
            loop {
                if !self.inbox.is_empty() {
                    match scan.end(self.inbox.data()) {
                        Err(bad) => return Poll::Ready(Err(NoHead::Bad(bad))),
                        Ok(Some(length)) if length > limit => {
                            return Poll::Ready(Err(NoHead::Bad(BadHead::TooLarge)));
                        }
                        Ok(Some(length)) => return Poll::Ready(Ok(length)),
                        Ok(None) if self.inbox.data().len() > limit => {
                            return Poll::Ready(Err(NoHead::Bad(BadHead::TooLarge)));
                        }
                        Ok(None) => {}
                    }
                }
                match self.inbox.poll_fill(cx, &mut self.io, limit + CHUNK) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoHead::Closed)),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            // Between two requests a drain ends the connection; the first may still be on its way.
            if core.is_draining() && self.inbox.is_empty() {
                return Poll::Ready(Err(NoHead::Closed));
            }
            let now = Instant::now;
            let deadline = if self.inbox.is_empty() && !first {
                *idle_since.get_or_insert_with(now) + core.config.idle_timeout.get()
            } else {
                *begun.get_or_insert_with(now) + core.config.header_timeout.get()
            };
            self.patience.poll(cx, deadline).map(|()| {
                Err(if self.inbox.is_empty() {
                    NoHead::Closed
                } else {
                    NoHead::TooSlow
                })
            })
        })
        .await
    }

    /// Ready when the client has gone, which is looked for while somebody else is waited for. What it sends
    /// meanwhile belongs to the next request, and is kept.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        // Somebody who sends so much ahead will be noticed when the next request is read.
        while self.inbox.data().len() < CHUNK {
            match self.inbox.poll_fill(cx, &mut self.io, CHUNK) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Gone),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// Writes from two pieces, one behind the other; fails when the client has taken nothing for too long.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        first: &[u8],
        second: &[u8],
    ) -> Poll<Result<usize, Gone>> {
        let io = Pin::new(&mut self.io);
        let outcome = match (first, second) {
            (first, []) => io.poll_write(cx, first),
            ([], second) => io.poll_write(cx, second),
            (first, second) => {
                io.poll_write_vectored(cx, &[IoSlice::new(first), IoSlice::new(second)])
            }
        };
        match outcome {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.stalled = None;
                Poll::Ready(Ok(count))
            }
            Poll::Ready(_) => Poll::Ready(Err(Gone)),
            Poll::Pending => self.poll_stalled(cx, limit).map(Err),
        }
    }

    /// The client takes nothing: ready when that has lasted too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<Gone> {
        let since = *self.stalled.get_or_insert_with(Instant::now);
        self.patience.poll(cx, since + limit).map(|()| Gone)
    }

    /// Writes what is in a pipe. Only for clients with a plain socket.
    pub(crate) fn poll_empty(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
        pipe: &mut Pipe,
    ) -> Poll<Result<(), Gone>> {
        let Some(io) = self.io.plain() else {
            return Poll::Ready(Err(Gone));
        };
        match pipe.poll_empty(cx, io) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.stalled = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(Gone)),
            Poll::Pending => self.poll_stalled(cx, limit).map(Err),
        }
    }

    /// Makes sure that what was written is on its way: TLS may hold some of it.
    pub(crate) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
    ) -> Poll<Result<(), Gone>> {
        if !self.io.is_secure() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.stalled = None;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(Gone)),
            Poll::Pending => self.poll_stalled(cx, limit).map(Err),
        }
    }

    /// Writes all of it.
    pub(crate) async fn write_all(&mut self, core: &Core, mut bytes: &[u8]) -> Result<(), Gone> {
        let limit = core.config.send_timeout.get();
        while !bytes.is_empty() {
            let count = poll_fn(|cx| self.poll_write(cx, limit, bytes, &[])).await?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        poll_fn(|cx| self.poll_flush(cx, limit)).await
    }

    /// Ends the connection so that the client can still read the last answer, although it may be sending.
    pub(crate) async fn linger(mut self) {
        let drain = async {
            let _ = self.io.shutdown().await;
            let mut scratch = vec![0; 16 * 1024];
            while matches!(self.io.read(&mut scratch).await, Ok(count) if count > 0) {}
        };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }

    /// Ends the connection when nothing is on its way.
    pub(crate) async fn close(mut self) {
        if !self.io.is_secure() {
            // The system says good-bye.
            return;
        }
        let _ = tokio::time::timeout(LINGER, self.io.shutdown()).await;
    }
}

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}
