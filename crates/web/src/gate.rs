//! The gate of services that log nobody in themselves: who comes, may they, and what is the service told of them.
//!
//! The gateway asks for each request and each WebSocket. A browser has a cookie of this service alone, which it gets
//! by a detour over the hub (`entry.rs`); a program shows a token. Nothing of either reaches the service.

mod entry;
mod identity;
mod refusal;

use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode, Uri, header};
use lyceum_core::service::{ENTRY, ServiceSpec};
use lyceum_core::{Secret, escape};
use lyceum_hub::Principal;

use crate::caller::{bearer, store_failed};
use crate::client::{Client, header_text};
use crate::{ApiError, RequestId, Web, cookies};

pub(crate) use refusal::no_entry;

/// How many cookies of one name are looked at: browsers send one for each path.
const MAX_COOKIES: usize = 4;

/// A request to a service that logs nobody in itself.
#[derive(Debug, Clone)]
pub struct SiteVisit {
    /// The name of the service.
    pub site: String,
    /// The method; `GET` for a WebSocket.
    pub method: Method,
    /// Path and query, as the client sent them.
    pub uri: Uri,
    /// The headers; what strangers claim of themselves is gone.
    pub headers: HeaderMap,
    /// The client, as far as trusted proxies tell.
    pub client: Client,
    /// Whether another protocol (WebSocket) is asked for.
    pub upgrade: bool,
    /// The id of the request, if it has one.
    pub request_id: Option<RequestId>,
}

/// What becomes of it.
#[derive(Debug)]
pub enum SiteAdmission {
    /// It goes on to the service.
    Enter {
        /// Headers that tell the service who it is, in place of any of the same name; an empty value removes.
        headers: HeaderMap,
        /// Names of cookies that the service does not get.
        hide_cookies: Vec<String>,
    },
    /// It is answered with this.
    Answer(Box<Response>),
}

/// The visit with what is known of the service.
struct Visit<'a> {
    web: &'a Web,
    site: &'a ServiceSpec,
    parts: Parts,
    upgrade: bool,
}

impl Web {
    /// Decides about one request to a service that logs nobody in itself.
    pub async fn admit(&self, visit: SiteVisit) -> SiteAdmission {
        let hub = self.hub().clone();
        let Some(site) = hub.settings().find_site(&visit.site) else {
            // The gateway knows services that the hub does not: it is being configured anew.
            tracing::warn!(service.name = %visit.site, "somebody came to a service that the hub does not know");
            return answer(ApiError::not_found().into_response());
        };
        let upgrade = visit.upgrade;
        let visit = Visit {
            web: self,
            site,
            parts: parts_of(visit),
            upgrade,
        };
        visit.decide().await
    }

    /// The names of all cookies that no service that logs nobody in itself gets, whoever comes.
    pub fn hidden_cookies(&self) -> Vec<String> {
        let own = [
            cookies::LOGIN,
            cookies::SESSION_ID,
            cookies::LANGUAGE,
            cookies::OLD_SERVICES,
        ];
        let of_sites = self
            .hub()
            .settings()
            .sites()
            .flat_map(|site| [entry_cookie(site), entry::proof_cookie(site)]);
        own.into_iter().map(str::to_owned).chain(of_sites).collect()
    }
}

fn answer(response: Response) -> SiteAdmission {
    SiteAdmission::Answer(Box::new(response))
}

/// The visit as pages of the hub know requests.
fn parts_of(visit: SiteVisit) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = visit.method;
    parts.uri = visit.uri;
    parts.headers = visit.headers;
    parts.extensions.insert(visit.client);
    if let Some(id) = visit.request_id {
        parts.extensions.insert(id);
    }
    parts
}

/// The cookie with which a browser enters a service.
fn entry_cookie(site: &ServiceSpec) -> String {
    format!("lyceum-service-{}", escape::client_id(site.name.as_str()))
}

