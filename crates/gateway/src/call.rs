//! Small requests of Lyceum's own, such as those to another proxy's API: a connection for each, the whole answer in
//! memory. The traffic of people never goes this way; that is the pool's.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use lyceum_certs::ClientTls;
use lyceum_core::Upstream;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::socket::Socket;

/// Asks upstreams, one request on each connection.
#[derive(Debug, Clone, Default)]
pub struct HttpClient {
    tls: Option<ClientTls>,
}

/// Why a request of our own got no answer.
#[derive(Debug, Error)]
pub enum CallError {
    /// The connection could not be made.
    #[error("could not connect to {target}")]
    Connect {
        /// The upstream.
        target: Upstream,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The upstream did not give a proper answer.
    #[error("{target} gave no proper answer")]
    Exchange {
        /// The upstream.
        target: Upstream,
        /// What is wrong.
        #[source]
        source: hyper::Error,
    },
    /// The answer broke off, or is longer than was allowed.
    #[error("the answer of {target} could not be read to its end")]
    Answer {
        /// The upstream.
        target: Upstream,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("{target} did not answer within {limit:?}")]
    Late {
        /// The upstream.
        target: Upstream,
        /// How long it was waited for.
        limit: Duration,
    },
    /// An `https` upstream, and nothing to speak TLS with.
    #[error("{0} wants TLS, and none is set up")]
    NoTls(Upstream),
}

impl HttpClient {
    /// A client that speaks TLS to `https` upstreams, if it is told how.
    pub fn new(tls: Option<ClientTls>) -> Self {
        Self { tls }
    }

    /// Sends a request whose URL is a path, and gives the answer if it is there within `limit`, with at most
    /// `longest` bytes of body. `Host` is added. May be dropped at any time.
    pub async fn call(
        &self,
        target: &Upstream,
        mut request: Request<Bytes>,
        limit: Duration,
        longest: usize,
    ) -> Result<Response<Bytes>, CallError> {
        if let Ok(host) = HeaderValue::try_from(host_of(target)) {
            request.headers_mut().entry(HOST).or_insert(host);
        }
        tokio::time::timeout(limit, self.exchange(target, request, longest))
            .await
            .unwrap_or_else(|_| {
                Err(CallError::Late {
                    target: target.clone(),
                    limit,
                })
            })
    }

    async fn exchange(
        &self,
        target: &Upstream,
        request: Request<Bytes>,
        longest: usize,
    ) -> Result<Response<Bytes>, CallError> {
        let failed = |source| CallError::Connect {
            target: target.clone(),
            source,
        };
        match target {
            Upstream::Tcp { host, port } => {
                let stream = Socket::connect_tcp(host, *port).await.map_err(failed)?;
                ask(stream, target, request, longest).await
            }
            Upstream::Unix(path) => {
                let stream = Socket::connect_unix(path).await.map_err(failed)?;
                ask(stream, target, request, longest).await
            }
            Upstream::Owned { path, uid } => {
                let stream = Socket::connect_owned(path, *uid).await.map_err(failed)?;
                ask(stream, target, request, longest).await
            }
            Upstream::OwnedTcp { port, uid } => {
                let stream = Socket::connect_owned_tcp(*port, *uid).await;
                ask(stream.map_err(failed)?, target, request, longest).await
            }
            // Only people's requests go to users' servers.
            Upstream::Internal { .. } => Err(CallError::NoTls(target.clone())),
            Upstream::Tls { host, port } => {
                let Some(tls) = &self.tls else {
                    return Err(CallError::NoTls(target.clone()));
                };
                let name = ServerName::try_from(host.clone())
                    .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                let stream = Socket::connect_tcp(host, *port).await.map_err(failed)?;
                let stream = TlsConnector::from(tls.config().clone())
                    .connect(name, stream)
                    .await
                    .map_err(failed)?;
                Box::pin(ask(stream, target, request, longest)).await
            }
        }
    }
}

/// Speaks HTTP on a connection; what drives it ends with the answer.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    target: &Upstream,
    request: Request<Bytes>,
    longest: usize,
) -> Result<Response<Bytes>, CallError> {
    let failed = |source| CallError::Exchange {
        target: target.clone(),
        source,
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async {
        let answer = sender
            .send_request(request.map(Full::new))
            .await
            .map_err(failed)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, longest)
            .collect()
            .await
            .map_err(|source| CallError::Answer {
                target: target.clone(),
                source,
            })?
            .to_bytes();
        Ok(Response::from_parts(head, body))
    });
    tokio::select! {
        answer = &mut answer => return answer,
        _ = &mut connection => {}
    }
    // The connection has ended, and what it has read is there.
    answer.await
}

/// `Host` as a browser would send it.
fn host_of(target: &Upstream) -> String {
    let (host, port, usual) = match target {
        Upstream::Tcp { host, port } => (host.as_str(), *port, 80),
        Upstream::OwnedTcp { port, .. } => (Upstream::OWNED_HOST, *port, 80),
        Upstream::Tls { host, port } | Upstream::Internal { host, port, .. } => {
            (host.as_str(), *port, 443)
        }
        Upstream::Unix(_) | Upstream::Owned { .. } => return "localhost".to_owned(),
    };
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    if port == usual {
        host
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn get() -> Request<Bytes> {
        Request::get("/a?b=c").body(Bytes::new()).unwrap()
    }

    async fn ask_one_that_says(
        answer: &'static str,
    ) -> (Result<Response<Bytes>, CallError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Upstream::Tcp {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let serving = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        };
        let client = HttpClient::default();
        tokio::join!(client.call(&target, get(), LIMIT, 16), serving)
    }

    #[tokio::test]
    async fn an_answer_is_read_with_its_head_and_body() {
        let (answer, asked) = ask_one_that_says(
            "HTTP/1.1 201 Created\r\nx-it: works\r\ncontent-length: 3\r\n\r\nabc",
        )
        .await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["x-it"], "works");
        assert_eq!(answer.body().as_ref(), b"abc");
        assert!(asked.starts_with("GET /a?b=c HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: 127.0.0.1:"), "{asked}");
    }

    #[tokio::test]
    async fn answers_that_are_too_long_or_broken_are_errors() {
        let (answer, _) = ask_one_that_says("HTTP/1.1 200 OK\r\n\r\n12345678901234567").await;
        assert!(
            matches!(answer, Err(CallError::Answer { .. })),
            "{answer:?}"
        );
        let (answer, _) =
            ask_one_that_says("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123").await;
        assert!(
            matches!(answer, Err(CallError::Answer { .. })),
            "{answer:?}"
        );
        let (answer, _) = ask_one_that_says("nonsense\r\n\r\n").await;
        assert!(
            matches!(answer, Err(CallError::Exchange { .. })),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn an_upstream_that_says_nothing_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Upstream::Tcp {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let limit = Duration::from_millis(50);
        let answer = HttpClient::default().call(&target, get(), limit, 16).await;
        assert!(matches!(answer, Err(CallError::Late { .. })), "{answer:?}");
    }
}
