//! HTTP/2 with a client: the library splits the streams, and each is a request like any other.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::answer;
use crate::body::{Body, BodyError};
use crate::buffer::{CHUNK, Inbox};
use crate::chunks::Chunks;
use crate::client::Client;
use crate::config::GatewayConfig;
use crate::exchange::{self, NoReply, Reply};
use crate::front::{self, Failure, Verdict};
use crate::head::{Facts, Field, Length, RequestHead, is_hop_by_hop, with_answer};
use crate::hub::NoAnswer;
use crate::limit::Slot;
use crate::pages::ErrorReason;
use crate::plan::{Admitted, Peer, Plan};
use crate::pool::Link;
use crate::request_id::RequestId;
use crate::serve::{Core, LocalTasks};
use crate::socket::Socket;
use crate::table::Entry;
use crate::tunnel::End;
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
    let service = {
        let core = Rc::clone(&core);
        service_fn(move |request| {
            let core = Rc::clone(&core);
            let slot = Rc::clone(&slot);
            async move { Ok::<_, Infallible>(Box::pin(answer(core, peer, slot, request)).await) }
        })
    };
    let connection = core
        .h2
        .serve_connection(TokioIo::new(Rewound { inbox, io }), service);
    let mut connection = std::pin::pin!(connection);
    let outcome = tokio::select! {
        outcome = &mut connection => outcome,
        () = core.draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(client.addr = ?peer.addr, error = %error, "a connection ended with an error");
    }
}

/// A socket from which something was read already.
struct Rewound {
    inbox: Inbox,
    io: Socket,
}

impl AsyncRead for Rewound {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.inbox.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buffer);
        }
        let count = this.inbox.data().len().min(buffer.remaining());
        buffer.put_slice(this.inbox.data().get(..count).unwrap_or_default());
        this.inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// Answers one request.
async fn answer(
    core: Rc<Core>,
    peer: Peer,
    slot: Rc<Slot>,
    request: Request<Incoming>,
) -> Response<Streamed> {
    let counts = &core.parts.counts;
    counts.requests.fetch_add(1, Ordering::Relaxed);
    let response = route(&core, peer, slot, request).await;
    counts.answered(response.status().as_u16());
    response
}

async fn route(
    core: &Rc<Core>,
    peer: Peer,
    slot: Rc<Slot>,
    mut request: Request<Incoming>,
) -> Response<Streamed> {
    let tunnel = match request.method() {
        &Method::CONNECT => match request.extensions().get::<Protocol>() {
            // RFC 8441: a WebSocket, or another protocol that begins with an upgrade in HTTP/1.1.
            Some(protocol) => Some(protocol.as_str().to_owned()),
            None => {
                let failure = Failure::unknown(ErrorReason::MethodNotAllowed);
                return front::fail(core, failure).await.map(Streamed::body);
            }
        },
        _ => None,
    };
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
    let mut verdict = decide(core, &head, peer, &length, tunnel.as_deref(), None);
    if let Verdict::Ask(visit) = verdict {
        verdict = match core.hub.admit(*visit).await {
            Ok(admitted) => decide(
                core,
                &head,
                peer,
                &length,
                tunnel.as_deref(),
                Some(&admitted),
            ),
            Err(response) => Verdict::Answer(Box::new(response)),
        };
    }
    drop(head);
    match verdict {
        Verdict::Answer(response) => clean(*response).map(Streamed::body),
        Verdict::Fail(failure) => front::fail(core, *failure).await.map(Streamed::body),
        Verdict::Forward(plan) => match upgrade {
            None => forward(core, plan, body, &length).await,
            Some(upgrade) => switch(core, plan, slot, upgrade).await,
        },
        Verdict::Hub(request) => ask_hub(core, *request, body).await,
        // Asked once, the gate has answered.
        Verdict::Ask(_) => own(StatusCode::FORBIDDEN),
    }
}

