//! The JSON of a group (JupyterHub `APIHandler.group_model`).

use lyceum_core::UserName;
use lyceum_core::scope::{Scope, ScopeSet, Target};
use lyceum_hub::groups::GroupView;
use serde_json::{Map, Value, json};

/// Writes a group, as far as `scopes` allow; nothing at all if they allow nothing.
pub(crate) fn group(view: &GroupView, scopes: &ScopeSet) -> Map<String, Value> {
    let name = view.group.name.as_str();
    let may = |scope: Scope| scopes.check(scope, Target::Group(name)).is_allowed();
    let (all, roles) = (may(Scope::ReadGroups), may(Scope::ReadRolesGroups));
    let mut model = Map::new();
    let mut put = |key: &str, value: Value| {
        model.insert(key.to_owned(), value);
    };
    if all || roles || may(Scope::ReadGroupsName) {
        put("kind", json!("group"));
        put("name", json!(name));
    }
    if roles {
        put("roles", json!(view.roles));
    }
    if all {
        let members: Vec<&str> = view.members.iter().map(UserName::as_str).collect();
        put("users", json!(members));
        put("properties", json!(view.group.properties));
    }
    model
}
