//! `/hub/api/services`: the services of the configuration, and those that are made here.

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use lyceum_core::Secret;
use lyceum_core::service::ServiceDraft;
use lyceum_hub::permit::{ListServices, ManageService, ReadService};
use lyceum_hub::{CreateServiceError, DeleteServiceError};
use serde_json::{Map, Value};

use super::endpoints::{Endpoints, Rule};
use super::models;
use crate::caller::{ApiCaller, store_failed};
use crate::forms::Json;
use crate::{ApiError, Web};

pub(crate) fn endpoints() -> Endpoints {
    Endpoints::default()
        .get("/services", Rule::of::<ListServices>(), list)
        .get("/services/{service}", Rule::of::<ReadService>(), read)
        .post("/services/{service}", Rule::of::<ManageService>(), create)
        .delete("/services/{service}", Rule::of::<ManageService>(), delete)
}

/// An object of services by name; it has no pages.
async fn list(State(web): State<Web>, ApiCaller(caller): ApiCaller) -> Result<Response, ApiError> {
    let permit = web.hub().permit_list::<ListServices>(&caller)?;
    let services: Map<String, Value> = web
        .hub()
        .service_views(&permit)
        .await?
        .iter()
        .map(|view| {
            let model = models::service(view, permit.scopes());
            (view.service.data.name.to_string(), Value::Object(model))
        })
        .collect();
    Ok(models::answer(&Value::Object(services)))
}

async fn read(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_service::<ReadService>(&caller, &name)
        .await?;
    let view = web.hub().service_view(&permit).await?;
    let model = models::service(&view, caller.scopes());
    Ok(models::answer(&Value::Object(model)))
}

async fn create(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
    body: Json,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_name::<ManageService>(&caller, &name)
        .await?;
    // That there is one already is told before its description is looked at, as in JupyterHub.
    if web.hub().service_exists(&permit).await? {
        return Err(CreateServiceError::Exists(name).into());
    }
    let draft = draft(body.parse()?)?;
    let view = web.hub().create_service(&permit, &caller, draft).await?;
    let model = models::service(&view, caller.scopes());
    Ok(models::answer_with(
        StatusCode::CREATED,
        &Value::Object(model),
    ))
}

async fn delete(
    State(web): State<Web>,
    ApiCaller(caller): ApiCaller,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let permit = web
        .hub()
        .permit_service::<ManageService>(&caller, &name)
        .await?;
    web.hub().delete_service(&permit).await?;
    // With a body's type and without a body, as JupyterHub answers.
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/json")]).into_response())
}

/// Reads the description of a service; each key has one type, and there are no others.
fn draft(body: Option<Value>) -> Result<ServiceDraft, ApiError> {
    let Some(Value::Object(fields)) = body else {
        return Err(ApiError::bad_request(
            "expected an object that describes the service",
        ));
    };
    if fields.is_empty() {
        return Err(ApiError::bad_request("the service is not described"));
    }
    let mut draft = ServiceDraft::default();
    for (key, value) in fields {
        field(&mut draft, &key, value)?;
    }
    Ok(draft)
}

fn field(draft: &mut ServiceDraft, key: &str, value: Value) -> Result<(), ApiError> {
    match key {
        // The name is the one of the path.
        "name" => drop(text(key, value)?),
        "admin" => draft.admin = boolean(key, &value)?,
        "url" => draft.url = Some(text(key, value)?),
        "oauth_client_allowed_scopes" => draft.oauth_client_allowed_scopes = texts(key, value)?,
        "api_token" => {
            let token = text(key, value)?;
            draft.api_token = (!token.is_empty()).then(|| Secret::new(token));
        }
        "info" => match value {
            Value::Object(info) => draft.info = info,
            _ => return Err(wrong(key, "an object")),
        },
        "display" => draft.display = boolean(key, &value)?,
        "oauth_no_confirm" => draft.oauth_no_confirm = boolean(key, &value)?,
        "command" => draft.command = texts(key, value)?,
        "cwd" => draft.cwd = Some(text(key, value)?.into()),
        // For a process of the hub's, which this service has none of. JupyterHub takes any values.
        "environment" => match value {
            Value::Object(_) => {}
            _ => return Err(wrong(key, "an object")),
        },
        "user" => draft.user = Some(text(key, value)?),
        "oauth_client_id" => match text(key, value)? {
            // Whoever wants no client leaves it out.
            id if id.is_empty() => return Err(wrong(key, "the id of a client")),
            id => draft.oauth_client_id = Some(id),
        },
        "oauth_redirect_uri" => draft.oauth_redirect_uri = Some(text(key, value)?),
        _ => {
            return Err(ApiError::bad_request(format!(
                "`{key}` is not something that a service has"
            )));
        }
    }
    Ok(())
}

fn text(key: &str, value: Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(wrong(key, "a text")),
    }
}

fn boolean(key: &str, value: &Value) -> Result<bool, ApiError> {
    value.as_bool().ok_or_else(|| wrong(key, "true or false"))
}

fn texts(key: &str, value: Value) -> Result<Vec<String>, ApiError> {
    match value {
        Value::Array(items) => items.into_iter().map(|item| text(key, item)).collect(),
        _ => Err(wrong(key, "a list of texts")),
    }
}

fn wrong(key: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("`{key}` of a service has to be {expected}"))
}

impl From<CreateServiceError> for ApiError {
    fn from(error: CreateServiceError) -> Self {
        match error {
            CreateServiceError::Exists(_) => Self::with(StatusCode::CONFLICT, error.to_string()),
            CreateServiceError::Store(error) => store_failed(&error),
            CreateServiceError::Managed
            | CreateServiceError::Invalid(_)
            | CreateServiceError::Scope(_)
            | CreateServiceError::Beyond(_)
            | CreateServiceError::ClientTaken(_)
            | CreateServiceError::TokenTaken => Self::bad_request(error.to_string()),
        }
    }
}

impl From<DeleteServiceError> for ApiError {
    fn from(error: DeleteServiceError) -> Self {
        match error {
            DeleteServiceError::FromConfig(_) => {
                Self::with(StatusCode::METHOD_NOT_ALLOWED, error.to_string())
            }
            DeleteServiceError::Store(error) => store_failed(&error),
        }
    }
}