/// Shows a request to `front`, as if it had come by HTTP/1.1.
fn decide(
    core: &Core,
    head: &http::request::Parts,
    peer: Peer,
    length: &Length,
    tunnel: Option<&str>,
    admitted: Option<&Admitted>,
) -> Verdict {
    let bad = || Verdict::Fail(Box::new(Failure::unknown(ErrorReason::BadRequest)));
    let mut fields = Vec::with_capacity(head.headers.len() + 4);
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    let named = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    // Two views of the host are one too many (RFC 9113 §8.3.1).
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
    if let Some(protocol) = tunnel {
        key = websocket_key();
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
        method: if tunnel.is_some() {
            "GET"
        } else {
            head.method.as_str()
        },
        target,
        minor: 1,
        fields: &fields,
    };
    match Facts::of_request(&head) {
        Ok(facts) => front::decide(core, head, facts, peer, length, admitted),
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

/// The key that HTTP/1.1 wants of a WebSocket and HTTP/2 does not have (RFC 8441 §5). It protects nobody here.
fn websocket_key() -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(RequestId::new().as_str())
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
    let response = front::fail(core, Failure::of_plan(reason, &plan)).await;
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
    let mut response = Response::new(());
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| {
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
        answer::passed_on(&plan, &head, &facts, |name, value| insert(name, &value));
        let told = answer::told_length(&head)
            .filter(|_| !matches!(length, Length::Chunked(_) | Length::UntilClose));
        if let Some(told) = told.filter(|_| status != 204) {
            insert("content-length", told);
        }
    });
    link.inbox.consume(head);
    let success = status < 300;
    let mut body = Streamed::upstream(FromUpstream {
        core: Rc::clone(core),
        plan,
        link: Some(link),
        length,
        close,
        success,
        upload: Some(upload),
    });
    if let Source::Upstream(upstream) = &mut body.0
        && upstream.is_complete()
    {
        upstream.finish();
    }
    response.map(|()| body)
}

/// Begins another protocol on a stream (RFC 8441).
async fn switch(
    core: &Rc<Core>,
    plan: Box<Plan>,
    slot: Rc<Slot>,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Response<Streamed> {
    core.parts.counts.upgrades.fetch_add(1, Ordering::Relaxed);
    let mut none = NoUpload;
    let reason = match exchange::ask(core, &plan, &mut none).await {
        Ok(reply) if reply.status == 101 => {
            return join(core, plan, slot, upgrade, reply);
        }
        Ok(reply) => return refused(core, plan, reply),
        Err(NoReply::ClientGone) => return own(StatusCode::BAD_REQUEST),
        Err(NoReply::Reason(reason)) => reason,
    };
    core.report(&plan.entry, reason);
    front::own(reason.status(), Bytes::new(), plan.id).map(Streamed::body)
}

fn refused(core: &Rc<Core>, plan: Box<Plan>, reply: Reply) -> Response<Streamed> {
    let Reply {
        mut link,
        status,
        head,
        length,
        ..
    } = reply;
    link.inbox.consume(head);
    let mut response = own(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY));
    *response.body_mut() = Streamed::upstream(FromUpstream {
        core: Rc::clone(core),
        plan,
        link: Some(link),
        length,
        close: true,
        success: false,
        upload: None,
    });
    response
}

fn join(
    core: &Rc<Core>,
    plan: Box<Plan>,
    slot: Rc<Slot>,
    upgrade: hyper::upgrade::OnUpgrade,
    reply: Reply,
) -> Response<Streamed> {
    let Reply { mut link, head, .. } = reply;
    let mut response = own(StatusCode::OK);
    let bytes = link.inbox.data().get(..head).unwrap_or_default();
    let _ = with_answer(bytes, |head, _| {
        let Ok(facts) = Facts::of_answer(&head) else {
            return;
        };
        answer::passed_on(&plan, &head, &facts, |name, value| {
            // The answer to our own key means nothing to the client.
            if name.eq_ignore_ascii_case("sec-websocket-accept") {
                return;
            }
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_bytes(&value),
            ) {
                response.headers_mut().append(name, value);
            }
        });
    });
    link.inbox.consume(head);
    let entry: Arc<Entry> = Arc::clone(&plan.entry);
    let task_core = Rc::clone(core);
    core.clients.spawn_local(async move {
        let Ok(client) = upgrade.await else { return };
        let Link { io, mut inbox } = link;
        let client = End {
            socket: TokioIo::new(client),
            early: Bytes::new(),
        };
        let upstream = End {
            early: inbox.take_all().into(),
            socket: io,
        };
        task_core.join_tunnel(entry, client, upstream, slot).await;
    });
    response
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
            let response = front::fail(core, failure.because(reason)).await;
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

/// The body of a request that has none.
struct NoUpload;

