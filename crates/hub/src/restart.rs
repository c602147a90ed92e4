//! After a restart: servers that run are found again, what was under way is finished, leftovers are ended.

use std::time::Instant;

use lyceum_core::ServerRef;
use lyceum_core::lifecycle::{Cause, Failure, Running};
use lyceum_core::seams::Handle;
use lyceum_store::{Phase, Server, StoreError};

use crate::Hub;
use crate::servers::{Found, FoundLife};

impl Hub {
    /// Puts the routes of all running servers back and has them looked at; what a restart has interrupted, and
    /// what nobody wants any more, is ended meanwhile.
    ///
    /// Call it before the gateway listens: no request for a running server must find its route missing.
    /// Returns how many servers were taken over.
    pub async fn recover(&self) -> Result<usize, StoreError> {
        let begun = Instant::now();
        self.rename_old_servers().await?;
        let rows = self.store().list_active_servers().await?;
        let mut adopted = 0;
        let mut known = Vec::new();
        for (user, row) in rows {
            let server = ServerRef::new(user, row.name.clone());
            known.extend(row.handle.clone());
            let found = Found::of(row);
            adopted += usize::from(matches!(found.life, FoundLife::Running(_)));
            self.servers().adopt(&server, found).await;
        }
        if adopted > 0 {
            tracing::info!(servers = adopted, "took over {adopted} running servers");
        }
        self.metrics().servers_found(begun.elapsed());
        let hub = self.clone();
        self.tasks().spawn(
            "end servers left behind",
            async move { hub.sweep(&known).await },
        );
        Ok(adopted)
    }

    /// Ends processes that were started but never written down. Those of this run are not among them: the
    /// spawner knows what it is starting.
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

impl Found {
    /// What a server was doing when it was last written down.
    pub(crate) fn of(row: Server) -> Self {
        let life = match (row.phase, row.handle, row.upstream) {
            (Phase::Starting | Phase::Running, Some(handle), Some(upstream)) => {
                FoundLife::Running(Running { handle, upstream })
            }
            (phase, handle, _) => FoundLife::Unfinished {
                handle,
                failure: (phase != Phase::Stopping).then(interrupted),
            },
        };
        Self {
            row: row.id,
            started: row.started,
            life,
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(
        Cause::GoneAtRestart,
        "The start was interrupted, because Lyceum was restarted at that moment.",
        "Start the server again.",
    )
}
