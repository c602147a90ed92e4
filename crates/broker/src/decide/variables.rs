//! The variables that the hub may set for a server: a closed list. Everything else comes from the configuration.

use crate::policy::Policy;
use crate::protocol::{Refusal, StartServer};

/// Those that a hub gives to its servers (JupyterHub `Spawner.get_env`), but for what the broker itself sets.
const ALLOWED: [&str; 19] = [
    "JPY_API_TOKEN",
    "JUPYTERHUB_ACTIVITY_URL",
    "JUPYTERHUB_ADMIN_ACCESS",
    "JUPYTERHUB_API_TOKEN",
    "JUPYTERHUB_API_URL",
    "JUPYTERHUB_BASE_URL",
    "JUPYTERHUB_CLIENT_ID",
    "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED",
    "JUPYTERHUB_HOST",
    "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
    "JUPYTERHUB_OAUTH_CALLBACK_URL",
    "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES",
    "JUPYTERHUB_OAUTH_SCOPES",
    "JUPYTERHUB_PUBLIC_HUB_URL",
    "JUPYTERHUB_PUBLIC_URL",
    "JUPYTERHUB_SERVER_NAME",
    "JUPYTERHUB_SERVICE_PREFIX",
    "JUPYTERHUB_USER",
    JUPYTER_PATH,
];
/// Where Jupyter looks for extensions: code that runs in the server.
pub(super) const JUPYTER_PATH: &str = "JUPYTER_PATH";
/// The longest value, in bytes.
const MAX_VALUE: usize = 16 * 1024;
/// The most bytes of all names and values.
const MAX_TOTAL: usize = 64 * 1024;

/// Refuses variables that the hub may not set, and values that no variable can have.
pub(super) fn check(policy: &Policy, start: &StartServer) -> Result<(), Refusal> {
    let mut total = 0;
    for (name, value) in &start.environment.0 {
        let jupyter_path =
            name != JUPYTER_PATH || policy.server.jupyter_paths.contains(value.as_str());
        if !ALLOWED.contains(&name.as_str()) || !jupyter_path {
            return Err(Refusal::policy(
                format!("The hub may not set the variable {name:?} of a server to this."),
                "Set it in `spawner.environment` of the configuration.",
            ));
        }
        let own = match name.as_str() {
            "JUPYTERHUB_USER" => value == start.key.user.as_str(),
            "JUPYTERHUB_SERVER_NAME" => value == start.key.server.as_str(),
            "JUPYTERHUB_SERVICE_PREFIX" => *value == start.service_prefix,
            _ => true,
        };
        if !own {
            return Err(Refusal::protocol(format!(
                "The variable {name} is not that of this server."
            )));
        }
        // A line that ends in the middle would begin another variable, where they are handed over as text.
        if value.len() > MAX_VALUE || value.contains(char::is_control) {
            return Err(Refusal::protocol(format!(
                "The variable {name} has a value that is too long, or of more than a line."
            )));
        }
        total += name.len() + value.len();
    }
    if total > MAX_TOTAL {
        return Err(Refusal::protocol(
            "The variables of the server are too long.",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_hub_sets_is_on_the_list() {
        // The hub is a crate that this one must not know; its source tells the names all the same.
        let source = include_str!("../../../hub/src/servers/environment.rs");
        let mut count = 0;
        for name in source.split('"').filter(|text| {
            let start = text.starts_with("JUPYTERHUB_") || text.starts_with("JPY_");
            start
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        }) {
            assert!(ALLOWED.contains(&name), "{name}");
            count += 1;
        }
        assert!(count >= 17, "{count}");
    }
}
