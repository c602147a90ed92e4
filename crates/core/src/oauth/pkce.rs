//! PKCE (RFC 7636): proof that who redeems a code is who asked for it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

/// The longest challenge and verifier, in characters (RFC 7636 §4.1).
const MAX_CHARS: usize = 128;

/// How a verifier becomes a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeMethod {
    /// The challenge is the verifier; the default when a client names no method.
    Plain,
    /// The challenge is the verifier's SHA-256, in base64url without padding.
    S256,
}

impl ChallengeMethod {
    /// The method's name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::S256 => "S256",
        }
    }

    /// Reads a method's name.
    pub fn parse(name: &str) -> Result<Self, PkceError> {
        match name {
            "plain" => Ok(Self::Plain),
            "S256" => Ok(Self::S256),
            _ => Err(PkceError::Method),
        }
    }
}

/// What is wrong with a request's challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PkceError {
    /// The method is neither `S256` nor `plain`.
    #[error("the code challenge method is not supported; use S256")]
    Method,
    /// The challenge has no or too many characters, or others than RFC 7636 allows.
    #[error("the code challenge is malformed")]
    Challenge,
}

/// A challenge, bound to an authorization code.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeChallenge {
    method: ChallengeMethod,
    challenge: String,
}

impl CodeChallenge {
    /// Takes the challenge of a request; without a method it is `plain`.
    pub fn parse(method: Option<&str>, challenge: &str) -> Result<Self, PkceError> {
        let method = method.map_or(Ok(ChallengeMethod::Plain), ChallengeMethod::parse)?;
        let good = (1..=MAX_CHARS).contains(&challenge.len())
            && challenge
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_' | b'~'));
        if good {
            Ok(Self {
                method,
                challenge: challenge.to_owned(),
            })
        } else {
            Err(PkceError::Challenge)
        }
    }

    /// The method, to store it.
    pub fn method(&self) -> ChallengeMethod {
        self.method
    }

    /// The challenge's text, to store it.
    pub fn as_str(&self) -> &str {
        &self.challenge
    }

    /// Tells, in constant time, whether `verifier` is what the challenge was made from.
    pub fn verify(&self, verifier: &str) -> bool {
        if verifier.len() > MAX_CHARS {
            return false;
        }
        let answer = match self.method {
            ChallengeMethod::Plain => verifier.to_owned(),
            ChallengeMethod::S256 => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        };
        answer.as_bytes().ct_eq(self.challenge.as_bytes()).into()
    }
}

impl fmt::Debug for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A plain challenge is the secret itself.
        write!(f, "CodeChallenge({})", self.method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_verifies() {
        // RFC 7636, appendix B.
        let challenge =
            CodeChallenge::parse(Some("S256"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
                .unwrap();
        assert!(challenge.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert!(!challenge.verify("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl"));
        assert!(!challenge.verify("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert!(!challenge.verify(""));
    }

    #[test]
    fn without_a_method_the_challenge_is_plain() {
        let challenge = CodeChallenge::parse(None, "some-verifier").unwrap();
        assert_eq!(challenge.method(), ChallengeMethod::Plain);
        assert!(challenge.verify("some-verifier"));
        assert!(!challenge.verify("some-verifie"));
        assert_eq!(format!("{challenge:?}"), "CodeChallenge(plain)");
    }

    #[test]
    fn bad_methods_and_challenges_are_refused() {
        assert_eq!(
            CodeChallenge::parse(Some("s256"), "abc"),
            Err(PkceError::Method)
        );
        assert_eq!(
            CodeChallenge::parse(Some(""), "abc"),
            Err(PkceError::Method)
        );
        for challenge in ["", "a b", "a+b/c=", "á", &"x".repeat(129)] {
            assert_eq!(
                CodeChallenge::parse(Some("S256"), challenge),
                Err(PkceError::Challenge),
                "{challenge}"
            );
        }
    }
}
