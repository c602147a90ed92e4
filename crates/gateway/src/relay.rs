//! The body of an upstream's answer on its way to an HTTP/1 client.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::answer::Manner;
use crate::buffer::{CHUNK, Text};
use crate::client::{Client, Gone};
use crate::compress::Encoder;
use crate::head::Length;
use crate::patience::Patience;
use crate::pool::Link;
use crate::serve::Core;
use crate::splice::Pipe;
use crate::table::Entry;

/// Up to this size, a body is copied behind its head.
const SMALL: usize = 2048;
/// A body is big when that much of it has passed, and that much is still to come.
const BIG: u64 = 128 * 1024;

/// An answer that is being passed on.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Written before anything else: the head, and what was made of the body if it is not passed as it came.
    out: Text,
    written: usize,
    length: Length,
    manner: Manner,
    /// Bytes at the front of the link's inbox that go to the client as they are.
    cleared: usize,
    ended: bool,
    /// How much of the body was copied so far.
    copied: u64,
    /// For a body that has shown itself big.
    pipe: Option<Pipe>,
    /// For a body that is compressed.
    encoder: Option<Encoder>,
    /// Whose activity is noted when the whole answer has come; only for answers that tell of success.
    entry: Option<Arc<Entry>>,
    /// While the upstream is waited for.
    limit: Option<std::time::Duration>,
    waiting: Option<Instant>,
    patience: Patience,
}

/// Why an answer breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The client has gone.
    Client,
    /// The upstream has broken off, or has sent what makes no sense.
    Upstream,
}

impl From<Gone> for Broken {
    fn from(_: Gone) -> Self {
        Self::Client
    }
}

impl Relay {
    /// Begins with a head that was written.
    pub(crate) fn new(
        out: Text,
        length: Length,
        manner: Manner,
        entry: Option<Arc<Entry>>,
        limit: Option<std::time::Duration>,
    ) -> Self {
        Self {
            out,
            written: 0,
            length,
            manner,
            cleared: 0,
            ended: false,
            copied: 0,
            pipe: None,
            encoder: None,
            entry,
            limit,
            waiting: None,
            patience: Patience::default(),
        }
    }

    /// Compresses the body; its head says so.
    pub(crate) fn compressing(self, encoder: Option<Encoder>) -> Self {
        Self { encoder, ..self }
    }

