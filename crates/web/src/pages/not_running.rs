//! `/hub/user/NAME/…`: where requests for a server end up that does not run (JupyterHub `UserUrlHandler`).

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, header};
use lyceum_core::{ServerRef, escape};
use lyceum_hub::models::ServerView;
use lyceum_hub::permit::AccessServer;
use lyceum_hub::{HubError, Principal, ServerPermit, StoreError};
use serde_json::json;

use super::{errors, next};
use crate::caller::{
    Accept, check_xsrf, facts, found, identify, login_url, redirect, store_failed, xsrf_refused,
};
use crate::client::{Client, header_text};
use crate::forms::Form;
use crate::render::NotRunningPage;
use crate::visit::Visitor;
use crate::{ApiError, Web};

/// After this many rounds between here and the server, something in between is wrong.
const REDIRECT_LIMIT: u32 = 4;

pub(crate) async fn bare(
    State(web): State<Web>,
    Path(user): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    show(&web, &parts, &user, "")
        .await
        .unwrap_or_else(|response| *response)
}

pub(crate) async fn below(
    State(web): State<Web>,
    Path((user, rest)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    show(&web, &parts, &user, &rest)
        .await
        .unwrap_or_else(|response| *response)
}

async fn show(web: &Web, parts: &Parts, user: &str, rest: &str) -> Result<Response, Box<Response>> {
    let caller = who(web, parts).await?;
    let Some(caller) = caller else {
        return Ok(found(&login_url(web, parts)));
    };
    let visitor = Visitor::of(web, parts, caller.session());
    let first = rest.split('/').next().unwrap_or_default();
    let permit = access(web, &caller, &visitor, user, first).await?;
    let view = web.hub().server_view(&permit).await;
    let view = view.map_err(|error| Box::new(store_failure(web, &visitor, &error)))?;
    let base = web.hub().settings().base_url.as_str();
    if view.now.state.is_ready() {
        return Ok(back_to_server(web, parts, &visitor).await);
    }
    if wants_json(&parts.headers, rest) {
        return Ok(not_running_json(web, parts, permit.server()));
    }
    let here = next::here(parts).replacen(
        &format!("{}user/", web.hub_url()),
        &format!("{base}user/"),
        1,
    );
    if view.now.state.is_active() || view.start_failed() {
        return Ok(redirect(
            StatusCode::SEE_OTHER,
            &format!(
                "{}?next={}",
                permit.server().hub_path(base, "spawn-pending"),
                escape::query_value(&here)
            ),
        ));
    }
    let log = match web.hub().may_read_log(&caller, &permit).await {
        Ok(log) => log,
        Err(HubError::Store(error)) => return Err(Box::new(store_failure(web, &visitor, &error))),
        Err(HubError::Denied(_)) => false,
    };
    Ok(not_running_page(web, &visitor, &caller, &view, log, &here))
}

/// Anything but GET: the answer that a program understands (JupyterHub `UserUrlHandler.non_get`).
pub(crate) async fn other_method(State(web): State<Web>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if !matches!(parts.method, Method::POST | Method::PATCH | Method::DELETE) {
        return errors::page(
            &web,
            &Visitor::of(&web, &parts, None),
            StatusCode::METHOD_NOT_ALLOWED,
            None,
        );
    }
    let caller = match who(&web, &parts).await {
        Ok(caller) => caller,
        Err(response) => return *response,
    };
    let session = caller.as_ref().and_then(Principal::session);
    let by_token = caller.is_some() && session.is_none();
    if facts(&parts, false, by_token).needs_token() {
        let form = match form_of(&parts, body).await {
            Ok(form) => form,
            Err(error) => return error.into_response(),
        };
        if let Err(error) = check_xsrf(&web, &parts, session, form.get("_xsrf")) {
            return xsrf_refused(&parts, error).into_response();
        }
    }
    let path = next::here(&parts).split('?').next().unwrap_or_default();
    let inner = path
        .strip_prefix(&format!("{}user/", web.hub_url()))
        .unwrap_or_default();
    let user = escape::decode(inner.split('/').next().unwrap_or_default()).unwrap_or_default();
    match lyceum_core::UserName::parse(&user) {
        Ok(user) => not_running_json(
            &web,
            &parts,
            &ServerRef::new(user, lyceum_core::ServerName::default_server()),
        ),
        Err(_) => ApiError::not_found().into_response(),
    }
}

/// The form of a request, if it carries one; anything else was meant for the server.
async fn form_of(parts: &Parts, body: Body) -> Result<Form, ApiError> {
    let is_form = header_text(&parts.headers, &header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if is_form {
        Form::read(body).await
    } else {
        Ok(Form::default())
    }
}

async fn who(web: &Web, parts: &Parts) -> Result<Option<Principal>, Box<Response>> {
    identify(web, parts, Accept::TokenOrCookie)
        .await
        .map_err(|error| Box::new(error.into_response()))
}

/// Finds the server that a path means, and checks access to it; without it, the page does not exist.
async fn access(
    web: &Web,
    caller: &Principal,
    visitor: &Visitor,
    user: &str,
    first: &str,
) -> Result<ServerPermit<AccessServer>, Box<Response>> {
    let permit = web.hub().permit_path(caller, user, first).await;
    permit.map_err(|error| {
        Box::new(match error {
            HubError::Denied(_) => errors::page(web, visitor, StatusCode::NOT_FOUND, None),
            HubError::Store(error) => store_failure(web, visitor, &error),
        })
    })
}

fn store_failure(web: &Web, visitor: &Visitor, error: &StoreError) -> Response {
    let error = store_failed(error);
    errors::page(web, visitor, error.status(), error.message())
}

/// The server runs, so its route is there by now: back to it, a little later each time.
async fn back_to_server(web: &Web, parts: &Parts, visitor: &Visitor) -> Response {
    let rounds = next::query(parts, "redirects")
        .and_then(|count| count.parse::<u32>().ok())
        .unwrap_or(0);
    if rounds >= REDIRECT_LIMIT {
        let text = "The server runs, but requests for it end up here. A proxy in front of Lyceum may be misconfigured.";
        return errors::page(web, visitor, StatusCode::INTERNAL_SERVER_ERROR, Some(text));
    }
    if rounds > 0 {
        tokio::time::sleep(Duration::from_secs(1 << rounds)).await;
    }
    let base = web.hub().settings().base_url.as_str();
    let here = next::here(parts);
    let (path, query) = here
        .split_once('?')
        .map_or((here, ""), |(path, query)| (path, query));
    let path = path.replacen(
        &format!("{}user/", web.hub_url()),
        &format!("{base}user/"),
        1,
    );
    let mut pairs: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("redirects="))
        .collect();
    let redirects = format!("redirects={}", rounds + 1);
    pairs.push(&redirects);
    found(&format!("{path}?{}", pairs.join("&")))
}

/// Whether a program asks: by `Accept`, or because an `api` is in the path.
fn wants_json(headers: &HeaderMap, rest: &str) -> bool {
    rest.split('/').any(|segment| segment == "api")
        || header_text(headers, &header::ACCEPT).is_some_and(prefers_json)
}

/// Whether JSON is asked for by name, before HTML (JupyterHub `get_accepted_mimetype`): the higher quality
/// wins, then the place in the list. A browser's `text/html, …, */*` and curl's `*/*` get the page.
fn prefers_json(accept: &str) -> bool {
    let mut best: Option<(f32, bool)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let json = name.eq_ignore_ascii_case("application/json");
        if !json && !name.eq_ignore_ascii_case("text/html") {
            continue;
        }
        let quality = parts
            .find_map(|parameter| parameter.strip_prefix("q="))
            .and_then(|quality| quality.parse::<f32>().ok())
            .unwrap_or(1.0);
        if quality > 0.0 && best.is_none_or(|(highest, _)| quality > highest) {
            best = Some((quality, json));
        }
    }
    best.is_some_and(|(_, json)| json)
}

