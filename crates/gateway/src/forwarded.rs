//! Who the client really is, and the `X-Forwarded-…` headers that say so to upstreams and hub.
//!
//! What an untrusted peer says about itself is thrown away; what a trusted proxy says is kept and
//! appended to, as configurable-http-proxy does.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::head::{Field, find};
use crate::hub::ClientInfo;
use lyceum_core::Network;

/// The fields that are written anew for each request.
pub(crate) const REWRITTEN: [&str; 4] = [FOR, PORT, PROTO, FORWARDED_HOST];
const FOR: &str = "x-forwarded-for";
const PORT: &str = "x-forwarded-port";
const PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";

/// Beginnings of names by which proxies tell who the client or user is.
const CLAIM_PREFIXES: [&str; 5] = [
    "x-forwarded-",
    "x-auth-request-",
    "x-remote-",
    "x-webauth-",
    CERTIFICATE,
];

/// The beginning of the names by which the gateway tells sites about the certificate of a client. Believed of nobody.
const CERTIFICATE: &str = "x-lyceum-client-cert-";
/// The subject of a client's certificate.
pub(crate) const CERTIFICATE_SUBJECT: &str = "x-lyceum-client-cert-subject";
/// Its fingerprint.
pub(crate) const CERTIFICATE_SHA256: &str = "x-lyceum-client-cert-sha256";

/// Whole names of the same kind. Every one, and every prefix, begins with one of [`FIRST_LETTERS`].
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

const FIRST_LETTERS: [u8; 5] = *b"xftcr";

/// Of these, those that tell who the user is: a gated site gets them from its gate alone.
const IDENTITY_PREFIXES: [&str; 9] = [
    CERTIFICATE,
    "x-forwarded-user",
    "x-forwarded-groups",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-auth-request-",
    "x-remote-",
    "x-webauth-",
    "remote-",
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
    /// Whether what the peer says of clients is believed.
    pub(crate) believed: bool,
}

