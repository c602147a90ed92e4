//! `/hub/api/`, `/hub/api/info`, `/hub/api/health`, and the end of it all: `/hub/api/shutdown`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_hub::permit::{ReadHub, ShutDown};
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use crate::app::health;
use crate::caller::ApiCaller;
use crate::forms::Json;
use crate::{ApiError, Web};

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/", Rule::Public, version)
        .get("/health", Rule::Public, health)
        .get("/info", Rule::of::<ReadHub>(), info)
        .post("/shutdown", Rule::of::<ShutDown>(), shut_down)
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

/// Has Lyceum end, and says whether users' servers end with it. The gateway is a part of it and ends in any case.
pub(crate) async fn shut_down(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<ShutDown>(&caller)?;
    let body = match body.parse()? {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(body)) => body,
        Some(Value::Array(list)) if list.is_empty() => Map::new(),
        Some(_) => return Err(ApiError::bad_request("the body must be a JSON object")),
    };
    flag(&body, "proxy")?;
    let servers = flag(&body, "servers")?;
    web.hub().end(&permit, servers);
    let mut response = super::models::answer(&json!({"message": "Shutting down Hub"}));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

/// A flag of the body; 0 and 1 will do, as in JupyterHub.
fn flag(body: &Map<String, Value>, key: &str) -> Result<Option<bool>, ApiError> {
    match body.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Ok(Some(true)),
        Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(Some(false)),
        Some(_) => Err(ApiError::bad_request(format!(
            "`{key}` must be true or false"
        ))),
    }
}
