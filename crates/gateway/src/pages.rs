//! Answers that the gateway gives itself when something goes wrong: why, and in which form.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;

use lyceum_core::RouteSpec;

/// Why the gateway answers itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorReason {
    /// The request is not proper HTTP.
    BadRequest,
    /// The client stopped sending in the middle of its request.
    RequestTimeout,
    /// The body of the request is larger than the site takes.
    ContentTooLarge,
    /// The head of the request is larger than the limit.
    HeadTooLarge,
    /// The address of the request is longer than the limit.
    TargetTooLong,
    /// The client's network may not enter the site.
    Forbidden,
    /// The client has shown no certificate, and the site wants one.
    NoCertificate,
    /// The site is closed for maintenance.
    Closed,
    /// No route covers it; only where there is no hub.
    NotFound,
    /// The method is one that the gateway does not carry (`CONNECT`, `TRACE`).
    MethodNotAllowed,
    /// The upstream of the route does not accept connections: most likely its process has ended.
    UpstreamUnreachable,
    /// The upstream did not accept the connection in time.
    UpstreamTimeout,
    /// The upstream has accepted the request, and did not answer in time.
    UpstreamSlow,
    /// The upstream closed the connection without an answer.
    UpstreamClosed,
    /// The upstream's answer is not proper HTTP.
    UpstreamBadAnswer,
    /// The hub failed while it worked on the request.
    HubFailed,
    /// The hub is shutting down.
    HubEnded,
}

impl ErrorReason {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Forbidden | Self::NoCertificate => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::UpstreamUnreachable
            | Self::UpstreamTimeout
            | Self::UpstreamClosed
            | Self::Closed
            | Self::HubEnded => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamBadAnswer => StatusCode::BAD_GATEWAY,
            Self::UpstreamSlow => StatusCode::GATEWAY_TIMEOUT,
            Self::HubFailed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What happened, one sentence for the person who waits.
    pub fn message(self) -> &'static str {
        match self {
            Self::BadRequest => "The request could not be understood.",
            Self::RequestTimeout => "The rest of the request did not come in time.",
            Self::MethodNotAllowed => "This method is not allowed here.",
            Self::ContentTooLarge => "What was sent is larger than what is taken here.",
            Self::HeadTooLarge => "The headers of the request are too large.",
            Self::TargetTooLong => "The address of the request is too long.",
            Self::Forbidden => "This page is not open to the network that you come from.",
            Self::NoCertificate => {
                "This page needs a certificate, and your browser has not shown one. Import it into the browser, and \
                 come again by https."
            }
            Self::Closed => "This page is closed for maintenance. Try again later.",
            Self::NotFound => "There is nothing at this address.",
            Self::UpstreamUnreachable => "The server behind this address does not answer.",
            Self::UpstreamSlow => "The server behind this address takes too long to answer.",
            Self::UpstreamTimeout => "The server behind this address did not answer in time.",
            Self::UpstreamClosed => "The server behind this address closed the connection.",
            Self::UpstreamBadAnswer => "The server behind this address gave a garbled answer.",
            Self::HubFailed => {
                "Something went wrong here. The administrator can find it in the log."
            }
            Self::HubEnded => "The hub is shutting down. Try again in a moment.",
        }
    }
}

/// What is known of the request that cannot be served.
#[derive(Clone)]
pub struct ErrorContext {
    /// Why.
    pub reason: ErrorReason,
    /// The route, if one was found.
    pub route: Option<RouteSpec>,
    /// The path and query that were asked for, as they came. Not to be logged: queries can hold secrets.
    pub path_and_query: String,
    /// Whether the client is a program that wants JSON, not a person with a browser.
    pub wants_json: bool,
    /// The languages that the browser asks for (`Accept-Language`), empty if it does not say.
    pub languages: String,
    /// The cookies as they came, empty if there are none. For the choice of the language only, and not to be
    /// logged: they hold secrets.
    pub cookies: String,
    /// What the administrator wants to be said, if not the usual message.
    pub message: Option<String>,
    /// After how many seconds it is worth another try; told in `Retry-After`, too.
    pub retry_after: Option<u64>,
    /// The id of the request, which is in the answer's `X-Request-ID` too.
    pub request_id: String,
}

impl fmt::Debug for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorContext")
            .field("reason", &self.reason)
            .field("route", &self.route)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

/// A rendered error page.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// Its media type.
    pub content_type: HeaderValue,
    /// Its content.
    pub body: Bytes,
}

/// Renders error pages; called on the hub's runtime, and given up after two seconds.
#[async_trait]
pub trait ErrorPages: Send + Sync + 'static {
    /// Renders the page, or gives `None` for the gateway's plain one.
    async fn render(&self, context: &ErrorContext) -> Option<ErrorPage>;
}

/// The gateway's own pages: one sentence, as text or JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainErrorPages;

#[async_trait]
impl ErrorPages for PlainErrorPages {
    async fn render(&self, context: &ErrorContext) -> Option<ErrorPage> {
        Some(plain(context))
    }
}

/// The page that is always possible.
pub(crate) fn plain(context: &ErrorContext) -> ErrorPage {
    let status = context.reason.status();
    let message = context
        .message
        .as_deref()
        .unwrap_or_else(|| context.reason.message());
    if context.wants_json {
        let body = serde_json::json!({"status": status.as_u16(), "message": message});
        return ErrorPage {
            content_type: HeaderValue::from_static("application/json"),
            body: body.to_string().into(),
        };
    }
    ErrorPage {
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        body: format!("{status}\n\n{message}\n").into(),
    }
}

/// Tells whether a client wants JSON: it says so, or asks something with an `api` segment.
pub(crate) fn wants_json(path: &str, accept: &[u8]) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.split('/').any(|segment| segment == "api") {
        return true;
    }
    let accepts = |kind: &str| memchr::memmem::find(accept, kind.as_bytes()).is_some();
    accepts("application/json") && !accepts("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, accept: &str, expected: bool) {
        assert_eq!(
            wants_json(path, accept.as_bytes()),
            expected,
            "{path} {accept}"
        );
    }

    #[test]
    fn programs_get_json_and_people_get_pages() {
        check("/user/ada/lab", "text/html,*/*;q=0.8", false);
        check("/user/ada/lab", "", false);
        check("/user/ada/lab", "application/json, text/plain", true);
        check("/user/ada/api/kernels", "*/*", true);
        check("/user/ada/api/kernels", "text/html", true);
        check("/user/ada/apish", "*/*", false);
    }
}
