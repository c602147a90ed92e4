//! Look-ups through the name servers that this machine is told to ask. Keeps nothing: who asks wants to know it now.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::time::timeout;

use super::lookup::{LookupError, name, no_such_record, plain, refused};
use super::transport::{Recursion, ask};
use crate::trouble::{Trouble, TroubleKind};

/// Where a machine's name servers are told.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved tells which ones it asks itself.
const RESOLVED_CONF: &str = "/run/systemd/resolve/resolv.conf";
/// Where it listens. There it answers for this machine's own name with what `/etc/hosts` and the interfaces say, which
/// nobody else sees.
const RESOLVED: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53)),
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 54)),
];
/// As many of them are asked, as the C library does.
const MAX_SERVERS: usize = 3;
/// How long one look-up may take with all that belongs to it.
const LIMIT: Duration = Duration::from_secs(10);
/// As many aliases are followed.
const MAX_ALIASES: usize = 8;

/// Looks things up through recursive name servers; cheap to clone.
#[derive(Debug, Clone)]
pub struct Resolver {
    servers: Arc<[SocketAddr]>,
    /// Which one has answered last, and is asked first.
    preferred: Arc<AtomicUsize>,
    authoritative_port: u16,
}

/// A zone of the DNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its name.
    pub apex: String,
    /// The names of its name servers.
    pub servers: Vec<String>,
}

/// Records that say which authorities may give certificates, and the name where they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaSet {
    /// The name that has them: the one that was asked for, or the nearest above it.
    pub at: String,
    /// They.
    pub records: Vec<CaaRecord>,
}

/// A record that says which authorities may give certificates (RFC 8659 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaaRecord {
    /// Whether an authority that does not understand the tag must give nothing.
    pub critical: bool,
    /// What it is about: `issue`, `issuewild`, `iodef`.
    pub tag: String,
    /// What it says.
    pub value: String,
}

/// What was found at a name, or at the end of its aliases.
pub(super) struct Found {
    pub(super) records: Vec<Record>,
}