impl crate::upload::Upload for NoUpload {
    fn poll_bytes(
        &mut self,
        _cx: &mut Context<'_>,
        _core: &Core,
    ) -> Poll<Result<bool, crate::upload::UploadError>> {
        Poll::Ready(Ok(false))
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }

    fn advance(&mut self, _count: usize) {}

    fn is_done(&self) -> bool {
        true
    }

    fn is_absent(&self) -> bool {
        true
    }

    fn poll_gone(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The body of an answer to a client.
pub(crate) struct Streamed(Source);

enum Source {
    Body(Body),
    Upstream(Box<FromUpstream>),
}

impl Streamed {
    fn body(body: Body) -> Self {
        Self(Source::Body(body))
    }

    fn upstream(body: FromUpstream) -> Self {
        Self(Source::Upstream(Box::new(body)))
    }
}

/// The body of an upstream's answer. Dropped before its end, it closes the connection to the upstream.
struct FromUpstream {
    core: Rc<Core>,
    plan: Box<Plan>,
    link: Option<Link>,
    length: Length,
    close: bool,
    success: bool,
    /// What is still to be sent while the answer comes.
    upload: Option<StreamUpload>,
}

impl FromUpstream {
    fn is_complete(&self) -> bool {
        self.link.is_none()
            || match &self.length {
                Length::Bytes(left) => *left == 0,
                Length::Chunked(chunks) => chunks.is_done(),
                Length::UntilClose => false,
            }
    }

    fn finish(&mut self) {
        let Some(link) = self.link.take() else { return };
        if self.success {
            self.plan.entry.touch(self.core.parts.clock.now());
        }
        if !self.close {
            self.core.pool.give_back(self.plan.entry.target_id, link);
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if self.is_complete() {
                let trailers = match &self.length {
                    Length::Chunked(chunks) if self.link.is_some() => trailers(chunks.trailers()),
                    _ => None,
                };
                self.finish();
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let Some(link) = &mut self.link else {
                return Poll::Ready(None);
            };
            if let Some(upload) = &mut self.upload
                && exchange::poll_rest(cx, &self.core, &self.plan, link, upload).is_ready()
            {
                self.upload = None;
            }
            let waiting = link.inbox.data();
            if !waiting.is_empty() {
                let (consumed, data) = match &mut self.length {
                    Length::Bytes(left) => {
                        let count = usize::try_from(*left)
                            .map_or(waiting.len(), |left| left.min(waiting.len()));
                        *left -= count as u64;
                        (count, waiting.get(..count).unwrap_or_default())
                    }
                    Length::UntilClose => (waiting.len(), waiting),
                    Length::Chunked(chunks) => match chunks.step(waiting) {
                        Ok(step) => (step.consumed, step.data),
                        Err(offence) => {
                            self.link = None;
                            return Poll::Ready(Some(Err(BodyError::new(offence.0))));
                        }
                    },
                };
                let data = Bytes::copy_from_slice(data);
                link.inbox.consume(consumed);
                if data.is_empty() {
                    continue;
                }
                if matches!(self.length, Length::Bytes(0)) {
                    self.finish();
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match ready!(link.inbox.poll_fill(cx, &mut link.io, CHUNK)) {
                Ok(count) if count > 0 => {}
                Ok(_) if self.length == Length::UntilClose => {
                    self.close = true;
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(_) | Err(_) => {
                    self.link = None;
                    return Poll::Ready(Some(Err(BodyError::new("the upstream broke it off"))));
                }
            }
        }
    }
}

fn trailers(lines: &[u8]) -> Option<HeaderMap> {
    let mut map = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        if let (Some(name), Some(value)) = (parts.next(), parts.next())
            && let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name),
                HeaderValue::from_bytes(value.trim_ascii()),
            )
        {
            map.append(name, value);
        }
    }
    (!map.is_empty()).then_some(map)
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Source::Body(body) => Pin::new(body).poll_frame(cx),
            Source::Upstream(body) => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Body(body) => body.is_end_stream(),
            Source::Upstream(body) => body.link.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Body(body) => body.size_hint(),
            Source::Upstream(body) => match body.length {
                Length::Bytes(left) => SizeHint::with_exact(left),
                Length::Chunked(_) | Length::UntilClose => SizeHint::default(),
            },
        }
    }
}
