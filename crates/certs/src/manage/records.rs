//! Proofs in the DNS with settings that are read anew for each, so that a key or a file that was wrong is mended without
//! a restart.

use std::sync::Arc;

use async_trait::async_trait;
use lyceum_core::Clock;

use crate::challenge::{ChallengeKind, Proof, Shown, Solver};
use crate::config::DnsConfig;
use crate::dns::{self, Resolver};
use crate::trouble::{Trouble, TroubleKind};

/// Shows proofs in the DNS, as configured.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) config: DnsConfig,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Solver for Records {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let (config, clock) = (self.config.clone(), Arc::clone(&self.clock));
        let made = tokio::task::spawn_blocking(move || {
            let resolver = Resolver::from_system()?;
            dns::solver(&config, &resolver, clock)
        });
        let solver = made
            .await
            .map_err(|error| super::attempt::broke_off(&error))??;
        match solver {
            Some(solver) => solver.show(proof).await,
            None => Err(Trouble::new(
                TroubleKind::Configuration,
                "nothing says how records get into the DNS",
                "set `[tls.acme.dns]`",
            )),
        }
    }
}