impl Resolver {
    /// Asks these servers, one after the other until one knows.
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers: servers.into(),
            preferred: Arc::default(),
            authoritative_port: 53,
        }
    }

    /// Takes the name servers of this machine, from `/etc/resolv.conf`; those behind systemd-resolved before itself.
    pub fn from_system() -> Result<Self, Trouble> {
        let read = |path| name_servers(&fs::read_to_string(path).unwrap_or_default());
        let servers = behind_resolved(read(RESOLV_CONF), || read(RESOLVED_CONF));
        if servers.is_empty() {
            return Err(Trouble::new(
                TroubleKind::Dns,
                format!("{RESOLV_CONF} names no name server"),
                format!("add a line such as `nameserver 192.0.2.53` to {RESOLV_CONF}"),
            ));
        }
        Ok(Self::new(servers))
    }

    /// Has servers of zones asked at another port than 53, for trials on one machine.
    #[must_use]
    pub fn with_authoritative_port(mut self, port: u16) -> Self {
        self.authoritative_port = port;
        self
    }

    /// The port at which servers of zones are asked.
    pub(super) fn authoritative_port(&self) -> u16 {
        self.authoritative_port
    }

    /// Finds the addresses of a name, IPv4 first.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let host = name(host)?;
        self.limited(&host, async {
            let (v4, v6) = tokio::join!(
                self.find(&host, RecordType::A),
                self.find(&host, RecordType::AAAA)
            );
            let mut addresses: Vec<IpAddr> = Vec::new();
            for found in [&v4, &v6].into_iter().flatten() {
                for record in &found.records {
                    let address = match &record.data {
                        RData::A(address) => IpAddr::V4(address.0),
                        RData::AAAA(address) => IpAddr::V6(address.0),
                        _ => continue,
                    };
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
            match (v4, v6) {
                _ if !addresses.is_empty() => Ok(addresses),
                (
                    Err(LookupError::NoSuchRecord { name, .. }),
                    Err(LookupError::NoSuchRecord { .. }),
                ) => Err(LookupError::NoSuchRecord {
                    name,
                    kind: "A or AAAA".to_owned(),
                }),
                (Err(LookupError::NoSuchRecord { .. }), Err(error)) | (Err(error), _) => Err(error),
                _ => Err(no_such_record(&host, RecordType::A)),
            }
        })
        .await
    }

    /// Finds the texts of a name; each may have been in several pieces.
    pub async fn txt(&self, host: &str) -> Result<Vec<String>, LookupError> {
        let host = name(host)?;
        let found = self
            .limited(&host, self.find(&host, RecordType::TXT))
            .await?;
        Ok(texts(&found.records))
    }

    /// Finds the records that say which authorities may give certificates for a name, at it or at the nearest name above
    /// it (RFC 8659 §3). Aliases are followed at each, but nothing is looked for above where they lead.
    pub async fn caa(&self, host: &str) -> Result<Option<CaaSet>, LookupError> {
        let host = name(host)?;
        self.limited(&host, async {
            let mut at = host.clone();
            while !at.is_root() {
                match self.find(&at, RecordType::CAA).await {
                    Ok(found) => {
                        return Ok(Some(CaaSet {
                            at: plain(&at),
                            records: caa_records(&found.records),
                        }));
                    }
                    Err(error) if error.is_absent() => at = at.base_name(),
                    Err(error) => return Err(error),
                }
            }
            Ok(None)
        })
        .await
    }

    /// Finds the zone that a name lies in, and its name servers. The name need not exist.
    pub async fn zone_of(&self, host: &str) -> Result<Zone, LookupError> {
        let host = name(host)?;
        self.limited(&host, async {
            let mut at = host.clone();
            loop {
                if at.is_root() {
                    return Err(no_such_record(&host, RecordType::SOA));
                }
                let answer = self.ask_servers(&at, RecordType::SOA).await?;
                if let Some(apex) = apex_in(&answer, &at) {
                    return self.zone(&apex).await;
                }
                at = at.base_name();
            }
        })
        .await
    }

    /// Finds the name servers of a zone.
    async fn zone(&self, apex: &Name) -> Result<Zone, LookupError> {
        let found = self.find(apex, RecordType::NS).await?;
        let servers = found
            .records
            .iter()
            .filter_map(|record| match &record.data {
                RData::NS(server) => Some(plain(&server.0)),
                _ => None,
            })
            .collect();
        Ok(Zone {
            apex: plain(apex),
            servers,
        })
    }

    /// Follows a name's aliases to their end; a name without one is its own end.
    pub(super) async fn end_of_aliases(&self, host: &Name) -> Result<Name, LookupError> {
        self.limited(host, async {
            let mut at = host.clone();
            for _ in 0..MAX_ALIASES {
                let answer = self.ask_servers(&at, RecordType::CNAME).await?;
                let end = follow(&answer, &at).ok_or_else(|| endless(host))?;
                if end == at {
                    return Ok(at);
                }
                at = end;
            }
            Err(endless(host))
        })
        .await
    }

    /// Finds records of one kind, at the end of aliases; never gives none.
    async fn find(&self, host: &Name, kind: RecordType) -> Result<Found, LookupError> {
        let mut at = host.clone();
        for _ in 0..MAX_ALIASES {
            let answer = self.ask_servers(&at, kind).await?;
            let end = follow(&answer, &at).ok_or_else(|| endless(host))?;
            let records = records_of(&answer, &end, kind);
            if !records.is_empty() {
                return Ok(Found { records });
            }
            if answer.metadata.response_code == ResponseCode::NXDomain {
                return Err(LookupError::NoSuchName(plain(&end)));
            }
            if end == at {
                return Err(no_such_record(&at, kind));
            }
            // Not every server follows aliases into other zones.
            at = end;
        }
        Err(endless(host))
    }

    /// Asks one server after the other until one knows, or knows that there is nothing.
    async fn ask_servers(&self, host: &Name, kind: RecordType) -> Result<Message, LookupError> {
        let mut last = LookupError::NoServers;
        let first = self.preferred.load(Ordering::Relaxed);
        let servers = self.servers.iter().enumerate().cycle();
        for (at, server) in servers.skip(first).take(self.servers.len()) {
            match ask(*server, host, kind, Recursion::Wanted).await {
                Ok(answer) => {
                    // Some servers give up on such aliases with SERVFAIL, and show them.
                    if follow(&answer, host).is_none() {
                        return Err(endless(host));
                    }
                    let code = answer.metadata.response_code;
                    match refused(code, host, &server.to_string()) {
                        None | Some(LookupError::NoSuchName(_)) => {
                            self.preferred.store(at, Ordering::Relaxed);
                            return Ok(answer);
                        }
                        Some(error) => last = error,
                    }
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn limited<T>(
        &self,
        host: &Name,
        looking: impl Future<Output = Result<T, LookupError>>,
    ) -> Result<T, LookupError> {
        match timeout(LIMIT, looking).await {
            Ok(found) => found,
            Err(_) => Err(LookupError::Timeout {
                name: plain(host),
                server: self
                    .servers
                    .first()
                    .map(SocketAddr::to_string)
                    .unwrap_or_default(),
            }),
        }
    }
}

fn endless(host: &Name) -> LookupError {
    LookupError::TooManyAliases(plain(host))
}

/// Puts the name servers that systemd-resolved asks before itself.
fn behind_resolved(
    servers: Vec<SocketAddr>,
    behind: impl FnOnce() -> Vec<SocketAddr>,
) -> Vec<SocketAddr> {
    let is_resolved = |server: &SocketAddr| RESOLVED.contains(&server.ip());
    if servers.is_empty() || !servers.iter().all(is_resolved) {
        return servers;
    }
    let mut all = behind();
    all.retain(|server| !is_resolved(server));
    all.extend(servers);
    all
}

/// Reads the name servers out of the text of `resolv.conf`.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        socket_address(words.next()?)
    });
    addresses.take(MAX_SERVERS).collect()
}

/// Reads an address of a name server; link-local ones of IPv6 name their interface behind a `%`.
fn socket_address(word: &str) -> Option<SocketAddr> {
    if let Ok(address) = word.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 53));
    }
    let (address, interface) = word.split_once('%')?;
    let scope = interface
        .parse()
        .ok()
        .or_else(|| nix::net::if_::if_nametoindex(interface).ok())?;
    let address = address.parse().ok()?;
    Some(std::net::SocketAddrV6::new(address, 53, 0, scope).into())
}

