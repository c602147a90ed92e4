//! What stands in certificates, and whether a new one can be shown.

use std::sync::Arc;
use std::time::Duration;

use lyceum_core::Timestamp;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::keys::certified;
use crate::name::CertificateName;
use crate::pem;
use crate::trouble::{Trouble, TroubleKind, plain};

/// A few minutes are usual among clocks.
const CLOCKS_DIFFER: Duration = Duration::from_mins(5);

/// A chain of certificates with what its first one says.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    /// The certificates, the first is the server's own.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// For which names it is; those that cannot be a server's are left out.
    pub(crate) names: Vec<CertificateName>,
    /// From when it is valid.
    pub(crate) not_before: Timestamp,
    /// Until when.
    pub(crate) not_after: Timestamp,
    /// Its number, in hexadecimal digits.
    pub(crate) serial: String,
    /// Who has made it, in words.
    pub(crate) issuer: String,
    /// Whether nobody but itself vouches for it.
    pub(crate) self_signed: bool,
    /// The kind of its key, in words.
    pub(crate) key: &'static str,
    /// What is wrong with the chain, although it can be shown; looked for in files of others only.
    pub(crate) doubt: Option<Trouble>,
}

impl Inspected {
    /// Reads a chain in PEM.
    pub(crate) fn of_pem(text: &[u8], what: &str) -> Result<Self, Trouble> {
        let hint = pem::instead_of_certificate(text);
        let chain = pem::certificates(text)
            .map_err(|error| bad(format!("{what} cannot be read"), hint).caused_by(&error))?;
        if chain.is_empty() {
            return Err(bad(format!("there is no certificate in {what}"), hint));
        }
        Self::of_chain(chain, what)
    }

    /// Reads a chain.
    pub(crate) fn of_chain(
        chain: Vec<CertificateDer<'static>>,
        what: &str,
    ) -> Result<Self, Trouble> {
        let Some(first) = chain.first() else {
            let hint = "it must be PEM: blocks that begin with `-----BEGIN CERTIFICATE-----`";
            return Err(bad(format!("there is no certificate in {what}"), hint));
        };
        let (_, leaf) = X509Certificate::from_der(first).map_err(|error| {
            bad(
                format!("the first certificate in {what} cannot be read"),
                "get the file again from whoever has made it",
            )
            .because(error.to_string())
        })?;
        let moment = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
        };
        let key = match leaf.public_key().parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(_)) => "RSA",
            Ok(x509_parser::public_key::PublicKey::EC(_)) => "ECDSA",
            _ => "other",
        };
        Ok(Self {
            names: names(&leaf),
            not_before: moment(leaf.validity().not_before),
            not_after: moment(leaf.validity().not_after),
            serial: leaf.raw_serial_as_string().replace(':', ""),
            issuer: plain(&in_words(leaf.issuer())),
            self_signed: leaf.issuer() == leaf.subject() && chain.len() == 1,
            key,
            doubt: None,
            chain,
        })
    }

    /// How long it is valid in all.
    pub(crate) fn lifetime(&self) -> Duration {
        self.not_before
            .duration_until(self.not_after)
            .unsigned_abs()
    }

    /// Whether it is valid at a moment, by a clock that may be a little behind that of whoever has made it.
    pub(crate) fn is_valid_at(&self, now: Timestamp) -> bool {
        self.has_begun_at(now) && now < self.not_after
    }

    fn has_begun_at(&self, now: Timestamp) -> bool {
        let soon = now.checked_add(CLOCKS_DIFFER).unwrap_or(now);
        self.not_before <= soon
    }

    /// Whether it is for a host.
    pub(crate) fn covers(&self, name: &CertificateName) -> bool {
        self.names.iter().any(|own| own == name)
            || (!name.is_wildcard() && self.names.iter().any(|own| own.covers(name.as_str())))
    }

    /// Puts it together with its key.
    pub(crate) fn certified(&self, key_pem: &str) -> Result<CertifiedKey, Trouble> {
        certified(self.chain.clone(), key_pem)
    }

    /// Checks a certificate that was just made, before the old one is given up: names, time, and that each certificate
    /// of the chain vouches for the one before it. That the last one leads to somebody whom browsers know is not ours
    /// to say.
    pub(crate) fn check(&self, names: &[CertificateName], now: Timestamp) -> Result<(), Trouble> {
        for name in names {
            if !self.covers(name) {
                return Err(bad(
                    format!("the new certificate is not for {name}"),
                    "the authority has made another certificate than was asked for: ask those who run it",
                ));
            }
        }
        if now >= self.not_after {
            return Err(Trouble::new(
                TroubleKind::Clock,
                format!(
                    "the new certificate has ended already, on {}",
                    self.not_after
                ),
                "check the clock of this machine: `timedatectl`",
            ));
        }
        if !self.has_begun_at(now) {
            return Err(Trouble::new(
                TroubleKind::Clock,
                format!("the new certificate begins later, on {}", self.not_before),
                "check the clock of this machine: `timedatectl`",
            ));
        }
        let ([leaf, middle @ ..], Some(last)) = (self.chain.as_slice(), self.chain.last()) else {
            return Ok(());
        };
        if middle.is_empty() {
            // Private authorities sign with their root at once: there is nothing to compare.
            return Ok(());
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            bad(
                "the chain of the new certificate does not hold together",
                "the authority has sent a chain that browsers would refuse: ask those who run it",
            )
            .caused_by(error)
        };
        let mut roots = RootCertStore::empty();
        roots.add(last.clone()).map_err(|error| failed(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| failed(&error))?;
        let at = now.max(self.not_before).as_second();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.try_into().unwrap_or(0)));
        for name in names {
            let host = name.as_str().replace('*', "lyceum-check");
            let host = ServerName::try_from(host).map_err(|error| failed(&error))?;
            verifier
                .verify_server_cert(leaf, middle, &host, &[], at)
                .map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

fn names(leaf: &X509Certificate<'_>) -> Vec<CertificateName> {
    let Ok(Some(alternative)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    alternative
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            GeneralName::IPAddress(bytes) => {
                let address = match <[u8; 4]>::try_from(*bytes) {
                    Ok(four) => std::net::IpAddr::from(four),
                    Err(_) => std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
                };
                address.to_string().parse().ok()
            }
            _ => None,
        })
        .collect()
}

