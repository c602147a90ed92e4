//! The body of an answer on its way to a client, and what is to be done when it ends.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use crate::body::{Body, BodyError};
use crate::connection::Busy;
use crate::pool::Sender;
use crate::serve::Core;
use crate::table::Entry;

/// The body of an answer to a client.
pub(crate) struct Served {
    source: Source,
    /// There to be dropped with the body.
    busy: Option<Busy>,
}

enum Source {
    Body(Body),
    Upstream(Upstreamed),
}

impl Served {
    pub(crate) fn body(body: Body) -> Self {
        Self {
            source: Source::Body(body),
            busy: None,
        }
    }

    pub(crate) fn upstream(body: Upstreamed) -> Self {
        Self {
            source: Source::Upstream(body),
            busy: None,
        }
    }

    /// Keeps the mark that a request is being served until the body has gone.
    pub(crate) fn keeping(mut self, busy: Busy) -> Self {
        self.busy = Some(busy);
        self
    }
}

impl HttpBody for Served {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.source {
            Source::Body(body) => Pin::new(body).poll_frame(cx),
            Source::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Body(body) => body.is_end_stream(),
            Source::Upstream(body) => body.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Body(body) => body.size_hint(),
            Source::Upstream(body) => body.body.size_hint(),
        }
    }
}

/// An upstream's body, with what is to be done at its end.
pub(crate) struct Upstreamed {
    body: Incoming,
    finish: Option<Finish>,
}

/// Dropped before the end of the body, it closes the connection to the upstream.
pub(crate) struct Finish {
    pub(crate) core: Rc<Core>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) sender: Option<Sender>,
    pub(crate) success: bool,
}

impl Upstreamed {
    /// A body that is empty ends at once, as nobody will ask for its pieces.
    pub(crate) fn new(body: Incoming, finish: Finish) -> Self {
        let mut new = Self {
            body,
            finish: Some(finish),
        };
        if new.body.is_end_stream() {
            new.finish();
        }
        new
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.finish(),
            Some(Ok(_)) if self.body.is_end_stream() => self.finish(),
            Some(Ok(_)) => {}
            Some(Err(_)) => self.finish = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::new)))
    }

    fn finish(&mut self) {
        let Some(finish) = self.finish.take() else {
            return;
        };
        if finish.success {
            finish.entry.touch(finish.core.parts.clock.now());
        }
        if let Some(sender) = finish.sender {
            finish.core.pool.give_back(finish.entry.target_id, sender);
        }
    }
}
