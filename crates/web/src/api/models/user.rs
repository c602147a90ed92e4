//! The JSON of a user (JupyterHub `APIHandler.user_model`).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use lyceum_core::GroupName;
use lyceum_core::clock::iso_format;
use lyceum_core::scope::{Scope, ScopeSet, Target};
use lyceum_hub::models::UserView;
use serde_json::{Map, Value, json};

use super::{server, time};
use crate::Web;

/// Whether servers that do not run are shown, too: what a request says as `include_stopped_servers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// They are.
    Shown,
    /// They are not.
    Hidden,
}

impl<S: Send + Sync> FromRequestParts<S> for Stopped {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let query = parts.uri.query().unwrap_or_default();
        let value = form_urlencoded::parse(query.as_bytes())
            .filter(|(key, _)| key == "include_stopped_servers")
            .last();
        Ok(match value {
            None => Self::Hidden,
            Some((_, value)) => {
                let value = value.trim();
                if value == "0" || value.eq_ignore_ascii_case("false") {
                    Self::Hidden
                } else {
                    Self::Shown
                }
            }
        })
    }
}

/// Writes a user, as far as `scopes` allow; nothing at all if they allow nothing.
pub(crate) fn user(
    web: &Web,
    view: &UserView,
    scopes: &ScopeSet,
    stopped: Stopped,
) -> Map<String, Value> {
    let user = &view.user;
    let name = user.name.as_str();
    let target = Target::User {
        name,
        groups: &view.groups,
    };
    let may = |scope: Scope| scopes.check(scope, target).is_allowed();
    let all = may(Scope::ReadUsers);
    let named = all || may(Scope::ReadUsersName);
    let roles = all || may(Scope::ReadRolesUsers);
    let mut model = Map::new();
    let mut put = |key: &str, value: Value| {
        model.insert(key.to_owned(), value);
    };
    if named || roles {
        put("admin", json!(user.admin));
    }
    if named {
        put("user_info", json!(user.user_info));
    }
    if roles {
        put("roles", json!(view.roles));
    }
    if all || may(Scope::ReadUsersGroups) {
        let groups: Vec<&str> = view.groups.iter().map(GroupName::as_str).collect();
        put("groups", json!(groups));
    }
    if all {
        let default = view
            .servers
            .iter()
            .find(|server| server.server.server.is_default());
        let base = web.hub().settings().base_url.as_str();
        let ready = default
            .filter(|server| server.now.state.is_ready())
            .map(|server| server.server.url_path(base));
        put("server", json!(ready));
        let pending = default.and_then(|server| server.now.state.pending());
        put("pending", json!(pending));
        put("created", Value::String(iso_format(user.created)));
    }
    if all || may(Scope::ReadUsersActivity) {
        put("last_activity", time(user.last_activity));
    }
    let reads_servers = may(Scope::ReadServers);
    let servers = servers(web, view, scopes, stopped, reads_servers);
    if reads_servers || !servers.is_empty() {
        put("servers", Value::Object(servers));
    }
    if may(Scope::AdminAuthState) {
        // Filled in where a single user is asked for.
        put("auth_state", Value::Null);
    }
    if named || !model.is_empty() {
        // Whoever sees a user at all sees which one it is.
        model.insert("kind".to_owned(), json!("user"));
        model.insert("name".to_owned(), json!(name));
    }
    model
}

/// The servers by name; each is there only if the caller may see it.
fn servers(
    web: &Web,
    view: &UserView,
    scopes: &ScopeSet,
    stopped: Stopped,
    all: bool,
) -> Map<String, Value> {
    let user = view.user.name.as_str();
    view.servers
        .iter()
        .filter(|server| stopped == Stopped::Shown || server.now.state.is_active())
        .filter(|server| {
            let target = Target::Server {
                user,
                server: server.server.server.as_str(),
                groups: &view.groups,
            };
            all || scopes.check(Scope::ReadServers, target).is_allowed()
        })
        .map(|one| {
            let model = server(web, one, scopes, &view.groups);
            (one.server.server.to_string(), model)
        })
        .collect()
}
