//! The one address by which a place shall be known: its host, and HTTPS. Says where visitors are sent who come by another.

use crate::address::ListenAddress;
use crate::config::GatewayConfig;
use crate::table::without_port;

/// By which address a visitor has come.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The host that they see, perhaps with a port.
    pub host: &'a str,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Whether it is the host of one site, which keeps it.
    pub has_own_host: bool,
    /// The port to which they go for HTTPS; `None` for the usual one.
    pub https_port: Option<u16>,
}

/// Says where a visitor is sent, as scheme and host, such as `https://hub.example.org`; `None` if they may stay.
pub fn proper_origin(config: &GatewayConfig, arrival: Arrival<'_>) -> Option<String> {
    let Arrival { host, scheme, .. } = arrival;
    let canonical = config.canonical_host.as_deref();
    let canonical = canonical.filter(|_| !arrival.has_own_host);
    let insecure = config.https_redirect && scheme == "http";
    match (canonical, insecure) {
        (Some(canonical), true) => Some(format!("https://{canonical}")),
        (Some(canonical), false) => {
            (!is_same_host(canonical, host, scheme)).then(|| format!("{scheme}://{canonical}"))
        }
        (None, true) => {
            let host = without_port(host);
            Some(match arrival.https_port {
                Some(port) => format!("https://{host}:{port}"),
                None => format!("https://{host}"),
            })
        }
        (None, false) => None,
    }
}

/// The port to which visitors are sent for HTTPS: that of the first TCP address, if it is not the usual one.
pub(crate) fn https_port(addresses: &[ListenAddress]) -> Option<u16> {
    let port = addresses.iter().find_map(|address| match address {
        ListenAddress::Tcp(tcp) => Some(tcp.port()),
        ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
    })?;
    // Port 0 is known once it is bound.
    (!matches!(port, 0 | 443)).then_some(port)
}

/// Whether two hosts are one, the port of the scheme being said or not.
fn is_same_host(one: &str, other: &str, scheme: &str) -> bool {
    let port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |host: &'_ str| host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_are_sent_to_the_proper_address_once() {
        let check = |canonical: Option<&str>, from: &str, own: bool, expected: Option<&str>| {
            let config = GatewayConfig {
                canonical_host: canonical.map(str::to_owned),
                https_redirect: true,
                ..GatewayConfig::default()
            };
            let (scheme, host) = from.split_once("://").unwrap();
            let arrival = Arrival {
                host,
                scheme,
                has_own_host: own,
                https_port: Some(8443),
            };
            let sent = proper_origin(&config, arrival);
            assert_eq!(sent.as_deref(), expected, "{from}");
            let Some((scheme, host)) = expected.and_then(|to| to.split_once("://")) else {
                return;
            };
            let again = Arrival {
                host,
                scheme,
                ..arrival
            };
            assert_eq!(proper_origin(&config, again), None, "{from}, in a circle");
        };
        check(None, "http://a.org", false, Some("https://a.org:8443"));
        check(None, "http://a.org:80", false, Some("https://a.org:8443"));
        check(None, "http://[::1]:80", false, Some("https://[::1]:8443"));
        check(
            None,
            "http://10.0.0.1",
            false,
            Some("https://10.0.0.1:8443"),
        );
        check(None, "https://a.org:8443", false, None);
        let hub = Some("hub.org");
        check(hub, "http://a.org", false, Some("https://hub.org"));
        check(hub, "http://hub.org:80", false, Some("https://hub.org"));
        check(hub, "https://a.org:8443", false, Some("https://hub.org"));
        check(hub, "https://HUB.org:443", false, None);
        // A service with a host of its own keeps it, and is still reached by https alone.
        check(hub, "http://app.org", true, Some("https://app.org:8443"));
        check(hub, "https://app.org", true, None);
    }

    #[test]
    fn the_usual_port_is_not_named() {
        let port = |texts: &[&str]| {
            let addresses: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
            https_port(&addresses)
        };
        assert_eq!(port(&["unix:/x", "[::]:8443", "[::]:9443"]), Some(8443));
        assert_eq!(port(&["[::]:443", "[::]:8443"]), None);
        assert_eq!(port(&["systemd"]), None);
        assert_eq!(port(&[]), None);
    }
}
