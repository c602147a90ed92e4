//! Error pages: our own, those for an external proxy, and those that the gateway shows.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::next;
use crate::caller::MaybeCaller;
use crate::render::{ErrorPage, Language, MaintenancePage, UnreachablePage, Visit};
use crate::visit::Visitor;
use crate::{GatewayFailure, Web, cookies, forms};

/// How long a page about a server that does not answer waits before it looks again.
const LOOK_AGAIN_SECONDS: u32 = 5;

/// What is said of a form that came without a valid XSRF token.
pub(crate) const STALE_FORM: &str =
    "This form was too old, or came from another site. Go back, reload the page, and try again.";

/// How much of a report is written to the log.
const CSP_REPORT_CHARS: usize = 1024;

/// Makes an error page.
pub(crate) fn page(
    web: &Web,
    visitor: &Visitor,
    status: StatusCode,
    message: Option<&str>,
) -> Response {
    let page = ErrorPage {
        status: status.as_u16(),
        message: message.map(str::to_owned),
        hint: None,
        request_id: visitor.request_id.clone(),
    };
    visitor.page(web, status, &page)
}

/// An error when not even a page can be made.
pub(crate) fn plain(status: StatusCode) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        status.to_string(),
    )
        .into_response()
}

/// Whatever is not a page of the hub.
pub(crate) async fn not_found(
    State(web): State<Web>,
    caller: MaybeCaller,
    request: Request,
) -> Response {
    general(&web, caller, request, StatusCode::NOT_FOUND)
}

/// A page that knows other methods.
pub(crate) async fn wrong_method(
    State(web): State<Web>,
    caller: MaybeCaller,
    request: Request,
) -> Response {
    general(&web, caller, request, StatusCode::METHOD_NOT_ALLOWED)
}

fn general(web: &Web, caller: MaybeCaller, request: Request, status: StatusCode) -> Response {
    let (parts, _) = request.into_parts();
    let session = caller.0.map(|caller| caller.session);
    page(
        web,
        &Visitor::of(web, &parts, session.as_ref()),
        status,
        None,
    )
}

/// `/hub/error/CODE`: the page that a proxy shows with status CODE. The answer itself is a 200.
pub(crate) async fn for_proxy(
    State(web): State<Web>,
    Path(code): Path<String>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(&web, &parts, None);
    let code = code
        .parse::<u16>()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    let Some(code) = code.filter(|code| code.as_u16() >= 400) else {
        return page(&web, &visitor, StatusCode::NOT_FOUND, None);
    };
    let dead = code == StatusCode::SERVICE_UNAVAILABLE;
    let url = next::query(&parts, "url").and_then(|url| next::safe(&web, &parts, Some(&url)));
    match url {
        Some(url) if dead => {
            let page = UnreachablePage {
                subject: subject_of(&url, &web.hub().settings().base_url),
                retry_url: url,
                refresh_seconds: LOOK_AGAIN_SECONDS,
                request_id: None,
            };
            visitor.page(&web, StatusCode::OK, &page)
        }
        _ => {
            let page = ErrorPage {
                status: code.as_u16(),
                message: None,
                hint: None,
                request_id: None,
            };
            visitor.page(&web, StatusCode::OK, &page)
        }
    }
}

/// Takes a browser's report of something that a content security policy forbade. Pages of servers and services
/// may name this address; our own do not. Only what people who are logged in send is written down, briefly.
pub(crate) async fn csp_report(
    State(web): State<Web>,
    MaybeCaller(caller): MaybeCaller,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(caller) = caller else {
        // A browser that reports does not follow to the login.
        let visitor = Visitor::of(&web, &parts, None);
        return page(&web, &visitor, StatusCode::FORBIDDEN, None);
    };
    web.hub().metrics().csp_report();
    let report = match forms::read_small(body).await {
        Ok(bytes) => for_log(&String::from_utf8_lossy(&bytes)),
        Err(error) => return error.into_response(),
    };
    tracing::debug!(user.name = %caller.session.user.name, report, "a browser reported a breach of the content security policy");
    StatusCode::OK.into_response()
}

/// Makes a report fit for the log: short, on one line, and without the queries of URLs, which may hold secrets.
fn for_log(report: &str) -> String {
    let mut in_query = false;
    report
        .chars()
        .filter(|&c| {
            in_query = match c {
                '?' | '#' => true,
                '"' | ' ' => false,
                _ => in_query,
            };
            !in_query && !c.is_control()
        })
        .take(CSP_REPORT_CHARS)
        .collect()
}

/// The page that the gateway shows; see [`Web::gateway_error`].
pub(crate) fn for_gateway(web: &Web, failure: &GatewayFailure<'_>) -> String {
    let mut headers = HeaderMap::new();
    if let Some(Ok(value)) = failure.cookies.map(HeaderValue::from_str) {
        headers.insert(header::COOKIE, value);
    }
    let default = web
        .settings()
        .languages
        .first()
        .copied()
        .unwrap_or_default();
    let lang = cookies::first(&headers, cookies::LANGUAGE);
    let visit = Visit {
        user: None,
        language: Language::choose(lang.as_deref(), failure.accept_language, default),
        here: None,
        notices: Vec::new(),
    };
    let request_id = failure.request_id.map(str::to_owned);
    let html = if let Some(closed) = &failure.maintenance {
        let settings = web.hub().settings();
        let service = closed.service.and_then(|spec| {
            let mut sites = settings.sites();
            sites.find(|site| site.route(&settings.base_url) == *spec)
        });
        let page = MaintenancePage {
            service: service.map(|site| site.name.to_string()),
            message: closed.message.map(str::to_owned),
            until: closed.until,
        };
        web.renderer().render(&visit, &page)
    } else if failure.upstream_is_dead {
        let page = UnreachablePage {
            subject: subject_of(failure.target, &web.hub().settings().base_url),
            retry_url: failure.target.to_owned(),
            refresh_seconds: LOOK_AGAIN_SECONDS,
            request_id,
        };
        web.renderer().render(&visit, &page)
    } else {
        let page = ErrorPage {
            status: failure.status,
            message: None,
            hint: None,
            request_id,
        };
        web.renderer().render(&visit, &page)
    };
    html.unwrap_or_else(|error| {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "could not make an error page"
        );
        String::from("The page could not be made. Try again in a moment.")
    })
}

/// The user whose server a path belongs to.
fn subject_of(target: &str, base: &str) -> Option<String> {
    let path = target
        .split('?')
        .next()?
        .strip_prefix(base)?
        .strip_prefix("user/")?;
    lyceum_core::escape::decode(path.split('/').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_logged_without_queries() {
        let report = "{\"document-uri\": \"https://h/user/ada?token=x#y\",\n \"status\": 0}";
        let expected = "{\"document-uri\": \"https://h/user/ada\", \"status\": 0}";
        assert_eq!(for_log(report), expected);
    }
}
