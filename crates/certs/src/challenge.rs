//! What an authority asks for as a proof of a name, and where the gateway finds the answers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use rustls::sign::CertifiedKey;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trouble::Trouble;

/// Where answers to HTTP-01 are asked for (RFC 8555 §8.3), before the token.
pub const HTTP_CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";
/// The protocol by which answers to TLS-ALPN-01 are asked for (RFC 8737 §6.2).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// A way to prove that a name is ours.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum ChallengeKind {
    /// A file at port 80 (RFC 8555 §8.3)
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate at port 443 (RFC 8737)
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// A record in the DNS (RFC 8555 §8.4)
    #[serde(rename = "dns-01")]
    Dns01,
}

impl ChallengeKind {
    /// Its name in ACME and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Answers that the gateway gives to authorities; cheap to clone, all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Challenges(Arc<Answers>);

#[derive(Debug, Default)]
struct Answers {
    http: RwLock<HashMap<String, String>>,
    tls: RwLock<HashMap<String, Arc<CertifiedKey>>>,
}

impl Challenges {
    /// The answer for a request's path, if it is one of ours. For the gateway, on every listener.
    pub fn http(&self, path: &str) -> Option<String> {
        let token = path.strip_prefix(HTTP_CHALLENGE_PATH)?;
        let answers = self.0.http.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(token).cloned()
    }

    /// The certificate that answers TLS-ALPN-01 for a name.
    pub(crate) fn tls(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        let answers = self.0.tls.read().unwrap_or_else(PoisonError::into_inner);
        answers.get(&name.to_ascii_lowercase()).cloned()
    }

    /// Has a token answered with a text, until what comes back is dropped.
    #[must_use]
    pub fn answer_http(&self, token: &str, text: String) -> Answering {
        let mut answers = self.0.http.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(token.to_owned(), text);
        Answering {
            answers: Arc::clone(&self.0),
            what: What::Http(token.to_owned()),
        }
    }

    /// Has handshakes of `acme-tls/1` for a name answered with a certificate, until what comes back is dropped.
    #[must_use]
    pub(crate) fn answer_tls(&self, name: &str, certificate: Arc<CertifiedKey>) -> Answering {
        let name = name.to_ascii_lowercase();
        let mut answers = self.0.tls.write().unwrap_or_else(PoisonError::into_inner);
        answers.insert(name.clone(), certificate);
        Answering {
            answers: Arc::clone(&self.0),
            what: What::Tls(name),
        }
    }
}

/// An answer that is given until this is dropped.
#[derive(Debug)]
pub struct Answering {
    answers: Arc<Answers>,
    what: What,
}

#[derive(Debug)]
enum What {
    Http(String),
    Tls(String),
}

impl Drop for Answering {
    fn drop(&mut self) {
        match &self.what {
            What::Http(token) => {
                let mut answers = self
                    .answers
                    .http
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                answers.remove(token);
            }
            What::Tls(name) => {
                let mut answers = self
                    .answers
                    .tls
                    .write()
                    .unwrap_or_else(PoisonError::into_inner);
                answers.remove(name);
            }
        }
    }
}

/// What has to be shown for one name.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// The name without a star.
    pub name: &'a str,
    /// The token, as the path of HTTP-01 ends.
    pub token: &'a str,
    /// What is answered to HTTP-01 (RFC 8555 §8.1).
    pub key_authorization: &'a str,
    /// Its hash, for TLS-ALPN-01.
    pub digest: &'a [u8],
    /// The same as text, for the DNS.
    pub dns_value: &'a str,
}

/// Shows proofs of one kind.
#[async_trait]
pub trait Solver: fmt::Debug + Send + Sync {
    /// The kind.
    fn kind(&self) -> ChallengeKind;

    /// Shows a proof, and returns when the authority can see it; it goes away when what comes back is
    /// [cleaned up](Shown::clean_up).
    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble>;
}

/// A proof that is shown.
#[async_trait]
pub trait Shown: fmt::Debug + Send + Sync {
    /// Takes it away. What fails is for the log: the certificate does not depend on it.
    async fn clean_up(self: Box<Self>) -> Result<(), Trouble>;
}

#[async_trait]
impl Shown for Answering {
    async fn clean_up(self: Box<Self>) -> Result<(), Trouble> {
        Ok(())
    }
}

/// Shows a file at `/.well-known/acme-challenge/`.
#[derive(Debug, Clone)]
pub struct HttpSolver(pub Challenges);

#[async_trait]
impl Solver for HttpSolver {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Http01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let answering = self
            .0
            .answer_http(proof.token, proof.key_authorization.to_owned());
        Ok(Box::new(answering))
    }
}

/// Shows a certificate to handshakes of `acme-tls/1`.
#[derive(Debug, Clone)]
pub struct TlsSolver(pub Challenges);

#[async_trait]
impl Solver for TlsSolver {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::TlsAlpn01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let certificate = crate::keys::challenge_certificate(proof.name, proof.digest)?;
        let name = server_name_of(proof.name);
        Ok(Box::new(self.0.answer_tls(&name, certificate)))
    }
}

/// A name or an address as the server name of a handshake for TLS-ALPN-01 (RFC 8738 §6: addresses come reversed).
pub(crate) fn server_name_of(name: &str) -> Cow<'_, str> {
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            let [a, b, c, d] = address.octets();
            Cow::Owned(format!("{d}.{c}.{b}.{a}.in-addr.arpa"))
        }
        Ok(std::net::IpAddr::V6(address)) => {
            let mut text = String::new();
            for byte in address.octets().iter().rev() {
                let (low, high) = (byte & 0xf, byte >> 4);
                let _ = write!(text, "{low:x}.{high:x}.");
            }
            text.push_str("ip6.arpa");
            Cow::Owned(text)
        }
        Err(_) => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_given_as_long_as_they_are_held() {
        let challenges = Challenges::default();
        let held = challenges.answer_http("abc", "abc.thumb".to_owned());
        assert_eq!(
            challenges
                .http("/.well-known/acme-challenge/abc")
                .as_deref(),
            Some("abc.thumb")
        );
        assert_eq!(challenges.http("/.well-known/acme-challenge/abd"), None);
        assert_eq!(challenges.http("/abc"), None);
        drop(held);
        assert_eq!(challenges.http("/.well-known/acme-challenge/abc"), None);
    }

    #[tokio::test]
    async fn certificates_that_prove_a_name_are_found_by_it() {
        let challenges = Challenges::default();
        let solver = TlsSolver(challenges.clone());
        for (name, asked) in [
            ("hub.example.org", "HUB.example.org"),
            ("192.0.2.7", "7.2.0.192.in-addr.arpa"),
        ] {
            let proof = Proof {
                name,
                token: "token",
                key_authorization: "token.thumb",
                digest: &[7; 32],
                dns_value: "value",
            };
            let shown = solver.show(proof).await.unwrap();
            assert!(challenges.tls(asked).is_some(), "{asked}");
            shown.clean_up().await.unwrap();
            assert!(challenges.tls(asked).is_none(), "{asked}");
        }
    }
}
