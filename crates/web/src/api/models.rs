//! The JSON of users and servers: only what the caller's scopes let them see.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use lyceum_core::clock::iso_format;
use lyceum_core::scope::{Scope, ScopeSet, Target};
use lyceum_core::{GroupName, Timestamp};
use lyceum_hub::models::{ServerView, UserView};
use serde_json::{Map, Value, json};

use crate::Web;

/// A JSON answer with status 200.
pub(crate) fn answer(value: &Value) -> Response {
    (
        StatusCode::OK,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    if status == StatusCode::NO_CONTENT {
        return status.into_response();
    }
    (status, [(header::CONTENT_TYPE, "text/plain")], "").into_response()
}

/// Writes a user, as far as `scopes` allow (JupyterHub `APIHandler.user_model`).
pub(crate) fn user(web: &Web, view: &UserView, scopes: &ScopeSet) -> Map<String, Value> {
    let name = view.user.name.as_str();
    let target = Target::User {
        name,
        groups: &view.groups,
    };
    let may = |any: &[Scope]| scopes.check_any(any, target).is_allowed();
    let default = view
        .servers
        .iter()
        .find(|server| server.server.server.is_default());
    let mut model = Map::new();
    let mut put = |key: &str, any: &[Scope], value: Value| {
        if may(any) {
            model.insert(key.to_owned(), value);
        }
    };
    put(
        "name",
        &[Scope::ReadUsers, Scope::ReadUsersName],
        json!(name),
    );
    put(
        "admin",
        &[
            Scope::ReadUsers,
            Scope::ReadUsersName,
            Scope::ReadRolesUsers,
        ],
        json!(view.user.admin),
    );
    put(
        "user_info",
        &[Scope::ReadUsers, Scope::ReadUsersName],
        json!(view.user.user_info),
    );
    put(
        "roles",
        &[Scope::ReadUsers, Scope::ReadRolesUsers],
        json!(view.roles),
    );
    let groups: Vec<&str> = view.groups.iter().map(GroupName::as_str).collect();
    put(
        "groups",
        &[Scope::ReadUsers, Scope::ReadUsersGroups],
        json!(groups),
    );
    let base = web.hub().settings().base_url.as_str();
    let ready = default
        .filter(|server| server.now.state.is_ready())
        .map(|server| server.server.url_path(base));
    put("server", &[Scope::ReadUsers], json!(ready));
    let pending = default.and_then(|server| server.now.state.pending());
    put("pending", &[Scope::ReadUsers], json!(pending));
    put(
        "created",
        &[Scope::ReadUsers],
        json!(iso_format(view.user.created)),
    );
    let activity = [Scope::ReadUsers, Scope::ReadUsersActivity];
    put("last_activity", &activity, time(view.user.last_activity));
    let visible = servers(web, view, scopes, &view.groups);
    if !visible.is_empty() || may(&[Scope::ReadServers]) {
        model.insert("servers".to_owned(), Value::Object(visible));
    }
    if may(&[Scope::AdminAuthState]) {
        model.insert("auth_state".to_owned(), Value::Null);
    }
    if !model.is_empty() {
        // Whoever sees a user at all sees which one it is.
        model.insert("kind".to_owned(), json!("user"));
        model.insert("name".to_owned(), json!(name));
    }
    model
}

/// The servers that run or are pending, by name.
fn servers(
    web: &Web,
    view: &UserView,
    scopes: &ScopeSet,
    groups: &[GroupName],
) -> Map<String, Value> {
    let user = view.user.name.as_str();
    view.servers
        .iter()
        .filter(|server| server.now.state.is_active())
        .filter(|server| {
            let target = Target::Server {
                user,
                server: server.server.server.as_str(),
                groups,
            };
            scopes.check(Scope::ReadServers, target).is_allowed()
        })
        .map(|view| {
            (
                view.server.server.to_string(),
                server(web, view, scopes, groups),
            )
        })
        .collect()
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
        "user_options": row.map(|row| row.user_options.clone().unwrap_or_default()),
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
