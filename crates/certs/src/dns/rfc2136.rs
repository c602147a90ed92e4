//! Proofs in the DNS by updates to the zone's name server. Does not edit zone files.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType, TSigner};
use lyceum_core::Clock;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::lookup::{LookupError, name, plain};
use super::propagation::{self, Awaited};
use super::resolver::{Resolver, apex_in, follow};
use super::transport::{Recursion, ask};
use super::update::{Change, Channel, TextRecord};
use super::{end_of_aliases, key, record_name};
use crate::challenge::{ChallengeKind, Proof, Shown, Solver};
use crate::config::{DnsServer, Rfc2136Config};
use crate::trouble::{Trouble, TroubleKind};

/// How long the name server's own name may be looked up.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Shows proofs by updates of the DNS (RFC 2136); cheap to clone.
///
/// Follows an alias (CNAME) at `_acme-challenge.NAME` into another zone. Who stops waiting for [`Solver::show`] may
/// leave a record behind, which harms nothing.
#[derive(Debug, Clone)]
pub struct Rfc2136Solver(Arc<Inner>);

struct Inner {
    server: DnsServer,
    zone: Option<Name>,
    key: Option<TSigner>,
    config: Rfc2136Config,
    resolver: Resolver,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("server", &self.server)
            .field("zone", &self.zone.as_ref().map(plain))
            .field("key", &self.key.as_ref().map(key::name_of))
            .finish_non_exhaustive()
    }
}

impl Rfc2136Solver {
    /// Reads the key, if there is one. The resolver finds aliases and the name servers of zones.
    pub fn new(
        config: &Rfc2136Config,
        resolver: &Resolver,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Trouble> {
        let zone = config
            .zone
            .as_deref()
            .map(name)
            .transpose()
            .map_err(|error| {
                Trouble::new(
                    TroubleKind::Configuration,
                    "`zone` is not the name of a zone",
                    error.hint(),
                )
                .caused_by(&error)
            })?;
        Ok(Self(Arc::new(Inner {
            server: config.server.clone(),
            zone,
            key: key::read(config)?,
            config: config.clone(),
            resolver: resolver.clone(),
            clock,
        })))
    }
}

#[async_trait]
impl Solver for Rfc2136Solver {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let addresses = self.0.addresses().await?;
        let wanted = record_name(proof.name)?;
        let (target, server) = self.0.target(&wanted, &addresses).await?;
        let zone = match &self.0.zone {
            Some(zone) if zone.zone_of(&target) => zone.clone(),
            Some(zone) => return Err(not_in_zone(zone, &wanted, &target)),
            None => self.0.find_zone(&target, server).await?,
        };
        let shown = ShownRecord {
            inner: Arc::clone(&self.0),
            addresses,
            record: TextRecord {
                zone,
                name: target,
                value: proof.dns_value.to_owned(),
            },
        };
        let changed = shown.change(Change::Add).await?;
        tracing::debug!(
            name = %plain(&shown.record.name),
            server = %self.0.server,
            "the record that proves the name is in the DNS"
        );
        let awaited = propagation::wait(&Awaited {
            resolver: &self.0.resolver,
            name: &shown.record.name,
            value: &shown.record.value,
            zone: Some(&shown.record.zone),
            server: Some(changed),
            limit: self.0.config.propagation_timeout,
        })
        .await;
        if let Err(trouble) = awaited {
            if let Err(error) = shown.change(Change::Remove).await {
                tracing::warn!(error = %error, "could not remove a record that proves nothing");
            }
            return Err(trouble);
        }
        Ok(Box::new(shown))
    }
}

