//! `[tls]`: which names are served by HTTPS, and where their certificates come from.

use std::path::PathBuf;

use lyceum_core::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::challenge::ChallengeKind;
use crate::keys::KeyType;
use crate::name::CertificateName;

mod acme;
mod dns;

pub use acme::{AcmeConfig, Authority, AuthorityError, ChallengeChoice};
pub use dns::{
    DnsCommandConfig, DnsConfig, DnsServer, DnsServerError, Rfc2136Config, TsigAlgorithm,
};

/// HTTPS: the names of this server, and where their certificates come from.
///
/// With a name in `domains`, Lyceum listens at ports 80 and 443, sends browsers from the one to the other, gets a
/// certificate for each name from Let's Encrypt, and renews it in time. Until the first one is there, it shows one
/// that is signed by itself, of which browsers warn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The names by which people reach this server, the most usual one first. Each gets a certificate of its own, so that
    /// one that fails holds up no other. `*.example.org` stands for all names of one level below, and needs
    /// `tls.acme.dns`.
    #[schemars(extend("x-with" = "acme = { agree_to_terms = true }"), example = ["jupyter.example.org"])]
    pub domains: Vec<CertificateName>,

    /// Where certificates for `domains` come from.
    pub source: TlsSource,

    /// Further certificates: from files, from certbot, or one for several names together. Which one a visitor is shown is
    /// decided by the name that they ask for; one from files is preferred to one for the same name that is signed by
    /// itself.
    ///
    /// ```toml
    /// [[tls.certificates]]
    /// certificate_file = "/etc/ssl/example.org.pem"
    /// key_file = "/etc/ssl/private/example.org.key"
    ///
    /// [[tls.certificates]]
    /// certbot = "jupyter.example.org"
    ///
    /// [[tls.certificates]]
    /// names = ["a.example.org", "b.example.org"]
    ///
    /// [tls.acme]
    /// agree_to_terms = true
    /// ```
    pub certificates: Vec<CertificateConfig>,

    /// Which kind of key new certificates are for.
    pub key_type: KeyType,

    /// The oldest version of TLS that is spoken.
    pub min_version: TlsVersion,

    /// How long before a certificate ends people are warned of it, in the log and on administrators' pages. For those
    /// that live shorter than three times as long, it is a third of their life.
    #[schemars(example = "20 days")]
    pub warn_before: HumanDuration,

    /// Authorities whose certificates visitors can show, for services with `client_certificate`: a PEM file. Nobody else
    /// is asked for a certificate; one that these authorities have not made ends the connection.
    #[schemars(example = "/etc/lyceum/students-ca.pem", extend("format" = "path"))]
    pub client_ca_file: Option<PathBuf>,

    /// A folder in which another program, such as `certbot --webroot`, puts its answers for authorities: what is not
    /// Lyceum's own is looked up in `.well-known/acme-challenge` in it.
    #[schemars(example = "/var/www/html", extend("format" = "path"))]
    pub challenge_folder: Option<PathBuf>,

    /// From whom certificates come, and how names are proven.
    pub acme: AcmeConfig,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            source: TlsSource::default(),
            certificates: Vec::new(),
            key_type: KeyType::default(),
            min_version: TlsVersion::default(),
            warn_before: HumanDuration::from_secs(20 * 24 * 3600),
            client_ca_file: None,
            challenge_folder: None,
            acme: AcmeConfig::default(),
        }
    }
}

/// Where certificates for names come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsSource {
    /// From an authority that speaks ACME, such as Let's Encrypt
    #[default]
    Acme,
    /// From nobody: signed by themselves, and browsers warn of them
    SelfSigned,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2: since 2008
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3: since 2018
    #[serde(rename = "1.3")]
    Tls13,
}

