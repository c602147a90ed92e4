//! `[tls.acme]`: from whom certificates come, and how names are proven.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::dns::DnsConfig;
use crate::name::CertificateName;
use crate::trouble::{Trouble, TroubleKind, plain};

/// From whom certificates come (ACME, RFC 8555), and how names are proven.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// The address to which the authority may write. Not all do.
    #[schemars(example = "admin@example.org")]
    pub email: Option<String>,

    /// Whether you have read the authority's terms and agree to them; without that, it gives no certificates. Those of
    /// Let's Encrypt are at <https://letsencrypt.org/repository/>.
    pub agree_to_terms: bool,

    /// The authority: `letsencrypt`, `letsencrypt-staging` (for trials: browsers do not know its certificates, and its
    /// limits are wide), or the URL of any other's directory.
    pub directory: Authority,

    /// A PEM file with the authorities that the directory's own certificate may come from, instead of those that this
    /// machine knows: for an authority of one's own.
    #[schemars(example = "/etc/lyceum/our-ca.pem", extend("format" = "path"))]
    pub ca_file: Option<PathBuf>,

    /// How names are proven. `auto` tries `http-01`, then `tls-alpn-01`, then, if `dns` is set, `dns-01`, which is the only
    /// way for wildcards.
    pub challenge: ChallengeChoice,

    /// The profile of the certificates, where the authority has several, such as `shortlived` for those of six days.
    #[schemars(example = &"shortlived")]
    pub profile: Option<String>,

    /// The id of the account at the authority to which this one is bound (external account binding), where it asks for
    /// one. Needs `eab_secret_file`.
    #[schemars(example = "kid-1")]
    pub eab_key_id: Option<String>,

    /// A file with the key for that, as the authority has told it (base64url).
    #[schemars(example = "/etc/lyceum/eab.key", extend("format" = "path"))]
    pub eab_secret_file: Option<PathBuf>,

    /// How records for `dns-01` get into the DNS: by RFC 2136, or by a program of yours.
    pub dns: DnsConfig,
}

impl AcmeConfig {
    /// Why an authority never gives a certificate for a name, so that it need not be asked.
    pub(crate) fn never_gives(
        &self,
        authority: &Authority,
        name: &CertificateName,
    ) -> Option<Trouble> {
        if authority.is_public() && name.is_inner() {
            return Some(Trouble::new(
                TroubleKind::Configuration,
                format!(
                    "no public authority gives a certificate for `{name}`, which is nobody's name on the internet"
                ),
                "name the server by a name of yours in the public DNS; or set `tls.acme.directory` to an authority of \
                 your own; or let Lyceum sign it itself: `tls.source = \"self-signed\"`",
            ));
        }
        if self.challenge == ChallengeChoice::Dns01 && name.address().is_some() {
            // RFC 8738 §7.
            return Some(Trouble::new(
                TroubleKind::Configuration,
                format!("`{name}` cannot be proven by dns-01: the DNS proves names, not addresses"),
                "set `tls.acme.challenge` to `auto`, or take the address out of `[tls]`",
            ));
        }
        None
    }

    /// What is doubtful about the address for mail; not all authorities look at it.
    pub(super) fn email_doubt(&self) -> Option<(String, String)> {
        let email = self.email.as_deref().filter(|email| !is_address(email))?;
        Some((
            format!("`{}` is not an e-mail address", plain(email)),
            "for example `email = \"admin@example.org\"`: authorities may refuse an account with it"
                .to_owned(),
        ))
    }

    /// What cannot work for these names.
    pub(super) fn problems(&self, names: &[CertificateName]) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if !self.agree_to_terms {
            problems.push((
                "agree_to_terms",
                "no certificate is given to those who have not agreed to the authority's terms: read them, then set it to `true`"
                    .to_owned(),
            ));
        }
        if let Some(email) = &self.email
            && (!email.contains('@') || email.contains([' ', '?', ',', '<']))
        {
            problems.push(("email", format!("`{email}` is not an e-mail address")));
        }
        if self.eab_key_id.is_some() != self.eab_secret_file.is_some() {
            problems.push((
                "eab_key_id",
                "`eab_key_id` and `eab_secret_file` belong together".to_owned(),
            ));
        }
        let wildcard = names.iter().find(|name| name.is_wildcard());
        match (self.challenge, self.dns.is_set(), wildcard) {
            (ChallengeChoice::Dns01, false, _) => {
                problems.push(("dns", "is needed for `challenge = \"dns-01\"`".to_owned()));
            }
            (_, false, Some(name)) => problems.push((
                "dns",
                format!("is needed for `{name}`: wildcards are proven by dns-01 only"),
            )),
            (ChallengeChoice::Http01 | ChallengeChoice::TlsAlpn01, _, Some(name)) => problems.push((
                "challenge",
                format!("must be `auto` or `dns-01` for `{name}`: wildcards are proven by dns-01 only"),
            )),
            _ => {}
        }
        problems.extend(self.dns.problems());
        problems
    }
}

