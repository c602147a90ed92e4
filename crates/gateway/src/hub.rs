//! The hub as the gateway sees it: a service that is called in process, on the hub's own runtime.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::body::{Body, BodyError, Piece};
use crate::gate::{Admission, Gate, Visit};
use crate::pages::{ErrorContext, ErrorPage, ErrorPages};
use crate::plan::Admitted;

/// How long an error page may take to render before the plain one is sent.
const RENDER_LIMIT: Duration = Duration::from_secs(2);
/// How long the gate may take to decide.
const GATE_LIMIT: Duration = Duration::from_secs(30);
/// How many pieces of an answer may wait for a slow client.
const FRAMES_AHEAD: usize = 8;

/// Answers every request that no route covers.
///
/// Called on the runtime that was given with it, never on the gateway's threads. A call is dropped when
/// its client goes away. The request carries a [`ClientInfo`] among its extensions.
#[async_trait]
pub trait HubService: Send + Sync + 'static {
    /// Answers one request; a panic becomes an answer with status 500.
    async fn call(&self, request: Request<Body>) -> Response<Body>;
}

/// Who asks, as far as trusted proxies tell; an extension of every request to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client's address; `None` if it is unknown, as on a Unix socket.
    pub addr: Option<IpAddr>,
    /// The scheme that the browser used: `http` or `https`.
    pub scheme: &'static str,
    /// The host that the browser used, with its port if it is not the scheme's.
    pub host: String,
}

/// Calls the hub on its runtime, and owns the calls.
#[derive(Clone)]
pub(crate) struct HubCaller {
    pub(crate) service: Arc<dyn HubService>,
    pub(crate) pages: Arc<dyn ErrorPages>,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) runtime: Handle,
    pub(crate) calls: TaskTracker,
}

/// Why the hub gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// It panicked; the panic was logged by the runtime.
    Panicked,
    /// Its runtime is shutting down.
    Ended,
}

impl HubCaller {
    pub(crate) async fn call(&self, request: Request<Body>) -> Result<Response<Body>, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let service = Arc::clone(&self.service);
        let task = self.calls.spawn_on(
            async move { answer_on_hub(&*service, request, answer).await },
            &self.runtime,
        );
        let guard = AbortOnDrop(task.abort_handle());
        if let Ok(response) = answered.await {
            return Ok(response.map(|body| match body {
                Answer::Whole(body) => body,
                Answer::Streamed(pieces) => Body::new(CallBody {
                    body: Body::channel(pieces),
                    _call: guard,
                }),
            }));
        }
        Err(match task.await {
            Err(error) if error.is_panic() => NoAnswer::Panicked,
            _ => NoAnswer::Ended,
        })
    }

    /// Asks the gate; an error is what the visitor gets instead of being let in.
    pub(crate) async fn admit(&self, visit: Visit) -> Result<Admitted, Response<Body>> {
        let gate = Arc::clone(&self.gate);
        let task = self
            .calls
            .spawn_on(async move { gate.admit(visit).await }, &self.runtime);
        let _guard = AbortOnDrop(task.abort_handle());
        match tokio::time::timeout(GATE_LIMIT, task).await {
            Ok(Ok(Admission::Enter {
                headers,
                hide_cookies,
            })) => Ok(Admitted {
                headers,
                hide_cookies,
            }),
            Ok(Ok(Admission::Answer(response))) => Err(response),
            Ok(Err(_)) | Err(_) => {
                let mut refusal = Response::new(Body::from(
                    "It could not be found out who may enter. Try again.",
                ));
                *refusal.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                Err(refusal)
            }
        }
    }

    /// Renders an error page on the hub's runtime; `None` if it cannot, or not in time.
    pub(crate) async fn render(&self, context: ErrorContext) -> Option<ErrorPage> {
        let pages = Arc::clone(&self.pages);
        let task = self
            .calls
            .spawn_on(async move { pages.render(&context).await }, &self.runtime);
        let _guard = AbortOnDrop(task.abort_handle());
        tokio::time::timeout(RENDER_LIMIT, task)
            .await
            .ok()?
            .ok()
            .flatten()
    }
}

enum Answer {
    Whole(Body),
    Streamed(mpsc::Receiver<Piece>),
}

/// Runs on the hub's runtime until the last piece of the body has gone.
///
/// The body is read here too: what produces it is hub code, and may be slow or panic like any other.
async fn answer_on_hub(
    service: &dyn HubService,
    request: Request<Body>,
    answer: oneshot::Sender<Response<Answer>>,
) {
    let (head, mut body) = service.call(request).await.into_parts();
    if body.is_end_stream() {
        let _ = answer.send(Response::from_parts(head, Answer::Whole(Body::empty())));
        return;
    }
    // A body of known size is in memory: its one piece goes with the head, and needs no channel. Of any
    // other body the head goes ahead, as the first piece may be long in coming.
    let first = match body.size_hint().exact() {
        Some(_) => body.frame().await,
        None => None,
    };
    let first = match first {
        Some(Ok(frame)) if body.is_end_stream() && frame.is_data() => {
            let whole = Body::full(frame.into_data().unwrap_or_default());
            let _ = answer.send(Response::from_parts(head, Answer::Whole(whole)));
            return;
        }
        first => first,
    };
    let (sender, pieces) = mpsc::channel(FRAMES_AHEAD);
    if answer
        .send(Response::from_parts(head, Answer::Streamed(pieces)))
        .is_err()
    {
        return;
    }
    if let Some(frame) = first
        && sender.send(Piece::Frame(frame)).await.is_err()
    {
        return;
    }
    while let Some(frame) = body.frame().await {
        if sender.send(Piece::Frame(frame)).await.is_err() {
            return;
        }
    }
    let _ = sender.send(Piece::End).await;
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body whose producer is ended with it.
struct CallBody {
    body: Body,
    _call: AbortOnDrop,
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
