//! Byte tunnels, for WebSockets and whatever else begins with an upgrade.
//!
//! Frames are not parsed, so no extension or sub-protocol can be broken. An idle tunnel holds no buffer:
//! each thread has one, which is borrowed while there is something to copy; only what the other side
//! does not take at once is kept.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::action::is_only_control;
use crate::patience::Patience;
use crate::socket::Socket;
use crate::splice::{Pipe, PlainSocket};

/// Copied at once, at most.
const CHUNK: usize = 64 * 1024;
/// How long a tunnel stays without traffic when one side has said that it sends no more.
const HALF_CLOSED: Duration = Duration::from_mins(1);
/// Copies in one go before other connections of the thread get their turn.
const TURNS: usize = 16;

/// So much at once is big, for what becomes of the flow.
const BIG: usize = 16 * 1024;
/// The heat of a flow grows by two when much comes at once, and falls by one when little does. From here on it is
/// moved inside of the kernel.
const HOT: u8 = 6;
const HOTTEST: u8 = 12;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// What can be joined.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The socket itself, if nothing is on it.
    fn plain(&self) -> Option<PlainSocket<'_>> {
        None
    }
}

impl Stream for Socket {
    fn plain(&self) -> Option<PlainSocket<'_>> {
        self.plain()
    }
}

impl Stream for TokioIo<Upgraded> {}

/// One end of a tunnel, with what was read from it before the tunnel began.
pub(crate) struct End<S> {
    pub(crate) socket: S,
    pub(crate) early: Bytes,
}

/// Copies both ways until both sides have ended, or one has failed.
///
/// `from_client` is called whenever bytes came from the client, and told whether there is more among them than control
/// frames of a WebSocket. With `idle`, a tunnel that is silent in both
/// directions for so long is closed. May be dropped at any time, which closes
/// both sockets.
pub(crate) async fn run<C, U>(
    client: End<C>,
    upstream: End<U>,
    idle: Option<Duration>,
    from_client: impl Fn(bool),
) -> io::Result<()>
where
    C: Stream,
    U: Stream,
{
    let mut ends = (client.socket, upstream.socket);
    if !client.early.is_empty() {
        from_client(!is_only_control(&client.early));
    }
    let mut inward = Direction::new(client.early);
    let mut outward = Direction::new(upstream.early);
    let mut patience = Patience::default();
    let mut silent_since = Instant::now();
    poll_fn(|cx| {
        let (client, upstream) = (&mut ends.0, &mut ends.1);
        // When one way has ended, the end of the other needs not be said: both sockets are closed.
        let in_moved = inward.copy(cx, client, upstream, outward.done, &from_client)?;
        let out_moved = outward.copy(cx, upstream, client, inward.done, &|_| {})?;
        if inward.done && outward.done {
            return Poll::Ready(Ok(()));
        }
        let half_closed = (inward.done || outward.done).then_some(HALF_CLOSED);
        let Some(most) = half_closed.into_iter().chain(idle).min() else {
            return Poll::Pending;
        };
        if in_moved || out_moved {
            silent_since = Instant::now();
        }
        patience.poll(cx, silent_since + most).map(Ok)
    })
    .await
}

/// One way through the tunnel.
struct Direction {
    /// Read, and not yet written.
    waiting: Bytes,
    /// The reading side has ended.
    ended: bool,
    /// The end has been passed on.
    done: bool,
    /// What was read last is more than control frames.
    acts: bool,
    /// How big the flow has shown itself to be.
    heat: u8,
    /// For a flow that is big.
    pipe: Option<Box<Pipe>>,
}

impl Direction {
    fn new(early: Bytes) -> Self {
        Self {
            waiting: early,
            ended: false,
            done: false,
            acts: false,
            heat: 0,
            pipe: None,
        }
    }

    /// Copies as much as goes now; tells whether anything was read.
    fn copy<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        last: bool,
        on_data: &impl Fn(bool),
    ) -> io::Result<bool> {
        let mut moved = false;
        for _ in 0..TURNS {
            if self.done || !self.write_waiting(cx, to)? || !self.empty_pipe(cx, to)? {
                return Ok(moved);
            }
            if self.ended {
                if (last && to.plain().is_some()) || Pin::new(to).poll_shutdown(cx)?.is_ready() {
                    self.done = true;
                }
                return Ok(moved);
            }
            if !self.read_and_write(cx, from, to)? {
                // TLS may hold some of what was written.
                let _ = Pin::new(to).poll_flush(cx)?;
                return Ok(moved);
            }
            if !self.ended {
                on_data(self.acts);
                moved = true;
            }
        }
        cx.waker().wake_by_ref();
        Ok(moved)
    }

    /// Writes what is left from before; true if nothing is left now.
    fn write_waiting<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> io::Result<bool> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.waiting)? {
                Poll::Ready(written) => self.waiting.advance(written),
                Poll::Pending => return Ok(false),
            }
        }
        self.waiting = Bytes::new();
        Ok(true)
    }

    /// Notes how much came at once.
    fn note(&mut self, count: usize) {
        self.heat = if count >= BIG {
            (self.heat + 2).min(HOTTEST)
        } else {
            self.heat.saturating_sub(1)
        };
    }

    /// Writes what is in the pipe; true if there is nothing in it now.
    fn empty_pipe<T: Stream>(&mut self, cx: &mut Context<'_>, to: &mut T) -> io::Result<bool> {
        let (Some(pipe), Some(to)) = (&mut self.pipe, to.plain()) else {
            return Ok(true);
        };
        while !pipe.is_empty() {
            match pipe.poll_empty(cx, to)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(_) => {}
                Poll::Pending => return Ok(false),
            }
        }
        if self.heat == 0 {
            self.pipe = None;
        }
        Ok(true)
    }

    /// The same as [`Direction::read_and_write`] without a copy; `None` if the flow is not big, or cannot go so.
    fn move_in_kernel<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> Option<io::Result<bool>> {
        let (Some(from), Some(_)) = (from.plain(), to.plain()) else {
            return None;
        };
        if self.heat < HOT {
            return None;
        }
        let pipe = self.pipe.get_or_insert_with(|| Box::new(Pipe::new()));
        Some(match pipe.poll_fill(cx, from, u64::MAX) {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(0)) => {
                self.ended = true;
                Ok(true)
            }
            Poll::Ready(Ok(count)) => {
                self.note(count);
                // Control frames are small.
                self.acts = true;
                Ok(true)
            }
        })
    }

    /// Reads once and passes it on; false if there is nothing to read now.
    fn read_and_write<F: Stream, T: Stream>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
    ) -> io::Result<bool> {
        if let Some(outcome) = self.move_in_kernel(cx, from, to) {
            return outcome;
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            if Pin::new(from).poll_read(cx, &mut buffer)?.is_pending() {
                return Ok(false);
            }
            let mut data = buffer.filled();
            if data.is_empty() {
                self.ended = true;
                return Ok(true);
            }
            self.note(data.len());
            self.acts = !is_only_control(data);
            while let Poll::Ready(written) = Pin::new(&mut *to).poll_write(cx, data)? {
                data = data.get(written..).unwrap_or_default();
                if data.is_empty() {
                    return Ok(true);
                }
            }
            self.waiting = Bytes::copy_from_slice(data);
            Ok(true)
        })
    }
}
