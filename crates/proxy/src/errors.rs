//! Pages for errors: from a server that makes them, from a folder, or our own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_KEY};
use http::{Request, Response, StatusCode};
use lyceum_gateway::{Body, ErrorContext, ErrorPage, ErrorPages, HttpClient, HubService};

use crate::target::{Target, TargetError};

/// How long the server of error pages may take for a request that no route covers.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it may take while the gateway waits, which gives up after two seconds.
const SHORT_PATIENCE: Duration = Duration::from_millis(1_700);
/// The longest page.
const LONGEST_PAGE: usize = 4 * 1024 * 1024;

/// Where error pages come from.
#[derive(Debug, Clone, Default)]
pub enum ErrorPageSource {
    /// Plain pages of our own.
    #[default]
    Own,
    /// A folder with `404.html`, `503.html` and so on, and `error.html` for all others.
    Folder(PathBuf),
    /// A server that is asked for `CODE?url=…` below its URL.
    Server {
        /// Where it is.
        target: Target,
        /// What it is asked by.
        client: HttpClient,
    },
}

impl ErrorPageSource {
    /// A server with an URL such as `http://127.0.0.1:8081/hub/error`.
    pub fn server(url: &str, client: HttpClient) -> Result<Self, TargetError> {
        let target = url.parse()?;
        Ok(Self::Server { target, client })
    }

    /// Gives the page; `url` is what was asked for, path and query.
    async fn page(&self, status: StatusCode, url: &str, patience: Duration) -> ErrorPage {
        let found = match self {
            Self::Own => return own(status),
            Self::Folder(folder) => from_folder(folder.clone(), status).await,
            Self::Server { target, client } => {
                from_server(target, client, status, url, patience).await
            }
        };
        found.unwrap_or_else(|reason| {
            tracing::error!("no page for the error {}: {reason}", status.as_u16());
            plain(status)
        })
    }
}

/// Renders the gateway's own errors.
#[derive(Debug, Clone)]
pub struct Failures(pub ErrorPageSource);

#[async_trait]
impl ErrorPages for Failures {
    async fn render(&self, context: &ErrorContext) -> Option<ErrorPage> {
        let status = context.reason.status();
        Some(
            self.0
                .page(status, &context.path_and_query, SHORT_PATIENCE)
                .await,
        )
    }
}

/// Answers what no route covers: with status 404.
#[derive(Debug, Clone)]
pub struct Unrouted(pub ErrorPageSource);

#[async_trait]
impl HubService for Unrouted {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let status = StatusCode::NOT_FOUND;
        // Who wants to speak another protocol reads no page (the wish itself does not come as far as this).
        if request.headers().contains_key(SEC_WEBSOCKET_KEY) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = status;
            return response;
        }
        let url = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let page = self.0.page(status, url, PATIENCE).await;
        let mut response = Response::new(Body::from(page.body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, page.content_type);
        response
    }
}

async fn from_server(
    target: &Target,
    client: &HttpClient,
    status: StatusCode,
    url: &str,
    patience: Duration,
) -> Result<ErrorPage, String> {
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("url", url)
        .finish();
    let request = Request::get(format!("{}/{}?{query}", target.path, status.as_u16()))
        .body(Bytes::new())
        .map_err(|error| error.to_string())?;
    let answer = client
        .call(&target.upstream, request, patience, LONGEST_PAGE)
        .await
        .map_err(|error| chain(&error))?;
    if let Some(encoding) = answer.headers().get(CONTENT_ENCODING) {
        return Err(format!(
            "the server of error pages has encoded it ({encoding:?}), unasked"
        ));
    }
    let content_type = answer.headers().get(CONTENT_TYPE).cloned();
    Ok(ErrorPage {
        content_type: content_type.unwrap_or(HeaderValue::from_static("text/html")),
        body: answer.into_body(),
    })
}

async fn from_folder(folder: PathBuf, status: StatusCode) -> Result<ErrorPage, String> {
    let reading = tokio::task::spawn_blocking(move || {
        let names = [format!("{}.html", status.as_u16()), "error.html".to_owned()];
        let mut reason = String::new();
        for name in names {
            match read_page(&folder.join(name)) {
                Ok(page) => return Ok(page),
                Err(error) => reason = error,
            }
        }
        Err(reason)
    });
    let body = tokio::time::timeout(SHORT_PATIENCE, reading)
        .await
        .map_err(|_| "its file could not be read in time".to_owned())?
        .map_err(|error| error.to_string())??;
    Ok(ErrorPage {
        content_type: HeaderValue::from_static("text/html"),
        body: body.into(),
    })
}

fn read_page(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// A page of our own, without anything of what was asked for in it.
fn own(status: StatusCode) -> ErrorPage {
    let code = status.as_u16();
    let (title, text) = match code {
        404 => ("Nothing here", "No program is registered for this address."),
        503 => (
            "Not running",
            "The program behind this address does not answer.",
        ),
        _ => (
            status.canonical_reason().unwrap_or("Error"),
            "The request could not be served.",
        ),
    };
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{code}: {title}</title>\n</head>\n<body>\n<h1>{code}: {title}</h1>\n<p>{text}</p>\n</body>\n</html>\n"
    );
    ErrorPage {
        content_type: HeaderValue::from_static("text/html; charset=utf-8"),
        body: body.into(),
    }
}

/// What is left if there is no page: the name of the status.
fn plain(status: StatusCode) -> ErrorPage {
    ErrorPage {
        content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
        body: status.canonical_reason().unwrap_or("Error").into(),
    }
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn text(source: &ErrorPageSource, code: u16) -> String {
        let status = StatusCode::from_u16(code).unwrap();
        let page = source
            .page(status, "/a?b=c d", Duration::from_millis(200))
            .await;
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_folder_gives_the_page_of_the_code_or_that_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let source = ErrorPageSource::Folder(folder.path().to_owned());
        assert_eq!(text(&source, 404).await, "Not Found");
        std::fs::write(folder.path().join("error.html"), "all").unwrap();
        std::fs::write(folder.path().join("503.html"), "dead").unwrap();
        assert_eq!(text(&source, 404).await, "all");
        assert_eq!(text(&source, 503).await, "dead");
    }

    #[tokio::test]
    async fn a_server_is_asked_for_the_code_and_told_the_url() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hub/error/", listener.local_addr().unwrap());
        let source = ErrorPageSource::server(&url, HttpClient::default()).unwrap();
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            // The status of the page is that of the page, not of the error.
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: x/y\r\ncontent-length: 4\r\n\r\nnice";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        let (page, asked) = tokio::join!(
            source.page(StatusCode::NOT_FOUND, "/a?b=c", PATIENCE),
            serving
        );
        assert_eq!(page.content_type, "x/y");
        assert_eq!(page.body.as_ref(), b"nice");
        assert!(
            asked.starts_with("GET /hub/error/404?url=%2Fa%3Fb%3Dc HTTP/1.1\r\n"),
            "{asked}"
        );
    }

    #[tokio::test]
    async fn a_server_that_is_silent_or_absent_costs_the_page_only() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/error", listener.local_addr().unwrap());
        let source = ErrorPageSource::server(&url, HttpClient::default()).unwrap();
        assert_eq!(text(&source, 503).await, "Service Unavailable");
        drop(listener);
        assert_eq!(text(&source, 503).await, "Service Unavailable");
    }

    #[tokio::test]
    async fn pages_of_our_own_name_the_code() {
        assert!(text(&ErrorPageSource::Own, 404).await.contains("<h1>404: "));
        assert!(text(&ErrorPageSource::Own, 418).await.contains("<h1>418: "));
    }
}
