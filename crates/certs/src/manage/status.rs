//! How the certificates are, for commands, pages and metrics.

use lyceum_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Level, Managed, Manager, Shared, Warning};
use crate::config::Origin;
use crate::name::CertificateName;
use crate::trouble::Trouble;

/// How all certificates are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TlsStatus {
    /// Each, in the order of the configuration.
    pub certificates: Vec<CertificateStatus>,
    /// This machine's clock, if it is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockStatus>,
    /// What people should know of.
    pub warnings: Vec<Warning>,
}

/// A clock that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStatus {
    /// How many seconds this machine's clock is behind that of the authority; negative if it is ahead.
    pub behind_seconds: i64,
}

/// How a certificate is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Its name in commands.
    pub id: String,
    /// For which names it is wanted, or, from files, for which it is.
    pub names: Vec<CertificateName>,
    /// Where it comes from: an authority, `self-signed`, or a file.
    pub source: String,
    /// How it is, in a word.
    pub state: State,
    /// Who has made the one that is shown.
    pub issuer: String,
    /// Its number.
    pub serial: String,
    /// The kind of its key.
    pub key: String,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// When it will be renewed, or tried to; absent if that is not ours to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Timestamp>,
    /// Whether the authority has said when.
    pub renewal_by_authority: bool,
    /// Where the authority says why it wants it to be renewed earlier than usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation_url: Option<String>,
    /// The last time that a new one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_attempt: Option<Timestamp>,
    /// How many attempts have failed in a row.
    pub failures: u32,
    /// What went wrong at the last one, or with the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// How a certificate is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is what is wanted, and valid.
    Valid,
    /// It is shown in the place of one that is not there yet; browsers warn of it.
    StandIn,
    /// It is signed by itself, as configured; browsers warn of it.
    SelfSigned,
    /// It is near its end.
    Ending,
    /// It has ended, or is not valid yet.
    NotValid,
}

impl State {
    /// In words, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::StandIn => {
                "missing: one that is signed by itself stands in, of which browsers warn"
            }
            Self::SelfSigned => "signed by itself, of which browsers warn",
            Self::Ending => "valid, but near its end",
            Self::NotValid => "not valid today",
        }
    }
}

impl Manager {
    /// Tells how the certificates are.
    pub fn status(&self) -> TlsStatus {
        let now = self.0.now();
        let managed = self.0.managed().clone();
        TlsStatus {
            certificates: managed
                .iter()
                .map(|one| self.0.status_of(one, now))
                .collect(),
            clock: self.0.clock_difference().map(|difference| ClockStatus {
                behind_seconds: difference.as_secs(),
            }),
            warnings: self.warnings(),
        }
    }

    /// The names of the certificates in commands.
    pub fn ids(&self) -> Vec<String> {
        self.0
            .managed()
            .iter()
            .map(|one| one.wanted.id.clone())
            .collect()
    }
}

impl Shared {
    fn status_of(&self, one: &Managed, now: Timestamp) -> CertificateStatus {
        let shown = &one.shown;
        let names = if one.wanted.names.is_empty() {
            shown.names.clone()
        } else {
            one.wanted.names.clone()
        };
        CertificateStatus {
            id: one.wanted.id.clone(),
            names,
            source: match &one.wanted.origin {
                Origin::Acme => self.config.acme.directory.to_string(),
                Origin::SelfSigned => "self-signed".to_owned(),
                Origin::Files(chain, _) => chain.display().to_string(),
            },
            state: self.state(one, now),
            issuer: shown.issuer.clone(),
            serial: shown.serial.clone(),
            key: shown.key.to_owned(),
            not_before: shown.not_before,
            not_after: shown.not_after,
            renewal: self.due_at(one, now),
            renewal_by_authority: one.in_place && one.history.window.is_some(),
            explanation_url: one
                .history
                .window
                .as_ref()
                .and_then(|window| window.explanation_url.clone()),
            last_attempt: one.history.last_attempt,
            failures: one.history.failures,
            trouble: self.trouble(one),
        }
    }

    pub(super) fn state(&self, one: &Managed, now: Timestamp) -> State {
        if !one.in_place {
            return State::StandIn;
        }
        if !one.shown.is_valid_at(now) {
            return State::NotValid;
        }
        if one.shown.self_signed {
            return State::SelfSigned;
        }
        if self
            .warn_of(one, now)
            .is_some_and(|level| level != Level::Notice)
        {
            return State::Ending;
        }
        State::Valid
    }
}

/// Names in a sentence.
pub(super) fn listed(names: &[CertificateName]) -> String {
    let texts: Vec<&str> = names.iter().map(CertificateName::as_str).collect();
    texts.join(", ")
}
