//! The body of a request on its way to an upstream.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::buffer::CHUNK;
use crate::client::{Client, Gone};
use crate::head::Length;
use crate::serve::Core;

const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Why the rest of a body does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UploadError {
    /// The client broke it off, or it was malformed.
    Broken,
    /// The client stopped sending it.
    TimedOut,
    /// It is larger than the limit.
    TooLarge,
}

impl From<Gone> for UploadError {
    fn from(_: Gone) -> Self {
        Self::Broken
    }
}

/// A body as bytes that can be written to an upstream as they are.
pub(crate) trait Upload {
    /// Waits until there is something in [`Upload::bytes`], or nothing will come any more (`false`).
    fn poll_bytes(&mut self, cx: &mut Context<'_>, core: &Core) -> Poll<Result<bool, UploadError>>;
    /// What may be written now.
    fn bytes(&self) -> &[u8];
    /// Marks bytes as written.
    fn advance(&mut self, count: usize);
    /// Whether all of it was written.
    fn is_done(&self) -> bool;
    /// Whether there was none from the beginning.
    fn is_absent(&self) -> bool;
    /// While the answer is waited for and the body is written: ready when the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// How fast a body comes, as far as its client is waited for.
#[derive(Debug, Default)]
struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    fn came(&mut self, count: usize, waited_since: Option<Instant>) {
        self.bytes += count as u64;
        if let Some(since) = waited_since {
            self.waited += since.elapsed();
        }
    }

    /// Until when to wait for the next piece.
    fn deadline(&self, core: &Core, since: Instant) -> Instant {
        let config = &core.config;
        let patience = config.body_timeout.get();
        let rate = u64::from(config.min_body_bytes_per_second);
        let Some(seconds) = self.bytes.checked_div(rate) else {
            return since + patience;
        };
        let allowed = config.body_rate_grace.get() + Duration::from_secs(seconds);
        since + patience.min(allowed.saturating_sub(self.waited))
    }
}

/// The body of an HTTP/1 request: passed on as it comes, after a strict look.
#[derive(Debug)]
pub(crate) struct ClientUpload {
    length: Length,
    absent: bool,
    /// Bytes at the front of the client's inbox that were looked at, and not yet written.
    cleared: usize,
    most: u64,
    seen: u64,
    waiting: Option<Instant>,
    pace: Pace,
    /// What is left to be said to a client that waits to be told to go on (`Expect: 100-continue`).
    go_on: &'static [u8],
}

impl ClientUpload {
    pub(crate) fn new(length: Length, most: Option<u64>, expects_continue: bool) -> Self {
        Self {
            absent: length.is_empty(),
            go_on: if expects_continue && !length.is_empty() {
                GO_ON
            } else {
                &[]
            },
            length,
            cleared: 0,
            most: most.unwrap_or(u64::MAX),
            seen: 0,
            waiting: None,
            pace: Pace::default(),
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.absent
    }

    /// An answer begins: the client is not told any more to go on. `false` if it was told a part of that already.
    pub(crate) fn keep_quiet(&mut self) -> bool {
        let whole = self.go_on.is_empty() || self.go_on.len() == GO_ON.len();
        self.go_on = &[];
        whole
    }

    pub(crate) fn is_done(&self) -> bool {
        self.cleared == 0 && self.is_complete()
    }

    fn is_complete(&self) -> bool {
        match &self.length {
            Length::Bytes(left) => *left == 0,
            Length::Chunked(chunks) => chunks.is_done(),
            Length::UntilClose => false,
        }
    }

    /// Looks at what has come beyond what was looked at.
    fn clear(&mut self, waiting: &[u8]) -> Result<(), UploadError> {
        let new = waiting.get(self.cleared..).unwrap_or_default();
        match &mut self.length {
            Length::Bytes(left) => {
                let count = usize::try_from(*left).map_or(new.len(), |left| left.min(new.len()));
                *left -= count as u64;
                self.cleared += count;
            }
            Length::Chunked(chunks) => {
                let mut new = new;
                while !new.is_empty() && !chunks.is_done() {
                    let step = chunks.step(new).map_err(|offence| {
                        tracing::debug!(reason = offence.0, "refused the body of a request");
                        UploadError::Broken
                    })?;
                    self.seen += step.data.len() as u64;
                    if self.seen > self.most {
                        return Err(UploadError::TooLarge);
                    }
                    self.cleared += step.consumed;
                    new = new.get(step.consumed..).unwrap_or_default();
                }
            }
            Length::UntilClose => {}
        }
        Ok(())
    }

    /// Waits for more of the body.
    fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        core: &Core,
    ) -> Poll<Result<(), UploadError>> {
        let goes_on = !self.go_on.is_empty();
        while !self.go_on.is_empty() && client.inbox.is_empty() {
            let written =
                ready!(client.poll_write(cx, core.config.send_timeout.get(), self.go_on, &[]));
            let count = written.map_err(|_| UploadError::Broken)?;
            self.go_on = self.go_on.get(count..).unwrap_or_default();
        }
        self.go_on = &[];
        if goes_on {
            // If it does not go at once, what is written next takes it along.
            let _ = client.poll_flush(cx, core.config.send_timeout.get())?;
        }
        match client.inbox.poll_fill(cx, &mut client.io, CHUNK) {
            Poll::Ready(Ok(count)) if count > 0 => {
                self.pace.came(count, self.waiting.take());
                Poll::Ready(Ok(()))
            }
            Poll::Ready(_) => Poll::Ready(Err(UploadError::Broken)),
            Poll::Pending => {
                let since = *self.waiting.get_or_insert_with(Instant::now);
                let deadline = self.pace.deadline(core, since);
                client
                    .patience
                    .poll(cx, deadline)
                    .map(|()| Err(UploadError::TimedOut))
            }
        }
    }

