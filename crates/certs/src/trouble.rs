//! What went wrong with a certificate, in words that are kept and shown: what, why, and what to do.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Something that went wrong, for people: kept in a file, shown by `lyceum cert status`, on pages and in the log.
///
/// Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// Which kind, by which it is decided what follows.
    pub kind: TroubleKind,
    /// What went wrong; a sentence's beginning in lower case, without a full stop.
    pub what: String,
    /// Why, as others have said it, from the outside in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<String>,
    /// What to do.
    pub hint: String,
    /// How long the authority wants to be left alone, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// The authority cannot be reached, or does not do its part.
    Unreachable,
    /// It has seen too many requests.
    RateLimited,
    /// It did not find the proof of a name.
    NotProven,
    /// It does not issue for such a name, or not for us (CAA, policy).
    Refused,
    /// It does not know, or does not take, our account.
    Account,
    /// What it has issued cannot be used.
    BadCertificate,
    /// This machine's clock is wrong.
    Clock,
    /// Files of this machine cannot be read or written.
    Files,
    /// The DNS could not be changed.
    Dns,
    /// The settings do not go together.
    Configuration,
    /// Anything else.
    Other,
}

impl Trouble {
    /// Makes one.
    pub fn new(kind: TroubleKind, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            kind,
            what: plain(&what.into()),
            causes: Vec::new(),
            hint: plain(&hint.into()),
            retry_after: None,
        }
    }

    /// Adds a cause, in the words of whoever told it.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(plain(&cause.into()));
        self
    }

    /// Adds an error with all its causes.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = plain(&error.to_string());
            // Many errors repeat their cause in their own text.
            if !self.causes.iter().any(|cause| cause.contains(&text)) {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Whether the authority has refused the name itself, or the request, and not looked at anything of ours: CAA records
    /// are in the DNS, where they can be seen from here as well.
    pub(crate) fn is_about_the_name(&self) -> bool {
        self.kind == TroubleKind::Refused
            && !self.causes.iter().any(|cause| cause.ends_with("(caa)"))
    }

    /// Says how long the authority wants to be left alone.
    #[must_use]
    pub fn retry_after(mut self, pause: Option<Duration>) -> Self {
        self.retry_after = pause.map(|pause| pause.as_secs());
        self
    }
}

/// The longest text of others that is kept, in bytes.
const LONGEST: usize = 1_000;

/// A text as it may be shown on terminals and kept in logs: one line, and not without end. Others have written it: an
/// authority, a name server, whoever answers under a name.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        if plain.len() >= LONGEST {
            plain.push('…');
            break;
        }
        match c {
            c if c.is_control() && plain.ends_with(' ') => {}
            c if c.is_control() => plain.push(' '),
            // Marks that turn the direction of writing can make a text look like another.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => plain.push(c),
        }
    }
    plain
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        for cause in &self.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl Error for Trouble {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_for_caa_is_explained_by_what_is_in_the_dns() {
        let refused = |cause: &str| {
            Trouble::new(TroubleKind::Refused, "a", "b")
                .because(cause)
                .is_about_the_name()
        };
        assert!(refused("a forbidden domain (rejectedIdentifier)"));
        assert!(!refused("CAA record for a.org prevents issuance (caa)"));
        assert!(!Trouble::new(TroubleKind::NotProven, "a", "b").is_about_the_name());
    }

    #[test]
    fn what_others_have_written_is_one_line_and_ends() {
        let long = "x".repeat(5_000);
        let trouble = Trouble::new(TroubleKind::Other, "it failed", "try again")
            .because("line one\nline two\u{1b}[31m red \u{202e}gnp")
            .because(long);
        assert_eq!(trouble.causes[0], "line one line two [31m red gnp");
        assert!(
            trouble.causes[1].len() < 1_010,
            "{}",
            trouble.causes[1].len()
        );
    }
}
