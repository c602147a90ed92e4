//! The certificates that are shown at this moment, looked up in each handshake; changed without closing anything.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::challenge::{ACME_TLS_ALPN, Challenges};
use crate::keys::certified;
use crate::name::CertificateName;
use crate::pem;
use crate::trouble::{Trouble, TroubleKind};

/// What handshakes are answered with; cheap to clone, all clones are one.
#[derive(Clone, Default)]
pub struct LiveCertificates(Arc<Inner>);

#[derive(Default)]
struct Inner {
    table: ArcSwap<Vec<Live>>,
    /// One change after the other; handshakes do not wait for it.
    changing: Mutex<()>,
    challenges: Challenges,
}

/// A certificate that is shown.
#[derive(Clone)]
pub(crate) struct Live {
    /// Its name in files and commands.
    pub(crate) id: String,
    /// The names that are in it.
    pub(crate) names: Vec<CertificateName>,
    /// Whether somebody vouches for it: one that is signed by itself is shown only if there is no other for a name.
    pub(crate) vouched: bool,
    pub(crate) certified: Arc<CertifiedKey>,
}

impl fmt::Debug for LiveCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.0.table.load();
        f.debug_list()
            .entries(table.iter().map(|live| &live.id))
            .finish()
    }
}

impl LiveCertificates {
    /// The answers for authorities that go with them.
    pub fn challenges(&self) -> &Challenges {
        &self.0.challenges
    }

    /// Shows a certificate from now on, in place of the one with the same id. The order of the first time stays: the
    /// first one is shown to visitors who ask for a name that none is for.
    pub(crate) fn show(&self, live: Live) {
        let _alone = self
            .0
            .changing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut table = Vec::clone(&self.0.table.load());
        match table.iter_mut().find(|other| other.id == live.id) {
            Some(place) => *place = live,
            None => table.push(live),
        }
        self.0.table.store(Arc::new(table));
    }

    /// Whether there is anything to show.
    pub fn is_empty(&self) -> bool {
        self.0.table.load().is_empty()
    }

    /// Shows a certificate from PEM texts: the chain, the leaf first, and its key. `vouched` is `false` for one that is
    /// signed by itself.
    pub fn show_pem(
        &self,
        id: &str,
        names: Vec<CertificateName>,
        chain: &str,
        key: &str,
        vouched: bool,
    ) -> Result<(), Trouble> {
        let failed = |cause: &str| {
            Trouble::new(
                TroubleKind::BadCertificate,
                format!("could not read the certificate {id}"),
                "give it as PEM, the leaf first",
            )
            .because(cause)
        };
        let chain =
            pem::certificates(chain.as_bytes()).map_err(|error| failed(&error.to_string()))?;
        if chain.is_empty() {
            return Err(failed("there is no certificate in it"));
        }
        let certified = Arc::new(certified(chain, key)?);
        self.show(Live {
            id: id.to_owned(),
            names,
            vouched,
            certified,
        });
        Ok(())
    }

    /// Finds the certificate for a name: one that names it before one with a star, one that somebody vouches for
    /// before one that is signed by itself; the first of all for a name that none is for.
    pub(crate) fn find(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        self.with_best(name, |live| Arc::clone(&live.certified))
    }

    /// Whether somebody vouches for the certificate that is shown for a name: `false` if it is signed by itself, or if
    /// there is none.
    pub fn is_vouched(&self, name: Option<&str>) -> bool {
        self.with_best(name, |live| live.vouched).unwrap_or(false)
    }

    fn with_best<T>(&self, name: Option<&str>, see: impl FnOnce(&Live) -> T) -> Option<T> {
        let table = self.0.table.load();
        let fit = |live: &Live, host: &str| {
            let covering = live.names.iter().filter(|name| name.covers(host));
            covering
                .map(|name| (live.vouched, !name.is_wildcard()))
                .max()
        };
        let best = name.and_then(|host| {
            table
                .iter()
                .rev()
                .filter_map(|live| fit(live, host).map(|fit| (fit, live)))
                .max_by_key(|(fit, _)| *fit)
                .map(|(_, live)| live)
        });
        // Browsers that come by an address say no name: one for an address is the best guess then.
        let for_address = || {
            let nameless = name.is_none();
            table
                .iter()
                .find(|live| nameless && live.names.iter().any(|name| name.address().is_some()))
        };
        best.or_else(for_address).or_else(|| table.first()).map(see)
    }
}

impl ResolvesServerCert for LiveCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Authorities offer this protocol alone (RFC 8737 §3).
        if let Some(mut offered) = hello.alpn()
            && offered.next() == Some(ACME_TLS_ALPN)
            && offered.next().is_none()
        {
            return self.0.challenges.tls(hello.server_name()?);
        }
        self.find(hello.server_name())
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("id", &self.id)
            .field("names", &self.names)
            .field("vouched", &self.vouched)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyType, self_signed};
    use lyceum_core::Timestamp;

    fn show(certificates: &LiveCertificates, id: &str, names: &[&str], vouched: bool) {
        let names: Vec<CertificateName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let made = self_signed(&names, KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
        certificates
            .show_pem(id, names, &made.chain, &made.key, vouched)
            .unwrap();
    }

    fn found(certificates: &LiveCertificates, name: Option<&str>) -> String {
        let found = certificates.find(name).unwrap();
        let table = certificates.0.table.load();
        let live = table
            .iter()
            .find(|live| Arc::ptr_eq(&live.certified, &found))
            .unwrap();
        live.id.clone()
    }

    #[test]
    fn the_best_certificate_for_a_name_is_shown() {
        let certificates = LiveCertificates::default();
        show(&certificates, "first", &["a.example.org"], false);
        show(&certificates, "star", &["*.example.org"], true);
        show(&certificates, "b", &["b.example.org"], true);
        show(&certificates, "b-too", &["b.example.org"], true);
        for (name, id, vouched) in [
            (None, "first", false),
            (Some("nobody.org"), "first", false),
            (Some("a.example.org"), "star", true),
            (Some("B.example.org"), "b", true),
            (Some("c.example.org"), "star", true),
        ] {
            assert_eq!(found(&certificates, name), id, "{name:?}");
            assert_eq!(certificates.is_vouched(name), vouched, "{name:?}");
        }
        assert!(!LiveCertificates::default().is_vouched(None));
    }

    #[test]
    fn a_new_certificate_takes_the_place_of_the_old_one() {
        let certificates = LiveCertificates::default();
        show(&certificates, "a", &["a.org"], false);
        show(&certificates, "b", &["b.org"], false);
        let before = certificates.find(Some("a.org")).unwrap();
        show(&certificates, "a", &["a.org"], true);
        let after = certificates.find(Some("a.org")).unwrap();
        assert!(!Arc::ptr_eq(&before, &after));
        assert_eq!(found(&certificates, None), "a");
    }

    #[test]
    fn what_is_no_certificate_is_not_shown() {
        let certificates = LiveCertificates::default();
        let made = self_signed(&[], KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
        let other = self_signed(&[], KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
        for (chain, key) in [
            ("", made.key.as_str()),
            ("-----BEGIN CERTIFICATE-----", &made.key),
            (&made.chain, ""),
            (&made.chain, &other.key),
        ] {
            let shown = certificates.show_pem("a", Vec::new(), chain, key, true);
            assert!(shown.is_err(), "{chain}");
        }
        assert!(certificates.is_empty());
    }
}
