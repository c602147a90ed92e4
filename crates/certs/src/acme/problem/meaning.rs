//! The types of problems that authorities know, and what each means for people.

use super::Proving;
use crate::challenge::ChallengeKind;
use crate::trouble::TroubleKind;

/// What a type of problem means: which kind it is, what happened, what to do.
pub(super) struct Meaning(
    pub(super) TroubleKind,
    pub(super) &'static str,
    pub(super) &'static str,
);

/// The types of RFC 8555 §6.7, RFC 9773 §5 and others.
pub(super) fn meaning(kind: &str) -> Meaning {
    use TroubleKind::{
        Account, Configuration, NotProven, Other, RateLimited, Refused, Unreachable,
    };
    match kind {
        "connection" => Meaning(
            NotProven,
            "the authority could not connect to this server",
            "open ports 80 and 443 to the whole Internet: look at firewalls and routers on the way",
        ),
        "dns" => Meaning(
            NotProven,
            "the authority could not look the name up in the DNS",
            "check that the name has an A or AAAA record, and that its name servers answer without errors of DNSSEC",
        ),
        "unauthorized" => Meaning(
            NotProven,
            "the authority says that we may not do this",
            "check that the name's records point to this server, and that no other server answers in its place",
        ),
        "incorrectResponse" => Meaning(
            NotProven,
            "the authority did not find the answer that it wants to see",
            "check that the name's records point to this server, and that no other server or proxy answers in its place",
        ),
        "tls" => Meaning(
            NotProven,
            "the authority could not speak TLS with this server",
            "check that port 443 reaches Lyceum itself, and no proxy that ends TLS before it",
        ),
        "caa" => Meaning(
            Refused,
            "a CAA record in the DNS forbids this authority to issue",
            "add a CAA record for this authority, or remove those there are",
        ),
        "rateLimited" => Meaning(
            RateLimited,
            "the authority has had too many requests",
            "nothing needs to be done: it is tried again when the authority allows it; for trials write \
             `directory = \"letsencrypt-staging\"` in `[tls.acme]`, whose limits are wide",
        ),
        "badNonce" => Meaning(
            Unreachable,
            "the authority did not take any of several requests that it took for old ones",
            "nothing needs to be done: it is tried again",
        ),
        "serverInternal" => Meaning(
            Unreachable,
            "the authority has a fault of its own",
            "nothing needs to be done: it is tried again; the authority's status page may tell more",
        ),
        "userActionRequired" => Meaning(
            Account,
            "the authority wants its account's owner to do something, such as to agree to new terms",
            "read the authority's terms of service, and do what it says",
        ),
        "externalAccountRequired" => Meaning(
            Configuration,
            "the authority makes accounts only for its customers",
            "ask it for a key for external account binding, and write `eab_key_id` and `eab_secret_file` in `[tls.acme]`",
        ),
        "accountDoesNotExist" => Meaning(
            Account,
            "the authority does not know our account",
            "nothing needs to be done: a new account is made; if that fails too, check `tls.acme.directory`",
        ),
        "invalidContact" | "unsupportedContact" => Meaning(
            Configuration,
            "the authority does not take the address to write to",
            "check `tls.acme.email`",
        ),
        "rejectedIdentifier" => Meaning(
            Refused,
            "the authority does not issue certificates for such a name",
            "use a name that is yours in the public DNS, or another authority",
        ),
        "unsupportedIdentifier" => Meaning(
            Refused,
            "the authority does not issue certificates for this kind of name",
            "use a name in the DNS instead of an address, or another authority or `profile` in `[tls.acme]`",
        ),
        "badCSR" | "badPublicKey" | "badSignatureAlgorithm" => Meaning(
            Refused,
            "the authority does not take our request for a certificate, or its key",
            "try the other `key_type` in `[tls]`",
        ),
        "invalidProfile" => Meaning(
            Configuration,
            "the authority has no such profile",
            "correct `tls.acme.profile`, or remove it",
        ),
        "alreadyRevoked" => Meaning(
            Other,
            "the certificate is revoked already",
            "nothing needs to be done",
        ),
        "badRevocationReason" => Meaning(
            Refused,
            "the authority does not take this reason for a revocation",
            "give another reason",
        ),
        "alreadyReplaced" => Meaning(
            Other,
            "the certificate has been replaced already",
            "nothing needs to be done: it is tried again without naming the old one",
        ),
        "orderNotReady" => Meaning(
            Unreachable,
            "the authority is not ready to issue",
            "nothing needs to be done: it is tried again",
        ),
        "compound" => Meaning(
            Refused,
            "the authority refuses, for several reasons",
            "look at each reason",
        ),
        "malformed" => Meaning(
            Other,
            "the authority cannot make sense of our request",
            "check that this machine's clock and `tls.acme.directory` are right; else please report it, with the log",
        ),
        _ => Meaning(
            Other,
            "the authority refuses",
            "look at the authority's words",
        ),
    }
}

/// What to do about a proof that was not found, where more is known than the type tells.
pub(super) fn hint_for(kind: &str, proving: &Proving<'_>) -> Option<String> {
    let base = proving.name.strip_prefix("*.").unwrap_or(proving.name);
    let port = match proving.kind {
        ChallengeKind::Http01 => Some(80),
        ChallengeKind::TlsAlpn01 => Some(443),
        ChallengeKind::Dns01 => None,
    };
    match (kind, port) {
        ("caa", _) => {
            let authority = proving.caa_identities.first()?;
            let tag = if proving.name == base {
                "issue"
            } else {
                "issuewild"
            };
            Some(format!(
                "add the record `{base}. CAA 0 {tag} \"{authority}\"` to the DNS, or remove those that forbid it"
            ))
        }
        ("connection", Some(port)) => Some(format!(
            "make port {port} of {base} reachable from the whole Internet: check that its A and AAAA records are this \
             machine's addresses, and look at firewalls and routers on the way"
        )),
        ("dns", Some(_)) => Some(format!(
            "check that {base} has an A or AAAA record, and that its name servers answer without errors of DNSSEC"
        )),
        ("unauthorized" | "incorrectResponse" | "tls" | "malformed", Some(port)) => Some(format!(
            "something else answers at port {port} of {base}: check that all its A and AAAA records are this machine's \
             addresses, and that no other server or proxy answers before Lyceum"
        )),
        ("dns" | "unauthorized" | "incorrectResponse" | "connection" | "malformed", None) => {
            Some(format!(
                "check that `_acme-challenge.{base}` can be seen from outside while it is tried, and that its zone is \
                 the one that `tls.acme.dns` changes"
            ))
        }
        _ => None,
    }
}
