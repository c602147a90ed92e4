//! The event log: starts and stops that worked, one JSON object on each line, as jupyter-events writes them.
//!
//! Writing happens beside everything else: a slow disk holds up no server. Each time, the file is opened anew, so
//! that it can be moved away while Lyceum runs.

use std::path::PathBuf;

use lyceum_core::clock::iso_format;
use lyceum_core::{Clock, ServerRef};
use serde_json::json;
use tokio::fs::OpenOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the lines are, for their readers (JupyterHub `event-schemas/server-actions`).
const SCHEMA: &str = "https://schema.jupyter.org/jupyterhub/events/server-action";
/// How many lines may wait for the disk; beyond, they are lost and the log says so.
const QUEUE: usize = 4096;
/// How many are written at once.
const BATCH: usize = 256;

/// What was done to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// It was started.
    Start,
    /// It was stopped because somebody wanted it.
    Stop,
}

/// Where events go; without a file, nowhere.
#[derive(Debug)]
pub(crate) struct EventLog(Option<mpsc::Sender<String>>);

/// Writes what is told to its [`EventLog`].
#[derive(Debug)]
pub(crate) struct EventWriter {
    path: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl EventLog {
    /// Makes a log, and what has to run so that it is written; none without a file.
    pub(crate) fn new(path: Option<PathBuf>) -> (Self, Option<EventWriter>) {
        let Some(path) = path else {
            return (Self(None), None);
        };
        let (sender, lines) = mpsc::channel(QUEUE);
        (Self(Some(sender)), Some(EventWriter { path, lines }))
    }

    /// Tells that something was done; does not wait.
    pub(crate) fn tell(&self, deed: Deed, server: &ServerRef, clock: &dyn Clock) {
        let Some(sender) = &self.0 else { return };
        let line = json!({
            "__timestamp__": iso_format(clock.now()),
            "__schema__": SCHEMA,
            "__schema_version__": "1",
            "__metadata_version__": 1,
            "action": match deed {
                Deed::Start => "start",
                Deed::Stop => "stop",
            },
            "username": server.user.as_str(),
            "servername": server.server.as_str(),
        });
        if sender.try_send(format!("{line}\n")).is_err() {
            tracing::error!(server.name = %server, "an event of {server} is lost: the event log cannot be written as fast");
        }
    }
}

impl EventWriter {
    /// Writes until it shall stop; what was told before that is written, too.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            tokio::select! {
                biased;
                count = self.lines.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = stop.cancelled() => return,
            }
            if let Err(error) = self.write(&batch.concat()).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not write {} events to {}",
                    batch.len(),
                    self.path.display()
                );
            }
        }
    }

    async fn write(&self, lines: &str) -> Result<(), std::io::Error> {
        let mut options = OpenOptions::new();
        let mut file = options
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .await?;
        file.write_all(lines.as_bytes()).await?;
        file.flush().await
    }
}