impl Visit<'_> {
    async fn decide(&self) -> SiteAdmission {
        match self.found().await {
            Ok(admission) => admission,
            Err(error) => answer(error.into_response()),
        }
    }

    async fn found(&self) -> Result<SiteAdmission, ApiError> {
        let (by_token, token_known) = self.by_token().await?;
        if let Some(principal) = &by_token {
            return Ok(self.enter(principal, token_known));
        }
        let by_cookie = self.by_cookie().await?;
        if self.is_entry() {
            return self.finish_entry(by_cookie.is_some()).await;
        }
        let Some(principal) = by_cookie else {
            if token_known {
                return Ok(answer(ApiError::forbidden().into_response()));
            }
            return Ok(answer(self.log_in()));
        };
        if !self.web.hub().may_visit(&principal, self.site) {
            return Ok(answer(self.refuse(&principal)));
        }
        if self.needs_same_origin() && !self.is_same_origin() {
            tracing::info!(service.name = %self.site.name, user.name = principal.name(),
                "refused a request that another site has made a browser send to the service {}", self.site.name);
            let text = "this request came from a page of another site";
            return Ok(answer(
                ApiError::with(StatusCode::FORBIDDEN, text).into_response(),
            ));
        }
        Ok(self.enter(&principal, token_known))
    }

    /// Who shows a token and may come; and whether the token is one of ours at all. The service's own tokens are not.
    async fn by_token(&self) -> Result<(Option<Principal>, bool), ApiError> {
        let Some(token) = bearer(&self.parts.headers) else {
            return Ok((None, false));
        };
        let hub = self.web.hub();
        let principal = hub
            .principal_of_token(&token)
            .await
            .map_err(|error| store_failed(&error))?;
        let known = principal.is_some();
        let principal = principal.filter(|principal| hub.may_visit(principal, self.site));
        Ok((principal, known))
    }

    async fn by_cookie(&self) -> Result<Option<Principal>, ApiError> {
        let name = entry_cookie(self.site);
        for secret in cookies::all(&self.parts.headers, &name).take(MAX_COOKIES) {
            let found = self
                .web
                .hub()
                .principal_of_entry(self.site, &Secret::new(secret))
                .await
                .map_err(|error| store_failed(&error))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn enter(&self, principal: &Principal, by_token: bool) -> SiteAdmission {
        let mut headers = identity::headers(principal);
        if by_token {
            // Whoever has a token of ours can do more with it than visit this service.
            headers.insert(header::AUTHORIZATION, http::HeaderValue::from_static(""));
        }
        SiteAdmission::Enter {
            headers,
            hide_cookies: self.web.hidden_cookies(),
        }
    }

    /// Whether it is the way back from the hub.
    fn is_entry(&self) -> bool {
        let own = format!("{}{ENTRY}", self.site.prefix(self.base()));
        self.parts.uri.path() == own
            && matches!(self.parts.method, Method::GET | Method::HEAD)
            && !self.upgrade
    }

    fn base(&self) -> &str {
        self.web.hub().settings().base_url.as_str()
    }

    /// Whether a person opens a page, who can be led to the login. Programs and scripts cannot.
    fn is_navigation(&self) -> bool {
        if self.upgrade || !matches!(self.parts.method, Method::GET | Method::HEAD) {
            return false;
        }
        if let Some(mode) = self.header("sec-fetch-mode") {
            return mode == "navigate";
        }
        self.wants_html()
    }

    fn wants_html(&self) -> bool {
        header_text(&self.parts.headers, &header::ACCEPT)
            .is_some_and(|accept| accept.contains("text/html"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Whether the browser has to come from a page of this host: before a WebSocket, which browsers open for every
    /// page, and before whatever may change something.
    fn needs_same_origin(&self) -> bool {
        let harmless = matches!(
            self.parts.method,
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        self.upgrade || !harmless
    }

    /// Whether the request comes from a page of this host. Programs that are no browsers do not say.
    fn is_same_origin(&self) -> bool {
        let mut origins = self.parts.headers.get_all(header::ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return !self.parts.headers.contains_key(header::ORIGIN);
        };
        let Some((scheme, host)) = origin.to_str().ok().and_then(|o| o.split_once("://")) else {
            return false;
        };
        let public = self
            .site
            .origin
            .as_deref()
            .or(self.web.hub().settings().public_url.as_deref())
            .and_then(|url| url.split_once("//"))
            .map(|(_, host)| host.trim_end_matches('/'));
        let asked = Client::of(&self.parts).host;
        [Some(asked.as_str()), public]
            .into_iter()
            .flatten()
            .any(|own| !own.is_empty() && same_host(scheme, host, own))
    }
}

/// Whether a page of `scheme` and `host` is one of this host. The port of the scheme need not be written.
fn same_host(scheme: &str, host: &str, own: &str) -> bool {
    let usual = match scheme {
        "https" | "wss" => ":443",
        _ => ":80",
    };
    let plain = |host: &str| {
        host.strip_suffix(usual)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    plain(host) == plain(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_port_need_not_be_written() {
        let check = |scheme: &str, host: &str, own: &str, expected: bool| {
            assert_eq!(
                same_host(scheme, host, own),
                expected,
                "{scheme} {host} {own}"
            );
        };
        check("https", "hub.example.org", "Hub.example.org", true);
        check("https", "hub.example.org", "hub.example.org:443", true);
        check("http", "hub.example.org:8000", "hub.example.org:8000", true);
        check("http", "hub.example.org", "hub.example.org:8000", false);
        check("http", "evil.example", "hub.example.org", false);
        check(
            "http",
            "hub.example.org.evil.example",
            "hub.example.org",
            false,
        );
        check("https", "hub.example.org:80", "hub.example.org", false);
    }
}
