//! Forwarding to an upstream: connection headers, retries, bodies both ways, and upgrades.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Version, request, response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::body::Body;
use crate::connection::ClientIo;
use crate::front::{self, Failure};
use crate::pages::ErrorReason;
use crate::pool::{BodyFate, ConnectError, RequestBody, Sender};
use crate::request_id::RequestId;
use crate::serve::Core;
use crate::served::{Finish, Served, Upstreamed};
use crate::socket::Socket;
use crate::table::Entry;
use crate::tunnel::{self, End};

/// A client's wish to speak another protocol.
pub(crate) struct UpgradeWish {
    protocol: HeaderValue,
    client: OnUpgrade,
}

/// Takes the wish for another protocol out of a request, if it is one that can be tunnelled.
///
/// HTTP/2 on a clear connection (`h2c`) is not: through such a tunnel a client would reach paths of the
/// upstream that the routes do not give it.
pub(crate) fn take_upgrade(request: &mut Request<Incoming>) -> Option<UpgradeWish> {
    let client = request.extensions_mut().remove::<OnUpgrade>();
    let headers = request.headers();
    let protocol = headers.get(UPGRADE)?.clone();
    let wanted = names(headers, &CONNECTION).any(|name| name.eq_ignore_ascii_case("upgrade"));
    let clear_http2 = protocol
        .to_str()
        .ok()?
        .split(',')
        .any(|name| name.trim().to_ascii_lowercase().starts_with("h2"));
    let proper = wanted && !clear_http2 && request.version() == Version::HTTP_11;
    proper
        .then(|| {
            Some(UpgradeWish {
                protocol,
                client: client?,
            })
        })
        .flatten()
}

/// The words of a list header.
fn names<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

