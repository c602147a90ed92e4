//! A request's way in, from top to bottom: is it proper, where does it go, who asks, and what if that fails.
//!
//! The same for every protocol by which a request can come: it is shown here as a [`RequestHead`], and what comes
//! out says what is to be done with it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Uri};

use crate::body::Body;
use crate::forwarded;
use crate::gate::Visit;
use crate::head::{BadHead, Facts, Field, Length, RequestHead, find, with_request};
use crate::pages::{self, ErrorContext, ErrorReason};
use crate::path;
use crate::plan::{Admitted, Asked, Peer, Plan};
use crate::request_id::{self, RequestId};
use crate::rewrite;
use crate::serve::Core;
use crate::site::{Site, SiteAction};
use crate::table::Entry;

/// The path that tells whether the gateway lives, as configurable-http-proxy has it.
const HEALTH_PATH: &str = "/_chp_healthz";

/// After how many seconds a site that is closed is worth another try.
const SITE_RETRY: u64 = 300;
/// Fields of a head that was written here, at most.
const MOST_FIELDS: usize = 4096;

/// What is to be done with a request.
pub(crate) enum Verdict {
    /// It is answered here.
    Answer(Box<Response<Body>>),
    /// It is answered with an error page.
    Fail(Box<Failure>),
    /// It goes to an upstream.
    Forward(Box<Plan>),
    /// The gate is asked first, and then this again.
    Ask(Box<Visit>),
    /// The hub answers it. The body is still to be put in.
    Hub(Box<Request<()>>),
}

/// Decides about a request. `admitted` is there if the gate has let it pass.
pub(crate) fn decide(
    core: &Core,
    head: RequestHead<'_>,
    facts: Facts<'_>,
    peer: Peer,
    length: &Length,
    admitted: Option<&Admitted>,
) -> Verdict {
    let id = RequestId::new();
    let asked = match check(head, facts, peer, id) {
        Ok(asked) => asked,
        Err(reason) => {
            return Verdict::Fail(Box::new(Failure::of(reason, head.target, head.fields, id)));
        }
    };
    if asked.path == HEALTH_PATH {
        return Verdict::Answer(Box::new(health()));
    }
    let options = &*core.parts.options;
    let trusted = &core.config.trusted_proxies;
    let fail = |reason, entry: Option<&Arc<Entry>>| {
        let mut failure = Failure::of(reason, &asked.path_and_query(), head.fields, id);
        failure.entry = entry.cloned();
        Verdict::Fail(Box::new(failure))
    };
    core.parts.counts.count_lookup();
    let found = core.parts.table.find(asked.host, &asked.path);
    if let Some(answer) = to_proper_address(core, &asked, found.as_deref()) {
        return Verdict::Answer(Box::new(answer));
    }
    let Some(entry) = found else {
        return match to_hub(core, &asked) {
            Some(request) => Verdict::Hub(Box::new(request)),
            None => fail(ErrorReason::BadRequest, None),
        };
    };
    if let Some(failure) = closed(core, &asked, &entry) {
        return Verdict::Fail(Box::new(failure));
    }
    let Some(site) = entry.site.clone() else {
        return Verdict::Forward(Box::new(
            asked.plan(entry, options, trusted, length, admitted),
        ));
    };
    if let Some(answer) = without_slash(&site, &asked) {
        return Verdict::Answer(Box::new(answer));
    }
    if let Some(message) = &site.maintenance {
        let mut failure = Failure::of(
            ErrorReason::Closed,
            &asked.path_and_query(),
            head.fields,
            id,
        );
        failure.entry = Some(entry);
        failure.message = Some(message.clone());
        failure.retry_after = Some(SITE_RETRY);
        return Verdict::Fail(Box::new(failure));
    }
    if !site.access.networks.is_empty() {
        let client = forwarded::client(head.fields, asked.inbound(), &core.config.trusted_proxies);
        if !forwarded::is_trusted(&site.access.networks, client.addr) {
            return fail(ErrorReason::Forbidden, Some(&entry));
        }
    }
    if site.access.gated && admitted.is_none() {
        return match visit(core, &asked, &site) {
            Some(visit) => Verdict::Ask(Box::new(visit)),
            None => fail(ErrorReason::BadRequest, Some(&entry)),
        };
    }
    if let (Some(most), Length::Bytes(bytes)) = (site.limits.max_body, length)
        && *bytes > most
    {
        return fail(ErrorReason::ContentTooLarge, Some(&entry));
    }
    match &site.action {
        SiteAction::Forward(_) => Verdict::Forward(Box::new(
            asked.plan(entry, options, trusted, length, admitted),
        )),
        SiteAction::Redirect { to, status } => {
            let prefix = site.spec.path_prefix();
            let target = rewrite::redirect_target(to, prefix, &asked.path_and_query());
            let target = target.unwrap_or_else(|| to.clone());
            Verdict::Answer(Box::new(redirect(Cow::Owned(target), *status)))
        }
        SiteAction::Files(_) => fail(ErrorReason::NotFound, Some(&entry)),
    }
}

