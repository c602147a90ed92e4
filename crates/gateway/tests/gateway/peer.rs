//! Upstreams that are closures.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lyceum_core::Upstream;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;

use crate::support::{AnyBody, full};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
pub(crate) type AnyStream = Box<dyn Stream>;

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> AnyStream {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                Box::new(stream)
            }
            Self::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
        }
    }
}

/// A program behind the gateway.
pub(crate) struct Peer {
    pub(crate) target: Upstream,
    pub(crate) connections: Arc<AtomicUsize>,
    tasks: JoinSet<()>,
}

impl Peer {
    /// Gives each connection, with its number, to the closure.
    pub(crate) async fn raw<F, A>(handler: F) -> Self
    where
        F: Fn(AnyStream, usize) -> A + Clone + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = tcp(listener.local_addr().unwrap().port());
        Self::serve(target, Listener::Tcp(listener), handler)
    }

    pub(crate) fn raw_unix<F, A>(path: &Path, handler: F) -> Self
    where
        F: Fn(AnyStream, usize) -> A + Clone + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = UnixListener::bind(path).unwrap();
        Self::serve(
            Upstream::Unix(path.to_owned()),
            Listener::Unix(listener),
            handler,
        )
    }

    fn serve<F, A>(target: Upstream, listener: Listener, handler: F) -> Self
    where
        F: Fn(AnyStream, usize) -> A + Clone + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let stream = listener.accept().await;
                open.spawn(handler(stream, count.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self {
            target,
            connections,
            tasks,
        }
    }

    /// Answers requests with the closure.
    pub(crate) async fn http<F, A>(handler: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<AnyBody>> + Send + 'static,
    {
        Self::raw(move |stream, _| {
            let handler = handler.clone();
            async move {
                let service = hyper::service::service_fn(move |request| {
                    let answer = handler(request);
                    async move { Ok::<_, std::convert::Infallible>(answer.await) }
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        })
        .await
    }

    /// Answers with what it was asked: the request line, then the headers, sorted.
    pub(crate) async fn echo() -> Self {
        Self::http(|request| async move {
            let (head, body) = request.into_parts();
            let mut lines: Vec<String> = head
                .headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            lines.sort();
            let Ok(body) = body.collect().await else {
                return Response::new(full("the body broke off"));
            };
            let trailers = format!("{:?}", body.trailers());
            let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
            let text = format!(
                "{} {}\n{}\n\n{body}\n{trailers}",
                head.method,
                head.uri,
                lines.join("\n")
            );
            Response::new(full(text))
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Stops listening and closes every connection.
    pub(crate) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }
}

pub(crate) fn tcp(port: u16) -> Upstream {
    Upstream::Tcp {
        host: "127.0.0.1".to_owned(),
        port,
    }
}

/// A target where nobody listens.
pub(crate) async fn dead() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tcp(listener.local_addr().unwrap().port())
}
