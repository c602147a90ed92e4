//! HTTP/2 with a client: the library splits the streams, and each is a request like any other.

mod answer;
mod rewound;
mod tunnel;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY,
};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use self::answer::{FromUpstream, Streamed};
use self::rewound::Rewound;
use crate::body::Body;
use crate::buffer::CHUNK;
use crate::chunks::Chunks;
use crate::client::Client;
use crate::config::GatewayConfig;
use crate::exchange::{self, NoReply, Reply};
use crate::failure::{self, Failure};
use crate::front::{self, Known, Verdict};
use crate::head::{Facts, Field, Length, RequestHead, is_hop_by_hop, is_token, with_answer};
use crate::hub::NoAnswer;
use crate::limit::Slot;
use crate::pages::ErrorReason;
use crate::patience::Patience;
use crate::plan::{Peer, Plan};
use crate::request_id::RequestId;
use crate::serve::{Core, LocalTasks};
use crate::squeeze;
use crate::upload::StreamUpload;

/// Streams that we have reset because of the client's mistakes, after which the connection ends.
const MISTAKES: usize = 128;
/// What a client may send of one body before it is read, and of all bodies of its connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Prepares the HTTP library as the configuration wants it.
pub(crate) fn builder(config: &GatewayConfig, tasks: LocalTasks) -> http2::Builder<LocalTasks> {
    let mut builder = http2::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .enable_connect_protocol()
        .max_concurrent_streams(config.h2_max_streams)
        .max_pending_accept_reset_streams(config.h2_max_resets as usize)
        .max_local_error_reset_streams(MISTAKES)
        .max_header_list_size(config.h2_max_header_list_bytes)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(CHUNK)
        // A client that has gone without a word is found out.
        .keep_alive_interval(config.idle_timeout.get())
        .keep_alive_timeout(config.send_timeout.get());
    builder
}

/// Serves a client until its connection ends, or a drain lets it go.
pub(crate) async fn serve(core: Rc<Core>, client: Client) {
    let Client {
        io,
        inbox,
        peer,
        slot,
        ..
    } = client;
    let slot = Rc::new(slot);
    let peer = Rc::new(peer);
    let streams = Rc::new(Streams::default());
    let service = {
        let (core, streams) = (Rc::clone(&core), Rc::clone(&streams));
        let peer = Rc::clone(&peer);
        service_fn(move |request| {
            let core = Rc::clone(&core);
            let slot = Rc::clone(&slot);
            let peer = Rc::clone(&peer);
            let stream = Streams::begin(&streams);
            async move {
                Ok::<_, Infallible>(Box::pin(respond(core, peer, slot, stream, request)).await)
            }
        })
    };
    let connection = core
        .h2
        .serve_connection(TokioIo::new(Rewound { inbox, io }), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = streams.unused(&core) => {
            connection.as_mut().graceful_shutdown();
            let limit = core.config.send_timeout.get();
            Patience::within(limit, connection).await.unwrap_or(Ok(()))
        }
        // Before the first request, there is nothing to finish.
        () = core.draining.cancelled() => {
            if !streams.any.get() {
                return;
            }
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(client.addr = ?peer.addr, error = %error, "a connection ended with an error");
    }
}

/// The streams of one connection.
#[derive(Debug)]
struct Streams {
    open: Cell<usize>,
    /// There was one.
    any: Cell<bool>,
    /// When the last one ended; before the first, when the connection began.
    since: Cell<Instant>,
    /// Who waits for the next one.
    watcher: RefCell<Option<Waker>>,
    /// Answers of upstreams that are on their way.
    answers: RefCell<Vec<Weak<RefCell<FromUpstream>>>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            open: Cell::new(0),
            any: Cell::new(false),
            since: Cell::new(Instant::now()),
            watcher: RefCell::default(),
            answers: RefCell::default(),
        }
    }
}

/// One stream, while it is open.
#[derive(Debug, Clone)]
pub(crate) struct OpenStream(Rc<OpenGuard>);

#[derive(Debug)]
struct OpenGuard(Rc<Streams>);

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.since.set(Instant::now());
    }
}

