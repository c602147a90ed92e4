//! The environment that the hub gives to a managed service: computed, never inherited.

use std::collections::BTreeMap;

use lyceum_core::Secret;
use lyceum_core::seams::ServiceLaunch;
use lyceum_core::service::{self, ServiceCommand, ServiceSpec};
use serde_json::json;

use crate::settings::HubSettings;

/// Computes what a service is started with, as JupyterHub 6 does (`services.service.Service.start`).
///
/// Two variables that JupyterHub sets without a meaning are left out: a service without pages gets no
/// `JUPYTERHUB_SERVICE_URL`.
pub(super) fn launch(
    settings: &HubSettings,
    spec: &ServiceSpec,
    command: &ServiceCommand,
    token: &Secret<String>,
) -> ServiceLaunch {
    let base = settings.base_url.as_str();
    let api_url = settings
        .services_api_url
        .as_deref()
        .unwrap_or(&settings.api_url)
        .trim_end_matches('/');
    let prefix = spec.url.as_ref().map(|_| spec.prefix(base));
    let public = settings
        .public_url
        .as_deref()
        .map(|url| url.trim_end_matches('/').to_owned());
    let on_public = |path: &str| {
        public
            .as_ref()
            .map_or_else(String::new, |origin| format!("{origin}{path}"))
    };
    let access = json!([
        "access:services",
        format!("access:services!service={}", spec.name)
    ])
    .to_string();
    let client_id = match &spec.oauth {
        Some(oauth) => oauth.client_id.clone(),
        None => format!("{}{}", service::CLIENT_PREFIX, spec.name),
    };
    let callback = spec
        .redirect_uri(base)
        .unwrap_or_else(|| "oauth_callback".to_owned());
    let public_url = match (&spec.origin, prefix.as_deref()) {
        (Some(origin), Some(prefix)) => format!("{origin}{prefix}"),
        (None, Some(prefix)) => on_public(prefix),
        (_, None) => String::new(),
    };
    let mut all: BTreeMap<String, String> = [
        ("JUPYTERHUB_SERVICE_NAME", spec.name.to_string()),
        ("JUPYTERHUB_API_TOKEN", token.expose().clone()),
        ("JPY_API_TOKEN", token.expose().clone()),
        ("JUPYTERHUB_API_URL", api_url.to_owned()),
        ("JUPYTERHUB_BASE_URL", base.to_owned()),
        ("JUPYTERHUB_HOST", public.clone().unwrap_or_default()),
        ("JUPYTERHUB_CLIENT_ID", client_id),
        ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0".to_owned()),
        ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access.clone()),
        ("JUPYTERHUB_OAUTH_SCOPES", access),
        ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]".to_owned()),
        ("JUPYTERHUB_OAUTH_CALLBACK_URL", callback),
        ("JUPYTERHUB_PUBLIC_URL", public_url),
        (
            "JUPYTERHUB_PUBLIC_HUB_URL",
            on_public(&format!("{base}hub/")),
        ),
        ("JUPYTERHUB_USER", command.user.clone().unwrap_or_default()),
        ("JUPYTERHUB_SERVER_NAME", String::new()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let (Some(url), Some(prefix)) = (&spec.url, prefix) {
        all.insert("JUPYTERHUB_SERVICE_URL".to_owned(), url.as_str().to_owned());
        all.insert("JUPYTERHUB_SERVICE_PREFIX".to_owned(), prefix);
    }
    ServiceLaunch {
        name: spec.name.clone(),
        command: command.clone(),
        environment: all,
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::scope::Catalogue;
    use lyceum_core::service::ServiceDraft;

    use super::*;

    fn environment(url: Option<&str>, public: Option<&str>) -> BTreeMap<String, String> {
        let spec = ServiceDraft {
            name: "forum".to_owned(),
            url: url.map(str::to_owned),
            command: vec!["forum".to_owned()],
            ..ServiceDraft::default()
        };
        let spec = spec.check(&Catalogue::built_in()).unwrap();
        let settings = HubSettings {
            base_url: "/base/".to_owned(),
            api_url: "http://127.0.0.1:8081/base/hub/api".to_owned(),
            public_url: public.map(str::to_owned),
            ..HubSettings::default()
        };
        let token = Secret::new("secret".to_owned());
        launch(&settings, &spec, spec.process.as_ref().unwrap(), &token).environment
    }

    #[test]
    fn a_service_with_pages_gets_the_variables_of_jupyterhub_6() {
        let all = environment(
            Some("http://127.0.0.1:9999/x"),
            Some("https://hub.example.org/"),
        );
        let expected = [
            ("JPY_API_TOKEN", "secret"),
            ("JUPYTERHUB_API_TOKEN", "secret"),
            ("JUPYTERHUB_API_URL", "http://127.0.0.1:8081/base/hub/api"),
            ("JUPYTERHUB_BASE_URL", "/base/"),
            ("JUPYTERHUB_CLIENT_ID", "service-forum"),
            ("JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED", "0"),
            ("JUPYTERHUB_HOST", "https://hub.example.org"),
            (
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
                r#"["access:services","access:services!service=forum"]"#,
            ),
            (
                "JUPYTERHUB_OAUTH_CALLBACK_URL",
                "/base/services/forum/oauth_callback",
            ),
            ("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", "[]"),
            (
                "JUPYTERHUB_OAUTH_SCOPES",
                r#"["access:services","access:services!service=forum"]"#,
            ),
            (
                "JUPYTERHUB_PUBLIC_HUB_URL",
                "https://hub.example.org/base/hub/",
            ),
            (
                "JUPYTERHUB_PUBLIC_URL",
                "https://hub.example.org/base/services/forum/",
            ),
            ("JUPYTERHUB_SERVER_NAME", ""),
            ("JUPYTERHUB_SERVICE_NAME", "forum"),
            ("JUPYTERHUB_SERVICE_PREFIX", "/base/services/forum/"),
            ("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:9999/x"),
            ("JUPYTERHUB_USER", ""),
        ];
        let found: Vec<(&str, &str)> = all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_service_without_pages_gets_neither_url_nor_prefix() {
        let all = environment(None, None);
        assert_eq!(all.get("JUPYTERHUB_SERVICE_URL"), None);
        assert_eq!(all.get("JUPYTERHUB_SERVICE_PREFIX"), None);
        assert_eq!(all["JUPYTERHUB_OAUTH_CALLBACK_URL"], "oauth_callback");
        assert_eq!(all["JUPYTERHUB_PUBLIC_URL"], "");
        assert_eq!(all["JUPYTERHUB_HOST"], "");
    }
}
