//! `/hub/api/proxy`: the table of routes, and its check.
//!
//! The proxy is the gateway, a part of this program: there is no other to move to.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::clock::iso_format;
use lyceum_core::seams::RoutesError;
use lyceum_hub::permit::ManageProxy;
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoints, Rule};
use super::pagination::PageAsked;
use crate::caller::ApiCaller;
use crate::forms::Json;
use crate::{ApiError, Web};

pub(crate) fn endpoints() -> Endpoints {
    let rule = Rule::of::<ManageProxy>();
    Endpoints::default()
        .get("/proxy", rule, list)
        .post("/proxy", rule, check)
        .patch("/proxy", rule, change)
}

/// All routes by their prefixes, also the one that leads to the hub.
pub(crate) async fn list(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    asked: PageAsked,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<ManageProxy>(&caller)?;
    let paging = asked.paging(&web)?;
    let mut routes = Map::new();
    let (spec, hub) = hub_route(&web);
    routes.insert(spec, hub);
    for status in web
        .hub()
        .routes(&permit)
        .await
        .map_err(|error| failed(&error))?
    {
        let spec = status.route.spec.to_string();
        let mut data = status.route.data;
        // A route that nobody has used yet counts from now on, as in configurable-http-proxy.
        let at = status.last_activity.unwrap_or_else(|| web.hub().now());
        data.insert("last_activity".to_owned(), json!(iso_format(at)));
        let route = json!({
            "routespec": spec,
            "target": status.route.target.to_string(),
            "data": data,
        });
        routes.insert(spec, route);
    }
    // The map is sorted by its keys, so that pages fit together.
    let total = u64::try_from(routes.len()).unwrap_or(u64::MAX);
    let page = paging.page();
    let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let shown: Map<String, Value> = routes
        .into_iter()
        .skip(index(page.offset))
        .take(index(page.limit))
        .collect();
    Ok(paging.answer(Value::Object(shown), total))
}

/// Whatever no route covers leads to the hub, which answers servers at the address of its API.
fn hub_route(web: &Web) -> (String, Value) {
    let settings = web.hub().settings();
    let spec = settings.base_url.clone();
    let target = match settings.api_url.split_once("://") {
        Some((scheme, rest)) => {
            let host = rest.split('/').next().unwrap_or_default();
            format!("{scheme}://{host}")
        }
        None => settings.api_url.clone(),
    };
    let route = json!({"routespec": spec, "target": target, "data": {"hub": true, "last_activity": iso_format(web.hub().now())}});
    (spec, route)
}

/// Checks the routes now, and mends them. A body is not looked at, as in JupyterHub.
pub(crate) async fn check(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<ManageProxy>(&caller)?;
    web.hub()
        .check_routes_now(&permit)
        .await
        .map_err(|error| failed(&error))?;
    Ok(done())
}

/// Would move to another proxy. Without one in the body, the routes are checked, as in JupyterHub.
pub(crate) async fn change(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web.hub().permit_hub::<ManageProxy>(&caller)?;
    let Some(Value::Object(body)) = body.parse()? else {
        return Err(ApiError::bad_request("the body must be a JSON object"));
    };
    if body.contains_key("api_url") || body.contains_key("auth_token") {
        return Err(ApiError::bad_request(
            "the proxy is a part of this hub, and cannot be replaced by another one",
        ));
    }
    web.hub()
        .check_routes_now(&permit)
        .await
        .map_err(|error| failed(&error))?;
    Ok(done())
}

fn done() -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        "",
    )
        .into_response()
}

fn failed(error: &RoutesError) -> ApiError {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "could not look after the routes"
    );
    ApiError::with(
        StatusCode::SERVICE_UNAVAILABLE,
        "the proxy did not answer; try again in a moment",
    )
}