/// A certificate beside those of `tls.domains`: one for `names`, or from files, or from certbot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CertificateConfig {
    /// The names of one certificate that Lyceum gets, as `tls.source` says. Without files only.
    pub names: Vec<CertificateName>,

    /// The file with the certificate, and those of the authorities between it and the root behind it. When it changes,
    /// it is read again; connections stay. A new one that cannot be used is left, and the log says why.
    #[schemars(example = "/etc/ssl/example.org.pem", extend("format" = "path", "x-with" = "key_file = \"/etc/ssl/private/example.org.key\""))]
    pub certificate_file: Option<PathBuf>,

    /// The file with its key.
    #[schemars(example = "/etc/ssl/private/example.org.key", extend("format" = "path", "x-with" = "certificate_file = \"/etc/ssl/example.org.pem\""))]
    pub key_file: Option<PathBuf>,

    /// The name of a certificate that certbot looks after: `/etc/letsencrypt/live/NAME`. Certbot makes its files for root
    /// alone: `setfacl -R -m u:lyceum:rX /etc/letsencrypt/live /etc/letsencrypt/archive` lets Lyceum read them.
    #[schemars(example = "jupyter.example.org")]
    pub certbot: Option<String>,
}

/// Where certbot keeps what it has got.
const CERTBOT_FOLDER: &str = "/etc/letsencrypt/live";

/// A certificate that shall be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Its name in files, commands and the log.
    pub id: String,
    /// For which names; empty if the files tell.
    pub names: Vec<CertificateName>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Something that can be used, and is probably not what was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The key below `tls`.
    pub key: &'static str,
    /// What is wrong with it; a sentence's beginning.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// From the configured authority.
    Acme,
    /// Signed by itself.
    SelfSigned,
    /// From files, chain and key.
    Files(PathBuf, PathBuf),
}

impl TlsConfig {
    /// Whether HTTPS is served at all.
    pub fn is_on(&self) -> bool {
        !self.domains.is_empty() || !self.certificates.is_empty()
    }

    /// The certificates that shall be served, in the order of the configuration.
    pub fn wanted(&self) -> Vec<Wanted> {
        let origin = match self.source {
            TlsSource::Acme => Origin::Acme,
            TlsSource::SelfSigned => Origin::SelfSigned,
        };
        let named = |names: &[CertificateName]| {
            let mut once: Vec<CertificateName> = Vec::with_capacity(names.len());
            for name in names {
                if !once.contains(name) {
                    once.push(name.clone());
                }
            }
            once.first()
                .map(CertificateName::file_name)
                .map(|id| Wanted {
                    id,
                    names: once,
                    origin: origin.clone(),
                })
        };
        let single = self
            .domains
            .iter()
            .filter_map(|name| named(std::slice::from_ref(name)));
        let further = self.certificates.iter().filter_map(|certificate| {
            if let Some(name) = &certificate.certbot {
                let folder = PathBuf::from(CERTBOT_FOLDER).join(name);
                return Some(Wanted {
                    id: format!("certbot-{name}"),
                    names: Vec::new(),
                    origin: Origin::Files(folder.join("fullchain.pem"), folder.join("privkey.pem")),
                });
            }
            if let (Some(chain), Some(key)) = (&certificate.certificate_file, &certificate.key_file)
            {
                let name = chain.file_stem().unwrap_or_default().to_string_lossy();
                return Some(Wanted {
                    id: format!("file-{name}"),
                    names: Vec::new(),
                    origin: Origin::Files(chain.clone(), key.clone()),
                });
            }
            named(&certificate.names)
        });
        let mut wanted: Vec<Wanted> = Vec::new();
        for mut one in single.chain(further) {
            let taken = |id: &str| wanted.iter().any(|other| other.id == id);
            let mut number = 2;
            let base = one.id.clone();
            while taken(&one.id) {
                one.id = format!("{base}-{number}");
                number += 1;
            }
            wanted.push(one);
        }
        wanted
    }

