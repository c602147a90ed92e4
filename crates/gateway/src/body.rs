//! The body of a request or answer on its way between gateway and hub, never collected.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use thiserror::Error;
use tokio::sync::mpsc;

/// A streaming body: whole bytes, a body from the network, or anything that implements [`HttpBody`].
///
/// Made from an `axum::body::Body` with [`Body::new`], and turned into one with `axum::body::Body::new`.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    Incoming(Incoming),
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
    Channel {
        pieces: mpsc::Receiver<Piece>,
        ended: bool,
    },
}

/// A piece of a body that is produced elsewhere. Its end is said in words: if the producer panics, the
/// channel merely closes, and the client must not take the part for the whole.
pub(crate) enum Piece {
    Frame(Result<Frame<Bytes>, BodyError>),
    End,
}

/// Why a body broke off.
#[derive(Debug, Error)]
#[error("the body broke off")]
pub struct BodyError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl BodyError {
    /// Wraps the cause.
    pub fn new(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl Body {
    /// A body without content.
    pub fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// A body that is there already.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(Inner::Full((!bytes.is_empty()).then_some(bytes)))
    }

    /// Wraps any other body.
    pub fn new<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self(Inner::Boxed(body.map_err(BodyError::new).boxed_unsync()))
    }

    pub(crate) fn incoming(body: Incoming) -> Self {
        if body.is_end_stream() {
            Self::empty()
        } else {
            Self(Inner::Incoming(body))
        }
    }

    pub(crate) fn channel(pieces: mpsc::Receiver<Piece>) -> Self {
        Self(Inner::Channel {
            pieces,
            ended: false,
        })
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").finish_non_exhaustive()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::full(bytes)
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self::full(text)
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self::full(text)
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Incoming(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::new)))
            }
            Inner::Boxed(body) => Pin::new(body).poll_frame(cx),
            Inner::Channel { ended: true, .. } => Poll::Ready(None),
            Inner::Channel { pieces, ended } => {
                let piece = ready!(pieces.poll_recv(cx));
                *ended = !matches!(piece, Some(Piece::Frame(Ok(_))));
                Poll::Ready(match piece {
                    Some(Piece::Frame(frame)) => Some(frame),
                    Some(Piece::End) => None,
                    None => Some(Err(BodyError::new("its producer has failed"))),
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Full(bytes) => bytes.is_none(),
            Inner::Incoming(body) => body.is_end_stream(),
            Inner::Boxed(body) => body.is_end_stream(),
            Inner::Channel { ended, .. } => *ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Inner::Incoming(body) => body.size_hint(),
            Inner::Boxed(body) => body.size_hint(),
            Inner::Channel { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_bodies_know_their_size() {
        assert!(Body::empty().is_end_stream());
        assert!(Body::full("").is_end_stream());
        assert_eq!(Body::from("abc").size_hint().exact(), Some(3));
    }
}
