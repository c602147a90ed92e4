//! A request's way in, from top to bottom: is it proper, where does it go, who asks, and what if that fails.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_LANGUAGE, CONNECTION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue,
};
use http::{Method, Request, Response, StatusCode, Uri, Version, request};
use hyper::body::Incoming;

use crate::body::Body;
use crate::connection::Connection;
use crate::forward;
use crate::forwarded::{self, Inbound};
use crate::hub::NoAnswer;
use crate::pages::{self, ErrorContext, ErrorReason};
use crate::path;
use crate::request_id::{self, RequestId};
use crate::serve::Core;
use crate::served::Served;
use crate::table::Entry;

/// The path that tells whether the gateway lives, as configurable-http-proxy has it.
const HEALTH_PATH: &str = "/_chp_healthz";

/// Answers one request of a client.
pub(crate) async fn answer(
    core: Rc<Core>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Served> {
    let busy = connection.busy();
    // What follows a wish for another protocol is not watched, so HTTP ends there either way.
    let last = request.headers().contains_key(http::header::UPGRADE);
    let mut response = route(&core, &connection, request).await;
    if last && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| body.keeping(busy))
}

async fn route(
    core: &Rc<Core>,
    connection: &Connection,
    mut request: Request<Incoming>,
) -> Response<Served> {
    let upgrade = forward::take_upgrade(&mut request);
    let (mut head, body) = request.into_parts();
    let id = RequestId::new();
    let host = match check(&mut head) {
        Ok(host) => host,
        Err(reason) => return fail(core, Failure::new(reason, &head, id)).await,
    };
    if head.uri.path() == HEALTH_PATH {
        return health();
    }
    forward::strip_connection_headers(&mut head.headers);
    let inbound = Inbound {
        peer: connection.peer,
        secure: false,
        host: &host,
        upgrade: upgrade.is_some(),
    };
    let client = forwarded::rewrite(&mut head.headers, inbound, &core.config.trusted_proxies);

    if let Some(id) = id.header_value() {
        head.headers.insert(request_id::HEADER, id);
    }

    if let Some(entry) = core.parts.table.find(&host, head.uri.path()) {
        return forward::forward(core, entry, head, body, upgrade, id).await;
    }

    let failure = Failure::new(ErrorReason::HubFailed, &head, id);
    let mut request = Request::from_parts(head, Body::incoming(body));
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(id);
    match core.hub.call(request).await {
        Ok(mut response) => {
            forward::strip_connection_headers(response.headers_mut());
            response.map(Served::body)
        }
        Err(NoAnswer::Panicked) => fail(core, failure).await,
        Err(NoAnswer::Ended) => {
            let reason = ErrorReason::HubEnded;
            fail(core, Failure { reason, ..failure }).await
        }
    }
}

/// Checks what the HTTP library does not, brings the URL into one form, and gives the host.
fn check(head: &mut request::Parts) -> Result<String, ErrorReason> {
    if matches!(head.method, Method::CONNECT | Method::TRACE) {
        return Err(ErrorReason::MethodNotAllowed);
    }
    // A request with a whole URL in its first line means that host (RFC 9112 §3.2.2).
    let authority = head
        .uri
        .authority()
        .map(|authority| authority.as_str().to_owned());
    let host = single_host(&head.headers, head.version)?;
    let host = match authority {
        Some(authority) => {
            let value = HeaderValue::from_str(&authority).map_err(|_| ErrorReason::BadRequest)?;
            head.headers.insert(HOST, value);
            authority
        }
        None => host,
    };
    let may_be_absent = host.is_empty() && head.version == Version::HTTP_10;
    if !may_be_absent && !is_host(&host) {
        return Err(ErrorReason::BadRequest);
    }
    if !head.uri.path().starts_with('/') {
        return Err(ErrorReason::BadRequest);
    }
    let resolved = path::resolve_dots(head.uri.path());
    let same = head.uri.authority().is_none() && resolved == head.uri.path();
    if !same {
        let text = match head.uri.query() {
            Some(query) => format!("{resolved}?{query}"),
            None => resolved.into_owned(),
        };
        head.uri = Uri::try_from(text).map_err(|_| ErrorReason::BadRequest)?;
    }
    Ok(host)
}

/// The one `Host` that HTTP/1.1 demands (RFC 9112 §3.2); HTTP/1.0 may go without.
fn single_host(headers: &HeaderMap, version: Version) -> Result<String, ErrorReason> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host
            .to_str()
            .map(str::to_owned)
            .map_err(|_| ErrorReason::BadRequest),
        (None, _) if version == Version::HTTP_10 => Ok(String::new()),
        _ => Err(ErrorReason::BadRequest),
    }
}

/// Whether a text can be a host with or without a port: no path, user name, space or list.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%~".contains(&byte))
}

fn health() -> Response<Served> {
    let mut response = Response::new(Served::body(Body::from(r#"{"status":"OK"}"#)));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A request that cannot be served, with what its error page needs; cheap, as every request makes one.
pub(crate) struct Failure {
    pub(crate) reason: ErrorReason,
    /// The route, if one was found.
    pub(crate) entry: Option<Arc<Entry>>,
    id: RequestId,
    uri: Uri,
    wants_json: bool,
    languages: Option<HeaderValue>,
    cookies: Option<HeaderValue>,
}

impl Failure {
    pub(crate) fn new(reason: ErrorReason, head: &request::Parts, id: RequestId) -> Self {
        Self {
            reason,
            entry: None,
            id,
            uri: head.uri.clone(),
            wants_json: pages::wants_json(&head.uri, &head.headers),
            languages: head.headers.get(ACCEPT_LANGUAGE).cloned(),
            cookies: head.headers.get(COOKIE).cloned(),
        }
    }

    fn context(self) -> ErrorContext {
        let text = |value: Option<HeaderValue>| {
            value
                .as_ref()
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
                .to_owned()
        };
        ErrorContext {
            reason: self.reason,
            route: self.entry.map(|entry| entry.route.spec.clone()),
            path_and_query: self
                .uri
                .path_and_query()
                .map(|whole| whole.as_str().to_owned())
                .unwrap_or_default(),
            wants_json: self.wants_json,
            languages: text(self.languages),
            cookies: text(self.cookies),
            request_id: self.id.to_string(),
        }
    }
}

/// Answers with an error page.
pub(crate) async fn fail(core: &Core, failure: Failure) -> Response<Served> {
    let id = failure.id;
    let status = failure.reason.status();
    let context = failure.context();
    // Programs get our JSON, and broken requests no work.
    let rendered = if context.wants_json || status.is_client_error() {
        None
    } else {
        core.hub.render(context.clone()).await
    };
    let page = rendered.unwrap_or_else(|| pages::plain(&context));
    let mut response = own(status, page.body, id);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, page.content_type);
    // After a request that was not understood, nobody knows what the next bytes are.
    if status.is_client_error() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the gateway's own, without anything that a client of another protocol would not understand.
pub(crate) fn own(status: StatusCode, body: Bytes, id: RequestId) -> Response<Served> {
    let mut response = Response::new(Served::body(Body::full(body)));
    *response.status_mut() = status;
    if let Some(id) = id.header_value() {
        response.headers_mut().insert(request_id::HEADER, id);
    }
    response
}
