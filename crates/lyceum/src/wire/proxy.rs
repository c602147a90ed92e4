//! `lyceum proxy`: from its options to gateways that serve.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use lyceum_certs::{ClientTls, ServerTls, ServerTlsOptions};
use lyceum_core::{HumanDuration, Secret, SystemClock};
use lyceum_gateway::{
    BoundGateway, ClosedGate, Counts, ErrorPages, ForwardOptions, Gateway, GatewayConfig,
    GatewayError, HttpClient, HubService, ListenAddress, Parts, PlainErrorPages, RouteTable,
};
use lyceum_proxy::{
    ApiCounts, ErrorPageSource, Failures, Metrics, RestApi, RouteBook, ToHttps, Unrouted,
};
use thiserror::Error;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Hint;
use crate::adapters::NoEvents;
use crate::cli::proxy::{ApiArgs, ClientArgs, ForwardArgs, MetricsArgs, ProxyArgs, PublicArgs};

/// How long requests that are being served are given at the end. There is no use in holding WebSockets longer: whoever
/// ends a proxy wants another in its place, which their pages connect to as soon as these are closed.
const DRAIN: HumanDuration = HumanDuration::from_secs(2);

/// Why a proxy could not be put together.
#[derive(Debug, Error)]
pub(crate) enum PlanError {
    /// An address could not be bound.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Anything else, perhaps with a [`Hint`].
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// A proxy whose listeners are bound, and which does not serve yet.
#[derive(Debug)]
pub(crate) struct Bound {
    public: BoundGateway,
    redirect: Option<(BoundGateway, ToHttps)>,
    api: BoundGateway,
    metrics: Option<BoundGateway>,
    book: RouteBook,
    token: Option<Secret<String>>,
    pages: ErrorPageSource,
    options: ForwardOptions,
}

impl Bound {
    /// Reads the files that the options name, and binds all listeners.
    pub(crate) fn new(args: &ProxyArgs, token: Option<Secret<String>>) -> Result<Self, PlanError> {
        let client_tls = client_tls(&args.client)?;
        let options = forward_options(&args.forward, client_tls.clone());
        let pages = error_pages(args, client_tls)?;
        let public_tls = public_tls(&args.public)?;
        let api_tls = api_tls(&args.api)?;
        let book = RouteBook::new(
            RouteTable::new(),
            args.forward.host_routing,
            Arc::new(SystemClock),
        );
        if let Some(target) = &args.default_target {
            book.put_target("/", target)
                .context("--default-target cannot be used")
                .map_err(PlanError::Other)?;
        }
        let public = bind(&public_config(args)?, public_tls)?;
        let redirect = match args.public.redirect_port {
            Some(port) => redirect(args, &public, port)?,
            None => None,
        };
        let api = bind(&api_config(args, &public)?, api_tls)?;
        let metrics = match metrics_address(&args.metrics)? {
            Some(listen) => Some(bind(&small(listen), None)?),
            None => None,
        };
        let bound = Self {
            public,
            redirect,
            api,
            metrics,
            book,
            token,
            pages,
            options,
        };
        bound.tell(args);
        Ok(bound)
    }

    /// Serves until `shutdown`; none of the tasks ends before.
    pub(crate) fn serve(self, shutdown: &CancellationToken) -> JoinSet<Result<(), GatewayError>> {
        let counts = Arc::<Counts>::default();
        let api_counts = Arc::<ApiCounts>::default();
        let mut served = JoinSet::new();
        let table = self.book.table().clone();
        let public = Parts {
            table,
            error_pages: Arc::new(Failures(self.pages.clone())),
            options: Arc::new(self.options),
            counts: Arc::clone(&counts),
            ..parts(Unrouted(self.pages))
        };
        served.spawn(self.public.serve(public, shutdown.clone()));
        if let Some((gateway, to_https)) = self.redirect {
            served.spawn(gateway.serve(parts(to_https), shutdown.clone()));
        }
        let api = RestApi::new(self.book, self.token, Arc::clone(&api_counts));
        served.spawn(self.api.serve(parts(api), shutdown.clone()));
        if let Some(gateway) = self.metrics {
            let metrics = Metrics::new(api_counts, counts);
            served.spawn(gateway.serve(parts(metrics), shutdown.clone()));
        }
        served
    }

