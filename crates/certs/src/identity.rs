//! Who a visitor is by the certificate that they have shown.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// What is told to services of a certificate that was checked. Plain ASCII, fit for a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The subject, as `CN=Ada,O=Example` (RFC 4514): the innermost part first. Letters beyond ASCII stand as
    /// `\XX`, byte for byte of their UTF-8. Empty if the certificate names nobody.
    pub subject: String,
    /// The SHA-256 of the whole certificate, in lower-case hexadecimal.
    pub sha256: String,
}

impl ClientIdentity {
    /// Reads a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let subject = X509Certificate::from_der(certificate)
            .map(|(_, parsed)| subject(parsed.subject()))
            .unwrap_or_default();
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(certificate) {
            let _ = write!(sha256, "{byte:02x}");
        }
        Self { subject, sha256 }
    }
}

/// Names of attributes that are written by their name: those of RFC 4514 §3, and those that are usual beside them.
const NAMES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.12", "title"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

fn subject(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let parts: Vec<_> = name.iter_rdn().collect();
    for (at, part) in parts.into_iter().rev().enumerate() {
        if at > 0 {
            text.push(',');
        }
        for (at, attribute) in part.iter().enumerate() {
            if at > 0 {
                text.push('+');
            }
            write_attribute(&mut text, attribute);
        }
    }
    text
}

fn write_attribute(text: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let name = NAMES.iter().find(|(known, _)| *known == oid);
    // What is no text, and what nobody knows the meaning of, is shown as it is encoded (RFC 4514 §2.4).
    match (name, attribute.as_str()) {
        (Some((_, name)), Ok(value)) => {
            text.push_str(name);
            text.push('=');
            write_value(text, value);
        }
        (name, _) => {
            text.push_str(name.map_or(oid.as_str(), |(_, name)| name));
            text.push_str("=#");
            for byte in attribute.attr_value().to_der_vec().unwrap_or_default() {
                let _ = write!(text, "{byte:02x}");
            }
        }
    }
}

/// Writes a value so that nothing in it can be taken for the beginning of another (RFC 4514 §2.4).
fn write_value(text: &mut String, value: &str) {
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.bytes().enumerate() {
        let special = matches!(byte, b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=');
        let at_edge = (byte == b' ' && (at == 0 || at == last)) || (byte == b'#' && at == 0);
        match byte {
            b' '..=b'~' if special || at_edge => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn of(parts: &[(DnType, &str)]) -> ClientIdentity {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientIdentity::of(made.der())
    }

    #[test]
    fn subjects_are_plain_text_that_cannot_be_misread() {
        let check = |parts: &[(DnType, &str)], expected: &str| {
            assert_eq!(of(parts).subject, expected);
        };
        check(&[], "");
        check(&[(DnType::CommonName, "Ada")], "CN=Ada");
        check(
            &[
                (DnType::CountryName, "DE"),
                (DnType::OrganizationName, "Example"),
                (DnType::CommonName, "Ada Lovelace"),
            ],
            "CN=Ada Lovelace,O=Example,C=DE",
        );
        check(
            &[(DnType::CommonName, "ada,CN=admin")],
            r"CN=ada\,CN\=admin",
        );
        check(&[(DnType::CommonName, "a\r\nX: y")], r"CN=a\0D\0AX: y");
        check(&[(DnType::CommonName, "J\u{f6}rg")], r"CN=J\C3\B6rg");
        check(&[(DnType::CommonName, " #\\ ")], r"CN=\ #\\\ ");
        check(&[(DnType::CommonName, "#1")], r"CN=\#1");
        check(
            &[(DnType::CustomDnType(vec![1, 2, 3]), "x")],
            "1.2.3=#0c0178",
        );
    }

    #[test]
    fn what_is_no_certificate_has_a_fingerprint_and_no_subject() {
        let identity = ClientIdentity::of(&CertificateDer::from(b"abc".to_vec()));
        assert_eq!(identity.subject, "");
        assert_eq!(
            identity.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
