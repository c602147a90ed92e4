//! `/hub/spawn/…`: starts a server, by link or by form, and leads to the page that shows its progress.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use lyceum_core::lifecycle::Refusal;
use lyceum_core::{ServerName, ServerRef, escape};
use lyceum_hub::display_name;
use lyceum_hub::permit::ManageServer;
use lyceum_hub::{HubError, ServerPermit, StartError, StartInput};
use serde_json::{Map, Value};

use super::{errors, next};
use crate::caller::{PageCaller, check_xsrf, found, store_failed};
use crate::forms::{Form, MAX_FIELDS, too_many_fields};
use crate::server_path::ServerPath;
use crate::visit::Visitor;
use crate::{ApiError, Web};

/// How long the page waits for an early error before it shows the progress.
const EARLY: Duration = Duration::from_secs(1);

pub(crate) async fn own(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let name = caller.session.user.name.to_string();
    by_link(&web, &caller, &name, "", request).await
}

pub(crate) async fn link(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    by_link(&web, &caller, &path.user, &path.server, request).await
}

pub(crate) async fn own_form(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let name = caller.session.user.name.to_string();
    by_form(&web, &caller, &name, "", request).await
}

pub(crate) async fn form(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    by_form(&web, &caller, &path.user, &path.server, request).await
}

