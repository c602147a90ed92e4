//! Where the log goes: to standard error for a service, or to systemd's journal; to a file for the demo.

mod journal;

use std::fs::{self, OpenOptions};
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Mutex;

use lyceum_config::settings::{LogConfig, LogFormat};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use self::journal::Journal;

/// A demo's log that has grown beyond this begins anew at the next start; the old one is kept beside it.
const DEMO_LOG_BYTES: u64 = 10 * 1024 * 1024;

/// Logs to standard error, as configured; where that is systemd's journal, with fields, unless it shall be JSON.
pub(crate) fn to_stderr(config: &LogConfig) {
    // Libraries say little of use below `warn`.
    let level = config.level.as_str();
    let filter = EnvFilter::new(format!("warn,lyceum={level},{}", ours(level)));
    let base = tracing_subscriber::registry().with(filter);
    let journal = match config.format {
        LogFormat::Text => Journal::find(),
        LogFormat::Json => None,
    };
    if let Some(journal) = journal {
        let _ = base.with(journal).try_init();
        return;
    }
    let result = match config.format {
        LogFormat::Text => {
            let layer = fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(std::io::stderr().is_terminal());
            base.with(layer).try_init()
        }
        LogFormat::Json => base
            .with(fmt::layer().json().with_writer(std::io::stderr))
            .try_init(),
    };
    // A second logger is a mistake of a test, and harmless.
    let _ = result;
}

/// Logs everything to a file, and to the terminal only what somebody should see.
pub(crate) fn to_file(path: &Path, verbose: bool) -> std::io::Result<()> {
    if fs::metadata(path).is_ok_and(|data| data.len() > DEMO_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    let in_file = fmt::layer()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_filter(EnvFilter::new(format!("warn,lyceum=info,{}", ours("info"))));
    let level = if verbose {
        LevelFilter::INFO
    } else {
        LevelFilter::WARN
    };
    let on_terminal = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .with_filter(level);
    let _ = tracing_subscriber::registry()
        .with(in_file)
        .with(on_terminal)
        .try_init();
    Ok(())
}

fn ours(level: &str) -> String {
    [
        "auth", "config", "envs", "gateway", "hub", "proxy", "spawn", "store", "web",
    ]
    .map(|crate_name| format!("lyceum_{crate_name}={level}"))
    .join(",")
}
