//! `/hub/api/shares`: with whom servers are shared; `/hub/api/users/NAME/shared` and `/hub/api/groups/NAME/shared`:
//! what is shared with them.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use lyceum_core::ServerRef;
use lyceum_core::clock::iso_format;
use lyceum_hub::permit::{
    ListShares, ManageGroupShares, ManageShares, ManageUserShares, ReadGroupShares, ReadShares,
    ReadUserShares,
};
use lyceum_hub::shares::{Receiver, ShareError, ShareView, With, with_filter};
use lyceum_hub::{Paged, Principal, ServerPermit};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use super::models;
use super::pagination::{PageAsked, Paging};
use crate::caller::{ApiCaller, store_failed};
use crate::forms::Json;
use crate::server_path::ServerPath;
use crate::{ApiError, Web};

/// The part of a URL that names a server of somebody else: `OWNER/`, or `OWNER/SERVER`.
#[derive(Debug, Deserialize)]
pub(crate) struct SharedPath {
    /// The user or group with whom it is shared.
    #[serde(alias = "user", alias = "group")]
    with: String,
    owner: String,
    #[serde(default)]
    server: String,
}

pub(crate) fn endpoints() -> Endpoints {
    // The default server, and one with a name. Without the slash, there is no server: that is for lists only.
    let endpoints = ["/shares/{user}/", "/shares/{user}/{server}"]
        .into_iter()
        .fold(Endpoints::default(), |endpoints, path| {
            endpoints
                .get(path, Rule::of::<ReadShares>(), of_server)
                .post(path, Rule::of::<ManageShares>(), grant)
                .patch(path, Rule::of::<ManageShares>(), revoke)
                .delete(path, Rule::of::<ManageShares>(), revoke_all)
        })
        .get("/shares/{user}", Rule::of::<ListShares>(), of_owner)
        .get(
            "/users/{user}/shared",
            Rule::of::<ReadUserShares>(),
            with_user,
        )
        .get(
            "/groups/{group}/shared",
            Rule::of::<ReadGroupShares>(),
            with_group,
        );
    let endpoints = [
        "/users/{user}/shared/{owner}/",
        "/users/{user}/shared/{owner}/{server}",
    ]
    .into_iter()
    .fold(endpoints, |endpoints, path| {
        endpoints
            .get(path, Rule::of::<ReadUserShares>(), one_with_user)
            .delete(path, Rule::of::<ManageUserShares>(), leave_as_user)
    });
    [
        "/groups/{group}/shared/{owner}/",
        "/groups/{group}/shared/{owner}/{server}",
    ]
    .into_iter()
    .fold(endpoints, |endpoints, path| {
        endpoints
            .get(path, Rule::of::<ReadGroupShares>(), one_with_group)
            .delete(path, Rule::of::<ManageGroupShares>(), leave_as_group)
    })
}

