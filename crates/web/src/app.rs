//! The router: which URL is whose, and what every answer carries.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use lyceum_core::escape;

use crate::api::endpoints::Endpoint;
use crate::handlers::{Boxed, any, boxed, get, post};
use crate::visit::Visitor;
use crate::{ApiError, Web, api, maintenance, notices, oauth, pages, request_id};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-jupyterhub-version");
/// Where authorities look for proofs of a name (RFC 8555 §8.3): at the root, whatever the base URL. Whoever accepts
/// connections answers those that it knows; the others come here.
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// Nothing of an API answer may be run or framed by a browser.
const API_CSP: &str = "frame-ancestors 'none'; default-src 'none'";
/// For whatever has no policy of its own, such as pictures: they may have styles inside, but no scripts.
const FILE_CSP: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'";

impl Web {
    /// Makes the router of the whole hub: pages, OAuth2 and API.
    pub fn router(&self) -> Router {
        let api = || {
            api_router()
                .merge(authorize_router())
                .layer(middleware::from_fn(api_answer))
        };
        let everything = Router::new()
            .merge(api_root())
            .nest("/hub", pages_router().nest("/api", api()))
            .route("/hub", any(pages::root::elsewhere))
            .route(
                "/hub/",
                get(pages::root::hub).fallback(boxed(pages::errors::wrong_method)),
            )
            .route("/favicon.ico", get(pages::files::favicon))
            .route("/robots.txt", get(pages::files::robots))
            .fallback(boxed(pages::root::elsewhere));
        self.finish(everything, boxed(pages::root::elsewhere))
    }

    /// Makes the router for users' servers and services: nothing but API calls with a token.
    pub fn api_router(&self) -> Router {
        let api = api_router().layer(middleware::from_fn(api_answer));
        let router = Router::new()
            .merge(api_root())
            .nest("/hub/api", api)
            .fallback(boxed(not_here))
            .layer(middleware::from_fn(without_cookies));
        self.finish(router, boxed(not_here))
    }

    /// Lists all endpoints of the API, and who may use them.
    pub fn api_endpoints() -> Vec<Endpoint> {
        api::endpoints().into_list()
    }

    /// Puts a router below the base URL; `elsewhere` answers beside it, and at the base URL itself, which nesting leaves
    /// out.
    fn finish(&self, router: Router<Self>, elsewhere: Boxed) -> Router {
        let base = self
            .hub()
            .settings()
            .base_url
            .trim_end_matches('/')
            .to_owned();
        let router = if base.is_empty() {
            router
        } else {
            Router::new()
                .route(&format!("{base}/"), routing::any(elsewhere.clone()))
                .nest(&base, router)
                .fallback(elsewhere)
        };
        let no_challenge = || any(pages::files::no_challenge);
        let router = router
            .route(CHALLENGES, no_challenge())
            .route(&format!("{CHALLENGES}{{*token}}"), no_challenge())
            .with_state(self.clone());
        // A router's own layers run after it has chosen by path and method; these have to come before.
        Router::new()
            .fallback_service(router)
            .layer(middleware::from_fn_with_state(
                self.clone(),
                maintenance::guard,
            ))
            .layer(middleware::from_fn_with_state(self.clone(), every_answer))
            .layer(middleware::from_fn(request_id::give))
    }
}

/// The API's root with a slash, which the router takes for another path than the one without.
fn api_root() -> Router<Web> {
    Router::new()
        .route("/hub/api/", get(api::hub::version))
        .method_not_allowed_fallback(boxed(api_wrong_method))
        .layer(middleware::from_fn(api_answer))
}

fn pages_router() -> Router<Web> {
    Router::new()
        .route(
            "/login",
            get(pages::login::form).post(boxed(pages::login::submit)),
        )
        .route(
            "/logout",
            get(pages::login::log_out).head(boxed(pages::errors::wrong_method)),
        )
        .route("/home", get(pages::home::show))
        .merge(pages::admin::router())
        .route(
            "/spawn",
            get(pages::spawn::own)
                .head(boxed(pages::errors::wrong_method))
                .post(boxed(pages::spawn::own_form)),
        )
        .route(
            "/spawn/{user}",
            get(pages::spawn::link)
                .head(boxed(pages::errors::wrong_method))
                .post(boxed(pages::spawn::form)),
        )
        .route(
            "/spawn/{user}/{server}",
            get(pages::spawn::link)
                .head(boxed(pages::errors::wrong_method))
                .post(boxed(pages::spawn::form)),
        )
        .route(
            "/token",
            get(pages::token::show).post(boxed(pages::token::create)),
        )
        .route("/token/revoke", post(pages::token::revoke))
        .route("/new-server", post(pages::named_servers::create))
        .route(
            "/rename/{user}/{server}",
            post(pages::named_servers::rename),
        )
        .route(
            "/delete/{user}/{server}",
            post(pages::named_servers::delete),
        )
        .route("/stop/{user}", post(pages::stop::form))
        .route("/stop/{user}/{server}", post(pages::stop::form))
        .route("/spawn-pending/{user}", get(pages::pending::page))
        .route("/spawn-pending/{user}/{server}", get(pages::pending::page))
        .route(
            "/user/{user}",
            get(pages::not_running::bare).fallback(boxed(pages::not_running::other_method)),
        )
        .route(
            "/user/{user}/",
            get(pages::not_running::bare).fallback(boxed(pages::not_running::other_method)),
        )
        .route(
            "/user/{user}/{*rest}",
            get(pages::not_running::below).fallback(boxed(pages::not_running::other_method)),
        )
        .route("/user-redirect", get(pages::root::user_redirect))
        .route("/user-redirect/", get(pages::root::user_redirect))
        .route("/user-redirect/{*rest}", get(pages::root::user_redirect))
        .route(
            "/accept-share",
            get(pages::accept_share::show).post(boxed(pages::accept_share::submit)),
        )
        .route(
            "/notices/servers/{user}",
            get(notices::show).post(boxed(notices::keep)),
        )
        .route(
            "/notices/servers/{user}/{server}",
            get(notices::show).post(boxed(notices::keep)),
        )
        .route("/keep/{user}", post(pages::keep::form))
        .route("/keep/{user}/{server}", post(pages::keep::form))
        .route("/language/{code}", get(pages::language::choose))
        .route("/error/{status}", get(pages::errors::for_proxy))
        .route("/health", get(health))
        .route(
            "/metrics",
            get(api::metrics::show).head(boxed(pages::errors::wrong_method)),
        )
        .route("/logo", get(pages::files::logo))
        .route("/static/{*path}", get(pages::files::asset))
        .route("/security/csp-report", post(pages::errors::csp_report))
        .fallback(boxed(pages::errors::not_found))
        .method_not_allowed_fallback(boxed(pages::errors::wrong_method))
        .layer(middleware::from_fn(note_route))
}

