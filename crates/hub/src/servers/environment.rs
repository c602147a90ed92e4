//! The environment that the hub gives to a single-user server: computed, never inherited.

use std::collections::BTreeMap;

use lyceum_core::{ServerRef, escape};
use serde_json::json;

use crate::settings::HubSettings;

/// Computes the `JUPYTERHUB_*` variables of a server, as JupyterHub 6 sets them (`Spawner.get_env`), and `JUPYTER_PATH`,
/// which spawners put before one that is configured.
///
/// `JUPYTERHUB_SERVICE_URL` is missing: the spawner alone knows where the server shall listen.
pub fn for_server(
    settings: &HubSettings,
    server: &ServerRef,
    client_id: String,
    api_token: &str,
) -> BTreeMap<String, String> {
    let base = settings.base_url.as_str();
    let prefix = server.url_path(base);
    let access_scopes = json!([
        format!("access:servers!server={server}"),
        format!("access:servers!user={}", server.user)
    ])
    .to_string();
    let user = escape::path_segment(server.user.as_str());
    let api_url = settings.api_url.trim_end_matches('/');
    let public = settings
        .public_url
        .as_deref()
        .map(|url| url.trim_end_matches('/').to_owned());
    let on_public = |path: &str| {
        public
            .as_ref()
            .map_or_else(String::new, |origin| format!("{origin}{path}"))
    };
    let variables = [
        ("JUPYTERHUB_API_TOKEN", api_token.to_owned()),
        ("JPY_API_TOKEN", api_token.to_owned()),
        ("JUPYTERHUB_CLIENT_ID", client_id),
        ("JUPYTERHUB_API_URL", api_url.to_owned()),
        (
            "JUPYTERHUB_ACTIVITY_URL",
            format!("{api_url}/users/{user}/activity"),
        ),
        ("JUPYTERHUB_BASE_URL", base.to_owned()),
        ("JUPYTERHUB_SERVICE_PREFIX", prefix.clone()),
        ("JUPYTERHUB_HOST", public.clone().unwrap_or_default()),
        ("JUPYTERHUB_PUBLIC_URL", on_public(&prefix)),
        (
            "JUPYTERHUB_PUBLIC_HUB_URL",
            on_public(&format!("{base}hub/")),
        ),
        ("JUPYTERHUB_USER", server.user.to_string()),
        ("JUPYTERHUB_SERVER_NAME", server.server.to_string()),
        (
            "JUPYTERHUB_OAUTH_CALLBACK_URL",
            format!("{prefix}oauth_callback"),
        ),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access_scopes.clone()),
        ("JUPYTERHUB_OAUTH_SCOPES", access_scopes),
        (
            "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES",
            json!(settings.server_oauth_scopes).to_string(),
        ),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned()),
    ];
    let jupyter_path = settings.jupyter_path.as_deref();
    let jupyter_path = jupyter_path.map(|path| ("JUPYTER_PATH", path.display().to_string()));
    variables
        .into_iter()
        .chain(jupyter_path)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use lyceum_core::{ServerName, UserName};

    use super::*;

    #[test]
    fn a_named_server_gets_the_variables_of_jupyterhub_6() {
        let settings = HubSettings {
            base_url: "/base/".to_owned(),
            api_url: "http://127.0.0.1:8081/base/hub/api".to_owned(),
            ..HubSettings::default()
        };
        let server = ServerRef::new(
            UserName::parse("a@b").unwrap(),
            ServerName::parse("lab").unwrap(),
        );
        let environment = for_server(&settings, &server, server.client_id(), "secret");
        let get = |name: &str| environment.get(name).map(String::as_str).unwrap();
        assert_eq!(get("JUPYTERHUB_CLIENT_ID"), "jupyterhub-user-a%40b-lab");
        assert_eq!(
            get("JUPYTERHUB_ACTIVITY_URL"),
            "http://127.0.0.1:8081/base/hub/api/users/a@b/activity"
        );
        assert_eq!(get("JUPYTERHUB_SERVICE_PREFIX"), "/base/user/a@b/lab/");
        assert_eq!(
            get("JUPYTERHUB_OAUTH_ACCESS_SCOPES"),
            r#"["access:servers!server=a@b/lab","access:servers!user=a@b"]"#
        );
        assert_eq!(
            get("JUPYTERHUB_OAUTH_CALLBACK_URL"),
            "/base/user/a@b/lab/oauth_callback"
        );
        assert_eq!(get("JUPYTERHUB_HOST"), "");
    }
}
