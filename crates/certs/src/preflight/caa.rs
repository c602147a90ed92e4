//! Whether CAA records let an authority give a certificate (RFC 8659, RFC 8657). Looks nothing up.

use super::{Finding, Verdict};
use crate::challenge::ChallengeKind;
use crate::dns::{CaaRecord, CaaSet};
use crate::name::CertificateName;

/// Tags that authorities understand, as far as names of servers go.
const KNOWN_TAGS: [&str; 4] = ["issue", "issuewild", "iodef", "issuemail"];

/// Judges the records that count for a name.
pub(super) fn judge(
    set: Option<&CaaSet>,
    name: &CertificateName,
    identities: &[String],
    kinds: &[ChallengeKind],
) -> Finding {
    let Some(set) = set else {
        return Finding::new(
            name,
            Verdict::Fine,
            format!("no CAA record forbids a certificate for `{name}`"),
        );
    };
    let at = &set.at;
    let strange = set
        .records
        .iter()
        .find(|record| record.critical && !KNOWN_TAGS.contains(&record.tag.as_str()));
    if let Some(record) = strange {
        return Finding::new(
            name,
            Verdict::Problem,
            format!(
                "the CAA record at `{at}` with the tag `{}` is marked as critical, and authorities do not know it",
                record.tag
            ),
        )
        .hint("remove that record, or its flag 128");
    }
    let tag = tag_for(set, name);
    let issuers: Vec<Option<Issuer>> = set
        .records
        .iter()
        .filter(|record| record.tag == tag)
        .map(Issuer::read)
        .collect();
    let names = named(&issuers);
    if issuers.is_empty() {
        return Finding::new(
            name,
            Verdict::Fine,
            format!("the CAA records at `{at}` forbid no certificate for `{name}`"),
        );
    }
    if identities.is_empty() && !names.is_empty() {
        return Finding::new(
            name,
            Verdict::Warning,
            format!(
                "the CAA records at `{at}` let only {} give certificates for `{name}`",
                names.join(" and ")
            ),
        )
        .hint("check that your authority is among them");
    }
    let matching: Vec<&Issuer> = issuers
        .iter()
        .flatten()
        .filter(|issuer| {
            identities
                .iter()
                .any(|identity| identity.eq_ignore_ascii_case(&issuer.domain))
        })
        .collect();
    if matching.is_empty() {
        return forbidden(at, name, tag, &names, identities);
    }
    by_methods(&matching, at, name, kinds)
}

/// Which tag counts: that for wildcards only if there is one (RFC 8659 §4.3).
fn tag_for(set: &CaaSet, name: &CertificateName) -> &'static str {
    let has_wild = set.records.iter().any(|record| record.tag == "issuewild");
    if name.is_wildcard() && has_wild {
        "issuewild"
    } else {
        "issue"
    }
}

