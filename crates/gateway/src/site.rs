//! Sites: what is done with requests below a prefix, where that is more than forwarding them as they are.
//!
//! Sites come from the configuration and are there before any route; among sites and routes the longest
//! prefix wins.

mod header;

use std::path::PathBuf;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use lyceum_core::{RouteSpec, Upstream};

use lyceum_core::Network;

pub use header::{HeaderFault, site_header};

/// One site: its part of the URL space, who may enter, and what is done.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name, as the configuration has it; the [`Gate`](crate::Gate) is asked with it.
    pub name: String,
    /// The part of the URL space.
    pub spec: RouteSpec,
    /// Who may enter.
    pub access: SiteAccess,
    /// What is done with a request.
    pub action: SiteAction,
    /// Limits that differ from the gateway's.
    pub limits: SiteLimits,
    /// Headers that are set on requests to the upstream, in place of any of the same name.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers that are set on answers, in place of any of the same name.
    pub response_headers: Vec<(HeaderName, HeaderValue)>,
    /// If set, the site is closed, and this is said with status 503.
    pub maintenance: Option<String>,
}

/// Who may enter a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteAccess {
    /// If not empty, only clients with an address in one of these networks; looked at before anything else.
    pub networks: Vec<Network>,
    /// Whether the [`Gate`](crate::Gate) decides; otherwise everybody may enter.
    pub gated: bool,
    /// Whether only clients may enter that have shown a certificate on their connection; the site is told which, in
    /// `X-Lyceum-Client-Cert-Subject` and `X-Lyceum-Client-Cert-Sha256`.
    pub client_certificate: bool,
}

/// What is done with a request to a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteAction {
    /// It is forwarded.
    Forward(Forwarding),
    /// It is answered with a file below this folder.
    Files(PathBuf),
    /// It is sent elsewhere.
    Redirect {
        /// Where to: an absolute URL, or a path. What follows the prefix is appended if it ends with a slash.
        to: String,
        /// The status of the answer, 301, 302, 307 or 308.
        status: u16,
    },
}

/// How requests of a site are forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarding {
    /// Where to.
    pub target: Upstream,
    /// Whether the prefix is taken from the path, so that the upstream believes to be at `/`.
    pub strip_prefix: bool,
    /// Whether `Location`, `Content-Location`, `Refresh` and the paths of cookies are rewritten so that they
    /// are right for the browser.
    pub rewrite: bool,
    /// Headers that some kind of application wants.
    pub kind: SiteKind,
}

/// A kind of application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteKind {
    /// Any.
    Generic,
    /// RStudio: is told its root path, and one scheme only.
    RStudio,
    /// Shiny Server, or an app of R's shiny.
    Shiny,
}

/// Limits of a site; `None` is the gateway's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiteLimits {
    /// The largest body of a request, in bytes; a larger one is answered with status 413.
    pub max_body: Option<u64>,
    /// How long to wait for the upstream to accept a connection.
    pub connect_timeout: Option<Duration>,
    /// How long to wait for the first byte of an answer, and for each further one.
    pub response_timeout: Option<Duration>,
    /// How long an upgraded connection (WebSocket) may be silent.
    pub tunnel_timeout: Option<Duration>,
}
