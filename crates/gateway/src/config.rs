//! The gateway's section of the configuration.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use lyceum_core::HumanDuration;

use crate::address::ListenAddress;
use crate::compress::CompressMode;
use crate::network::Network;

/// How Lyceum listens, whom it believes, and how long it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Addresses to listen on: an IP address with a port, such as `127.0.0.1:8000`, `0.0.0.0:80` or `[::]:80`
    /// (every address of the machine), or a Unix socket, such as `unix:/run/lyceum/http.sock`. Unless another
    /// proxy with TLS stands before Lyceum, keep to addresses that only this machine can reach.
    pub listen: Vec<ListenAddress>,

    /// Proxies whose `X-Forwarded-…` headers are believed: addresses (`10.0.0.7`), ranges (`10.0.0.0/8`), or
    /// `unix` for peers on a Unix socket. From everybody else such headers are thrown away, as anybody can
    /// write them.
    pub trusted_proxies: Vec<Network>,

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

    /// How many connections may be open at the same time, over all addresses; 0 is no limit. Each takes up to
    /// two file descriptors of the process (`ulimit -n`). Further ones are answered with status 503 and closed.
    pub max_connections: u32,

    /// How many of them one address may hold; 0 is no limit. A whole classroom may stand behind one address,
    /// and each open notebook holds a few. Addresses of one IPv6 network (`/64`) count as one. This machine
    /// itself and trusted proxies are not limited by this: a proxy before Lyceum must be in `trusted_proxies`.
    pub max_connections_per_address: u32,

    /// How long a client may take to send the head of a request.
    pub header_timeout: HumanDuration,

    /// How long a connection stays open while its client asks for nothing.
    pub idle_timeout: HumanDuration,

    /// How long to wait for the next piece of an upload when nothing comes from the client. Then the request is
    /// answered with status 408. How long the whole upload takes does not matter.
    pub body_timeout: HumanDuration,

    /// How long to wait for a client that takes nothing of its answer. Then the connection is closed. An
    /// answer of which there is nothing to send at the moment, such as a stream of events, is not cut off,
    /// nor are open notebooks (WebSockets).
    pub send_timeout: HumanDuration,

    /// How long to wait for a user's server or a service to accept a connection.
    pub connect_timeout: HumanDuration,

    /// Which answers of servers and services are compressed on their way: `data` (JSON, scripts, tables and other
    /// text, but no HTML), `all` (HTML too), or `off`. Answers that are made for requests from other sites, and
    /// streams of events, never are. A page that has a secret in it beside words that a stranger can choose tells of
    /// the secret by its compressed length (BREACH), which is why HTML is left out. See `docs/static-files.md`.
    pub compress: CompressMode,

    /// When Lyceum ends: how long running requests and open notebooks (WebSockets) are given before they are
    /// cut off. Users' servers are not touched by this.
    pub drain_timeout: HumanDuration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: vec![ListenAddress::Tcp(([127, 0, 0, 1], 8000).into())],
            trusted_proxies: Vec::new(),
            threads: 0,
            max_header_bytes: 64 * 1024,
            max_headers: 200,
            max_connections: 10_000,
            max_connections_per_address: 1_000,
            header_timeout: HumanDuration::from_secs(30),
            idle_timeout: HumanDuration::from_secs(75),
            body_timeout: HumanDuration::from_secs(60),
            send_timeout: HumanDuration::from_secs(60),
            connect_timeout: HumanDuration::from_secs(5),
            compress: CompressMode::default(),
            drain_timeout: HumanDuration::from_secs(10),
        }
    }
}

impl GatewayConfig {
    /// Lists what cannot work although each value has the right form: the key, and what is wrong with it.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.listen.is_empty() {
            problems.push((
                "listen",
                "there must be at least one address to listen on".to_owned(),
            ));
        }
        for (at, address) in self.listen.iter().enumerate() {
            let ephemeral = matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == 0);
            if !ephemeral && self.listen.iter().take(at).any(|other| other == address) {
                problems.push(("listen", format!("`{address}` is listed twice")));
            }
        }
        if self.threads > 256 {
            problems.push(("threads", "at most 256 threads are possible".to_owned()));
        }
        if !(8_192..=1_048_576).contains(&self.max_header_bytes) {
            problems.push((
                "max_header_bytes",
                "must be between 8192 and 1048576".to_owned(),
            ));
        }
        if !(20..=2_000).contains(&self.max_headers) {
            problems.push(("max_headers", "must be between 20 and 2000".to_owned()));
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
        problems
    }
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
}
