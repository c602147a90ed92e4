//! A request's way in, from top to bottom: is it proper, where does it go, who asks, and what if that fails.
//!
//! The same for every protocol by which a request can come: it is shown here as a [`RequestHead`], and what comes
//! out says what is to be done with it.

mod challenge;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri};
use lyceum_certs::HTTP_CHALLENGE_PATH;
use percent_encoding::{CONTROLS, utf8_percent_encode};

use crate::body::Body;
use crate::failure::{Failure, fail};
use crate::files::{ChallengeFile, FileFolder, StaticFile, StaticRequest};
use crate::forwarded;
use crate::gate::Visit;
use crate::head::{BadHead, Facts, Length, RequestHead};
use crate::origin::{Arrival, proper_origin};
use crate::pages::ErrorReason;
use crate::path;
use crate::plan::{Admitted, Asked, Peer, Plan};
use crate::request_id::RequestId;
use crate::rewrite;
use crate::serve::Core;
use crate::site::{Site, SiteAction};
use crate::table::Entry;

/// The path that tells whether the gateway lives, as configurable-http-proxy has it.
pub(crate) const HEALTH_PATH: &str = "/_chp_healthz";

/// After how many seconds a site that is closed is worth another try.
const SITE_RETRY: u64 = 300;

/// What is to be done with a request.
pub(crate) enum Verdict {
    /// It asked whether the gateway lives, which counts as no request.
    Health(Box<Response<Body>>),
    /// It is answered here.
    Answer(Box<Response<Body>>),
    /// It is answered with an error page.
    Fail(Box<Failure>),
    /// It goes to an upstream.
    Forward(Box<Plan>),
    /// The gate is asked first, and then this again.
    Ask(Box<Visit>),
    /// It is answered with a file, if that can be read; else this again.
    File(Box<FileWanted>),
    /// It is answered with a file of a site's folder.
    Folder(Box<FolderRequest>),
    /// The hub answers it. The body is still to be put in.
    Hub(Box<Request<()>>),
}

/// What was found out about a request that is decided about again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The gate of the site of this name has let it pass.
    pub(crate) admitted: Option<(String, Admitted)>,
    /// There is no file to answer it with.
    pub(crate) no_file: bool,
}

/// A file that may answer a request.
pub(crate) enum FileWanted {
    /// One of the environment of a user's server.
    Static(StaticFile, Request<()>),
    /// One that another program has written for an authority.
    Challenge(ChallengeFile),
}

/// A request for a file in the folder of a site.
pub(crate) struct FolderRequest {
    site: Arc<Site>,
    below: String,
    request: Request<()>,
    id: RequestId,
}

/// Decides about a request.
pub(crate) fn decide(
    core: &Core,
    head: RequestHead<'_>,
    facts: Facts<'_>,
    peer: &Peer,
    length: &Length,
    known: &Known,
) -> Verdict {
    let id = RequestId::new();
    let asked = match check(head, facts, peer, id) {
        Ok(asked) => asked,
        Err(reason) => {
            return Verdict::Fail(Box::new(Failure::of(reason, head.target, head.fields, id)));
        }
    };
    if asked.path == HEALTH_PATH {
        return Verdict::Health(Box::new(health()));
    }
    if asked.path.starts_with(HTTP_CHALLENGE_PATH)
        && let Some(verdict) = challenge::verdict(core, &asked, known)
    {
        return verdict;
    }
    let admission = known.admitted.as_ref();
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
        if let Some(file) = file(core, &asked, &entry).filter(|_| !known.no_file) {
            return Verdict::File(Box::new(FileWanted::Static(file.0, file.1)));
        }
        return forward(asked.plan(entry, options, trusted, length, None), peer);
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
    if site.access.client_certificate && peer.certificate.is_none() {
        return fail(ErrorReason::NoCertificate, Some(&entry));
    }
    // What the gate has said of another site, which was here a moment ago, counts for nothing.
    let admitted = admission
        .filter(|(name, _)| *name == site.name)
        .map(|(_, admitted)| admitted);
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
        SiteAction::Forward(_) => {
            forward(asked.plan(entry, options, trusted, length, admitted), peer)
        }
        SiteAction::Redirect { to, status } => {
            let prefix = site.spec.path_prefix();
            let target = rewrite::redirect_target(to, prefix, &asked.path_and_query());
            let target = target.unwrap_or_else(|| to.clone());
            Verdict::Answer(Box::new(redirect(&target, *status)))
        }
        SiteAction::Files(_) => match to_hub(core, &asked) {
            Some(request) => {
                let path = rewrite::strip(site.spec.path_prefix(), &asked.path);
                let below = path
                    .as_deref()
                    .unwrap_or("/")
                    .trim_start_matches('/')
                    .to_owned();
                Verdict::Folder(Box::new(FolderRequest {
                    site,
                    below,
                    request,
                    id,
                }))
            }
            None => fail(ErrorReason::BadRequest, Some(&entry)),
        },
    }
}