impl Inner {
    /// Finds the addresses of the name server that is changed.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, Trouble> {
        let DnsServer { host, port } = &self.server;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, *port)]);
        }
        let failed = |cause: String| {
            Trouble::new(
                TroubleKind::Dns,
                format!("the name server `{host}` has no address"),
                "check how `server` is written, or write its address",
            )
            .because(cause)
        };
        // By the system, not by our resolver: names in /etc/hosts count.
        match timeout(LOOKUP_LIMIT, lookup_host((host.as_str(), *port))).await {
            Ok(Ok(found)) => Ok(found.collect()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it could not be found in time".to_owned())),
        }
    }

    /// Follows the aliases of a name: as the world sees them, and as the name server knows them. Gives the end, and the
    /// server's address that answers.
    async fn target(
        &self,
        wanted: &Name,
        addresses: &[SocketAddr],
    ) -> Result<(Name, Option<SocketAddr>), Trouble> {
        let seen = end_of_aliases(&self.resolver, wanted).await?;
        for address in addresses {
            // One that does not answer by UDP may do so by TCP, which the change is sent by.
            if let Ok(answer) = ask(*address, &seen, RecordType::CNAME, Recursion::No).await {
                let end = follow(&answer, &seen).unwrap_or_else(|| seen.clone());
                return Ok((end, Some(*address)));
            }
        }
        Ok((seen, None))
    }

    /// Asks the name server for the zone that a name lies in.
    async fn find_zone(&self, target: &Name, server: Option<SocketAddr>) -> Result<Name, Trouble> {
        let failed = |cause: String, hint: &str| {
            Trouble::new(
                TroubleKind::Dns,
                format!(
                    "the name server {} does not tell in which zone `{}` is",
                    self.server,
                    plain(target)
                ),
                hint.to_owned(),
            )
            .because(cause)
        };
        let Some(server) = server else {
            return Err(failed(
                "it does not answer by UDP".to_owned(),
                "check `server`, and that its firewall lets this machine ask at its port 53 by UDP and TCP",
            ));
        };
        let mut at = target.clone();
        let mut said = None;
        while !at.is_root() {
            let answer = ask(server, &at, RecordType::SOA, Recursion::No)
                .await
                .map_err(|error| failed(error.to_string(), error.hint()))?;
            let code = answer.metadata.response_code;
            if matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
                if answer.metadata.authoritative
                    && let Some(apex) = apex_in(&answer, &at)
                {
                    return Ok(apex);
                }
                if let Some(cut) = delegated(&answer, &at) {
                    return Err(failed(
                        format!("`{}` is delegated to other name servers", plain(&cut)),
                        "name one of those as `server`, or the zone to change as `zone`",
                    ));
                }
            } else if said.is_none() {
                said = super::lookup::refused(code, &at, &server.to_string());
            }
            at = at.base_name();
        }
        Err(failed(
            said.as_ref().map_or_else(
                || "it has no zone for that name".to_owned(),
                LookupError::to_string,
            ),
            "check that `server` is a name server of this domain, or write the zone as `zone`",
        ))
    }
}

/// Where an answer says that others know more, below the root.
fn delegated(answer: &hickory_proto::op::Message, asked: &Name) -> Option<Name> {
    let cut = answer
        .authorities
        .iter()
        .find(|record| record.record_type() == RecordType::NS)?;
    (!answer.metadata.authoritative && !cut.name.is_root() && cut.name.zone_of(asked))
        .then(|| cut.name.clone())
}

fn not_in_zone(zone: &Name, wanted: &Name, target: &Name) -> Trouble {
    let trouble = Trouble::new(
        TroubleKind::Configuration,
        format!("`{}` is not in the zone `{}`", plain(target), plain(zone)),
        "correct `zone`, or leave it out: then the name server is asked for it",
    );
    if wanted == target {
        trouble
    } else {
        trouble.because(format!("`{}` is an alias for it (CNAME)", plain(wanted)))
    }
}

/// A record in the DNS.
#[derive(Debug)]
struct ShownRecord {
    inner: Arc<Inner>,
    addresses: Vec<SocketAddr>,
    record: TextRecord,
}

impl ShownRecord {
    async fn change(&self, change: Change) -> Result<SocketAddr, Trouble> {
        let shown = self.inner.server.to_string();
        let channel = Channel {
            shown: &shown,
            addresses: &self.addresses,
            key: self.inner.key.as_ref(),
            clock: self.inner.clock.as_ref(),
        };
        channel.send(change, &self.record).await
    }
}

#[async_trait]
impl Shown for ShownRecord {
    async fn clean_up(self: Box<Self>) -> Result<(), Trouble> {
        self.change(Change::Remove).await.map(|_| ())
    }
}