/// Checks what the parsers do not, brings the URL into one form, and finds the host.
fn check<'b>(
    head: RequestHead<'b>,
    facts: Facts<'b>,
    peer: Peer,
    id: RequestId,
) -> Result<Asked<'b>, ErrorReason> {
    if matches!(head.method, "CONNECT" | "TRACE") {
        return Err(ErrorReason::MethodNotAllowed);
    }
    let text = |bytes: &'b [u8]| std::str::from_utf8(bytes).map_err(|_| ErrorReason::BadRequest);
    let named = match facts.host {
        Some(host) => text(host)?,
        None if head.minor == 0 => "",
        None => return Err(ErrorReason::BadRequest),
    };
    let (host, target) = match head.target.as_bytes() {
        [b'/', ..] => (named, head.target),
        // A request with a whole URL in its first line means that host (RFC 9112 §3.2.2).
        _ => split_url(head.target).ok_or(ErrorReason::BadRequest)?,
    };
    let may_be_absent = host.is_empty() && head.minor == 0;
    if !may_be_absent && !is_host(host) {
        return Err(ErrorReason::BadRequest);
    }
    if target.contains('#') {
        return Err(ErrorReason::BadRequest);
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let wished = facts.upgrade.is_some_and(can_be_tunnelled);
    Ok(Asked {
        head,
        facts,
        host,
        path: path::resolve_dots(path),
        query,
        peer,
        id,
        upgrade: wished && facts.connection_upgrade && head.minor == 1,
    })
}

pub(crate) fn reason(bad: BadHead) -> ErrorReason {
    match bad {
        BadHead::Malformed(text) => {
            tracing::debug!(reason = text, "refused a request");
            ErrorReason::BadRequest
        }
        BadHead::TooLarge => ErrorReason::HeadTooLarge,
        BadHead::TargetTooLong => ErrorReason::TargetTooLong,
    }
}

/// HTTP/2 on a clear connection (`h2c`) cannot be tunnelled: through such a tunnel a client would reach paths of the
/// upstream that the routes do not give it.
fn can_be_tunnelled(protocol: &[u8]) -> bool {
    !crate::head::words(protocol).any(|word| word.to_ascii_lowercase().starts_with(b"h2"))
}

/// Splits `http://host/path?query`; a URL without a path has the path `/`.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    match rest.find(['/', '?']) {
        Some(at) if rest.as_bytes().get(at) == Some(&b'/') => Some(rest.split_at(at)),
        Some(_) => None,
        None => Some((rest, "/")),
    }
}

/// Whether a text can be a host with or without a port: no path, user name, space or list.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]%~".contains(&byte))
}

