//! How all requests are forwarded; what configurable-http-proxy has as options of its command line.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use lyceum_certs::ClientTls;

/// How requests are forwarded, where no site says otherwise.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ForwardOptions {
    /// Whether `X-Forwarded-…` headers are added (`--no-x-forward` switches them off).
    pub x_forward: bool,
    /// Whether what clients claim about themselves in `X-Forwarded-…` and the like is kept whoever they are, as
    /// configurable-http-proxy does; otherwise only that of trusted proxies is.
    pub believe_claims: bool,
    /// Whether `Host` becomes that of the target (`--change-origin`).
    pub change_origin: bool,
    /// Whether the path of the target is put before that of the request (`--no-prepend-path` switches it off).
    pub prepend_path: bool,
    /// Whether the prefix of the route stays in the path (`--no-include-prefix` switches it off).
    pub include_prefix: bool,
    /// Whether host and port in the `Location` of redirects become those that the client has asked for
    /// (`--auto-rewrite`).
    pub auto_rewrite: bool,
    /// The scheme that the `Location` of redirects gets (`--protocol-rewrite`).
    pub protocol_rewrite: Option<String>,
    /// Headers that are added to each request (`--custom-header`).
    pub custom_headers: Vec<(HeaderName, HeaderValue)>,
    /// How long to wait for an upstream that sends nothing of its answer (`--proxy-timeout`); `None` for ever.
    pub response_timeout: Option<Duration>,
    /// Whether [`ErrorPages`](crate::ErrorPages) is asked for every error, also of programs that want JSON and for
    /// every status, as configurable-http-proxy does; otherwise only for people, and for the gateway's own failures.
    pub error_pages_for_all: bool,
    /// Names of cookies that are the hub's own, which no site ever gets, whoever may enter it. Routes are another matter:
    /// users' servers read some of them.
    pub hidden_cookies: Vec<String>,
    /// How upstreams are spoken to by TLS; without it, `https` upstreams are answered with status 503.
    pub client_tls: Option<ClientTls>,
    /// A folder in which another program puts its answers for authorities: what is asked for below
    /// `/.well-known/acme-challenge/`, and is none of ours, is looked up there under the same path.
    pub challenge_folder: Option<Arc<Path>>,
    /// How users' servers that have their certificates from Lyceum are spoken to by TLS; without it, requests for them
    /// are answered with status 503.
    pub internal_tls: Option<ClientTls>,
}

impl Default for ForwardOptions {
    fn default() -> Self {
        Self {
            x_forward: true,
            believe_claims: false,
            change_origin: false,
            prepend_path: true,
            include_prefix: true,
            auto_rewrite: false,
            protocol_rewrite: None,
            custom_headers: Vec::new(),
            response_timeout: None,
            error_pages_for_all: false,
            hidden_cookies: Vec::new(),
            client_tls: None,
            challenge_folder: None,
            internal_tls: None,
        }
    }
}