impl OpenStream {
    /// Has an answer given up when its client takes nothing of it.
    fn watch(&self, answer: &Rc<RefCell<FromUpstream>>) {
        self.0.0.answers.borrow_mut().push(Rc::downgrade(answer));
    }
}

impl Streams {
    fn begin(streams: &Rc<Self>) -> OpenStream {
        streams.open.set(streams.open.get() + 1);
        streams.any.set(true);
        if let Some(watcher) = streams.watcher.take() {
            watcher.wake();
        }
        OpenStream(Rc::new(OpenGuard(Rc::clone(streams))))
    }

    /// Ready when nothing was asked for in time. Meanwhile, answers that nobody takes lose what they hold.
    async fn unused(&self, core: &Core) {
        const LOOK: Duration = Duration::from_secs(1);
        let config = &core.config;
        let send = config.send_timeout.get();
        loop {
            self.answers.borrow_mut().retain(|answer| {
                answer.upgrade().is_some_and(|answer| {
                    answer.borrow_mut().give_up_after(send);
                    true
                })
            });
            let limit = if self.any.get() {
                config.idle_timeout.get()
            } else {
                config.header_timeout.get()
            };
            let (pause, over) = if self.open.get() > 0 {
                (send.min(LOOK), false)
            } else {
                let left = limit.saturating_sub(self.since.get().elapsed());
                (left.min(limit), left.is_zero())
            };
            if over {
                return;
            }
            let busy = self.open.get() > 0;
            let begins = poll_fn(|cx| {
                if !busy && self.open.get() > 0 {
                    return Poll::Ready(());
                }
                *self.watcher.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            });
            let _ = Patience::within(pause, begins).await;
        }
    }
}

/// Answers one request.
async fn respond(
    core: Rc<Core>,
    peer: Rc<Peer>,
    slot: Rc<Slot>,
    stream: OpenStream,
    request: Request<Incoming>,
) -> Response<Streamed> {
    let counts = &core.parts.counts;
    let counted = request.uri().path() != front::HEALTH_PATH;
    let mut response = route(&core, &peer, slot, &stream, request).await;
    if counted {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        counts.answered(response.status().as_u16());
    }
    if peer.says_hsts
        && let Some(age) = core.config.hsts
        && let Ok(value) = HeaderValue::from_str(&format!("max-age={}", age.get().as_secs()))
    {
        response
            .headers_mut()
            .insert(STRICT_TRANSPORT_SECURITY, value);
    }
    response.map(|body| body.of(stream))
}

async fn route(
    core: &Rc<Core>,
    peer: &Peer,
    slot: Rc<Slot>,
    stream: &OpenStream,
    mut request: Request<Incoming>,
) -> Response<Streamed> {
    let mut tunnel = None;
    if request.method() == Method::CONNECT {
        // RFC 8441: a WebSocket, or another protocol that begins with an upgrade in HTTP/1.1.
        let Some(protocol) = request.extensions().get::<Protocol>() else {
            let failure = Failure::unknown(ErrorReason::MethodNotAllowed);
            return failure::fail(core, failure).await.map(Streamed::body);
        };
        // The library lets any text pass, and it is written into a head of HTTP/1.1.
        let is_name = |byte: u8| is_token(byte) || byte == b'/';
        if protocol.as_str().is_empty() || !protocol.as_str().bytes().all(is_name) {
            let failure = Failure::unknown(ErrorReason::BadRequest);
            return failure::fail(core, failure).await.map(Streamed::body);
        }
        tunnel = Some(protocol.as_str().to_owned());
    }
    let upgrade = tunnel.is_some().then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let length = if tunnel.is_some() || body.is_end_stream() {
        Length::Bytes(0)
    } else {
        // The library holds the body to its announced length.
        match body.size_hint().exact() {
            Some(bytes) => Length::Bytes(bytes),
            None => Length::Chunked(Chunks::new()),
        }
    };
    let mut known = Known::default();
    let mut verdict = decide(core, &head, peer, &length, tunnel.as_deref(), &known);
    if let Verdict::Ask(visit) = verdict {
        let site = visit.site.clone();
        verdict = match core.hub.admit(*visit).await {
            Ok(admitted) => {
                known.admitted = Some((site, admitted));
                decide(core, &head, peer, &length, tunnel.as_deref(), &known)
            }
            Err(response) => Verdict::Answer(Box::new(response)),
        };
    }
    if let Verdict::File(file) = verdict {
        if let Some(response) = front::answer_file(core, &file).await {
            verdict = Verdict::Answer(Box::new(response));
        } else {
            known.no_file = true;
            verdict = decide(core, &head, peer, &length, tunnel.as_deref(), &known);
        }
    }
    drop(head);
    match verdict {
        Verdict::Answer(response) | Verdict::Health(response) => {
            clean(*response).map(Streamed::body)
        }
        Verdict::Fail(failure) => failure::fail(core, *failure).await.map(Streamed::body),
        Verdict::Forward(plan) => match upgrade {
            None => forward(core, plan, body, &length).await,
            Some(upgrade) => {
                let held = (slot, stream.clone());
                tunnel::switch(core, plan, held, upgrade).await
            }
        },
        Verdict::Hub(request) => ask_hub(core, *request, body).await,
        Verdict::Folder(folder) => {
            clean(front::answer_folder(core, *folder).await).map(Streamed::body)
        }
        // Neither comes a second time.
        Verdict::Ask(_) | Verdict::File(_) => own(StatusCode::FORBIDDEN),
    }
}

