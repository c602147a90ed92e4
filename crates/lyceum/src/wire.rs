//! From configuration to live objects: the only place that knows both sides of every seam.

pub(crate) mod auth_state;
mod beside;
pub(crate) mod broker;
pub(crate) mod cull;
pub(crate) mod external;
pub(crate) mod internal_tls;
pub(crate) mod limits;
mod profiles;
pub(crate) mod proxy;
pub(crate) mod python;
mod security;
mod servers;
mod spawner;
pub(crate) mod tls;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::admin::{self, Commands};
use crate::lifecycle;
use crate::pythons::WatchedPythons;
use crate::statics::Statics;
use anyhow::Context as _;
use bytes::Bytes;
use lyceum_auth::{AuthConfig, Dummy, Pam, SharedPassword};
use lyceum_certs::{ClientTls, Manager};
use lyceum_config::settings::{Config, Language as ConfigLanguage, PagesConfig};
use lyceum_core::declared::Declared;
use lyceum_core::limits::{LimitRules, NamedServerRules};
use lyceum_core::seams::{Authenticator, Pythons, Reporter, Routes, ServiceRunner};
use lyceum_core::xsrf::XsrfKey;
use lyceum_core::{Clock as _, SystemClock, random};
use lyceum_gateway::{BoundGateway, Gateway, GatewayConfig, ListenAddress, RouteTable};
use lyceum_hub::{
    Access, AuditSettings, CullSettings, Hub, HubSettings, MetricSettings, Parts, Profiles,
    ServerSettings, ThrottleSettings,
};
use lyceum_proxy::ExternalProxy;
use lyceum_spawn::service::ProcessServices;
use lyceum_store::Store;
use lyceum_web::render::{
    Announcement, AnnouncementLevel, Branding, Language, Link, Options, Renderer,
};
use lyceum_web::{Web, WebSettings};

/// Everything that a running Lyceum consists of, put together but not yet running.
pub(crate) struct Assembly {
    pub(crate) hub: Hub,
    pub(crate) web: Web,
    pub(crate) routes: RouteTable,
    /// The listener for people.
    pub(crate) gateway: BoundGateway,
    /// The listener for servers' API calls.
    pub(crate) api: BoundGateway,
    /// The certificates, if HTTPS is served.
    pub(crate) certificates: Option<Manager>,
    /// Where another program puts its answers for authorities.
    pub(crate) challenge_folder: Option<Arc<Path>>,
    /// The listener for services' API calls, if it is another one.
    pub(crate) services_api: Option<BoundGateway>,
    /// How the gateway speaks TLS with users' servers, if it does.
    pub(crate) internal_tls: Option<ClientTls>,
    /// The proxy that carries the traffic, if it is not the gateway.
    pub(crate) external: Option<Arc<ExternalProxy>>,
    /// What starts managed services.
    pub(crate) services: Arc<dyn ServiceRunner>,
    /// The static files of users' servers, if Lyceum answers them.
    pub(crate) statics: Option<Statics>,
    /// What looks at the Python environments, if servers are started from any.
    pub(crate) pythons: Option<Arc<WatchedPythons>>,
    /// The listener for the owner's commands, and who answers them.
    pub(crate) admin: BoundGateway,
    pub(crate) commands: Commands,
}

/// What the command adds to the configuration.
pub(crate) struct Extras {
    /// The listener for people, which is bound before anything that takes long.
    pub(crate) gateway: BoundGateway,
    /// The authenticator, if it is not the configured one.
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
    /// Folders that come first on the servers' `PATH`.
    pub(crate) programs: Vec<PathBuf>,
}

