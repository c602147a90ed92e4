//! Who the client really is, and the `X-Forwarded-…` headers that say so to upstreams and hub.
//!
//! What an untrusted peer says about itself is thrown away; what a trusted proxy says is kept and
//! appended to, as configurable-http-proxy does.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::hub::ClientInfo;
use crate::network::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Beginnings of names by which proxies tell who the client or user is.
const CLAIM_PREFIXES: [&str; 4] = ["x-forwarded-", "x-auth-request-", "x-remote-", "x-webauth-"];

/// Whole names of the same kind.
const CLAIMS: [&str; 17] = [
    "forwarded",
    "x-forwarded",
    "x-real-ip",
    "x-scheme",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-original-url",
    "x-rewrite-url",
    "x-authenticated-user",
    "x-authenticated-userid",
    "true-client-ip",
    "cf-connecting-ip",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
];

/// How a request reached us.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inbound<'a> {
    /// The other end of the connection; `None` on a Unix socket.
    pub(crate) peer: Option<IpAddr>,
    /// Whether the connection is encrypted.
    pub(crate) secure: bool,
    /// The value of `Host`.
    pub(crate) host: &'a str,
    /// Whether another protocol is asked for.
    pub(crate) upgrade: bool,
}

/// Cleans and completes the headers, and tells who the client is.
pub(crate) fn rewrite(
    headers: &mut HeaderMap,
    inbound: Inbound<'_>,
    trusted: &[Network],
) -> ClientInfo {
    let believed = is_trusted(trusted, inbound.peer);
    let client = if believed {
        claimed(headers, inbound, trusted)
    } else {
        drop_claims(headers);
        ClientInfo {
            addr: inbound.peer,
            scheme: scheme(inbound.secure),
            host: inbound.host.to_owned(),
        }
    };
    if let Some(peer) = inbound.peer {
        append(headers, FORWARDED_FOR, &peer.to_canonical().to_string());
    }
    append(headers, FORWARDED_PORT, port(inbound));
    let proto = match (inbound.upgrade, inbound.secure) {
        (true, true) => "wss",
        (true, false) => "ws",
        (false, secure) => scheme(secure),
    };
    append(headers, FORWARDED_PROTO, proto);
    if !inbound.upgrade
        && !headers.contains_key(&FORWARDED_HOST)
        && let Ok(host) = HeaderValue::from_str(inbound.host)
    {
        headers.insert(FORWARDED_HOST, host);
    }
    client
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

fn is_trusted(trusted: &[Network], peer: Option<IpAddr>) -> bool {
    trusted.iter().any(|network| network.contains(peer))
}

/// The port that the client asked for: that of `Host`, else the scheme's.
fn port(inbound: Inbound<'_>) -> &str {
    inbound
        .host
        .rsplit_once(':')
        .map(|(_, port)| port)
        .filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
        .unwrap_or(if inbound.secure { "443" } else { "80" })
}

fn drop_claims(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_claim(name.as_str())).cloned() {
        headers.remove(name);
    }
}

/// Many servers take `_` in a header's name for `-`, so both spellings are a claim.
fn is_claim(name: &str) -> bool {
    let same = |a: u8, b: u8| a == b || (a == b'_' && b == b'-');
    let begins = |prefix: &str| {
        name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(|(a, b)| same(a, b))
    };
    CLAIM_PREFIXES.into_iter().any(begins)
        || CLAIMS
            .into_iter()
            .any(|claim| claim.len() == name.len() && begins(claim))
}

/// Appends to the list that came in, on one line.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let list = items(headers, &name)
        .chain(std::iter::once(value))
        .collect::<Vec<_>>()
        .join(",");
    if let Ok(list) = HeaderValue::from_str(&list) {
        headers.insert(name, list);
    }
}

/// The items of a list header, over all its lines.
fn items<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl DoubleEndedIterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// What trusted proxies say of the client.
///
/// Every proxy appends the peer that it saw, so the list is read from its end, as far as the proxies are
/// trusted; what stands before may be anybody's invention.
fn claimed(headers: &HeaderMap, inbound: Inbound<'_>, trusted: &[Network]) -> ClientInfo {
    let mut addr = inbound.peer;
    let mut hops = 0;
    for item in items(headers, &FORWARDED_FOR).rev() {
        let Some(address) = address(item) else { break };
        addr = Some(address);
        hops += 1;
        if !is_trusted(trusted, addr) {
            break;
        }
    }
    let protos: Vec<&str> = items(headers, &FORWARDED_PROTO).collect();
    // A proxy that replaces the list where others append leaves fewer items than hops.
    let proto = protos
        .len()
        .checked_sub(hops.max(1))
        .and_then(|at| protos.get(at))
        .or_else(|| protos.first());
    let secure = match proto.map(|proto| proto.to_ascii_lowercase()) {
        Some(proto) => proto == "https" || proto == "wss",
        None => inbound.secure,
    };
    let host = items(headers, &FORWARDED_HOST)
        .next()
        .unwrap_or(inbound.host);
    ClientInfo {
        addr,
        scheme: scheme(secure),
        host: host.to_owned(),
    }
}

