//! `/hub/api/users`: lists of users, and users one by one.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use lyceum_hub::models::UserView;
use lyceum_hub::permit::{
    CreateUsers, DeleteUser, ListUsers, ManageAuthState, ManageServers, ManageUser, ReadUser,
};
use lyceum_hub::users::{DeleteUserError, UserChange, UserError, UserFilter, UserSort, UserState};
use lyceum_hub::{HubError, Principal};
use serde_json::{Map, Value};

use super::endpoints::{Endpoints, Rule};
use super::fields::{Fields, Kind};
use super::models::{self, Stopped, UserModel};
use super::pagination::PageAsked;
use super::servers;
use crate::caller::{ApiCaller, store_failed};
use crate::forms::Json;
use crate::{ApiError, Web};

/// The keys of a user that clients may send. What a user cannot be created with is passed over, as in JupyterHub.
const KEYS: [(&str, Kind); 5] = [
    ("name", Kind::Text),
    ("admin", Kind::Bool),
    ("groups", Kind::List),
    ("roles", Kind::List),
    ("auth_state", Kind::Object),
];

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/users", Rule::of::<ListUsers>(), list)
        .post("/users", Rule::of::<CreateUsers>(), create_many)
        .get("/users/{user}", Rule::of::<ReadUser>(), show)
        .post("/users/{user}", Rule::of::<ManageUser>(), create)
        .patch("/users/{user}", Rule::of::<ManageUser>(), change)
        .delete("/users/{user}", Rule::of::<DeleteUser>(), delete)
        .post(
            "/users/{user}/admin-access",
            Rule::Other("nobody: scopes say who may use whose server"),
            admin_access,
        )
}

async fn list(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    asked: PageAsked,
    stopped: Stopped,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_list::<ListUsers>(&caller)?;
    let state = state(asked.parameter("state"))?;
    let (sort, descending) = sort(asked.parameter("sort"))?;
    let name_contains = asked
        .parameter("name_filter")
        .filter(|text| !text.is_empty())
        .map(str::to_owned);
    let paging = asked.paging(&web)?;
    let filter = UserFilter {
        page: paging.page(),
        name_contains,
        state,
        sort,
        descending,
    };
    let users = web.hub().list_users(&permit, filter).await?;
    let items = models_of(&web, &users.items, &caller, stopped);
    Ok(paging.answer(items, users.total))
}

fn state(asked: Option<&str>) -> Result<Option<UserState>, ApiError> {
    match asked {
        None | Some("") => Ok(None),
        Some("active") => Ok(Some(UserState::Active)),
        Some("ready") => Ok(Some(UserState::Ready)),
        Some("inactive") => Ok(Some(UserState::Inactive)),
        Some(_) => Err(ApiError::bad_request(
            "`state` must be `active`, `ready` or `inactive`",
        )),
    }
}

fn sort(asked: Option<&str>) -> Result<(UserSort, bool), ApiError> {
    let asked = asked.unwrap_or("id");
    let (name, descending) = match asked.strip_prefix('-') {
        Some(name) => (name, true),
        None => (asked, false),
    };
    let sort = match name {
        "id" => UserSort::Id,
        "name" => UserSort::Name,
        "last_activity" => UserSort::LastActivity,
        _ => {
            return Err(ApiError::bad_request(
                "`sort` must be `id`, `name` or `last_activity`, or one of them with `-` in front",
            ));
        }
    };
    Ok((sort, descending))
}

async fn create_many(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    stopped: Stopped,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<CreateUsers>(&caller)?;
    let keys: Vec<_> = [("usernames", Kind::List)]
        .into_iter()
        .chain(KEYS)
        .collect();
    let mut fields = Fields::read(body.parse()?, &keys)?;
    let names = fields.take_names("usernames")?;
    if names.is_empty() {
        return Err(ApiError::bad_request(
            "`usernames` must name at least one user",
        ));
    }
    let admin = fields.take_bool("admin").unwrap_or(false);
    let created = web
        .hub()
        .create_users(&permit, &caller, &names, admin)
        .await?;
    let items = models_of(&web, &created, &caller, stopped);
    Ok(models::answer_with(StatusCode::CREATED, &items))
}

