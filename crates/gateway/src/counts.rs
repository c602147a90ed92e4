//! What the gateway counts, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::refused::Refused;

/// Counters of all threads; they only grow, except those of what is open now.
#[derive(Debug)]
pub struct Counts {
    /// Requests that came.
    pub requests: AtomicU64,
    /// Upgrades (WebSockets) that were asked for.
    pub upgrades: AtomicU64,
    /// Searches for the target of a request.
    pub lookups: AtomicU64,
    /// Tunnels (WebSockets) that are open now.
    pub tunnels_open: AtomicU64,
    /// Connections of clients that are open now.
    pub connections_open: AtomicU64,
    /// TLS handshakes that came to their end.
    pub tls_handshakes: AtomicU64,
    /// TLS handshakes that failed: another protocol, no common version, a certificate that is not believed.
    pub tls_failures: AtomicU64,
    /// Certificates of clients that were refused, for the log.
    pub(crate) refused: Refused,
    /// Answers by status, from 100 on.
    statuses: [AtomicU64; 500],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            upgrades: AtomicU64::new(0),
            lookups: AtomicU64::new(0),
            tunnels_open: AtomicU64::new(0),
            connections_open: AtomicU64::new(0),
            tls_handshakes: AtomicU64::new(0),
            tls_failures: AtomicU64::new(0),
            refused: Refused::new(),
            statuses: [const { AtomicU64::new(0) }; 500],
        }
    }
}

impl Counts {
    pub(crate) fn count_lookup(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one answer.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(count) = self.statuses.get(usize::from(status.saturating_sub(100))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives the number of answers with each status that has occurred, by status.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        (100..)
            .zip(&self.statuses)
            .map(|(status, count)| (status, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
