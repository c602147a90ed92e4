//! Routes: which prefix of host and path leads to which upstream.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Timestamp;

/// The part of the URL space that a route covers: an optional host, and a path prefix.
///
/// The path is percent-decoded, begins and ends with a slash, so that `/user/ada/` never covers `/user/adam/`.
/// Written as JupyterHub does: `/user/ada/`, or `hub.example.org/user/ada/` with a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteSpec {
    host: Option<String>,
    path: String,
}

/// What is wrong with a route's text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RouteSpecError {
    /// There is no slash at the start of the path, or no path at all.
    #[error("route `{0}` has no path: write `/path/` or `host/path/`")]
    NoPath(String),
}

impl RouteSpec {
    /// Makes the route of a decoded path on every host; adds the slashes at both ends if they lack.
    pub fn path(path: &str) -> Self {
        let inner = path.trim_matches('/');
        let path = if inner.is_empty() {
            "/".to_owned()
        } else {
            format!("/{inner}/")
        };
        Self { host: None, path }
    }

    /// The same path on one host only (compared without port and letter case).
    #[must_use]
    pub fn on_host(mut self, host: &str) -> Self {
        self.host = Some(host.to_ascii_lowercase());
        self
    }

    /// Reads `/path/` or `host/path/`.
    pub fn parse(text: &str) -> Result<Self, RouteSpecError> {
        match text.find('/') {
            Some(0) => Ok(Self::path(text)),
            Some(slash) => {
                let (host, path) = text.split_at(slash);
                Ok(Self::path(path).on_host(host))
            }
            None => Err(RouteSpecError::NoPath(text.to_owned())),
        }
    }

    /// The host, if the route is for one host only.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The decoded path prefix, with slashes at both ends.
    pub fn path_prefix(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RouteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.host.as_deref().unwrap_or_default(),
            self.path
        )
    }
}

impl TryFrom<String> for RouteSpec {
    type Error = RouteSpecError;
    fn try_from(text: String) -> Result<Self, RouteSpecError> {
        Self::parse(&text)
    }
}

impl From<RouteSpec> for String {
    fn from(spec: RouteSpec) -> Self {
        spec.to_string()
    }
}

/// Where requests are sent: a program that speaks HTTP on a socket of this machine or another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstream {
    /// HTTP/1.1 over TCP, to `host:port` (an IPv6 host without brackets).
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// HTTP/1.1 over TLS, to `host:port` (an IPv6 host without brackets).
    Tls {
        /// Name or address; the certificate has to be for it.
        host: String,
        /// Port.
        port: u16,
    },
    /// HTTP/1.1 over TLS, to a user's server that has its certificate from Lyceum: each side wants to see the other's.
    Internal {
        /// Name or address (IPv6 without brackets), to find the server; the certificate is not for it.
        host: String,
        /// Port.
        port: u16,
        /// The name that the server's certificate has to have, such as `0123….server.lyceum.internal`.
        name: String,
    },
    /// HTTP/1.1 over a Unix socket.
    Unix(PathBuf),
    /// HTTP/1.1 over a Unix socket in a folder of somebody else's, who could put another socket in its place: what
    /// answers has to run under this account.
    Owned {
        /// Where the socket is.
        path: PathBuf,
        /// The number of the account.
        uid: u32,
    },
    /// HTTP/1.1 over TCP, to a port of 127.0.0.1, where every account can listen: what does has to run under this one.
    OwnedTcp {
        /// The port.
        port: u16,
        /// The number of the account.
        uid: u32,
    },
}

impl Upstream {
    /// The host of [`Upstream::OwnedTcp`].
    pub const OWNED_HOST: &str = "127.0.0.1";
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "http://{host}:{port}"),
            Self::OwnedTcp { port, .. } => write!(f, "http://{}:{port}", Self::OWNED_HOST),
            Self::Tls { host, port } | Self::Internal { host, port, .. } if host.contains(':') => {
                write!(f, "https://[{host}]:{port}")
            }
            Self::Tls { host, port } | Self::Internal { host, port, .. } => {
                write!(f, "https://{host}:{port}")
            }
            Self::Unix(path) | Self::Owned { path, .. } => {
                write!(
                    f,
                    "http+unix://{}",
                    crate::escape::path_segment(&path.display().to_string())
                )
            }
        }
    }
}

/// A route: its part of the URL space, its upstream, and what the hub wants to remember of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// The part of the URL space.
    pub spec: RouteSpec,
    /// Where its requests go.
    pub target: Upstream,
    /// A path that is put before that of each request; usually empty, and never ending in a slash.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target_path: String,
    /// Free data, shown by `GET /hub/api/proxy`: `{"user": …, "server_name": …}`.
    pub data: serde_json::Map<String, serde_json::Value>,
}

impl Route {
    /// The key of [`Route::data`] under which the environment is told that a server runs from, as far as the
    /// spawner knows it: its static files are the same for everybody, and the gateway may answer them.
    pub const ENVIRONMENT: &str = "environment";

    /// The environment that the server of this route runs from, if it is told.
    pub fn environment(&self) -> Option<&str> {
        self.data.get(Self::ENVIRONMENT)?.as_str()
    }
}

/// A route as it is now, with what the gateway has seen of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteStatus {
    /// The route.
    pub route: Route,
    /// When user traffic last passed (JupyterHub's rule: request data, any WebSocket byte from the
    /// client, and the end of a successful answer); `None` before the first.
    pub last_activity: Option<Timestamp>,
    /// When something last passed that looks like a person's doing: a request that changes something, or data over a
    /// WebSocket, and not what open pages send by themselves. `None` before the first. A proxy that cannot tell gives
    /// `last_activity`.
    pub last_action: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(RouteSpec::parse(text).unwrap().to_string(), expected);
    }

    #[test]
    fn specs_have_slashes_at_both_ends() {
        check("/", "/");
        check("/user/ada", "/user/ada/");
        check("/user/ada/", "/user/ada/");
        check("Hub.Example.org/user/ada", "hub.example.org/user/ada/");
        assert!(RouteSpec::parse("user").is_err());
    }

    #[test]
    fn stored_upstreams_of_every_kind_are_read_again() {
        let check = |upstream: Upstream, stored: &str| {
            assert_eq!(serde_json::to_string(&upstream).unwrap(), stored);
            assert_eq!(serde_json::from_str::<Upstream>(stored).unwrap(), upstream);
        };
        let host = || "::1".to_owned();
        check(
            Upstream::Tcp {
                host: host(),
                port: 1,
            },
            r#"{"tcp":{"host":"::1","port":1}}"#,
        );
        check(
            Upstream::Tls {
                host: host(),
                port: 1,
            },
            r#"{"tls":{"host":"::1","port":1}}"#,
        );
        check(Upstream::Unix("/run/s".into()), r#"{"unix":"/run/s"}"#);
        let owned = Upstream::OwnedTcp { port: 1, uid: 2 };
        assert_eq!(owned.to_string(), "http://127.0.0.1:1");
        check(owned, r#"{"ownedtcp":{"port":1,"uid":2}}"#);
        let internal = Upstream::Internal {
            host: host(),
            port: 1,
            name: "a.server.lyceum.internal".to_owned(),
        };
        assert_eq!(internal.to_string(), "https://[::1]:1");
        check(
            internal,
            r#"{"internal":{"host":"::1","port":1,"name":"a.server.lyceum.internal"}}"#,
        );
    }
}