async fn show(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    stopped: Stopped,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ReadUser>(&caller, &name).await?;
    let view = web.hub().user_view(&permit).await?;
    let mut model = models::user(&web, &view, caller.scopes(), stopped);
    if model.contains_key("auth_state") {
        let state = auth_state(&web, &caller, &name).await?;
        model.insert("auth_state".to_owned(), state);
    }
    Ok(models::answer(&Value::Object(model)))
}

async fn create(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    stopped: Stopped,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_name::<ManageUser>(&caller, &name).await?;
    let body = body.parse()?;
    if web.hub().user_exists(&permit).await? {
        return Err(exists());
    }
    let mut fields = Fields::read_if_any(body, &KEYS)?;
    let admin = fields.take_bool("admin").unwrap_or(false);
    let created = web.hub().create_user(&permit, &caller, admin).await;
    let view = created.map_err(|error| match error {
        UserError::Exists(_) => exists(),
        error => error.into(),
    })?;
    let model = models::user(&web, &view, caller.scopes(), stopped);
    Ok(models::answer_with(
        StatusCode::CREATED,
        &Value::Object(model),
    ))
}

fn exists() -> ApiError {
    let message = "there is a user of this name already";
    ApiError::with(StatusCode::CONFLICT, message)
}

async fn change(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    stopped: Stopped,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ManageUser>(&caller, &name).await?;
    let mut fields = Fields::read(body.parse()?, &KEYS)?;
    if fields.has("groups") || fields.has("roles") {
        return Err(ApiError::bad_request(
            "groups are changed at `/groups`, roles in the configuration",
        ));
    }
    let change = UserChange {
        name: fields.take_text("name"),
        admin: fields.take_bool("admin"),
        auth_state: fields.take_object("auth_state"),
    };
    let view = web.hub().change_user(&permit, &caller, change).await?;
    let mut model = models::user(&web, &view, caller.scopes(), stopped);
    let state = auth_state(&web, &caller, view.user.name.as_str()).await?;
    model.insert("auth_state".to_owned(), state);
    Ok(models::answer(&Value::Object(model)))
}

async fn delete(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<DeleteUser>(&caller, &name).await?;
    web.hub().delete_user(permit, &caller).await?;
    Ok(models::empty(StatusCode::NO_CONTENT))
}

/// From before JupyterHub had OAuth: administrators announced here that they would look at somebody's server. It
/// was off by default, and cannot be switched on here.
async fn admin_access(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    web.hub()
        .permit_user::<ManageServers>(&caller, &name)
        .await?;
    Err(ApiError::with(
        StatusCode::FORBIDDEN,
        "scopes say who may use somebody's server; nothing has to be announced",
    ))
}

fn models_of<'a>(
    web: &Web,
    users: &'a [UserView],
    caller: &Principal,
    stopped: Stopped,
) -> Vec<UserModel<'a>> {
    let scopes = caller.scopes();
    let model = |user| UserModel::of(web, user, scopes, stopped);
    users.iter().filter_map(model).collect()
}

/// The auth state of a user, for whoever may see it; else null.
async fn auth_state(web: &Web, caller: &Principal, name: &str) -> Result<Value, ApiError> {
    let permit = match web.hub().permit_user::<ManageAuthState>(caller, name).await {
        Ok(permit) => permit,
        Err(HubError::Denied(_)) => return Ok(Value::Null),
        Err(error) => return Err(error.into()),
    };
    let state: Option<Map<_, _>> = web.hub().auth_state_of(&permit).await?;
    Ok(state.map_or(Value::Null, Value::Object))
}

impl From<UserError> for ApiError {
    fn from(error: UserError) -> Self {
        let status = match &error {
            // Also the name for a rename that is taken already.
            UserError::Name { .. }
            | UserError::Exists(_)
            | UserError::NoAuthState
            | UserError::ServersActive(_) => StatusCode::BAD_REQUEST,
            UserError::AllExist(_) => StatusCode::CONFLICT,
            UserError::GrantsAdmin | UserError::ChangesAdmin => StatusCode::FORBIDDEN,
            UserError::Store(error) => return store_failed(error),
        };
        Self::with(status, error.to_string())
    }
}

impl From<DeleteUserError> for ApiError {
    fn from(error: DeleteUserError) -> Self {
        match error {
            DeleteUserError::Yourself | DeleteUserError::ServersActive(_) => {
                Self::bad_request(error.to_string())
            }
            DeleteUserError::Refused(refusal) => servers::refused(refusal),
            DeleteUserError::Store(error) => store_failed(&error),
        }
    }
}
