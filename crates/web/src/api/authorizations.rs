//! `/hub/api/authorizations/…`: how services of old asked whose a token or a cookie is. They ask `/hub/api/user` now.

use axum::extract::{Path, State};
use axum::response::Response;
use lyceum_core::Secret;
use lyceum_core::scope::identify_scopes;
use lyceum_hub::{Principal, Via};
use serde_json::Value;

use super::endpoints::{Endpoints, Rule};
use super::models::{self, Stopped};
use crate::caller::ApiCaller;
use crate::forms::Json;
use crate::{ApiError, Web, cookies};

/// Who may ask.
const BY_TOKEN: Rule = Rule::Other("whoever shows a token of their own; a login is not enough");

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/authorizations/token/{token}", BY_TOKEN, token)
        .post(
            "/authorizations/token",
            Rule::Other("nobody: it is gone since JupyterHub 2, and always 404"),
            gone,
        )
        .get(
            "/authorizations/cookie/{cookie_name}",
            BY_TOKEN,
            cookie_in_body,
        )
        .get(
            "/authorizations/cookie/{cookie_name}/{cookie_value}",
            BY_TOKEN,
            cookie,
        )
}

async fn token(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(token): Path<String>,
) -> Result<Response, ApiError> {
    by_token(&caller)?;
    let found = web.hub().principal_of_token(&Secret::new(token)).await?;
    let found = found.ok_or_else(ApiError::not_found)?;
    let mut scopes = caller.scopes().clone();
    // Whoever has the token may know whose it is.
    for scope in identify_scopes(found.scope_owner()) {
        scopes.insert(scope);
    }
    let model = super::user::own_model(&web, &found, &scopes, Stopped::Hidden).await?;
    Ok(models::answer(&Value::Object(model)))
}

async fn gone() -> ApiError {
    ApiError::with(
        http::StatusCode::NOT_FOUND,
        "this is gone since JupyterHub 2: use /hub/api/users/NAME/tokens",
    )
}

async fn cookie_in_body(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    let value = String::from_utf8_lossy(body.bytes()).into_owned();
    owner_of_cookie(&web, &caller, &name, value).await
}

async fn cookie(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path((name, value)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    owner_of_cookie(&web, &caller, &name, value).await
}

async fn owner_of_cookie(
    web: &Web,
    caller: &Principal,
    name: &str,
    value: String,
) -> Result<Response, ApiError> {
    by_token(caller)?;
    let secret = Secret::new(value);
    let found = match name {
        cookies::LOGIN => web.hub().principal_of_cookie(&secret).await?,
        _ => None,
    };
    let found = found.ok_or_else(ApiError::not_found)?;
    // Unlike with a token, only what the caller may see of this user anyway.
    let model = super::user::own_model(web, &found, caller.scopes(), Stopped::Hidden).await?;
    Ok(models::answer(&Value::Object(model)))
}

/// A browser has no business here: what a login proves is for pages.
fn by_token(caller: &Principal) -> Result<(), ApiError> {
    match caller.via() {
        Via::Token { .. } => Ok(()),
        Via::Session(_) | Via::Credentials => Err(ApiError::forbidden()),
    }
}
