//! The listener without TLS that sends everybody to the one with it.

use async_trait::async_trait;
use http::header::{HOST, HeaderValue, LOCATION};
use http::{Request, Response, StatusCode};
use lyceum_gateway::{Body, HubService};

/// Answers every request with a redirect to https, on the same host.
#[derive(Debug, Clone, Copy)]
pub struct ToHttps {
    port: u16,
}

impl ToHttps {
    /// Redirects to a port.
    pub fn new(port: u16) -> Self {
        Self { port }
    }

    fn location(self, request: &Request<Body>) -> Option<HeaderValue> {
        let host = request.headers().get(HOST)?.to_str().ok()?;
        let name = match host.rfind(':') {
            // An IPv6 address has colons of its own, in brackets.
            Some(at) if !host.get(at..)?.contains(']') => host.get(..at)?,
            _ => host,
        };
        if name.is_empty() {
            return None;
        }
        let port = match self.port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        HeaderValue::try_from(format!("https://{name}{port}{path}")).ok()
    }
}

#[async_trait]
impl HubService for ToHttps {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let Some(location) = self.location(&request) else {
            let text = format!(
                "This server speaks https only, on port {}, and the request names no host.",
                self.port
            );
            let mut response = Response::new(Body::from(text));
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return response;
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        response.headers_mut().insert(LOCATION, location);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(port: u16, host: &str, path: &str, expected: &str) {
        let request = Request::get(path)
            .header(HOST, host)
            .body(Body::empty())
            .unwrap();
        let response = ToHttps::new(port).call(request).await;
        assert_eq!(response.status(), 301);
        assert_eq!(response.headers()[LOCATION], expected);
    }

    #[tokio::test]
    async fn the_same_page_is_given_by_https() {
        check(
            8443,
            "hub.example.org:8000",
            "/hub/login?next=%2Fa",
            "https://hub.example.org:8443/hub/login?next=%2Fa",
        )
        .await;
        check(443, "hub.example.org", "/", "https://hub.example.org/").await;
        check(8443, "[::1]:8000", "/a", "https://[::1]:8443/a").await;
        check(8443, "[::1]", "/a", "https://[::1]:8443/a").await;
    }

    #[tokio::test]
    async fn a_request_without_a_host_cannot_be_sent_anywhere() {
        let request = Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(ToHttps::new(443).call(request).await.status(), 400);
    }
}