/// Tells who the client is; what stands in the fields counts only if the peer is believed.
pub(crate) fn client(
    fields: &[Field<'_>],
    inbound: Inbound<'_>,
    trusted: &[Network],
) -> ClientInfo {
    if inbound.believed {
        claimed(fields, inbound, trusted)
    } else {
        ClientInfo {
            addr: inbound.peer,
            scheme: scheme(inbound.secure),
            host: inbound.host.to_owned(),
        }
    }
}

/// Writes the `X-Forwarded-…` fields that an upstream gets, by a function of name and value.
pub(crate) fn write(
    fields: &[Field<'_>],
    claims: bool,
    inbound: Inbound<'_>,
    mut field: impl FnMut(&str, &[u8]),
) {
    let claims = claims && inbound.believed;
    let appended = |name: &str, value: Cow<'static, str>| -> Cow<'static, str> {
        if !claims {
            return value;
        }
        let mut list = items(fields, name).collect::<Vec<_>>().join(&b","[..]);
        if list.is_empty() {
            return value;
        }
        list.push(b',');
        list.extend_from_slice(value.as_bytes());
        Cow::Owned(String::from_utf8_lossy(&list).into_owned())
    };
    if let Some(peer) = inbound.peer {
        let peer = Cow::Owned(peer.to_canonical().to_string());
        field(FOR, appended(FOR, peer).as_bytes());
    } else if claims {
        // A proxy on a Unix socket has no address to add.
        let told = items(fields, FOR).collect::<Vec<_>>().join(&b","[..]);
        if !told.is_empty() {
            field(FOR, &told);
        }
    }
    let own_port = match port(inbound) {
        "80" => Cow::Borrowed("80"),
        "443" => Cow::Borrowed("443"),
        other => Cow::Owned(other.to_owned()),
    };
    field(PORT, appended(PORT, own_port).as_bytes());
    let proto = match (inbound.upgrade, inbound.secure) {
        (true, true) => "wss",
        (true, false) => "ws",
        (false, secure) => scheme(secure),
    };
    field(PROTO, appended(PROTO, Cow::Borrowed(proto)).as_bytes());
    match find(fields, FORWARDED_HOST).filter(|_| claims) {
        Some(told) => field(FORWARDED_HOST, told),
        None if inbound.upgrade || inbound.host.is_empty() => {}
        None => field(FORWARDED_HOST, inbound.host.as_bytes()),
    }
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

pub(crate) fn is_trusted(trusted: &[Network], peer: Option<IpAddr>) -> bool {
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

/// Whether a field tells who the client or user is. Many servers take `_` in a name for `-`, so both spellings are
/// a claim.
pub(crate) fn is_claim(name: &[u8]) -> bool {
    name.first()
        .is_some_and(|first| FIRST_LETTERS.contains(&first.to_ascii_lowercase()))
        && (CLAIM_PREFIXES
            .into_iter()
            .any(|prefix| begins(name, prefix))
            || CLAIMS
                .into_iter()
                .any(|claim| claim.len() == name.len() && begins(name, claim)))
}

/// Whether a field tells of the client's certificate, which is the gateway's word alone.
pub(crate) fn is_certificate(name: &[u8]) -> bool {
    begins(name, CERTIFICATE)
}

/// Whether a field tells who the user is.
pub(crate) fn is_identity(name: &[u8]) -> bool {
    IDENTITY_PREFIXES
        .into_iter()
        .any(|prefix| begins(name, prefix))
        || [&b"x-authenticated-user"[..], b"x-authenticated-userid"]
            .into_iter()
            .any(|claim| {
                claim.len() == name.len()
                    && begins(name, std::str::from_utf8(claim).unwrap_or_default())
            })
}

fn begins(name: &[u8], prefix: &str) -> bool {
    let same = |a: u8, b: u8| a.to_ascii_lowercase() == b || (a == b'_' && b == b'-');
    name.len() >= prefix.len() && name.iter().zip(prefix.bytes()).all(|(a, b)| same(*a, b))
}

/// The items of a list, over all its lines.
fn items<'a>(
    fields: &'a [Field<'a>],
    name: &str,
) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
    let name = name.to_owned();
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(&name))
        .flat_map(|field| field.value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        // Addresses, names and numbers are plain text.
        .filter(|item| !item.is_empty() && item.iter().all(|byte| matches!(byte, b' '..=b'~')))
}

/// What trusted proxies say of the client.
///
/// Every proxy appends the peer that it saw, so the list is read from its end, as far as the proxies are
/// trusted; what stands before may be anybody's invention.
fn claimed(fields: &[Field<'_>], inbound: Inbound<'_>, trusted: &[Network]) -> ClientInfo {
    let mut addr = inbound.peer;
    let mut hops = 0;
    for item in items(fields, FOR).rev() {
        let Some(address) = std::str::from_utf8(item).ok().and_then(address) else {
            break;
        };
        addr = Some(address);
        hops += 1;
        if !is_trusted(trusted, addr) {
            break;
        }
    }
    let protos: Vec<&[u8]> = items(fields, PROTO).collect();
    // A proxy that replaces the list where others append leaves fewer items than hops.
    let proto = protos
        .len()
        .checked_sub(hops.max(1))
        .and_then(|at| protos.get(at))
        .or_else(|| protos.first());
    let secure = match proto.map(|proto| proto.to_ascii_lowercase()) {
        Some(proto) => proto == b"https" || proto == b"wss",
        None => inbound.secure,
    };
    let host = items(fields, FORWARDED_HOST)
        .next()
        .and_then(|host| std::str::from_utf8(host).ok())
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

    fn fields<'a>(lines: &'a [(&'a str, &'a str)]) -> Vec<Field<'a>> {
        lines
            .iter()
            .map(|(name, value)| Field {
                name,
                value: value.as_bytes(),
            })
            .collect()
    }

    fn inbound(host: &str) -> Inbound<'_> {
        Inbound {
            peer: Some([10, 0, 0, 1].into()),
            secure: false,
            host,
            upgrade: false,
            believed: false,
        }
    }

    fn believed(host: &str) -> Inbound<'_> {
        Inbound {
            believed: true,
            ..inbound(host)
        }
    }

    fn trusted() -> Vec<Network> {
        vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()]
    }

    fn written(sent: &[Field<'_>], inbound: Inbound<'_>) -> Vec<String> {
        let mut lines = Vec::new();
        write(sent, true, inbound, |name, value| {
            lines.push(format!("{name}: {}", String::from_utf8_lossy(value)));
        });
        lines
    }

    #[test]
    fn a_strangers_claims_are_dropped_in_every_spelling() {
        for name in [
            "X-Forwarded-For",
            "X-Forwarded-User",
            "X_Forwarded_Host",
            "Remote-User",
            "remote_user",
            "X-Auth-Request-Email",
            "Forwarded",
            "X-Real-IP",
            "X-Scheme",
            "REMOTE-USER",
        ] {
            assert!(is_claim(name.as_bytes()), "{name}");
        }
        for name in [
            "Cookie",
            "X-XSRFToken",
            "Remote-Usage",
            "Forwarded-By",
            "Host",
            "",
        ] {
            assert!(!is_claim(name.as_bytes()), "{name}");
        }
        for name in [
            "X-Forwarded-User",
            "remote_user",
            "X-Remote-Groups",
            "X_Auth_Request_User",
        ] {
            assert!(
                is_identity(name.as_bytes()) && is_claim(name.as_bytes()),
                "{name}"
            );
        }
        assert!(!is_identity(b"X-Forwarded-For"));
        let sent = [
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Host", "evil.example"),
        ];
        let sent = fields(&sent);
        let told = client(&sent, inbound("hub.example:8000"), &[]);
        assert_eq!(told.addr, Some([10, 0, 0, 1].into()));
        assert_eq!(
            (told.scheme, told.host.as_str()),
            ("http", "hub.example:8000")
        );
        assert_eq!(
            written(&sent, inbound("hub.example:8000")),
            [
                "x-forwarded-for: 10.0.0.1",
                "x-forwarded-port: 8000",
                "x-forwarded-proto: http",
                "x-forwarded-host: hub.example:8000",
            ]
        );
    }

    #[test]
    fn a_trusted_proxys_claims_are_appended_to() {
        let sent = [
            ("X-Forwarded-For", "203.0.113.9"),
            ("X-Forwarded-For", "198.51.100.7, 10.0.0.2"),
            ("X-Forwarded-Proto", "http, https, http"),
            ("X-Forwarded-Port", "443"),
            ("X-Forwarded-Host", "hub.example"),
        ];
        let sent = fields(&sent);
        let told = client(&sent, believed("internal"), &trusted());
        assert_eq!(told.addr, Some([198, 51, 100, 7].into()));
        assert_eq!((told.scheme, told.host.as_str()), ("https", "hub.example"));
        assert_eq!(
            written(&sent, believed("internal")),
            [
                "x-forwarded-for: 203.0.113.9,198.51.100.7,10.0.0.2,10.0.0.1",
                "x-forwarded-port: 443,80",
                "x-forwarded-proto: http,https,http,http",
                "x-forwarded-host: hub.example",
            ]
        );
    }

    #[test]
    fn a_proxy_that_replaces_the_protocol_is_understood() {
        let sent = [
            ("X-Forwarded-For", "1.1.1.1, 203.0.113.9"),
            ("X-Forwarded-Proto", "https"),
        ];
        let told = client(&fields(&sent), believed("h"), &trusted());
        assert_eq!(told.addr, Some([203, 0, 113, 9].into()));
        assert_eq!(told.scheme, "https");
        let on_socket = Inbound {
            peer: None,
            ..believed("h")
        };
        let sent = [("X-Forwarded-For", "203.0.113.9, 10.0.0.2")];
        assert!(
            written(&fields(&sent), on_socket)
                .contains(&"x-forwarded-for: 203.0.113.9,10.0.0.2".to_owned())
        );
        let told = client(&[], on_socket, &trusted());
        assert_eq!((told.addr, told.scheme), (None, "http"));
        assert!(
            !written(&[], on_socket)
                .iter()
                .any(|line| line.contains("-for:"))
        );
    }

    #[test]
    fn upgrades_say_wss_and_no_host() {
        let upgrade = Inbound {
            upgrade: true,
            secure: true,
            ..inbound("h")
        };
        assert_eq!(
            written(&[], upgrade),
            [
                "x-forwarded-for: 10.0.0.1",
                "x-forwarded-port: 443",
                "x-forwarded-proto: wss"
            ]
        );
    }
}
