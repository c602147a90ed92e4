//! The PROXY protocol: who the client is, as a load balancer says it before the first byte of the client.
//!
//! Versions 1 (a line of text) and 2 (binary) of HAProxy's specification, as of 2020. Reads bytes and nothing
//! else: from whom a header is expected is a matter of the configuration, and waiting for it one of the engine.

use std::net::SocketAddr;

use thiserror::Error;

mod binary;
mod text;

/// What the bytes that have come so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// They begin a header that is not complete.
    Incomplete {
        /// How many bytes there must be in all before it can be complete; always more than there are, and
        /// never more than the header has, so that whoever reads only so many takes nothing of what follows.
        at_least: usize,
    },
    /// They begin with a header.
    Header {
        /// How many bytes it has; what follows is the client's.
        length: usize,
        /// The client; `None` if the proxy speaks for itself (as for its health checks), or if the client has
        /// no address of the Internet. IPv4 addresses that are mapped into IPv6 are given as IPv4.
        source: Option<SocketAddr>,
        /// The address to which the client connected; `None` together with `source`.
        destination: Option<SocketAddr>,
    },
}

/// Why bytes are no header; nothing that follows can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ProxyProtocolError {
    /// Neither of the two versions begins like this.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Absent,
    /// A header of version 1 that is not written as the specification wants it.
    #[error("the header of the PROXY protocol is malformed: {0}")]
    Text(&'static str),
    /// A header of version 2 that is not written as the specification wants it.
    #[error("the binary header of the PROXY protocol is malformed: {0}")]
    Binary(&'static str),
    /// The checksum of version 2 says that the header was changed on its way.
    #[error("the checksum of the PROXY protocol's header is wrong")]
    Checksum,
}

/// Looks for a header at the beginning of a connection.
///
/// Gives the same for every longer slice once it has given a header or an error.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, ProxyProtocolError> {
    // The shortest header of all, `PROXY UNKNOWN`, says how much can be read before the version is known.
    match bytes.first() {
        None => Ok(Parsed::Incomplete {
            at_least: text::SHORTEST,
        }),
        Some(b'P') => text::parse(bytes),
        Some(b'\r') => binary::parse(bytes),
        Some(_) => Err(ProxyProtocolError::Absent),
    }
}

/// Fails if the bytes cannot become a header that begins with `signature`.
fn expect(bytes: &[u8], signature: &[u8]) -> Result<(), ProxyProtocolError> {
    if bytes.iter().zip(signature).all(|(a, b)| a == b) {
        Ok(())
    } else {
        Err(ProxyProtocolError::Absent)
    }
}

/// Gives an IPv4 address that is mapped into IPv6 as what it is.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
