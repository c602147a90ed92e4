//! `/hub/api/users/NAME/tokens`: list, make, look at and revoke a user's tokens.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::clock::iso_format;
use lyceum_core::ids::TokenId;
use lyceum_core::seams::Attempt;
use lyceum_core::{Secret, Timestamp};
use lyceum_hub::permit::{ManageTokens, ReadTokens};
use lyceum_hub::tokens::{TokenError, TokenRights, TokenView, TokenWish};
use lyceum_hub::{HubError, LoginError, Principal};
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use super::models;
use crate::caller::{ApiCaller, MaybeApiCaller, not_logged_in, store_failed};
use crate::forms::Json;
use crate::{ApiError, Client, Web};

/// When another try makes sense after the login method did not answer.
const RETRY_SECONDS: u64 = 5;

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/users/{user}/tokens", Rule::of::<ReadTokens>(), list)
        .post(
            "/users/{user}/tokens",
            Rule::Other(
                "tokens (on: User), also by a login in the body (`auth`); 403 in place of 404",
            ),
            create,
        )
        .get(
            "/users/{user}/tokens/{token_id}",
            Rule::of::<ReadTokens>(),
            show,
        )
        .delete(
            "/users/{user}/tokens/{token_id}",
            Rule::of::<ManageTokens>(),
            revoke,
        )
}

async fn list(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ReadTokens>(&caller, &name).await?;
    let tokens = web.hub().tokens_of(&permit).await?;
    let tokens: Vec<Value> = tokens.iter().map(model).collect();
    Ok(models::answer(&json!({"api_tokens": tokens})))
}

async fn show(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_user::<ReadTokens>(&caller, &name).await?;
    let id = token_id(&id).ok_or_else(ApiError::not_found)?;
    let token = web.hub().token_of(&permit, id).await?;
    let token = token.ok_or_else(ApiError::not_found)?;
    Ok(models::answer(&model(&token)))
}