/// Where the aliases in an answer lead from a name on; `None` if they have no end.
pub(super) fn follow(answer: &Message, from: &Name) -> Option<Name> {
    let mut at = from;
    for _ in 0..=MAX_ALIASES {
        let next = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *at => Some(&target.0),
            _ => None,
        });
        match next {
            Some(next) => at = next,
            None => return Some(at.clone()),
        }
    }
    None
}

/// The records of one name and kind in an answer.
pub(super) fn records_of(answer: &Message, at: &Name, kind: RecordType) -> Vec<Record> {
    answer
        .answers
        .iter()
        .filter(|record| record.name == *at && record.record_type() == kind)
        .cloned()
        .collect()
}

/// The zone that an answer to a question for SOA tells of: at the name itself, or, with an answer that there is nothing,
/// above it. An alias tells nothing of the zone that it lies in, only of where it leads.
pub(super) fn apex_in(answer: &Message, asked: &Name) -> Option<Name> {
    if follow(answer, asked).as_ref() != Some(asked) {
        return None;
    }
    answer
        .answers
        .iter()
        .chain(&answer.authorities)
        .find(|record| record.record_type() == RecordType::SOA && record.name.zone_of(asked))
        .map(|record| record.name.clone())
}

/// The texts in records, each put together from its pieces.
pub(super) fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .filter_map(|record| match &record.data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        })
        .collect()
}

fn caa_records(records: &[Record]) -> Vec<CaaRecord> {
    records
        .iter()
        .filter_map(|record| match &record.data {
            RData::CAA(caa) => Some(CaaRecord {
                critical: caa.issuer_critical,
                tag: caa.tag.to_ascii_lowercase(),
                value: String::from_utf8_lossy(&caa.value).into_owned(),
            }),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let text = "# nameserver 192.0.2.9\nsearch example.org\nnameserver 192.0.2.1\n\tnameserver\t2001:db8::1 \n\
                    nameserver nonsense\nnameserver\noptions edns0\nnameserver fe80::1%1\nnameserver 192.0.2.4\n";
        let servers: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(
            servers,
            ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53"]
        );
        assert!(name_servers("").is_empty());
        assert!(name_servers("nameserver").is_empty());
    }

    #[test]
    fn servers_behind_resolved_come_first() {
        let read = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let (stub, other) = (read(&["127.0.0.53:53"]), read(&["192.0.2.1:53"]));
        assert_eq!(
            behind_resolved(stub.clone(), || other.clone()),
            read(&["192.0.2.1:53", "127.0.0.53:53"])
        );
        assert_eq!(behind_resolved(stub.clone(), Vec::new), stub);
        assert_eq!(behind_resolved(other.clone(), || stub.clone()), other);
        assert!(behind_resolved(Vec::new(), || stub.clone()).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_resolv_conf_is_read_without_a_panic(text: String) {
            let _ = name_servers(&text);
            let _ = name_servers(&format!("nameserver {text}"));
        }
    }
}
