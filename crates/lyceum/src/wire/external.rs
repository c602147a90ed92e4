//! A hub whose routes are in a proxy that runs elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lyceum_certs::ClientTls;
use lyceum_config::settings::{Config, ProxyConfig};
use lyceum_core::{Secret, Upstream};
use lyceum_gateway::{BoundGateway, HttpClient, ListenAddress};
use lyceum_hub::Hub;
use lyceum_proxy::ExternalProxy;

use super::Hint;

/// The variable with the token, as configurable-http-proxy names it.
const VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";
/// How often it is looked whether the proxy still has the route to the hub; without it, it has started anew.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Makes the proxy of the configuration; `None` if that is the gateway.
pub(super) async fn proxy(
    config: &Config,
    gateway: &BoundGateway,
) -> anyhow::Result<Option<Arc<ExternalProxy>>> {
    let ProxyConfig::ConfigurableHttpProxy(external) = &config.proxy else {
        return Ok(None);
    };
    let token = {
        let external = external.clone();
        tokio::task::spawn_blocking(move || external.token()).await?
    };
    let token = token
        .context(Hint(
            "write the token that the proxy gets as CONFIGPROXY_AUTH_TOKEN into this file"
                .to_owned(),
        ))?
        .or_else(|| {
            let text = std::env::var(VARIABLE).ok()?;
            (!text.is_empty()).then(|| Secret::from(text))
        });
    if token.is_none() {
        tracing::warn!(
            "there is no token for the proxy's API (`proxy.auth_token_file`): whoever reaches it can change routes"
        );
    }
    if config.gateway.trusted_proxies.is_empty() {
        tracing::warn!(
            "`gateway.trusted_proxies` is empty: the addresses of people that the proxy tells are not believed"
        );
    }
    let tls = ClientTls::new(None, None).context("could not prepare TLS for the proxy's API")?;
    let client = HttpClient::new(Some(tls));
    let proxy = ExternalProxy::of_config(external, token.as_ref(), client, own(gateway)?)?;
    Ok(Some(Arc::new(proxy)))
}

/// The first address of the gateway, as a program on this machine reaches it.
fn own(gateway: &BoundGateway) -> anyhow::Result<Upstream> {
    // Those of systemd stand here as what they are.
    let first = gateway
        .local_addrs()
        .iter()
        .find(|address| !matches!(address, ListenAddress::Systemd(_)));
    Ok(match first.context("the gateway listens nowhere")? {
        ListenAddress::Systemd(_) => anyhow::bail!("the gateway listens nowhere"),
        ListenAddress::Unix(path) => Upstream::Unix(path.clone()),
        ListenAddress::Tcp(address) => {
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                ip => ip,
            };
            Upstream::Tcp {
                host: ip.to_string(),
                port: address.port(),
            }
        }
    })
}

/// Puts all routes again whenever the proxy has started anew, for ever.
pub(crate) async fn watch(hub: Hub, proxy: Arc<ExternalProxy>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match proxy.has_hub_route().await {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!("the proxy has started anew, and gets its routes");
                let mended = hub.mend_routes().await;
                if let Err(error) = mended.and(proxy.put_hub_route().await) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "could not give the proxy its routes"
                    );
                }
            }
            // The proxy says itself when it is silent and when it answers again.
            Err(error) => tracing::debug!(
                error = &error as &dyn std::error::Error,
                "could not look at the proxy"
            ),
        }
    }
}
