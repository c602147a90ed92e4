//! The DNS: look-ups, and proofs in it by updates (RFC 2136) or by a command. Is no name server itself.

mod command;
mod key;
mod lookup;
mod propagation;
mod resolver;
mod rfc2136;
mod transport;
mod update;

use std::sync::Arc;

use hickory_proto::rr::Name;
use lyceum_core::Clock;

use crate::challenge::Solver;
use crate::config::DnsConfig;
use crate::trouble::{Trouble, TroubleKind};

pub use command::CommandSolver;
pub use lookup::LookupError;
pub use resolver::{CaaRecord, CaaSet, Resolver, Zone};
pub use rfc2136::Rfc2136Solver;

/// Makes what shows proofs in the DNS, as the configuration says; `None` if it says nothing.
pub fn solver(
    config: &DnsConfig,
    resolver: &Resolver,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<dyn Solver>>, Trouble> {
    Ok(match config {
        DnsConfig::None => None,
        DnsConfig::Rfc2136(config) => Some(Arc::new(Rfc2136Solver::new(config, resolver, clock)?)),
        DnsConfig::Command(config) => Some(Arc::new(CommandSolver::new(config, resolver))),
    })
}

/// The name of the record that proves another name (RFC 8555 §8.4).
fn record_name(proven: &str) -> Result<Name, Trouble> {
    lookup::name(&format!("_acme-challenge.{proven}")).map_err(|error| {
        Trouble::new(
            TroubleKind::Configuration,
            format!("`{proven}` cannot be proven by a record in the DNS"),
            error.hint(),
        )
        .caused_by(&error)
    })
}

/// Follows the aliases of a name as the world sees them. A name that nobody knows about is taken as it is: the record
/// may be the first thing that is known about it.
async fn end_of_aliases(resolver: &Resolver, name: &Name) -> Result<Name, Trouble> {
    match resolver.end_of_aliases(name).await {
        Ok(end) => Ok(end),
        Err(error @ LookupError::TooManyAliases(_)) => Err(Trouble::new(
            TroubleKind::Dns,
            format!("could not find where `{}` leads", lookup::plain(name)),
            error.hint(),
        )
        .caused_by(&error)),
        Err(error) => {
            tracing::debug!(
                name = %lookup::plain(name),
                error = %error,
                "could not look for an alias of the record that proves a name"
            );
            Ok(name.clone())
        }
    }
}
