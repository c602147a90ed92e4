//! What is known of the client of a request: told by whatever accepted the connection.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{HeaderMap, header};

/// The client as the gateway sees it, trusted proxies already looked through.
///
/// Put into the request's extensions by the program's wiring; headers of the client are never asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The client's address, if it came by TCP.
    pub addr: Option<IpAddr>,
    /// Whether the browser speaks https.
    pub https: bool,
    /// Host (and port) that the browser asked for; empty if it named none.
    pub host: String,
}

impl Client {
    /// The address as text, for logs and records; empty if unknown.
    pub fn addr_text(&self) -> String {
        self.addr.map(|addr| addr.to_string()).unwrap_or_default()
    }

    /// Scheme and host, for absolute links in API answers.
    pub fn origin(&self) -> String {
        format!(
            "{}://{}",
            if self.https { "https" } else { "http" },
            self.host
        )
    }

    /// Reads it from a request; without a gateway in front, from the `Host` header alone.
    pub fn of(parts: &Parts) -> Self {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .unwrap_or_else(|| Self {
                addr: None,
                https: false,
                host: header_text(&parts.headers, &header::HOST)
                    .unwrap_or_default()
                    .to_owned(),
            })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts))
    }
}

/// Gives a header's value as text, if it is there and is text.
pub(crate) fn header_text<'a>(
    headers: &'a HeaderMap,
    name: &header::HeaderName,
) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
