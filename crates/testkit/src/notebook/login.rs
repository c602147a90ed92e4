//! Who a visitor is: the token in the cookie or the request, and the OAuth dance for those who have none.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use lyceum_core::{escape, random};
use sha2::{Digest as _, Sha256};

use super::Settings;

/// Logins that have begun.
#[derive(Debug, Default)]
pub(super) struct Logins {
    begun: Mutex<HashMap<String, Begun>>,
}

/// What must be remembered of a login between its two ends.
#[derive(Debug)]
pub(super) struct Begun {
    /// The secret of PKCE.
    pub(super) verifier: String,
    /// Where the visitor wanted to go.
    pub(super) next: String,
}

/// The first half of a login.
#[derive(Debug)]
pub(super) struct Redirect {
    /// The hub's page.
    pub(super) location: String,
    /// The cookie by which the second half knows the browser again.
    pub(super) cookie: String,
}

impl Logins {
    /// Begins a login for a visitor who wants to see `next`.
    pub(super) fn begin(&self, settings: &Settings, next: &str) -> Redirect {
        let state = random::url_safe(16);
        let verifier = random::url_safe(48);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&verifier));
        let mut location = format!(
            "{}{}hub/api/oauth2/authorize?response_type=code&code_challenge_method=S256",
            settings.hub_host, settings.base_url
        );
        for (key, value) in [
            ("client_id", settings.client_id.as_str()),
            ("redirect_uri", &settings.callback_url),
            ("state", &state),
            ("code_challenge", &challenge),
        ] {
            location.push_str(&format_args!("&{key}={}", escape::query_value(value)).to_string());
        }
        let cookie = format!(
            "{}={state}; Path={}; HttpOnly; Max-Age=600",
            state_cookie(settings),
            settings.prefix
        );
        let next = next.to_owned();
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(state, Begun { verifier, next });
        Redirect { location, cookie }
    }

    /// Takes up a login again; each state is good once.
    pub(super) fn finish(&self, state: &str) -> Option<Begun> {
        self.begun
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(state)
    }
}

/// The name of the cookie that holds the state of a login.
pub(super) fn state_cookie(settings: &Settings) -> String {
    format!("{}-oauth-state", settings.client_id)
}

/// The cookie that keeps a visitor logged in.
pub(super) fn token_cookie(settings: &Settings, token: &str) -> String {
    format!(
        "{}={token}; Path={}; HttpOnly",
        settings.client_id, settings.prefix
    )
}

/// Finds a cookie of a request.
pub(super) fn cookie(request: &Parts, name: &str) -> Option<String> {
    request
        .headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(cookie::Cookie::split_parse)
        .filter_map(Result::ok)
        .find(|cookie| cookie.name() == name)
        .map(|cookie| cookie.value().to_owned())
}

/// Finds the token of a request: in the header, in the address, or in the cookie of an earlier login.
pub(super) fn token(request: &Parts, settings: &Settings) -> Option<String> {
    let from_header = request
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer")
        })
        .map(|(_, token)| token.trim().to_owned());
    from_header
        .or_else(|| argument(request, "token"))
        .or_else(|| cookie(request, &settings.client_id))
}

/// Finds an argument in the query of a request.
pub(super) fn argument(request: &Parts, name: &str) -> Option<String> {
    form_urlencoded::parse(request.uri.query()?.as_bytes())
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}