/// Removes the headers that are between two neighbours only (RFC 9110 §7.6.1).
///
/// `TE: trailers` stays, as trailers pass. `Transfer-Encoding` stays too: the HTTP library replaces it,
/// and takes from it that a request has a body.
pub(crate) fn strip_connection_headers(headers: &mut HeaderMap) {
    const OTHERS: [HeaderName; 5] = [
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
        UPGRADE,
        EXPECT,
    ];
    if headers.contains_key(CONNECTION) {
        let listed: Vec<HeaderName> = names(headers, &CONNECTION)
            .filter_map(|name| HeaderName::try_from(name).ok())
            .filter(|name| ![HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TE].contains(name))
            .collect();
        for name in listed {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    for name in OTHERS {
        headers.remove(name);
    }
    if headers.contains_key(TE) {
        let trailers = names(headers, &TE).any(|name| name.eq_ignore_ascii_case("trailers"));
        headers.remove(TE);
        if trailers {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Sends a request to its upstream and gives the answer, or an error page.
pub(crate) async fn forward(
    core: &Rc<Core>,
    entry: Arc<Entry>,
    mut head: request::Parts,
    body: Incoming,
    upgrade: Option<UpgradeWish>,
    id: RequestId,
) -> Response<Served> {
    let mut failure = Failure::new(ErrorReason::UpstreamClosed, &head, id);
    failure.entry = Some(Arc::clone(&entry));
    head.version = Version::HTTP_11;
    head.headers
        .entry(HOST)
        .or_insert(HeaderValue::from_static("localhost"));
    if let Some(wish) = &upgrade {
        head.headers
            .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, wish.protocol.clone());
    }
    let is_upgrade = upgrade.is_some();
    match exchange(core, &entry, head, body, is_upgrade).await {
        Ok((_, response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            match upgrade {
                Some(wish) => switch(core, entry, wish, response),
                None => fail(core, &entry, ErrorReason::UpstreamBadAnswer, failure).await,
            }
        }
        Ok((sender, response)) => {
            let sender = (!is_upgrade).then_some(sender);
            pass_on(core, &entry, sender, response)
        }
        Err(reason) if is_upgrade => {
            report(core, &entry, reason);
            front::own(reason.status(), Bytes::new(), id)
        }
        Err(reason) => fail(core, &entry, reason, failure).await,
    }
}

async fn fail(
    core: &Core,
    entry: &Entry,
    reason: ErrorReason,
    mut failure: Failure,
) -> Response<Served> {
    report(core, entry, reason);
    failure.reason = reason;
    front::fail(core, failure).await
}

/// Tells the hub that an upstream may have died.
fn report(core: &Core, entry: &Entry, reason: ErrorReason) {
    if matches!(
        reason,
        ErrorReason::UpstreamUnreachable
            | ErrorReason::UpstreamTimeout
            | ErrorReason::UpstreamClosed
    ) {
        core.parts.events.upstream_failed(&entry.route.spec);
    }
}

/// Sends the request, a second time on a new connection if the first one was closed meanwhile.
async fn exchange(
    core: &Core,
    entry: &Arc<Entry>,
    head: request::Parts,
    body: Incoming,
    upgrade: bool,
) -> Result<(Sender, Response<Incoming>), ErrorReason> {
    let fate = Rc::new(Cell::new(BodyFate::Untouched));
    let body = (!body.is_end_stream()).then_some(body);
    let repeatable = body.is_none() && is_idempotent(&head.method);
    let with_body = |body| {
        let clock = Arc::clone(&core.parts.clock);
        RequestBody::new(body, Arc::clone(entry), clock, Rc::clone(&fate))
    };
    let pooled = (!upgrade)
        .then(|| core.pool.take(entry.target_id, repeatable))
        .flatten();
    let request = match pooled {
        None => Request::from_parts(head, with_body(body)),
        Some(mut sender) => {
            let spare = repeatable.then(|| head.clone());
            let request = Request::from_parts(head, with_body(body));
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match (error.take_message(), spare) {
                    // Nothing of it was sent.
                    (Some(request), _) => request,
                    // Nothing of an answer has come, and asking twice does no harm.
                    (None, Some(spare)) if !error.error().is_parse() => {
                        Request::from_parts(spare, with_body(None))
                    }
                    (None, _) => return Err(judge(error.error(), fate.get(), entry)),
                },
            }
        }
    };
    let mut sender = core.pool.connect(entry.target()).await.map_err(|error| {
        tracing::debug!(
            route = %entry.route.spec,
            upstream = %entry.target(),
            error = %error,
            source = std::error::Error::source(&error).map(tracing::field::display),
            "no connection to an upstream"
        );
        match error {
            ConnectError::Timeout { .. } => ErrorReason::UpstreamTimeout,
            _ => ErrorReason::UpstreamUnreachable,
        }
    })?;
    match sender.send_request(request).await {
        Ok(response) => Ok((sender, response)),
        Err(error) => Err(judge(&error, fate.get(), entry)),
    }
}

fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    )
}

/// Tells whose fault it is that there is no answer.
fn judge(error: &hyper::Error, fate: BodyFate, entry: &Entry) -> ErrorReason {
    let reason = if fate == BodyFate::Broken {
        ErrorReason::BadRequest
    } else if fate == BodyFate::TimedOut {
        ErrorReason::RequestTimeout
    } else if error.is_parse() {
        ErrorReason::UpstreamBadAnswer
    } else {
        ErrorReason::UpstreamClosed
    };
    tracing::debug!(
        route = %entry.route.spec,
        upstream = %entry.target(),
        error = %error,
        "no answer from an upstream"
    );
    reason
}

/// Passes an answer on to the client; the connection returns to the pool after its end.
fn pass_on(
    core: &Rc<Core>,
    entry: &Arc<Entry>,
    sender: Option<Sender>,
    response: Response<Incoming>,
) -> Response<Served> {
    let (mut head, body) = response.into_parts();
    clean_answer(&mut head);
    let finish = Finish {
        core: Rc::clone(core),
        entry: Arc::clone(entry),
        sender,
        success: head.status.as_u16() < 300,
    };
    Response::from_parts(head, Served::upstream(Upstreamed::new(body, finish)))
}

fn clean_answer(head: &mut response::Parts) {
    strip_connection_headers(&mut head.headers);
    if head.headers.remove(TRANSFER_ENCODING).is_some() {
        head.headers.remove(CONTENT_LENGTH);
    }
    head.version = Version::HTTP_11;
}

/// Joins both sides after an upgrade.
fn switch(
    core: &Rc<Core>,
    entry: Arc<Entry>,
    wish: UpgradeWish,
    mut response: Response<Incoming>,
) -> Response<Served> {
    let upstream = hyper::upgrade::on(&mut response);
    let clock = Arc::clone(&core.parts.clock);
    // The tunnel is waited for in a drain, and ended by the end of the thread's runtime.
    core.clients.spawn_local(async move {
        let (Ok(client), Ok(upstream)) = (wish.client.await, upstream.await) else {
            return;
        };
        let (Ok(client), Ok(upstream)) = (
            client.downcast::<ClientIo>(),
            upstream.downcast::<TokioIo<Socket>>(),
        ) else {
            tracing::error!("an upgraded connection is not one of the gateway's");
            return;
        };
        // The connection counts as long as the tunnel stays.
        let (socket, _slot) = client.io.into_inner().into_socket();
        let client = End {
            socket,
            early: client.read_buf,
        };
        let upstream = End {
            socket: upstream.io.into_inner(),
            early: upstream.read_buf,
        };
        let ended = tunnel::run(client, upstream, || entry.touch(clock.now())).await;
        if let Err(error) = ended {
            tracing::trace!(route = %entry.route.spec, error = %error, "a tunnel broke off");
        }
    });
    let (mut head, _) = response.into_parts();
    let protocol = head.headers.get(UPGRADE).cloned();
    clean_answer(&mut head);
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(UPGRADE, protocol);
    }
    Response::from_parts(head, Served::body(Body::empty()))
}
