//! The JSON of services.

use lyceum_core::scope::{Access, Scope, ScopeSet, Target};
use lyceum_hub::ServiceView;
use serde_json::{Map, Value, json};

/// Writes a service (JupyterHub `APIHandler.service_model`), as far as the scopes let it be seen.
pub(crate) fn service(view: &ServiceView, scopes: &ScopeSet) -> Map<String, Value> {
    let data = &view.service.data;
    let may = |scope| {
        let target = Target::Service(data.name.as_str());
        scopes.check(scope, target) == Access::Allowed
    };
    let (all, name, roles) = (
        may(Scope::ReadServices),
        may(Scope::ReadServicesName),
        may(Scope::ReadRolesServices),
    );
    let mut model = Map::new();
    let mut put = |is_seen: bool, key: &str, value: Value| {
        if is_seen {
            model.insert(key.to_owned(), value);
        }
    };
    let any = all || name || roles;
    put(any, "kind", json!("service"));
    put(any, "name", json!(data.name));
    put(any, "admin", json!(data.admin));
    put(roles, "roles", json!(view.roles));
    put(all, "url", json!(data.url.as_deref().unwrap_or_default()));
    put(all, "prefix", json!(view.prefix));
    put(all, "command", json!(data.command));
    put(all, "pid", json!(view.pid.unwrap_or(0)));
    put(all, "info", json!(data.info));
    put(all, "display", json!(data.display));
    model
}
