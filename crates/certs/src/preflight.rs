//! Checks from here what an authority will check from outside, name by name. Asks no authority, and changes nothing that
//! stays.

mod addresses;
mod caa;
mod http;
mod reach;
mod tls;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use lyceum_core::random;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};

use crate::challenge::{ChallengeKind, Challenges, Proof, Solver};
use crate::dns::{LookupError, Resolver};
use crate::name::CertificateName;

use self::addresses::OwnAddresses;
pub(crate) use self::addresses::is_private;
use self::reach::Probed;

/// So many names are checked at the same time.
const AT_ONCE: usize = 4;
/// How long all may take, without records in the DNS and with them.
const LIMIT: Duration = Duration::from_mins(1);
const LIMIT_WITH_DNS: Duration = Duration::from_mins(5);
/// So many addresses of a name are tried.
const MAX_ADDRESSES: usize = 8;

/// Something that was found out, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The name that it is about, if it is about one.
    pub name: Option<CertificateName>,
    /// How bad it is.
    pub verdict: Verdict,
    /// What it is; a sentence's beginning in lower case, without a full stop.
    pub what: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It may be right, and may not.
    Warning,
    /// The authority will refuse.
    Problem,
}

/// Ports at which the world reaches this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Where http-01 is asked for; 80 for every authority.
    pub http: u16,
    /// Where tls-alpn-01 is asked for; 443 for every authority.
    pub https: u16,
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            http: 80,
            https: 443,
        }
    }
}

/// What is checked, and with what.
#[derive(Debug)]
pub struct PreflightOptions<'a> {
    /// The names, each with the ways to prove it, in the order in which they are tried.
    pub names: &'a [(CertificateName, Vec<ChallengeKind>)],
    /// By what CAA records name the authority; none if that is not known.
    pub caa_identities: &'a [String],
    /// Whether the authority looks from the internet, and not from a network like ours.
    pub public_authority: bool,
    /// Where the world reaches this server.
    pub ports: Ports,
    /// What the running listeners answer.
    pub challenges: &'a Challenges,
    /// Who is asked for names.
    pub resolver: &'a Resolver,
    /// What puts records into the DNS, for dns-01.
    pub dns: Option<Arc<dyn Solver>>,
}