async fn of_server(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_server::<ReadShares>(&caller, &path.user, &path.server)
        .await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().shares_of_server(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn of_owner(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(user): Path<String>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ListShares>(&caller, &user).await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().shares_of_owner(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn with_user(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(with): Path<String>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_user::<ReadUserShares>(&caller, &with)
        .await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().shares_with_user(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn with_group(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(with): Path<String>,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_group::<ReadGroupShares>(&caller, &with)
        .await?;
    let paging = asked.paging(&web)?;
    let found = web.hub().shares_with_group(&permit, paging.page()).await?;
    Ok(list(&web, &paging, &found))
}

async fn one_with_user(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<SharedPath>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_user::<ReadUserShares>(&caller, &path.with)
        .await?;
    let found = web
        .hub()
        .get_share_with_user(&permit, &path.owner, &path.server)
        .await?;
    Ok(models::answer(&model(&web, &found)))
}

async fn one_with_group(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<SharedPath>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_group::<ReadGroupShares>(&caller, &path.with)
        .await?;
    let found = web
        .hub()
        .get_share_with_group(&permit, &path.owner, &path.server)
        .await?;
    Ok(models::answer(&model(&web, &found)))
}

async fn leave_as_user(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<SharedPath>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_user::<ManageUserShares>(&caller, &path.with)
        .await?;
    web.hub()
        .leave_as_user(&permit, &path.owner, &path.server)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn leave_as_group(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<SharedPath>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_group::<ManageGroupShares>(&caller, &path.with)
        .await?;
    web.hub()
        .leave_as_group(&permit, &path.owner, &path.server)
        .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn grant(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = manage(&web, &caller, &path).await?;
    let (with, scopes) = share_request(&body)?;
    let share = web
        .hub()
        .grant_share(&caller, &permit, &with, &scopes)
        .await?;
    Ok(models::answer(&model(&web, &share)))
}

async fn revoke(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = manage(&web, &caller, &path).await?;
    let (with, scopes) = share_request(&body)?;
    let left = web.hub().revoke_share(&permit, &with, &scopes).await?;
    Ok(models::answer(
        &left.map_or_else(|| json!({}), |share| model(&web, &share)),
    ))
}

async fn revoke_all(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(path): Path<ServerPath>,
) -> Result<Response, ApiError> {
    let permit = manage(&web, &caller, &path).await?;
    web.hub().revoke_shares(&permit).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn manage(
    web: &Web,
    caller: &Principal,
    path: &ServerPath,
) -> Result<ServerPermit<ManageShares>, ApiError> {
    let permit = web
        .hub()
        .permit_server(caller, &path.user, &path.server)
        .await?;
    Ok(permit)
}

fn list(web: &Web, paging: &Paging, found: &Paged<ShareView>) -> Response {
    let items = found.items.iter().map(|share| model(web, share)).collect();
    paging.answer_wrapped(Value::Array(items), found.total)
}

/// Writes a share (JupyterHub `_ShareAPIHandler.share_model`).
fn model(web: &Web, view: &ShareView) -> Value {
    let share = &view.share;
    let (user, group, kind) = match &share.with {
        Receiver::User(_, name) => (json!({"name": name}), Value::Null, "user"),
        Receiver::Group(_, name) => (Value::Null, json!({"name": name}), "group"),
    };
    json!({
        "server": server_model(web, &share.server, view.ready),
        "scopes": with_filter(&share.scopes, &share.server),
        "user": user,
        "group": group,
        "kind": kind,
        "created_at": iso_format(share.created),
    })
}

/// Writes as much of a server as whoever it is shared with may know.
pub(super) fn server_model(web: &Web, server: &ServerRef, ready: bool) -> Value {
    let settings = web.hub().settings();
    let url = server.url_path(&settings.base_url);
    let full_url = settings
        .public_url
        .as_deref()
        .map(|public| format!("{}{url}", public.trim_end_matches('/')));
    json!({
        "user": {"name": server.user},
        "name": server.server,
        "url": url,
        "full_url": full_url,
        "ready": ready,
    })
}

/// Reads whom and what a request is about; a body that is empty in any way names nobody.
fn share_request(body: &Json) -> Result<(With, Vec<String>), ApiError> {
    let body = object(body.parse()?, &["user", "group", "scopes"])?;
    let name = |key: &str| match body.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name.clone()).filter(|name| !name.is_empty())),
        Some(_) => Err(ApiError::bad_request(format!("`{key}` must be a name"))),
    };
    let with = match (name("user")?, name("group")?) {
        (Some(user), None) => With::User(user),
        (None, Some(group)) => With::Group(group),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::bad_request(
                "name exactly one of `user` and `group`",
            ));
        }
    };
    Ok((with, scopes(&body)?))
}

/// Reads the scopes of a request; none, `null` and an empty list mean the same.
pub(super) fn scopes(body: &Map<String, Value>) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::bad_request("`scopes` must be a list of scopes");
    match body.get("scopes") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => list
            .iter()
            .map(|scope| scope.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// Takes the body of a request for an object with some of these keys and no others.
pub(super) fn object(body: Option<Value>, keys: &[&str]) -> Result<Map<String, Value>, ApiError> {
    let body = match body {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Array(list)) if list.is_empty() => Map::new(),
        Some(Value::Object(body)) => body,
        Some(_) => return Err(ApiError::bad_request("the body must be a JSON object")),
    };
    match body.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(ApiError::bad_request(format!("`{key}` is not known here"))),
        None => Ok(body),
    }
}

impl From<ShareError> for ApiError {
    fn from(error: ShareError) -> Self {
        match &error {
            ShareError::NoServer(_) | ShareError::NoShare => {
                Self::with(StatusCode::NOT_FOUND, error.to_string())
            }
            ShareError::Scope(_)
            | ShareError::OtherFilter { .. }
            | ShareError::NoReceiver { .. } => Self::bad_request(error.to_string()),
            ShareError::NotHeld(_) | ShareError::MayNotName => {
                Self::with(StatusCode::FORBIDDEN, error.to_string())
            }
            ShareError::Store(error) => store_failed(error),
        }
    }
}
