//! A plain HTTP client: one connection per request, over TCP or a Unix socket, with a time limit.
//!
//! Follows no redirects and keeps no cookies: tests look at both.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a request may take, from connecting to the last byte.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a request goes, whatever its `Host` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A host and port.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// The address cannot be used.
    #[error("`{0}` is not an http address with a host")]
    Address(String),
    /// The other side cannot be reached.
    #[error("could not connect to {target:?}")]
    Connect {
        /// Where to.
        target: Target,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The request could not be made.
    #[error("the request is malformed")]
    Request(#[from] http::Error),
    /// The exchange broke off, or the answer is not HTTP.
    #[error("the exchange with {target:?} failed")]
    Exchange {
        /// With whom.
        target: Target,
        /// What hyper says.
        #[source]
        source: hyper::Error,
    },
    /// It took too long.
    #[error("{0:?} did not answer within {LIMIT:?}")]
    TimedOut(Target),
}

impl Target {
    /// The host and port of an `http://` address; port 80 if it names none.
    pub fn of(url: &Uri) -> Result<Self, HttpError> {
        let address = || HttpError::Address(url.to_string());
        if url.scheme_str() != Some("http") {
            return Err(address());
        }
        let host = url.host().ok_or_else(address)?;
        Ok(Self::Tcp(format!(
            "{host}:{}",
            url.port_u16().unwrap_or(80)
        )))
    }
}

/// Sends a request to the address that it names.
pub async fn send(request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let target = Target::of(request.uri())?;
    send_to(&target, request).await
}

/// Sends a request to a target; its address needs no more than a path then.
pub async fn send_to(
    target: &Target,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    timeout(LIMIT, exchange(target, request))
        .await
        .map_err(|_| HttpError::TimedOut(target.clone()))?
}

async fn exchange(target: &Target, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let connect = |source| HttpError::Connect {
        target: target.clone(),
        source,
    };
    match target {
        Target::Tcp(address) => {
            let stream = TcpStream::connect(address).await.map_err(connect)?;
            over(target, stream, request).await
        }
        Target::Unix(path) => {
            let stream = UnixStream::connect(path).await.map_err(connect)?;
            over(target, stream, request).await
        }
    }
}

async fn over<S>(
    target: &Target,
    stream: S,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let exchange = |source| HttpError::Exchange {
        target: target.clone(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(exchange)?;
    // Dropped, and with it the connection, when the answer is complete.
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let answer = sender
        .send_request(in_origin_form(request)?)
        .await
        .map_err(exchange)?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(exchange)?.to_bytes();
    Ok(Response::from_parts(head, body))
}

/// Moves the host of the address into the `Host` header, unless there is one already.
fn in_origin_form(request: Request<Bytes>) -> Result<Request<Full<Bytes>>, HttpError> {
    let (mut head, body) = request.into_parts();
    if !head.headers.contains_key(http::header::HOST) {
        let host = head
            .uri
            .authority()
            .map_or("localhost", |host| host.as_str());
        let host = http::HeaderValue::from_str(host).map_err(http::Error::from)?;
        head.headers.insert(http::header::HOST, host);
    }
    let path = head
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    head.uri = path.parse::<Uri>().map_err(http::Error::from)?;
    Ok(Request::from_parts(head, Full::new(body)))
}
