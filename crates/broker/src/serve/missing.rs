//! What of the configuration this machine cannot give: told to whoever asks, and to the log when the broker starts.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Server;
use crate::policy::{Policy, Sandbox};
use crate::protocol::{Refusal, RefusalKind};

/// The sandbox that was last found to be one that this machine takes.
#[derive(Debug, Default)]
pub(super) struct Tried(tokio::sync::Mutex<Option<Sandbox>>);

impl Server {
    /// What is missing, a sentence each.
    pub(super) async fn missing(&self, policy: &Policy) -> Vec<String> {
        let mut missing = self.lacking(policy).await;
        if let Err(refusal) = self.try_sandbox(policy).await {
            missing.insert(0, with_hint(&refusal));
        }
        missing
    }

    /// Tells the log what is missing. A mistake in the sandbox keeps every server from starting.
    pub(super) async fn tell_missing(&self) {
        let policy = self.policy.current().await;
        if let Err(refusal) = self.try_sandbox(&policy).await {
            tracing::error!("no server can start: {}", with_hint(&refusal));
        }
        for sentence in self.lacking(&policy).await {
            tracing::info!("this machine cannot give all that the configuration says: {sentence}");
        }
    }

    /// Refuses a sandbox that this machine does not take; one that is no news is not tried again. That it cannot be tried
    /// just now says nothing against it.
    pub(super) async fn try_sandbox(&self, policy: &Policy) -> Result<(), Refusal> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        let sandbox = &policy.server.sandbox;
        let mut tried = self.tried.0.lock().await;
        if tried.as_ref() == Some(sandbox) {
            return Ok(());
        }
        match engine.try_sandbox(sandbox).await {
            Ok(()) => *tried = Some(sandbox.clone()),
            Err(refusal) if refusal.kind == RefusalKind::Configuration => return Err(refusal),
            Err(refusal) => tracing::warn!("could not try the sandbox of servers: {refusal}"),
        }
        Ok(())
    }

    async fn lacking(&self, policy: &Policy) -> Vec<String> {
        let Some(engine) = &self.engine else {
            return Vec::new();
        };
        let mut lacking = engine.missing(&policy.limits.total).await;
        let folder = policy.servers_dir.clone();
        let shared = self
            .files("look at the folder of servers' sockets", move |_| {
                shares_its_file_system(&folder)
            })
            .await;
        if let Ok(true) = shared {
            lacking.push(format!(
                "Users can fill the file system that {} is in, as it has none of its own: see \"The folder of the sockets\" in docs/systemd.md.",
                policy.servers_dir.display()
            ));
        }
        lacking
    }
}

fn with_hint(refusal: &Refusal) -> String {
    format!("{} {}", refusal.message, refusal.hint)
        .trim()
        .to_owned()
}

/// Whether what is written into a folder takes space from what is beside it.
fn shares_its_file_system(folder: &Path) -> std::io::Result<bool> {
    let Some(parent) = folder.parent() else {
        return Ok(false);
    };
    Ok(std::fs::metadata(folder)?.dev() == std::fs::metadata(parent)?.dev())
}
