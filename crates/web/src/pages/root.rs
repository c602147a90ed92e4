//! `/hub/`, `/hub/user-redirect/…`, and everything that reaches the hub without being the hub's.

use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode};
use lyceum_core::escape;

use super::{errors, next};
use crate::Web;
use crate::caller::{MaybeCaller, PageCaller, found, login_url, redirect};
use crate::visit::Visitor;

/// `/hub/`: to the usual place, or to the login and back here.
pub(crate) async fn hub(
    State(web): State<Web>,
    MaybeCaller(caller): MaybeCaller,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let place = match (caller, &web.hub().settings().default_url) {
        (_, Some(url)) => url.clone(),
        (Some(caller), None) => next::safe(&web, &parts, None)
            .unwrap_or_else(|| next::default_place(&web, &parts, Some(&caller.session))),
        (None, None) => login_url(&web, &parts),
    };
    found(&place)
}

/// Everything outside of `/hub/` that reaches the hub: the same path below `/hub/`, where somebody knows what
/// it means. A server that does not run is found there, for example.
pub(crate) async fn elsewhere(State(web): State<Web>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let base = web.hub().settings().base_url.as_str();
    let here = next::here(&parts);
    let (path, query) = here
        .split_once('?')
        .map_or((here, None), |(path, query)| (path, Some(query)));
    // The hub's cookies do not come here: one that is set would replace that of a page that is open.
    let refuse = |status| {
        let visitor = Visitor::of(&web, &parts, None).without_cookies();
        errors::page(&web, &visitor, status, None)
    };
    // Nobody types the slash at the end of the base URL.
    let is_base = base.strip_suffix('/') == Some(path);
    let Some(inner) = is_base.then_some("").or_else(|| path.strip_prefix(base)) else {
        return refuse(StatusCode::NOT_FOUND);
    };
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return refuse(match parts.method {
            // JupyterHub refuses forms here for want of an XSRF token.
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE => StatusCode::FORBIDDEN,
            _ => StatusCode::METHOD_NOT_ALLOWED,
        });
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    if inner == "hub" {
        return redirect(
            StatusCode::MOVED_PERMANENTLY,
            &format!("{}{query}", web.hub_url()),
        );
    }
    // `/user/ada` and `/services/x` are folders.
    let segments: Vec<&str> = inner.split('/').collect();
    if let ["user" | "services", name] = segments.as_slice()
        && !name.is_empty()
    {
        return redirect(StatusCode::MOVED_PERMANENTLY, &format!("{path}/{query}"));
    }
    found(&format!("{}{inner}{query}", web.hub_url()))
}

/// `/hub/user-redirect/PATH`: the same path on the server of whoever follows the link.
pub(crate) async fn user_redirect(
    State(web): State<Web>,
    caller: PageCaller,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let here = next::here(&parts);
    let (path, query) = here
        .split_once('?')
        .map_or((here, ""), |(path, query)| (path, query));
    let start = format!("{}user-redirect", web.hub_url());
    let rest = path
        .strip_prefix(&start)
        .unwrap_or_default()
        .trim_start_matches('/');
    let server = next::usual_server(&web, &caller.session);
    let base = web.hub().settings().base_url.as_str();
    // The escapes of the path stay as they are: `a%20b` is not `a b` in a URL.
    let mut target = format!("{}{rest}", server.url_path(base));
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    found(&format!(
        "{}?next={}",
        server.hub_path(base, "spawn"),
        escape::query_value(&target)
    ))
}