/// The authorities that records name.
fn named(issuers: &[Option<Issuer>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for issuer in issuers.iter().flatten() {
        let name = format!("`{}`", issuer.domain);
        if !issuer.domain.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn forbidden(
    at: &str,
    name: &CertificateName,
    tag: &str,
    names: &[String],
    identities: &[String],
) -> Finding {
    let what = if names.is_empty() {
        format!("the CAA records at `{at}` let no authority give certificates for `{name}`")
    } else {
        let ours = identities.first().map_or("yours", String::as_str);
        format!(
            "the CAA records at `{at}` let only {} give certificates for `{name}`, not `{ours}`",
            names.join(" and ")
        )
    };
    let value = identities
        .first()
        .map_or("the name of your authority", String::as_str);
    let record = |at: &str| format!("`{at}. CAA 0 {tag} \"{value}\"`");
    let hint = if at == name.base() {
        format!("add the record {}", record(at))
    } else {
        format!(
            "add the record {}, or, for this name alone, {}",
            record(at),
            record(name.base())
        )
    };
    Finding::new(name, Verdict::Problem, what).hint(hint)
}

/// Judges records that name the authority: they may bind it to an account and to ways of proof (RFC 8657).
fn by_methods(
    matching: &[&Issuer],
    at: &str,
    name: &CertificateName,
    kinds: &[ChallengeKind],
) -> Finding {
    let allows = |kind: &ChallengeKind| matching.iter().any(|issuer| issuer.allows(*kind));
    let domain = matching.first().map_or("", |issuer| issuer.domain.as_str());
    let Some(first) = kinds.iter().find(|kind| allows(kind)) else {
        let methods: Vec<&str> = matching
            .iter()
            .flat_map(|issuer| issuer.methods.iter().flatten())
            .map(String::as_str)
            .collect();
        return Finding::new(
            name,
            Verdict::Problem,
            format!(
                "the CAA records at `{at}` let `{domain}` give certificates for `{name}` only by {}",
                if methods.is_empty() {
                    "no method".to_owned()
                } else {
                    methods.join(" and ")
                }
            ),
        )
        .hint("choose one of them as `challenge`, or add yours to `validationmethods` in the record");
    };
    if kinds.first() != Some(first) {
        return Finding::new(
            name,
            Verdict::Warning,
            format!("the CAA records at `{at}` let `{name}` be proven by {first} alone, of the ways that are tried"),
        )
        .hint(format!("write `challenge = \"{first}\"`, so that no time is lost"));
    }
    let usable = || matching.iter().filter(|issuer| issuer.allows(*first));
    if usable().all(|issuer| issuer.account.is_some()) {
        let accounts: Vec<&str> = usable()
            .filter_map(|issuer| issuer.account.as_deref())
            .collect();
        return Finding::new(
            name,
            Verdict::Warning,
            format!(
                "the CAA records at `{at}` let `{domain}` give certificates for `{name}` only to the account {}",
                accounts.join(" or ")
            ),
        )
        .hint("check that this is the account of this server, or leave `accounturi` out of the record");
    }
    Finding::new(
        name,
        Verdict::Fine,
        format!("the CAA records at `{at}` let `{domain}` give certificates for `{name}`"),
    )
}

/// Who may give certificates, as one record says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Issuer {
    /// Empty means nobody.
    domain: String,
    account: Option<String>,
    methods: Option<Vec<String>>,
}

impl Issuer {
    /// Reads a value (RFC 8659 §4.2); one that is not well-formed names nobody.
    fn read(record: &CaaRecord) -> Option<Self> {
        let blank = [' ', '\t'];
        let mut parts = record.value.split(';').map(|part| part.trim_matches(blank));
        let domain = parts.next().unwrap_or_default();
        let is_domain = domain.is_empty() || domain.split('.').all(is_label);
        if !is_domain {
            return None;
        }
        let mut issuer = Self {
            domain: domain.to_ascii_lowercase(),
            account: None,
            methods: None,
        };
        for parameter in parts.filter(|part| !part.is_empty()) {
            let (tag, value) = parameter.split_once('=')?;
            let (tag, value) = (tag.trim_matches(blank), value.trim_matches(blank));
            if !is_label(tag) || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
                return None;
            }
            match tag.to_ascii_lowercase().as_str() {
                "accounturi" => issuer.account = Some(value.to_owned()),
                "validationmethods" => {
                    let methods = value.split(',').map(str::to_ascii_lowercase);
                    issuer.methods = Some(methods.filter(|method| !method.is_empty()).collect());
                }
                // Others are between the owner of the name and the authority.
                _ => {}
            }
        }
        Some(issuer)
    }

    fn allows(&self, kind: ChallengeKind) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == kind.name()))
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};

    use super::*;

    fn record(text: &str) -> CaaRecord {
        let (flags, rest) = text.split_once(' ').unwrap();
        let (tag, value) = rest.split_once(' ').unwrap();
        CaaRecord {
            critical: flags == "128",
            tag: tag.to_owned(),
            value: value.to_owned(),
        }
    }

    fn judged(
        name: &str,
        records: &[&str],
        identities: &[&str],
        kinds: &[ChallengeKind],
    ) -> Finding {
        let set = CaaSet {
            at: "example.org".to_owned(),
            records: records.iter().map(|text| record(text)).collect(),
        };
        let identities: Vec<String> = identities.iter().map(|text| (*text).to_owned()).collect();
        judge(Some(&set), &name.parse().unwrap(), &identities, kinds)
    }

    #[test]
    fn records_let_an_authority_or_forbid_it() {
        use Verdict::{Fine, Problem};
        let (plain, wild) = ("a.example.org", "*.example.org");
        for (name, records, verdict) in [
            (plain, &["0 issue letsencrypt.org"][..], Fine),
            (plain, &["0 issue LetsEncrypt.ORG"], Fine),
            (plain, &["0 issue  letsencrypt.org ; "], Fine),
            (plain, &["0 issue other.example"], Problem),
            (
                plain,
                &["0 issue other.example", "0 issue letsencrypt.org"],
                Fine,
            ),
            (plain, &["0 issue ;"], Problem),
            (plain, &["0 issue ;", "0 issue letsencrypt.org"], Fine),
            (plain, &["0 iodef mailto:admin@example.org"], Fine),
            (plain, &["0 unheard of"], Fine),
            (plain, &["128 unheard of"], Problem),
            (
                plain,
                &["128 unheard of", "0 issue letsencrypt.org"],
                Problem,
            ),
            (plain, &["128 issue letsencrypt.org"], Fine),
            (plain, &["0 issuewild ;"], Fine),
            (wild, &["0 issuewild ;"], Problem),
            (wild, &["0 issue letsencrypt.org"], Fine),
            (
                wild,
                &["0 issue letsencrypt.org", "0 issuewild other.example"],
                Problem,
            ),
            (wild, &["0 issue ;", "0 issuewild letsencrypt.org"], Fine),
            (
                plain,
                &["0 issue ;", "0 issuewild letsencrypt.org"],
                Problem,
            ),
            // What is not well-formed names nobody.
            (plain, &["0 issue letsencrypt.org%20"], Problem),
            (plain, &["0 issue letsencrypt.org; nonsense"], Problem),
            (plain, &["0 issue letsencrypt.org; key=value"], Fine),
        ] {
            let finding = judged(name, records, &["letsencrypt.org"], &[Dns01]);
            assert_eq!(finding.verdict, verdict, "{name} {records:?}: {finding:?}");
            assert_eq!(finding.hint.is_some(), verdict == Problem, "{finding:?}");
        }
    }

    #[test]
    fn records_bind_to_methods_and_accounts() {
        use Verdict::{Fine, Problem, Warning};
        let only = |rest: &str| format!("0 issue letsencrypt.org; {rest}");
        let by_dns = only("validationmethods=dns-01");
        let by_two = only("validationmethods=tls-alpn-01,HTTP-01");
        let mine = only("accounturi=https://ca.example/acct/1");
        for (records, kinds, verdict) in [
            (vec![by_dns.as_str()], &[Dns01][..], Fine),
            (vec![&by_dns], &[Http01, TlsAlpn01], Problem),
            (vec![&by_dns], &[Http01, Dns01], Warning),
            (vec![&by_two], &[Http01, TlsAlpn01], Fine),
            (vec![&by_two], &[Dns01], Problem),
            (vec![&by_dns, &by_two], &[Http01, Dns01], Fine),
            (vec![&mine], &[Http01], Warning),
            (vec![&mine, &by_two], &[Http01], Fine),
            (vec![&mine, &by_two], &[Dns01], Warning),
        ] {
            let finding = judged("a.example.org", &records, &["letsencrypt.org"], kinds);
            assert_eq!(
                finding.verdict, verdict,
                "{records:?} {kinds:?}: {finding:?}"
            );
        }
    }

    #[test]
    fn the_record_to_add_is_told() {
        let told = |name: &str, records: &[&str]| {
            judged(name, records, &["letsencrypt.org"], &[Dns01])
                .hint
                .unwrap()
        };
        assert_eq!(
            told("example.org", &["0 issue other.example"]),
            "add the record `example.org. CAA 0 issue \"letsencrypt.org\"`"
        );
        assert!(told("*.example.org", &["0 issuewild ;"]).contains("CAA 0 issuewild"));
        assert!(
            told("a.example.org", &["0 issue ;"])
                .contains("for this name alone, `a.example.org. CAA 0 issue \"letsencrypt.org\"`")
        );
    }

    #[test]
    fn who_is_allowed_is_told_if_the_authority_has_no_name() {
        let finding = judged("a.example.org", &["0 issue one.example"], &[], &[Http01]);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(
            finding.what.contains("let only `one.example`"),
            "{finding:?}"
        );
        let finding = judged("a.example.org", &["0 issue ;"], &[], &[Http01]);
        assert_eq!(finding.verdict, Verdict::Problem);
        let finding = judge(None, &"a.org".parse().unwrap(), &[], &[Http01]);
        assert_eq!(finding.verdict, Verdict::Fine);
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_read_without_a_panic(value: String) {
            let _ = Issuer::read(&CaaRecord { critical: false, tag: "issue".to_owned(), value });
        }
    }
}
