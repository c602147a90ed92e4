//! Protection against requests that another site makes a browser send (XSRF): tokens, and when they are asked for.
//!
//! A token is bound to the browser's session and to who is logged in, and to nothing else. JupyterHub binds the
//! token of a login page to the client's address and `User-Agent`, which fails for people whose address changes
//! between page and submission (mobile networks, several proxies). The login page here always sets the session
//! cookie, so there is something better to bind to. Tokens do not expire either: as long as the
//! session cookie is there, the form works. JupyterHub's clients never compute a token, so its form is free.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// The key of all tokens; derived from the hub's cookie secret or kept beside it.
#[derive(Clone)]
pub struct XsrfKey(Hmac<Sha256>);

/// What a token is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding<'a> {
    session: &'a str,
    login: Option<&'a str>,
}

/// Why a request's token is not accepted. The text is for the log; people are asked to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum XsrfError {
    /// The browser sent no session cookie, so no token can be right: cookies are blocked or were cleared.
    #[error("the request carries no session cookie, so its XSRF token cannot be checked")]
    NoSession,
    /// The request has no token.
    #[error("the request carries no XSRF token")]
    Missing,
    /// The token was made for the same browser before somebody logged in: the page is older than the login.
    #[error("the XSRF token is from a page that was opened before the login")]
    BeforeLogin,
    /// The token is another session's, another user's, or forged.
    #[error("the XSRF token belongs to another session or user")]
    Mismatch,
}

impl<'a> Binding<'a> {
    /// Binds to a session (the value of its cookie) and to a login (an id that is new for each login, or the
    /// user's); without a session there is nothing to bind to.
    pub fn new(session: Option<&'a str>, login: Option<&'a str>) -> Result<Self, XsrfError> {
        match session {
            Some(session) if !session.is_empty() => Ok(Self { session, login }),
            _ => Err(XsrfError::NoSession),
        }
    }
}

impl XsrfKey {
    /// Takes a secret of any length; 32 random bytes are right.
    pub fn new(secret: &[u8]) -> Self {
        // The label keeps these MACs apart from others made with the same secret.
        let mut derive = keyed(secret);
        derive.update(b"xsrf");
        Self(keyed(&derive.finalize().into_bytes()))
    }

    /// Makes the token of a binding: always the same, 43 characters that are safe in cookies, URLs and forms.
    pub fn token(&self, binding: Binding<'_>) -> String {
        let mut mac = self.0.clone();
        // The length keeps `ab`+`c` and `a`+`bc` apart, the marker no login and an empty one.
        let length = u64::try_from(binding.session.len()).unwrap_or(u64::MAX);
        mac.update(&length.to_be_bytes());
        mac.update(binding.session.as_bytes());
        match binding.login {
            None => mac.update(&[0]),
            Some(login) => {
                mac.update(&[1]);
                mac.update(login.as_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// Checks, in constant time, the token that a request carries as argument or header.
    pub fn verify(&self, binding: Binding<'_>, token: Option<&str>) -> Result<(), XsrfError> {
        let token = token
            .filter(|token| !token.is_empty())
            .ok_or(XsrfError::Missing)?;
        if self.is_token_of(binding, token) {
            return Ok(());
        }
        let anonymous = Binding {
            login: None,
            ..binding
        };
        if binding.login.is_some() && self.is_token_of(anonymous, token) {
            return Err(XsrfError::BeforeLogin);
        }
        Err(XsrfError::Mismatch)
    }

    fn is_token_of(&self, binding: Binding<'_>, token: &str) -> bool {
        self.token(binding)
            .as_bytes()
            .ct_eq(token.as_bytes())
            .into()
    }
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    #[expect(
        clippy::expect_used,
        reason = "HMAC hashes keys that are too long and pads the others"
    )]
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}

impl fmt::Debug for XsrfKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// What a request says of itself, as far as XSRF is concerned.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The method, in upper case.
    pub method: &'a str,
    /// `Sec-Fetch-Mode`; browsers leave it out on addresses that are neither https nor loopback.
    pub fetch_mode: Option<&'a str>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// Whether the request is for the API and not for a page.
    pub is_api: bool,
    /// Whether the request has proved itself with a token; another site cannot make a browser send one.
    pub by_token: bool,
}

impl RequestFacts<'_> {
    fn is_read_only(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }

    /// Whether the request needs an XSRF token (JupyterHub `_xsrf_utils._needs_check_xsrf`).
    ///
    /// Reading a page never does. Reading the API does when a script does it, since a script sees the answer.
    /// A WebSocket does not: whoever offers one checks its `Origin`.
    pub fn needs_token(&self) -> bool {
        if self.by_token {
            return false;
        }
        if !self.is_read_only() {
            return true;
        }
        let exempt = match self.fetch_mode {
            None | Some("navigate" | "websocket") => true,
            Some("no-cors") => self.fetch_site == Some("same-origin"),
            Some(_) => false,
        };
        self.is_api && !exempt
    }