/// Who somebody is, in words: the common name, or else the organization, or else everything.
pub(crate) fn in_words(name: &x509_parser::x509::X509Name<'_>) -> String {
    let text = |attribute: Option<&x509_parser::x509::AttributeTypeAndValue<'_>>| {
        attribute.and_then(|attribute| attribute.as_str().ok().map(str::to_owned))
    };
    let common = text(name.iter_common_name().next());
    let organization = text(name.iter_organization().next());
    match (common, organization) {
        (Some(common), Some(organization)) if !common.contains(&organization) => {
            format!("{organization} {common}")
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => name.to_string(),
    }
}

fn bad(what: impl Into<String>, hint: impl Into<String>) -> Trouble {
    Trouble::new(TroubleKind::BadCertificate, what, hint)
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn name(text: &str) -> CertificateName {
        text.parse().unwrap()
    }

    /// A chain of an authority and a certificate for names, valid in 2026; with the certificate of another authority
    /// behind it if `foreign`.
    fn chain(names: &[&str], foreign: bool) -> Inspected {
        let authority = |key: &KeyPair| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2030, 1, 1);
            params
                .distinguished_name
                .push(rcgen::DnType::CommonName, "An Authority");
            (params.clone(), params.self_signed(key).unwrap())
        };
        let key = KeyPair::generate().unwrap();
        let (params, own) = authority(&key);
        let issuer = Issuer::new(params, key);
        let mut params = CertificateParams::new(
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>(),
        )
        .unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        let leaf = params
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap();
        let above = if foreign {
            authority(&KeyPair::generate().unwrap()).1
        } else {
            own
        };
        Inspected::of_pem(format!("{}{}", leaf.pem(), above.pem()).as_bytes(), "it").unwrap()
    }

    #[test]
    fn a_certificate_tells_what_it_is() {
        let chain = chain(&["a.example.org", "*.example.org", "192.0.2.7"], false);
        let texts: Vec<_> = chain.names.iter().map(CertificateName::as_str).collect();
        assert_eq!(texts, ["a.example.org", "*.example.org", "192.0.2.7"]);
        assert_eq!(chain.not_after, at("2026-04-01T00:00:00Z"));
        assert_eq!(chain.issuer, "An Authority");
        assert_eq!(chain.lifetime(), Duration::from_hours(90 * 24));
        assert!(!chain.self_signed);
        assert_eq!(chain.key, "ECDSA");
    }

    #[test]
    fn a_new_certificate_is_checked_before_it_is_shown() {
        let now = at("2026-02-01T00:00:00Z");
        let good = chain(&["a.example.org", "*.example.org"], false);
        let both = [name("a.example.org"), name("*.example.org")];
        assert_eq!(good.check(&both, now), Ok(()));
        let kind = |result: Result<(), Trouble>| result.unwrap_err().kind;
        assert_eq!(
            kind(good.check(&[name("b.example.com")], now)),
            TroubleKind::BadCertificate
        );
        assert_eq!(
            kind(good.check(&both, at("2026-05-01T00:00:00Z"))),
            TroubleKind::Clock
        );
        assert_eq!(
            kind(good.check(&both, at("2025-12-01T00:00:00Z"))),
            TroubleKind::Clock
        );
        let foreign = chain(&["a.example.org"], true);
        assert_eq!(
            kind(foreign.check(&[name("a.example.org")], now)),
            TroubleKind::BadCertificate
        );
    }

    #[test]
    fn what_is_no_certificate_is_told_so() {
        for text in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            let trouble = Inspected::of_pem(text.as_bytes(), "the file").unwrap_err();
            assert!(trouble.what.contains("the file"), "{trouble}");
        }
    }
}
