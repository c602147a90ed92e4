//! What people read when an authority says no.

use super::*;

fn say(kind: &str, detail: &str) -> Said {
    let body = format!(r#"{{"type": "urn:ietf:params:acme:error:{kind}", "detail": "{detail}"}}"#);
    Said::read(body.as_bytes()).unwrap()
}

#[test]
fn each_type_of_problem_has_a_kind_and_something_to_do() {
    use TroubleKind::{
        Account, Configuration, NotProven, Other, RateLimited, Refused, Unreachable,
    };
    for (name, kind, hint) in [
        ("connection", NotProven, "firewalls"),
        ("dns", NotProven, "A or AAAA"),
        ("unauthorized", NotProven, "records point to this server"),
        ("incorrectResponse", NotProven, "proxy"),
        ("tls", NotProven, "443"),
        ("caa", Refused, "CAA"),
        ("rateLimited", RateLimited, "letsencrypt-staging"),
        ("badNonce", Unreachable, "tried again"),
        ("serverInternal", Unreachable, "status page"),
        ("userActionRequired", Account, "terms"),
        ("externalAccountRequired", Configuration, "eab_key_id"),
        ("accountDoesNotExist", Account, "new account"),
        ("invalidContact", Configuration, "tls.acme.email"),
        ("unsupportedContact", Configuration, "tls.acme.email"),
        ("rejectedIdentifier", Refused, "public DNS"),
        ("unsupportedIdentifier", Refused, "address"),
        ("badCSR", Refused, "key_type"),
        ("badPublicKey", Refused, "key_type"),
        ("invalidProfile", Configuration, "tls.acme.profile"),
        ("alreadyRevoked", Other, "nothing needs"),
        ("badRevocationReason", Refused, "another reason"),
        ("alreadyReplaced", Other, "tried again"),
        ("orderNotReady", Unreachable, "tried again"),
        ("malformed", Other, "clock"),
        ("compound", Refused, "each reason"),
        ("somethingNew", Other, "words"),
    ] {
        let trouble = explain(&say(name, "Said by them."), None);
        assert_eq!(trouble.kind, kind, "{name}");
        assert!(trouble.hint.contains(hint), "{name}: {}", trouble.hint);
        assert_eq!(trouble.causes, [format!("Said by them ({name})")]);
    }
}

#[test]
fn a_failed_proof_is_told_with_its_name_and_port() {
    let identities = ["ca.example".to_owned()];
    for (name, way, type_, kind, what, hint) in [
        (
            "a.org",
            ChallengeKind::Http01,
            "connection",
            TroubleKind::NotProven,
            "proof of a.org by http-01",
            "port 80 of a.org",
        ),
        (
            "a.org",
            ChallengeKind::TlsAlpn01,
            "unauthorized",
            TroubleKind::NotProven,
            "by tls-alpn-01",
            "port 443 of a.org",
        ),
        (
            "*.a.org",
            ChallengeKind::Dns01,
            "unauthorized",
            TroubleKind::NotProven,
            "proof of *.a.org by dns-01",
            "`_acme-challenge.a.org`",
        ),
        (
            "*.a.org",
            ChallengeKind::Dns01,
            "caa",
            TroubleKind::Refused,
            "CAA record",
            "`a.org. CAA 0 issuewild \"ca.example\"`",
        ),
        (
            "a.org",
            ChallengeKind::Http01,
            "caa",
            TroubleKind::Refused,
            "CAA record",
            "`a.org. CAA 0 issue \"ca.example\"`",
        ),
        (
            "a.org",
            ChallengeKind::Http01,
            "malformed",
            TroubleKind::NotProven,
            "proof of a.org",
            "something else answers",
        ),
        (
            "a.org",
            ChallengeKind::Http01,
            "serverInternal",
            TroubleKind::Unreachable,
            "fault of its own",
            "tried again",
        ),
    ] {
        let proving = Proving {
            name,
            kind: way,
            caa_identities: &identities,
        };
        let trouble = explain(&say(type_, "No."), Some(&proving));
        assert_eq!(trouble.kind, kind, "{type_}");
        assert!(trouble.what.contains(what), "{type_}: {}", trouble.what);
        assert!(trouble.hint.contains(hint), "{type_}: {}", trouble.hint);
    }
}

#[test]
fn each_name_of_a_compound_problem_is_told() {
    let said = Said::read(
        br#"{"type": "urn:ietf:params:acme:error:compound", "detail": "Two names",
             "subproblems": [
                {"type": "urn:ietf:params:acme:error:caa", "detail": "Forbidden",
                 "identifier": {"type": "dns", "value": "a.org"}},
                {"detail": "Odd"}]}"#,
    )
    .unwrap();
    assert_eq!(
        explain(&said, None).causes,
        ["Two names (compound)", "for a.org: Forbidden (caa)", "Odd"]
    );
}

#[test]
fn new_terms_are_told_with_their_address() {
    let said = Said::read(
        br#"{"type": "urn:ietf:params:acme:error:userActionRequired", "detail": "Terms have changed",
             "instance": "https://ca.example/terms"}"#,
    )
    .unwrap();
    assert!(
        explain(&said, None)
            .hint
            .contains("https://ca.example/terms")
    );
}

#[test]
fn what_is_no_problem_document_is_not_taken_for_one() {
    for body in [
        "",
        "<html>Bad gateway</html>",
        "{}",
        "[1]",
        r#"{"status": 502}"#,
    ] {
        assert_eq!(Said::read(body.as_bytes()), None, "{body}");
    }
}