fn health() -> Response<Body> {
    let mut response = Response::new(Body::from(r#"{"status":"OK"}"#));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The request as the hub gets it.
fn to_hub(core: &Core, asked: &Asked<'_>) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(asked.head.method.as_bytes()).ok()?;
    *request.uri_mut() = Uri::try_from(asked.path_and_query()).ok()?;
    *request.headers_mut() = asked.header_map(&core.parts.options);
    let client = forwarded::client(
        asked.head.fields,
        asked.inbound(),
        &core.config.trusted_proxies,
    );
    request.extensions_mut().insert(client);
    request.extensions_mut().insert(asked.id);
    Some(request)
}

fn visit(core: &Core, asked: &Asked<'_>, site: &Site) -> Option<Visit> {
    let request = to_hub(core, asked)?;
    let (parts, ()) = request.into_parts();
    Some(Visit {
        site: site.name.clone(),
        prefix: site.spec.path_prefix().to_owned(),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        client: forwarded::client(
            asked.head.fields,
            asked.inbound(),
            &core.config.trusted_proxies,
        ),
        upgrade: asked.upgrade,
    })
}

/// Sends whoever comes by another name or without encryption where they should be.
fn to_proper_address(
    core: &Core,
    asked: &Asked<'_>,
    found: Option<&Entry>,
) -> Option<Response<Body>> {
    let config = &core.config;
    if config.canonical_host.is_none() && !config.https_redirect {
        return None;
    }
    let has_own_host = found.is_some_and(|entry| entry.route.spec.host().is_some());
    if asked.host.is_empty()
        || has_own_host
        || asked.path.starts_with("/.well-known/acme-challenge/")
    {
        return None;
    }
    let client = forwarded::client(asked.head.fields, asked.inbound(), &config.trusted_proxies);
    let wanted = config
        .canonical_host
        .as_deref()
        .filter(|host| !host.eq_ignore_ascii_case(&client.host));
    let insecure = config.https_redirect && client.scheme == "http";
    if wanted.is_none() && !insecure {
        return None;
    }
    let scheme = if insecure { "https" } else { client.scheme };
    let host = config
        .canonical_host
        .as_deref()
        .unwrap_or_else(|| crate::table::without_port(&client.host));
    let to = format!("{scheme}://{host}{}", asked.path_and_query());
    Some(redirect(Cow::Owned(to), asked.moved()))
}

/// Refuses what is closed by the switch.
fn closed(core: &Core, asked: &Asked<'_>, entry: &Arc<Entry>) -> Option<Failure> {
    let switch = &core.parts.maintenance;
    if !switch.is_on() {
        return None;
    }
    let client = forwarded::client(
        asked.head.fields,
        asked.inbound(),
        &core.config.trusted_proxies,
    );
    let maintenance = switch.closed(&asked.path, client.addr)?;
    let mut failure = Failure::of(
        ErrorReason::Closed,
        &asked.path_and_query(),
        asked.head.fields,
        asked.id,
    );
    failure.entry = Some(Arc::clone(entry));
    failure.message.clone_from(&maintenance.message);
    failure.retry_after = Some(maintenance.retry_after(core.parts.clock.now()));
    Some(failure)
}

/// `/x` leads to `/x/`, where that is the prefix of a site.
fn without_slash(site: &Site, asked: &Asked<'_>) -> Option<Response<Body>> {
    let to = rewrite::missing_slash(site.spec.path_prefix(), &asked.path_and_query())?;
    let status = if matches!(asked.head.method, "GET" | "HEAD") {
        302
    } else {
        308
    };
    Some(redirect(Cow::Owned(to), status))
}

fn redirect(to: Cow<'_, str>, status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// A request that cannot be served, with what its error page needs.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: ErrorReason,
    /// The route, if one was found.
    pub(crate) entry: Option<Arc<Entry>>,
    id: RequestId,
    path_and_query: String,
    wants_json: bool,
    languages: String,
    cookies: String,
    /// What is said of it, if not the usual.
    message: Option<String>,
    /// After how many seconds it is worth another try.
    retry_after: Option<u64>,
}

impl Failure {
    pub(crate) fn of(
        reason: ErrorReason,
        target: &str,
        fields: &[Field<'_>],
        id: RequestId,
    ) -> Self {
        let text = |name: &str| {
            find(fields, name)
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .unwrap_or_default()
        };
        Self {
            reason,
            entry: None,
            id,
            wants_json: pages::wants_json(target, find(fields, "accept").unwrap_or_default()),
            path_and_query: target.to_owned(),
            languages: text("accept-language"),
            cookies: text("cookie"),
            message: None,
            retry_after: None,
        }
    }

    /// For a request of which nothing is known.
    pub(crate) fn unknown(reason: ErrorReason) -> Self {
        Self::of(reason, "", &[], RequestId::new())
    }

    /// For a request that was to go to an upstream.
    pub(crate) fn of_plan(reason: ErrorReason, plan: &Plan) -> Self {
        let found = with_request(&plan.head.0, MOST_FIELDS, |head| {
            let target = plan.original.as_deref().unwrap_or(head.target);
            Self::of(reason, target, head.fields, plan.id)
        });
        let mut failure = found.unwrap_or_else(|_| Self::unknown(reason));
        failure.entry = Some(Arc::clone(&plan.entry));
        failure
    }

    /// For a request that was to go to the hub.
    pub(crate) fn of_request<B>(reason: ErrorReason, request: &Request<B>, id: RequestId) -> Self {
        let text = |name: &str| {
            request
                .headers()
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .unwrap_or_default()
        };
        let target = request.uri().to_string();
        Self {
            reason,
            entry: None,
            id,
            wants_json: pages::wants_json(&target, text("accept").as_bytes()),
            path_and_query: target,
            languages: text("accept-language"),
            cookies: text("cookie"),
            message: None,
            retry_after: None,
        }
    }

    /// The same with another reason.
    pub(crate) fn because(self, reason: ErrorReason) -> Self {
        Self { reason, ..self }
    }

    fn context(self) -> ErrorContext {
        ErrorContext {
            reason: self.reason,
            route: self.entry.map(|entry| entry.route.spec.clone()),
            path_and_query: self.path_and_query,
            wants_json: self.wants_json,
            languages: self.languages,
            cookies: self.cookies,
            request_id: self.id.to_string(),
            message: self.message,
            retry_after: self.retry_after,
        }
    }
}

/// Makes the answer with an error page.
pub(crate) async fn fail(core: &Core, failure: Failure) -> Response<Body> {
    let id = failure.id;
    let reason = failure.reason;
    let status = reason.status();
    let retry_after = failure.retry_after;
    let context = failure.context();
    // Programs get our JSON, and broken requests no work.
    let worth_a_page = status.is_server_error()
        || matches!(
            reason,
            ErrorReason::ContentTooLarge | ErrorReason::Forbidden | ErrorReason::NotFound
        );
    let for_all = core.parts.options.error_pages_for_all;
    let rendered = if !for_all && (context.wants_json || !worth_a_page) {
        None
    } else {
        core.hub.render(context.clone()).await
    };
    let page = rendered.unwrap_or_else(|| pages::plain(&context));
    let mut response = own(status, page.body, id);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, page.content_type);
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Whether nobody knows, after an error, what the next bytes of the client mean.
pub(crate) fn ends_connection(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::BadRequest
            | ErrorReason::RequestTimeout
            | ErrorReason::MethodNotAllowed
            | ErrorReason::HeadTooLarge
            | ErrorReason::TargetTooLong
            | ErrorReason::ContentTooLarge
    )
}

/// An answer of the gateway's own.
pub(crate) fn own(status: StatusCode, body: Bytes, id: RequestId) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    if let Some(id) = id.header_value() {
        response.headers_mut().insert(request_id::HEADER, id);
    }
    response
}
