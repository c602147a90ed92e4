//! Waits until every name server of a zone shows a record. An authority may ask any of them.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};
use lyceum_core::HumanDuration;
use tokio::time::{Instant, sleep, timeout};

use super::lookup::{LookupError, plain};
use super::resolver::{Resolver, records_of, texts};
use super::transport::{Recursion, ask};
use crate::trouble::{Trouble, TroubleKind};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A server that has not answered so many times is not waited for.
const SILENT_AFTER: u32 = 2;

/// What is waited for.
pub(super) struct Awaited<'a> {
    pub(super) resolver: &'a Resolver,
    pub(super) name: &'a Name,
    pub(super) value: &'a str,
    /// The zone, if it is known already.
    pub(super) zone: Option<&'a Name>,
    /// A server that is asked too, whether the zone names it or not.
    pub(super) server: Option<SocketAddr>,
    pub(super) limit: HumanDuration,
}

/// A server that is asked again and again.
struct Asked {
    address: SocketAddr,
    /// As people know it.
    shown: String,
    misses: u32,
    last: Option<LookupError>,
}

enum Answer {
    Shows,
    NotYet,
    Silent(LookupError),
}

/// Returns when all servers that can be reached show the value.
pub(super) async fn wait(awaited: &Awaited<'_>) -> Result<(), Trouble> {
    let limit = awaited.limit.get();
    if limit.is_zero() {
        return Ok(());
    }
    let until = Instant::now() + limit;
    let Ok(mut waiting) = timeout(limit, servers(awaited)).await else {
        return Err(too_late(awaited, &[]));
    };
    let mut silent: Vec<Asked> = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut shown = 0_usize;
    loop {
        let round = join_all(waiting.iter().map(|server| look(server.address, awaited)));
        let Ok(answers) = timeout(until.saturating_duration_since(Instant::now()), round).await
        else {
            return Err(too_late(awaited, &waiting));
        };
        let mut rest = Vec::new();
        for (mut server, answer) in waiting.into_iter().zip(answers) {
            match answer {
                Answer::Shows => shown += 1,
                Answer::NotYet => {
                    server.misses = 0;
                    rest.push(server);
                }
                Answer::Silent(error) => {
                    server.misses += 1;
                    server.last = Some(error);
                    if server.misses >= SILENT_AFTER {
                        silent.push(server);
                    } else {
                        rest.push(server);
                    }
                }
            }
        }
        waiting = rest;
        if waiting.is_empty() {
            warn_of(awaited, &silent, shown);
            return Ok(());
        }
        if Instant::now() + pause >= until {
            return Err(too_late(awaited, &waiting));
        }
        sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

/// Finds the servers of the zone, and adds the one that was changed.
async fn servers(awaited: &Awaited<'_>) -> Vec<Asked> {
    let name = plain(awaited.zone.unwrap_or(awaited.name));
    let mut found: Vec<Asked> = Vec::new();
    let mut add = |address: SocketAddr, shown: String| {
        if !found.iter().any(|server| server.address == address) {
            found.push(Asked {
                address,
                shown,
                misses: 0,
                last: None,
            });
        }
    };
    if let Some(address) = awaited.server {
        add(address, address.to_string());
    }
    match awaited.resolver.zone_of(&name).await {
        Ok(zone) => {
            let looked =
                join_all(zone.servers.iter().map(|server| async move {
                    (server, awaited.resolver.addresses(server).await)
                }));
            for (server, addresses) in looked.await {
                match addresses {
                    Ok(addresses) => {
                        for address in addresses {
                            let address =
                                SocketAddr::new(address, awaited.resolver.authoritative_port());
                            add(address, format!("{server} ({address})"));
                        }
                    }
                    Err(error) => tracing::warn!(
                        name = %plain(awaited.name),
                        server,
                        error = %error,
                        "a name server of the zone has no address that could be found, so it is not waited for"
                    ),
                }
            }
        }
        Err(error) => tracing::warn!(
            name = %plain(awaited.name),
            error = %error,
            "could not find the name servers of the zone, so they are not waited for"
        ),
    }
    found
}

/// Asks one server whether it shows the value.
async fn look(server: SocketAddr, awaited: &Awaited<'_>) -> Answer {
    match ask(server, awaited.name, RecordType::TXT, Recursion::No).await {
        Ok(answer) => match answer.metadata.response_code {
            ResponseCode::NoError | ResponseCode::NXDomain => {
                let records = records_of(&answer, awaited.name, RecordType::TXT);
                if texts(&records).iter().any(|text| text == awaited.value) {
                    Answer::Shows
                } else {
                    Answer::NotYet
                }
            }
            code => Answer::Silent(LookupError::Code {
                name: plain(awaited.name),
                server: server.to_string(),
                code: format!("{code:?}"),
            }),
        },
        Err(error) => Answer::Silent(error),
    }
}

/// Says which servers could not be asked.
fn warn_of(awaited: &Awaited<'_>, silent: &[Asked], shown: usize) {
    for server in silent {
        tracing::warn!(
            name = %plain(awaited.name),
            server = %server.shown,
            error = server.last.as_ref().map(tracing::field::display),
            "a name server does not answer this machine, so it is not known whether it shows the record"
        );
    }
    if shown == 0 {
        tracing::warn!(
            name = %plain(awaited.name),
            "no name server of the zone could be asked from here whether it shows the record: it is believed"
        );
    }
}

fn too_late(awaited: &Awaited<'_>, waiting: &[Asked]) -> Trouble {
    let names: Vec<&str> = waiting.iter().map(|server| server.shown.as_str()).collect();
    let who = match names.as_slice() {
        [] => "not all name servers of the zone are known".to_owned(),
        names => format!("the name server {} does not show it", names.join(" and ")),
    };
    Trouble::new(
        TroubleKind::Dns,
        format!(
            "the record `{}` did not get to all name servers of the zone within {}",
            plain(awaited.name),
            awaited.limit
        ),
        "check that the other name servers fetch the zone when it changes (NOTIFY), or raise `propagation_timeout`",
    )
    .because(who)
}
