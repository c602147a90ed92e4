//! The body of an answer on its way to an HTTP/2 client.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::OpenStream;

use crate::body::{Body, BodyError};
use crate::buffer::CHUNK;
use crate::compress::Encoder;
use crate::exchange;
use crate::head::Length;
use crate::plan::Plan;
use crate::pool::Link;
use crate::serve::Core;
use crate::upload::StreamUpload;

/// The body of an answer to a client.
pub(super) struct Streamed {
    source: Source,
    /// The stream counts as open as long as its answer is on the way.
    stream: Option<OpenStream>,
}

enum Source {
    Body(Body),
    Upstream(Rc<RefCell<FromUpstream>>),
}

impl Streamed {
    pub(super) fn body(body: Body) -> Self {
        Self {
            source: Source::Body(body),
            stream: None,
        }
    }

    /// A body that is empty ends at once, as nobody will ask for its pieces.
    pub(super) fn upstream(mut body: FromUpstream) -> Self {
        if body.is_complete() && body.encoder.is_none() {
            body.finish();
        }
        Self {
            source: Source::Upstream(Rc::new(RefCell::new(body))),
            stream: None,
        }
    }

    /// Keeps the stream to which it belongs open.
    pub(super) fn of(mut self, stream: OpenStream) -> Self {
        if let Source::Upstream(body) = &self.source {
            stream.watch(body);
        }
        self.stream = Some(stream);
        self
    }
}

/// The body of an upstream's answer. Dropped before its end, it closes the connection to the upstream.
pub(super) struct FromUpstream {
    pub(super) core: Rc<Core>,
    pub(super) plan: Box<Plan>,
    pub(super) link: Option<Link>,
    pub(super) length: Length,
    /// The connection cannot be used again.
    pub(super) close: bool,
    /// The end of it counts as activity.
    pub(super) success: bool,
    /// What is still to be sent while the answer comes.
    pub(super) upload: Option<StreamUpload>,
    /// For a body that is compressed.
    pub(super) encoder: Option<Encoder>,
    /// Since when the client could take what was given to it last; `None` while the upstream is waited for.
    pub(super) given: Option<Instant>,
    /// The client took nothing for too long.
    pub(super) given_up: bool,
}

impl FromUpstream {
    fn is_complete(&self) -> bool {
        self.link.is_none()
            || match &self.length {
                Length::Bytes(left) => *left == 0,
                Length::Chunked(chunks) => chunks.is_done(),
                Length::UntilClose => false,
            }
    }

    fn finish(&mut self) {
        let Some(link) = self.link.take() else { return };
        if self.success {
            self.plan.entry.touch(self.core.parts.clock.now());
        }
        if !self.close {
            self.core.pool.give_back(self.plan.entry.target_id, link);
        }
    }

    /// Lets go of everything if the client has taken nothing for so long; the stream is reset when it does.
    pub(super) fn give_up_after(&mut self, limit: Duration) {
        let Some(link) = &self.link else { return };
        // Nobody has asked for what has come meanwhile: the library asks when the client takes something.
        if self.given.is_none() && (!link.inbox.is_empty() || link.io.is_spent()) {
            self.given = Some(Instant::now());
        }
        if self.given.is_some_and(|given| given.elapsed() > limit) && !self.is_complete() {
            self.given_up = true;
            self.link = None;
            self.encoder = None;
            self.upload = None;
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.given_up {
            return Poll::Ready(Some(Err(BodyError::new("the client took nothing"))));
        }
        let frame = self.poll_next(cx);
        self.given = frame.is_ready().then(Instant::now);
        frame
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.is_complete() {
                if let Some(mut encoder) = self.encoder.take() {
                    let mut packed = Vec::new();
                    self.finish();
                    return Poll::Ready(Some(match encoder.finish(&mut packed) {
                        Ok(()) => Ok(Frame::data(packed.into())),
                        Err(error) => Err(BodyError::new(error)),
                    }));
                }
                let trailers = match &self.length {
                    Length::Chunked(chunks) if self.link.is_some() => trailers(chunks.trailers()),
                    _ => None,
                };
                self.finish();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let Some(link) = &mut self.link else {
                return Poll::Ready(None);
            };
            if let Some(upload) = &mut self.upload {
                match exchange::poll_rest(cx, &self.core, &self.plan, link, upload) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => self.upload = None,
                    Poll::Ready(Err(_)) => {
                        self.link = None;
                        return Poll::Ready(Some(Err(BodyError::new("the upload broke off"))));
                    }
                }
            }
            let waiting = link.inbox.data();
            if !waiting.is_empty() {
                let (consumed, data) = match &mut self.length {
                    Length::Bytes(left) => {
                        let count = usize::try_from(*left)
                            .map_or(waiting.len(), |left| left.min(waiting.len()));
                        *left -= count as u64;
                        (count, waiting.get(..count).unwrap_or_default())
                    }
                    Length::UntilClose => (waiting.len(), waiting),
                    Length::Chunked(chunks) => match chunks.step(waiting) {
                        Ok(step) => (step.consumed, step.data),
                        Err(offence) => {
                            self.link = None;
                            return Poll::Ready(Some(Err(BodyError::new(offence.0))));
                        }
                    },
                };
                let packed = match &mut self.encoder {
                    None => Bytes::copy_from_slice(data),
                    Some(encoder) => {
                        let mut packed = Vec::new();
                        let outcome = encoder
                            .push(data, &mut packed)
                            .and_then(|()| encoder.flush(&mut packed));
                        if let Err(error) = outcome {
                            self.link = None;
                            return Poll::Ready(Some(Err(BodyError::new(error))));
                        }
                        packed.into()
                    }
                };
                link.inbox.consume(consumed);
                let data = packed;
                if data.is_empty() {
                    continue;
                }
                if matches!(self.length, Length::Bytes(0)) && self.encoder.is_none() {
                    self.finish();
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match ready!(link.inbox.poll_fill(cx, &mut link.io, CHUNK)) {
                Ok(count) if count > 0 => {}
                Ok(_) if self.length == Length::UntilClose => {
                    self.close = true;
                    self.finish();
                }
                Ok(_) | Err(_) => {
                    self.link = None;
                    return Poll::Ready(Some(Err(BodyError::new("the upstream broke it off"))));
                }
            }
        }
    }
}

fn trailers(lines: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next())
            && let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name),
                HeaderValue::from_bytes(value.trim_ascii()),
            )
        {
            map.append(name, value);
        }
    }
    (!map.is_empty()).then_some(map)
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Body(body) => Pin::new(body).poll_frame(cx),
            Source::Upstream(body) => body.borrow_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Body(body) => body.is_end_stream(),
            Source::Upstream(body) => {
                let body = body.borrow();
                body.link.is_none() && body.encoder.is_none()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Body(body) => body.size_hint(),
            Source::Upstream(body) => {
                let body = body.borrow();
                match body.length {
                    Length::Bytes(left) if body.encoder.is_none() => SizeHint::with_exact(left),
                    _ => SizeHint::default(),
                }
            }
        }
    }
}