/// 424: JupyterLab shows its "start again?" dialog on it. Only this key, as in JupyterHub.
fn not_running_json(web: &Web, parts: &Parts, server: &ServerRef) -> Response {
    let base = web.hub().settings().base_url.as_str();
    let path = next::here(parts).split('?').next().unwrap_or_default();
    let path = path
        .strip_prefix(web.hub_url().trim_end_matches('/'))
        .unwrap_or(path);
    let origin = match &web.hub().settings().public_url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => Client::of(parts).origin(),
    };
    let start = server.hub_path(base, "spawn");
    let message = format!(
        "JupyterHub server no longer running at {path}. Restart the server at {origin}{start}"
    );
    let body = json!({ "message": message }).to_string();
    (
        StatusCode::FAILED_DEPENDENCY,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

fn not_running_page(
    web: &Web,
    visitor: &Visitor,
    caller: &Principal,
    view: &ServerView,
    log: bool,
    here: &str,
) -> Response {
    let base = web.hub().settings().base_url.as_str();
    let server = &view.server;
    let own = caller.user().is_some_and(|user| user.name == server.user);
    let mut failure = view.failure().cloned();
    if let (Some(failure), false) = (&mut failure, log) {
        failure.log.clear();
    }
    let page = NotRunningPage {
        subject: (!own || !server.server.is_default()).then(|| {
            if server.server.is_default() {
                server.user.to_string()
            } else {
                server.to_string()
            }
        }),
        start_url: format!(
            "{}?next={}",
            server.hub_path(base, "spawn"),
            escape::query_value(here)
        ),
        failure,
    };
    visitor.page(web, StatusCode::FAILED_DEPENDENCY, &page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: Option<&str>, rest: &str, expected: bool) {
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(header::ACCEPT, accept.parse().unwrap());
        }
        assert_eq!(wants_json(&headers, rest), expected, "{accept:?} {rest}");
    }

    #[test]
    fn programs_get_json_and_browsers_a_page() {
        check(None, "lab", false);
        check(Some("*/*"), "lab", false);
        check(
            Some("text/html,application/xhtml+xml,*/*;q=0.8"),
            "lab",
            false,
        );
        check(Some("application/json"), "lab", true);
        check(Some("application/json, text/html;q=0.5"), "lab", true);
        check(Some("application/json,text/html"), "lab", true);
        check(Some("text/html,application/json"), "lab", false);
        check(Some("*/*;q=0.5,application/json;q=0.4"), "lab", true);
        check(Some("application/*"), "lab", false);
        check(Some("application/json;q=0"), "lab", false);
        check(Some("garbage;;,q=,"), "lab", false);
        check(Some("text/html, application/json;q=0.5"), "lab", false);
        check(Some("text/html"), "api/kernels", true);
        check(Some("text/html"), "lab/apis", false);
    }
}