/// Puts a Lyceum together. Must be called on the hub's runtime.
pub(crate) async fn assemble(config: Config, extras: Extras) -> anyhow::Result<Assembly> {
    let settings = config.store.settings(&config.hub.data_dir)?;
    let store = Store::open(&settings, SystemClock.now())
        .await
        .map_err(with_hint)?;
    let instance = kept(&store, "instance", || random::hex(8)).await?;
    let xsrf_secret = kept(&store, "xsrf_secret", || random::hex(32)).await?;
    let mut api = bind_api(&store, "api_port", config.hub.api_listen).await?;
    let api_port = tcp_port(&api).context("the listener for servers has no port")?;
    let internal = internal_tls::open(&config.hub).await?;
    let mut services_api = None;
    if let Some(internal) = &internal {
        api = api.with_tls(internal.listener.clone());
        // Services are programs of this machine, and know nothing of certificates.
        if config
            .services
            .iter()
            .any(|service| !service.command.is_empty())
        {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            services_api = Some(bind_api(&store, "services_api_port", any).await?);
        }
    }
    let admin = admin::bind(&config.hub.runtime_dir)?;
    let mut gateway = extras.gateway;
    let mut certificates = None;
    if let Some(https) = tls::open(&config).await? {
        gateway = gateway.with_tls_listeners(https.tls);
        certificates = Some(https.manager);
    }
    let commands = Commands {
        store: store.clone(),
        certificates: certificates.clone(),
        switch: admin::kept(&store).await?,
        hub: OnceLock::new(),
    };

    let authenticator = match extras.authenticator {
        Some(authenticator) => authenticator,
        None => authenticator(&config, &gateway)?,
    };
    let open_files = lifecycle::raise_open_files();
    let services: Arc<dyn ServiceRunner> = Arc::new(
        ProcessServices::new(&instance, extras.programs.clone(), open_files)
            .context("could not start the thread for services")?,
    );
    let routes = RouteTable::new();
    let pythons = python::watched(&config).await;
    let (spawner, statics) = spawner::make(
        &config,
        extras.programs,
        &instance,
        open_files,
        &routes,
        pythons.as_ref(),
    )
    .await?;
    let external = external::proxy(&config, &gateway).await?;
    let hub_routes: Arc<dyn Routes> = match &external {
        Some(external) => Arc::<ExternalProxy>::clone(external),
        None => Arc::new(routes.clone()),
    };
    let (declared, sites) = {
        let config = config.clone();
        // Files with tokens are read, and accounts looked up.
        tokio::task::spawn_blocking(move || {
            let declared = config.declared()?;
            config.sites().map(|sites| (declared, sites))
        })
        .await??
    };
    routes.set_sites(sites);
    let limits = limits::hub(&config);
    let cull_settings = cull::settings(&config)?;
    let settings = HubSettings {
        profiles: profiles::hub(&config),
        pythons: pythons
            .clone()
            .map(|pythons| -> Arc<dyn Pythons> { pythons }),
        limit_rules: limits.rules,
        allow_named_servers: config.hub.named_servers.allowed() || limits.named_servers.allow_any(),
        named_server_rules: limits.named_servers,
        reserve: limits.reserve,
        auth_state: auth_state::keys(&config.auth_state)?,
        access: security::access(&config.access)?,
        audit: security::audit(&config.audit),
        throttle: security::throttle(&config.throttle),
        servers: servers::settings(&config)?,
        metrics: servers::metrics(&config),
        jupyter_path: cull::jupyter_path(&cull_settings, &config),
        cull: cull_settings,
        reporters: certificates
            .iter()
            .map(|manager| Arc::new(tls::Certificates(manager.clone())) as Arc<dyn Reporter>)
            .collect(),
        services_api_url: services_api
            .as_ref()
            .and_then(tcp_port)
            .map(|port| format!("http://127.0.0.1:{port}{}hub/api", config.hub.base_url)),
        internal_tls: internal.as_ref().map(|internal| Arc::clone(&internal.hub)),
        ..hub_settings(&config, api_port, declared)
    };
    let web_settings = web_settings(&config, &xsrf_secret)?;
    let renderer = renderer(&settings, &config.pages)?;
    let compared = security::compare(&store, &config).await?;
    let hub = Hub::new(Parts {
        settings,
        store,
        clock: Arc::new(SystemClock),
        authenticator,
        spawner,
        routes: hub_routes,
        runtime: tokio::runtime::Handle::current(),
    });
    security::note_configuration(&hub, compared);
    let _ = commands.hub.set(hub.clone());
    let web = Web::new(hub.clone(), renderer, web_settings);
    Ok(Assembly {
        hub,
        web,
        routes,
        gateway,
        api,
        certificates,
        challenge_folder: config.tls.challenge_folder.as_deref().map(Arc::from),
        services_api,
        internal_tls: internal.map(|internal| internal.client),
        external,
        services,
        statics,
        pythons,
        admin,
        commands,
    })
}