/// Shows a request to `front`, as if it had come by HTTP/1.1.
fn decide(
    core: &Core,
    head: &http::request::Parts,
    peer: &Peer,
    length: &Length,
    protocol: Option<&str>,
    known: &Known,
) -> Verdict {
    let bad = || Verdict::Fail(Box::new(Failure::unknown(ErrorReason::BadRequest)));
    let mut fields = Vec::with_capacity(head.headers.len() + 4);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    // Two views of the host are one too many (RFC 9113 §8.3.1).
    if head.headers.get_all(HOST).iter().count() > 1 {
        return bad();
    }
    if let (Some(authority), Some(named)) = (authority, named)
        && !authority.eq_ignore_ascii_case(named)
    {
        return bad();
    }
    let Some(host) = authority.or(named) else {
        return bad();
    };
    fields.push(Field {
        name: "host",
        value: host.as_bytes(),
    });
    // Browsers may send each cookie in a field of its own; HTTP/1.1 has one (RFC 9113 §8.2.3).
    let cookies = joined_cookies(&head.headers);
    for (name, value) in &head.headers {
        if *name != HOST && *name != CONTENT_LENGTH && !(cookies.is_some() && *name == COOKIE) {
            fields.push(Field {
                name: name.as_str(),
                value: value.as_bytes(),
            });
        }
    }
    if let Some(cookies) = &cookies {
        fields.push(Field {
            name: "cookie",
            value: cookies,
        });
    }
    let key;
    if let Some(protocol) = protocol {
        key = tunnel::websocket_key();
        for (name, value) in [("connection", "Upgrade"), ("upgrade", protocol)] {
            fields.push(Field {
                name,
                value: value.as_bytes(),
            });
        }
        if protocol.eq_ignore_ascii_case("websocket") {
            fields.push(Field {
                name: "sec-websocket-key",
                value: key.as_bytes(),
            });
        }
    }
    if fields.len() > core.config.max_headers.into() {
        return Verdict::Fail(Box::new(Failure::unknown(ErrorReason::HeadTooLarge)));
    }
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    if target.len() > core.config.max_uri_bytes as usize {
        return Verdict::Fail(Box::new(Failure::unknown(ErrorReason::TargetTooLong)));
    }
    let head = RequestHead {
        method: if protocol.is_some() {
            "GET"
        } else {
            head.method.as_str()
        },
        target,
        minor: 1,
        fields: &fields,
    };
    match Facts::of_request(&head) {
        Ok(facts) => front::decide(core, head, facts, peer, length, known),
        Err(_) => bad(),
    }
}

