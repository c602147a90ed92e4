//! The authorization request: what a browser brings from a server or service that wants to know who it is.
//!
//! Until the client and its redirect URI are known to be right, errors are shown on a page of ours; after
//! that they are told to the client (RFC 6749 §4.1.2.1). A wrong URI is never redirected to.

use thiserror::Error;

use super::grant::InvalidScope;
use super::pkce::{CodeChallenge, PkceError};
use crate::escape;

/// The parameters that a request may carry only once.
const SINGLE: [&str; 7] = [
    "client_id",
    "response_type",
    "redirect_uri",
    "scope",
    "state",
    "code_challenge",
    "code_challenge_method",
];

/// The parameters of an authorization request, not yet checked.
#[derive(Debug, Clone, Default)]
pub struct AuthorizeParams {
    values: [Option<String>; 7],
    duplicate: Option<&'static str>,
}

/// What must be known of a client to check its request.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The client's identifier.
    pub id: &'a str,
    /// Whether the client has a secret; without one it cannot log anybody in.
    pub has_secret: bool,
    /// The one redirect URI that is registered, an absolute path or a URL.
    pub redirect_uri: &'a str,
}

/// A request whose client and redirect URI are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizeRequest {
    /// Who asks.
    pub client_id: String,
    /// Where the answer goes: exactly what is registered.
    pub redirect_uri: String,
    /// What the client wants to get back unchanged.
    pub state: Option<String>,
    /// The scopes or roles that are asked for; empty for all that the client may have.
    pub scopes: Vec<String>,
    /// The challenge to which the code is bound.
    pub challenge: Option<CodeChallenge>,
}

/// Why a request cannot be answered with a code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthorizeError {
    /// Show a page, with status 400.
    #[error(transparent)]
    Page(#[from] PageError),
    /// Tell the client: redirect to `location`.
    #[error("{refusal}")]
    Redirect {
        /// The redirect URI with the error in its query.
        location: String,
        /// What is wrong.
        refusal: Refusal,
    },
}

/// What is wrong with a request whose client is not known to be right. All are status 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PageError {
    /// There is no client id.
    #[error("the request names no application (client_id is missing)")]
    NoClientId,
    /// There is no such client, or it has no secret.
    #[error(
        "the application that asks is not known here; its server may have been stopped meanwhile"
    )]
    UnknownClient,
    /// The redirect URI is not the registered one.
    #[error(
        "the address to return to (redirect_uri) is not the one that the application registered"
    )]
    RedirectUri,
    /// A parameter is given more than once.
    #[error("the request gives {0} more than once")]
    Duplicate(&'static str),
}

/// An error that the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The user said no.
    #[error("the user refused")]
    AccessDenied,
    /// Something other than a code is asked for.
    #[error("only response_type=code is supported")]
    UnsupportedResponseType,
    /// Unknown scopes, or more than the client may ask for.
    #[error("a requested scope does not exist or is not allowed for this application")]
    InvalidScope,
    /// A parameter is missing or wrong.
    #[error("{0}")]
    InvalidRequest(&'static str),
}

impl Refusal {
    /// The error's name on the wire (RFC 6749 §4.1.2.1).
    pub const fn code(self) -> &'static str {
        match self {
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidRequest(_) => "invalid_request",
        }
    }
}

impl AuthorizeParams {
    /// Takes the decoded pairs of a query; others than the known ones are ignored.
    pub fn from_pairs<K: AsRef<str>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut params = Self::default();
        for (key, value) in pairs {
            for (slot, name) in params.values.iter_mut().zip(SINGLE) {
                if name != key.as_ref() {
                    continue;
                }
                if slot.is_some() {
                    params.duplicate = Some(name);
                }
                *slot = Some(value.into());
                break;
            }
        }
        params
    }

    /// The client to look up.
    pub fn client_id(&self) -> Result<&str, PageError> {
        if let Some(name) = self.duplicate {
            return Err(PageError::Duplicate(name));
        }
        let [client_id, ..] = &self.values;
        client_id
            .as_deref()
            .filter(|id| !id.is_empty())
            .ok_or(PageError::NoClientId)
    }

    /// Checks the request of a client that was looked up; `None` if there is none of that id.
    ///
    /// A missing redirect URI means the registered one; a given one must be equal to it, byte for byte.
    pub fn check(
        self,
        client: Option<Client<'_>>,
        require_pkce: bool,
    ) -> Result<AuthorizeRequest, AuthorizeError> {
        let client_id = self.client_id()?.to_owned();
        let client = client
            .filter(|client| client.has_secret && client.id == client_id)
            .ok_or(PageError::UnknownClient)?;
        let [
            _,
            response_type,
            redirect_uri,
            scope,
            state,
            challenge,
            method,
        ] = self.values;
        if redirect_uri.is_some_and(|uri| uri != client.redirect_uri)
            || client.redirect_uri.is_empty()
        {
            return Err(PageError::RedirectUri.into());
        }
        let mut request = AuthorizeRequest {
            client_id,
            redirect_uri: client.redirect_uri.to_owned(),
            state,
            scopes: scope
                .unwrap_or_default()
                .split_ascii_whitespace()
                .map(str::to_owned)
                .collect(),
            challenge: None,
        };
        match response_type.as_deref() {
            Some("code") => {}
            None => {
                return Err(request.error(Refusal::InvalidRequest("response_type is missing")));
            }
            Some(_) => return Err(request.error(Refusal::UnsupportedResponseType)),
        }
        match challenge {
            Some(challenge) => match CodeChallenge::parse(method.as_deref(), &challenge) {
                Ok(challenge) => request.challenge = Some(challenge),
                Err(PkceError::Method) => {
                    let text = "code_challenge_method must be S256 or plain";
                    return Err(request.error(Refusal::InvalidRequest(text)));
                }
                Err(PkceError::Challenge) => {
                    let text = "code_challenge is malformed";
                    return Err(request.error(Refusal::InvalidRequest(text)));
                }
            },
            None if require_pkce => {
                let text = "code_challenge is required";
                return Err(request.error(Refusal::InvalidRequest(text)));
            }
            None => {}
        }
        Ok(request)
    }
}

impl AuthorizeRequest {
    /// Where the browser goes with its code.
    pub fn accept(&self, code: &str) -> String {
        self.location(&[("code", code)])
    }

    /// Where the browser goes without one.
    pub fn refuse(&self, refusal: Refusal) -> String {
        self.location(&[
            ("error", refusal.code()),
            ("error_description", &refusal.to_string()),
        ])
    }

    /// Turns scopes that cannot be granted into the error that the client is told.
    pub fn invalid_scope(&self, _: &InvalidScope) -> AuthorizeError {
        self.error(Refusal::InvalidScope)
    }

    fn error(&self, refusal: Refusal) -> AuthorizeError {
        AuthorizeError::Redirect {
            location: self.refuse(refusal),
            refusal,
        }
    }

    fn location(&self, params: &[(&str, &str)]) -> String {
        let (uri, fragment) = match self.redirect_uri.split_once('#') {
            Some((uri, fragment)) => (uri, Some(fragment)),
            None => (self.redirect_uri.as_str(), None),
        };
        let mut location = uri.to_owned();
        let mut separator = if uri.contains('?') { '&' } else { '?' };
        let state = self.state.as_deref().map(|state| ("state", state));
        for (key, value) in params.iter().copied().chain(state) {
            location.push(separator);
            location.push_str(key);
            location.push('=');
            location.push_str(&escape::query_value(value));
            separator = '&';
        }
        if let Some(fragment) = fragment {
            location.push('#');
            location.push_str(fragment);
        }
        location
    }
}