async fn revoke(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path((name, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_user::<ManageTokens>(&caller, &name)
        .await?;
    let id = token_id(&id).ok_or_else(ApiError::not_found)?;
    if web.hub().revoke_token(&permit, id).await? {
        Ok(models::empty(StatusCode::NO_CONTENT))
    } else {
        Err(ApiError::not_found())
    }
}

async fn create(
    State(web): State<Web>,
    MaybeApiCaller(caller): MaybeApiCaller,
    Path(name): Path<String>,
    client: Client,
    body: Json,
) -> Result<Response, ApiError> {
    let body = body.parse()?.unwrap_or(Value::Null);
    let caller = match caller {
        Some(caller) => caller,
        None => log_in(&web, &client, &body).await?,
    };
    let permit = match web.hub().permit_user::<ManageTokens>(&caller, &name).await {
        Ok(permit) => permit,
        Err(HubError::Denied(_)) => {
            return Err(ApiError::with(
                StatusCode::FORBIDDEN,
                "there is no such user, or you may not make tokens for them",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    let wish = wish(body)?;
    let made = web.hub().create_token(&permit, &caller, wish).await;
    let made = made.map_err(|error| match error {
        TokenError::Store(error) => store_failed(&error),
        error => ApiError::bad_request(error.to_string()),
    })?;
    let mut model = model(&made.view);
    if let Value::Object(model) = &mut model {
        model.insert("token".to_owned(), json!(made.secret.expose()));
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    Ok((StatusCode::CREATED, kind, model.to_string()).into_response())
}

/// Finds out who asks by what the body says in place of a login form; it begins no session.
async fn log_in(web: &Web, client: &Client, body: &Value) -> Result<Principal, ApiError> {
    let field = |name| body.get("auth")?.get(name)?.as_str();
    // The form trims names, programs do not.
    let username = field("username").filter(|name| name.trim() == *name);
    let (Some(username), Some(password)) = (username, field("password")) else {
        return Err(not_logged_in());
    };
    let addr = client.addr_text();
    let attempt = Attempt {
        username: username.to_owned(),
        password: Secret::from(password),
        client_addr: addr.clone(),
    };
    let principal = web.hub().principal_of_login(attempt, &addr);
    principal.await.map_err(|error| match error {
        LoginError::Store(error) => store_failed(&error),
        LoginError::Unavailable(_) | LoginError::TooSlow => ApiError::with(
            StatusCode::SERVICE_UNAVAILABLE,
            "what checks passwords does not answer; try again in a moment",
        )
        .retry_after(RETRY_SECONDS),
        error @ LoginError::Slowed { seconds, .. } => {
            ApiError::with(StatusCode::TOO_MANY_REQUESTS, error.to_string()).retry_after(seconds)
        }
        _ => ApiError::forbidden(),
    })
}

/// Reads what the token shall be. Anything empty is a body without wishes, as for JupyterHub.
fn wish(body: Value) -> Result<TokenWish, ApiError> {
    let mut body = match body {
        Value::Object(body) => body,
        body if is_nothing(&body) => Map::new(),
        _ => return Err(ApiError::bad_request("the body must be a JSON object")),
    };
    let note = match body.remove("note") {
        None => String::new(),
        Some(Value::String(note)) => note,
        Some(note) if is_nothing(&note) => String::new(),
        Some(_) => return Err(ApiError::bad_request("`note` must be a text")),
    };
    let lifetime = match body.remove("expires_in") {
        None | Some(Value::Null) => None,
        Some(value) => match value.as_u64() {
            Some(seconds) if seconds > 0 => Some(Duration::from_secs(seconds)),
            _ => {
                return Err(ApiError::bad_request(
                    "`expires_in` must be null or a positive whole number of seconds",
                ));
            }
        },
    };
    let rights = match (names(&mut body, "scopes")?, names(&mut body, "roles")?) {
        (None, None) => TokenRights::Default,
        (Some(scopes), None) => TokenRights::Scopes(scopes),
        (None, Some(roles)) => TokenRights::Roles(roles),
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "give either `scopes` or `roles`, not both",
            ));
        }
    };
    Ok(TokenWish {
        note,
        lifetime,
        rights,
    })
}

fn names(body: &mut Map<String, Value>, key: &str) -> Result<Option<Vec<String>>, ApiError> {
    let wrong = || ApiError::bad_request(format!("`{key}` must be null or a list of texts"));
    let list = match body.remove(key) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong()),
    };
    let texts = list.into_iter().map(|item| match item {
        Value::String(text) => Ok(text),
        _ => Err(wrong()),
    });
    texts.collect::<Result<_, _>>().map(Some)
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Reads the id of a token, `a<number>`.
pub(crate) fn token_id(text: &str) -> Option<TokenId> {
    let digits = text.strip_prefix('a')?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(TokenId)
}

/// Writes a token (JupyterHub `APIHandler.token_model`).
fn model(view: &TokenView) -> Value {
    let token = &view.token;
    let time = |at: Option<Timestamp>| at.map(iso_format);
    json!({
        "user": view.user.name,
        "id": format!("a{}", token.id),
        "kind": "api_token",
        "roles": [],
        "scopes": view.scopes.to_strings(),
        "created": iso_format(token.created),
        "last_activity": time(token.last_activity),
        "expires_at": time(token.expires_at),
        "note": token.note,
        "session_id": token.session_id,
        "oauth_client": view.client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_an_a_and_a_number_of_64_bits() {
        for (text, id) in [
            ("a1", Some(1)),
            ("a0012", Some(12)),
            ("a9223372036854775807", Some(i64::MAX)),
            ("a9223372036854775808", None),
            ("a", None),
            ("1", None),
            ("A1", None),
            ("a-1", None),
            ("a+1", None),
            ("a 1", None),
            ("a1.0", None),
            ("a\u{0661}", None),
            ("", None),
        ] {
            assert_eq!(token_id(text), id.map(TokenId), "{text}");
        }
    }
}
