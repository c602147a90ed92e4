//! The body of a large file: read piece by piece, when the client has taken the one before.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::Handle;

use super::disk::Shared;
use crate::compress::Encoder;

/// How much is read at once.
const PIECE: u64 = 128 * 1024;

/// A part of a file as a body, compressed on its way or not. No thread waits for a slow client.
pub(super) struct FileStream {
    file: Arc<File>,
    shared: Arc<Shared>,
    disk: Handle,
    at: u64,
    left: u64,
    state: State,
}

enum State {
    /// The next piece has to be asked for; with the encoder, if the body is compressed.
    Idle(Option<Box<Encoder>>),
    Reading(Pin<Box<dyn Future<Output = io::Result<Piece>> + Send>>),
    Ended,
}

struct Piece {
    bytes: Bytes,
    encoder: Option<Box<Encoder>>,
}

impl FileStream {
    pub(super) fn new(
        file: File,
        shared: Arc<Shared>,
        disk: Handle,
        from: u64,
        length: u64,
        encoder: Option<Encoder>,
    ) -> Self {
        Self {
            file: Arc::new(file),
            shared,
            disk,
            at: from,
            left: length,
            state: State::Idle(encoder.map(Box::new)),
        }
    }

    /// Asks for the next piece; one that is compressed may come to nothing yet, so it is read until there is
    /// something.
    fn read(&mut self, encoder: Option<Box<Encoder>>) -> State {
        let (file, at) = (Arc::clone(&self.file), self.at);
        let length = self.left.min(PIECE);
        self.at += length;
        self.left -= length;
        let last = self.left == 0;
        let (shared, disk) = (Arc::clone(&self.shared), self.disk.clone());
        State::Reading(Box::pin(async move {
            shared
                .run(&disk, move || read_piece(&file, at, length, encoder, last))
                .await
        }))
    }
}

fn read_piece(
    file: &File,
    at: u64,
    length: u64,
    mut encoder: Option<Box<Encoder>>,
    last: bool,
) -> io::Result<Piece> {
    let mut plain = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    // A file that has become shorter breaks the body off: the client must not take the part for the whole.
    file.read_exact_at(&mut plain, at)?;
    let bytes = match &mut encoder {
        None => plain,
        Some(encoder) => {
            let mut packed = Vec::new();
            encoder.push(&plain, &mut packed)?;
            if last {
                encoder.finish(&mut packed)?;
            } else {
                encoder.flush(&mut packed)?;
            }
            packed
        }
    };
    Ok(Piece {
        bytes: Bytes::from(bytes),
        encoder,
    })
}

impl HttpBody for FileStream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Idle(_) if self.left == 0 => return Poll::Ready(None),
                State::Idle(encoder) => self.state = self.read(encoder),
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let piece = match read {
                        Ok(piece) => piece,
                        Err(error) => return Poll::Ready(Some(Err(error))),
                    };
                    self.state = State::Idle(piece.encoder);
                    return Poll::Ready(Some(Ok(Frame::data(piece.bytes))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Ended => true,
            State::Idle(_) => self.left == 0,
            State::Reading(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Idle(None) => SizeHint::with_exact(self.left),
            _ => SizeHint::default(),
        }
    }
}
