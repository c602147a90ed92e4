//! What a try to reach this server by a name's address gave, in words. Does not try itself.

use std::io;
use std::net::IpAddr;

use super::addresses::Judged;
use super::{Finding, Ports, Verdict};
use crate::challenge::ChallengeKind;
use crate::name::CertificateName;

/// What came back from one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// Our own answer.
    Ours,
    /// Nobody listens.
    Refused,
    /// Nothing.
    TimedOut,
    /// The network says that there is no way.
    Unreachable(String),
    /// Something else, in words that follow on `at ADDRESS`.
    Other(String),
}

/// What one way to prove a name gave at all addresses.
pub(super) struct Probed {
    pub(super) kind: ChallengeKind,
    pub(super) reached: Vec<(IpAddr, Reach)>,
}

impl Reach {
    /// Tells kinds of failed connections apart.
    pub(super) fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::TimedOut,
            _ => Self::Unreachable(error.to_string()),
        }
    }

    /// Says it, behind `at ADDRESS`.
    pub(super) fn words(&self, port: u16) -> String {
        match self {
            Self::Ours => format!("this server answers at port {port}"),
            Self::Refused => format!("nobody listens at port {port} (connection refused)"),
            Self::TimedOut => format!("port {port} does not answer (time-out)"),
            Self::Unreachable(cause) => format!("port {port} cannot be reached ({cause})"),
            Self::Other(words) => words.clone(),
        }
    }

    fn hint(&self, name: &CertificateName, port: u16) -> String {
        match self {
            Self::Ours => String::new(),
            Self::Refused => format!(
                "let Lyceum listen at port {port} (`ss -ltn` shows who does), or, behind a router, let it forward the \
                 port to this machine"
            ),
            Self::TimedOut => format!(
                "let port {port} through the firewall, and, behind a router, have it forwarded to this machine; many \
                 routers do not let a machine reach itself by its outer address: then try it from outside with `{}`",
                trial(name, port)
            ),
            Self::Unreachable(_) => {
                "check this machine's network, above all whether it has IPv6 if the address is of that kind".to_owned()
            }
            Self::Other(_) => format!(
                "let `{name}` lead to this machine, and have proxies in between pass on what comes to port {port} with \
                 the name as it is"
            ),
        }
    }
}

/// How the same is tried by hand.
fn trial(name: &CertificateName, port: u16) -> String {
    let host = match name.address() {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        _ => name.to_string(),
    };
    if port == 80 {
        format!("curl -v http://{host}/.well-known/acme-challenge/trial")
    } else {
        format!("openssl s_client -connect {host}:{port} -servername {name}")
    }
}

impl Probed {
    /// Whether our answer came from everywhere.
    pub(super) fn works(&self) -> bool {
        !self.reached.is_empty() && self.reached.iter().all(|(_, reach)| *reach == Reach::Ours)
    }

    pub(super) fn port(&self, ports: Ports) -> u16 {
        match self.kind {
            ChallengeKind::TlsAlpn01 => ports.https,
            ChallengeKind::Http01 | ChallengeKind::Dns01 => ports.http,
        }
    }

    /// Says what was found, apart from what is said about addresses already.
    pub(super) fn findings(
        &self,
        name: &CertificateName,
        ports: Ports,
        judged: &Judged<'_>,
    ) -> Vec<Finding> {
        let port = self.port(ports);
        let mut findings = Vec::new();
        let reached: Vec<String> = self
            .reached
            .iter()
            .filter(|(_, reach)| *reach == Reach::Ours)
            .map(|(address, _)| address.to_string())
            .collect();
        if !reached.is_empty() {
            findings.push(Finding::new(
                name,
                Verdict::Fine,
                format!(
                    "`{name}` can be proven by {} at {}, port {port}",
                    self.kind,
                    reached.join(" and ")
                ),
            ));
        }
        for (address, reach) in &self.reached {
            if *reach == Reach::Ours || judged.is_stray(*address) {
                continue;
            }
            findings.push(
                Finding::new(
                    name,
                    Verdict::Problem,
                    format!(
                        "`{name}` cannot be proven by {}: at {address}, {}",
                        self.kind,
                        reach.words(port)
                    ),
                )
                .hint(reach.hint(name, port)),
            );
        }
        findings
    }
}