fn api_router() -> Router<Web> {
    api::endpoints()
        .into_router()
        .fallback(boxed(api_not_found))
        .method_not_allowed_fallback(boxed(api_wrong_method))
}

fn authorize_router() -> Router<Web> {
    Router::new().route(
        "/oauth2/authorize",
        get(oauth::authorize)
            .post(boxed(oauth::confirm))
            .fallback(boxed(pages::errors::wrong_method)),
    )
}

pub(crate) async fn health() -> Response {
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/html")], "").into_response()
}

async fn api_not_found() -> ApiError {
    ApiError::not_found()
}

async fn api_wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED)
}

async fn not_here() -> ApiError {
    ApiError::with(StatusCode::NOT_FOUND, "there is nothing at this address")
}

/// Marks a `HEAD` that is asked as `OPTIONS`.
#[derive(Debug, Clone, Copy)]
struct WasHead;

/// The rules of every API answer: `OPTIONS` is always fine, `HEAD` never means `GET` (JupyterHub
/// `APIHandler.options`), nothing may be framed, and nothing is kept.
async fn api_answer(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let page = path.ends_with("/oauth2/authorize");
    let root = matches!(path, "" | "/" | "/hub/api/");
    let route = request.extensions().get::<MatchedPath>().cloned();
    let asks_options = *request.method() == Method::OPTIONS
        && request.extensions().get::<WasHead>().is_none()
        && !page;
    let mut response = next.run(request).await;
    if asks_options && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        const ALLOWED: &str = "accept, content-type, authorization";
        response = (
            StatusCode::OK,
            [
                (header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED),
                (header::CONTENT_TYPE, "application/json"),
            ],
        )
            .into_response();
    }
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    let headers = response.headers_mut();
    if root {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
    }
    if !page {
        headers
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(HeaderValue::from_static(API_CSP));
        headers
            .entry(header::CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }
    response
}

/// Leaves word in the answer of which route it came from, for whoever counts.
async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// Counts an answer under the name of its route; what leads nowhere is counted together.
fn count(web: &Web, method: &Method, response: &Response, begun: Instant) {
    let route = response.extensions().get::<MatchedPath>();
    let base = web.hub().settings().base_url.trim_end_matches('/');
    let handler = route.map_or("other", |route| {
        let path = route.as_str();
        path.strip_prefix(base).unwrap_or(path)
    });
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let code = response.status().as_u16();
    web.hub()
        .metrics()
        .request(method, handler, code, begun.elapsed());
}

/// What every answer carries, errors too: the version (not on static files, as in JupyterHub), that its
/// type is to be believed, and what it may not do.
async fn every_answer(State(web): State<Web>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path();
    let inner = path.strip_prefix(&web.hub_url()).unwrap_or_default();
    let file = inner.starts_with("static/") || inner == "logo";
    let api = inner == "api" || inner.starts_with("api/");
    let is_text = escape::decode(path).is_some();
    if api && inner != "api/health" && *request.method() == Method::HEAD {
        // The router would take it for a GET, which may do something. For OPTIONS it has no handler, but it
        // knows which paths there are.
        *request.method_mut() = Method::OPTIONS;
        request.extensions_mut().insert(WasHead);
    }
    let mut response = if is_text {
        next.run(request).await
    } else {
        not_utf8(&web, api, request)
    };
    count(&web, &method, &response, begun);
    let headers = response.headers_mut();
    if api {
        // The router's list counts `HEAD`, which the API does not have. JupyterHub gives none.
        headers.remove(header::ALLOW);
    }
    if !file {
        headers.insert(
            VERSION_HEADER,
            HeaderValue::from_static(lyceum_hub::JUPYTERHUB_VERSION),
        );
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("same-origin"));
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(FILE_CSP));
    response
}

/// Nothing here has a name that is not text, so a path that is not UTF-8 is a mistake, wherever it leads.
fn not_utf8(web: &Web, is_api: bool, request: Request) -> Response {
    const TEXT: &str = "The address contains escapes that are not text in UTF-8.";
    if is_api {
        return ApiError::bad_request(TEXT).into_response();
    }
    let (parts, _) = request.into_parts();
    let visitor = Visitor::of(web, &parts, None);
    pages::errors::page(web, &visitor, StatusCode::BAD_REQUEST, Some(TEXT))
}

/// Takes the cookies away: on the listener for servers, only tokens count.
async fn without_cookies(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(header::COOKIE);
    next.run(request).await
}
