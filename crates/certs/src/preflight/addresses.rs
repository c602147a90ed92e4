//! Whether a name's addresses are this machine's. Whether something answers there is found out elsewhere.

use std::collections::HashSet;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use super::reach::{Probed, Reach};
use super::{Finding, Verdict};
use crate::name::CertificateName;

/// The addresses of this machine's own network interfaces.
#[derive(Debug, Default)]
pub(super) struct OwnAddresses(HashSet<IpAddr>);

impl OwnAddresses {
    /// Asks the system.
    pub(super) fn find() -> Self {
        let Ok(interfaces) = getifaddrs() else {
            return Self::default();
        };
        let addresses = interfaces.filter_map(|interface| {
            let address = interface.address?;
            if let Some(address) = address.as_sockaddr_in() {
                return Some(IpAddr::V4(address.ip()));
            }
            address
                .as_sockaddr_in6()
                .map(|address| IpAddr::V6(address.ip()))
        });
        Self(addresses.collect())
    }

    fn has(&self, address: IpAddr) -> bool {
        address.is_loopback() || self.0.contains(&address)
    }

    /// One that the rest of the machine's network knows it by, if there are only such.
    fn only_private(&self) -> Option<IpAddr> {
        let mut outer = self
            .0
            .iter()
            .filter(|address| !address.is_loopback() && !is_link_local(**address));
        let first = outer.clone().min()?;
        outer.all(|address| is_private(*address)).then_some(*first)
    }
}

/// What is known of a name's addresses.
pub(super) struct Judged<'a> {
    pub(super) name: &'a CertificateName,
    pub(super) own: &'a OwnAddresses,
    pub(super) addresses: &'a [IpAddr],
    pub(super) probed: &'a [Probed],
    /// Whether they must be reached from the internet.
    pub(super) public: bool,
}

impl Judged<'_> {
    /// Says where the addresses lead.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (mut here, mut through, mut elsewhere) = (Vec::new(), Vec::new(), Vec::new());
        for address in self.addresses {
            if self.public && is_private(*address) {
                findings.push(self.private(*address));
            } else if self.own.has(*address) {
                here.push(*address);
            } else if self.reached(*address) {
                through.push(*address);
            } else if self.is_stray(*address) {
                findings.push(self.stray(*address));
            } else {
                elsewhere.push(*address);
            }
        }
        let name = self.name;
        if !here.is_empty() {
            let what = format!("`{name}` leads to this machine: {}", list(&here));
            findings.insert(0, Finding::new(name, Verdict::Fine, what));
        }
        if !through.is_empty() {
            let what = format!(
                "`{name}` leads to {}, which is not an address of this machine, but this server is reached there: a \
                 router or a proxy is in between",
                list(&through)
            );
            findings.insert(0, Finding::new(name, Verdict::Fine, what));
        }
        if !elsewhere.is_empty() {
            findings.push(self.elsewhere(&elsewhere));
        }
        findings
    }

    /// Whether the authority cannot look at one of them.
    pub(super) fn has_inner(&self) -> bool {
        self.public && self.addresses.iter().any(|address| is_private(*address))
    }

    /// Whether an address is of the other kind (IPv4, IPv6) than those that lead here, and does not lead here itself:
    /// often a forgotten AAAA record.
    pub(super) fn is_stray(&self, address: IpAddr) -> bool {
        let leads_here = |address: IpAddr| self.own.has(address) || self.reached(address);
        !leads_here(address)
            && !self.probed.is_empty()
            && self
                .addresses
                .iter()
                .any(|other| other.is_ipv4() != address.is_ipv4() && leads_here(*other))
    }

    /// Whether our own answer came from there, to one question at least.
    fn reached(&self, address: IpAddr) -> bool {
        self.probed.iter().any(|probed| {
            probed
                .reached
                .iter()
                .any(|(other, reach)| *other == address && *reach == Reach::Ours)
        })
    }

    fn private(&self, address: IpAddr) -> Finding {
        let kind = if address.is_loopback() {
            "leads every machine to itself"
        } else {
            "can be reached only from inside your network"
        };
        Finding::new(
            self.name,
            Verdict::Problem,
            format!("`{}` leads to {address}, which {kind}: the authority cannot look there", self.name),
        )
        .hint(
            "give the name an address of the internet, prove it by dns-01, which needs none, or take an authority of \
             your own",
        )
    }

    fn stray(&self, address: IpAddr) -> Finding {
        let (this, other) = if address.is_ipv6() {
            ("AAAA", "A")
        } else {
            ("A", "AAAA")
        };
        let found = self.probed.iter().find_map(|probed| {
            let (_, reach) = probed.reached.iter().find(|(at, _)| *at == address)?;
            Some(match reach {
                Reach::Refused => "connections are refused there".to_owned(),
                Reach::TimedOut => "nothing answers there".to_owned(),
                Reach::Unreachable(cause) => format!("it cannot be reached from here: {cause}"),
                Reach::Ours | Reach::Other(_) => reach.words(0),
            })
        });
        let hint = if address.is_ipv6() {
            "remove the AAAA record, or correct it: authorities and browsers try IPv6 first"
        } else {
            "remove the A record, or correct it"
        };
        let found = found.map(|words| format!(" ({words})")).unwrap_or_default();
        Finding::new(
            self.name,
            Verdict::Problem,
            format!(
                "the {this} record of `{}` does not lead here, but to {address}{found}, while its {other} record does",
                self.name
            ),
        )
        .hint(hint)
    }

    fn elsewhere(&self, addresses: &[IpAddr]) -> Finding {
        let behind = self.own.only_private().map_or_else(
            || "it is right if a proxy or a load balancer in front of this machine has it".to_owned(),
            |own| {
                format!(
                    "this machine has only inner addresses ({own}), so it is right if a router or a proxy in front of it \
                     has that one"
                )
            },
        );
        Finding::new(
            self.name,
            Verdict::Warning,
            format!(
                "`{}` leads to {}, which is not an address of this machine",
                self.name,
                list(addresses)
            ),
        )
        .hint(format!("{behind}; if not, correct the record"))
    }
}

