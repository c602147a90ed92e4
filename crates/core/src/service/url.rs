//! Where a service listens.

use std::path::PathBuf;

use crate::escape;
use crate::route::Upstream;

/// Where a service listens: its text, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: String,
    upstream: Upstream,
}

impl ServiceUrl {
    /// Reads `http://host[:port][/…]`, `unix:/path` or `http+unix://%2Fpath`; a path behind host and port plays
    /// no part, as requests keep their own.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self {
            text: text.to_owned(),
            upstream: upstream_of(text)?,
        })
    }

    /// Reads the same, and `https://host[:port]`, without a path: for services that keep to the path of the request.
    pub fn parse_origin(text: &str) -> Result<Self, String> {
        let upstream = match text.get(..6) {
            Some(scheme) if scheme.eq_ignore_ascii_case("https:") => {
                let rest = text.get(6..).and_then(|rest| rest.strip_prefix("//"));
                match tcp(rest.ok_or("two slashes are missing")?, 443)? {
                    Upstream::Tcp { host, port } => Upstream::Tls { host, port },
                    other => other,
                }
            }
            _ => upstream_of(text)?,
        };
        let path = match &upstream {
            Upstream::Unix(_) | Upstream::Owned { .. } => None,
            _ => text
                .split_once("//")
                .and_then(|(_, rest)| rest.find(['/', '?', '#']).and_then(|at| rest.get(at..))),
        };
        if path.is_some_and(|path| path != "/") {
            return Err("it has a path: requests keep their own".to_owned());
        }
        Ok(Self {
            text: text.to_owned(),
            upstream,
        })
    }

    /// The URL, as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Where requests go.
    pub fn upstream(&self) -> &Upstream {
        &self.upstream
    }
}

fn upstream_of(text: &str) -> Result<Upstream, String> {
    let (scheme, rest) = text
        .split_once(':')
        .ok_or_else(|| "it has no scheme".to_owned())?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => tcp(
            rest.strip_prefix("//").ok_or("two slashes are missing")?,
            80,
        ),
        "unix" => socket(rest.strip_prefix("//").unwrap_or(rest).to_owned()),
        "http+unix" => {
            let rest = rest.strip_prefix("//").ok_or("two slashes are missing")?;
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            socket(escape::decode(host).ok_or("the path of the socket is not text")?)
        }
        "https" => Err(
            "services are reached by http, on this machine or a network that can be trusted"
                .to_owned(),
        ),
        other => Err(format!("the scheme `{other}` is not known")),
    }
}

fn socket(path: String) -> Result<Upstream, String> {
    if path.starts_with('/') && !path.contains('\0') {
        Ok(Upstream::Unix(PathBuf::from(path)))
    } else {
        Err("the path of a socket begins with a slash".to_owned())
    }
}

fn tcp(rest: &str, usual: u16) -> Result<Upstream, String> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it contains a user name or a password".to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("a bracket is missing")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("there is no IPv6 address in the brackets".to_owned());
            }
            let port = match rest {
                "" => None,
                rest => Some(
                    rest.strip_prefix(':')
                        .ok_or("there is no port behind the bracket")?,
                ),
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '\\' | '%');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("it names no host".to_owned());
    }
    let port = match port {
        None | Some("") => usual,
        Some(port) => port
            .parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("`{port}` is not a port"))?,
    };
    Ok(Upstream::Tcp {
        host: host.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_may_be_https_and_have_no_path() {
        let check = |text: &str, expected: Option<&str>| {
            let found = ServiceUrl::parse_origin(text).map(|url| url.upstream().to_string());
            assert_eq!(found.ok().as_deref(), expected, "{text}");
        };
        check(
            "https://stats.example.org",
            Some("https://stats.example.org:443"),
        );
        check("HTTPS://[::1]:8443/", Some("https://[::1]:8443"));
        check("http://127.0.0.1:3838/", Some("http://127.0.0.1:3838"));
        check("unix:/run/x.sock", Some("http+unix://%2Frun%2Fx.sock"));
        check("http://127.0.0.1:3838/app", None);
        check("https://h?x", None);
        check("https:h", None);
        check("é", None);
    }

    #[test]
    fn urls_lead_to_their_origin() {
        let check = |text: &str, expected: Option<Upstream>| {
            let found = ServiceUrl::parse(text).map(|url| url.upstream().clone());
            assert_eq!(found.ok(), expected, "{text}");
        };
        let tcp = |host: &str, port| {
            Some(Upstream::Tcp {
                host: host.to_owned(),
                port,
            })
        };
        check("http://127.0.0.1:9999", tcp("127.0.0.1", 9999));
        check(
            "http://service.example.org/some/path",
            tcp("service.example.org", 80),
        );
        check("http://[::1]:80/", tcp("::1", 80));
        check(
            "unix:/run/x.sock",
            Some(Upstream::Unix("/run/x.sock".into())),
        );
        check(
            "unix:///run/x.sock",
            Some(Upstream::Unix("/run/x.sock".into())),
        );
        check(
            "http+unix://%2Frun%2Fx.sock/y",
            Some(Upstream::Unix("/run/x.sock".into())),
        );
        for bad in [
            "",
            "x",
            "http:",
            "http://",
            "http://:80",
            "http://a:0",
            "http://a:x",
            "http://[::1",
            "http://[x]:1",
            "http://a b",
            "http://u:p@h",
            "https://h",
            "ftp://h",
            "unix:x.sock",
        ] {
            check(bad, None);
        }
    }
}
