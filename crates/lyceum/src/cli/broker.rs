//! `lyceum broker`: the privileged helper, and `lyceum broker-child`, which works for it.

mod trusted;

use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use listenfd::ListenFd;
use lyceum_broker::children::Children;
use lyceum_broker::serve::{self, Server};
use nix::unistd::geteuid;
use tokio_util::sync::CancellationToken;

use self::trusted::{Files, Source};
use super::report::Report;
use super::{BAD_CONFIGURATION, ConfigArgs};
use crate::lifecycle::{self, Signals};
use crate::{cli, logging, wire};

/// How long a broker that systemd has started for a question waits for another one.
const IDLE: Duration = Duration::from_mins(5);
/// This very program, even if its file has been replaced since.
const SELF: &str = "/proc/self/exe";

/// What `lyceum broker` can be told.
#[derive(Debug, Args)]
pub(crate) struct BrokerArgs {
    /// The configuration file [default: /etc/lyceum/lyceum.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The path to listen at, if systemd passes no socket [default: the configured one]
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
}

/// What `lyceum broker-child` can be told.
#[derive(Debug, Args)]
pub(crate) struct ChildArgs {
    /// The kind of work, if it is not one of the usual jobs
    kind: Option<String>,
}

/// Works for the broker: everything that it is told comes by its standard input.
pub(crate) fn child(args: &ChildArgs) -> ExitCode {
    match args.kind.as_deref() {
        None => lyceum_broker::children::child_main(),
        Some(_) => lyceum_broker::engine::process::child_main(),
    }
}

pub(crate) fn run(args: &BrokerArgs) -> ExitCode {
    match broker(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn broker(args: &BrokerArgs) -> Result<(), Report> {
    if !geteuid().is_root() {
        return Err(Report::text("error: the broker has to be root").hint(
            "systemd starts it when it is needed: `systemctl enable --now lyceum-broker.socket`",
        ));
    }
    // Neither environment nor command line may change what is allowed: root's files alone say that.
    let options = ConfigArgs {
        config: args.config.clone(),
        set: Vec::new(),
    };
    let loaded = cli::config::load(&options)?;
    logging::to_stderr(&loaded.config.log);
    let files = Files::of(&loaded.files);
    files.check().map_err(|error| {
        Report::of_chain(&error)
            .hint("give the file, and the folders above it, to root: `chown root`, `chmod go-w`")
            .code(BAD_CONFIGURATION)
    })?;
    let tell = |error: anyhow::Error| Report::of_chain(&error);
    let policy = wire::broker::policy(&loaded.config).map_err(tell)?;
    let engine = wire::broker::engine(&policy);
    let client = policy.client_uid;
    let listen = args.listen.clone();
    let listen = listen.unwrap_or_else(|| wire::broker::socket(&loaded.config));
    let (listener, passed) = listener(&listen, client).map_err(tell)?;
    // Servers show people with it what they are to know; without it they start as well.
    if let Err(error) = wire::cull::install_extension(
        &wire::broker::jupyter_path(&loaded.config),
        wire::cull::Readers::Everybody,
    ) {
        tracing::warn!(error = %error, "could not write what JupyterLab shows of Lyceum's notices");
    }
    let source = Box::new(Source::new(args.config.clone(), files));
    let children = Children::new(SELF, ["broker-child".into()]);
    let server = Server::new(policy, Some(source), engine, children).map_err(|error| {
        Report::text(format!(
            "error: could not prepare the broker's folders: {error}"
        ))
    })?;
    let runtime = lifecycle::runtime().map_err(tell)?;
    let served = runtime.block_on(serve(Arc::new(server), listener, passed));
    lifecycle::end(runtime);
    served.map_err(tell)
}

/// The socket that systemd passes, else one of our own; tells which.
fn listener(path: &Path, client_uid: u32) -> anyhow::Result<(UnixListener, bool)> {
    let passed = ListenFd::from_env()
        .take_unix_listener(0)
        .context("what systemd has passed is not a Unix socket (`ListenStream=` with a path)")?;
    if let Some(listener) = passed {
        listener
            .set_nonblocking(true)
            .context("could not use the socket that systemd has passed")?;
        return Ok((listener, true));
    }
    let listener = serve::bind(path, client_uid)
        .with_context(|| format!("could not listen at {}", path.display()))?;
    Ok((listener, false))
}

async fn serve(server: Arc<Server>, listener: UnixListener, passed: bool) -> anyhow::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)
        .context("could not wait for questions at the socket")?;
    let mut signals = Signals::new()?;
    let ending = CancellationToken::new();
    tracing::info!(
        "the broker of lyceum {} is ready",
        env!("CARGO_PKG_VERSION")
    );
    let idle = passed.then_some(IDLE);
    let mut serving = std::pin::pin!(server.run(listener, ending.clone(), idle));
    loop {
        tokio::select! {
            () = &mut serving => return Ok(()),
            name = signals.next() => {
                // The configuration is looked at before each question anyhow.
                if name != "SIGHUP" {
                    tracing::info!("the broker ends because of {name}; users' servers go on");
                    ending.cancel();
                }
            }
        }
    }
}
