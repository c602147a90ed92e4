//! `/hub/notices/servers/…`: what the page of a user's server asks the hub by itself, to tell the people there.
//!
//! Scripts of the page ask with the hub's own cookie. To ask is no activity of anybody; to keep a server running is.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use lyceum_hub::culler::CullNotice;
use lyceum_hub::culler::rules::Reason;
use lyceum_hub::permit::AccessServer;
use lyceum_hub::{Happening, ServerNotice, ServerPermit, ServerPython};
use serde_json::{Value, json};

use crate::caller::{Accept, identify, not_logged_in, store_failed};
use crate::client::{Client, header_text};
use crate::cookies;
use crate::render::Language;
use crate::server_path::ServerPath;
use crate::{ApiError, Web};

/// A page of another host cannot send it without asking first.
const MARK: HeaderName = HeaderName::from_static("x-lyceum-notices");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How often a page asks; oftener if warnings are shorter.
const ASK_EVERY: Duration = Duration::from_mins(1);
/// What is said of an idle server, and of one that has run for too long. The page fills in the minutes.
pub(crate) const IDLE: &str = "cull-notice-idle";
pub(crate) const AGE: &str = "cull-notice-age";
/// What is said of another generation of the environment.
pub(crate) const PYTHON_NEWER: &str = "python-newer";
pub(crate) const PYTHON_OLDER: &str = "python-older";
/// On the button that hides it.
pub(crate) const DISMISS: &str = "dismiss";

/// Tells whether the server is about to be stopped.
pub(crate) async fn show(
    State(web): State<Web>,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let permit = permit(&web, &parts, &path).await?;
    Ok(answer(&web, &parts, &permit))
}

/// Keeps the server running: it counts as used now.
pub(crate) async fn keep(
    State(web): State<Web>,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let permit = permit(&web, &parts, &path).await?;
    let view = web.hub().server_view(&permit).await;
    let row = view.map_err(|error| store_failed(&error))?.row;
    web.hub().keep_running(&permit, row.map(|row| row.id));
    Ok(answer(&web, &parts, &permit))
}

/// Checks that a page of this very host asks, for somebody who may use the server.
async fn permit(
    web: &Web,
    parts: &Parts,
    path: &ServerPath,
) -> Result<ServerPermit<AccessServer>, ApiError> {
    if !is_own_page(parts) {
        return Err(ApiError::with(
            StatusCode::FORBIDDEN,
            "only pages of this host may ask this",
        ));
    }
    let caller = identify(web, parts, Accept::CookieOfPage).await?;
    let caller = caller.ok_or_else(not_logged_in)?;
    let permit = web
        .hub()
        .permit_server(&caller, &path.user, &path.server)
        .await?;
    Ok(permit)
}

/// Whether a script of this host has made the request. What browsers say of it cannot be forged by scripts.
fn is_own_page(parts: &Parts) -> bool {
    if !parts.headers.contains_key(MARK) {
        return false;
    }
    if let Some(site) = header_text(&parts.headers, &FETCH_SITE) {
        return site == "same-origin";
    }
    // Browsers say nothing of it by plain http, and no origin with a GET of the same host: the mark alone could not have
    // come from elsewhere.
    match header_text(&parts.headers, &header::ORIGIN) {
        None => parts.method == http::Method::GET,
        Some(origin) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some_and(|host| host.eq_ignore_ascii_case(&Client::of(parts).host))
        }
    }
}

fn answer(web: &Web, parts: &Parts, permit: &ServerPermit<AccessServer>) -> Response {
    let language = {
        let default = web.settings().languages.first().copied();
        let cookie = cookies::first(&parts.headers, cookies::LANGUAGE);
        let accept = header_text(&parts.headers, &header::ACCEPT_LANGUAGE);
        Language::choose(cookie.as_deref(), accept, default.unwrap_or_default())
    };
    let warn = web.hub().settings().cull.warn;
    let again = if warn.is_zero() {
        ASK_EVERY
    } else {
        ASK_EVERY.min(warn / 4).max(Duration::from_secs(1))
    };
    let stop = web
        .hub()
        .cull_notice(permit.server())
        .map(|notice| words(web, language, notice));
    let news = web
        .hub()
        .server_notices(permit.server())
        .last()
        .map(|notice| happened(web, language, notice));
    let python = web
        .hub()
        .server_python(permit.server())
        .and_then(|python| waits(web, language, &python));
    let body = json!({
        "stop": stop,
        "news": news,
        "python": python,
        "language": language.code(),
        "again": again.as_secs(),
    });
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What has happened last to the server.
fn happened(web: &Web, language: Language, notice: &ServerNotice) -> Value {
    let text = |key: &str| web.renderer().text(language, key).unwrap_or_default();
    let Happening::OutOfMemory { .. } = notice.what;
    json!({
        "at": lyceum_core::clock::iso_format(notice.at),
        "text": format!("{} {}", text("out-of-memory"), text("out-of-memory-next")),
        "dismiss": text(DISMISS),
    })
}

/// Another generation of the server's Python environment waits for its next start. `at` is the same as long as it is the
/// same one, so that whoever has read it once need not again.
fn waits(web: &Web, language: Language, server: &ServerPython) -> Option<Value> {
    let text = |key: &str| web.renderer().text(language, key);
    let next = server.next?;
    let key = if server.is_newer_ready() {
        PYTHON_NEWER
    } else {
        PYTHON_OLDER
    };
    Some(json!({
        "at": format!("{}/{next}", server.python.name),
        "text": text(key),
        "dismiss": text(DISMISS),
    }))
}

fn words(web: &Web, language: Language, notice: CullNotice) -> Value {
    let text = |key: &str| web.renderer().text(language, key);
    let key = match notice.reason {
        Reason::MaxAge => AGE,
        _ => IDLE,
    };
    json!({
        "at": lyceum_core::clock::iso_format(notice.at),
        "seconds": notice.left.as_secs(),
        "text": text(key),
        "keep": notice.can_be_kept.then(|| text("keep-running")),
        "dismiss": text(DISMISS),
    })
}
