//! Maintenance: what of the hub stays open while it is closed, and for whom.
//!
//! Whoever accepts connections knows that it is closed, and who is not concerned; it leaves word in the request. Only
//! the hub knows who is an administrator.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::Timestamp;

use crate::caller::{Accept, identify};
use crate::client::header_text;
use crate::render::MaintenancePage;
use crate::visit::Visitor;
use crate::{ApiError, Web};

/// The longest time after which somebody is told to come again, in seconds; and the time if nobody knows.
const LONGEST: i64 = 24 * 3600;
const UNKNOWN: i64 = 300;

/// It is closed, for whoever makes the request that has this among its extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What people are told, if not the usual text.
    pub message: Option<String>,
    /// When it will be over, if that is known.
    pub until: Option<Timestamp>,
    /// Whether people who are here go on, and only new logins and starts are refused.
    pub keep_sessions: bool,
}

/// Answers what is closed with status 503, unless an administrator asks.
pub(crate) async fn guard(State(web): State<Web>, request: Request, next: Next) -> Response {
    let Some(maintenance) = request.extensions().get::<Maintenance>().cloned() else {
        return next.run(request).await;
    };
    let hub = web.hub_url();
    let is_open = match request.uri().path().strip_prefix(&hub) {
        Some(inner) => is_open(&maintenance, request.method(), inner),
        // Nothing outside but ways in.
        None => true,
    };
    if is_open {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match identify(&web, &parts, Accept::TokenOrCookie).await {
        Ok(Some(caller)) if caller.is_admin() => next.run(Request::from_parts(parts, body)).await,
        Ok(_) => closed(&web, &parts, &maintenance),
        Err(error) => error.into_response(),
    }
}

/// The answer to somebody who has just logged in, and may not; `None` if it is open, or they may.
pub(crate) fn refuse_login(web: &Web, parts: &Parts, is_admin: bool) -> Option<Response> {
    let maintenance = parts.extensions.get::<Maintenance>()?;
    (!is_admin).then(|| closed(web, parts, maintenance))
}

/// Whether a path below that of the hub is open to everybody: to log in as an administrator, and to see pages at all.
fn is_open(maintenance: &Maintenance, method: &Method, inner: &str) -> bool {
    let first = inner.split('/').next().unwrap_or_default();
    let always = matches!(
        first,
        "static" | "login" | "logout" | "logo" | "language" | "health" | "metrics" | "error"
    ) || inner == "api/health";
    if always || !maintenance.keep_sessions {
        return always;
    }
    let starts_by_page = matches!(first, "spawn" | "new-server");
    let parts: Vec<&str> = inner.split('/').collect();
    let starts_by_api = *method == Method::POST
        && matches!(
            parts.as_slice(),
            ["api", "users", _, "server" | "servers", ..]
        );
    !(starts_by_page || starts_by_api)
}

/// The answer while it is closed.
fn closed(web: &Web, parts: &Parts, maintenance: &Maintenance) -> Response {
    let now = web.hub().now();
    let seconds = maintenance.until.map_or(UNKNOWN, |until| {
        (until.as_second() - now.as_second()).clamp(1, LONGEST)
    });
    let inner = parts.uri.path().strip_prefix(&web.hub_url());
    let is_api = inner.is_some_and(|inner| inner == "api" || inner.starts_with("api/"));
    let wants_html = header_text(&parts.headers, &header::ACCEPT)
        .is_some_and(|accept| accept.contains("text/html"));
    let mut response = if is_api && !wants_html {
        let message = maintenance.message.clone();
        let message = message.unwrap_or_else(|| "closed for maintenance".to_owned());
        ApiError::with(StatusCode::SERVICE_UNAVAILABLE, message).into_response()
    } else {
        let page = MaintenancePage {
            service: None,
            message: maintenance.message.clone(),
            until: maintenance.until,
        };
        let visitor = Visitor::of(web, parts, None).without_cookies();
        visitor.page(web, StatusCode::SERVICE_UNAVAILABLE, &page)
    };
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_what_it_takes_to_come_in_or_to_go_on() {
        let check = |keep_sessions: bool, method: Method, inner: &str, expected: bool| {
            let maintenance = Maintenance {
                message: None,
                until: None,
                keep_sessions,
            };
            assert_eq!(
                is_open(&maintenance, &method, inner),
                expected,
                "{keep_sessions} {method} {inner}"
            );
        };
        for keep in [false, true] {
            check(keep, Method::GET, "static/style.css", true);
            check(keep, Method::POST, "login", true);
            check(keep, Method::GET, "api/health", true);
            check(keep, Method::GET, "spawn", false);
            check(keep, Method::POST, "spawn/ada", false);
            check(keep, Method::POST, "new-server", false);
            check(keep, Method::POST, "api/users/ada/server", false);
            check(keep, Method::POST, "api/users/ada/servers/lab", false);
            check(keep, Method::GET, "home", keep);
            check(keep, Method::GET, "spawn-pending/ada", keep);
            check(keep, Method::GET, "api/oauth2/authorize", keep);
            check(keep, Method::DELETE, "api/users/ada/server", keep);
            check(keep, Method::GET, "", keep);
        }
    }
}
