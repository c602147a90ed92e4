//! The gateway's section of the configuration.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use lyceum_core::HumanDuration;

use crate::address::ListenAddress;
use crate::compress::CompressMode;
use crate::origin;
use lyceum_core::Network;

/// How Lyceum listens, whom it believes, and how long it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Addresses to listen on: an IP address with a port, such as `127.0.0.1:8000`, `0.0.0.0:80` (every IPv4
    /// address of the machine) or `[::]:80` (every address of the machine, or every IPv6 address if an IPv4
    /// address with the same port is listed, too), or a Unix socket, such as `unix:/run/lyceum/http.sock`.
    /// `systemd` takes all sockets that systemd passes, and `systemd:NAME` those whose unit says
    /// `FileDescriptorName=NAME`; one that systemd has opened at an address of this list is taken, too. Nothing is encrypted on these: unless another proxy with TLS stands before Lyceum, or
    /// `https_redirect` sends everybody to HTTPS, keep to addresses that only this machine can reach.
    ///
    /// On a machine without IPv6, `[::]:80` is every IPv4 address.
    pub listen: Vec<ListenAddress>,

    /// Addresses on which HTTPS is spoken, such as `[::]:443`, written as those of `listen`. An address stands in one of
    /// the two lists; with this one, `listen` may be empty. The certificates come from `[tls]`.
    pub listen_tls: Vec<ListenAddress>,

    /// Proxies whose `X-Forwarded-…` headers are believed: addresses (`10.0.0.7`), ranges (`10.0.0.0/8`), or
    /// `unix` for peers on a Unix socket. From everybody else such headers are thrown away, as anybody can
    /// write them.
    pub trusted_proxies: Vec<Network>,

    /// Load balancers whose connections begin with a header of the PROXY protocol, version 1 or 2, that names the
    /// client: addresses, ranges, or `unix` for peers on a Unix socket. Each of their connections must have it,
    /// even before TLS, and is closed otherwise. From all others such a header is not looked for. The client that
    /// it names counts as the other end of the connection, for `trusted_proxies` and
    /// `max_connections_per_address`, too.
    pub proxy_protocol_from: Vec<Network>,

    /// How many threads carry the traffic; 0 takes one for each processor.
    #[schemars(range(max = 256))]
    pub threads: u16,

    /// The largest head of a request, in bytes: request line and headers together. Larger ones are answered
    /// with status 431.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub max_header_bytes: u32,

    /// The largest number of headers of a request. More are answered with status 431.
    #[schemars(range(min = 20, max = 2000))]
    pub max_headers: u16,

    /// The longest URL of a request, path and query together, in bytes. Longer ones are answered with status
    /// 414. What `max_header_bytes` refuses is refused before.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub max_uri_bytes: u32,

    /// How many connections may be open at the same time, over all addresses; 0 is no limit. Each takes up to
    /// two file descriptors of the process (`ulimit -n`). Further ones are answered with status 503 and closed.
    pub max_connections: u32,

    /// How many of them one address may hold; 0 is no limit. A whole classroom may stand behind one address,
    /// and each open notebook holds a few. Addresses of one IPv6 network (`/64`) count as one. This machine
    /// itself and trusted proxies are not limited by this: a proxy before Lyceum must be in `trusted_proxies`.
    pub max_connections_per_address: u32,

    /// After how many requests a connection is closed, so that its client makes a new one; 0 is no limit.
    pub max_requests_per_connection: u32,

    /// How many requests one connection of HTTP/2 may have open at the same time, open notebooks (WebSockets)
    /// among them. Clients wait with further ones.
    #[schemars(range(min = 16, max = 10_000))]
    pub h2_max_streams: u32,

    /// The largest list of headers of a request over HTTP/2, in bytes, counted as HTTP/2 counts: names and values
    /// unpacked, and 32 bytes more for each header. Larger ones are answered with status 431.
    #[schemars(range(min = 8192, max = 1_048_576))]
    pub h2_max_header_list_bytes: u32,

    /// How many requests over HTTP/2 that their client has cancelled may still wait to be looked at. More than
    /// any browser leaves are an attack, and the connection is closed.
    #[schemars(range(min = 1, max = 10_000))]
    pub h2_max_resets: u32,

    /// How long a client may take to send the head of a request.
    pub header_timeout: HumanDuration,

    /// How long a connection stays open while its client asks for nothing.
    pub idle_timeout: HumanDuration,

    /// How long to wait for the next piece of an upload when nothing comes from the client. Then the request is
    /// answered with status 408. How long the whole upload takes does not matter.
    pub body_timeout: HumanDuration,

    /// How fast an upload must come at least, on average, in bytes per second; 0 lets it be as slow as it likes.
    /// Slower ones are answered with status 408, as they are no bad line but hold a place on purpose. Time in
    /// which Lyceum itself does not read, as the user's server is busy, does not count.
    pub min_body_bytes_per_second: u32,

    /// How long an upload may be slower than `min_body_bytes_per_second` at its beginning.
    pub body_rate_grace: HumanDuration,

    /// How long to wait for a client that takes nothing of its answer. Then the connection is closed. An
    /// answer of which there is nothing to send at the moment, such as a stream of events, is not cut off,
    /// nor are open notebooks (WebSockets).
    pub send_timeout: HumanDuration,

    /// How long to wait for a user's server or a service to accept a connection.
    pub connect_timeout: HumanDuration,

    /// How long to wait for a user's server or a service to begin its answer, after it has the whole request.
    /// Then the request is answered with status 504. `0s` waits for as long as the client does, since what a
    /// notebook's server computes may take its time.
    pub response_timeout: HumanDuration,

    /// How long an open notebook (WebSocket), or whatever else a connection was upgraded to, may be silent in both
    /// directions before it is closed; `0s` is for ever. Whoever leaves a notebook open over lunch is silent, too.
    pub tunnel_idle_timeout: HumanDuration,
    /// Which answers of servers and services are compressed on their way: `data` (JSON, scripts, tables and other
    /// text, but no HTML), `all` (HTML too), or `off`. Answers that are made for requests from other sites, and
    /// streams of events, never are. A page that has a secret in it beside words that a stranger can choose tells of
    /// the secret by its compressed length (BREACH), which is why HTML is left out. See `docs/static-files.md`.
    pub compress: CompressMode,

    /// When Lyceum ends: how long running requests and open notebooks (WebSockets) are given before they are
    /// cut off. Users' servers are not touched by this.
    pub drain_timeout: HumanDuration,

    /// The one name by which browsers shall know this place, with its port if that is not the usual one. Whoever comes
    /// by another name or address is sent there, except to services with a host of their own. Checks of certificates
    /// (`/.well-known/acme-challenge/`) are answered under every name. With `https_redirect`, people are sent to this
    /// host by https as it stands here: without a port, to port 443.
    #[schemars(example = "jupyter.example.org")]
    pub canonical_host: Option<String>,

    /// Sends whoever comes by `http://` to `https://`: to `canonical_host`, or else to the name that they have asked for,
    /// at the port of the first address of `listen_tls`. Not for checks of certificates, and not for requests that a
    /// trusted proxy has received by https.
    pub https_redirect: bool,

    /// How long browsers shall remember to come by https only (HSTS), said with every answer to them by https. There is
    /// no way back before that time is over, so begin with an hour. It is not said to those who are shown a certificate
    /// that is signed by itself: they could not come back.
    #[schemars(example = "1h")]
    pub hsts: Option<HumanDuration>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8000).into())],
            listen_tls: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            threads: 0,
            max_header_bytes: 64 * 1024,
            max_headers: 200,
            max_uri_bytes: 16 * 1024,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            max_requests_per_connection: 0,
            h2_max_streams: 128,
            h2_max_header_list_bytes: 64 * 1024,
            h2_max_resets: 64,
            header_timeout: HumanDuration::from_secs(30),
            idle_timeout: HumanDuration::from_secs(75),
            body_timeout: HumanDuration::from_secs(60),
            min_body_bytes_per_second: 240,
            body_rate_grace: HumanDuration::from_secs(60),
            send_timeout: HumanDuration::from_secs(60),
            connect_timeout: HumanDuration::from_secs(5),
            response_timeout: HumanDuration::from_secs(0),
            tunnel_idle_timeout: HumanDuration::from_secs(0),
            compress: CompressMode::default(),
            drain_timeout: HumanDuration::from_secs(10),
            canonical_host: None,
            https_redirect: false,
            hsts: None,
        }
    }
}

