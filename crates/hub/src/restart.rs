//! After a restart: servers that run are found again, what was under way is finished, leftovers are ended.

use std::time::Duration;

use lyceum_core::ServerRef;
use lyceum_core::lifecycle::{Cause, Failure, Running};
use lyceum_core::seams::{Handle, StopMode};
use lyceum_store::{Phase, Server, StoreError};

use crate::Hub;
use crate::servers::records;

/// How long an interrupted stop's polite signals are given.
const GRACE: Duration = Duration::from_secs(5);

impl Hub {
    /// Puts the routes of all running servers back and has them looked at; then ends what nobody wants any more.
    ///
    /// Call it before the gateway listens: no request for a running server must find its route missing.
    /// Returns how many servers were taken over.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let rows = self.store().list_active_servers().await?;
        let mut adopted = 0;
        let mut known = Vec::new();
        let mut unfinished = Vec::new();
        for (user, row) in rows {
            let server = ServerRef::new(user, row.name.clone());
            known.extend(row.handle.clone());
            match (row.phase, row.handle.clone(), row.upstream.clone()) {
                (Phase::Starting | Phase::Running, Some(handle), Some(upstream)) => {
                    self.servers()
                        .adopt(&server, Running { handle, upstream }, row.started)
                        .await;
                    adopted += 1;
                }
                _ => unfinished.push((server, row)),
            }
        }
        if adopted > 0 {
            tracing::info!(servers = adopted, "took over {adopted} running servers");
        }
        // Before anybody can start something: a server of this run must not be taken for a leftover.
        self.sweep(&known).await;
        let hub = self.clone();
        self.tasks()
            .spawn("finish what a restart interrupted", async move {
                for (server, row) in unfinished {
                    hub.finish(&server, &row).await;
                }
            });
        Ok(adopted)
    }

    /// Finishes a start or a stop that was interrupted: nothing of it runs afterwards.
    async fn finish(&self, server: &ServerRef, row: &Server) {
        if let Some(handle) = &row.handle
            && let Err(error) = self
                .shared()
                .spawner
                .stop(handle, StopMode::Graceful(GRACE))
                .await
        {
            tracing::error!(server.name = %server, error = &error as &dyn std::error::Error,
                "could not end what was left of a server");
        }
        if self.servers().snapshot(server).state.is_active() {
            // Somebody has started it again meanwhile.
            return;
        }
        let failure = (row.phase != Phase::Stopping).then(|| {
            Failure::new(
                Cause::GoneAtRestart,
                "The start was interrupted, because Lyceum was restarted at that moment.",
                "Start the server again.",
            )
        });
        let cleared = async {
            let mut tx = self.store().begin().await?;
            records::clear_row(&mut tx, server, row, failure.as_ref()).await?;
            tx.commit().await
        };
        if let Err(error) = cleared.await {
            tracing::error!(server.name = %server, error = &error as &dyn std::error::Error,
                "could not write down that a server has stopped");
        }
    }

    /// Ends processes that were started but never written down.
    async fn sweep(&self, known: &[Handle]) {
        match self.shared().spawner.sweep(known).await {
            Ok(0) => {}
            Ok(count) => tracing::warn!(
                processes = count,
                "ended {count} servers that a crash had left behind"
            ),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look for servers left behind"
                );
            }
        }
    }
}
