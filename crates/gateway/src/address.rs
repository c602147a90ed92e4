//! Addresses to listen on, as they are written in the configuration.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where to listen: `127.0.0.1:8000`, `[::]:80`, `unix:/run/lyceum/http.sock`, `systemd` or `systemd:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    /// An address and port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A Unix socket, made at start and removed at the end.
    Unix(PathBuf),
    /// The sockets of this name (`FileDescriptorName=`) that systemd passes; without a name, all of them.
    Systemd(Option<String>),
}

/// What is wrong with an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not an address with a port.
    #[error(
        "`{0}` is not an address to listen on: write an IP address and a port, such as `127.0.0.1:8000` or `[::]:80`, or `unix:/path/of/socket`, or `systemd`"
    )]
    Malformed(String),
    /// The path of a Unix socket does not begin with a slash.
    #[error("`{0}` is not a Unix socket: the path after `unix:` must begin with a slash")]
    RelativePath(String),
    /// The name of a socket of systemd is none.
    #[error(
        "`{0}` is not a socket of systemd: after `systemd:` stands what its unit has as `FileDescriptorName=`"
    )]
    SocketName(String),
}

impl ListenAddress {
    /// Tells whether others than this machine can reach it. What systemd passes is not known from its name;
    /// once they are taken, `BoundGateway::local_addrs` has the addresses of these sockets.
    pub fn is_public(&self) -> bool {
        match self {
            Self::Tcp(address) => !address.ip().to_canonical().is_loopback(),
            Self::Unix(_) | Self::Systemd(_) => false,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text == "systemd" {
            Ok(Self::Systemd(None))
        } else if let Some(name) = text.strip_prefix("systemd:") {
            if is_socket_name(name) {
                Ok(Self::Systemd(Some(name.to_owned())))
            } else {
                Err(AddressError::SocketName(text.to_owned()))
            }
        } else if let Some(path) = text.strip_prefix("unix:") {
            if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(AddressError::RelativePath(text.to_owned()))
            }
        } else {
            text.parse()
                .map(Self::Tcp)
                .map_err(|_| AddressError::Malformed(text.to_owned()))
        }
    }
}

/// Tells whether a unit may have this as `FileDescriptorName=`: ASCII without control characters and colons.
fn is_socket_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii() && !byte.is_ascii_control() && byte != b':')
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(None) => f.write_str("systemd"),
            Self::Systemd(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = AddressError;
    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.to_string()
    }
}

impl JsonSchema for ListenAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ListenAddress".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["127.0.0.1:8000", "[::]:80", "unix:/run/lyceum/http.sock", "systemd"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in [
            "127.0.0.1:8000",
            "[::]:80",
            "unix:/run/x.sock",
            "systemd",
            "systemd:lyceum-http.socket",
        ] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "8000",
            ":8000",
            "127.0.0.1",
            "::1:80",
            "unix:x.sock",
            "localhost:80",
            "systemd:",
            "systemd:a:b",
            "systemd:\u{e9}",
            "Systemd",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
