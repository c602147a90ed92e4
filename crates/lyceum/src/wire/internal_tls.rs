//! TLS between Lyceum and users' servers (`hub.internal_tls`): authorities from their folder, handed to whom it concerns.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use lyceum_certs::{CertificateName, ClientTls, InternalAuthority, ServerTls, Trouble};
use lyceum_config::settings::HubConfig;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::ServerCredentials;
use lyceum_core::{Clock as _, ServerRef, SystemClock, Timestamp};
use lyceum_hub::{Connection, InternalTls};

use super::Hint;

/// The folder in the data folder.
pub(crate) const FOLDER: &str = "internal-tls";

/// What TLS with users' servers is spoken with.
#[derive(Debug)]
pub(super) struct Internal {
    /// For the hub.
    pub(super) hub: Arc<dyn InternalTls>,
    /// For the gateway.
    pub(super) client: ClientTls,
    /// For the listener of the API.
    pub(super) listener: ServerTls,
}

/// Opens the authorities; `None` if servers speak plain HTTP.
pub(super) async fn open(config: &HubConfig) -> anyhow::Result<Option<Internal>> {
    if !config.internal_tls {
        return Ok(None);
    }
    let mut names = vec![host(config)];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    names.dedup();
    let names = names
        .iter()
        .map(|name| name.parse::<CertificateName>())
        .collect::<Result<Vec<_>, _>>()
        .context(Hint("see `hub.api_connect`".to_owned()))?;
    let folder = config.data_dir.join(FOLDER);
    let opening = tokio::task::spawn_blocking(move || {
        let now = SystemClock.now();
        let authority = InternalAuthority::open(&folder, now)?;
        let client = authority.client(now)?;
        let listener = authority.listener(&names, now)?;
        Ok(Internal {
            hub: Arc::new(Servers {
                authority,
                client: client.clone(),
            }),
            client,
            listener,
        })
    });
    opening.await?.map(Some).map_err(with_hint)
}

/// The host by which servers reach the API.
fn host(config: &HubConfig) -> String {
    config
        .api_connect
        .clone()
        .unwrap_or_else(|| config.api_listen.ip().to_string())
}

/// The URL of the API for users' servers.
pub(super) fn api_url(config: &HubConfig, port: u16) -> String {
    let scheme = if config.internal_tls { "https" } else { "http" };
    let host = match host(config) {
        host if matches!(host.parse(), Ok(IpAddr::V6(_))) => format!("[{host}]"),
        host => host,
    };
    format!("{scheme}://{host}:{port}{}hub/api", config.base_url)
}

fn with_hint(trouble: Trouble) -> anyhow::Error {
    let hint = Hint(trouble.hint.clone());
    anyhow::Error::new(trouble).context(hint)
}

/// Users' servers, as the hub asks for their certificates and connects to them.
#[derive(Debug)]
struct Servers {
    authority: InternalAuthority,
    client: ClientTls,
}

#[async_trait]
impl InternalTls for Servers {
    fn issue(&self, server: &ServerRef, now: Timestamp) -> Result<ServerCredentials, Failure> {
        self.authority
            .issue(&format!("user-{}", server.user), now)
            .map_err(|trouble| {
                tracing::error!(server.name = %server, error = %trouble, "could not make a certificate for a server");
                Failure::new(
                    Cause::Internal,
                    "The certificate for the server could not be made.",
                    "Try again; if this repeats, the administrator finds the reason in Lyceum's log.",
                )
            })
    }

    async fn connect(&self, host: &str, port: u16, name: &str) -> io::Result<Box<dyn Connection>> {
        let stream = self.client.connect(host, port, name).await?;
        Ok(Box::new(stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_the_api_names_what_servers_can_reach() {
        let check = |listen: &str, connect: Option<&str>, tls, expected: &str| {
            let config = HubConfig {
                api_listen: listen.parse().unwrap(),
                api_connect: connect.map(str::to_owned),
                internal_tls: tls,
                ..HubConfig::default()
            };
            assert_eq!(api_url(&config, 8081), expected);
        };
        check("127.0.0.1:0", None, false, "http://127.0.0.1:8081/hub/api");
        check("[::1]:0", None, true, "https://[::1]:8081/hub/api");
        check(
            "0.0.0.0:0",
            Some("hub.example.org"),
            true,
            "https://hub.example.org:8081/hub/api",
        );
        check(
            "[::]:0",
            Some("2001:db8::1"),
            true,
            "https://[2001:db8::1]:8081/hub/api",
        );
    }
}
