//! Moving bytes between two plain sockets inside of the kernel (`splice(2)`), for flows that have shown
//! themselves big: for small ones two system calls in place of one cost more than the copy that they save.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

/// Room of a pipe; the system may give less.
const ROOM: usize = 256 * 1024;
/// Pipes that a thread keeps for the next who needs one.
const SPARE: usize = 8;

thread_local! {
    static SPARES: RefCell<Vec<Ends>> = const { RefCell::new(Vec::new()) };
}

/// A socket without anything on it, which the kernel can read and write by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) enum PlainSocket<'s> {
    Tcp(&'s TcpStream),
    Unix(&'s UnixStream),
}

impl PlainSocket<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }

    /// Tries a call as soon as the socket is ready for it; what would block is waited for.
    fn poll(
        self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut call: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let ready = match (self, interest.is_readable()) {
                (Self::Tcp(stream), true) => stream.poll_read_ready(cx),
                (Self::Tcp(stream), false) => stream.poll_write_ready(cx),
                (Self::Unix(stream), true) => stream.poll_read_ready(cx),
                (Self::Unix(stream), false) => stream.poll_write_ready(cx),
            };
            match ready {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            let outcome = match self {
                Self::Tcp(stream) => stream.try_io(interest, &mut call),
                Self::Unix(stream) => stream.try_io(interest, &mut call),
            };
            match outcome {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

/// A pipe on the way from one socket to another.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// Lent from the thread while there is something in it.
    ends: Option<Ends>,
    filled: usize,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        Self {
            ends: None,
            filled: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Fills it from a socket with at most `most` bytes; 0 is the end. Only to be called while it is empty.
    pub(crate) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: PlainSocket<'_>,
        most: u64,
    ) -> Poll<io::Result<usize>> {
        let most = usize::try_from(most).map_or(ROOM, |most| most.min(ROOM));
        let ends = self.ends.take().map_or_else(borrow, Ok)?;
        let filled = from.poll(cx, Interest::READABLE, || {
            let moved = splice(
                from.as_fd(),
                None,
                &ends.write,
                None,
                most,
                SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
            );
            Ok(moved?)
        });
        match filled {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.filled = count;
                self.ends = Some(ends);
            }
            // A pipe that waits is a pipe less for others.
            _ => give_back(ends),
        }
        filled
    }

    /// Empties it into a socket.
    pub(crate) fn poll_empty(
        &mut self,
        cx: &mut Context<'_>,
        to: PlainSocket<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(ends) = self.ends.take() else {
            return Poll::Ready(Ok(0));
        };
        let filled = self.filled;
        let emptied = to.poll(cx, Interest::WRITABLE, || {
            let moved = splice(
                &ends.read,
                None,
                to.as_fd(),
                None,
                filled,
                SpliceFlags::NONBLOCK | SpliceFlags::MOVE,
            );
            Ok(moved?)
        });
        if let Poll::Ready(Ok(count)) = emptied {
            self.filled -= count.min(filled);
        }
        if self.filled == 0 {
            give_back(ends);
        } else {
            self.ends = Some(ends);
        }
        emptied
    }
}

fn borrow() -> io::Result<Ends> {
    if let Some(ends) = SPARES.with_borrow_mut(Vec::pop) {
        return Ok(ends);
    }
    let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    // Users have a share of such memory; a smaller pipe does as well.
    let _ = fcntl_setpipe_size(&write, ROOM);
    Ok(Ends { read, write })
}

fn give_back(ends: Ends) {
    SPARES.with_borrow_mut(|spares| {
        if spares.len() < SPARE {
            spares.push(ends);
        }
    });
}
