//! Reads PEM (RFC 7468), and says what is wrong with it. Never repeats what stands in it: that may be a key.

use std::io;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

/// What is wrong with a text that should be PEM. The library's own error repeats lines of it, and where line ends were
/// lost, the whole key is one line.
#[derive(Debug, Error)]
pub enum PemError {
    /// The file cannot be read.
    #[error(transparent)]
    Io(io::Error),
    /// A block does not end.
    #[error(
        "a block has no line `-----END …-----` at its end: the text is cut off, or its line ends are lost"
    )]
    NoEnd,
    /// A block does not begin as it should.
    #[error("a line that begins with `-----BEGIN` does not end with `-----`")]
    NoBegin,
    /// What stands in a block is no base64.
    #[error("what stands between `-----BEGIN …-----` and `-----END …-----` is no base64")]
    NotBase64,
    /// There is no block of the wanted kind.
    #[error("there is no block of that kind in it")]
    Nothing,
    /// It is larger than anything that makes sense.
    #[error("it is too large")]
    TooLarge,
}

impl From<pem::Error> for PemError {
    fn from(error: pem::Error) -> Self {
        match error {
            pem::Error::Io(error) => Self::Io(error),
            pem::Error::MissingSectionEnd { .. } => Self::NoEnd,
            pem::Error::IllegalSectionStart { .. } => Self::NoBegin,
            pem::Error::Base64Decode(_) => Self::NotBase64,
            pem::Error::SectionTooLarge => Self::TooLarge,
            _ => Self::Nothing,
        }
    }
}

/// Reads all certificates in a text; other blocks are passed over.
pub(crate) fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    Ok(read?)
}

/// Reads the first private key in a text: PKCS#8, PKCS#1 or SEC1.
pub(crate) fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PemError> {
    Ok(PrivateKeyDer::from_pem_slice(text)?)
}

/// What a file that people have made should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    Certificates,
    Key,
}

/// Makes a text of a file that people have made with programs of all kinds. What stands beside the blocks may be in any
/// encoding. What is no text is told, with the order that makes PEM of it.
pub(crate) fn text(bytes: &[u8], path: &str, holds: Holds) -> Result<String, (String, String)> {
    let to = match holds {
        Holds::Certificates => format!("{path}.pem"),
        Holds::Key => format!("{path}.key"),
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((
            format!("{path} is a text in UTF-16, as some programs of Windows write it"),
            format!(
                "make a usual one of it: `(umask 077; iconv -f utf-16 -t utf-8 {path} > {to})`"
            ),
        ));
    }
    if let Some(inner) = sequence(bytes) {
        // The version that stands first in it (RFC 7292 §4).
        let order = if inner.starts_with(&[2, 1, 3]) {
            let only = match holds {
                Holds::Certificates => "-nokeys",
                Holds::Key => "-nocerts",
            };
            format!("(umask 077; openssl pkcs12 -in {path} -nodes {only} -out {to})")
        } else {
            let kind = match holds {
                Holds::Certificates => "x509",
                Holds::Key => "pkey",
            };
            format!("(umask 077; openssl {kind} -inform der -in {path} -out {to})")
        };
        return Err((
            format!("{path} is binary (DER or PKCS#12), and not PEM"),
            format!("make PEM of it, and name that file: `{order}`"),
        ));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

/// What stands in a sequence of DER that is longer than 127 bytes, as all certificates and keys but a few are.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let (&[0x30, length], rest) = bytes.split_first_chunk()? else {
        return None;
    };
    match length {
        0x81..=0x84 => rest.get(usize::from(length & 0x7f)..),
        // Ed25519 keys are short (RFC 8410 §7). No text begins so: 0x2e is a dot, and a line of PEM a hyphen.
        0x2e if rest.len() == 0x2e => Some(rest),
        _ => None,
    }
}

/// What else is in a text in which there is no certificate, and what to do then.
pub(crate) fn instead_of_certificate(text: &[u8]) -> &'static str {
    let has = |what: &str| {
        text.windows(what.len())
            .any(|window| window == what.as_bytes())
    };
    if has("-----BEGIN PKCS7-----") {
        "it holds PKCS#7: `openssl pkcs7 -print_certs -in FILE -out FILE.pem` makes PEM of it"
    } else if has(" REQUEST-----") {
        "it holds the request for a certificate: what is wanted is the certificate that the authority has made of it"
    } else if has(" PRIVATE KEY-----") {
        "it holds a key: are the two files exchanged?"
    } else {
        "it must be PEM: blocks that begin with `-----BEGIN CERTIFICATE-----`"
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::Timestamp;

    use super::*;
    use crate::keys::{KeyType, self_signed};

    #[test]
    fn nothing_of_a_key_without_line_ends_is_told() {
        let names = ["a.org".parse().unwrap()];
        let made = self_signed(&names, KeyType::Ecdsa, Timestamp::UNIX_EPOCH).unwrap();
        let inner = made.key.lines().nth(1).unwrap();
        for spoilt in [
            made.key.replace('\n', ""),
            made.key.replace('\n', " "),
            made.key.replace("-----\n", "\n"),
            made.key.replace("-----\n", ""),
            made.key.replace('M', "!"),
            made.key.replace("-----END", ""),
        ] {
            let Err(error) = key(spoilt.as_bytes()) else {
                continue;
            };
            let told = format!("{error} {error:?}");
            assert!(!told.contains(&inner[..8]), "{told}");
            let as_numbers = format!("{:?}", &inner.as_bytes()[..8]);
            assert!(
                !told.contains(as_numbers.trim_matches(['[', ']'])),
                "{told}"
            );
        }
        assert!(matches!(
            key(made.key.replace('\n', "").as_bytes()),
            Err(PemError::NoEnd)
        ));
    }

    #[test]
    fn files_of_other_kinds_are_told_with_the_order_that_makes_pem_of_them() {
        let check = |bytes: &[u8], holds: Holds, order: &str| {
            let (what, hint) = text(bytes, "/x", holds).unwrap_err();
            assert!(hint.contains(order), "{what}; {hint}");
        };
        check(
            &[0x30, 0x82, 1, 0, 0x30],
            Holds::Certificates,
            "openssl x509 -inform der",
        );
        check(
            &[0x30, 0x81, 0x87, 2, 1, 0],
            Holds::Key,
            "openssl pkey -inform der",
        );
        check(&[0x30, 0x82, 9, 0, 2, 1, 3], Holds::Key, "openssl pkcs12");
        check(b"\xff\xfe-\0-\0", Holds::Certificates, "iconv");
        assert_eq!(
            text(b"\xef\xbb\xbf-----", "/x", Holds::Key).unwrap(),
            "-----"
        );
        assert_eq!(
            text(b"K\xf6ln\n--", "/x", Holds::Key).unwrap(),
            "K\u{fffd}ln\n--"
        );
        assert_eq!(text(b"", "/x", Holds::Key).unwrap(), "");
        assert_eq!(text(b"0", "/x", Holds::Key).unwrap(), "0");
    }
}
