//! The JSON of users, servers and groups: only what the caller's scopes let them see.

mod group;
mod service;
mod user;

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::clock::iso_format;
use lyceum_core::scope::{Scope, ScopeSet, Target};
use lyceum_core::{GroupName, Timestamp};
use lyceum_hub::models::ServerView;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use self::group::group;
pub(crate) use self::service::service;
pub(crate) use self::user::{Stopped, UserModel, user};
use crate::uploads::without_bytes;
use crate::{ApiError, Web};

/// A JSON answer with status 200.
pub(crate) fn answer(value: &impl Serialize) -> Response {
    answer_with(StatusCode::OK, value)
}

/// A JSON answer with another status.
pub(crate) fn answer_with(status: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => {
            // Only what has keys other than text cannot be written.
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "could not write an answer"
            );
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR).into_response()
        }
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    (status, [(header::CONTENT_TYPE, "text/plain")], "").into_response()
}

/// Writes a server (JupyterHub `APIHandler.server_model`).
pub(crate) fn server(
    web: &Web,
    view: &ServerView,
    scopes: &ScopeSet,
    groups: &[GroupName],
) -> Value {
    let base = web.hub().settings().base_url.as_str();
    let public = web
        .hub()
        .settings()
        .public_url
        .as_deref()
        .map(|url| url.trim_end_matches('/'));
    let url = view.server.url_path(base);
    let progress_url = format!("{}/progress", view.server.api_path(base));
    let state = &view.now.state;
    let row = view.row.as_ref();
    let name = view.server.server.as_str();
    let display_name = row
        .and_then(|row| row.display_name.as_deref())
        .unwrap_or(name);
    let started = view.now.started.or_else(|| row.and_then(|row| row.started));
    let mut model = json!({
        "name": name,
        "display_name": display_name,
        "full_name": view.server.to_string(),
        "last_activity": time(row.and_then(|row| row.last_activity)),
        "started": time(started.filter(|_| state.is_active())),
        "pending": state.pending(),
        "ready": state.is_ready(),
        "stopped": !state.is_active(),
        "url": url,
        "full_url": public.map(|origin| format!("{origin}{url}")),
        "progress_url": progress_url,
        "full_progress_url": public.map(|origin| format!("{origin}{progress_url}")),
        "user_options": row.map(|row| row.user_options.as_ref().map_or_else(|| json!({}), without_bytes)),
    });
    let target = Target::Server {
        user: view.server.user.as_str(),
        server: name,
        groups,
    };
    if let (true, Value::Object(model)) = (
        scopes.check(Scope::AdminServerState, target).is_allowed(),
        &mut model,
    ) {
        let handle = state
            .handle()
            .map_or_else(|| json!({}), |handle| handle.0.clone());
        model.insert("state".to_owned(), handle);
    }
    model
}

/// Writes an instant, or null.
pub(crate) fn time(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Value::String(iso_format(at)))
}
