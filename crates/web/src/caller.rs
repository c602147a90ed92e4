//! Who makes a request: by token, else by login cookie; and whether the browser meant it (XSRF).

use axum::extract::{FromRequestParts, OriginalUri};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lyceum_core::xsrf::{Binding, RequestFacts, XsrfError};
use lyceum_core::{Secret, escape};
use lyceum_hub::{Principal, Session};
use percent_encoding::{CONTROLS, utf8_percent_encode};

use crate::client::header_text;
use crate::visit::Visitor;
use crate::{ApiError, Web, cookies, pages};

/// What programs are told that prove nothing.
const NOT_LOGGED_IN: &str =
    "missing or invalid credentials: log in, or send `Authorization: token …`";
/// How many login cookies of one request are looked at: one on each path where a browser may have one, and
/// some to spare.
const MAX_LOGIN_COOKIES: usize = 4;

/// The authenticated caller of an API endpoint.
#[derive(Debug, Clone)]
pub(crate) struct ApiCaller(pub(crate) Principal);

impl FromRequestParts<Web> for ApiCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        let caller = identify(web, parts, Accept::TokenOrCookie).await?;
        let by_token = caller
            .as_ref()
            .is_some_and(|caller| caller.session().is_none());
        let has_origin = parts.headers.contains_key(header::ORIGIN);
        // Without an Origin, whoever is not known hears just that.
        if caller.is_some() || has_origin {
            let session = caller.as_ref().and_then(Principal::session);
            check_meant(web, parts, session, by_token)?;
        }
        let caller = caller.ok_or_else(not_logged_in)?;
        if !by_token && !may_post(parts) {
            return Err(ApiError::with(
                StatusCode::FORBIDDEN,
                "with a login cookie, the body must be JSON, and Content-Type say so",
            ));
        }
        Ok(Self(caller))
    }
}

/// The caller of an API endpoint where one may also prove in the body who one is: nobody, if neither a token nor a
/// login counts.
#[derive(Debug, Clone)]
pub(crate) struct MaybeApiCaller(pub(crate) Option<Principal>);

impl FromRequestParts<Web> for MaybeApiCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, ApiError> {
        let Some(caller) = identify(web, parts, Accept::TokenOrCookie).await? else {
            return Ok(Self(None));
        };
        let session = caller.session();
        if session.is_some() && !may_post(parts) {
            return Ok(Self(None));
        }
        check_meant(web, parts, session, session.is_none())?;
        Ok(Self(Some(caller)))
    }
}

/// What is answered to whoever has to prove who they are and has not.
pub(crate) fn not_logged_in() -> ApiError {
    ApiError::with(StatusCode::FORBIDDEN, NOT_LOGGED_IN)
}

/// Checks that a browser was told by one of our pages to make this request of the API.
fn check_meant(
    web: &Web,
    parts: &Parts,
    session: Option<&Session>,
    by_token: bool,
) -> Result<(), ApiError> {
    if !facts(parts, true, by_token).needs_token() {
        return Ok(());
    }
    check_xsrf(web, parts, session, None).map_err(|error| xsrf_refused(parts, error))
}

/// Whether a request with a login cookie may have this body: a form of another site can be posted without asking,
/// JSON cannot (JupyterHub `check_post_content_type`).
fn may_post(parts: &Parts) -> bool {
    parts.method != Method::POST || is_json(&parts.headers)
}

/// Somebody who is logged in with a browser.
#[derive(Debug, Clone)]
pub(crate) struct PageCaller {
    pub(crate) principal: Principal,
    pub(crate) session: Session,
}

/// What a page answers to somebody who is not logged in.
#[derive(Debug)]
pub(crate) enum PageRejection {
    /// Log in first, then come back.
    LogIn(String),
    /// The hub's store failed.
    Failed(Box<Response>),
}

impl IntoResponse for PageRejection {
    fn into_response(self) -> Response {
        match self {
            Self::LogIn(url) => found(&url),
            Self::Failed(response) => *response,
        }
    }
}

impl FromRequestParts<Web> for PageCaller {
    type Rejection = PageRejection;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, PageRejection> {
        match MaybeCaller::from_request_parts(parts, web).await {
            Ok(MaybeCaller(Some(caller))) => Ok(caller),
            Ok(MaybeCaller(None)) => Err(PageRejection::LogIn(login_url(web, parts))),
            Err(rejection) => Err(rejection),
        }
    }
}

/// Somebody who may be logged in with a browser.
#[derive(Debug, Clone)]
pub(crate) struct MaybeCaller(pub(crate) Option<PageCaller>);

impl FromRequestParts<Web> for MaybeCaller {
    type Rejection = PageRejection;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, PageRejection> {
        match identify(web, parts, Accept::CookieOnly).await {
            Ok(principal) => Ok(Self(principal.and_then(|principal| {
                let session = principal.session().cloned()?;
                Some(PageCaller { principal, session })
            }))),
            Err(error) => {
                let visitor = Visitor::of(web, parts, None);
                Err(PageRejection::Failed(Box::new(pages::errors::page(
                    web,
                    &visitor,
                    error.status(),
                    error.message(),
                ))))
            }
        }
    }
}

/// What counts as proof of who is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accept {
    TokenOrCookie,
    CookieOnly,
    /// A cookie, for what an open page asks by itself: it does not count as activity.
    CookieOfPage,
}

