//! `POST /hub/keep/…`: keeps a server running that is about to be stopped, from a form.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::permit::AccessServer;

use super::errors;
use crate::caller::{PageCaller, check_xsrf, found, store_failed};
use crate::forms::Form;
use crate::server_path::ServerPath;
use crate::visit::Visitor;
use crate::{ApiError, Web};

pub(crate) async fn form(
    State(web): State<Web>,
    caller: PageCaller,
    Path(path): Path<ServerPath>,
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
        let (status, text) = (StatusCode::FORBIDDEN, Some(errors::STALE_FORM));
        return errors::page(&web, &visitor, status, text);
    }
    match keep(&web, &caller, &path).await {
        Ok(()) => found(&format!("{}home", web.hub_url())),
        Err(error) => errors::page(&web, &visitor, error.status(), error.message()),
    }
}

async fn keep(web: &Web, caller: &PageCaller, path: &ServerPath) -> Result<(), ApiError> {
    let permit = web
        .hub()
        .permit_server::<AccessServer>(&caller.principal, &path.user, &path.server)
        .await?;
    let view = web.hub().server_view(&permit).await;
    let row = view.map_err(|error| store_failed(&error))?.row;
    web.hub().keep_running(&permit, row.map(|row| row.id));
    Ok(())
}
