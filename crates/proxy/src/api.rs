//! The REST API: what configurable-http-proxy answers at `/api/routes`, answered from our table.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use jiff::tz::TimeZone;
use lyceum_core::{Secret, escape};
use lyceum_gateway::{Body, HubService};

use crate::book::RouteBook;
use crate::json::{Json, Object};
use crate::metrics::ApiCounts;
use crate::time;

/// The longest body of a request.
const LONGEST_BODY: usize = 1024 * 1024;
/// How long the body of a request may take.
const BODY_LIMIT: Duration = Duration::from_secs(30);
/// Where the API is.
const ROOT: &str = "/api/routes";

/// Answers the API's requests.
pub struct RestApi {
    book: RouteBook,
    token: Option<Secret<String>>,
    counts: Arc<ApiCounts>,
}

/// An answer other than success, with a sentence for whoever reads it.
struct Refusal(StatusCode, String);

type Answer = Result<Response<Body>, Refusal>;

impl RestApi {
    /// An API for whoever shows the token; for everybody if there is none.
    pub fn new(book: RouteBook, token: Option<Secret<String>>, counts: Arc<ApiCounts>) -> Self {
        Self {
            book,
            token,
            counts,
        }
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let Some(path) = head.uri.path().strip_prefix(ROOT) else {
            return Err(Refusal::plain(StatusCode::NOT_FOUND));
        };
        if !path.is_empty() && !path.starts_with('/') {
            return Err(Refusal::plain(StatusCode::NOT_FOUND));
        }
        if ![Method::GET, Method::POST, Method::DELETE].contains(&head.method) {
            let text = "Method not supported".to_owned();
            return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, text));
        }
        if !self.may(&head.headers) {
            return Ok(empty(StatusCode::FORBIDDEN));
        }
        let Some(path) = escape::decode(path) else {
            let text = "Path is not UTF-8".to_owned();
            return Err(Refusal(StatusCode::BAD_REQUEST, text));
        };
        let path = if path.is_empty() { "/" } else { &path };
        match head.method {
            Method::GET if path == "/" => self.list(head.uri.query().unwrap_or_default()),
            Method::GET => Ok(match self.book.get(path) {
                Some(data) => json(&data),
                None => empty(StatusCode::NOT_FOUND),
            }),
            Method::POST => self.put(path, body).await,
            _ => {
                self.counts.deleted();
                let status = if self.book.remove(path) {
                    StatusCode::NO_CONTENT
                } else {
                    StatusCode::NOT_FOUND
                };
                Ok(empty(status))
            }
        }
    }

    fn may(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let given = headers.get(AUTHORIZATION);
        let given = given.and_then(|value| value.to_str().ok());
        given
            .and_then(token_in)
            .is_some_and(|given| token.matches(given))
    }

    fn list(&self, query: &str) -> Answer {
        let since = parameter(query, "inactiveSince")
            .or_else(|| parameter(query, "inactive_since"))
            .map(|text| match time::parse(&text, &TimeZone::system()) {
                Some(at) => Ok(at),
                None => Err(Refusal(
                    StatusCode::BAD_REQUEST,
                    format!("Invalid datestamp '{text}' must be ISO8601."),
                )),
            })
            .transpose()?;
        self.counts.listed();
        Ok(json(&self.book.list(since)))
    }

    async fn put(&self, path: &str, body: Body) -> Answer {
        let bytes = read(body).await?;
        let invalid = |error: serde_json::Error| {
            Refusal(
                StatusCode::BAD_REQUEST,
                format!("Body not valid JSON: {error}"),
            )
        };
        let data: Json = serde_json::from_slice(&bytes).map_err(invalid)?;
        let data = match data {
            Json::Object(data) => data,
            _ => Object::default(),
        };
        if data.text("target").is_none() {
            let text = "Must specify 'target' as string".to_owned();
            return Err(Refusal(StatusCode::BAD_REQUEST, text));
        }
        self.book
            .put(path, data)
            .map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
        self.counts.added();
        Ok(empty(StatusCode::CREATED))
    }
}

#[async_trait]
impl HubService for RestApi {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let response = match self.answer(request).await {
            Ok(response) => response,
            Err(Refusal(status, text)) => {
                tracing::warn!(status = status.as_u16(), "{method} {path}: {text}");
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = status;
                response
            }
        };
        let status = response.status();
        if status == StatusCode::FORBIDDEN {
            tracing::warn!("{method} {path}: refused, as the token is missing or wrong");
        } else {
            tracing::debug!(status = status.as_u16(), "{method} {path}");
        }
        self.counts.answered(status);
        response
    }
}

impl Refusal {
    fn plain(status: StatusCode) -> Self {
        Self(
            status,
            status.canonical_reason().unwrap_or_default().to_owned(),
        )
    }
}

impl fmt::Debug for RestApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestApi")
            .field("book", &self.book)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}

/// Finds the first `token XYZ` in a header, as configurable-http-proxy does: in these letters.
fn token_in(header: &str) -> Option<&str> {
    header.match_indices("token").find_map(|(at, word)| {
        let rest = header.get(at + word.len()..)?;
        let trimmed = rest.trim_start();
        let token = trimmed.split(char::is_whitespace).next()?;
        (trimmed.len() < rest.len() && !token.is_empty()).then_some(token)
    })
}

