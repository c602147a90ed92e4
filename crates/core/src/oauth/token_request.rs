//! The token request: a server or service redeems its code.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::pkce::CodeChallenge;
use crate::clock::Timestamp;
use crate::secret::Secret;

/// The form fields that a request may carry only once.
const SINGLE: [&str; 7] = [
    "grant_type",
    "code",
    "redirect_uri",
    "client_id",
    "client_secret",
    "code_verifier",
    "refresh_token",
];

/// A request to redeem a code, or for something that is not offered. Its client is not yet authenticated.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    /// Who asks.
    pub client_id: String,
    /// What the client proves itself with; an empty one proves nothing.
    pub client_secret: Secret<String>,
    /// The code.
    pub code: Secret<String>,
    redirect_uri: Option<String>,
    verifier: Option<Secret<String>>,
    refresh: bool,
}

/// A stored code, as far as redeeming it is concerned.
#[derive(Debug, Clone, Copy)]
pub struct StoredCode<'a> {
    /// For which client it was issued.
    pub client_id: &'a str,
    /// Where it was sent.
    pub redirect_uri: &'a str,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// The challenge of the request that it answers.
    pub challenge: Option<&'a CodeChallenge>,
}

/// Why there is no token; the JSON that the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// A field is missing, doubled or wrong.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// The client is not known, or its secret is wrong.
    #[error("the client is unknown or its secret is wrong")]
    InvalidClient,
    /// The code is unknown, used, expired, another client's, or the verifier is wrong.
    #[error("the code is not valid, or not any more")]
    InvalidGrant,
    /// The client may not use this grant.
    #[error("refresh tokens are not issued here")]
    UnauthorizedClient,
    /// Something other than a code is offered.
    #[error("only grant_type=authorization_code is supported")]
    UnsupportedGrantType,
}

impl TokenError {
    /// The error's name on the wire (RFC 6749 §5.2).
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
        }
    }

    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            _ => 400,
        }
    }

    /// A header that the answer has beyond [`TokenResponse::HEADERS`].
    pub const fn header(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::InvalidClient => Some(("www-authenticate", "Bearer error=\"invalid_client\"")),
            _ => None,
        }
    }

    /// The body of the answer.
    pub fn body(self) -> serde_json::Value {
        serde_json::json!({"error": self.code(), "error_description": self.to_string()})
    }
}

impl TokenRequest {
    /// Takes the decoded pairs of a form; others than the known ones are ignored.
    ///
    /// Credentials count in the body only; a client without any is [`TokenError::InvalidClient`].
    pub fn parse<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, TokenError> {
        let mut values: [Option<String>; 7] = Default::default();
        for (key, value) in pairs {
            for (slot, name) in values.iter_mut().zip(SINGLE) {
                if name == key.as_ref() {
                    if slot.replace(value.into()).is_some() {
                        return Err(TokenError::InvalidRequest(
                            "a field is given more than once",
                        ));
                    }
                    break;
                }
            }
        }
        let [
            grant_type,
            code,
            redirect_uri,
            client_id,
            client_secret,
            verifier,
            refresh_token,
        ] = values;
        let (code, refresh) = match grant_type.as_deref() {
            Some("authorization_code") => {
                let missing = TokenError::InvalidRequest("code is missing");
                (code.ok_or(missing)?, false)
            }
            Some("refresh_token") => {
                let missing = TokenError::InvalidRequest("refresh_token is missing");
                (refresh_token.map(|_| String::new()).ok_or(missing)?, true)
            }
            _ => return Err(TokenError::UnsupportedGrantType),
        };
        let (Some(client_id), Some(client_secret)) = (client_id, client_secret) else {
            return Err(TokenError::InvalidClient);
        };
        if client_id.is_empty() || client_secret.is_empty() {
            return Err(TokenError::InvalidClient);
        }
        Ok(Self {
            client_id,
            client_secret: client_secret.into(),
            code: code.into(),
            redirect_uri,
            verifier: verifier.map(Into::into),
            refresh,
        })
    }

    /// Checks, for a client that has proved itself, that it asks for something that is offered: nobody gets a new
    /// token for an old one.
    pub fn check_grant(&self) -> Result<(), TokenError> {
        if self.refresh {
            Err(TokenError::UnauthorizedClient)
        } else {
            Ok(())
        }
    }

    /// Checks the code of a client that has proved itself; `None` if there is no such code.
    ///
    /// The caller deletes the code before it issues the token, so that a code is redeemed once.
    pub fn check_code(
        &self,
        stored: Option<StoredCode<'_>>,
        now: Timestamp,
        require_pkce: bool,
    ) -> Result<(), TokenError> {
        let stored = stored
            .filter(|code| code.client_id == self.client_id && now < code.expires_at)
            .ok_or(TokenError::InvalidGrant)?;
        match (stored.challenge, &self.verifier) {
            (Some(challenge), Some(verifier)) => {
                if !challenge.verify(verifier.expose()) {
                    return Err(TokenError::InvalidGrant);
                }
            }
            (Some(_), None) => {
                return Err(TokenError::InvalidRequest("code_verifier is missing"));
            }
            (None, None) if require_pkce => {
                return Err(TokenError::InvalidRequest("code_verifier is missing"));
            }
            (None, Some(_)) if require_pkce => return Err(TokenError::InvalidGrant),
            // A verifier for a code that was asked for without a challenge is ignored.
            (None, _) => {}
        }
        match &self.redirect_uri {
            Some(uri) if uri != stored.redirect_uri => Err(TokenError::InvalidRequest(
                "redirect_uri is not the one that the code was sent to",
            )),
            _ => Ok(()),
        }
    }
}

/// The answer with a token.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenResponse {
    /// The token.
    pub access_token: String,
    /// Its life, in seconds.
    pub expires_in: u64,
    /// Always `Bearer`.
    pub token_type: String,
    /// The raw scopes granted, separated by spaces.
    pub scope: String,
}

impl TokenResponse {
    /// The headers of every answer of the token endpoint, good or bad.
    pub const HEADERS: [(&'static str, &'static str); 3] = [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("pragma", "no-cache"),
    ];

    /// Prepares the answer.
    pub fn new(access_token: &Secret<String>, expires_in: u64, scopes: &[String]) -> Self {
        Self {
            access_token: access_token.expose().clone(),
            expires_in,
            token_type: "Bearer".to_owned(),
            scope: scopes.join(" "),
        }
    }
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("expires_in", &self.expires_in)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}
