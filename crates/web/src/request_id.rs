//! The id of a request: on the answer, on error pages and in the log, so that an administrator can find in
//! the log what a person saw.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use lyceum_core::random;
use tracing::Instrument as _;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request.
///
/// Whoever accepts the connection may put one into the request's extensions; else it is made here. A header
/// of the client is never believed: it could name somebody else's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(pub String);

/// Gives each request its id, and writes it to the answer and to every line of the log about the request.
pub(crate) async fn give(mut request: Request, next: Next) -> Response {
    let id = match request.extensions().get::<RequestId>() {
        Some(RequestId(id)) => id.clone(),
        None => random::hex(8),
    };
    request.headers_mut().remove(HEADER);
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = tracing::info_span!("request", request.id = %id);
    let method = request.method().clone();
    // The query stays out of the log: codes and tokens travel in it.
    let path = request.uri().path().to_owned();
    async move {
        let mut response = next.run(request).await;
        tracing::debug!(%method, path, status = response.status().as_u16(), "answered a request");
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
    .instrument(span)
    .await
}
