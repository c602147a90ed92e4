//! The id of a request: the same for the hub, the upstream and the person who sees an error page.

use std::fmt;

use http::header::{HeaderName, HeaderValue};
use lyceum_core::random::{Randomness as _, SystemRandomness};

/// The header that carries it. A client's own is replaced: it could name somebody else's request.
pub(crate) const NAME: &str = "x-request-id";
/// The same, as the HTTP library has it.
pub(crate) const HEADER: HeaderName = HeaderName::from_static(NAME);

/// The id of a request, 16 hexadecimal digits; an extension of every request to the hub.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    pub(crate) fn new() -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let mut random = [0; 8];
        SystemRandomness.fill(&mut random);
        let number = u64::from_ne_bytes(random);
        Self(std::array::from_fn(|at| {
            let digit = (number >> (4 * at)) & 15;
            DIGITS.get(digit as usize).copied().unwrap_or(b'0')
        }))
    }

    /// Gives the digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Gives the value of the header; `None` cannot happen, as digits are proper in a header.
    pub(crate) fn header_value(self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.0).ok()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_digits_and_differ() {
        let id = RequestId::new();
        assert_eq!(id.to_string().len(), 16);
        assert!(id.to_string().bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(id, RequestId::new());
        assert_eq!(id.header_value().unwrap(), id.as_str());
    }
}
