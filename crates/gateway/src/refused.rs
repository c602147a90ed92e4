//! Tells administrators of certificates of clients that were refused, without letting anybody fill the log.

use std::sync::{Mutex, PoisonError};

use lyceum_core::clock::Timestamp;
use rustls::CertificateError;

/// So many are told in a minute: somebody tries again at once.
const MOST: u64 = 5;
const MINUTE: i64 = 60;

/// What was told, and what was not.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the minute has begun.
    since: Option<i64>,
    told: u64,
    untold: u64,
}

impl Refused {
    /// Counts one; if it is to be told, how many were not since the last one that was.
    pub(crate) fn count(&self, now: Timestamp) -> Option<u64> {
        let now = now.as_second();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = state.since.map(|since| now.saturating_sub(since));
        if !passed.is_some_and(|passed| (0..MINUTE).contains(&passed)) {
            state.since = Some(now);
            state.told = 0;
        }
        if state.told == MOST {
            state.untold += 1;
            return None;
        }
        state.told += 1;
        Some(std::mem::take(&mut state.untold))
    }
}

/// Why a certificate was refused, in words; `None` if another thing went wrong. Only clients show one to a server.
pub(crate) fn why(error: &std::io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(error) = error else {
        return None;
    };
    Some(match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has ended".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet".to_owned()
        }
        CertificateError::UnknownIssuer => {
            "none of the authorities that are asked for has made it".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not for clients (extended key usage `clientAuth`)".to_owned()
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_each_minute_with_the_number_of_the_others() {
        let refused = Refused::default();
        let count = |second| refused.count(Timestamp::from_second(second).unwrap());
        for _ in 0..MOST {
            assert_eq!(count(1_000), Some(0));
        }
        assert_eq!((count(1_001), count(1_059)), (None, None));
        assert_eq!((count(1_060), count(1_061)), (Some(2), Some(0)));
        // A clock that was set back holds nothing up.
        assert_eq!(count(500), Some(0));
    }

    #[test]
    fn only_certificates_have_a_reason() {
        let reason = |error: rustls::Error| {
            why(&std::io::Error::new(std::io::ErrorKind::InvalidData, error))
        };
        let ended = rustls::Error::InvalidCertificate(CertificateError::Expired);
        assert_eq!(reason(ended).as_deref(), Some("it has ended"));
        assert_eq!(reason(rustls::Error::HandshakeNotComplete), None);
    }
}