/// Whether a text may be an address for mail. Who takes mail there only the authority finds out.
fn is_address(text: &str) -> bool {
    let odd =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | ',' | '<' | '>' | ':');
    text.split_once('@').is_some_and(|(who, host)| {
        !who.is_empty() && !host.contains('@') && host.parse::<CertificateName>().is_ok()
    }) && !text.contains(odd)
}

/// How names are proven.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChallengeChoice {
    /// By what works
    #[default]
    #[serde(rename = "auto")]
    Auto,
    /// By a file at port 80
    #[serde(rename = "http-01")]
    Http01,
    /// By a certificate at port 443
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
    /// By a record in the DNS
    #[serde(rename = "dns-01")]
    Dns01,
}

/// Who gives certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Authority {
    /// Let's Encrypt.
    #[default]
    LetsEncrypt,
    /// Let's Encrypt's own place for trials.
    LetsEncryptStaging,
    /// Any other, by the URL of its directory.
    Url(String),
}

/// It is no authority.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no authority: write `letsencrypt`, `letsencrypt-staging`, or the URL of a directory that begins with \
     `https://`"
)]
pub struct AuthorityError(String);

impl Authority {
    /// The URL of its directory.
    pub fn url(&self) -> &str {
        match self {
            Self::LetsEncrypt => "https://acme-v02.api.letsencrypt.org/directory",
            Self::LetsEncryptStaging => "https://acme-staging-v02.api.letsencrypt.org/directory",
            Self::Url(url) => url,
        }
    }

    /// Whether it is one that looks from the internet: not one of our own, which may know other names.
    pub(crate) fn is_public(&self) -> bool {
        // Also by its URL, as the documentation of other programs has it. Its account stays where it is then.
        [Self::LetsEncrypt, Self::LetsEncryptStaging]
            .iter()
            .any(|known| known.url() == self.url())
    }

    /// The place for trials that belongs to it, if there is one that is known.
    pub fn staging(&self) -> Option<Self> {
        self.is_public().then_some(Self::LetsEncryptStaging)
    }

    /// A name for files.
    pub fn file_name(&self) -> String {
        match self {
            Self::LetsEncrypt => "letsencrypt".to_owned(),
            Self::LetsEncryptStaging => "letsencrypt-staging".to_owned(),
            Self::Url(url) => {
                let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
                let plain: String = rest
                    .chars()
                    .map(|c| {
                        if c.is_ascii_alphanumeric() || c == '.' {
                            c
                        } else {
                            '-'
                        }
                    })
                    .collect();
                plain.trim_matches(['-', '.']).to_owned()
            }
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LetsEncrypt => f.write_str("letsencrypt"),
            Self::LetsEncryptStaging => f.write_str("letsencrypt-staging"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl FromStr for Authority {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, AuthorityError> {
        match text {
            "letsencrypt" => Ok(Self::LetsEncrypt),
            "letsencrypt-staging" => Ok(Self::LetsEncryptStaging),
            url => match url.strip_prefix("https://") {
                Some(rest) if !rest.is_empty() && url.parse::<http::Uri>().is_ok() => {
                    Ok(Self::Url(url.to_owned()))
                }
                _ => Err(AuthorityError(text.to_owned())),
            },
        }
    }
}

impl TryFrom<String> for Authority {
    type Error = AuthorityError;
    fn try_from(text: String) -> Result<Self, AuthorityError> {
        text.parse()
    }
}

impl From<Authority> for String {
    fn from(authority: Authority) -> Self {
        authority.to_string()
    }
}

impl JsonSchema for Authority {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Authority".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "examples": ["letsencrypt", "letsencrypt-staging", "https://ca.example.org/acme/directory"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_have_names_or_directories() {
        for text in [
            "letsencrypt",
            "letsencrypt-staging",
            "https://ca.example.org/acme/acme/directory",
        ] {
            assert_eq!(text.parse::<Authority>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "http://ca.example.org/",
            "https://",
            "lets-encrypt",
            "https://a b",
        ] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
        for known in [Authority::LetsEncrypt, Authority::LetsEncryptStaging] {
            let by_url = Authority::Url(known.url().to_owned());
            assert_eq!(by_url.staging(), Some(Authority::LetsEncryptStaging));
        }
        let other: Authority = "https://ca.example.org:9000/acme/directory"
            .parse()
            .unwrap();
        assert_eq!(other.file_name(), "ca.example.org-9000-acme-directory");
    }
}