    /// Ready when the whole answer was written.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        link: &mut Link,
        client: &mut Client,
    ) -> Poll<Result<(), Broken>> {
        let limit = core.config.send_timeout.get();
        loop {
            self.clear(link)?;
            if self.is_complete()
                && let Some(entry) = self.entry.take()
            {
                entry.touch(core.parts.clock.now());
            }
            if let Some(pipe) = &mut self.pipe
                && !pipe.is_empty()
            {
                match client.poll_empty(cx, limit, pipe)? {
                    Poll::Ready(()) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            // Write all that there is.
            if !self.out.0.is_empty() && (1..=SMALL).contains(&self.cleared) && self.written == 0 {
                // One piece costs less than two, up to a size.
                let data = link.inbox.data().get(..self.cleared).unwrap_or_default();
                self.out.0.extend_from_slice(data);
                link.inbox.consume(std::mem::take(&mut self.cleared));
            }
            let text = self.out.0.get(self.written..).unwrap_or_default();
            let data = link.inbox.data().get(..self.cleared).unwrap_or_default();
            if !text.is_empty() || !data.is_empty() {
                match client.poll_write(cx, limit, text, data)? {
                    Poll::Ready(count) => {
                        let of_text = count.min(text.len());
                        self.written += of_text;
                        self.cleared -= count - of_text;
                        self.copied += (count - of_text) as u64;
                        link.inbox.consume(count - of_text);
                        if self.written == self.out.0.len() {
                            self.out.0.clear();
                            self.written = 0;
                        }
                        continue;
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if self.is_complete() {
                return client.poll_flush(cx, limit).map_err(Broken::from);
            }
            match self.poll_more(cx, link, client) {
                Poll::Ready(Ok(count)) if count > 0 => self.waiting = None,
                Poll::Ready(Ok(_)) if self.length == Length::UntilClose => self.end()?,
                Poll::Ready(_) => return Poll::Ready(Err(Broken::Upstream)),
                Poll::Pending => {
                    if client.poll_flush(cx, limit)?.is_pending() {
                        return Poll::Pending;
                    }
                    let Some(limit) = self.limit else {
                        return Poll::Pending;
                    };
                    let since = *self.waiting.get_or_insert_with(Instant::now);
                    return self
                        .patience
                        .poll(cx, since + limit)
                        .map(|()| Err(Broken::Upstream));
                }
            }
        }
    }

    /// Waits for more of the body, in the inbox or in the pipe.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link,
        client: &Client,
    ) -> Poll<io::Result<usize>> {
        if let (Length::Bytes(left), Some(from), Some(_)) =
            (&mut self.length, link.io.plain(), client.io.plain())
            && self.copied >= BIG
            && *left >= BIG
            && link.inbox.is_empty()
            && self.encoder.is_none()
        {
            let pipe = self.pipe.get_or_insert_with(Pipe::new);
            let filled = pipe.poll_fill(cx, from, *left);
            if let Poll::Ready(Ok(count)) = &filled {
                *left -= *count as u64;
            }
            return filled;
        }
        link.inbox.poll_fill(cx, &mut link.io, CHUNK)
    }

    fn is_complete(&self) -> bool {
        match &self.length {
            Length::Bytes(left) => *left == 0,
            Length::Chunked(chunks) => chunks.is_done(),
            Length::UntilClose => self.ended,
        }
    }

    /// The body has ended with its connection.
    fn end(&mut self) -> Result<(), Broken> {
        self.ended = true;
        if let Some(encoder) = self.encoder.take() {
            return self.last_piece(encoder, &mut Vec::new());
        }
        if self.manner == Manner::Chunked {
            self.out.0.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    /// Looks at what has come beyond what was looked at.
    fn clear(&mut self, link: &mut Link) -> Result<(), Broken> {
        let waiting = link.inbox.data();
        let new = waiting.get(self.cleared..).unwrap_or_default();
        if new.is_empty() {
            return Ok(());
        }
        if self.encoder.is_some() {
            return self.compress(link);
        }
        match (&mut self.length, self.manner) {
            (Length::Bytes(left), _) => {
                let count = usize::try_from(*left).map_or(new.len(), |left| left.min(new.len()));
                *left -= count as u64;
                self.cleared += count;
            }
            (Length::UntilClose, Manner::Chunked) => {
                if self.out.0.is_empty() {
                    let _ = write!(self.out.0, "{:x}\r\n", new.len());
                    self.out.0.extend_from_slice(new);
                    self.out.0.extend_from_slice(b"\r\n");
                    let count = new.len();
                    link.inbox.consume(count);
                }
            }
            (Length::UntilClose, _) => self.cleared = waiting.len(),
            (Length::Chunked(chunks), manner) => {
                let mut consumed = 0;
                let mut new = new;
                while !new.is_empty() && !chunks.is_done() {
                    let step = chunks.step(new).map_err(|offence| {
                        tracing::debug!(reason = offence.0, "the body of an answer is garbled");
                        Broken::Upstream
                    })?;
                    if manner == Manner::UntilClose {
                        self.out.0.extend_from_slice(step.data);
                    }
                    consumed += step.consumed;
                    new = new.get(step.consumed..).unwrap_or_default();
                }
                if manner == Manner::UntilClose {
                    link.inbox.consume(consumed);
                } else {
                    self.cleared += consumed;
                }
            }
        }
        Ok(())
    }

    /// Compresses what has come, as soon as what was compressed before is on its way.
    fn compress(&mut self, link: &mut Link) -> Result<(), Broken> {
        let Some(mut encoder) = self.encoder.take_if(|_| self.out.0.is_empty()) else {
            return Ok(());
        };
        let mut packed = Vec::new();
        let failed = |_| Broken::Upstream;
        while !link.inbox.is_empty() && !self.is_complete() {
            let waiting = link.inbox.data();
            let (consumed, data) = match &mut self.length {
                Length::Bytes(left) => {
                    let count = usize::try_from(*left)
                        .map_or(waiting.len(), |left| left.min(waiting.len()));
                    *left -= count as u64;
                    (count, waiting.get(..count).unwrap_or_default())
                }
                Length::UntilClose => (waiting.len(), waiting),
                Length::Chunked(chunks) => {
                    let step = chunks.step(waiting).map_err(|_| Broken::Upstream)?;
                    (step.consumed, step.data)
                }
            };
            encoder.push(data, &mut packed).map_err(failed)?;
            link.inbox.consume(consumed);
        }
        if self.is_complete() {
            return self.last_piece(encoder, &mut packed);
        }
        // Nothing is held back: who knows when the next piece comes.
        encoder.flush(&mut packed).map_err(failed)?;
        self.encoder = Some(encoder);
        self.piece(&packed);
        Ok(())
    }

    fn last_piece(&mut self, mut encoder: Encoder, packed: &mut Vec<u8>) -> Result<(), Broken> {
        encoder.finish(packed).map_err(|_| Broken::Upstream)?;
        self.piece(packed);
        if self.manner == Manner::Chunked {
            self.out.0.extend_from_slice(b"0\r\n\r\n");
        }
        Ok(())
    }

    fn piece(&mut self, packed: &[u8]) {
        if packed.is_empty() {
            return;
        }
        if self.manner == Manner::Chunked {
            let _ = write!(self.out.0, "{:x}\r\n", packed.len());
            self.out.0.extend_from_slice(packed);
            self.out.0.extend_from_slice(b"\r\n");
        } else {
            self.out.0.extend_from_slice(packed);
        }
    }
}
