//! `/hub/api/users/NAME/server` and `/hub/api/users/NAME/servers/SERVER`: look, start, stop.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_core::ServerName;
use lyceum_core::lifecycle::Refusal;
use lyceum_core::names::NameError;
use lyceum_hub::display_name;
use lyceum_hub::permit::{ReadServer, StartServer, StopServer};
use lyceum_hub::running::Outcome;
use lyceum_hub::{Action, Principal, RemoveError, ServerPermit, StartError, StartInput};
use serde_json::{Map, Value};

use super::endpoints::{Endpoints, Rule};
use super::models;
use crate::caller::{ApiCaller, store_failed};
use crate::forms::{Json, MAX_FIELDS, OptionsJson, too_many_fields};
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
    let input = start_input(body.parse()?)?;
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
            Err(ApiError::with(StatusCode::INTERNAL_SERVER_ERROR, message))
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

fn start_refused(error: StartError) -> ApiError {
    match error {
        StartError::Refused(refusal) => refused(refusal),
        StartError::Name(error) => bad_name(&error),
        StartError::NamedServersOff | StartError::TooManyNamed(_) => {
            ApiError::bad_request(error.to_string())
        }
        StartError::Busy(seconds) => {
            ApiError::with(StatusCode::TOO_MANY_REQUESTS, error.to_string()).retry_after(seconds)
        }
        StartError::Full => ApiError::with(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
        StartError::Failed(failure) => {
            ApiError::with(StatusCode::INTERNAL_SERVER_ERROR, failure.message)
        }
        StartError::Store(error) => store_failed(&error),
    }
}

fn bad_name(error: &NameError) -> ApiError {
    ApiError::bad_request(error.to_string())
}

/// Reads what a start is asked with. Without one of the two keys, the whole object is the options (clients
/// from before JupyterHub 6 send that); an empty list counts as no body.
fn start_input(body: Option<Value>) -> Result<StartInput, ApiError> {
    let mut body = match body {
        None | Some(Value::Null) => return Ok(StartInput::default()),
        Some(Value::Array(list)) if list.is_empty() => return Ok(StartInput::default()),
        Some(Value::Object(body)) => body,
        Some(_) => return Err(ApiError::bad_request("the body must be a JSON object")),
    };
    if !body.contains_key("user_options") && !body.contains_key("display_name") {
        let user_options = if body.is_empty() {
            None
        } else {
            Some(checked_options(body)?)
        };
        return Ok(StartInput {
            user_options,
            display_name: None,
        });
    }
    let user_options = match body.remove("user_options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(checked_options(options)?),
        Some(_) => {
            return Err(ApiError::bad_request(
                "`user_options` must be an object or null",
            ));
        }
    };
    let shown_name = match body.remove("display_name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(
            display_name::display_name(&name)
                .map_err(|error| ApiError::bad_request(error.to_string()))?,
        ),
        Some(_) => return Err(ApiError::bad_request("`display_name` must be a text")),
    };
    Ok(StartInput {
        user_options,
        display_name: shown_name,
    })
}

/// Keys that JupyterHub keeps for itself cannot be options (JupyterHub 6.1).
fn checked_options(options: Map<String, Value>) -> Result<Map<String, Value>, ApiError> {
    if options.len() > MAX_FIELDS {
        return Err(too_many_fields());
    }
    match options.keys().find(|key| key.starts_with("__jupyterhub_")) {
        Some(key) => Err(ApiError::bad_request(format!(
            "`{key}` cannot be an option: the name is reserved"
        ))),
        None => Ok(options),
    }
}

async fn stop(
    web: &Web,
    caller: &Principal,
    user: &str,
    server: &str,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = permit::<StopServer>(web, caller, user, server).await?;
    let remove = match body.parse()? {
        None | Some(Value::Null) => false,
        Some(Value::Object(body)) => match body.get("remove") {
            None => false,
            Some(Value::Bool(remove)) => *remove,
            Some(_) => return Err(ApiError::bad_request("`remove` must be true or false")),
        },
        Some(_) => return Err(ApiError::bad_request("the body must be a JSON object")),
    };
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

fn refused(refusal: Refusal) -> ApiError {
    if refusal.is_of_hub() {
        ApiError::with(StatusCode::SERVICE_UNAVAILABLE, refusal.to_string())
            .retry_after(RETRY_SECONDS)
    } else {
        ApiError::bad_request(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_without_the_two_keys_is_all_options() {
        let input = start_input(Some(json!({"memory": "2G"}))).unwrap();
        assert_eq!(
            input.user_options,
            json!({"memory": "2G"}).as_object().cloned()
        );
        let input =
            start_input(Some(json!({"user_options": {"a": 1}, "display_name": "x"}))).unwrap();
        assert_eq!(input.user_options, json!({"a": 1}).as_object().cloned());
        assert_eq!(input.display_name.as_deref(), Some("x"));
        assert!(start_input(Some(json!([]))).unwrap().user_options.is_none());
    }

    #[test]
    fn bodies_of_other_types_are_refused() {
        for body in [
            json!("x"),
            json!(1),
            json!([1]),
            json!({"user_options": 1}),
            json!({"display_name": 1}),
            json!({"display_name": "a\u{202e}b"}),
            json!({"__jupyterhub_bytes__": true}),
        ] {
            assert!(start_input(Some(body.clone())).is_err(), "{body}");
        }
    }
}
