//! What both hubs are told of services, roles, groups and custom scopes: JSON, of which TOML is made as well.

use serde_json::{Map, Value, json};

use super::{ADMIN_TOKEN, Room};
use crate::fixture;

pub(super) fn services(room: &Room) -> Value {
    json!([
        {"name": fixture::ADMIN_SERVICE, "api_token": ADMIN_TOKEN},
        {"name": fixture::OUTSIDER, "api_token": fixture::OUTSIDER_TOKEN},
        {"name": fixture::WATCHER, "api_token": fixture::WATCHER_TOKEN},
        {"name": fixture::TUTOR, "api_token": fixture::TUTOR_TOKEN},
        {
            "name": fixture::APP,
            "api_token": fixture::APP_TOKEN,
            "oauth_client_id": fixture::APP_CLIENT,
            "oauth_redirect_uri": fixture::APP_REDIRECT,
            "oauth_client_allowed_scopes": fixture::APP_SCOPES,
            "info": {"about": "cases"},
        },
        {
            "name": "trusted",
            "api_token": fixture::TRUSTED_TOKEN,
            "oauth_client_id": fixture::TRUSTED_CLIENT,
            "oauth_redirect_uri": fixture::TRUSTED_REDIRECT,
            "oauth_no_confirm": true,
            "display": false,
        },
        {
            "name": fixture::WEB,
            "api_token": fixture::WEB_TOKEN,
            "url": format!("http://127.0.0.1:{}", room.web_port),
        },
    ])
}

pub(super) fn groups() -> Value {
    let mut groups: Map<String, Value> = fixture::GROUPS
        .iter()
        .map(|name| ((*name).to_owned(), json!({"users": [], "properties": {}})))
        .collect();
    if let Some(students) = groups.get_mut(fixture::STUDENTS) {
        students["properties"] = fixture::students_properties();
    }
    groups.into()
}

pub(super) fn roles() -> Value {
    let mut roles = vec![json!({"name": "admin", "services": [fixture::ADMIN_SERVICE]})];
    roles.extend(fixture::ROLES.iter().map(|role| {
        json!({
            "name": role.name,
            "description": role.name,
            "scopes": role.scopes,
            "services": role.services,
            "groups": role.groups,
        })
    }));
    roles.into()
}

pub(super) fn custom_scopes() -> Value {
    let scopes: Map<String, Value> = fixture::CUSTOM_SCOPES
        .iter()
        .map(|(name, description, subscopes)| {
            (
                (*name).to_owned(),
                json!({"description": description, "subscopes": subscopes}),
            )
        })
        .collect();
    scopes.into()
}
