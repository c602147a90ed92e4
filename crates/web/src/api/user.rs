//! `/hub/api/user`: who am I?

use axum::extract::State;
use axum::response::Response;
use lyceum_core::scope::{ScopeSet, identify_scopes};
use lyceum_hub::{Owner, Principal, Via};
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use super::models::{self, Stopped};
use crate::caller::ApiCaller;
use crate::{ApiError, Web};

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default().get("/user", Rule::Known, introspect)
}

/// Who presents this token or cookie: the endpoint by which servers and services know their visitors.
pub(crate) async fn introspect(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    stopped: Stopped,
) -> Result<Response, ApiError> {
    // The model always has what identifies the owner; the list of scopes names only what was granted.
    let mut scopes = caller.scopes().clone();
    for scope in identify_scopes(caller.scope_owner()) {
        scopes.insert(scope);
    }
    let mut model = own_model(&web, &caller, &scopes, stopped).await?;
    let (token_id, session_id) = match caller.via() {
        Via::Session(_) | Via::Credentials => (Value::Null, Value::Null),
        Via::Token { id, session_id, .. } => (json!(format!("a{id}")), json!(session_id)),
    };
    model.insert("token_id".to_owned(), token_id);
    model.insert("session_id".to_owned(), session_id);
    model.insert("scopes".to_owned(), json!(caller.scopes().to_strings()));
    Ok(models::answer(&Value::Object(model)))
}

/// Writes whoever `owner` is, as far as `scopes` allow.
pub(super) async fn own_model(
    web: &Web,
    owner: &Principal,
    scopes: &ScopeSet,
    stopped: Stopped,
) -> Result<Map<String, Value>, ApiError> {
    Ok(match owner.owner() {
        Owner::User(_) => match web.hub().own_view(owner).await? {
            Some(view) => models::user(web, &view, scopes, stopped),
            None => Map::new(),
        },
        Owner::Service(_) => match web.hub().own_service_view(owner).await? {
            Some(view) => models::service(&view, scopes),
            None => Map::new(),
        },
    })
}