    /// Whether the answer may set the `_xsrf` cookie: only where a person navigates, so that requests in
    /// the background do not replace the token of the page that is open.
    pub fn may_set_cookie(&self) -> bool {
        !self.is_api && matches!(self.fetch_mode, None | Some("navigate"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> XsrfKey {
        XsrfKey::new(b"0123456789abcdef0123456789abcdef")
    }

    fn binding<'a>(session: &'a str, login: Option<&'a str>) -> Binding<'a> {
        Binding::new(Some(session), login).unwrap()
    }

    #[test]
    fn a_token_works_for_its_session_and_login_only() {
        let ada = binding("s1", Some("ada-1"));
        let token = key().token(ada);
        assert_eq!(token.len(), 43);
        assert_eq!(token, key().token(ada));
        assert_eq!(key().verify(ada, Some(&token)), Ok(()));
        for other in [
            binding("s2", Some("ada-1")),
            binding("s1", Some("bob-1")),
            binding("s1", None),
            binding("s1", Some("")),
            binding("s1ada-1", None),
        ] {
            assert_eq!(
                key().verify(other, Some(&token)),
                Err(XsrfError::Mismatch),
                "{other:?}"
            );
        }
        let other_hub = XsrfKey::new(b"another");
        assert_eq!(
            other_hub.verify(ada, Some(&token)),
            Err(XsrfError::Mismatch)
        );
    }

    #[test]
    fn the_cause_of_a_failure_is_told() {
        let (before, after) = (binding("s1", None), binding("s1", Some("ada-1")));
        let old = key().token(before);
        assert_eq!(key().verify(before, Some(&old)), Ok(()));
        assert_eq!(key().verify(after, Some(&old)), Err(XsrfError::BeforeLogin));
        assert_eq!(key().verify(after, None), Err(XsrfError::Missing));
        assert_eq!(key().verify(after, Some("")), Err(XsrfError::Missing));
        assert_eq!(key().verify(after, Some("ü")), Err(XsrfError::Mismatch));
        assert_eq!(Binding::new(None, None), Err(XsrfError::NoSession));
        assert_eq!(
            Binding::new(Some(""), Some("ada")),
            Err(XsrfError::NoSession)
        );
        assert_eq!(format!("{:?}", key()), "[secret]");
    }

    fn check(method: &str, mode: Option<&str>, site: Option<&str>, page: bool, api: bool) {
        let facts = |is_api| RequestFacts {
            method,
            fetch_mode: mode,
            fetch_site: site,
            is_api,
            by_token: false,
        };
        assert_eq!(
            facts(false).needs_token(),
            page,
            "page: {method} {mode:?} {site:?}"
        );
        assert_eq!(
            facts(true).needs_token(),
            api,
            "api: {method} {mode:?} {site:?}"
        );
        for is_api in [false, true] {
            let by_token = RequestFacts {
                by_token: true,
                ..facts(is_api)
            };
            assert!(!by_token.needs_token());
        }
    }

    #[test]
    fn tokens_are_asked_for_as_in_jupyterhub() {
        let sites = [
            None,
            Some("same-origin"),
            Some("same-site"),
            Some("cross-site"),
            Some("none"),
        ];
        let modes = [
            None,
            Some("navigate"),
            Some("cors"),
            Some("no-cors"),
            Some("same-origin"),
            Some("websocket"),
            Some("?"),
        ];
        for site in sites {
            for method in ["GET", "HEAD", "OPTIONS"] {
                check(method, None, site, false, false);
                check(method, Some("navigate"), site, false, false);
                check(method, Some("websocket"), site, false, false);
                check(
                    method,
                    Some("no-cors"),
                    site,
                    false,
                    site != Some("same-origin"),
                );
                for mode in ["cors", "same-origin", "", "?"] {
                    check(method, Some(mode), site, false, true);
                }
            }
            for method in ["POST", "PUT", "PATCH", "DELETE", "get", "BREW"] {
                for mode in modes {
                    check(method, mode, site, true, true);
                }
            }
        }
    }

    #[test]
    fn the_cookie_is_set_on_navigation_only() {
        let may = |fetch_mode, is_api| {
            RequestFacts {
                method: "GET",
                fetch_mode,
                fetch_site: None,
                is_api,
                by_token: false,
            }
            .may_set_cookie()
        };
        assert!(may(None, false) && may(Some("navigate"), false));
        assert!(!may(Some("cors"), false) && !may(Some("no-cors"), false));
        assert!(!may(None, true));
    }

    proptest! {
        #[test]
        fn different_bindings_have_different_tokens(
            session in "[a-z0-9]{1,4}", login in prop::option::of("[a-z0-9]{0,4}"),
            other_session in "[a-z0-9]{1,4}", other_login in prop::option::of("[a-z0-9]{0,4}"),
        ) {
            let one = binding(&session, login.as_deref());
            let other = binding(&other_session, other_login.as_deref());
            prop_assert_eq!(one == other, key().token(one) == key().token(other));
        }
    }
}
