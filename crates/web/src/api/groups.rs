//! `/hub/api/groups`: groups, their members and properties.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::Principal;
use lyceum_hub::groups::{GroupError, GroupView, Membership};
use lyceum_hub::permit::{
    CreateGroup, CreateGroups, DeleteGroup, ListGroups, ManageGroup, ReadGroup,
};
use serde_json::Value;

use super::endpoints::{Endpoints, Rule};
use super::fields::{Fields, Kind};
use super::models;
use super::pagination::PageAsked;
use crate::caller::{ApiCaller, store_failed};
use crate::forms::{Json, OptionsJson};
use crate::{ApiError, Web};

/// The keys of a group that clients may send. `name` and `roles` are passed over, as in JupyterHub.
const KEYS: [(&str, Kind); 3] = [
    ("name", Kind::Text),
    ("users", Kind::List),
    ("roles", Kind::List),
];

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/groups", Rule::of::<ListGroups>(), list)
        .post("/groups", Rule::of::<CreateGroups>(), create_many)
        .get("/groups/{group}", Rule::of::<ReadGroup>(), show)
        .post("/groups/{group}", Rule::of::<CreateGroup>(), create)
        .delete("/groups/{group}", Rule::of::<DeleteGroup>(), delete)
        .post(
            "/groups/{group}/users",
            Rule::of::<ManageGroup>(),
            add_members,
        )
        .delete(
            "/groups/{group}/users",
            Rule::of::<ManageGroup>(),
            remove_members,
        )
        .put(
            "/groups/{group}/properties",
            Rule::of::<ManageGroup>(),
            set_properties,
        )
}

async fn list(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_list::<ListGroups>(&caller)?;
    let paging = asked.paging(&web)?;
    let groups = web.hub().list_groups(&permit, paging.page()).await?;
    Ok(paging.answer(models_of(&groups.items, &caller), groups.total))
}

async fn create_many(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<CreateGroups>(&caller)?;
    let keys: Vec<_> = [("groups", Kind::List)].into_iter().chain(KEYS).collect();
    let mut fields = Fields::read(body.parse()?, &keys)?;
    let names = fields.take_names("groups")?;
    if names.is_empty() {
        return Err(ApiError::bad_request(
            "`groups` must name at least one group",
        ));
    }
    let members = fields.take_names("users")?;
    let created = web
        .hub()
        .create_groups(&permit, &caller, &names, &members)
        .await?;
    Ok(models::answer_with(
        StatusCode::CREATED,
        &models_of(&created, &caller),
    ))
}

async fn show(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_group::<ReadGroup>(&caller, &name).await?;
    let view = web.hub().group_view(&permit).await?;
    Ok(answer(StatusCode::OK, &view, &caller))
}

async fn create(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_name::<CreateGroup>(&caller, &name).await?;
    let mut fields = match body.parse()? {
        None | Some(Value::Null) => Fields::default(),
        body => Fields::read(body, &KEYS)?,
    };
    let members = fields.take_names("users")?;
    let view = web.hub().create_group(&permit, &caller, &members).await?;
    Ok(answer(StatusCode::CREATED, &view, &caller))
}

async fn delete(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_group::<DeleteGroup>(&caller, &name)
        .await?;
    web.hub().delete_group(&permit, &caller).await?;
    Ok(models::empty(StatusCode::NO_CONTENT))
}

async fn add_members(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    set_members(&web, &caller, &name, &body, Membership::Member).await
}

async fn remove_members(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    set_members(&web, &caller, &name, &body, Membership::NoMember).await
}

async fn set_members(
    web: &Web,
    caller: &Principal,
    name: &str,
    body: &Json,
    membership: Membership,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_group::<ManageGroup>(caller, name).await?;
    let mut fields = Fields::read(body.parse()?, &KEYS)?;
    if !fields.has("users") {
        return Err(ApiError::bad_request("`users` must name the users"));
    }
    let users = fields.take_names("users")?;
    let view = web
        .hub()
        .set_members(&permit, caller, &users, membership)
        .await?;
    Ok(answer(StatusCode::OK, &view, caller))
}

async fn set_properties(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: OptionsJson,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_group::<ManageGroup>(&caller, &name)
        .await?;
    let Some(Value::Object(properties)) = body.parse()? else {
        return Err(ApiError::bad_request(
            "the body must be a JSON object: all properties",
        ));
    };
    let view = web
        .hub()
        .set_properties(&permit, &caller, properties)
        .await?;
    Ok(answer(StatusCode::OK, &view, &caller))
}

fn answer(status: StatusCode, view: &GroupView, caller: &Principal) -> Response {
    let model = models::group(view, caller.scopes());
    models::answer_with(status, &Value::Object(model))
}

fn models_of(groups: &[GroupView], caller: &Principal) -> Value {
    groups
        .iter()
        .map(|group| Value::Object(models::group(group, caller.scopes())))
        .collect()
}

impl From<GroupError> for ApiError {
    fn from(error: GroupError) -> Self {
        let status = match &error {
            GroupError::Name { .. } | GroupError::NoUser(_) => StatusCode::BAD_REQUEST,
            GroupError::Exists(_) => StatusCode::CONFLICT,
            GroupError::Store(error) => return store_failed(error),
        };
        Self::with(status, error.to_string())
    }
}
