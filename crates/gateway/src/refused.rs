//! Tells administrators of certificates of clients that were refused, without letting anybody fill the log.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use lyceum_core::clock::Timestamp;
use rustls::CertificateError;

/// How many seconds pass between two lines.
const BETWEEN: i64 = 60;
/// When nothing was told yet.
const NEVER: i64 = i64::MIN;

/// What was told, and what was not.
#[derive(Debug)]
pub(crate) struct Refused {
    last: AtomicI64,
    untold: AtomicU64,
}

impl Refused {
    pub(crate) fn new() -> Self {
        Self {
            last: AtomicI64::new(NEVER),
            untold: AtomicU64::new(0),
        }
    }

    /// Counts one; if it is to be told, how many were not since the last one that was.
    pub(crate) fn count(&self, now: Timestamp) -> Option<u64> {
        let now = now.as_second();
        let last = self.last.load(Ordering::Relaxed);
        let recently = last != NEVER && (0..BETWEEN).contains(&now.saturating_sub(last));
        let first = || {
            self.last
                .compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        };
        if recently || !first() {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
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
    fn one_is_told_each_minute_with_the_number_of_the_others() {
        let refused = Refused::new();
        let count = |second| refused.count(Timestamp::from_second(second).unwrap());
        assert_eq!(count(1_000), Some(0));
        assert_eq!(count(1_001), None);
        assert_eq!(count(1_059), None);
        assert_eq!(count(1_060), Some(2));
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