/// Finds out who asks: the token first; if it is bad, the cookie still counts (JupyterHub `get_current_user`).
pub(crate) async fn identify(
    web: &Web,
    parts: &Parts,
    accept: Accept,
) -> Result<Option<Principal>, ApiError> {
    if accept == Accept::TokenOrCookie
        && let Some(token) = bearer(&parts.headers)
        && let Some(principal) = web
            .hub()
            .principal_of_token(&token)
            .await
            .map_err(|error| store_failed(&error))?
    {
        return Ok(Some(principal));
    }
    for secret in cookies::all(&parts.headers, cookies::LOGIN).take(MAX_LOGIN_COOKIES) {
        let secret = Secret::new(secret);
        let found = if accept == Accept::CookieOfPage {
            web.hub().principal_of_page(&secret).await
        } else {
            web.hub().principal_of_cookie(&secret).await
        };
        if let Some(principal) = found.map_err(|error| store_failed(&error))? {
            return Ok(Some(principal));
        }
    }
    Ok(None)
}

/// Reads `Authorization: token X` or `Bearer X`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<Secret<String>> {
    let text = header_text(headers, &header::AUTHORIZATION)?;
    let mut words = text.split_ascii_whitespace();
    let (scheme, token) = (words.next()?, words.next()?);
    let known = scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer");
    (known && words.next().is_none()).then(|| Secret::from(token))
}

/// Whether a body says that it is JSON, of any kind, or does not say what it is. Other sites can make browsers send
/// neither without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(text) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = text.as_bytes().trim_ascii_start();
    let json = b"application/json";
    let start = kind.get(..json.len());
    kind.is_empty() || start.is_some_and(|start| start.eq_ignore_ascii_case(json))
}

/// What the request says of itself, as far as XSRF is concerned.
pub(crate) fn facts(parts: &Parts, is_api: bool, by_token: bool) -> RequestFacts<'_> {
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    RequestFacts {
        method: parts.method.as_str(),
        fetch_mode: text("sec-fetch-mode"),
        fetch_site: text("sec-fetch-site"),
        is_api,
        by_token,
    }
}

/// Gives the XSRF token of a browser: bound to its session, and to the login if there is one.
pub(crate) fn xsrf_token(
    web: &Web,
    session: Option<&Session>,
    session_cookie: Option<&str>,
) -> Option<String> {
    binding(session, session_cookie)
        .ok()
        .map(|binding| web.settings().xsrf_key.token(binding))
}

/// Checks the XSRF token of a request: in the form (if the caller has read one), the query, or a header.
pub(crate) fn check_xsrf(
    web: &Web,
    parts: &Parts,
    session: Option<&Session>,
    from_form: Option<&str>,
) -> Result<(), XsrfError> {
    let cookie = cookies::first(&parts.headers, cookies::SESSION_ID);
    let binding = binding(session, cookie.as_deref())?;
    let query = parts.uri.query().unwrap_or_default();
    let from_query = form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "_xsrf")
        .map(|(_, value)| value.into_owned());
    let from_header = ["x-xsrftoken", "x-csrftoken"].iter().find_map(|name| {
        parts
            .headers
            .get(*name)
            .and_then(|value| value.to_str().ok())
    });
    let token = from_form.or(from_query.as_deref()).or(from_header);
    web.settings().xsrf_key.verify(binding, token)
}

fn binding<'a>(
    session: Option<&'a Session>,
    cookie: Option<&'a str>,
) -> Result<Binding<'a>, XsrfError> {
    match session {
        Some(session) => Binding::new(
            Some(&session.public_id),
            Some(session.user.cookie_id.expose()),
        ),
        None => Binding::new(cookie, None),
    }
}

/// Says why a request is refused, to the log in full.
pub(crate) fn xsrf_refused(parts: &Parts, error: XsrfError) -> ApiError {
    tracing::info!(path = target(parts).split('?').next().unwrap_or_default(), reason = %error, "refused a request without a valid XSRF token");
    ApiError::with(
        StatusCode::FORBIDDEN,
        "'_xsrf' argument missing or not valid; reload the page and try again",
    )
}

/// Turns a failure of the store into an answer, and writes it to the log.
pub(crate) fn store_failed(error: &(dyn std::error::Error + 'static)) -> ApiError {
    tracing::error!(error, "a request failed because of the hub's database");
    ApiError::with(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the hub's database did not do its part; try again in a moment",
    )
    .retry_after(5)
}

/// The login page, and from there back to this request; after a form, which cannot be sent again, to the
/// home page.
pub(crate) fn login_url(web: &Web, parts: &Parts) -> String {
    let home = format!("{}home", web.hub_url());
    let back = match parts.method {
        Method::GET | Method::HEAD => target(parts),
        _ => home.as_str(),
    };
    format!("{}login?next={}", web.hub_url(), escape::query_value(back))
}

/// Redirects with status 302, which every client of JupyterHub knows.
pub(crate) fn found(url: &str) -> Response {
    redirect(StatusCode::FOUND, url)
}

/// Redirects. What a header cannot carry is escaped: URLs may hold what somebody typed.
pub(crate) fn redirect(status: StatusCode, url: &str) -> Response {
    let escaped = utf8_percent_encode(url, CONTROLS).to_string();
    match HeaderValue::from_str(&escaped) {
        Ok(location) => (status, [(header::LOCATION, location)]).into_response(),
        Err(_) => pages::errors::plain(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Path and query as the browser sent them; the router cuts prefixes off the request's own URI.
pub(crate) fn target(parts: &Parts) -> &str {
    let uri = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0);
    uri.path_and_query().map_or("/", |target| target.as_str())
}
