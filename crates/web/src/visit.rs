//! The browser at the other end of a page: its language, its login, its XSRF token; and answers made for it.

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use lyceum_core::random;
use lyceum_hub::Session;

use crate::caller::{self, facts, xsrf_token};
use crate::client::{Client, header_text};
use crate::cookies::{self, Attributes, Keep};
use crate::render::{
    AnnouncementLevel, CONTENT_SECURITY_POLICY, Language, Notice, Page, Viewer, Visit,
};
use crate::{RequestId, Web, pages};

/// How long the browser keeps the XSRF cookie of somebody who is not logged in.
const ANONYMOUS_XSRF: Keep = Keep::For(std::time::Duration::from_hours(1));

/// Everything about the browser that a page needs.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) session: Option<Session>,
    pub(crate) client: Client,
    language: Language,
    here: Option<String>,
    /// The public session id: the login's, else the cookie's, else a new one that the answer sets.
    session_id: String,
    new_session_id: bool,
    xsrf_cookie: Option<String>,
    may_set_cookie: bool,
    pub(crate) request_id: Option<String>,
}

impl Visitor {
    /// Looks at a request. Pages that are asked for with GET can be asked for again in another language.
    ///
    /// Without a session, but with a login cookie, nobody has looked who it is: then no cookie is set, since it
    /// would replace the XSRF token of the pages that are open.
    pub(crate) fn of(web: &Web, parts: &Parts, session: Option<&Session>) -> Self {
        let default = web
            .settings()
            .languages
            .first()
            .copied()
            .unwrap_or_default();
        let lang_cookie = cookies::first(&parts.headers, cookies::LANGUAGE);
        let accept = header_text(&parts.headers, &header::ACCEPT_LANGUAGE);
        let cookie =
            cookies::first(&parts.headers, cookies::SESSION_ID).filter(|id| is_session_id(id));
        let session_id = session
            .map(|session| session.public_id.clone())
            .or_else(|| cookie.clone());
        let new_session_id = session_id.is_none() || session_id != cookie;
        Self {
            session: session.cloned(),
            client: Client::of(parts),
            language: Language::choose(lang_cookie.as_deref(), accept, default),
            here: (parts.method == http::Method::GET).then(|| caller::target(parts).to_owned()),
            session_id: session_id.unwrap_or_else(|| random::hex(16)),
            new_session_id,
            xsrf_cookie: cookies::first(&parts.headers, cookies::XSRF),
            may_set_cookie: facts(parts, false, false).may_set_cookie()
                && (session.is_some() || cookies::first(&parts.headers, cookies::LOGIN).is_none()),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        }
    }

    /// Looks at a request of somebody who is not logged in, whatever their cookies pretend.
    pub(crate) fn anonymous(web: &Web, parts: &Parts) -> Self {
        Self {
            may_set_cookie: facts(parts, false, false).may_set_cookie(),
            ..Self::of(web, parts, None)
        }
    }

    /// The same browser, whose cookies stay as they are: for pages at addresses where those of the hub do not come.
    pub(crate) fn without_cookies(self) -> Self {
        Self {
            may_set_cookie: false,
            ..self
        }
    }

    /// The XSRF token for this page's forms.
    pub(crate) fn xsrf(&self, web: &Web) -> String {
        xsrf_token(web, self.session.as_ref(), Some(&self.session_id)).unwrap_or_default()
    }

    /// Whether cookies are sent over https only.
    pub(crate) fn secure(&self, web: &Web) -> bool {
        self.client.https || web.settings().always_secure
    }

    /// The browser's session ends or begins: its cookies are about another one from now on.
    pub(crate) fn with_session(mut self, session: Option<Session>, session_id: String) -> Self {
        self.session = session;
        self.session_id = session_id;
        self.new_session_id = true;
        self.may_set_cookie = true;
        self
    }

    /// Makes a page, with the cookies that the browser lacks.
    pub(crate) fn page<P: Page>(&self, web: &Web, status: StatusCode, page: &P) -> Response {
        match web.renderer().render(&self.visit(web), page) {
            Ok(html) => {
                let mut response = html_response(status, html);
                self.set_cookies(web, response.headers_mut());
                response
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "could not make a page"
                );
                pages::errors::plain(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// Sets the session id and the XSRF token where the browser has none, or not the right ones.
    ///
    /// Only where a person navigates: answers to scripts must not replace the token of the page that is open.
    pub(crate) fn set_cookies(&self, web: &Web, headers: &mut HeaderMap) {
        if !self.may_set_cookie {
            return;
        }
        let base = web.hub().settings().base_url.as_str();
        let secure = self.secure(web);
        if self.new_session_id {
            let attributes = Attributes {
                path: base,
                secure,
                http_only: true,
                lax: true,
                keep: Keep::Session,
            };
            cookies::set(headers, cookies::SESSION_ID, &self.session_id, attributes);
        }
        let token = self.xsrf(web);
        if self.xsrf_cookie.as_deref() != Some(token.as_str()) || self.session.is_none() {
            let keep = if self.session.is_some() {
                Keep::Session
            } else {
                ANONYMOUS_XSRF
            };
            let attributes = Attributes {
                path: &web.hub_url(),
                secure,
                http_only: false,
                lax: true,
                keep,
            };
            cookies::set(headers, cookies::XSRF, &token, attributes);
        }
    }

    fn visit(&self, web: &Web) -> Visit {
        let user = self.session.as_ref();
        let is_admin = user.is_some_and(|session| session.opens_admin_pages);
        Visit {
            user: user.map(|session| Viewer {
                name: session.user.name.to_string(),
                admin: session.opens_admin_pages,
            }),
            language: self.language,
            here: self.here.clone(),
            notices: if is_admin { notices(web) } else { Vec::new() },
        }
    }
}

/// What administrators should know of; nothing of it is for anybody else.
fn notices(web: &Web) -> Vec<Notice> {
    let reporters = &web.hub().settings().reporters;
    reporters
        .iter()
        .flat_map(|reporter| reporter.notices())
        .map(|notice| Notice {
            level: if notice.urgent {
                AnnouncementLevel::Alarm
            } else {
                AnnouncementLevel::Warning
            },
            text: notice.text,
            hint: notice.hint,
        })
        .collect()
}

/// A session id is ours if it looks like ours; what else a browser sends does not get into logs or MACs.
fn is_session_id(id: &str) -> bool {
    (8..=64).contains(&id.len()) && id.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// An HTML answer that is not stored and not framed.
pub(crate) fn html_response(status: StatusCode, html: String) -> Response {
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-store, private"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(CONTENT_SECURITY_POLICY),
    );
    response
}