/// Reads an address as proxies write it, perhaps with a port.
fn address(item: &str) -> Option<IpAddr> {
    item.parse()
        .ok()
        .or_else(|| {
            item.parse::<std::net::SocketAddr>()
                .ok()
                .map(|address| address.ip())
        })
        .or_else(|| item.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    fn inbound(host: &str) -> Inbound<'_> {
        Inbound {
            peer: Some([10, 0, 0, 1].into()),
            secure: false,
            host,
            upgrade: false,
        }
    }

    fn trusted() -> Vec<Network> {
        vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()]
    }

    #[test]
    fn a_strangers_claims_are_dropped_in_every_spelling() {
        let mut sent = headers(&[
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-User", "admin"),
            ("X_Forwarded_Host", "evil.example"),
            ("Remote-User", "admin"),
            ("remote_user", "admin"),
            ("X-Auth-Request-Email", "a@b.example"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Real-IP", "1.2.3.4"),
            ("X-Scheme", "https"),
            ("Cookie", "a=b"),
            ("X-XSRFToken", "c"),
        ]);
        let client = rewrite(&mut sent, inbound("hub.example:8000"), &[]);
        assert_eq!(client.addr, Some([10, 0, 0, 1].into()));
        assert_eq!(
            (client.scheme, client.host.as_str()),
            ("http", "hub.example:8000")
        );
        let mut lines: Vec<String> = sent
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "cookie: a=b",
                "x-forwarded-for: 10.0.0.1",
                "x-forwarded-host: hub.example:8000",
                "x-forwarded-port: 8000",
                "x-forwarded-proto: http",
                "x-xsrftoken: c",
            ]
        );
    }

    #[test]
    fn a_trusted_proxys_claims_are_appended_to() {
        let mut sent = headers(&[
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "198.51.100.7, 10.0.0.2"),
            ("X-Forwarded-Proto", "http, https, http"),
            ("X-Forwarded-Port", "443"),
            ("X-Forwarded-Host", "hub.example"),
        ]);
        let client = rewrite(&mut sent, inbound("internal"), &trusted());
        assert_eq!(client.addr, Some([198, 51, 100, 7].into()));
        assert_eq!(
            (client.scheme, client.host.as_str()),
            ("https", "hub.example")
        );
        let value = |name: &str| sent[name].to_str().unwrap().to_owned();
        assert_eq!(
            value("x-forwarded-for"),
            "203.0.113.9,198.51.100.7,10.0.0.2,10.0.0.1"
        );
        assert_eq!(value("x-forwarded-proto"), "http,https,http,http");
        assert_eq!(value("x-forwarded-port"), "443,80");
        assert_eq!(value("x-forwarded-host"), "hub.example");
    }

    #[test]
    fn a_proxy_that_replaces_the_protocol_is_understood() {
        let mut sent = headers(&[
            ("X-Forwarded-For", "1.1.1.1, 203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
        ]);
        let client = rewrite(&mut sent, inbound("h"), &trusted());
        assert_eq!(client.addr, Some([203, 0, 113, 9].into()));
        assert_eq!(client.scheme, "https");
        let mut none = headers(&[]);
        let on_socket = Inbound {
            peer: None,
            ..inbound("h")
        };
        let client = rewrite(&mut none, on_socket, &trusted());
        assert_eq!((client.addr, client.scheme), (None, "http"));
        assert!(!none.contains_key("x-forwarded-for"));
    }

    #[test]
    fn upgrades_say_ws_and_no_host() {
        let mut sent = headers(&[]);
        let upgrade = Inbound {
            upgrade: true,
            secure: true,
            ..inbound("h")
        };
        rewrite(&mut sent, upgrade, &[]);
        assert_eq!(sent["x-forwarded-proto"], "wss");
        assert_eq!(sent["x-forwarded-port"], "443");
        assert!(!sent.contains_key("x-forwarded-host"));
    }
}