impl GatewayConfig {
    /// All addresses to listen on, with and without TLS.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.listen.iter().chain(&self.listen_tls)
    }

    /// Lists what cannot work although each value has the right form: the key, and what is wrong with it.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.listen.is_empty() && self.listen_tls.is_empty() {
            problems.push((
                "listen",
                "there must be at least one address to listen on".to_owned(),
            ));
        }
        self.listen_problems(&mut problems);
        if self.threads > 256 {
            problems.push(("threads", "at most 256 threads are possible".to_owned()));
        }
        for (key, value, (least, most)) in [
            (
                "max_header_bytes",
                self.max_header_bytes,
                (8_192, 1_048_576),
            ),
            ("max_headers", self.max_headers.into(), (20, 2_000)),
            ("max_uri_bytes", self.max_uri_bytes, (1_024, 1_048_576)),
            ("h2_max_streams", self.h2_max_streams, (16, 10_000)),
            (
                "h2_max_header_list_bytes",
                self.h2_max_header_list_bytes,
                (8_192, 1_048_576),
            ),
            ("h2_max_resets", self.h2_max_resets, (1, 10_000)),
        ] {
            if !(least..=most).contains(&value) {
                problems.push((key, format!("must be between {least} and {most}")));
            }
        }
        for (key, duration) in [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
            ("send_timeout", self.send_timeout),
            ("connect_timeout", self.connect_timeout),
        ] {
            if duration.is_zero() {
                problems.push((key, "must be longer than zero".to_owned()));
            }
        }
        if let Some(host) = &self.canonical_host
            && !is_host(host)
        {
            problems.push((
                "canonical_host",
                format!("`{host}` is not a host: write a name such as `jupyter.example.org`, without scheme and path"),
            ));
        }
        problems
    }

    /// Every address to listen on, with the key that it stands below.
    pub fn all_listen(&self) -> impl Iterator<Item = (&'static str, &ListenAddress)> {
        let plain = self.listen.iter().map(|address| ("listen", address));
        plain.chain(
            self.listen_tls
                .iter()
                .map(|address| ("listen_tls", address)),
        )
    }

    /// The port to which browsers are sent for HTTPS, if it is not the usual one, as far as the configuration tells it.
    pub fn https_port(&self) -> Option<u16> {
        origin::https_port(&self.listen_tls)
    }

    /// Addresses that cannot be had, as another one has them already.
    fn listen_problems(&self, problems: &mut Vec<(&'static str, String)>) {
        let all_passed = self
            .all_listen()
            .find(|(_, address)| matches!(address, ListenAddress::Systemd(None)));
        for (at, (key, address)) in self.all_listen().enumerate() {
            let ephemeral = matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
            let before = self
                .all_listen()
                .take(at)
                .find(|(_, other)| !ephemeral && *other == address);
            match before {
                Some((other, _)) if other == key => {
                    problems.push((key, format!("`{address}` is listed twice")));
                }
                Some((other, _)) => {
                    problems.push((key, format!("`{address}` is listed in `{other}`, too")));
                }
                None if matches!(address, ListenAddress::Systemd(Some(_))) => {
                    let Some((other, _)) = all_passed else {
                        continue;
                    };
                    let where_else = if other == key {
                        String::new()
                    } else {
                        format!(" in `{other}`: give the others names, too")
                    };
                    let text = format!("`{address}` is among those of `systemd`{where_else}");
                    problems.push((key, text));
                }
                None => {}
            }
        }
    }

    /// Tells whether a connection must begin with a header of the PROXY protocol; `None` is a peer on a Unix
    /// socket. From a peer that this does not name, nobody looks for one.
    pub fn expects_proxy_header(&self, peer: Option<IpAddr>) -> bool {
        self.proxy_protocol_from
            .iter()
            .any(|network| network.contains(peer))
    }
}

