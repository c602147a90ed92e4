//! Connections of the hub's own to a user's server, whichever way it is reached.

use std::io;
use std::sync::Arc;

use hyper::rt;
use hyper_util::rt::TokioIo;
use lyceum_core::Upstream;
use tokio::net::{TcpStream, UnixStream};

use super::listener;
use crate::internal_tls::InternalTls;

/// A connection, with or without TLS.
pub(crate) trait Stream: rt::Read + rt::Write + Unpin + Send {}

impl<S: rt::Read + rt::Write + Unpin + Send> Stream for S {}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreached {
    /// Nobody listens there, or not for us.
    Closed,
    /// What answers cannot prove that it is this server, or speaks no TLS.
    NoTrust,
    /// What listens at the server's socket or port runs under another account.
    Foreign,
    /// The machine does not tell under which account that runs.
    Untold,
}

/// Connects. The caller sets the time limit.
pub(crate) async fn connect(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
) -> Result<Box<dyn Stream>, Unreached> {
    match upstream {
        Upstream::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port))
                .await
                .map_err(|_| Unreached::Closed)?;
            let _ = stream.set_nodelay(true);
            Ok(Box::new(TokioIo::new(stream)))
        }
        Upstream::OwnedTcp { port, uid } => {
            let stream = TcpStream::connect((Upstream::OWNED_HOST, *port))
                .await
                .map_err(|_| Unreached::Closed)?;
            // Asked after connecting: this is whom the connection went to.
            match listener::owner(*port) {
                Ok(Some(listener)) if listener == *uid => {}
                Ok(Some(_)) => return Err(Unreached::Foreign),
                Ok(None) => return Err(Unreached::Closed),
                Err(error) => {
                    tracing::error!(
                        port,
                        error = &error as &dyn std::error::Error,
                        "the machine does not tell who listens at a server's port"
                    );
                    return Err(Unreached::Untold);
                }
            }
            let _ = stream.set_nodelay(true);
            Ok(Box::new(TokioIo::new(stream)))
        }
        Upstream::Internal { host, port, name } => {
            let internal = internal.ok_or(Unreached::NoTrust)?;
            let stream = internal.connect(host, *port, name).await;
            let stream = stream.map_err(|error| match error.kind() {
                // This is how the TLS library's refusals come.
                io::ErrorKind::InvalidData => Unreached::NoTrust,
                _ => Unreached::Closed,
            })?;
            Ok(Box::new(TokioIo::new(stream)))
        }
        // No spawner starts servers with certificates of other authorities.
        Upstream::Tls { .. } => Err(Unreached::Closed),
        Upstream::Unix(path) => {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|_| Unreached::Closed)?;
            Ok(Box::new(TokioIo::new(stream)))
        }
        Upstream::Owned { path, uid } => {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|_| Unreached::Closed)?;
            let listener = stream.peer_cred().map_err(|_| Unreached::Closed)?;
            if listener.uid() != *uid {
                return Err(Unreached::Foreign);
            }
            Ok(Box::new(TokioIo::new(stream)))
        }
    }
}
