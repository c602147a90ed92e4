//! `/hub/api/` and `/hub/api/info`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_hub::permit::ReadHub;
use serde_json::json;

use super::endpoints::{Endpoints, Rule};
use crate::app::health;
use crate::caller::ApiCaller;
use crate::{ApiError, Web};

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/", Rule::Public, version)
        .get("/health", Rule::Public, health)
        .get("/info", Rule::of::<ReadHub>(), info)
}

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
    web.hub().permit_hub::<ReadHub>(&caller)?;
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