/// Keeps the next step beside an error of the store.
fn with_hint(error: lyceum_store::OpenError) -> anyhow::Error {
    match error.hint() {
        Some(hint) => anyhow::Error::new(error).context(Hint(hint)),
        None => error.into(),
    }
}

/// What to do about an error; found again in the chain by whoever prints it.
#[derive(Debug)]
pub(crate) struct Hint(pub(crate) String);

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a setting that was made at the first start, or makes it.
async fn kept(store: &Store, key: &str, make: impl FnOnce() -> String) -> anyhow::Result<String> {
    if let Some(value) = store.find_setting(key).await? {
        return Ok(value);
    }
    let value = make();
    let mut tx = store.begin().await?;
    tx.set_setting(key, Some(&value)).await?;
    tx.commit().await?;
    Ok(value)
}

/// Binds the listener for servers, or that for services. With port 0, the port of the last time is tried first: servers
/// that still run know no other. `key` is under what it is kept.
async fn bind_api(store: &Store, key: &str, listen: SocketAddr) -> anyhow::Result<BoundGateway> {
    let bind = |address: SocketAddr| {
        Gateway::bind(GatewayConfig {
            listen: vec![ListenAddress::Tcp(address)],
            threads: 1,
            ..GatewayConfig::default()
        })
    };
    if listen.port() != 0 {
        return bind(listen).map_err(|error| gateway_error(error, "hub.api_listen"));
    }
    let last = store
        .find_setting(key)
        .await?
        .and_then(|port| port.parse::<u16>().ok());
    if let Some(port) = last
        && let Ok(bound) = bind(SocketAddr::new(listen.ip(), port))
    {
        return Ok(bound);
    }
    if let Some(port) = last {
        tracing::warn!(
            "port {port}, at which servers or services that still run know the hub, is in use by another program; \
             stop these and start them again, so that they learn the new one"
        );
    }
    let bound = bind(listen).map_err(|error| gateway_error(error, "hub.api_listen"))?;
    let port = tcp_port(&bound).context("the listener for servers has no port")?;
    let mut tx = store.begin().await?;
    tx.set_setting(key, Some(&port.to_string())).await?;
    tx.commit().await?;
    Ok(bound)
}

fn tcp_port(bound: &BoundGateway) -> Option<u16> {
    bound
        .local_addrs()
        .iter()
        .find_map(|address| match address {
            ListenAddress::Tcp(address) => Some(address.port()),
            ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
        })
}

fn gateway_error(error: lyceum_gateway::GatewayError, key: &str) -> anyhow::Error {
    let hint = error.hint().map_or_else(
        || format!("see `{key}`"),
        |hint| format!("{hint} (`{key}`)"),
    );
    anyhow::Error::new(error).context(Hint(hint))
}

/// Makes the configured authenticator.
fn authenticator(
    config: &Config,
    gateway: &BoundGateway,
) -> anyhow::Result<Arc<dyn Authenticator>> {
    match &config.auth {
        AuthConfig::SharedPassword(shared) => Ok(Arc::new(SharedPassword::from_config(
            shared,
            &config.access.admin_users.0,
        )?)),
        AuthConfig::Dummy(dummy) => {
            let listen: Vec<SocketAddr> = gateway
                .local_addrs()
                .iter()
                .filter_map(|address| match address {
                    ListenAddress::Tcp(address) => Some(*address),
                    ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
                })
                .collect();
            Ok(Arc::new(Dummy::from_config(dummy, &listen)?))
        }
        AuthConfig::Pam(_) => Ok(Arc::new(Pam::new(broker::client(config)))),
    }
}

