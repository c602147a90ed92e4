//! Names that certificates are for: DNS names, wildcards and addresses.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name in a certificate: `jupyter.example.org`, `*.jupyter.example.org`, or an IP address. Lower case, and as DNS has
/// it: `büro.example` becomes `xn--bro-hoa.example`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CertificateName(String);

/// Domains below which no public authority gives certificates: set aside for examples, trials and networks of one's own
/// (RFC 2606, 6761, 6762), or given to nobody since so many networks use them.
const INNER: [&str; 13] = [
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "test",
];

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateNameError {
    /// It is not a host's name.
    #[error(
        "`{0}` is not a name for a certificate: write a host's name such as `jupyter.example.org`, without scheme, \
         port and path"
    )]
    Malformed(String),
    /// It has letters beyond ASCII, and no form without them.
    #[error(
        "`{0}` is not a name for a certificate: its letters beyond ASCII have no form in the DNS (IDNA)"
    )]
    NotAscii(String),
    /// The star stands elsewhere than alone in front.
    #[error(
        "`{0}` is not a wildcard: the star stands for the whole first part, as in `*.example.org`"
    )]
    Wildcard(String),
}

impl CertificateName {
    /// The name as it stands in a certificate.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it stands for all names of one level below another.
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// The name without the star: of which the authority wants to see a proof.
    pub fn base(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.0.parse().ok()
    }

    /// Whether nobody on the internet can have it: one without a dot, one below a domain that nobody is given (also
    /// `home.arpa`, RFC 8375), and an inner address.
    pub(crate) fn is_inner(&self) -> bool {
        if let Some(address) = self.address() {
            return crate::preflight::is_private(address);
        }
        let base = self.base();
        let last = base.rsplit('.').next().unwrap_or_default();
        !base.contains('.')
            || INNER.contains(&last)
            || base == "home.arpa"
            || base.ends_with(".home.arpa")
    }

    /// Whether a certificate with this name is right for a host (RFC 6125 §6.4.3: the star covers one level).
    pub fn covers(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self.0.strip_prefix('*') {
            None => self.0.eq_ignore_ascii_case(host),
            Some(rest) => host.split_once('.').is_some_and(|(first, parent)| {
                !first.is_empty()
                    && rest
                        .strip_prefix('.')
                        .is_some_and(|rest| rest.eq_ignore_ascii_case(parent))
            }),
        }
    }

    /// A name for files: the star becomes `_`, the colons of an address `-`.
    pub fn file_name(&self) -> String {
        self.0.replace('*', "_").replace(':', "-")
    }
}

impl FromStr for CertificateName {
    type Err = CertificateNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            // As it is read from a certificate: there are many ways to write one address.
            return Ok(Self(address.to_string()));
        }
        if !text.is_ascii() {
            return in_ascii(text)
                .ok_or_else(|| CertificateNameError::NotAscii(text.to_owned()))?
                .parse();
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let base = name.strip_prefix("*.").unwrap_or(&name);
        if base.contains('*') {
            return Err(CertificateNameError::Wildcard(text.to_owned()));
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let is_number = base
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
        if base.is_empty() || base.len() > 253 || is_number || !base.split('.').all(label) {
            return Err(CertificateNameError::Malformed(text.to_owned()));
        }
        Ok(Self(name))
    }
}

/// A name with letters beyond ASCII as DNS has it (IDNA, RFC 5890 §2.3.2.1).
fn in_ascii(text: &str) -> Option<String> {
    let (star, base) = match text.strip_prefix("*.") {
        Some(base) => ("*.", base),
        None => ("", text),
    };
    match url::Host::parse(base) {
        // An address in digits of another script is more likely a mistake.
        Ok(url::Host::Domain(name)) if name.is_ascii() => Some(format!("{star}{name}")),
        _ => None,
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CertificateName {
    type Error = CertificateNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CertificateName> for String {
    fn from(name: CertificateName) -> Self {
        name.0
    }
}

impl JsonSchema for CertificateName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "CertificateName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "examples": ["jupyter.example.org", "*.jupyter.example.org"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hosts_wildcards_and_addresses() {
        for good in [
            "jupyter.example.org",
            "localhost",
            "*.example.org",
            "xn--bcher-kva.example",
            "192.0.2.1",
            "2001:db8::1",
            "_dmarc.example.org",
        ] {
            assert_eq!(good.parse::<CertificateName>().unwrap().as_str(), good);
        }
        assert_eq!(
            "Jupyter.Example.org.".parse::<CertificateName>().unwrap(),
            "jupyter.example.org".parse().unwrap()
        );
        assert_eq!(
            "2001:0DB8:0::1".parse::<CertificateName>().unwrap(),
            "2001:db8::1".parse().unwrap()
        );
        for bad in [
            "",
            "https://a.org",
            "a.org:443",
            "a.org/x",
            "a..org",
            "-a.org",
            "*",
            "a.*.org",
            "*a.org",
            "bü ro.example",
            "bü*.example",
            "https://büro.example",
            "büro.example:443",
            "büro\u{ad}..example",
            "１.2.3.4",
            "1.2.3.400",
            "a b.org",
        ] {
            assert!(bad.parse::<CertificateName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn letters_beyond_ascii_become_what_dns_has() {
        for (written, known) in [
            ("büro.example", "xn--bro-hoa.example"),
            ("BÜRO.Example.", "xn--bro-hoa.example"),
            ("*.büro.example", "*.xn--bro-hoa.example"),
            ("例え.example", "xn--r8jz45g.example"),
        ] {
            let name: CertificateName = written.parse().unwrap();
            assert_eq!(name.as_str(), known);
        }
    }

    #[test]
    fn names_that_nobody_on_the_internet_has_are_known() {
        let is_inner = |name: &str| name.parse::<CertificateName>().unwrap().is_inner();
        for name in [
            "localhost",
            "myserver",
            "hub.local",
            "*.hub.internal",
            "hub.home.arpa",
            "10.1.2.3",
            "127.0.0.1",
            "fd00::1",
        ] {
            assert!(is_inner(name), "{name}");
        }
        for name in [
            "hub.example.org",
            "*.hub.example.org",
            "local.example.org",
            "203.0.113.7",
            "2001:db8::1",
        ] {
            assert!(!is_inner(name), "{name}");
        }
    }

    #[test]
    fn a_star_covers_one_level() {
        let covers = |name: &str, host: &str| name.parse::<CertificateName>().unwrap().covers(host);
        assert!(covers("a.example.org", "A.example.ORG"));
        assert!(covers("a.example.org", "a.example.org."));
        assert!(covers("*.example.org", "a.example.org"));
        assert!(!covers("*.example.org", "example.org"));
        assert!(!covers("*.example.org", "a.b.example.org"));
        assert!(!covers("*.example.org", ".example.org"));
        assert!(!covers("a.example.org", "b.example.org"));
    }
}
