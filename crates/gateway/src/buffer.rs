//! Bytes that have been read and not yet been used. Big buffers belong to the thread, and are lent out only
//! while there is something in them.
//!
//! Thousands of connections that wait hold no buffer at all; one with the beginning of a request holds just that.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Read at once, at most.
pub(crate) const CHUNK: usize = 64 * 1024;
/// Buffers that a thread keeps for the next who needs one.
const SPARE: usize = 16;
/// What waits is moved to a place of its own size up to this length, so that the big buffer becomes free.
const PARKED: usize = 16 * 1024;

thread_local! {
    static SPARES: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

fn borrow() -> Box<[u8]> {
    SPARES
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    if buffer.len() == CHUNK {
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < SPARE {
                spares.push(buffer);
            }
        });
    }
}

/// A text that is being written, such as the head of a request; its memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Text {
    pub(crate) fn new() -> Self {
        Self(
            TEXTS
                .with_borrow_mut(Vec::pop)
                .unwrap_or_else(|| Vec::with_capacity(2048)),
        )
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.0);
        if (1..=PARKED).contains(&text.capacity()) {
            TEXTS.with_borrow_mut(|texts| {
                if texts.len() < SPARE {
                    text.clear();
                    texts.push(text);
                }
            });
        }
    }
}

/// What was read from a socket and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    place: Place,
    start: usize,
    end: usize,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Nowhere,
    /// A buffer that is lent from the thread, or a larger one.
    Lent(Box<[u8]>),
    /// Just large enough for what waits.
    Parked(Box<[u8]>),
}

impl Inbox {
    #[cfg(test)]
    fn with(bytes: &[u8]) -> Self {
        Self {
            place: Place::Parked(bytes.into()),
            start: 0,
            end: bytes.len(),
        }
    }

    pub(crate) fn data(&self) -> &[u8] {
        match &self.place {
            Place::Nowhere => &[],
            Place::Lent(bytes) | Place::Parked(bytes) => {
                bytes.get(self.start..self.end).unwrap_or_default()
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Marks bytes as used.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        if let Place::Lent(buffer) = std::mem::take(&mut self.place) {
            give_back(buffer);
        }
    }

    /// Takes everything that waits.
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let bytes = self.data().to_vec();
        self.clear();
        bytes
    }

    /// Reads more, behind what is there: 0 is the end. `limit` is how much may wait in all; with that reached,
    /// nothing is read, and the caller has to use some first (an error of kind `FileTooLarge`).
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut S,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        if !self.is_empty() && self.end - self.start >= limit {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let (buffer, end) = self.room(limit);
        let mut room = ReadBuf::new(buffer.get_mut(end..).unwrap_or_default());
        match Pin::new(from).poll_read(cx, &mut room) {
            Poll::Ready(Ok(())) => {
                let count = room.filled().len();
                self.end += count;
                if self.start == self.end {
                    self.clear();
                }
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => {
                if self.is_empty() {
                    self.clear();
                }
                Poll::Ready(Err(error))
            }
            Poll::Pending => {
                self.park();
                Poll::Pending
            }
        }
    }

    /// Gives a buffer with free space behind what waits, and where that begins.
    fn room(&mut self, limit: usize) -> (&mut Box<[u8]>, usize) {
        let roomy = matches!(&self.place, Place::Lent(buffer) if self.end < buffer.len());
        if !roomy {
            let waiting = self.end - self.start;
            let mut new = if waiting < CHUNK {
                borrow()
            } else {
                vec![0; (2 * waiting).min(limit.max(waiting + 1))].into_boxed_slice()
            };
            if let Some(front) = new.get_mut(..waiting) {
                front.copy_from_slice(self.data());
            }
            self.clear();
            self.end = waiting;
            self.place = Place::Lent(new);
        }
        let end = self.end;
        match &mut self.place {
            Place::Lent(buffer) | Place::Parked(buffer) => (buffer, end),
            Place::Nowhere => unreachable!("a buffer was put there just now"),
        }
    }

    /// Gives the thread its buffer back while nothing comes.
    fn park(&mut self) {
        if self.is_empty() {
            self.clear();
        } else if self.end - self.start <= PARKED && matches!(self.place, Place::Lent(_)) {
            let waiting: Box<[u8]> = self.data().into();
            let length = waiting.len();
            self.clear();
            self.place = Place::Parked(waiting);
            self.end = length;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_kept_while_more_comes_and_costs_no_more_than_its_size() {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        let mut inbox = Inbox::default();
        let mut sent = Vec::new();
        for number in 0..400_u32 {
            let piece = vec![u8::try_from(number % 251).unwrap(); 700];
            sent.extend_from_slice(&piece);
            tokio::io::AsyncWriteExt::write_all(&mut near, &piece)
                .await
                .unwrap();
            let mut count = 0;
            while count < 700 {
                count += std::future::poll_fn(|cx| inbox.poll_fill(cx, &mut far, 1 << 20))
                    .await
                    .unwrap();
            }
            let pending = std::future::poll_fn(|cx| {
                Poll::Ready(inbox.poll_fill(cx, &mut far, 1 << 20).is_pending())
            })
            .await;
            assert!(pending);
            if inbox.end - inbox.start <= PARKED {
                assert!(matches!(inbox.place, Place::Parked(_)));
            }
        }
        assert_eq!(inbox.data(), sent);
        inbox.consume(sent.len() - 3);
        assert_eq!(inbox.data().len(), 3);
        inbox.consume(3);
        assert!(matches!(inbox.place, Place::Nowhere));
        let full = std::future::poll_fn(|cx| {
            let mut inbox = Inbox::with(b"abc");
            inbox.poll_fill(cx, &mut far, 3)
        })
        .await;
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