/// The first value of a name in a query, if it is not empty.
fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes())
        .find(|(own, _)| own == name)
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    let collecting = Limited::new(body, LONGEST_BODY).collect();
    match tokio::time::timeout(BODY_LIMIT, collecting).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE))
        }
        Ok(Err(_)) => Err(Refusal::plain(StatusCode::BAD_REQUEST)),
        Err(_) => Err(Refusal::plain(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn json(data: &Object) -> Response<Body> {
    // Names are texts, so that nothing of it cannot be written.
    let text = serde_json::to_string(data).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use lyceum_core::SystemClock;
    use lyceum_gateway::RouteTable;

    use super::*;

    fn api(token: Option<&str>) -> RestApi {
        let book = RouteBook::new(RouteTable::new(), false, Arc::new(SystemClock));
        RestApi::new(book, token.map(Secret::from), Arc::default())
    }

    async fn ask(
        api: &RestApi,
        method: &str,
        path: &str,
        header: &str,
        body: &str,
    ) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, header)
            .body(Body::from(body.to_owned()))
            .unwrap();
        let response = api.call(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn check_token(header: &str, expected: Option<&str>) {
        assert_eq!(token_in(header), expected, "{header}");
    }

    #[test]
    fn the_token_follows_its_word() {
        check_token("token abc", Some("abc"));
        check_token("token   abc def", Some("abc"));
        check_token("Bearer token abc", Some("abc"));
        check_token("token", None);
        check_token("token ", None);
        check_token("tokenabc", None);
        check_token("Token abc", None);
        check_token("Bearer abc", None);
    }

    #[tokio::test]
    async fn without_the_token_nothing_is_told_or_changed() {
        let api = api(Some("sesame"));
        for header in ["", "token wrong", "token sesam", "Bearer sesame", "sesame"] {
            for (method, path) in [
                ("GET", "/api/routes"),
                ("POST", "/api/routes/a"),
                ("DELETE", "/api/routes/a"),
            ] {
                let answer = ask(&api, method, path, header, r#"{"target":"http://h:1"}"#).await;
                assert_eq!(answer, (403, String::new()), "{method} {header}");
            }
        }
        assert_eq!(
            ask(&api, "GET", "/api/routes", "token sesame", "").await,
            (200, "{}".to_owned())
        );
    }

    #[tokio::test]
    async fn a_route_comes_and_goes() {
        let api = api(None);
        let body = r#"{"z": 1, "target": "http://127.0.0.1:9", "jupyterhub": true}"#;
        assert_eq!(
            ask(&api, "POST", "/api/routes/user/a%20b", "", body)
                .await
                .0,
            201
        );
        let (status, text) = ask(&api, "GET", "/api/routes/user/a%20b/", "", "").await;
        assert_eq!(status, 200);
        assert!(
            text.starts_with(
                r#"{"z":1,"target":"http://127.0.0.1:9","jupyterhub":true,"last_activity":"20"#
            ),
            "{text}"
        );
        let (_, all) = ask(&api, "GET", "/api/routes/", "", "").await;
        assert_eq!(all, format!(r#"{{"/user/a b":{text}}}"#));
        assert_eq!(
            ask(&api, "DELETE", "/api/routes/user/a%20b", "", "")
                .await
                .0,
            204
        );
        assert_eq!(
            ask(&api, "DELETE", "/api/routes/user/a%20b", "", "")
                .await
                .0,
            404
        );
        assert_eq!(
            ask(&api, "GET", "/api/routes/user/a%20b", "", "").await,
            (404, String::new())
        );
    }

    #[tokio::test]
    async fn mistakes_are_named() {
        let api = api(None);
        for (method, path, body, expected) in [
            ("POST", "/api/routes/a", "", 400),
            ("POST", "/api/routes/a", "{", 400),
            ("POST", "/api/routes/a", "null", 400),
            ("POST", "/api/routes/a", "[1]", 400),
            ("POST", "/api/routes/a", r#"{"target": 1}"#, 400),
            ("POST", "/api/routes/a", r#"{"target": "nonsense"}"#, 400),
            (
                "POST",
                "/api/routes/%FF",
                r#"{"target": "http://h:1"}"#,
                400,
            ),
            ("PUT", "/api/routes/a", "", 405),
            ("GET", "/api/other", "", 404),
            ("GET", "/api/routesx", "", 404),
            ("GET", "/api/routes?inactive_since=yesterday", "", 400),
            ("GET", "/api/routes?inactive_since=", "", 200),
        ] {
            let (status, text) = ask(&api, method, path, "", body).await;
            assert_eq!(status, expected, "{method} {path} {body}: {text}");
            assert!(!text.is_empty(), "{method} {path} {body}");
        }
        assert_eq!(api.book.count(), 0);
    }

    #[tokio::test]
    async fn a_body_that_never_fits_is_refused() {
        let api = api(None);
        let body = "x".repeat(LONGEST_BODY + 1);
        assert_eq!(ask(&api, "POST", "/api/routes/a", "", &body).await.0, 413);
    }
}
