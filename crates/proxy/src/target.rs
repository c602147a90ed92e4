//! Targets of routes as URLs: `http://host:port/path`, `https://…`, and Unix sockets as `http+unix://%2Fpath`.

use std::path::PathBuf;
use std::str::FromStr;

use lyceum_core::{Upstream, escape};
use thiserror::Error;

/// An upstream, and the path that is put before that of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where requests go.
    pub upstream: Upstream,
    /// A path without a slash at its end; usually empty.
    pub path: String,
}

/// What is wrong with the URL of a target.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// It is none.
    #[error(
        "target `{0}` is not a URL such as `http://127.0.0.1:8888` or `http+unix://%2Frun%2Fx.sock`"
    )]
    Malformed(String),
    /// Its scheme is none that requests can be sent by.
    #[error(
        "target `{0}` has an unknown scheme: `http`, `https`, `ws`, `wss` and `http+unix` can be used"
    )]
    Scheme(String),
    /// It has a part that would be lost.
    #[error("target `{url}` has {part}, which requests are not sent with")]
    Surplus {
        /// The URL, without what may be a password.
        url: String,
        /// The part.
        part: &'static str,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        let malformed = || TargetError::Malformed(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if let Some((_, host)) = authority.rsplit_once('@') {
            return Err(TargetError::Surplus {
                url: format!("{scheme}://…@{host}{path}"),
                part: "a user",
            });
        }
        for (mark, part) in [('?', "a query"), ('#', "a fragment")] {
            if path.contains(mark) {
                return Err(TargetError::Surplus {
                    url: text.to_owned(),
                    part,
                });
            }
        }
        if path.chars().any(|one| one.is_control() || one == ' ') {
            return Err(malformed());
        }
        let upstream = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => {
                let (host, port) = host_and_port(authority, 80).ok_or_else(malformed)?;
                Upstream::Tcp { host, port }
            }
            "https" | "wss" => {
                let (host, port) = host_and_port(authority, 443).ok_or_else(malformed)?;
                Upstream::Tls { host, port }
            }
            "http+unix" | "unix+http" => {
                let socket = escape::decode(authority)
                    .filter(|path| path.starts_with('/') && !path.contains('\0'))
                    .ok_or_else(malformed)?;
                Upstream::Unix(PathBuf::from(socket))
            }
            _ => return Err(TargetError::Scheme(text.to_owned())),
        };
        Ok(Self {
            upstream,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

/// Splits `host:port`; an IPv6 address has brackets there, and none here.
fn host_and_port(authority: &str, usual: u16) -> Option<(String, u16)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                port.strip_prefix(':').or(port.is_empty().then_some(""))?,
            )
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, port),
            None => (authority, ""),
        },
    };
    let port = match port {
        "" => usual,
        port => port.parse().ok().filter(|_| !port.starts_with('+'))?,
    };
    let proper = |one: char| one.is_alphanumeric() || matches!(one, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(proper)).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, upstream: &str, path: &str) {
        let target: Target = text.parse().unwrap();
        assert_eq!(target.upstream.to_string(), upstream, "{text}");
        assert_eq!(target.path, path, "{text}");
    }

    #[test]
    fn targets_are_hosts_or_sockets_with_a_path() {
        check("http://127.0.0.1:8888", "http://127.0.0.1:8888", "");
        check("http://Node-3:8888/", "http://node-3:8888", "");
        check("http://localhost", "http://localhost:80", "");
        check("https://[::1]/base/", "https://[::1]:443", "/base");
        check("ws://h:1/a%20b", "http://h:1", "/a%20b");
        check("wss://h", "https://h:443", "");
        check(
            "http+unix://%2Frun%2Fa%20b.sock",
            "http+unix://%2Frun%2Fa%20b.sock",
            "",
        );
        check(
            "unix+http://%2Frun%2Fx.sock/sub",
            "http+unix://%2Frun%2Fx.sock",
            "/sub",
        );
    }

    #[test]
    fn what_could_not_be_sent_anywhere_is_refused() {
        for text in [
            "",
            "nonsense",
            "http://",
            "http://:80",
            "http://h:port",
            "http://h:99999",
            "http://h:+80",
            "http://[::1",
            "http://[::1]x",
            "http://[nonsense]:80",
            "http://h h:80",
            "ftp://h",
            "http+unix://relative",
            "http://h/?a=b",
            "http://h/#a",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_does_not_tell_a_password() {
        let error = "http://ada:sesame@h/".parse::<Target>().unwrap_err();
        assert!(!error.to_string().contains("sesame"), "{error}");
    }
}
