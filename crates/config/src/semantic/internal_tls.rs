//! Rules for the traffic between Lyceum and users' servers: `hub.api_listen`, `hub.api_connect`, `hub.internal_tls`.

use std::net::IpAddr;

use lyceum_certs::CertificateName;
use lyceum_proxy::ProxyConfig;

use super::Rules;
use crate::problem::Problem;

impl Rules<'_> {
    pub(super) fn internal_tls(&mut self) {
        let hub = &self.config.hub;
        let (ip, tls) = (hub.api_listen.ip(), hub.internal_tls);
        if !tls && !ip.is_loopback() && self.usable(&["hub.api_listen", "hub.internal_tls"]) {
            let problem =
                Problem::error("`hub.api_listen` must be an address of this machine alone")
                    .help("for example `api_listen = \"127.0.0.1:8081\"`; browsers use `[gateway]`")
                    .help("for users' servers on other hosts, set `hub.internal_tls = true`");
            self.add(problem, &[("hub.api_listen", "reachable from outside")]);
        }
        if tls
            && ip.is_unspecified()
            && hub.api_connect.is_none()
            && self.usable(&["hub.api_listen", "hub.api_connect", "hub.internal_tls"])
        {
            let problem =
                Problem::error("nobody can know by which name users' servers find the API")
                    .help("name this machine as they see it: `api_connect = \"hub.example.org\"`");
            self.add(
                problem,
                &[("hub.api_listen", "every address of this machine")],
            );
        }
        if let Some(name) = &hub.api_connect {
            let reason = match name.parse::<CertificateName>() {
                Ok(name) if name.is_wildcard() => Some("a star is no host".to_owned()),
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = reason {
                self.refuse(
                    "hub.api_connect",
                    "is no host",
                    &reason,
                    "write a name or an address, without scheme and port: `api_connect = \"hub.example.org\"`",
                );
            }
        }
        let is_here = |name: &str| {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        if !tls
            && hub
                .api_connect
                .as_deref()
                .is_some_and(|name| !is_here(name))
            && self.usable(&["hub.api_connect", "hub.internal_tls"])
        {
            let problem = Problem::error(
                "`hub.api_connect` sends servers, and their tokens, over a network without TLS",
            )
            .help("set `hub.internal_tls = true`, or leave `api_connect` out");
            self.add(problem, &[("hub.api_connect", "another host")]);
        }
        // That proxy has no certificate that servers would believe, and checks names in its own way.
        if tls
            && matches!(self.config.proxy, ProxyConfig::ConfigurableHttpProxy(_))
            && self.usable(&["hub.internal_tls", "proxy.kind"])
        {
            let problem = Problem::error("configurable-http-proxy cannot reach servers that speak TLS with Lyceum")
                .help("leave out `[proxy]`, so that Lyceum carries the traffic itself, or `hub.internal_tls`");
            self.add(
                problem,
                &[
                    ("hub.internal_tls", "asks for TLS"),
                    ("proxy.kind", "another proxy"),
                ],
            );
        }
    }
}