async fn by_link(
    web: &Web,
    caller: &PageCaller,
    user: &str,
    server: &str,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(web, &parts, Some(&caller.session));
    let permit = match permit(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let state = web.hub().see(&permit).state;
    if state.is_ready() {
        let url = permit.server().url_path(&web.hub().settings().base_url);
        return found(&next::safe(web, &parts, None).unwrap_or(url));
    }
    if state.is_active() {
        return found(&pending_url(web, &parts, permit.server()));
    }
    let user_options = match query_options(&parts) {
        Ok(options) => options,
        Err(error) => return errors::page(web, &visitor, error.status(), error.message()),
    };
    let shown_name = next::query(&parts, "display_name");
    let shown_name = match shown_name
        .map(|name| display_name::display_name(&name))
        .transpose()
    {
        Ok(name) => name,
        Err(error) => {
            let text = error.to_string();
            return errors::page(web, &visitor, StatusCode::BAD_REQUEST, Some(&text));
        }
    };
    let input = StartInput {
        user_options,
        display_name: shown_name,
    };
    start(web, &visitor, &parts, &permit, input).await
}

async fn by_form(
    web: &Web,
    caller: &PageCaller,
    user: &str,
    server: &str,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(web, &parts, Some(&caller.session));
    let form = match Form::read(body).await {
        Ok(form) => form,
        Err(error) => return errors::page(web, &visitor, error.status(), error.message()),
    };
    if let Err(error) = check_xsrf(web, &parts, Some(&caller.session), form.get("_xsrf")) {
        tracing::info!(reason = %error, "refused a form without a valid XSRF token");
        return errors::page(
            web,
            &visitor,
            StatusCode::FORBIDDEN,
            Some(errors::STALE_FORM),
        );
    }
    let permit = match permit(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    let state = web.hub().see(&permit).state;
    if state.is_ready() {
        // Two windows, two clicks: the second one gets what the first one started.
        return found(&permit.server().url_path(&web.hub().settings().base_url));
    }
    if state.is_active() {
        return found(&pending_url(web, &parts, permit.server()));
    }
    let mut options = Map::new();
    for (key, value) in form
        .pairs()
        .filter(|(key, _)| !matches!(*key, "_xsrf" | "next"))
    {
        push(&mut options, key, value);
    }
    let user_options = (!options.is_empty()).then_some(options);
    start(
        web,
        &visitor,
        &parts,
        &permit,
        StartInput {
            user_options,
            display_name: None,
        },
    )
    .await
}

/// Checks that the caller may start this server; a name that no server can have is a mistake of its own.
async fn permit(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    user: &str,
    server: &str,
) -> Result<ServerPermit<ManageServer>, Box<Response>> {
    if let Err(error) = ServerName::parse(server) {
        manage(web, caller, visitor, user, "").await?;
        let status = StatusCode::BAD_REQUEST;
        return Err(Box::new(errors::page(
            web,
            visitor,
            status,
            Some(&error.to_string()),
        )));
    }
    manage(web, caller, visitor, user, server).await
}

/// Checks that the caller may start and stop this server; the error is the answer.
pub(crate) async fn manage(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    user: &str,
    server: &str,
) -> Result<ServerPermit<ManageServer>, Box<Response>> {
    web.hub()
        .permit_server(&caller.principal, user, server)
        .await
        .map_err(|error| {
            Box::new(match error {
                HubError::Denied(lyceum_hub::Denied::NotFound) => {
                    errors::page(web, visitor, StatusCode::NOT_FOUND, None)
                }
                HubError::Denied(lyceum_hub::Denied::Forbidden) => {
                    errors::page(web, visitor, StatusCode::FORBIDDEN, None)
                }
                HubError::Store(error) => {
                    let error = store_failed(&error);
                    errors::page(web, visitor, error.status(), error.message())
                }
            })
        })
}

async fn start(
    web: &Web,
    visitor: &Visitor,
    parts: &Parts,
    permit: &ServerPermit<ManageServer>,
    input: StartInput,
) -> Response {
    match web.hub().request_start(permit, input).await {
        Ok(()) => {
            // An error that comes at once is on the page that follows, too.
            let _ = web.hub().await_start_for(permit, EARLY).await;
            found(&pending_url(web, parts, permit.server()))
        }
        Err(StartError::Refused(
            Refusal::AlreadyRunning
            | Refusal::AlreadyStarting
            | Refusal::Stopping
            | Refusal::Checking,
        )) => found(&pending_url(web, parts, permit.server())),
        Err(error) => refused(web, visitor, &error),
    }
}

fn refused(web: &Web, visitor: &Visitor, error: &StartError) -> Response {
    let status = match error {
        StartError::Refused(refusal) if refusal.is_of_hub() => StatusCode::SERVICE_UNAVAILABLE,
        StartError::Name(_)
        | StartError::NamedServersOff
        | StartError::TooManyNamed(_)
        | StartError::Refused(_) => StatusCode::BAD_REQUEST,
        StartError::Busy(_) | StartError::Full => StatusCode::TOO_MANY_REQUESTS,
        StartError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        StartError::Store(source) => {
            let error = store_failed(source);
            return errors::page(web, visitor, error.status(), error.message());
        }
    };
    let mut response = errors::page(web, visitor, status, Some(&error.to_string()));
    if let StartError::Busy(seconds) = error
        && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
    {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

/// The page of the progress; it leads on to `next`.
fn pending_url(web: &Web, parts: &Parts, server: &ServerRef) -> String {
    let url = server.hub_path(&web.hub().settings().base_url, "spawn-pending");
    match next::safe(web, parts, None) {
        Some(next) => format!("{url}?next={}", escape::query_value(&next)),
        None => url,
    }
}

/// Options in the query of a link: those that begin with `opt-` if there are any, else all but the hub's own.
fn query_options(parts: &Parts) -> Result<Option<Map<String, Value>>, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes())
        .take(MAX_FIELDS + 1)
        .collect();
    if pairs.len() > MAX_FIELDS {
        return Err(too_many_fields());
    }
    let marked = pairs.iter().any(|(key, _)| key.starts_with("opt-"));
    let mut options = Map::new();
    for (key, value) in &pairs {
        let key = match key.strip_prefix("opt-") {
            Some(key) if marked && !key.is_empty() => key,
            None if !marked
                && !matches!(&**key, "next" | "display_name" | "_xsrf" | "redirects") =>
            {
                key.as_ref()
            }
            _ => continue,
        };
        push(&mut options, key, value);
    }
    Ok((!options.is_empty()).then_some(options))
}

/// Form values are lists of texts, as JupyterHub gives them to spawners.
fn push(options: &mut Map<String, Value>, key: &str, value: &str) {
    let list = options
        .entry(key.to_owned())
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(list) = list {
        list.push(Value::String(value.to_owned()));
    }
}

/// Names a server of somebody, for pages about it.
pub(crate) fn subject(caller: &PageCaller, server: &ServerRef) -> Option<String> {
    let own = server.user == caller.session.user.name;
    match (own, server.server.is_default()) {
        (true, true) => None,
        (false, true) => Some(server.user.to_string()),
        (_, false) => Some(server.to_string()),
    }
}