    /// Waits until bytes of the body are at the front of the inbox; `false` at its end.
    pub(crate) fn poll_cleared(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        core: &Core,
    ) -> Poll<Result<bool, UploadError>> {
        loop {
            if self.cleared > 0 {
                return Poll::Ready(Ok(true));
            }
            if self.is_complete() {
                return Poll::Ready(Ok(false));
            }
            self.clear(client.inbox.data())?;
            if self.cleared > 0 {
                continue;
            }
            ready!(self.poll_more(cx, client, core))?;
        }
    }

    /// Takes the data that are at the front of the inbox, without anything of the transfer coding; `None` at the end.
    /// For whoever wants data and not bytes for an upstream.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Client,
        core: &Core,
    ) -> Poll<Result<Option<Bytes>, UploadError>> {
        loop {
            if self.is_complete() {
                return Poll::Ready(Ok(None));
            }
            if !client.inbox.is_empty() {
                let waiting = client.inbox.data();
                let (consumed, data) = match &mut self.length {
                    Length::Bytes(left) => {
                        let count = usize::try_from(*left)
                            .map_or(waiting.len(), |left| left.min(waiting.len()));
                        *left -= count as u64;
                        (count, waiting.get(..count).unwrap_or_default())
                    }
                    Length::Chunked(chunks) => {
                        let step = chunks.step(waiting).map_err(|_| UploadError::Broken)?;
                        (step.consumed, step.data)
                    }
                    Length::UntilClose => return Poll::Ready(Ok(None)),
                };
                let data = Bytes::copy_from_slice(data);
                client.inbox.consume(consumed);
                if !data.is_empty() {
                    return Poll::Ready(Ok(Some(data)));
                }
                continue;
            }
            ready!(self.poll_more(cx, client, core))?;
        }
    }
}

/// A client with the body that it is sending.
pub(crate) struct Uploading<'c> {
    pub(crate) client: &'c mut Client,
    pub(crate) upload: &'c mut ClientUpload,
}

