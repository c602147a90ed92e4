//! Addresses in answers, made right for the browser: `Location`, `Content-Location`, `Refresh`.

use lyceum_core::Upstream;

use super::{Context, is_clean, path};
use crate::table::without_port;

/// Names of this machine: an application behind a proxy often believes that it is asked by one of them.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Gives the value that `Location` or `Content-Location` gets in place of `value`; `None` leaves it as it is.
///
/// An address of the upstream itself, of this machine with the upstream's port, or of the public host becomes one
/// below the prefix, and so does a path. What is below the prefix already stays, as applications that know their
/// prefix send that; so do other hosts, and addresses relative to the page.
pub fn location(value: &[u8], context: &Context<'_>) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    if !is_clean(text) || !is_clean(context.host) {
        return None;
    }
    let Some(address) = Address::parse(text) else {
        return below(text, context).filter(|_| is_rooted(text));
    };
    let is_public = address.is_public(context);
    if !is_public && !address.is_of(context.upstream) {
        return None;
    }
    let slash = if address.rest.starts_with('/') {
        ""
    } else {
        "/"
    };
    let rest = format!("{slash}{}", address.rest);
    let rest = match below(&rest, context) {
        Some(mapped) => mapped,
        None if is_public => return None,
        None => rest,
    };
    Some(format!("{}://{}{rest}", context.scheme, context.host))
}

/// Gives the value that `Refresh` gets in place of `value`, such as `5; url=/next`; `None` leaves it as it is.
pub fn refresh(value: &[u8], context: &Context<'_>) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, rest) = text.split_at_checked(text.find([';', ','])? + 1)?;
    let mut address = rest.trim_start();
    if let Some((name, after)) = address.split_once('=')
        && name.trim_end().eq_ignore_ascii_case("url")
    {
        address = after.trim_start();
    }
    let quote = address.chars().next().filter(|c| matches!(c, '"' | '\''));
    address = match quote {
        Some(quote) => address.get(1..)?.split(quote).next()?,
        None => address.trim_end(),
    };
    let rewritten = location(address.as_bytes(), context)?;
    // Where the address stands in the value: it is a part of it.
    let begin = (address.as_ptr() as usize).checked_sub(rest.as_ptr() as usize)?;
    let before = rest.get(..begin)?;
    let after = rest.get(begin + address.len()..)?;
    let refreshed = format!("{seconds}{before}{rewritten}{after}");
    is_clean(&refreshed).then_some(refreshed)
}

/// Whether it is a path from the root of the host: one slash, not two.
fn is_rooted(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//")
}

/// Puts the prefix before a path, unless it is there; `None` if nothing changes.
fn below(rest: &str, context: &Context<'_>) -> Option<String> {
    let path = rest.split('#').next().unwrap_or(rest);
    let is_below = path::behind(context.prefix, path).is_some();
    (context.stripped && !is_below).then(|| format!("{}{rest}", context.url_prefix()))
}

/// An address with a host: `http://host…`, `https://host…` or `//host…`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) scheme: Option<&'a str>,
    pub(super) host: &'a str,
    /// Path, query and fragment; may be empty.
    pub(super) rest: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (scheme, behind) = if let Some(behind) = text.strip_prefix("//") {
            (None, behind)
        } else {
            let (scheme, behind) = text.split_once("://")?;
            let known = ["http", "https"]
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known));
            if !known {
                return None;
            }
            (Some(scheme), behind)
        };
        let (host, rest) = behind.split_at(behind.find(['/', '?', '#']).unwrap_or(behind.len()));
        let good = !host.is_empty() && !host.contains(['@', '\\', ' ']);
        good.then_some(Self { scheme, host, rest })
    }

    /// The port, as it is written or as the scheme has it.
    fn port(&self, scheme: &str) -> Option<u16> {
        port_of(self.host).or_else(|| default_port(self.scheme.unwrap_or(scheme)))
    }

    /// Whether it is the host that the browser asked for. An application that does not know its scheme is forgiven.
    fn is_public(&self, context: &Context<'_>) -> bool {
        let public = port_of(context.host);
        let neither_says = public.is_none() && port_of(self.host).is_none();
        let same_port = self.port(context.scheme) == public.or(default_port(context.scheme));
        same_name(self.host, context.host) && (neither_says || same_port)
    }

    /// Whether it is where requests go.
    fn is_of(&self, upstream: &Upstream) -> bool {
        let is_loopback = || LOOPBACK.iter().any(|name| same_name(self.host, name));
        match upstream {
            Upstream::Tcp { host, port } => {
                self.port("http") == Some(*port) && (is_loopback() || names(self.host, host))
            }
            Upstream::OwnedTcp { port, .. } => self.port("http") == Some(*port) && is_loopback(),
            Upstream::Tls { host, port } | Upstream::Internal { host, port, .. } => {
                self.port("https") == Some(*port) && (is_loopback() || names(self.host, host))
            }
            // There is no port that it could name.
            Upstream::Unix(_) | Upstream::Owned { .. } => {
                port_of(self.host).is_none() && is_loopback()
            }
        }
    }

    /// Whether it is this upstream, by the very name and port; what configurable-http-proxy compares.
    pub(super) fn is_exactly(&self, upstream: &Upstream) -> bool {
        match upstream {
            Upstream::Tcp { host, port } => {
                self.port("http") == Some(*port) && names(self.host, host)
            }
            Upstream::OwnedTcp { port, .. } => {
                self.port("http") == Some(*port) && names(self.host, Upstream::OWNED_HOST)
            }
            Upstream::Tls { host, port } | Upstream::Internal { host, port, .. } => {
                self.port("https") == Some(*port) && names(self.host, host)
            }
            Upstream::Unix(_) | Upstream::Owned { .. } => false,
        }
    }
}

/// Whether an authority names a host, which stands without brackets.
fn names(authority: &str, host: &str) -> bool {
    let name = without_port(authority);
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case(host)
}

fn same_name(one: &str, other: &str) -> bool {
    without_port(one).eq_ignore_ascii_case(without_port(other))
}

fn port_of(authority: &str) -> Option<u16> {
    let rest = authority.get(without_port(authority).len()..)?;
    rest.strip_prefix(':')?.parse().ok()
}

fn default_port(scheme: &str) -> Option<u16> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(443)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(80)
    } else {
        None
    }
}
