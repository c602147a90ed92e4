//! A connection's socket: TCP or Unix, plain or with TLS on it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lyceum_certs::ClientTls;
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::listener;
use crate::secure::Below;
use crate::splice::PlainSocket;

/// A connected stream socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// A client's, with TLS.
    Secure(Box<tokio_rustls::server::TlsStream<Below>>),
    /// To an upstream, with TLS.
    ToSecure(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

/// A client's socket below TLS.
#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Socket {
    /// Connects to a TCP address by name; names are looked up by the system.
    pub(crate) async fn connect_tcp(host: &str, port: u16) -> io::Result<Self> {
        tcp(host, port).await.map(Self::Tcp)
    }

    /// Connects to a TCP address by name, and begins TLS; the certificate has to be for `certified`.
    pub(crate) async fn connect_tls(
        host: &str,
        port: u16,
        certified: &str,
        tls: &ClientTls,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(certified.to_owned())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let stream = tcp(host, port).await?;
        tokio_rustls::TlsConnector::from(Arc::clone(tls.config()))
            .connect(name, stream)
            .await
            .map(|stream| Self::ToSecure(Box::new(stream)))
    }

    /// Connects to a Unix socket.
    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).await.map(Self::Unix)
    }

    /// Connects to a Unix socket in a folder that an account owns, which could put any other socket in its place that
    /// we may open: whoever listens has to run under that account.
    pub(crate) async fn connect_owned(path: &Path, uid: u32) -> io::Result<Self> {
        let stream = UnixStream::connect(path).await?;
        let listener = stream.peer_cred()?.uid();
        if listener != uid {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("what listens there runs under the account {listener}, not {uid}"),
            ));
        }
        Ok(Self::Unix(stream))
    }

    /// Connects to a port of the loopback address, where every account can listen: whoever does has to run under that
    /// one. Looked at after connecting, so that it is whom the connection went to.
    pub(crate) async fn connect_owned_tcp(port: u16, uid: u32) -> io::Result<Self> {
        let stream = tcp(lyceum_core::Upstream::OWNED_HOST, port).await?;
        match listener::owner(port)? {
            Some(listener) if listener == uid => Ok(Self::Tcp(stream)),
            Some(listener) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("what listens there runs under the account {listener}, not {uid}"),
            )),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Sends bytes as far as the system takes them at once, and nothing if it takes none.
    pub(crate) fn send_at_once(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream).send(bytes),
            Self::Unix(stream) => SockRef::from(stream).send(bytes),
            // Nothing can be said before the handshake.
            Self::Secure(_) | Self::ToSecure(_) => Ok(0),
        }
    }

    /// Whether the other side has closed, or has sent what nobody asked for. Asks the system, at the price of a call.
    pub(crate) fn is_spent(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit(); 1];
        let peeked = match self {
            Self::Tcp(stream) => SockRef::from(stream).peek(&mut byte),
            Self::Unix(stream) => SockRef::from(stream).peek(&mut byte),
            Self::ToSecure(stream) => SockRef::from(stream.get_ref().0).peek(&mut byte),
            Self::Secure(_) => return false,
        };
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// The socket itself, if nothing is on it.
    pub(crate) fn plain(&self) -> Option<PlainSocket<'_>> {
        match self {
            Self::Tcp(stream) => Some(PlainSocket::Tcp(stream)),
            Self::Unix(stream) => Some(PlainSocket::Unix(stream)),
            Self::Secure(_) | Self::ToSecure(_) => None,
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        matches!(self, Self::Secure(_))
    }

    /// Whether the client has chosen HTTP/2 in its TLS handshake.
    pub(crate) fn chose_h2(&self) -> bool {
        matches!(self, Self::Secure(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Calls the same function of whatever stream it is.
macro_rules! on_stream {
    ($self:expr, $kind:ident($($variant:ident),*), $stream:ident => $call:expr) => {
        match $self {
            $($kind::$variant($stream) => $call,)*
        }
    };
}

macro_rules! is_a_stream {
    ($kind:ident($($variant:ident),*)) => {
        impl AsyncRead for $kind {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                on_stream!(self.get_mut(), $kind($($variant),*), stream => Pin::new(stream).poll_read(cx, buffer))
            }
        }

        impl AsyncWrite for $kind {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                on_stream!(self.get_mut(), $kind($($variant),*), stream => Pin::new(stream).poll_write(cx, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                on_stream!(self.get_mut(), $kind($($variant),*), stream => {
                    Pin::new(stream).poll_write_vectored(cx, slices)
                })
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                on_stream!(self.get_mut(), $kind($($variant),*), stream => Pin::new(stream).poll_flush(cx))
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                on_stream!(self.get_mut(), $kind($($variant),*), stream => Pin::new(stream).poll_shutdown(cx))
            }
        }
    };
}

is_a_stream!(Socket(Tcp, Unix, Secure, ToSecure));
is_a_stream!(Plain(Tcp, Unix));
