//! Whether the certificates of a file lead visitors from the server's own to an authority. Checks no signatures.

use std::collections::HashSet;

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::client;
use crate::inspect::in_words;
use crate::trouble::{Trouble, TroubleKind, plain};

/// Finds what keeps visitors from believing a chain although its first certificate is right: one that is not there, or
/// the wrong order.
///
/// Roots need not be in it. Of a chain that ends with an authority that this machine does not know, nothing is said: it
/// may be one of one's own, whose root visitors have.
pub(crate) fn doubt(chain: &[CertificateDer<'_>], file: &str) -> Option<Trouble> {
    doubt_by(chain, file, |issuer| {
        client::system_authorities().iter().any(|certificate| {
            X509Certificate::from_der(certificate)
                .is_ok_and(|(_, root)| root.subject().as_raw() == issuer)
        })
    })
}

fn doubt_by(
    chain: &[CertificateDer<'_>],
    file: &str,
    is_root: impl FnOnce(&[u8]) -> bool,
) -> Option<Trouble> {
    let parsed: Result<Vec<_>, _> = chain
        .iter()
        .map(|certificate| X509Certificate::from_der(certificate).map(|(_, parsed)| parsed))
        .collect();
    // What is behind the first one is not read anywhere else: visitors may understand it.
    let parsed = parsed.ok()?;
    let mut at = 0;
    let mut seen = HashSet::from([at]);
    let mut misplaced = None;
    loop {
        let one = parsed.get(at)?;
        let issuer = one.issuer();
        if issuer.as_raw() == one.subject().as_raw() {
            break;
        }
        let above = parsed.iter().enumerate().find(|(place, other)| {
            !seen.contains(place) && other.subject().as_raw() == issuer.as_raw()
        });
        let Some((place, _)) = above else {
            if at == 0 && !is_root(issuer.as_raw()) {
                let issuer = plain(&in_words(issuer));
                return Some(Trouble::new(
                    TroubleKind::BadCertificate,
                    format!("the chain in {file} lacks the certificate of {issuer}"),
                    "browsers may refuse it: put the certificates of the authorities behind that of the server, as in \
                     the `fullchain` or `bundle` that the authority gives; if this is the root of an authority of your \
                     own, which browsers know, put it there as well",
                ));
            }
            break;
        };
        if place != at + 1 {
            misplaced.get_or_insert(issuer);
        }
        seen.insert(place);
        at = place;
    }
    let issuer = plain(&in_words(misplaced?));
    Some(Trouble::new(
        TroubleKind::BadCertificate,
        format!(
            "the chain in {file} is in the wrong order: the certificate of {issuer} does not follow the one that it vouches for"
        ),
        "some programs refuse it: put the server's certificate first, then that of whoever has made it, and so on",
    ))
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    use super::*;

    /// A root, what it vouches for, and a certificate for a server from that.
    fn made(prefix: &str) -> [CertificateDer<'static>; 3] {
        let authority = |name: &str| {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
                .distinguished_name
                .push(DnType::CommonName, format!("{prefix} {name}"));
            params
        };
        let keys = [(); 2].map(|()| KeyPair::generate().unwrap());
        let root = authority("Root").self_signed(&keys[0]).unwrap();
        let by_root = Issuer::new(authority("Root"), &keys[0]);
        let middle = authority("Middle").signed_by(&keys[1], &by_root).unwrap();
        let by_middle = Issuer::new(authority("Middle"), &keys[1]);
        let leaf = CertificateParams::new(vec!["a.example.org".to_owned()]).unwrap();
        let leaf = leaf
            .signed_by(&KeyPair::generate().unwrap(), &by_middle)
            .unwrap();
        [leaf, middle, root].map(|made| made.der().clone())
    }

    #[test]
    fn a_chain_that_lacks_somebody_or_has_another_order_is_doubted() {
        let [leaf, middle, root] = made("Our");
        let [_, foreign, other] = made("Their");
        let doubt = |chain: &[&CertificateDer<'static>], known: bool| {
            let chain: Vec<_> = chain.iter().copied().cloned().collect();
            let doubt = doubt_by(&chain, "FILE", |_| known);
            doubt.map_or_else(String::new, |doubt| doubt.what)
        };
        let lacks = "the chain in FILE lacks the certificate of Our Middle";
        assert_eq!(doubt(&[&leaf], false), lacks);
        assert_eq!(doubt(&[&leaf, &root], false), lacks);
        assert_eq!(doubt(&[&leaf, &foreign, &other], false), lacks);
        // From a root that browsers know, without one between.
        assert_eq!(doubt(&[&leaf], true), "");
        assert_eq!(doubt(&[&leaf, &middle], false), "");
        assert_eq!(doubt(&[&leaf, &middle, &root], false), "");
        assert_eq!(doubt(&[&leaf, &middle, &other], false), "");
        assert_eq!(doubt(&[&root], false), "");
        let order = doubt(&[&leaf, &root, &middle], false);
        assert!(
            order.contains("wrong order: the certificate of Our Middle"),
            "{order}"
        );
        assert_eq!(doubt(&[], false), "");
    }

    #[test]
    fn the_authorities_of_this_machine_are_known() {
        let roots = client::system_authorities();
        let root = X509Certificate::from_der(roots.first().expect("install ca-certificates"));
        assert!(root.is_ok());
    }
}
