//! `/hub/api/users/NAME/server` and `/hub/api/users/NAME/servers/SERVER`: look, make, change, start, stop, delete.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::ServerName;
use lyceum_core::lifecycle::Refusal;
use lyceum_core::names::NameError;
use lyceum_hub::permit::{ReadServer, StartServer, StopServer};
use lyceum_hub::running::Outcome;
use lyceum_hub::{Action, EditError, Principal, RemoveError, ServerPermit, StartError};

use super::endpoints::{Endpoints, Rule};
use super::models;
use super::server_bodies::{edit, remove, start_input};
use crate::caller::{ApiCaller, store_failed};
use crate::error::status_of_failure;
use crate::forms::{Json, OptionsJson};
use crate::server_path::ServerPath;
use crate::{ApiError, Web};

/// When another try makes sense after the hub itself could not do something.
const RETRY_SECONDS: u64 = 60;

pub(crate) fn endpoints() -> Endpoints {
    // Without a name, with an empty one, with one.
    [
        "/users/{user}/server",
        "/users/{user}/servers/",
        "/users/{user}/servers/{server}",
    ]
    .into_iter()
    .fold(Endpoints::default(), |endpoints, path| {
        endpoints
            .get(path, Rule::of::<ReadServer>(), show_server)
            .put(path, Rule::of::<StartServer>(), create_server)
            .patch(path, Rule::of::<StartServer>(), change_server)
            .post(path, Rule::of::<StartServer>(), start_server)
            .delete(path, Rule::of::<StopServer>(), stop_server)
    })
}

pub(crate) async fn show_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
) -> Result<Response, ApiError> {
    show(&web, &caller, &path.user, &path.server).await
}

/// Makes a server without starting it (JupyterHub 6).
pub(crate) async fn create_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: OptionsJson,
) -> Result<Response, ApiError> {
    let permit = permit::<StartServer>(&web, &caller, &path.user, &path.server).await?;
    let taken = permit.server().server.is_default() || web.hub().server_exists(&permit).await?;
    if taken {
        return Err(edit_refused(EditError::Exists(permit.server().clone())));
    }
    let input = start_input(permit.server(), body.parse()?)?;
    let view = web.hub().create_server(&permit, input).await;
    let groups = web.hub().groups_of(permit.user()).await?;
    let view = view.map_err(edit_refused)?;
    let mut response = models::answer(&models::server(&web, &view, caller.scopes(), &groups));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Changes the name of a server that does not run, its shown name, or its options (JupyterHub 6).
pub(crate) async fn change_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: OptionsJson,
) -> Result<Response, ApiError> {
    let permit = permit::<StartServer>(&web, &caller, &path.user, &path.server).await?;
    let edit = edit(body.parse()?)?;
    let view = web
        .hub()
        .change_server(&permit, edit)
        .await
        .map_err(edit_refused)?;
    let groups = web.hub().groups_of(permit.user()).await?;
    Ok(models::answer(&models::server(
        &web,
        &view,
        caller.scopes(),
        &groups,
    )))
}

pub(crate) async fn start_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: OptionsJson,
) -> Result<Response, ApiError> {
    start(&web, &caller, &path.user, &path.server, body).await
}

pub(crate) async fn stop_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: Json,
) -> Result<Response, ApiError> {
    stop(&web, &caller, &path.user, &path.server, body).await
}

async fn show(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ReadServer>(caller, user, server)
        .await?;
    let view = web.hub().server_view(&permit).await?;
    if view.row.is_none() && !view.server.server.is_default() {
        return Err(ApiError::not_found());
    }
    let groups = web.hub().groups_of(permit.user()).await?;
    Ok(models::answer(&models::server(
        web,
        &view,
        caller.scopes(),
        &groups,
    )))
}

