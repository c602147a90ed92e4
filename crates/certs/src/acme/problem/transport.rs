//! Why an authority could not be reached, in plain words.

use std::error::Error as StdError;
use std::io;

use rustls::CertificateError;

use super::explain;
use crate::acme::http::{Failure, Refusal};
use crate::trouble::{Trouble, TroubleKind};

/// Tells why there was no answer.
pub(in crate::acme) fn failed(failure: &Failure) -> Trouble {
    match failure {
        Failure::Refused(refusal) => refused(refusal),
        Failure::Url(error) => Trouble::new(
            TroubleKind::Configuration,
            "the authority's URL cannot be asked for",
            "correct `tls.acme.directory`",
        )
        .caused_by(error),
        Failure::Late | Failure::Large => unreachable(
            "look whether this machine reaches the Internet, and at the authority's status page",
        )
        .caused_by(failure),
        Failure::Connection(error) => connection(error),
        Failure::Body(error) => {
            unreachable("nothing needs to be done: it is tried again").caused_by(error.as_ref())
        }
    }
}

fn refused(refusal: &Refusal) -> Trouble {
    let mut trouble = match &refusal.said {
        Some(said) => explain(said, None),
        None => match refusal.status.as_u16() {
            429 => Trouble::new(
                TroubleKind::RateLimited,
                "the authority has had too many requests",
                "nothing needs to be done: it is tried again when the authority allows it",
            ),
            404 | 405 | 300..=399 => Trouble::new(
                TroubleKind::Configuration,
                "there is no authority at this URL",
                "check `tls.acme.directory`: the whole URL of an ACME directory",
            ),
            401 | 403 | 407 => unreachable(
                "something between this machine and the authority forbids it: look at proxies and firewalls",
            ),
            _ => unreachable("nothing needs to be done: it is tried again"),
        }
        .because(format!("the answer was {}", refusal.status)),
    };
    if let Some(url) = &refusal.terms
        && refusal
            .said
            .as_ref()
            .is_some_and(|said| said.kind() == "userActionRequired")
    {
        trouble.hint = format!("read the new terms of service at {url}, and agree to them there");
    }
    trouble.retry_after(refusal.retry_after)
}

fn unreachable(hint: &str) -> Trouble {
    Trouble::new(
        TroubleKind::Unreachable,
        "the authority cannot be reached",
        hint,
    )
}

/// Tells why a connection could not be made, by the innermost error that says something.
fn connection(error: &hyper_util::client::legacy::Error) -> Trouble {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(at) = next {
        if let Some(tls) = tls_error(at) {
            return untrusted(tls).caused_by(tls);
        }
        if let Some(io) = at.downcast_ref::<io::Error>() {
            let hint = match io.kind() {
                io::ErrorKind::ConnectionRefused => Some(
                    "check `tls.acme.directory`, if the authority is one of your own that it runs",
                ),
                io::ErrorKind::TimedOut
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable => Some(
                    "look whether this machine reaches the Internet, and at firewalls on the way out",
                ),
                _ => None,
            };
            if let Some(hint) = hint {
                return unreachable(hint).caused_by(io);
            }
        }
        if at.to_string().contains("dns error") {
            return unreachable(
                "check the name in `tls.acme.directory`, and that this machine can look up names: `getent hosts NAME`",
            )
            .caused_by(at);
        }
        next = at.source();
    }
    unreachable("look whether this machine reaches the Internet").caused_by(error)
}

/// The error of TLS in an error, which others carry inside them.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    if let Some(tls) = error.downcast_ref() {
        return Some(tls);
    }
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    let inner: &(dyn StdError + 'static) = inner;
    tls_error(inner)
}

fn untrusted(error: &rustls::Error) -> Trouble {
    use CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return unreachable(
            "check that `tls.acme.directory` has the right port: what answers does not speak TLS as we do",
        );
    };
    match bad {
        Bad::Expired
        | Bad::ExpiredContext { .. }
        | Bad::NotValidYet
        | Bad::NotValidYetContext { .. } => Trouble::new(
            TroubleKind::Clock,
            "the authority's own certificate is not valid at this time",
            "check this machine's clock: `timedatectl`; if it is right, it is the authority's fault",
        ),
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => unreachable(
            "check the name in `tls.acme.directory`: the certificate that is shown is for another",
        ),
        _ => unreachable(
            "the authority's own certificate is not known here: for an authority of your own, write the file with its \
             root as `ca_file` in `[tls.acme]`; for a public one, install ca-certificates, and look whether a proxy \
             opens TLS on the way",
        ),
    }
}
