//! HTTPS: certificates that are looked after, and what the gateway and administrators get of them.

use std::sync::Arc;

use anyhow::Context as _;
use lyceum_certs::{
    Authority, Level, LiveTlsOptions, Manager, ManagerOptions, Ports, ServerTls, State, TlsStatus,
    Trouble,
};
use lyceum_config::settings::Config;
use lyceum_core::SystemClock;
use lyceum_core::seams::{Gauge, Notice, Reporter};
use lyceum_gateway::ListenAddress;

use super::Hint;
use crate::cli::Report;

/// The folder for certificates in the data folder.
pub(crate) const FOLDER: &str = "certificates";

/// What HTTPS is spoken with.
#[derive(Debug)]
pub(crate) struct Https {
    pub(crate) manager: Manager,
    pub(crate) tls: ServerTls,
}

/// Loads the certificates; `None` if no HTTPS is configured.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Option<Https>> {
    if !config.tls.is_on() {
        return Ok(None);
    }
    let options = options(config);
    let live = LiveTlsOptions {
        min_version: config.tls.min_version,
        client_ca_file: config.tls.client_ca_file.clone(),
    };
    let opening = tokio::task::spawn_blocking(move || {
        let manager = Manager::open(options).map_err(with_hint)?;
        let tls = ServerTls::live(manager.live(), &live).context("HTTPS cannot be spoken")?;
        Ok::<_, anyhow::Error>(Https { manager, tls })
    });
    opening.await?.map(Some)
}

/// Tells how the certificates are when no Lyceum runs, from what is on the disk. Writes nothing.
pub(crate) fn look(config: &Config) -> Result<TlsStatus, Report> {
    Manager::look(options(config))
        .map_err(|trouble| Report::text(format!("error: {trouble}")).hint(trouble.hint))
}

fn options(config: &Config) -> ManagerOptions {
    ManagerOptions {
        config: config.tls.clone(),
        folder: config.hub.data_dir.join(FOLDER),
        clock: Arc::new(SystemClock),
        ports: ports(config),
        look_every: None,
    }
}

/// The ports at which authorities look: the usual ones, but for one of one's own, which may look where we listen.
fn ports(config: &Config) -> Ports {
    let usual = Ports::default();
    if !matches!(config.tls.acme.directory, Authority::Url(_)) {
        return usual;
    }
    let first = |listen: &[ListenAddress], usual: u16| {
        let mut ports = listen.iter().filter_map(|address| match address {
            ListenAddress::Tcp(address) if address.port() != 0 => Some(address.port()),
            _ => None,
        });
        let first = ports.next().unwrap_or(usual);
        if ports.any(|port| port == usual) {
            usual
        } else {
            first
        }
    };
    Ports {
        http: first(&config.gateway.listen, usual.http),
        https: first(&config.gateway.listen_tls, usual.https),
    }
}

fn with_hint(trouble: Trouble) -> anyhow::Error {
    let hint = trouble.hint.clone();
    anyhow::Error::new(trouble).context(Hint(hint))
}

/// Tells administrators and Prometheus of certificates.
#[derive(Debug)]
pub(crate) struct Certificates(pub(crate) Manager);

impl Reporter for Certificates {
    fn notices(&self) -> Vec<Notice> {
        self.0
            .warnings()
            .into_iter()
            .map(|warning| Notice {
                urgent: warning.level == Level::Error,
                text: warning.text,
                hint: warning.hint,
            })
            .collect()
    }

    fn gauges(&self) -> Vec<Gauge> {
        let status = self.0.status();
        let mut gauges = Vec::new();
        for one in status.certificates {
            let mut add = |name, help, value| {
                gauges.push(Gauge {
                    name,
                    help,
                    label: ("certificate", one.id.clone()),
                    value,
                });
            };
            add(
                "lyceum_certificate_not_after_timestamp_seconds",
                "When the certificate that is shown ends, in seconds since 1970",
                seconds(one.not_after),
            );
            if let Some(renewal) = one.renewal {
                add(
                    "lyceum_certificate_renewal_timestamp_seconds",
                    "When the certificate will be renewed, or tried to, in seconds since 1970",
                    seconds(renewal),
                );
            }
            add(
                "lyceum_certificate_failures",
                "How many attempts to renew the certificate have failed in a row",
                f64::from(one.failures),
            );
            let good = matches!(one.state, State::Valid | State::Ending);
            add(
                "lyceum_certificate_trusted",
                "1 if the certificate that is shown is valid and somebody vouches for it, else 0",
                f64::from(u8::from(good)),
            );
        }
        gauges
    }
}

/// Seconds since 1970; precise enough for dates in a number of this kind.
#[expect(
    clippy::cast_precision_loss,
    reason = "dates are far below 2^53 seconds"
)]
fn seconds(at: lyceum_core::Timestamp) -> f64 {
    at.as_second() as f64
}
