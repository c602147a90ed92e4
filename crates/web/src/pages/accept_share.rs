//! `/hub/accept-share?code=…`: an invitation to use somebody's server, and its acceptance.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use lyceum_core::{Secret, ServerRef};
use lyceum_hub::share_codes::ExchangeError;
use lyceum_hub::shares::with_filter;

use super::{errors, next};
use crate::Web;
use crate::caller::{PageCaller, check_xsrf, found, store_failed};
use crate::forms::Form;
use crate::render::{AcceptSharePage, ScopeLine};
use crate::visit::Visitor;

/// Shows who invites to what. Nothing is accepted by looking.
pub(crate) async fn show(State(web): State<Web>, caller: PageCaller, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let Some(code) = code_of(next::query(&parts, "code").as_deref()) else {
        return no_code(&web, &visitor);
    };
    let user = &caller.session.user;
    let view = match web.hub().invitation(user, &code).await {
        Ok(view) => view,
        Err(error) => {
            let status = match &error {
                ExchangeError::Own => StatusCode::FORBIDDEN,
                ExchangeError::Unknown | ExchangeError::Store(_) => StatusCode::NOT_FOUND,
            };
            return refused(&web, &visitor, status, &error);
        }
    };
    let server = &view.code.server;
    let wanted = next::safe(&web, &parts, None);
    let server_url = server.url_path(&web.hub().settings().base_url);
    let page = AcceptSharePage {
        action: format!("{}accept-share", web.hub_url()),
        xsrf: visitor.xsrf(&web),
        code: code.expose().clone(),
        owner: server.user.to_string(),
        server: server.server.to_string(),
        ready: view.ready,
        destination: wanted.clone().unwrap_or(server_url),
        next: wanted,
        scopes: scope_lines(&web, &view.code.scopes, server, user.name.as_str()),
    };
    visitor.page(&web, StatusCode::OK, &page)
}

/// Puts what would be permitted into words for the user `viewer`.
fn scope_lines(web: &Web, names: &[String], server: &ServerRef, viewer: &str) -> Vec<ScopeLine> {
    let catalogue = web.hub().catalogue();
    let scopes = with_filter(names, server);
    names
        .iter()
        .zip(&scopes)
        .map(|(name, scope)| {
            let words = catalogue
                .find(name)
                .map(|name| catalogue.description(&name));
            let words = words.filter(|words| !words.is_empty()).map(str::to_owned);
            ScopeLine::new(scope, viewer, words)
        })
        .collect()
}

/// Exchanges the code for a share, and leads to the server.
pub(crate) async fn submit(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, Some(&caller.session));
    let form = match Form::read(body).await {
        Ok(form) => form,
        Err(error) => return errors::page(&web, &visitor, error.status(), error.message()),
    };
    if let Err(error) = check_xsrf(&web, &parts, Some(&caller.session), form.get("_xsrf")) {
        tracing::info!(reason = %error, "refused a form without a valid XSRF token");
        return errors::page(
            &web,
            &visitor,
            StatusCode::FORBIDDEN,
            Some(errors::STALE_FORM),
        );
    }
    accept(&web, &caller, &visitor, &parts, &form).await
}

async fn accept(
    web: &Web,
    caller: &PageCaller,
    visitor: &Visitor,
    parts: &Parts,
    form: &Form,
) -> Response {
    let from_query = next::query(parts, "code");
    let Some(code) = code_of(form.get("code").or(from_query.as_deref())) else {
        return no_code(web, visitor);
    };
    let user = &caller.session.user;
    match web.hub().accept_invitation(user, &code).await {
        Ok(server) => {
            let wanted = next::safe(web, parts, form.get("next"));
            let base = &web.hub().settings().base_url;
            found(&wanted.unwrap_or_else(|| server.url_path(base)))
        }
        Err(error) => refused(web, visitor, StatusCode::BAD_REQUEST, &error),
    }
}

fn code_of(text: Option<&str>) -> Option<Secret<String>> {
    let text = text.map(str::trim).filter(|text| !text.is_empty())?;
    Some(Secret::from(text))
}

fn no_code(web: &Web, visitor: &Visitor) -> Response {
    const TEXT: &str = "The link is not complete: its code is missing.";
    errors::page(web, visitor, StatusCode::BAD_REQUEST, Some(TEXT))
}

fn refused(web: &Web, visitor: &Visitor, status: StatusCode, error: &ExchangeError) -> Response {
    let text = match error {
        ExchangeError::Unknown => {
            "There is no such invitation, or it has expired. Ask for a new one."
        }
        ExchangeError::Own => "This is an invitation to your own server. Send the link to others.",
        ExchangeError::Store(error) => {
            let error = store_failed(error);
            return errors::page(web, visitor, error.status(), error.message());
        }
    };
    errors::page(web, visitor, status, Some(text))
}