impl Finding {
    fn new(name: &CertificateName, verdict: Verdict, what: impl Into<String>) -> Self {
        Self {
            name: Some(name.clone()),
            verdict,
            what: what.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Checks all names, and gives what was found in their order. Returns within a minute, or within five if records in the
/// DNS belong to it.
///
/// Answers for trial are put up meanwhile: not while a certificate for the same names is being ordered. Who stops waiting
/// may leave a record behind in the DNS, which harms nothing.
pub async fn check(options: &PreflightOptions<'_>) -> Vec<Finding> {
    let own = OwnAddresses::find();
    let with_dns = options
        .names
        .iter()
        .any(|(_, kinds)| kinds.contains(&ChallengeKind::Dns01));
    let until = Instant::now() + if with_dns { LIMIT_WITH_DNS } else { LIMIT };
    let mut work: Vec<Checking<'_>> = Vec::new();
    for (at, (name, kinds)) in options.names.iter().enumerate() {
        let checked = NameCheck {
            options,
            own: &own,
            name,
            kinds,
            with_record: tries_record(options.names, at),
        };
        work.push(Box::pin(async move { (at, checked.run().await) }));
    }
    let mut done: Vec<(usize, Vec<Finding>)> = Vec::new();
    let mut running = stream::iter(work).buffer_unordered(AT_ONCE);
    while let Ok(Some(findings)) = timeout_at(until, running.next()).await {
        done.push(findings);
    }
    drop(running);
    for (at, (name, _)) in options.names.iter().enumerate() {
        if !done.iter().any(|(other, _)| *other == at) {
            let late = Finding::new(
                name,
                Verdict::Warning,
                format!("`{name}` could not be checked in time"),
            )
            .hint("try again; if it stays so, check this name alone");
            done.push((at, vec![late]));
        }
    }
    done.sort_by_key(|(at, _)| *at);
    done.into_iter()
        .flat_map(|(_, findings)| findings)
        .collect()
}

/// A check under way, with the place of its name.
type Checking<'a> = Pin<Box<dyn Future<Output = (usize, Vec<Finding>)> + Send + 'a>>;

/// Whether a record is tried with this name: a name and its wildcard have the same, which is tried once, with the name
/// if both are there.
fn tries_record(names: &[(CertificateName, Vec<ChallengeKind>)], at: usize) -> bool {
    let by_record = |(_, (_, kinds)): &(usize, &(CertificateName, Vec<ChallengeKind>))| {
        kinds.contains(&ChallengeKind::Dns01)
    };
    let Some((name, _)) = names.get(at) else {
        return false;
    };
    names
        .iter()
        .enumerate()
        .filter(by_record)
        .filter(|(_, (other, _))| other.base() == name.base())
        .min_by_key(|(other_at, (other, _))| (other.is_wildcard(), *other_at))
        .is_some_and(|(first, _)| first == at)
}

/// The check of one name.
struct NameCheck<'a> {
    options: &'a PreflightOptions<'a>,
    own: &'a OwnAddresses,
    name: &'a CertificateName,
    kinds: &'a [ChallengeKind],
    with_record: bool,
}

impl NameCheck<'_> {
    async fn run(&self) -> Vec<Finding> {
        let (at_ports, caa, record) =
            tokio::join!(self.check_ports(), self.check_caa(), self.check_record());
        let mut findings = at_ports.findings;
        let record_works = matches!(&record, Some(finding) if finding.verdict == Verdict::Fine);
        // Where one way works, the others are not needed.
        if record_works || at_ports.one_works {
            for finding in &mut findings {
                finding.verdict = finding.verdict.min(Verdict::Warning);
            }
        }
        findings.extend(record.map(|mut finding| {
            if at_ports.one_works {
                finding.verdict = finding.verdict.min(Verdict::Warning);
            }
            finding
        }));
        findings.extend(caa);
        findings
    }

    /// Checks where the name leads, and what is answered there.
    async fn check_ports(&self) -> AtPorts {
        let at_ports = self.kinds.iter().any(|kind| *kind != ChallengeKind::Dns01);
        if self.name.is_wildcard() {
            // Wildcards are proven by records alone, and the names that they stand for are many.
            return AtPorts::default();
        }
        let mut addresses = match self.addresses().await {
            Ok(addresses) => addresses,
            Err(error) => {
                let verdict = if at_ports {
                    Verdict::Problem
                } else {
                    Verdict::Warning
                };
                let finding = Finding::new(self.name, verdict, error.to_string()).hint(
                    if error.is_absent() {
                        format!(
                            "add an A record (or AAAA) for `{}` that leads to this machine",
                            self.name
                        )
                    } else {
                        error.hint().to_owned()
                    },
                );
                return AtPorts {
                    findings: vec![finding],
                    one_works: false,
                };
            }
        };
        addresses.truncate(MAX_ADDRESSES);
        let probes = self.kinds.iter().map(|kind| self.probe(*kind, &addresses));
        let probed: Result<Vec<Option<Probed>>, Finding> =
            join_all(probes).await.into_iter().collect();
        let probed: Vec<Probed> = match probed {
            Ok(probed) => probed.into_iter().flatten().collect(),
            Err(finding) => {
                return AtPorts {
                    findings: vec![finding],
                    one_works: false,
                };
            }
        };
        let judged = addresses::Judged {
            name: self.name,
            own: self.own,
            addresses: &addresses,
            probed: &probed,
            public: self.options.public_authority && at_ports,
        };
        // That we reach ourselves by an inner address says nothing about the internet.
        let one_works = probed.iter().any(Probed::works) && !judged.has_inner();
        let mut findings = judged.findings();
        for probed in &probed {
            findings.extend(probed.findings(self.name, self.options.ports, &judged));
        }
        AtPorts {
            findings,
            one_works,
        }
    }

    /// Asks at all addresses for what an authority would ask for; records are not asked for there.
    async fn probe(
        &self,
        kind: ChallengeKind,
        addresses: &[IpAddr],
    ) -> Result<Option<Probed>, Finding> {
        let reached = match kind {
            ChallengeKind::Http01 => http::probe(self.options, self.name, addresses).await?,
            ChallengeKind::TlsAlpn01 => tls::probe(self.options, self.name, addresses).await?,
            ChallengeKind::Dns01 => return Ok(None),
        };
        Ok(Some(Probed { kind, reached }))
    }

    async fn addresses(&self) -> Result<Vec<IpAddr>, LookupError> {
        match self.name.address() {
            Some(address) => Ok(vec![address]),
            None => self.options.resolver.addresses(self.name.as_str()).await,
        }
    }

    /// Checks whether CAA records forbid it.
    async fn check_caa(&self) -> Option<Finding> {
        if self.name.address().is_some() {
            return None;
        }
        Some(match self.options.resolver.caa(self.name.base()).await {
            Ok(set) => caa::judge(
                set.as_ref(),
                self.name,
                self.options.caa_identities,
                self.kinds,
            ),
            Err(error) => Finding::new(
                self.name,
                Verdict::Problem,
                format!(
                    "it could not be found out whether CAA records of `{}` forbid a certificate: {error}",
                    self.name
                ),
            )
            .hint(format!(
                "authorities give nothing then; {}",
                error.hint()
            )),
        })
    }

    /// Checks whether a record can be put into the DNS and taken away.
    async fn check_record(&self) -> Option<Finding> {
        if !self.with_record {
            return None;
        }
        let Some(solver) = &self.options.dns else {
            return Some(
                Finding::new(
                    self.name,
                    Verdict::Problem,
                    format!(
                        "`{}` is to be proven by a record in the DNS, and nothing puts it there",
                        self.name
                    ),
                )
                .hint("say in `[tls.acme.dns]` how records get into the DNS"),
            );
        };
        let trial = Trial::new();
        let shown = match solver.show(trial.proof(self.name.base())).await {
            Ok(shown) => shown,
            Err(trouble) => {
                return Some(
                    Finding::new(self.name, Verdict::Problem, trouble.to_string())
                        .hint(trouble.hint),
                );
            }
        };
        Some(match shown.clean_up().await {
            Ok(()) => Finding::new(
                self.name,
                Verdict::Fine,
                format!("a record for `_acme-challenge.{}` can be put into the DNS", self.name.base()),
            ),
            Err(trouble) => Finding::new(
                self.name,
                Verdict::Warning,
                format!(
                    "a record for `_acme-challenge.{}` got into the DNS, and could not be removed: {trouble}",
                    self.name.base()
                ),
            )
            .hint(trouble.hint),
        })
    }
}

/// What was found at a name's addresses.
#[derive(Default)]
struct AtPorts {
    findings: Vec<Finding>,
    /// Whether one way to prove the name works at all of them.
    one_works: bool,
}

/// A proof that nobody has asked for.
struct Trial {
    token: String,
    text: String,
    digest: [u8; 32],
    value: String,
}

impl Trial {
    fn new() -> Self {
        use random::Randomness as _;
        let mut digest = [0; 32];
        random::SystemRandomness.fill(&mut digest);
        let token = format!("lyceum-preflight-{}", random::hex(16));
        Self {
            text: format!("{token}.{}", random::hex(16)),
            value: format!("lyceum-preflight-{}", random::hex(13)),
            token,
            digest,
        }
    }

    fn proof<'a>(&'a self, name: &'a str) -> Proof<'a> {
        Proof {
            name,
            token: &self.token,
            key_authorization: &self.text,
            digest: &self.digest,
            dns_value: &self.value,
        }
    }
}
