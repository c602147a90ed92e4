//! The gate: who may enter a site is decided outside of the gateway, through this one seam.

use async_trait::async_trait;
use http::{HeaderMap, Method, Response, Uri};

use crate::body::Body;
use crate::hub::ClientInfo;

/// Decides who may enter a site; asked for each request and each upgrade, before anything is sent upstream.
///
/// Called on the hub's runtime, and dropped when the client goes away. A panic or a delay of more than
/// 30 seconds keeps the visitor out (status 503).
#[async_trait]
pub trait Gate: Send + Sync + 'static {
    /// Decides about one visit.
    async fn admit(&self, visit: Visit) -> Admission;
}

/// A request to a site whose access is for the gate to decide.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The name of the site.
    pub site: String,
    /// The prefix of the site, with slashes at both ends.
    pub prefix: String,
    /// The method; `GET` for an upgrade.
    pub method: Method,
    /// Path and query, as the client sent them.
    pub uri: Uri,
    /// The headers as the client sent them; claims of strangers about themselves are gone.
    pub headers: HeaderMap,
    /// The client, as far as trusted proxies tell.
    pub client: ClientInfo,
    /// Whether another protocol (WebSocket) is asked for.
    pub upgrade: bool,
}

/// What the gate says.
#[derive(Debug)]
pub enum Admission {
    /// The visitor may enter.
    Enter {
        /// Headers that tell the upstream who it is, such as `X-Forwarded-User`; in place of any of the same name.
        headers: HeaderMap,
        /// Names of cookies that are the hub's own, and are not passed on.
        hide_cookies: Vec<String>,
    },
    /// The visitor gets this answer instead: a redirect to the login, or a refusal.
    Answer(Response<Body>),
}

/// A gate through which nobody comes: for a gateway without a hub.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClosedGate;

#[async_trait]
impl Gate for ClosedGate {
    async fn admit(&self, _visit: Visit) -> Admission {
        let mut refusal = Response::new(Body::from("Nobody may enter here."));
        *refusal.status_mut() = http::StatusCode::FORBIDDEN;
        Admission::Answer(refusal)
    }
}
