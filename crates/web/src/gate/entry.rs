//! How a browser gets its cookie for a service: to the hub, which knows the login, and back with a code.
//!
//! ```text
//! GET /stats/plot          no cookie      302 /hub/api/oauth2/authorize?…   sets a proof
//! GET /hub/api/oauth2/…    login, rule    302 /stats/lyceum-enter?code=…
//! GET /stats/lyceum-enter  proof, code    302 /stats/plot                   sets the cookie
//! ```
//!
//! The proof is a secret of this browser, of which the code is asked for with a hash (PKCE): a code that somebody
//! else has got is worth nothing here, so nobody can be logged in as another. Where to go on is in `state`.

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderValue, header};
use lyceum_core::service::ServiceSpec;
use lyceum_core::{Secret, escape, random};
use sha2::{Digest as _, Sha256};

use super::refusal::not_logged_in;
use super::{SiteAdmission, Visit, answer, entry_cookie};
use crate::ApiError;
use crate::caller::{found, store_failed};
use crate::client::Client;
use crate::cookies::{self, Attributes, Keep};
use crate::pages::next;

/// How long a person may take to log in.
const PROOF_LIFETIME: std::time::Duration = std::time::Duration::from_hours(1);
/// The longest address to go on to; whoever asked for a longer one begins at the front page.
const MAX_TARGET: usize = 2_000;

/// The cookie with which a browser shows that it is the one that was sent to the hub.
pub(super) fn proof_cookie(site: &ServiceSpec) -> String {
    format!("lyceum-login-{}", escape::client_id(site.name.as_str()))
}

impl Visit<'_> {
    /// Sends a browser to the hub, and refuses whatever cannot follow.
    pub(super) fn log_in(&self) -> Response {
        let Some(oauth) = self.site.oauth.as_ref().filter(|_| self.is_navigation()) else {
            return not_logged_in();
        };
        let settings = self.web.hub().settings();
        let base = self.base();
        // Two windows that are opened at once share a proof.
        let proof = self.proof();
        let is_new = proof.is_none();
        let proof = proof.unwrap_or_else(|| random::url_safe(32));
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&proof));
        let target = self.parts.uri.path_and_query();
        let target = target.map_or("", http::uri::PathAndQuery::as_str);
        let state = match target.len() {
            0..=MAX_TARGET => URL_SAFE_NO_PAD.encode(target),
            _ => String::new(),
        };
        let hub = match &self.site.origin {
            Some(_) => settings.public_url.as_deref().unwrap_or_default(),
            None => "",
        };
        let redirect_uri = self.site.redirect_uri(base).unwrap_or_default();
        let location = format!(
            "{}{base}hub/api/oauth2/authorize?client_id={}&redirect_uri={}&response_type=code&state={state}\
             &code_challenge={challenge}&code_challenge_method=S256",
            hub.trim_end_matches('/'),
            escape::query_value(&oauth.client_id),
            escape::query_value(&redirect_uri),
        );
        let mut response = not_kept(found(&location));
        if is_new {
            let keep = Keep::For(PROOF_LIFETIME);
            self.set_cookie(&mut response, &proof_cookie(self.site), &proof, keep);
        }
        response
    }

    /// Takes the code that the browser brings from the hub, and leads it to where it wanted to go.
    pub(super) async fn finish_entry(&self, is_in: bool) -> Result<SiteAdmission, ApiError> {
        let place = self.place_after();
        if is_in {
            // A page that was loaded again, or the second of two windows.
            return Ok(answer(not_kept(found(&place))));
        }
        let (Some(code), Some(proof)) = (next::query(&self.parts, "code"), self.proof()) else {
            return Ok(answer(self.stale()));
        };
        let entry = self
            .web
            .hub()
            .enter_site(self.site, &code, &Secret::new(proof))
            .await
            .map_err(|error| store_failed(&error))?;
        let Some(entry) = entry else {
            return Ok(answer(self.stale()));
        };
        let mut response = not_kept(found(&place));
        let keep = Keep::For(entry.lifetime);
        let name = entry_cookie(self.site);
        self.set_cookie(&mut response, &name, entry.secret.expose(), keep);
        let path = self.site.prefix(self.base());
        cookies::clear(response.headers_mut(), &proof_cookie(self.site), &path);
        Ok(answer(response))
    }

    /// The proof that this browser has, if it looks like one of ours.
    fn proof(&self) -> Option<String> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        cookies::first(&self.parts.headers, &proof_cookie(self.site))
            .filter(|proof| (40..=64).contains(&proof.len()) && proof.bytes().all(plain))
    }

    /// Where the browser wanted to go: below the prefix, whatever `state` says.
    fn place_after(&self) -> String {
        let front = self.site.prefix(self.base());
        let wanted = next::query(&self.parts, "state")
            .and_then(|state| URL_SAFE_NO_PAD.decode(state).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match wanted {
            Some(wanted) if is_below(&wanted, &front) => wanted,
            _ => front,
        }
    }

    fn set_cookie(&self, response: &mut Response, name: &str, value: &str, keep: Keep) {
        let attributes = Attributes {
            path: &self.site.prefix(self.base()),
            secure: Client::of(&self.parts).https || self.web.settings().always_secure,
            http_only: true,
            lax: true,
            keep,
        };
        cookies::set(response.headers_mut(), name, value, attributes);
    }
}

/// Whether a path is below a prefix of this host, and not a way to another host.
fn is_below(wanted: &str, front: &str) -> bool {
    let path = wanted.split(['?', '#']).next().unwrap_or_default();
    let climbs = |path: &str| path.split('/').any(|segment| segment == "..");
    let decoded = escape::decode(path);
    decoded.is_some_and(|decoded| {
        let is_front = decoded == front.trim_end_matches('/') && front != "/";
        (decoded.starts_with(&decode(front)) || is_front) && !climbs(&decoded)
    }) && !wanted.starts_with("//")
        && !wanted.contains('\\')
        && !wanted.chars().any(char::is_control)
}

fn decode(text: &str) -> String {
    escape::decode(text).unwrap_or_default()
}

/// Nobody keeps an answer that is for one browser, once.
fn not_kept(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_out_of_the_service() {
        let check = |wanted: &str, front: &str, expected: bool| {
            assert_eq!(is_below(wanted, front), expected, "{wanted} {front}");
        };
        check("/stats/", "/stats/", true);
        check("/stats", "/stats/", true);
        check("/stats/a%20b?x=//y", "/stats/", true);
        check("/services/a%20b/x", "/services/a%20b/", true);
        check("/%73tats/x", "/stats/", true);
        check("/statsx/", "/stats/", false);
        check("/hub/logout", "/stats/", false);
        check("/stats/../hub/logout", "/stats/", false);
        check("/stats/%2e%2e/hub/logout", "/stats/", false);
        check("https://evil.example/stats/", "/stats/", false);
        check("//evil.example/", "/", false);
        check("/\\evil.example/", "/", false);
        check("/x\r\nSet-Cookie: a=b", "/", false);
        check("/x", "/", true);
    }
}