fn list(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" and ")
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// Whether nobody on the internet gets there.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                // RFC 6598: between providers and their customers.
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::ChallengeKind;

    fn judge(
        own: &[&str],
        addresses: &[(&str, Option<Reach>)],
        public: bool,
    ) -> Vec<(Verdict, String)> {
        let name = "a.example.org".parse().unwrap();
        let own = OwnAddresses(own.iter().map(|text| text.parse().unwrap()).collect());
        let all: Vec<IpAddr> = addresses
            .iter()
            .map(|(text, _)| text.parse().unwrap())
            .collect();
        let reached: Vec<(IpAddr, Reach)> = addresses
            .iter()
            .filter_map(|(text, reach)| Some((text.parse().unwrap(), reach.clone()?)))
            .collect();
        let probed = if reached.is_empty() {
            Vec::new()
        } else {
            vec![Probed {
                kind: ChallengeKind::Http01,
                reached,
            }]
        };
        let judged = Judged {
            name: &name,
            own: &own,
            addresses: &all,
            probed: &probed,
            public,
        };
        judged
            .findings()
            .into_iter()
            .map(|finding| (finding.verdict, finding.what))
            .collect()
    }

    fn check(findings: &[(Verdict, String)], expected: &[(Verdict, &str)]) {
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for ((verdict, what), (wanted, part)) in findings.iter().zip(expected) {
            assert_eq!(verdict, wanted, "{what}");
            assert!(what.contains(part), "{what}");
        }
    }

    #[test]
    fn addresses_of_this_machine_are_fine() {
        let found = judge(
            &["198.51.100.1"],
            &[("198.51.100.1", Some(Reach::Refused))],
            true,
        );
        check(
            &found,
            &[(Verdict::Fine, "leads to this machine: 198.51.100.1")],
        );
    }

    #[test]
    fn addresses_of_a_router_are_fine_if_we_answer_there() {
        let own = ["10.0.0.5"];
        let found = judge(&own, &[("198.51.100.1", Some(Reach::Ours))], true);
        check(
            &found,
            &[(Verdict::Fine, "a router or a proxy is in between")],
        );
        let found = judge(&own, &[("198.51.100.1", Some(Reach::TimedOut))], true);
        check(
            &found,
            &[(Verdict::Warning, "not an address of this machine")],
        );
        let found = judge(&own, &[("198.51.100.1", None)], true);
        check(
            &found,
            &[(Verdict::Warning, "not an address of this machine")],
        );
    }

    #[test]
    fn inner_addresses_are_a_problem_for_the_internet_alone() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
        ] {
            let found = judge(&[], &[(address, None)], true);
            check(
                &found,
                &[(Verdict::Problem, "the authority cannot look there")],
            );
            let found = judge(&[address], &[(address, None)], false);
            check(&found, &[(Verdict::Fine, "leads to this machine")]);
        }
    }

    #[test]
    fn a_forgotten_aaaa_record_is_named() {
        let found = judge(
            &["198.51.100.1"],
            &[
                ("198.51.100.1", Some(Reach::Ours)),
                ("2001:db8::1", Some(Reach::Refused)),
            ],
            true,
        );
        check(
            &found,
            &[
                (Verdict::Fine, "leads to this machine"),
                (
                    Verdict::Problem,
                    "the AAAA record of `a.example.org` does not lead here, but to 2001:db8::1 (connections are refused there)",
                ),
            ],
        );
    }

    #[test]
    fn own_addresses_are_found() {
        let own = OwnAddresses::find();
        assert!(own.0.contains(&"127.0.0.1".parse().unwrap()), "{own:?}");
    }
}