fn joined_cookies(headers: &HeaderMap) -> Option<Vec<u8>> {
    let all = headers.get_all(COOKIE);
    let mut all = all.iter().map(HeaderValue::as_bytes);
    let (first, second) = (all.next()?, all.next()?);
    let mut joined = [first, second].join(&b"; "[..]);
    for cookie in all {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie);
    }
    Some(joined)
}

async fn forward(
    core: &Rc<Core>,
    plan: Box<Plan>,
    body: Incoming,
    length: &Length,
) -> Response<Streamed> {
    let most = plan
        .entry
        .site
        .as_ref()
        .and_then(|site| site.limits.max_body);
    let mut upload = StreamUpload::new(body, length, most);
    let reason = match exchange::ask(core, &plan, &mut upload).await {
        Ok(reply) if reply.status != 101 => return pass_on(core, plan, reply, upload),
        Ok(_) => ErrorReason::UpstreamBadAnswer,
        Err(NoReply::ClientGone) => return own(StatusCode::BAD_REQUEST),
        Err(NoReply::Reason(reason)) => reason,
    };
    core.report(&plan.entry, reason);
    let response = failure::fail(core, Failure::of_plan(reason, &plan)).await;
    response.map(Streamed::body)
}

fn pass_on(
    core: &Rc<Core>,
    plan: Box<Plan>,
    reply: Reply,
    upload: StreamUpload,
) -> Response<Streamed> {
    let Reply {
        mut link,
        status,
        head,
        length,
        close,
    } = reply;
    let squeezed = squeeze::plan(core, &plan, &link, head, &length);
    let mut response = Response::new(());
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| {
        if squeezed.is_some() {
            return;
        }
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let headers = response.headers_mut();
        headers.reserve(head.fields.len());
        let Ok(facts) = Facts::of_answer(&head) else {
            return;
        };
        let mut insert = |name: &str, value: &[u8]| {
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(value),
            ) {
                headers.append(name, value);
            }
        };
        crate::answer::passed_on(&plan, &head, &facts, |name, value| insert(name, &value));
        let told = crate::answer::told_length(&head)
            .filter(|_| !matches!(length, Length::Chunked(_) | Length::UntilClose));
        if let Some(told) = told.filter(|_| status != 204) {
            insert("content-length", told);
        }
    });
    link.inbox.consume(head);
    let mut encoder = None;
    if let Some(squeezed) = squeezed {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        *response.headers_mut() = squeezed.headers;
        encoder = Some(squeezed.encoder);
    }
    let success = status < 300;
    if plan.acts && success {
        plan.entry.touch_action(core.parts.clock.now());
    }
    let body = Streamed::upstream(FromUpstream {
        core: Rc::clone(core),
        plan,
        link: Some(link),
        length,
        close,
        success,
        upload: Some(upload),
        encoder,
        given: Some(Instant::now()),
        given_up: false,
    });
    response.map(|()| body)
}

/// Hands a request to the hub, and passes its answer on.
async fn ask_hub(core: &Core, request: Request<()>, body: Incoming) -> Response<Streamed> {
    let id = request.extensions().get::<RequestId>().copied();
    let failure = Failure::of_request(
        ErrorReason::HubFailed,
        &request,
        id.unwrap_or_else(RequestId::new),
    );
    match core.hub.call(request.map(|()| Body::incoming(body))).await {
        Ok(response) => clean(response).map(Streamed::body),
        Err(no_answer) => {
            let reason = match no_answer {
                NoAnswer::Panicked => ErrorReason::HubFailed,
                NoAnswer::Ended => ErrorReason::HubEnded,
            };
            let response = failure::fail(core, failure.because(reason)).await;
            response.map(Streamed::body)
        }
    }
}

/// Takes away what HTTP/2 does not know.
fn clean(mut response: Response<Body>) -> Response<Body> {
    let names: Vec<HeaderName> = response
        .headers()
        .keys()
        .filter(|name| is_hop_by_hop(name.as_str()))
        .cloned()
        .collect();
    for name in names {
        response.headers_mut().remove(name);
    }
    response
}

fn own(status: StatusCode) -> Response<Streamed> {
    let mut response = Response::new(Streamed::body(Body::empty()));
    *response.status_mut() = status;
    response
}
