//! The rules of the OAuth2 provider, as pure functions: one grant (authorization code, with PKCE), for
//! users' servers and services.
//!
//! The steps of a login are [`AuthorizeParams::check`], [`resolve_grant`], [`needs_confirmation`], a code;
//! then [`TokenRequest::parse`], [`TokenRequest::check_code`], a token. Looking up clients, roles and codes is
//! the caller's. Behaviour as in JupyterHub 6 (`oauth/provider.py`, `apihandlers/auth.py`) with oauthlib 4.

mod authorize;
mod grant;
mod pkce;
mod token_request;

use std::time::Duration;

use crate::random;

pub use authorize::{
    AuthorizeError, AuthorizeParams, AuthorizeRequest, Client, PageError, Refusal,
};
pub use grant::{
    Asked, Grantor, InvalidScope, Offer, may_open, needs_confirmation, required_scopes,
    resolve_grant,
};
pub use pkce::{ChallengeMethod, CodeChallenge, PkceError};
pub use token_request::{StoredCode, TokenError, TokenRequest, TokenResponse};

/// How long an authorization code may be exchanged for a token.
pub const CODE_LIFETIME: Duration = Duration::from_mins(5);

/// How many letters and digits a code and an access token have.
const SECRET_CHARS: usize = 30;

/// Makes a fresh authorization code: 30 letters and digits.
pub fn new_code() -> String {
    random::alphanumeric(SECRET_CHARS)
}

/// Makes a fresh access token: 30 letters and digits.
pub fn new_access_token() -> String {
    random::alphanumeric(SECRET_CHARS)
}

#[cfg(test)]
mod tests;