fn hub_settings(config: &Config, api_port: u16, declared: Declared) -> HubSettings {
    let hub = &config.hub;
    HubSettings {
        base_url: hub.base_url.clone(),
        api_url: internal_tls::api_url(hub, api_port),
        services_api_url: None,
        internal_tls: None,
        public_url: hub.public_url.clone(),
        cookie_max_age: hub.cookie_max_age.get(),
        oauth_token_lifetime: hub.effective_oauth_token_lifetime().get(),
        oauth_require_pkce: hub.oauth_require_pkce,
        token_lifetime_limit: hub
            .token_lifetime_limit
            .map(lyceum_core::HumanDuration::get),
        auth_state: None,
        manage_groups: config.access.manage_groups,
        start_timeout: hub.start_timeout.get(),
        http_timeout: hub.http_timeout.get(),
        stop_timeout: hub.stop_timeout.get(),
        stop_grace: config.spawner.stop_timeout(),
        slow_spawn_timeout: hub.slow_spawn_timeout.get(),
        slow_stop_timeout: hub.slow_stop_timeout.get(),
        default_url: hub.default_url.clone(),
        redirect_to_server: hub.redirect_to_server,
        allow_named_servers: hub.named_servers.allowed(),
        named_server_limit: hub.named_servers.limit(),
        named_server_rules: NamedServerRules::default(),
        profiles: Profiles::default(),
        pythons: None,
        limit_rules: LimitRules::default(),
        reserve: None,
        concurrent_spawn_limit: hub.concurrent_spawn_limit,
        active_server_limit: hub.active_server_limit,
        servers: ServerSettings::default(),
        cull: CullSettings::default(),
        jupyter_path: None,
        metrics: MetricSettings::default(),
        reporters: Vec::new(),
        api_page_default_limit: hub.api_page_default_limit,
        api_page_max_limit: hub.api_page_max_limit,
        access: Access::default(),
        audit: AuditSettings::default(),
        throttle: ThrottleSettings::default(),
        declared,
        server_token_scopes: hub.server_token_scopes.clone(),
        server_oauth_scopes: hub.oauth_client_allowed_scopes.clone(),
    }
}

fn renderer(settings: &HubSettings, pages: &PagesConfig) -> anyhow::Result<Renderer> {
    let branding = Branding {
        title: pages.title.clone(),
        login_text: pages.login_text.clone(),
        links: pages
            .links
            .iter()
            .map(|link| Link {
                title: link.text.clone(),
                url: link.url.clone(),
            })
            .collect(),
        announcement: pages.announcement.clone().map(|text| Announcement {
            text,
            level: AnnouncementLevel::Info,
        }),
    };
    let options = Options {
        base_url: settings.hub_url(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        branding,
        override_dir: pages.templates.clone(),
    };
    Renderer::new(options).context("could not prepare the pages")
}

fn web_settings(config: &Config, xsrf_secret: &str) -> anyhow::Result<WebSettings> {
    let logo = match &config.pages.logo {
        Some(path) => {
            let bytes = fs::read(path)
                .with_context(|| format!("could not read the logo {}", path.display()))?;
            let kind = match path.extension().and_then(|extension| extension.to_str()) {
                Some("svg") => "image/svg+xml",
                Some("jpg" | "jpeg") => "image/jpeg",
                Some("webp") => "image/webp",
                _ => "image/png",
            };
            Some((Bytes::from(bytes), kind))
        }
        None => None,
    };
    let https = config
        .hub
        .public_url
        .as_deref()
        .is_some_and(|url| url.starts_with("https://"));
    Ok(WebSettings {
        xsrf_key: XsrfKey::new(xsrf_secret.as_bytes()),
        languages: config
            .pages
            .languages
            .iter()
            .map(|language| page_language(*language))
            .collect(),
        logo,
        always_secure: https,
    })
}

fn page_language(language: ConfigLanguage) -> Language {
    Language::find(language.code()).unwrap_or_default()
}
