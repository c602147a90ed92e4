//! `POST /hub/stop/…`: stops a server, or cancels its start, from a form.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::lifecycle::Refusal;

use super::errors;
use super::spawn::manage;
use crate::Web;
use crate::caller::{PageCaller, check_xsrf, found};
use crate::forms::Form;
use crate::server_path::ServerPath;
use crate::visit::Visitor;

/// Most servers stop within this; the others have a page of their own meanwhile.
const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) async fn form(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
    request: Request,
) -> Response {
    stop(&web, &caller, &path.user, &path.server, request).await
}

async fn stop(
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
    let permit = match manage(web, caller, &visitor, user, server).await {
        Ok(permit) => permit,
        Err(response) => return *response,
    };
    match web.hub().request_stop(&permit).await {
        Ok(()) | Err(Refusal::NotRunning | Refusal::Stopping) => {}
        Err(refusal) => {
            return errors::page(
                web,
                &visitor,
                if refusal.is_of_hub() {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::BAD_REQUEST
                },
                Some(&refusal.to_string()),
            );
        }
    }
    if web.hub().await_stop(&permit, PATIENCE).await {
        found(&format!("{}home", web.hub_url()))
    } else {
        found(
            &permit
                .server()
                .hub_path(&web.hub().settings().base_url, "spawn-pending"),
        )
    }
}
