//! TLS with users' servers, as the hub sees it: what makes their certificates and connects to them is elsewhere.

use std::fmt;
use std::io;

use async_trait::async_trait;
use lyceum_core::lifecycle::Failure;
use lyceum_core::seams::ServerCredentials;
use lyceum_core::{ServerRef, Timestamp};
use tokio::io::{AsyncRead, AsyncWrite};

/// Makes certificates for users' servers, and speaks TLS with them.
#[async_trait]
pub trait InternalTls: fmt::Debug + Send + Sync {
    /// Makes key and certificate for one start of a server. Takes well below a millisecond.
    fn issue(&self, server: &ServerRef, now: Timestamp) -> Result<ServerCredentials, Failure>;

    /// Connects to a server that has its certificate from here, and makes sure that it is the one of this name.
    ///
    /// What is no TLS, or shows another certificate, is an error of the kind `InvalidData`. Whoever calls sets a limit.
    async fn connect(&self, host: &str, port: u16, name: &str) -> io::Result<Box<dyn Connection>>;
}

/// A connection on which bytes go both ways.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}
