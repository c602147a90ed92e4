//! `/hub/api/` and `/hub/api/info`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::scope::{Scope, Target};
use serde_json::json;

use crate::caller::ApiCaller;
use crate::{ApiError, Web};

/// The version, for everybody: single-user servers ask for it before they serve anything.
pub(crate) async fn version() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let body = json!({"version": lyceum_hub::JUPYTERHUB_VERSION}).to_string();
    (StatusCode::OK, headers, body).into_response()
}

/// What the hub is made of. There is no Python here: its keys stay, and name this program.
pub(crate) async fn info(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
) -> Result<Response, ApiError> {
    if !caller
        .scopes()
        .check(Scope::ReadHub, Target::Any)
        .is_allowed()
    {
        return Err(ApiError::forbidden());
    }
    let (spawner, authenticator) = web.hub().kinds();
    let version = env!("CARGO_PKG_VERSION");
    Ok(super::models::answer(&json!({
        "version": lyceum_hub::JUPYTERHUB_VERSION,
        "python": format!("Lyceum {version}"),
        "sys_executable": std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
        "spawner": {"class": format!("lyceum.{spawner}"), "version": version},
        "authenticator": {"class": format!("lyceum.{authenticator}"), "version": version},
    })))
}
