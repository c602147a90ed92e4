//! `[tls.acme.dns]`: how records get into the DNS.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use lyceum_core::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How records for `dns-01` get into the DNS.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DnsConfig {
    /// Not at all
    #[default]
    None,
    /// By updates (RFC 2136) to the name server of the zone, as BIND, Knot, PowerDNS and others take them
    Rfc2136(Rfc2136Config),
    /// By a program of yours
    Command(DnsCommandConfig),
}

/// Updates to a name server, signed with a key that both know (TSIG, RFC 8945).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rfc2136Config {
    /// The name server that takes updates: an address or a name, with its port if that is not 53.
    #[schemars(example = "192.0.2.53")]
    pub server: DnsServer,

    /// The zone that is changed. Without it, the name server is asked for it.
    #[schemars(example = "example.org")]
    pub zone: Option<String>,

    /// The name of the key.
    #[schemars(example = &"lyceum")]
    pub tsig_name: Option<String>,

    /// How updates are signed with it.
    pub tsig_algorithm: TsigAlgorithm,

    /// A file with the key in base64, as `tsig-keygen` prints it (`secret "…"`): the bare text, or the whole output.
    #[schemars(example = "/etc/lyceum/tsig.key", extend("format" = "path"))]
    pub tsig_secret_file: Option<PathBuf>,

    /// How long to wait until all name servers of the zone show the record.
    pub propagation_timeout: HumanDuration,
}

impl Default for Rfc2136Config {
    fn default() -> Self {
        Self {
            server: DnsServer {
                host: String::new(),
                port: 53,
            },
            zone: None,
            tsig_name: None,
            tsig_algorithm: TsigAlgorithm::default(),
            tsig_secret_file: None,
            propagation_timeout: HumanDuration::from_secs(120),
        }
    }
}

/// A program that changes the DNS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DnsCommandConfig {
    /// The program and its arguments. It is called once with `present`, the record's name and its value behind them, to
    /// add a TXT record, and once with `cleanup`, to remove it. The same three stand in `LYCEUM_DNS_ACTION`,
    /// `LYCEUM_DNS_NAME` and `LYCEUM_DNS_VALUE`. It says by its exit status whether it has done that; what it prints goes
    /// to the log, or, if it fails, to `lyceum cert status`.
    #[schemars(example = ["/etc/lyceum/dns-hook"])]
    pub command: Vec<String>,

    /// How long it may take.
    pub timeout: HumanDuration,

    /// How long to wait until all name servers of the zone show the record; `0s` believes the program.
    pub propagation_timeout: HumanDuration,
}

impl Default for DnsCommandConfig {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            timeout: HumanDuration::from_secs(300),
            propagation_timeout: HumanDuration::from_secs(120),
        }
    }
}

/// Ways to sign an update.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TsigAlgorithm {
    /// HMAC with SHA-256
    #[default]
    HmacSha256,
    /// HMAC with SHA-384
    HmacSha384,
    /// HMAC with SHA-512
    HmacSha512,
}

/// A name server: `192.0.2.53`, `[2001:db8::53]:5353`, `ns1.example.org`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// It is no name server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no name server: write an address or a name, such as `192.0.2.53` or `ns1.example.org:53`"
)]
pub struct DnsServerError(String);

impl DnsConfig {
    /// Whether records can get into the DNS.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// What cannot work: the key below `tls.acme`, and why.
    pub(super) fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        match self {
            Self::None => {}
            Self::Rfc2136(update) => {
                if update.server.host.is_empty() {
                    problems.push((
                        "dns.server",
                        "names the server that takes updates".to_owned(),
                    ));
                }
                if update.tsig_name.is_some() != update.tsig_secret_file.is_some() {
                    problems.push((
                        "dns.tsig_name",
                        "`tsig_name` and `tsig_secret_file` belong together".to_owned(),
                    ));
                }
            }
            Self::Command(command) => {
                if command.command.first().is_none_or(String::is_empty) {
                    problems.push(("dns.command", "names the program to call".to_owned()));
                }
                if command.timeout.is_zero() {
                    problems.push(("dns.timeout", "must be longer than zero".to_owned()));
                }
            }
        }
        problems
    }
}

impl FromStr for DnsServer {
    type Err = DnsServerError;

    fn from_str(text: &str) -> Result<Self, DnsServerError> {
        let failed = || DnsServerError(text.to_owned());
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self {
                host: address.to_string(),
                port: 53,
            });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| failed())?),
            None => (text, 53),
        };
        let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
        if host.is_empty() || !host.bytes().all(plain) || port == 0 {
            return Err(failed());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (_, 53) => f.write_str(&self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
        }
    }
}

impl TryFrom<String> for DnsServer {
    type Error = DnsServerError;
    fn try_from(text: String) -> Result<Self, DnsServerError> {
        text.parse()
    }
}

impl From<DnsServer> for String {
    fn from(server: DnsServer) -> Self {
        server.to_string()
    }
}

impl JsonSchema for DnsServer {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "DnsServer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["192.0.2.53", "ns1.example.org:5353"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_and_written() {
        for (text, written) in [
            ("192.0.2.53", "192.0.2.53"),
            ("192.0.2.53:53", "192.0.2.53"),
            ("192.0.2.53:5353", "192.0.2.53:5353"),
            ("2001:db8::53", "2001:db8::53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
            ("ns1.example.org", "ns1.example.org"),
            ("ns1.example.org:8053", "ns1.example.org:8053"),
        ] {
            assert_eq!(text.parse::<DnsServer>().unwrap().to_string(), written);
        }
        for text in ["", "a b", "ns1:x", "ns1:0", "https://ns1"] {
            assert!(text.parse::<DnsServer>().is_err(), "{text}");
        }
    }
}
