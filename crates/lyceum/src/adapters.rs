//! The joints between gateway and hub: each knows nothing of the other, so this file knows both.

use async_trait::async_trait;
use axum::Router;
use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use lyceum_core::{RouteSpec, ServerName, ServerRef, UserName};
use lyceum_gateway::{
    Admission, Body, ClientInfo, ErrorContext, ErrorPage, ErrorPages, ErrorReason, Gate,
    HubService, MaintenanceSwitch, RequestId as GatewayId, UpstreamEvents, Visit,
};
use lyceum_hub::Hub;
use lyceum_web::{
    Client, ClosedFor, GatewayFailure, Maintenance, RequestId, SiteAdmission, SiteVisit, Web,
};
use tower::ServiceExt as _;

/// Answers the gateway's requests with a router.
#[derive(Debug)]
pub(crate) struct RouterService {
    pub(crate) router: Router,
    /// Whether it is closed; whoever is concerned is told so by the router.
    pub(crate) maintenance: MaintenanceSwitch,
}

#[async_trait]
impl HubService for RouterService {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let info = parts.extensions.remove::<ClientInfo>();
        let addr = info.as_ref().and_then(|info| info.addr);
        if let Some(closed) = self.maintenance.current()
            && !closed.allow.iter().any(|network| network.contains(addr))
        {
            parts.extensions.insert(Maintenance {
                message: closed.message.clone(),
                until: closed.until,
                keep_sessions: closed.keep_sessions,
            });
        }
        if let Some(info) = info {
            parts.extensions.insert(client(info));
        }
        if let Some(id) = parts.extensions.remove::<GatewayId>() {
            parts.extensions.insert(RequestId(id.to_string()));
        }
        let request = Request::from_parts(parts, AxumBody::new(body));
        let response = match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        response.map(Body::new)
    }
}

fn client(info: ClientInfo) -> Client {
    Client {
        addr: info.addr,
        https: info.scheme == "https",
        host: info.host,
    }
}

/// Asks the hub who may enter services that log nobody in themselves.
#[derive(Debug)]
pub(crate) struct Door(pub(crate) Web);

#[async_trait]
impl Gate for Door {
    async fn admit(&self, visit: Visit) -> Admission {
        let visit = SiteVisit {
            site: visit.site,
            method: visit.method,
            uri: visit.uri,
            headers: visit.headers,
            client: client(visit.client),
            upgrade: visit.upgrade,
            request_id: None,
        };
        match self.0.admit(visit).await {
            SiteAdmission::Enter {
                headers,
                hide_cookies,
            } => Admission::Enter {
                headers,
                hide_cookies,
            },
            SiteAdmission::Answer(response) => Admission::Answer(response.map(Body::new)),
        }
    }
}

/// Makes the gateway's error pages look like the hub's.
#[derive(Debug)]
pub(crate) struct Pages {
    pub(crate) web: Web,
    pub(crate) maintenance: MaintenanceSwitch,
}

#[async_trait]
impl ErrorPages for Pages {
    async fn render(&self, context: &ErrorContext) -> Option<ErrorPage> {
        if context.wants_json {
            // The gateway's own JSON has JupyterHub's shape already.
            return None;
        }
        let dead = matches!(
            context.reason,
            ErrorReason::UpstreamUnreachable
                | ErrorReason::UpstreamTimeout
                | ErrorReason::UpstreamClosed
        );
        let everything = self
            .maintenance
            .current()
            .filter(|maintenance| !maintenance.keep_sessions);
        let closed = (context.reason == ErrorReason::Closed).then(|| ClosedFor {
            service: context.route.as_ref().filter(|_| everything.is_none()),
            message: context.message.as_deref(),
            until: everything.as_ref().and_then(|everything| everything.until),
        });
        let html = self.web.gateway_error(&GatewayFailure {
            status: context.reason.status().as_u16(),
            upstream_is_dead: dead,
            maintenance: closed,
            target: &context.path_and_query,
            accept_language: Some(context.languages.as_str())
                .filter(|languages| !languages.is_empty()),
            cookies: Some(context.cookies.as_str()).filter(|cookies| !cookies.is_empty()),
            request_id: Some(&context.request_id),
        });
        let content_type = HeaderValue::from_static("text/html; charset=utf-8");
        Some(ErrorPage {
            content_type,
            body: Bytes::from(html),
        })
    }
}

/// Tells the hub which servers cannot be reached.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Hub);

impl UpstreamEvents for Events {
    fn upstream_failed(&self, spec: &RouteSpec) {
        if let Some(server) = server_of(spec, &self.0.settings().base_url) {
            self.0.suspect(&server);
        }
    }
}

/// Nothing to tell: for a gateway without upstreams.
#[derive(Debug)]
pub(crate) struct NoEvents;

impl UpstreamEvents for NoEvents {
    fn upstream_failed(&self, _: &RouteSpec) {}
}

/// The server behind a route `/user/NAME/` or `/user/NAME/SERVER/`.
fn server_of(spec: &RouteSpec, base: &str) -> Option<ServerRef> {
    let inner = spec
        .path_prefix()
        .strip_prefix(base)?
        .strip_prefix("user/")?
        .trim_end_matches('/');
    let (user, server) = inner.split_once('/').unwrap_or((inner, ""));
    Some(ServerRef::new(
        UserName::parse(user).ok()?,
        ServerName::parse(server).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, base: &str, expected: Option<&str>) {
        let found =
            server_of(&RouteSpec::parse(spec).unwrap(), base).map(|server| server.to_string());
        assert_eq!(found.as_deref(), expected, "{spec}");
    }

    #[test]
    fn routes_of_servers_name_them() {
        check("/user/ada/", "/", Some("ada/"));
        check("/user/ada lovelace/lab/", "/", Some("ada lovelace/lab"));
        check("/base/user/ada/", "/base/", Some("ada/"));
        check("/services/x/", "/", None);
        check("/", "/", None);
    }
}