async fn start(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
    body: OptionsJson,
) -> Result<Response, ApiError> {
    let permit = permit::<StartServer>(web, caller, user, server).await?;
    let input = start_input(permit.server(), body.parse()?)?;
    match web.hub().request_start(&permit, input).await {
        // A second request while the first is under way waits for it, too.
        Ok(()) => {}
        Err(StartError::Refused(Refusal::AlreadyStarting)) => {
            return Ok(models::empty(StatusCode::ACCEPTED));
        }
        Err(error) => return Err(start_refused(error)),
    }
    match web.hub().await_start(&permit).await {
        Ok(Outcome::Done) => Ok(models::empty(StatusCode::CREATED)),
        Ok(Outcome::Pending) => Ok(models::empty(StatusCode::ACCEPTED)),
        Err(failure) => {
            let message = format!("{} {}", failure.message, failure.hint);
            Err(ApiError::with(status_of_failure(&failure), message))
        }
    }
}

/// Checks what the caller may do; whoever may touch the user's servers is told that a name cannot be one.
async fn permit<A: Action>(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
) -> Result<ServerPermit<A>, ApiError> {
    if let Err(error) = ServerName::parse(server) {
        web.hub().permit_server::<A>(caller, user, "").await?;
        return Err(bad_name(&error));
    }
    Ok(web.hub().permit_server::<A>(caller, user, server).await?)
}

pub(crate) fn start_refused(error: StartError) -> ApiError {
    match error {
        StartError::Refused(refusal) => refused(refusal),
        StartError::Name(error) => bad_name(&error),
        StartError::NamedServersOff | StartError::TooManyNamed(_) | StartError::Profile(_) => {
            ApiError::bad_request(error.to_string())
        }
        StartError::Busy(seconds) => {
            ApiError::with(StatusCode::TOO_MANY_REQUESTS, error.to_string()).retry_after(seconds)
        }
        StartError::Full | StartError::NoMemory => {
            ApiError::with(StatusCode::TOO_MANY_REQUESTS, error.to_string())
        }
        StartError::Failed(failure) => ApiError::with(status_of_failure(&failure), failure.message),
        StartError::Store(error) => store_failed(&error),
    }
}

fn edit_refused(error: EditError) -> ApiError {
    match error {
        EditError::Name(error) => bad_name(&error),
        EditError::Exists(_) => ApiError::with(StatusCode::CONFLICT, error.to_string()),
        EditError::NotThere(_) => ApiError::with(StatusCode::NOT_FOUND, error.to_string()),
        EditError::NamedServersOff
        | EditError::TooManyNamed(_)
        | EditError::Profile(_)
        | EditError::Active(_) => ApiError::bad_request(error.to_string()),
        EditError::Store(error) => store_failed(&error),
    }
}

fn bad_name(error: &NameError) -> ApiError {
    ApiError::bad_request(error.to_string())
}

async fn stop(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = permit::<StopServer>(web, caller, user, server).await?;
    let remove = remove(body.parse()?)?;
    let default = permit.server().server.is_default();
    if !default {
        if !web.hub().settings().allow_named_servers {
            return Err(ApiError::bad_request("named servers are not enabled here"));
        }
        if !web.hub().server_exists(&permit).await? {
            return Err(ApiError::not_found());
        }
    }
    if remove && default {
        return Err(ApiError::bad_request(
            "the default server cannot be removed",
        ));
    }
    let stopped = if remove {
        web.hub().stop_and_remove(permit).await
    } else {
        web.hub().stop(&permit).await.map_err(RemoveError::Refused)
    };
    match stopped {
        Ok(Outcome::Pending) => Ok(models::empty(StatusCode::ACCEPTED)),
        Ok(Outcome::Done) => Ok(models::empty(StatusCode::NO_CONTENT)),
        Err(RemoveError::Refused(refusal)) => Err(refused(refusal)),
        Err(error @ RemoveError::Runs) => Err(ApiError::with(
            StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )),
        Err(RemoveError::Store(error)) => Err(store_failed(&error)),
    }
}

pub(crate) fn refused(refusal: Refusal) -> ApiError {
    if refusal.is_of_hub() {
        ApiError::with(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
            .retry_after(RETRY_SECONDS)
    } else {
        ApiError::bad_request(refusal.to_string())
    }
}
