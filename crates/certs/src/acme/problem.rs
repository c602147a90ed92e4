//! What an authority says, in plain words: what its problems mean, and what to do about each.

use std::fmt;

use instant_acme::Error;
use serde::Deserialize;

use self::meaning::{Meaning, hint_for, meaning};
pub(super) use self::transport::failed;
use super::http::Failure;
use crate::challenge::ChallengeKind;
use crate::trouble::{Trouble, TroubleKind};

mod meaning;
mod transport;

/// What all types of problems begin with (RFC 8555 §6.7).
const PREFIX: &str = "urn:ietf:params:acme:error:";

/// A problem in the authority's words (RFC 7807).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Said {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    instance: Option<String>,
    #[serde(default)]
    subproblems: Vec<Part>,
}

/// A problem with one of several names (RFC 8555 §6.7.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Part {
    #[serde(default)]
    identifier: Option<Identifier>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    detail: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Identifier {
    value: String,
}

/// A proof that was not found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proving<'a> {
    /// The name.
    pub(super) name: &'a str,
    /// How it was to be proven.
    pub(super) kind: ChallengeKind,
    /// The names of the authority in CAA records, if they are known.
    pub(super) caa_identities: &'a [String],
}

impl Said {
    /// Reads one from an answer's body.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let said: Self = serde_json::from_slice(body).ok()?;
        (said.kind.is_some() || said.detail.is_some()).then_some(said)
    }

    /// The type without what all begin with.
    pub(super) fn kind(&self) -> &str {
        let kind = self.kind.as_deref().unwrap_or_default();
        kind.strip_prefix(PREFIX).unwrap_or(kind)
    }

    /// What is said, with the types, the whole first.
    fn causes(&self) -> Vec<String> {
        let mut causes = vec![self.to_string()];
        for part in &self.subproblems {
            let text = worded(part.kind.as_deref(), part.detail.as_deref());
            causes.push(match &part.identifier {
                Some(identifier) => format!("for {}: {text}", identifier.value),
                None => text,
            });
        }
        causes
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&worded(self.kind.as_deref(), self.detail.as_deref()))
    }
}

fn worded(kind: Option<&str>, detail: Option<&str>) -> String {
    let kind = kind.map(|kind| kind.strip_prefix(PREFIX).unwrap_or(kind));
    match (kind, detail) {
        (Some(kind), Some(detail)) => format!("{} ({kind})", detail.trim_end_matches('.')),
        (Some(text), None) | (None, Some(text)) => text.to_owned(),
        (None, None) => "no reason was given".to_owned(),
    }
}

impl From<&instant_acme::Problem> for Said {
    fn from(problem: &instant_acme::Problem) -> Self {
        let parts = problem.subproblems.iter().map(|part| Part {
            identifier: part.identifier.as_ref().map(|identifier| Identifier {
                value: identifier.authorized(false).to_string(),
            }),
            kind: part.r#type.clone(),
            detail: part.detail.clone(),
        });
        Self {
            kind: problem.r#type.clone(),
            detail: problem.detail.clone(),
            instance: None,
            subproblems: parts.collect(),
        }
    }
}

/// What the authority has said, if it was the authority that failed us.
pub(super) fn said(error: &Error) -> Option<Said> {
    match error {
        Error::Api(problem) => Some(problem.into()),
        Error::Other(inner) => match inner.downcast_ref::<Failure>() {
            Some(Failure::Refused(refusal)) => refusal.said.clone(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether it said a certain thing.
pub(super) fn is(error: &Error, kinds: &[&str]) -> bool {
    said(error).is_some_and(|said| kinds.contains(&said.kind()))
}

/// Whether the same request can be signed and sent again at once: nonces wear out (RFC 8555 §6.5).
pub(super) fn is_bad_nonce(error: &Error) -> bool {
    is(error, &["badNonce"])
}

/// Whether a thing that we have asked for is not there (any more).
pub(super) fn is_gone(error: &Error) -> bool {
    match error {
        Error::Other(inner) => match inner.downcast_ref::<Failure>() {
            Some(Failure::Refused(refusal)) => match refusal.status.as_u16() {
                404 | 410 => true,
                // Else it may be a proxy that says so.
                401 | 403 => refusal.said.is_some(),
                _ => false,
            },
            _ => false,
        },
        _ => is(error, &["malformed", "unauthorized"]),
    }
}

/// Tells any error of the library.
pub(super) fn trouble(error: &Error) -> Trouble {
    match error {
        Error::Api(problem) => explain(&problem.into(), None),
        Error::Other(inner) => match inner.downcast_ref::<Failure>() {
            Some(failure) => failed(failure),
            None => not_understood().caused_by(inner.as_ref()),
        },
        Error::Crypto | Error::KeyRejected => Trouble::new(
            TroubleKind::Account,
            "the key of the account cannot be used",
            "move the account's file away, and a new account is made",
        )
        .caused_by(error),
        error => not_understood().caused_by(error),
    }
}

/// Tells that an answer makes no sense.
pub(super) fn not_understood() -> Trouble {
    Trouble::new(
        TroubleKind::Unreachable,
        "the authority's answer cannot be understood",
        "check that `tls.acme.directory` is the URL of an ACME directory; else it is the authority's fault, and it is \
         tried again",
    )
}

/// Tells what the authority has said; of a proof, if it was about one.
pub(super) fn explain(said: &Said, proving: Option<&Proving<'_>>) -> Trouble {
    let Meaning(kind, what, hint) = meaning(said.kind());
    let mut trouble = Trouble::new(kind, what, hint);
    if let Some(proving) = proving {
        // Whatever it means elsewhere: here it is the proof that has failed.
        if !matches!(
            kind,
            TroubleKind::Refused | TroubleKind::RateLimited | TroubleKind::Unreachable
        ) {
            trouble.kind = TroubleKind::NotProven;
            trouble.what = format!(
                "the authority did not find the proof of {} by {}",
                proving.name, proving.kind
            );
        }
        if let Some(better) = hint_for(said.kind(), proving) {
            trouble.hint = better;
        }
    }
    if said.kind() == "userActionRequired"
        && let Some(url) = &said.instance
    {
        trouble.hint = format!("read {url}, and do what it says");
    }
    trouble.causes = said.causes();
    trouble
}

#[cfg(test)]
mod tests;