    fn tell(&self, args: &ProxyArgs) {
        let scheme = |tls: bool| if tls { "https" } else { "http" };
        let target = args.default_target.as_deref().unwrap_or("(no default)");
        for address in self.public.local_addrs() {
            let scheme = scheme(args.public.ssl_cert.is_some());
            tracing::info!("Proxying {scheme}://{address} to {target}");
        }
        for address in self.api.local_addrs() {
            let scheme = scheme(args.api.api_ssl_cert.is_some());
            tracing::info!("Proxy API at {scheme}://{address}/api/routes");
        }
        for address in self.metrics.iter().flat_map(BoundGateway::local_addrs) {
            tracing::info!("Metrics at http://{address}/metrics");
        }
        if let Some((gateway, _)) = &self.redirect {
            for address in gateway.local_addrs() {
                tracing::info!("Redirecting http://{address} to https");
            }
        }
    }
}

/// What a listener needs that has no routes.
fn parts(service: impl HubService) -> Parts {
    let pages: Arc<dyn ErrorPages> = Arc::new(PlainErrorPages);
    Parts {
        table: RouteTable::new(),
        hub: Arc::new(service),
        hub_runtime: tokio::runtime::Handle::current(),
        error_pages: pages,
        events: Arc::new(NoEvents),
        clock: Arc::new(SystemClock),
        gate: Arc::new(ClosedGate),
        options: Arc::default(),
        counts: Arc::default(),
        maintenance: lyceum_gateway::MaintenanceSwitch::new(),
        statics: lyceum_gateway::StaticSets::new(),
        challenges: lyceum_gateway::Challenges::default(),
    }
}

fn bind(config: &GatewayConfig, tls: Option<ServerTls>) -> Result<BoundGateway, GatewayError> {
    let bound = Gateway::bind(config.clone())?;
    Ok(match tls {
        Some(tls) => bound.with_tls(tls),
        None => bound,
    })
}

/// The configuration of a listener with little traffic.
fn small(listen: Vec<ListenAddress>) -> GatewayConfig {
    GatewayConfig {
        listen,
        threads: 1,
        drain_timeout: DRAIN,
        ..GatewayConfig::default()
    }
}

fn public_config(args: &ProxyArgs) -> anyhow::Result<GatewayConfig> {
    let public = &args.public;
    let listen = match &public.socket {
        Some(path) => socket(path)?,
        None => addresses(public.ip.as_deref().unwrap_or_default(), public.port)?,
    };
    let default = GatewayConfig::default();
    let milliseconds =
        |time: Option<u64>, default| time.map_or(default, HumanDuration::from_millis);
    Ok(GatewayConfig {
        listen,
        // A proxy in front may hold all connections, and options cannot tell that it is one.
        max_connections: 0,
        drain_timeout: DRAIN,
        max_connections_per_address: 0,
        idle_timeout: milliseconds(public.keep_alive_timeout, default.idle_timeout),
        body_timeout: milliseconds(public.timeout, default.body_timeout),
        send_timeout: milliseconds(public.timeout, default.send_timeout),
        ..default
    })
}

fn api_config(args: &ProxyArgs, public: &BoundGateway) -> anyhow::Result<GatewayConfig> {
    if let Some(path) = &args.api.api_socket {
        return Ok(small(socket(path)?));
    }
    let next = super::tcp_port(public).map_or(Some(8001), |port| port.checked_add(1));
    let port = args
        .api
        .api_port
        .or(next)
        .context("there is no port after --port for the REST API: give --api-port")?;
    Ok(small(addresses(&args.api.api_ip, port)?))
}

fn metrics_address(args: &MetricsArgs) -> anyhow::Result<Option<Vec<ListenAddress>>> {
    match (&args.metrics_socket, args.metrics_port) {
        (Some(path), _) => socket(path).map(Some),
        (None, Some(port)) => {
            addresses(args.metrics_ip.as_deref().unwrap_or_default(), port).map(Some)
        }
        (None, None) => Ok(None),
    }
}

fn redirect(
    args: &ProxyArgs,
    public: &BoundGateway,
    port: u16,
) -> Result<Option<(BoundGateway, ToHttps)>, PlanError> {
    let to = args.public.redirect_to.or_else(|| super::tcp_port(public));
    let to = to
        .context("--redirect-port needs --redirect-to if there is no --port")
        .map_err(PlanError::Other)?;
    let gateway = bind(&small(addresses("", port)?), None)?;
    Ok(Some((gateway, ToHttps::new(to))))
}

fn socket(path: &Path) -> anyhow::Result<Vec<ListenAddress>> {
    let path = std::path::absolute(path)
        .with_context(|| format!("could not find out where {} is", path.display()))?;
    Ok(vec![ListenAddress::Unix(path)])
}

/// All addresses that a name means on this machine; an empty one means all that there are.
fn addresses(name: &str, port: u16) -> anyhow::Result<Vec<ListenAddress>> {
    let name = name.trim().trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || name == "*" {
        // Where there is IPv6, its listener takes both.
        let six = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let address = if can_bind(six) {
            six
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        return Ok(vec![ListenAddress::Tcp(SocketAddr::new(address, port))]);
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(vec![ListenAddress::Tcp(SocketAddr::new(address, port))]);
    }
    let found = (name, port)
        .to_socket_addrs()
        .with_context(|| format!("could not find the address of `{name}`"))?;
    let mut listen: Vec<ListenAddress> = Vec::new();
    for address in found.filter(|address| can_bind(address.ip())) {
        let address = ListenAddress::Tcp(address);
        // With port 0, two addresses would get two ports.
        if !listen.contains(&address) && (port != 0 || listen.is_empty()) {
            listen.push(address);
        }
    }
    if listen.is_empty() {
        return Err(anyhow::anyhow!("`{name}` is no address of this machine"));
    }
    Ok(listen)
}

/// Whether this machine has an address.
fn can_bind(address: IpAddr) -> bool {
    TcpListener::bind(SocketAddr::new(address, 0)).is_ok()
}

fn public_tls(args: &PublicArgs) -> anyhow::Result<Option<ServerTls>> {
    let (Some(key), Some(certificate)) = (&args.ssl_key, &args.ssl_cert) else {
        return Ok(None);
    };
    let client_ca = args.ssl_ca.as_ref().filter(|_| args.ssl_request_cert);
    if args.ssl_request_cert && client_ca.is_none() {
        return Err(no_authority("--ssl-request-cert", "--ssl-ca"));
    }
    server_tls(key, certificate, client_ca).map(Some)
}

fn api_tls(args: &ApiArgs) -> anyhow::Result<Option<ServerTls>> {
    let (Some(key), Some(certificate)) = (&args.api_ssl_key, &args.api_ssl_cert) else {
        if args.api_ssl_request_cert {
            return Err(no_authority("--api-ssl-request-cert", "--api-ssl-key"));
        }
        return Ok(None);
    };
    let client_ca = args
        .api_ssl_ca
        .as_ref()
        .filter(|_| args.api_ssl_request_cert);
    if args.api_ssl_request_cert && client_ca.is_none() {
        return Err(no_authority("--api-ssl-request-cert", "--api-ssl-ca"));
    }
    server_tls(key, certificate, client_ca).map(Some)
}

fn no_authority(option: &str, other: &str) -> anyhow::Error {
    anyhow::anyhow!("{option} needs {other}")
        .context(Hint(format!("give {other}, or leave {option} away")))
}

fn server_tls(
    key: &Path,
    certificate: &Path,
    client_ca: Option<&PathBuf>,
) -> anyhow::Result<ServerTls> {
    refuse_encrypted(key)?;
    ServerTls::from_files(&ServerTlsOptions {
        certificate_file: certificate.to_owned(),
        key_file: key.to_owned(),
        client_ca_file: client_ca.cloned(),
        client_certificate_required: client_ca.is_some(),
        alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
    })
    .context("TLS cannot be spoken")
}

fn client_tls(args: &ClientArgs) -> anyhow::Result<Option<ClientTls>> {
    if args.insecure {
        tracing::warn!("certificates of targets are not checked");
        return Ok(Some(ClientTls::insecure()?));
    }
    let own = args
        .client_ssl_cert
        .as_deref()
        .zip(args.client_ssl_key.as_deref());
    if let Some((_, key)) = own {
        refuse_encrypted(key)?;
    }
    ClientTls::new(args.client_ssl_ca.as_deref(), own)
        .context("targets cannot be spoken to by TLS")
        .map(Some)
}

/// Tells what to do about a key with a pass phrase.
fn refuse_encrypted(key: &Path) -> anyhow::Result<()> {
    let text = match std::fs::read_to_string(key) {
        Ok(text) => text,
        // What else is wrong with it is told by whoever reads it.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read the key {}", key.display()));
        }
    };
    if !text.contains("ENCRYPTED") {
        return Ok(());
    }
    let path = key.display();
    Err(anyhow::anyhow!("the key {path} is encrypted, which is not supported").context(Hint(format!(
        "decrypt it into a file that only this user can read: `(umask 077; openssl pkey -in {path} -out {path}.plain)`"
    ))))
}

fn forward_options(args: &ForwardArgs, client_tls: Option<ClientTls>) -> ForwardOptions {
    let mut options = ForwardOptions::default();
    options.x_forward = !args.no_x_forward;
    options.believe_claims = true;
    options.change_origin = args.change_origin;
    options.prepend_path = !args.no_prepend_path;
    options.include_prefix = !args.no_include_prefix;
    options.auto_rewrite = args.auto_rewrite;
    options.protocol_rewrite.clone_from(&args.protocol_rewrite);
    options.custom_headers.clone_from(&args.custom_header);
    options.response_timeout = args.proxy_timeout.map(Duration::from_millis);
    options.error_pages_for_all = true;
    options.client_tls = client_tls;
    options
}

fn error_pages(args: &ProxyArgs, client_tls: Option<ClientTls>) -> anyhow::Result<ErrorPageSource> {
    Ok(match (&args.error_target, &args.error_path) {
        (Some(url), _) => ErrorPageSource::server(url, HttpClient::new(client_tls))
            .context("--error-target cannot be used")?,
        (None, Some(folder)) => ErrorPageSource::Folder(folder.clone()),
        (None, None) => ErrorPageSource::Own,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_addresses_of_this_machine() {
        let texts = |name: &str| -> Vec<String> {
            let found = addresses(name, 8000).unwrap();
            found.iter().map(ToString::to_string).collect()
        };
        assert_eq!(texts("127.0.0.1"), ["127.0.0.1:8000"]);
        assert_eq!(texts("[::1]"), ["[::1]:8000"]);
        assert!(texts("localhost").contains(&"127.0.0.1:8000".to_owned()));
        assert_eq!(texts("").len(), 1);
        assert_eq!(texts("*"), texts(""));
    }

    #[test]
    fn a_key_with_a_pass_phrase_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, "-----BEGIN ENCRYPTED PRIVATE KEY-----\n").unwrap();
        let error = refuse_encrypted(&key).unwrap_err();
        let hint = &error.downcast_ref::<Hint>().unwrap().0;
        assert!(hint.contains("openssl pkey"), "{hint}");
    }
}
