//! The router: which URL is whose, and what every answer carries.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{ApiError, Web, api, oauth, pages};

const VERSION_HEADER: HeaderName = HeaderName::from_static("x-jupyterhub-version");
/// Nothing of an API answer may be run or framed by a browser.
const API_CSP: &str = "frame-ancestors 'none'; default-src 'none'";
/// The largest body that the hub itself takes; uploads go to users' servers, past the hub.
const BODY_LIMIT: usize = 10 * 1024 * 1024;

impl Web {
    /// Makes the router of the whole hub: pages, OAuth2 and API.
    pub fn router(&self) -> Router {
        let hub = pages_router().nest(
            "/api",
            api_router()
                .merge(authorize_router())
                .layer(middleware::from_fn(api_answer)),
        );
        let everything = Router::new()
            .nest("/hub", hub)
            .route("/hub/", get(pages::root::hub))
            .fallback(pages::root::elsewhere);
        self.finish(everything)
    }

    /// Makes the router for users' servers and services: nothing but API calls with a token.
    pub fn api_router(&self) -> Router {
        let api = api_router()
            .layer(middleware::from_fn(api_answer))
            .layer(middleware::from_fn(without_cookies));
        self.finish(Router::new().nest("/hub/api", api).fallback(not_here))
    }

    fn finish(&self, router: Router<Self>) -> Router {
        let base = self
            .hub()
            .settings()
            .base_url
            .trim_end_matches('/')
            .to_owned();
        let router = router.with_state(self.clone());
        let router = if base.is_empty() {
            router
        } else {
            Router::new().nest(&base, router).fallback(not_here)
        };
        router
            .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::from_fn(every_answer))
    }
}

fn pages_router() -> Router<Web> {
    Router::new()
        .route("/login", get(pages::login::form).post(pages::login::submit))
        .route("/logout", get(pages::login::log_out))
        .route("/home", get(pages::home::show))
        .route(
            "/spawn",
            get(pages::spawn::own).post(pages::spawn::own_form),
        )
        .route(
            "/spawn/{user}",
            get(pages::spawn::default_server).post(pages::spawn::default_server_form),
        )
        .route(
            "/spawn/{user}/{server}",
            get(pages::spawn::named_server).post(pages::spawn::named_server_form),
        )
        .route("/stop/{user}", post(pages::stop::default_server))
        .route("/stop/{user}/{server}", post(pages::stop::named_server))
        .route("/spawn-pending/{user}", get(pages::pending::default_server))
        .route(
            "/spawn-pending/{user}/{server}",
            get(pages::pending::named_server),
        )
        .route(
            "/user/{user}",
            get(pages::not_running::bare).fallback(pages::not_running::other_method),
        )
        .route(
            "/user/{user}/",
            get(pages::not_running::bare).fallback(pages::not_running::other_method),
        )
        .route(
            "/user/{user}/{*rest}",
            get(pages::not_running::below).fallback(pages::not_running::other_method),
        )
        .route("/user-redirect", get(pages::root::user_redirect))
        .route("/user-redirect/", get(pages::root::user_redirect))
        .route("/user-redirect/{*rest}", get(pages::root::user_redirect))
        .route("/language/{code}", get(pages::language::choose))
        .route("/error/{status}", get(pages::errors::for_proxy))
        .route("/health", get(health))
        .route("/logo", get(pages::files::logo))
        .route("/static/{*path}", get(pages::files::asset))
        .route("/security/csp-report", post(pages::errors::csp_report))
        .fallback(pages::errors::not_found)
        .method_not_allowed_fallback(pages::errors::wrong_method)
}

fn api_router() -> Router<Web> {
    Router::new()
        .route("/", get(api::hub::version))
        .route("/info", get(api::hub::info))
        .route("/health", get(health))
        .route("/user", get(api::user::introspect))
        .route("/users/{user}", get(api::user::show))
        .route("/users/{user}/activity", post(api::activity::report))
        .route(
            "/users/{user}/server",
            get(api::servers::show_default)
                .post(api::servers::start_default)
                .delete(api::servers::stop_default),
        )
        .route(
            "/users/{user}/server/progress",
            get(api::progress::default_server),
        )
        .route(
            "/users/{user}/servers/{server}",
            get(api::servers::show_named)
                .post(api::servers::start_named)
                .delete(api::servers::stop_named),
        )
        .route(
            "/users/{user}/servers/",
            get(api::servers::show_default)
                .post(api::servers::start_default)
                .delete(api::servers::stop_default),
        )
        .route(
            "/users/{user}/servers/{server}/progress",
            get(api::progress::named_server),
        )
        .route("/oauth2/token", post(oauth::token))
        .fallback(api_not_found)
        .method_not_allowed_fallback(api_wrong_method)
}

fn authorize_router() -> Router<Web> {
    Router::new().route(
        "/oauth2/authorize",
        get(oauth::authorize).post(oauth::confirm),
    )
}

async fn health() -> Response {
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

/// The rules of every API answer: `OPTIONS` is always fine, `HEAD` never means `GET` (JupyterHub
/// `APIHandler.options`), and nothing may be framed.
async fn api_answer(request: Request, next: Next) -> Response {
    let health = request.uri().path().ends_with("/health");
    let page = request.uri().path().ends_with("/oauth2/authorize");
    let mut response = match *request.method() {
        Method::OPTIONS => {
            const ALLOWED: &str = "accept, content-type, authorization";
            (
                StatusCode::OK,
                [(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED)],
            )
                .into_response()
        }
        Method::HEAD if !health => ApiError::new(StatusCode::METHOD_NOT_ALLOWED).into_response(),
        _ => next.run(request).await,
    };
    if !page {
        let csp = HeaderValue::from_static(API_CSP);
        response
            .headers_mut()
            .entry(header::CONTENT_SECURITY_POLICY)
            .or_insert(csp);
    }
    response
}

/// What every answer carries, errors too: the version (not on static files, as in JupyterHub), and that its
/// type is to be believed.
async fn every_answer(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let file = path.contains("/hub/static/") || path.ends_with("/hub/logo");
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
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
    response
}

/// Takes the cookies away: on the listener for servers, only tokens count.
async fn without_cookies(mut request: Request, next: Next) -> Response {
    request.headers_mut().remove(header::COOKIE);
    next.run(request).await
}
