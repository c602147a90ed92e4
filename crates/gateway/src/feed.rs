//! The body of an HTTP/1 request on its way to the hub, which runs on threads of its own.

use std::task::{Context, Poll, ready};

use http_body::Frame;
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;

use crate::body::{Body, BodyError, Piece};
use crate::client::Client;
use crate::serve::Core;
use crate::upload::{ClientUpload, UploadError};

/// How many pieces may wait for the hub.
const PIECES_AHEAD: usize = 4;

/// A body that is being handed over.
pub(crate) struct Feed {
    upload: ClientUpload,
    /// Closed when there is no more to hand over.
    sender: Option<PollSender<Piece>>,
    done: bool,
}

impl Feed {
    /// Gives the other end as the body of the request.
    pub(crate) fn new(upload: ClientUpload) -> (Self, Body) {
        if upload.is_done() {
            let feed = Self {
                upload,
                sender: None,
                done: true,
            };
            return (feed, Body::empty());
        }
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        let feed = Self {
            upload,
            sender: Some(PollSender::new(sender)),
            done: false,
        };
        (feed, Body::channel(pieces))
    }

    /// Whether the whole body was read, so that what follows is the next request.
    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Ready when there is no more to do: all was handed over, the client broke off, or the hub wants no more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        core: &Core,
        client: &mut Client,
    ) -> Poll<()> {
        while let Some(sender) = &mut self.sender {
            if ready!(sender.poll_reserve(cx)).is_err() {
                self.sender = None;
                return Poll::Ready(());
            }
            let piece = match ready!(self.upload.poll_data(cx, client, core)) {
                Ok(Some(data)) => Piece::Frame(Ok(Frame::data(data))),
                Ok(None) => {
                    self.done = true;
                    Piece::End
                }
                Err(error) => Piece::Frame(Err(BodyError::new(match error {
                    UploadError::Broken => "the client broke it off",
                    UploadError::TimedOut => "the rest did not come in time",
                    UploadError::TooLarge => "it is too large",
                }))),
            };
            let ends = !matches!(piece, Piece::Frame(Ok(_)));
            if sender.send_item(piece).is_err() || ends {
                self.sender = None;
            }
        }
        Poll::Ready(())
    }
}