    /// Lists what cannot work although each value has the right form: the key below `tls`, and what is wrong with it.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut add = |key: &str, text: String| problems.push((key.to_owned(), text));
        for (at, name) in self.domains.iter().enumerate() {
            if self.domains.iter().take(at).any(|other| other == name) {
                add("domains", format!("`{name}` is listed twice"));
            }
        }
        for certificate in &self.certificates {
            let files = (&certificate.certificate_file, &certificate.key_file);
            let by_file = match files {
                (Some(_), Some(_)) => true,
                (None, None) => false,
                (Some(_), None) => {
                    add(
                        "certificates",
                        "`certificate_file` needs `key_file`".to_owned(),
                    );
                    continue;
                }
                (None, Some(_)) => {
                    add(
                        "certificates",
                        "`key_file` needs `certificate_file`".to_owned(),
                    );
                    continue;
                }
            };
            let ways = usize::from(by_file)
                + usize::from(certificate.certbot.is_some())
                + usize::from(!certificate.names.is_empty());
            if ways != 1 {
                add(
                    "certificates",
                    "each has either `names`, or `certificate_file` and `key_file`, or `certbot`"
                        .to_owned(),
                );
            }
            if certificate
                .certbot
                .as_deref()
                .is_some_and(|name| name.is_empty() || name.starts_with('.') || name.contains('/'))
            {
                add(
                    "certificates",
                    "`certbot` is the name of a folder in /etc/letsencrypt/live".to_owned(),
                );
            }
        }
        let by_acme: Vec<_> = self
            .wanted()
            .into_iter()
            .filter(|wanted| wanted.origin == Origin::Acme)
            .flat_map(|wanted| wanted.names)
            .collect();
        if !by_acme.is_empty() {
            for (key, text) in self.acme.problems(&by_acme) {
                add(&format!("acme.{key}"), text);
            }
        }
        problems
    }

    /// Lists what is probably not meant, or gets no certificate: the key below `tls`, what is wrong with it, and what to
    /// do. None of it keeps a server from its work, on which one that stands in may be shown meanwhile.
    pub fn doubts(&self) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        for certificate in &self.certificates {
            for (at, name) in certificate.names.iter().enumerate() {
                if certificate.names.iter().take(at).any(|other| other == name) {
                    doubts.push(Doubt {
                        key: "certificates",
                        what: format!("a certificate names `{name}` twice"),
                        hint: "once is enough".to_owned(),
                    });
                }
            }
        }
        let mut told: Vec<CertificateName> = Vec::new();
        let by_acme = |wanted: &Wanted| wanted.origin == Origin::Acme;
        for wanted in self.wanted().into_iter().filter(by_acme) {
            for name in wanted.names {
                let trouble = self.acme.never_gives(&self.acme.directory, &name);
                if let Some(trouble) = trouble.filter(|_| !told.contains(&name)) {
                    let key = if self.domains.contains(&name) {
                        "domains"
                    } else {
                        "certificates"
                    };
                    doubts.push(Doubt {
                        key,
                        what: trouble.what,
                        hint: trouble.hint,
                    });
                    told.push(name);
                }
            }
        }
        if self.wanted().iter().any(by_acme)
            && let Some((what, hint)) = self.acme.email_doubt()
        {
            doubts.push(Doubt {
                key: "acme.email",
                what,
                hint,
            });
        }
        doubts
    }

    /// The ways in which a name can be proven, the first to try first.
    pub fn challenges(&self, name: &CertificateName) -> Vec<ChallengeKind> {
        let dns = self.acme.dns.is_set();
        match self.acme.challenge {
            ChallengeChoice::Http01 => vec![ChallengeKind::Http01],
            ChallengeChoice::TlsAlpn01 => vec![ChallengeKind::TlsAlpn01],
            ChallengeChoice::Dns01 => vec![ChallengeKind::Dns01],
            ChallengeChoice::Auto if name.is_wildcard() => vec![ChallengeKind::Dns01],
            ChallengeChoice::Auto => {
                let mut kinds = vec![ChallengeKind::Http01, ChallengeKind::TlsAlpn01];
                if dns && name.address().is_none() {
                    kinds.push(ChallengeKind::Dns01);
                }
                kinds
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TlsConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_name_and_an_agreement_are_enough() {
        let config = read(
            r#"{"domains": ["a.example.org"], "acme": {"email": "me@example.org", "agree_to_terms": true}}"#,
        );
        assert!(config.problems().is_empty(), "{:?}", config.problems());
        assert!(config.is_on());
        assert_eq!(config.wanted()[0].origin, Origin::Acme);
        assert!(!TlsConfig::default().is_on());
    }

    #[test]
    fn nobody_agrees_by_accident() {
        let config = read(r#"{"domains": ["a.example.org"]}"#);
        assert_eq!(config.problems()[0].0, "acme.agree_to_terms");
        let config = read(r#"{"domains": ["a.example.org"], "source": "self-signed"}"#);
        assert!(config.problems().is_empty());
    }

    #[test]
    fn a_wildcard_needs_the_dns() {
        let config = read(r#"{"domains": ["*.example.org"], "acme": {"agree_to_terms": true}}"#);
        assert_eq!(config.problems()[0].0, "acme.dns");
    }

    #[test]
    fn each_certificate_comes_from_one_place() {
        let check = |text: &str, good: bool| {
            let config = read(&format!(r#"{{"certificates": [{text}]}}"#));
            let files_only: Vec<_> = config
                .problems()
                .into_iter()
                .filter(|(key, _)| key == "certificates")
                .collect();
            assert_eq!(files_only.is_empty(), good, "{text}: {files_only:?}");
        };
        check(r#"{"certbot": "a"}"#, true);
        check(r#"{"certificate_file": "/a", "key_file": "/b"}"#, true);
        check(r#"{"names": ["a.org", "b.org"]}"#, true);
        check("{}", false);
        check(r#"{"certificate_file": "/a"}"#, false);
        check(r#"{"names": ["a.org"], "certbot": "a"}"#, false);
        check(r#"{"certbot": "../x"}"#, false);
    }

    #[test]
    fn what_gets_no_certificate_is_doubted_and_no_error() {
        let doubts = |names: &str, more: &str| -> Vec<&'static str> {
            let config = read(&format!(
                r#"{{"domains": [{names}], "acme": {{"agree_to_terms": true{more}}}}}"#
            ));
            assert!(config.problems().is_empty(), "{:?}", config.problems());
            config.doubts().into_iter().map(|doubt| doubt.key).collect()
        };
        let inner = r#""hub.example.org", "hub.local""#;
        assert_eq!(doubts(inner, ""), ["domains"]);
        let by_url = r#", "directory": "https://acme-v02.api.letsencrypt.org/directory""#;
        assert_eq!(doubts(inner, by_url), ["domains"]);
        let own = r#", "directory": "https://ca.local/dir""#;
        assert!(doubts(inner, own).is_empty());
        assert!(doubts(r#""hub.example.org", "203.0.113.7""#, "").is_empty());
        let by_dns = r#", "challenge": "dns-01", "dns": {"kind": "command", "command": ["/x"]}"#;
        assert_eq!(doubts(r#""203.0.113.7""#, by_dns), ["domains"]);
        let mail = |address: &str| format!(r#", "email": "{address}""#);
        for good in [
            "admin@example.org",
            "a+b@mail.example.org",
            "a@büro.example",
        ] {
            assert!(doubts(r#""a.org""#, &mail(good)).is_empty(), "{good}");
        }
        for odd in [
            "admin@",
            "@example.org",
            "mailto:a@b.org",
            "a@b@c.org",
            "a@b.org\\n",
        ] {
            assert_eq!(doubts(r#""a.org""#, &mail(odd)), ["acme.email"], "{odd}");
        }
        let own = read(r#"{"domains": ["hub.local"], "source": "self-signed"}"#);
        assert!(own.doubts().is_empty());
    }

    #[test]
    fn a_name_that_is_written_twice_is_asked_for_once() {
        let config = read(
            r#"{"certificates": [{"names": ["a.org", "b.org", "A.org."]}], "acme": {"agree_to_terms": true}}"#,
        );
        assert!(config.problems().is_empty());
        assert_eq!(config.doubts()[0].key, "certificates");
        assert_eq!(config.wanted()[0].names.len(), 2);
    }

    #[test]
    fn certificates_have_names_of_their_own() {
        let config = read(
            r#"{"domains": ["a.org", "*.a.org"], "certificates": [
                {"certificate_file": "/x/a.pem", "key_file": "/x/a.key"},
                {"certificate_file": "/y/a.pem", "key_file": "/y/a.key"},
                {"names": ["a.org", "b.org"]}, {"certbot": "a.org"}]}"#,
        );
        let ids: Vec<_> = config.wanted().into_iter().map(|one| one.id).collect();
        assert_eq!(
            ids,
            [
                "a.org",
                "_.a.org",
                "file-a",
                "file-a-2",
                "a.org-2",
                "certbot-a.org"
            ]
        );
    }
}
