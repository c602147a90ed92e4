//! `lyceum proxy`: the place of configurable-http-proxy, below a hub that runs elsewhere.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use lyceum_config::settings::{LogConfig, LogLevel};
use lyceum_core::Secret;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

mod args;

pub(crate) use self::args::{
    ApiArgs, ClientArgs, ForwardArgs, MetricsArgs, ProxyArgs, ProxyLogLevel, PublicArgs,
};
use super::report::Report;
use crate::lifecycle::{self, Signals};
use crate::logging;
use crate::wire::proxy::{Bound, PlanError};

/// The variable with the token of the REST API.
const TOKEN: &str = "CONFIGPROXY_AUTH_TOKEN";
/// It has to do with the REST API, error pages and metrics only: traffic has threads of its own.
const THREADS: usize = 2;

pub(crate) fn run(args: &ProxyArgs) -> ExitCode {
    match serve(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn serve(args: &ProxyArgs) -> Result<(), Report> {
    logging::to_stderr(&LogConfig {
        level: match args.log_level {
            ProxyLogLevel::Debug => LogLevel::Debug,
            ProxyLogLevel::Info => LogLevel::Info,
            ProxyLogLevel::Warn => LogLevel::Warn,
            ProxyLogLevel::Error => LogLevel::Error,
        },
        ..LogConfig::default()
    });
    refuse_what_would_be_lost(args)?;
    warn_of_what_has_no_effect(args);
    let token = std::env::var(TOKEN)
        .ok()
        .filter(|token| !token.is_empty())
        .map(Secret::from);
    if token.is_none() {
        tracing::warn!("{TOKEN} is not set: whoever reaches the REST API can change routes");
    }
    lifecycle::raise_open_files();
    let bound = Bound::new(args, token).map_err(|error| match error {
        PlanError::Gateway(error) => Report::of_gateway(&error),
        PlanError::Other(error) => Report::of_chain(&error),
    })?;
    let runtime = runtime().map_err(|error| Report::of_chain(&error))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::new()?;
        // Only now does a signal end the process in good order, and the file with it.
        let _pid_file = args.pid_file.as_deref().map(PidFile::write).transpose()?;
        Box::pin(run_until_signal(bound, signals)).await
    });
    lifecycle::end(runtime);
    outcome.map_err(|error| Report::of_chain(&error))
}

async fn run_until_signal(bound: Bound, mut signals: Signals) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut served = bound.serve(&shutdown);
    let outcome = tokio::select! {
        name = signals.next() => {
            tracing::info!("ending, because of {name}");
            Ok(())
        }
        ended = served.join_next() => Err(lifecycle::gateway_ended(ended)),
    };
    shutdown.cancel();
    tokio::select! {
        () = async { while served.join_next().await.is_some() {} } => tracing::info!("ended"),
        name = signals.next() => tracing::warn!("ended at once, because of a second {name}"),
    }
    outcome
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .thread_name("proxy")
        .build()
        .context("could not start threads")
}

/// Refuses options whose neglect would be unsafe, or would lose something.
fn refuse_what_would_be_lost(args: &ProxyArgs) -> Result<(), Report> {
    if let Some(class) = &args.storage_backend {
        return Err(Report::text(format!(
            "error: routes cannot be kept in the storage `{class}`: they are kept in memory"
        ))
        .hint("leave --storage-backend away; the hub puts its routes again when it misses them"));
    }
    if let Some(protocol) = &args.public.ssl_protocol {
        let name = protocol.to_ascii_lowercase();
        let name = name.trim_end_matches("_method");
        let spoken = ["tls", "sslv23", "tlsv1_2", "tlsv1.2", "tlsv1_3", "tlsv1.3"];
        if !spoken.contains(&name) {
            return Err(Report::text(format!(
                "error: the protocol `{protocol}` is not spoken: only TLS 1.2 and 1.3 are safe"
            ))
            .hint("leave --ssl-protocol away"));
        }
    }
    if args.public.redirect_port.is_some() && args.public.ssl_cert.is_none() {
        return Err(Report::text(
            "error: --redirect-port redirects to https, and there is no certificate for it",
        )
        .hint("give --ssl-key and --ssl-cert, or leave --redirect-port away"));
    }
    Ok(())
}

/// Names options that are taken without doing anything.
fn warn_of_what_has_no_effect(args: &ProxyArgs) {
    let public = &args.public;
    let warn = |given: bool, text: &str| {
        if given {
            tracing::warn!("{text}");
        }
    };
    warn(
        public.ssl_ciphers.is_some() || public.ssl_allow_rc4,
        "--ssl-ciphers and --ssl-allow-rc4 have no effect: only ciphers that are safe today are spoken",
    );
    warn(
        public.ssl_dhparam.is_some(),
        "--ssl-dhparam has no effect: keys are exchanged on elliptic curves only",
    );
    warn(
        public.ssl_protocol.is_some(),
        "--ssl-protocol has no effect: TLS 1.2 and 1.3 are spoken",
    );
    warn(
        public.ssl_ca.is_some() && !public.ssl_request_cert,
        "--ssl-ca has no effect without --ssl-request-cert; certificates between yours and the authority's belong into the file of --ssl-cert",
    );
    warn(
        args.api.api_ssl_ca.is_some() && !args.api.api_ssl_request_cert,
        "--api-ssl-ca has no effect without --api-ssl-request-cert",
    );
}

/// A file with the number of this process, as long as it runs.
#[derive(Debug)]
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, std::process::id().to_string()).with_context(|| {
            format!(
                "could not write the number of this process to {}",
                path.display()
            )
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // A successor's may be there meanwhile.
        let own = std::process::id().to_string();
        if std::fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == own) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}
