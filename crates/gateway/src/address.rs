//! Addresses to listen on, as they are written in the configuration.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where to listen: `127.0.0.1:8000`, `[::]:80` or `unix:/run/lyceum/http.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ListenAddress {
    /// An address and port; port 0 takes any free one.
    Tcp(SocketAddr),
    /// A Unix socket, made at start and removed at the end.
    Unix(PathBuf),
}

/// What is wrong with an address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// It is not an address with a port.
    #[error(
        "`{0}` is not an address to listen on: write an IP address and a port, such as `127.0.0.1:8000` or `[::]:80`, or `unix:/path/of/socket`"
    )]
    Malformed(String),
    /// The path of a Unix socket does not begin with a slash.
    #[error("`{0}` is not a Unix socket: the path after `unix:` must begin with a slash")]
    RelativePath(String),
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) => Err(AddressError::RelativePath(text.to_owned())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| AddressError::Malformed(text.to_owned())),
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
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
            "examples": ["127.0.0.1:8000", "[::]:80", "unix:/run/lyceum/http.sock"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for text in ["127.0.0.1:8000", "[::]:80", "unix:/run/x.sock"] {
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
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
