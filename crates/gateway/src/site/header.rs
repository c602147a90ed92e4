//! Headers that somebody has written for a site: which can be set, and which are not theirs to set.

use http::header::{HeaderName, HeaderValue};
use thiserror::Error;

/// Headers between two neighbours, or of the message itself: nobody can set them for somebody else (RFC 9110 §7.6.1).
const BETWEEN_NEIGHBOURS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a header cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// The name has characters that no header has.
    #[error("the name of a header has letters, digits and hyphens")]
    Name,
    /// The value has characters that no header can have.
    #[error("the value of a header is one line of plain text")]
    Value,
    /// The header is about one connection, not about what is sent over it.
    #[error(
        "this header is between two neighbours of a connection, and the gateway sets it itself"
    )]
    BetweenNeighbours,
}

/// Reads a header that is to be set for a site.
pub fn site_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), HeaderFault> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if !name.bytes().all(plain) {
        return Err(HeaderFault::Name);
    }
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderFault::Name)?;
    if BETWEEN_NEIGHBOURS.contains(&name.as_str()) {
        return Err(HeaderFault::BetweenNeighbours);
    }
    let visible = value.bytes().all(|c| matches!(c, b' '..=b'~'));
    let value = Some(value.trim()).filter(|value| visible && !value.is_empty());
    let value = HeaderValue::from_str(value.ok_or(HeaderFault::Value)?);
    Ok((name, value.map_err(|_| HeaderFault::Value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_message_cannot_be_set() {
        let check = |name: &str, value: &str, expected: Option<HeaderFault>| {
            assert_eq!(site_header(name, value).err(), expected, "{name}: {value}");
        };
        check("X-Course", "statistics", None);
        check("X-Frame-Options", " DENY ", None);
        check("", "x", Some(HeaderFault::Name));
        check("X Course", "x", Some(HeaderFault::Name));
        check("X-Course:", "x", Some(HeaderFault::Name));
        check("X-Course", "a\r\nSet-Cookie: b", Some(HeaderFault::Value));
        check("X-Course", "\u{e9}", Some(HeaderFault::Value));
        check("X-Course", "", Some(HeaderFault::Value));
        check("Connection", "close", Some(HeaderFault::BetweenNeighbours));
        check(
            "transfer-encoding",
            "chunked",
            Some(HeaderFault::BetweenNeighbours),
        );
    }
}
