//! Networks, as administrators write them: single addresses, CIDR ranges, and peers on a Unix socket.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A set of peers: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`, or `unix` for everybody on a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Unix,
    Range { base: IpAddr, bits: u8 },
}

/// What is wrong with the text of a network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// It is neither an address nor a range.
    #[error(
        "`{0}` is not a network: write an address such as `10.0.0.7`, a range such as `10.0.0.0/8`, or `unix`"
    )]
    Malformed(String),
    /// The address has bits beyond the range's length, so it is unclear what was meant.
    #[error("the range `{text}` has bits set beyond its first {bits}: did you mean `{meant}`?")]
    HostBits {
        /// What was written.
        text: String,
        /// The length of the range.
        bits: u8,
        /// The range that contains the address.
        meant: String,
    },
}

impl Network {
    /// Tells whether a peer belongs to it; `None` is a peer on a Unix socket.
    pub fn contains(&self, peer: Option<IpAddr>) -> bool {
        match (self.0, peer.map(|address| address.to_canonical())) {
            (Kind::Unix, None) => true,
            (Kind::Range { base, bits }, Some(address)) => {
                base.is_ipv4() == address.is_ipv4() && masked(address, bits) == base
            }
            (Kind::Unix, Some(_)) | (Kind::Range { .. }, None) => false,
        }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Clears everything after the first `bits` bits.
fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX
                .checked_shl(32_u32.saturating_sub(bits.into()))
                .unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX
                .checked_shl(128_u32.saturating_sub(bits.into()))
                .unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        if text == "unix" {
            return Ok(Self(Kind::Unix));
        }
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits: u8 = match bits {
            Some(bits) => bits.parse().map_err(|_| malformed())?,
            None => width(address),
        };
        if bits > width(address) {
            return Err(malformed());
        }
        let base = masked(address, bits);
        if base != address {
            return Err(NetworkError::HostBits {
                text: text.to_owned(),
                bits,
                meant: format!("{base}/{bits}"),
            });
        }
        Ok(Self(Kind::Range { base, bits }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Unix => f.write_str("unix"),
            Kind::Range { base, bits } if bits == width(base) => base.fmt(f),
            Kind::Range { base, bits } => write!(f, "{base}/{bits}"),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;
    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["10.0.0.7", "10.0.0.0/8", "fd00::/8", "unix"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(network: &str, peer: &str, expected: bool) {
        let network: Network = network.parse().unwrap();
        assert_eq!(
            network.contains(Some(peer.parse().unwrap())),
            expected,
            "{network} {peer}"
        );
    }

    #[test]
    fn networks_contain_their_addresses_only() {
        check("10.0.0.0/8", "10.200.3.4", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.0.0.0/8", "::ffff:10.1.1.1", true);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("0.0.0.0/0", "::1", false);
        check("10.0.0.7", "10.0.0.7", true);
        check("10.0.0.7", "10.0.0.8", false);
        check("fd00::/8", "fd12::1", true);
        check("::/0", "2001:db8::1", true);
        assert!("unix".parse::<Network>().unwrap().contains(None));
        assert!(!"::/0".parse::<Network>().unwrap().contains(None));
    }

    #[test]
    fn unclear_networks_are_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "host",
            "10.0.0.1/8",
            "/8",
            "1.2.3.4/-1",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
        let error = "10.0.0.1/8".parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }
}
