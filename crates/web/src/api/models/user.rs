//! The JSON of a user (JupyterHub `APIHandler.user_model`).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;
use lyceum_core::GroupName;
use lyceum_core::clock::iso_format;
use lyceum_core::lifecycle::Pending;
use lyceum_core::scope::{Scope, ScopeSet, Target};
use lyceum_hub::models::UserView;
use serde::Serialize;
use serde_json::{Map, Value};

use super::server;
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

/// A user as far as somebody may see it. What they may not see is left out; in the order in which it is written.
#[expect(
    clippy::option_option,
    reason = "left out, null, and a value are three things in JSON"
)]
#[derive(Debug, Default, Serialize)]
pub(crate) struct UserModel<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<bool>,
    /// Null: filled in where a single user is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_state: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_activity: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<Option<Pending>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    servers: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_info: Option<Option<&'a Map<String, Value>>>,
}

impl<'a> UserModel<'a> {
    /// Describes a user, as far as `scopes` allow; `None` if they allow nothing.
    pub(crate) fn of(
        web: &Web,
        view: &'a UserView,
        scopes: &ScopeSet,
        stopped: Stopped,
    ) -> Option<Self> {
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
        let groups = all || may(Scope::ReadUsersGroups);
        let activity = all || may(Scope::ReadUsersActivity);
        let reads_servers = may(Scope::ReadServers);
        let auth_state = may(Scope::AdminAuthState);
        let servers = servers(web, view, scopes, stopped, reads_servers);
        let servers = Some(servers).filter(|servers| reads_servers || !servers.is_empty());
        if !(named || roles || groups || activity || auth_state || servers.is_some()) {
            return None;
        }
        let mut model = Self {
            admin: (named || roles).then_some(user.admin),
            auth_state: auth_state.then_some(()),
            groups: groups.then(|| view.groups.iter().map(GroupName::as_str).collect()),
            // Whoever sees a user at all sees which one it is.
            kind: Some("user"),
            last_activity: activity.then(|| user.last_activity.map(iso_format)),
            name: Some(name),
            roles: roles.then_some(view.roles.as_slice()),
            servers,
            user_info: named.then_some(user.user_info.as_ref()),
            ..Self::default()
        };
        if all {
            let default = view
                .servers
                .iter()
                .find(|server| server.server.server.is_default());
            let base = web.hub().settings().base_url.as_str();
            let ready = default
                .filter(|server| server.now.state.is_ready())
                .map(|server| server.server.url_path(base));
            model.server = Some(ready);
            model.pending = Some(default.and_then(|server| server.now.state.pending()));
            model.created = Some(iso_format(user.created));
        }
        Some(model)
    }
}

/// Writes a user, as far as `scopes` allow; nothing at all if they allow nothing.
pub(crate) fn user(
    web: &Web,
    view: &UserView,
    scopes: &ScopeSet,
    stopped: Stopped,
) -> Map<String, Value> {
    let model = UserModel::of(web, view, scopes, stopped).map(serde_json::to_value);
    match model {
        Some(Ok(Value::Object(model))) => model,
        _ => Map::new(),
    }
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