/// Whether a text is a name or address, perhaps with a port.
fn is_host(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (
            address.parse::<std::net::Ipv6Addr>().is_ok(),
            port.strip_prefix(':').or((!port.is_empty()).then_some("x")),
        ),
        None => match text.split_once(':') {
            Some((name, port)) => (!name.is_empty() && name.bytes().all(plain), Some(port)),
            None => (!text.is_empty() && text.bytes().all(plain), None),
        },
    };
    name && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_loopback_and_has_no_problems() {
        let config = GatewayConfig::default();
        assert!(config.problems().is_empty());
        assert_eq!(config.listen[0].to_string(), "127.0.0.1:8000");
    }

    #[test]
    fn written_values_are_read_and_unknown_keys_are_refused() {
        let read = |text: &str| serde_json::from_str::<GatewayConfig>(text);
        let config =
            read(r#"{"listen": ["[::]:80", "unix:/run/x.sock"], "idle_timeout": "5 min"}"#)
                .unwrap();
        assert_eq!(config.idle_timeout, HumanDuration::from_secs(300));
        assert!(read(r#"{"listn": []}"#).is_err());
        assert!(read(r#"{"listen": ["everywhere"]}"#).is_err());
        assert!(read(r#"{"trusted_proxies": ["10.0.0.1/8"]}"#).is_err());
    }

    #[test]
    fn a_canonical_host_is_a_name_and_nothing_more() {
        let check = |host: &str, good: bool| {
            let config = GatewayConfig {
                canonical_host: Some(host.to_owned()),
                ..GatewayConfig::default()
            };
            assert_eq!(config.problems().is_empty(), good, "{host}");
        };
        for host in [
            "hub.example.org",
            "hub.example.org:8443",
            "10.0.0.7",
            "[::1]:80",
        ] {
            check(host, true);
        }
        for host in [
            "",
            "https://hub.example.org",
            "hub.example.org/",
            "hub:0",
            "a b",
            "[::1]x",
            "hub:",
        ] {
            check(host, false);
        }
    }

    #[test]
    fn values_that_cannot_work_are_all_named() {
        let config = GatewayConfig {
            listen: Vec::new(),
            max_headers: 0,
            idle_timeout: HumanDuration::from_secs(0),
            ..GatewayConfig::default()
        };
        let keys: Vec<_> = config.problems().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["listen", "max_headers", "idle_timeout"]);
    }

    #[test]
    fn numbers_out_of_their_range_are_told_with_the_range() {
        let config = GatewayConfig {
            max_uri_bytes: 0,
            h2_max_streams: 15,
            h2_max_header_list_bytes: 1_048_577,
            h2_max_resets: 0,
            ..GatewayConfig::default()
        };
        assert_eq!(
            config.problems(),
            [
                ("max_uri_bytes", "must be between 1024 and 1048576"),
                ("h2_max_streams", "must be between 16 and 10000"),
                (
                    "h2_max_header_list_bytes",
                    "must be between 8192 and 1048576"
                ),
                ("h2_max_resets", "must be between 1 and 10000"),
            ]
            .map(|(key, text)| (key, text.to_owned()))
        );
    }

    #[test]
    fn limits_that_may_be_off_may_be_zero() {
        let zero = HumanDuration::from_secs(0);
        let config = GatewayConfig {
            max_requests_per_connection: 0,
            min_body_bytes_per_second: 0,
            body_rate_grace: zero,
            response_timeout: zero,
            tunnel_idle_timeout: zero,
            drain_timeout: zero,
            ..GatewayConfig::default()
        };
        assert!(config.problems().is_empty());
    }

    #[test]
    fn systemds_sockets_are_listed_once_and_not_beside_all_of_them() {
        let problems = |listen: &[&str]| {
            let config = GatewayConfig {
                listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
                ..GatewayConfig::default()
            };
            config.problems().len()
        };
        assert_eq!(problems(&["systemd"]), 0);
        assert_eq!(problems(&["systemd:a", "systemd:b", "127.0.0.1:80"]), 0);
        assert_eq!(problems(&["systemd:a", "systemd:a"]), 1);
        assert_eq!(problems(&["systemd", "systemd"]), 1);
        assert_eq!(problems(&["systemd:a", "systemd"]), 1);
        assert_eq!(problems(&["systemd", "systemd:a"]), 1);
    }

    #[test]
    fn an_address_speaks_tls_or_not() {
        let problems = |listen: &[&str], listen_tls: &[&str]| {
            let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
            let config = GatewayConfig {
                listen: parse(listen),
                listen_tls: parse(listen_tls),
                ..GatewayConfig::default()
            };
            let problems = config.problems().into_iter();
            problems
                .map(|(key, text)| format!("{key}: {text}"))
                .collect::<Vec<_>>()
        };
        let none: [&str; 0] = [];
        assert_eq!(problems(&["[::]:80"], &["[::]:443"]), none);
        assert_eq!(problems(&[], &["[::]:443"]), none);
        assert_eq!(problems(&["127.0.0.1:0"], &["127.0.0.1:0"]), none);
        assert_eq!(problems(&["systemd:http"], &["systemd:https"]), none);
        assert_eq!(problems(&["[::]:80"], &["systemd"]), none);
        assert_eq!(
            problems(&[], &[]),
            ["listen: there must be at least one address to listen on"]
        );
        assert_eq!(
            problems(&[], &["[::]:443", "[::]:443"]),
            ["listen_tls: `[::]:443` is listed twice"]
        );
        assert_eq!(
            problems(&["[::]:443"], &["[::]:443"]),
            ["listen_tls: `[::]:443` is listed in `listen`, too"]
        );
        assert_eq!(
            problems(&["systemd"], &["systemd:https"]),
            [
                "listen_tls: `systemd:https` is among those of `systemd` in `listen`: give the others names, too"
            ]
        );
        assert_eq!(
            problems(&["systemd:http"], &["systemd"]),
            [
                "listen: `systemd:http` is among those of `systemd` in `listen_tls`: give the others names, too"
            ]
        );
        assert_eq!(
            problems(&["systemd"], &["systemd"]),
            ["listen_tls: `systemd` is listed in `listen`, too"]
        );
    }

    #[test]
    fn only_listed_peers_must_send_a_proxy_header() {
        let config = GatewayConfig {
            proxy_protocol_from: vec!["10.0.0.0/8".parse().unwrap(), "unix".parse().unwrap()],
            ..GatewayConfig::default()
        };
        let peer = |text: &str| Some(text.parse().unwrap());
        assert!(config.expects_proxy_header(peer("10.1.2.3")));
        assert!(config.expects_proxy_header(peer("::ffff:10.1.2.3")));
        assert!(config.expects_proxy_header(None));
        assert!(!config.expects_proxy_header(peer("11.0.0.1")));
        assert!(!GatewayConfig::default().expects_proxy_header(None));
    }
}