fn forward(plan: Plan, peer: &Peer) -> Verdict {
    let says_hsts = peer.says_hsts;
    Verdict::Forward(Box::new(Plan { says_hsts, ..plan }))
}

/// Checks what the parsers do not, brings the URL into one form, and finds the host.
fn check<'b>(
    head: RequestHead<'b>,
    facts: Facts<'b>,
    peer: &'b Peer,
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

/// Whether a text can be a host with or without a port (RFC 9110 §7.2): no path, user name, space or list.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, rest)) if !name.is_empty() => (name, rest),
            _ => return false,
        },
        None => match text.find(':') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        },
    };
    let bracketed = text.starts_with('[');
    let in_name = |byte: u8| {
        byte.is_ascii_alphanumeric() || b".-_%~".contains(&byte) || (bracketed && byte == b':')
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    !name.is_empty() && name.bytes().all(in_name) && port
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

/// Finds the file of an environment that a request is for.
fn file(core: &Core, asked: &Asked<'_>, entry: &Entry) -> Option<(StaticFile, Request<()>)> {
    if asked.upgrade || !matches!(asked.head.method, "GET" | "HEAD") {
        return None;
    }
    let file = core.parts.statics.find(&entry.route, &asked.path)?;
    Some((file, to_hub(core, asked)?))
}

/// Answers with a file; `None` if there is none, and whoever it is for has to.
pub(crate) async fn answer_file(core: &Core, wanted: &FileWanted) -> Option<Response<Body>> {
    let disk = &core.hub.runtime;
    match wanted {
        FileWanted::Static(file, request) => {
            let asked = StaticRequest {
                method: request.method(),
                headers: request.headers(),
            };
            file.respond(asked, disk).await
        }
        FileWanted::Challenge(file) => {
            let text = file.read(&core.parts.statics, disk).await?;
            Some(challenge::answer(text, file.to_head))
        }
    }
}

/// Answers with a file of a site's folder, or says that there is none.
pub(crate) async fn answer_folder(core: &Core, folder: FolderRequest) -> Response<Body> {
    let FolderRequest {
        site,
        below,
        request,
        id,
    } = folder;
    let SiteAction::Files(path) = &site.action else {
        return fail(
            core,
            Failure::of_request(ErrorReason::NotFound, &request, id),
        )
        .await;
    };
    let asked = StaticRequest {
        method: request.method(),
        headers: request.headers(),
    };
    let files = FileFolder::new(path, &core.parts.statics);
    let answer = files.respond(&below, request.uri(), asked, &core.hub.runtime);
    match answer.await {
        Some(mut response) => {
            for (name, value) in &site.response_headers {
                response.headers_mut().insert(name.clone(), value.clone());
            }
            response
        }
        None => {
            fail(
                core,
                Failure::of_request(ErrorReason::NotFound, &request, id),
            )
            .await
        }
    }
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
    if asked.host.is_empty() || asked.path.starts_with(HTTP_CHALLENGE_PATH) {
        return None;
    }
    let client = forwarded::client(asked.head.fields, asked.inbound(), &config.trusted_proxies);
    let arrival = Arrival {
        host: &client.host,
        scheme: client.scheme,
        has_own_host: found.is_some_and(|entry| entry.route.spec.host().is_some()),
        // Who comes by a proxy does not see our ports.
        https_port: core.https_port.filter(|_| !asked.peer.believed),
    };
    let to = proper_origin(config, arrival)?;
    let to = format!("{to}{}", asked.path_and_query());
    Some(redirect(&to, asked.moved()))
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
    Some(redirect(&to, status))
}

fn redirect(to: &str, status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    let to = utf8_percent_encode(to, CONTROLS).to_string();
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_a_name_and_perhaps_a_port() {
        for good in [
            "h",
            "hub.example",
            "hub.example:80",
            "h:",
            "127.0.0.1:8000",
            "[::1]",
            "[::1]:80",
            "a_b-c",
            "%C3%BC.example",
        ] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "", ":80", "h:port", "h:80:80", "[::1", "[]", "[::1]x", "::1", "u@h", "h/x", "a,b",
            "a b", "h:123456",
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
