//! The beginning of TLS with a client: the handshake, what is known after it, and those who speak something else.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use lyceum_certs::{ACME_TLS_ALPN, ClientIdentity, ServerTls};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::plan::Peer;
use crate::refused;
use crate::serve::Core;
use crate::socket::{Plain, Socket};

/// What a client gets that speaks HTTP where TLS is spoken.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    400 Bad Request\n\nThis port speaks HTTPS: let the address begin with https://, not http.\n";
/// How long a connection is kept for its last words, in which nobody else has a part.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What each record of a handshake begins with (RFC 8446 §5.1).
const HANDSHAKE: u8 = 22;

/// Does the handshake with a client, and writes down what it tells of it. `None` ends the connection.
pub(crate) async fn begin(
    core: &Core,
    tls: &ServerTls,
    stream: Plain,
    peer: &mut Peer,
) -> Option<Socket> {
    let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
    let handshake = acceptor.accept(Below::new(stream)).into_fallible();
    let limit = core.config.header_timeout.get();
    let counts = &core.parts.counts;
    let stream = match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, below))) => {
            // Whoever looks only whether the port is open has not failed.
            if below.began != Began::Nothing {
                counts.tls_failures.fetch_add(1, Ordering::Relaxed);
                tell_failure(core, peer, &error);
            }
            if below.began == Began::Text {
                tell_plain(below.io).await;
            }
            return None;
        }
        Err(_) => {
            counts.tls_failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(client.addr = ?peer.addr, "a TLS handshake took too long");
            return None;
        }
    };
    counts.tls_handshakes.fetch_add(1, Ordering::Relaxed);
    let session = stream.get_ref().1;
    if session.alpn_protocol() == Some(ACME_TLS_ALPN) {
        // The authority has seen what it wanted (RFC 8737 §3).
        close(stream).await;
        return None;
    }
    peer.says_hsts = !core.hsts.is_empty() && tls.is_vouched(session.server_name());
    peer.certificate = session
        .peer_certificates()
        .and_then(<[_]>::first)
        .map(|certificate| Rc::new(ClientIdentity::of(certificate)));
    Some(Socket::Secure(Box::new(stream)))
}

/// Writes down a handshake that failed: a certificate that is refused is looked for by administrators, the rest is
/// everyday business of ports that are open to all.
fn tell_failure(core: &Core, peer: &Peer, error: &io::Error) {
    let why = refused::why(error);
    let untold = why
        .as_ref()
        .and_then(|_| core.parts.counts.refused.count(core.parts.clock.now()));
    if let (Some(why), Some(untold)) = (why, untold) {
        let before = match untold {
            0 => String::new(),
            untold => format!("; so were {untold} others since the last one that was told"),
        };
        tracing::info!(client.addr = ?peer.addr, "the certificate of a client was refused: {why}{before}");
    } else {
        tracing::debug!(client.addr = ?peer.addr, error = %error, "a TLS handshake failed");
    }
}

async fn close(mut stream: TlsStream<Below>) {
    let _ = tokio::time::timeout(LAST_WORDS, stream.shutdown()).await;
}

/// Tells a client that speaks plain HTTP what to do.
async fn tell_plain(mut io: Plain) {
    let telling = async {
        io.write_all(PLAIN_ANSWER).await?;
        io.shutdown().await?;
        // Closed with something unread, the system would take the answer back.
        let mut scratch = [0; 1024];
        while io.read(&mut scratch).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(LAST_WORDS, telling).await;
}

/// A client's socket below TLS, which remembers what came first. Without a system call more: the first byte is looked
/// at as it passes.
#[derive(Debug)]
pub(crate) struct Below {
    io: Plain,
    began: Began,
}

/// What a connection began with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Began {
    Nothing,
    Tls,
    /// A letter, as every request of HTTP/1 begins with.
    Text,
    Other,
}

impl Below {
    fn new(io: Plain) -> Self {
        Self {
            io,
            began: Began::Nothing,
        }
    }
}

impl AsyncRead for Below {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let known = buffer.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
        if this.began == Began::Nothing
            && let Some(first) = buffer.filled().get(known)
        {
            this.began = match *first {
                HANDSHAKE => Began::Tls,
                letter if letter.is_ascii_alphabetic() => Began::Text,
                _ => Began::Other,
            };
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Below {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.began == Began::Text {
            // The alert of TLS would stand before the answer, which nobody could read then.
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut this.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.began == Began::Text {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut this.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