impl Upload for Uploading<'_> {
    fn poll_bytes(&mut self, cx: &mut Context<'_>, core: &Core) -> Poll<Result<bool, UploadError>> {
        self.upload.poll_cleared(cx, self.client, core)
    }

    fn bytes(&self) -> &[u8] {
        self.client
            .inbox
            .data()
            .get(..self.upload.cleared)
            .unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.upload.cleared -= count;
        self.client.inbox.consume(count);
    }

    fn is_done(&self) -> bool {
        self.upload.is_done()
    }

    fn is_absent(&self) -> bool {
        self.upload.absent
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_gone(cx).map(|_| ())
    }
}

/// The body of a request that has come by HTTP/2.
pub(crate) struct StreamUpload {
    body: Option<Incoming>,
    chunked: bool,
    absent: bool,
    ready: Vec<u8>,
    written: usize,
    ended: bool,
    most: u64,
    seen: u64,
    waiting: Option<Instant>,
    pace: Pace,
    patience: crate::patience::Patience,
}

impl StreamUpload {
    pub(crate) fn new(body: Incoming, length: &Length, most: Option<u64>) -> Self {
        let absent = length.is_empty();
        Self {
            body: (!absent).then_some(body),
            chunked: matches!(length, Length::Chunked(_)),
            absent,
            ready: Vec::new(),
            written: 0,
            ended: absent,
            most: most.unwrap_or(u64::MAX),
            seen: 0,
            waiting: None,
            pace: Pace::default(),
            patience: crate::patience::Patience::default(),
        }
    }

    fn take_data(&mut self, data: &[u8]) {
        use std::io::Write as _;
        if data.is_empty() {
            return;
        }
        if self.chunked {
            let _ = write!(self.ready, "{:x}\r\n", data.len());
            self.ready.extend_from_slice(data);
            self.ready.extend_from_slice(b"\r\n");
        } else {
            self.ready.extend_from_slice(data);
        }
    }

    fn take_end(&mut self, trailers: Option<&http::HeaderMap>) {
        self.ended = true;
        self.body = None;
        if !self.chunked {
            return;
        }
        self.ready.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            if crate::chunks::may_be_trailer(name.as_str().as_bytes()) {
                crate::plan::push(&mut self.ready, name.as_str(), value.as_bytes());
            }
        }
        self.ready.extend_from_slice(b"\r\n");
    }
}

impl Upload for StreamUpload {
    fn poll_bytes(&mut self, cx: &mut Context<'_>, core: &Core) -> Poll<Result<bool, UploadError>> {
        loop {
            if self.written < self.ready.len() {
                return Poll::Ready(Ok(true));
            }
            self.ready.clear();
            self.written = 0;
            let Some(body) = &mut self.body else {
                return Poll::Ready(Ok(false));
            };
            let Poll::Ready(frame) = std::pin::Pin::new(body).poll_frame(cx) else {
                let since = *self.waiting.get_or_insert_with(Instant::now);
                let deadline = self.pace.deadline(core, since);
                ready!(self.patience.poll(cx, deadline));
                return Poll::Ready(Err(UploadError::TimedOut));
            };
            let waited = self.waiting.take();
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.pace.came(data.len(), waited);
                        self.seen += data.len() as u64;
                        if self.seen > self.most {
                            return Poll::Ready(Err(UploadError::TooLarge));
                        }
                        self.take_data(&data);
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().ok();
                        self.take_end(trailers.as_ref());
                    }
                },
                Some(Err(_)) => return Poll::Ready(Err(UploadError::Broken)),
                None => self.take_end(None),
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        self.ready.get(self.written..).unwrap_or_default()
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
    }

    fn is_done(&self) -> bool {
        self.ended && self.written == self.ready.len()
    }

    fn is_absent(&self) -> bool {
        self.absent
    }

    /// The stream's task is dropped when its client resets it.
    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
