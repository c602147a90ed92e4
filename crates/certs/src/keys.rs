//! Keys and certificates that are made here: new keys, requests for certificates, self-signed ones.

use std::sync::Arc;

use lyceum_core::Timestamp;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::name::CertificateName;
use crate::pem;
use crate::trouble::{Trouble, TroubleKind};

/// Which kind of key certificates are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyType {
    /// ECDSA with P-256: small and fast, known to every browser since 2014
    #[default]
    Ecdsa,
    /// RSA with 2048 bits: for clients that know nothing else
    Rsa,
}

/// Makes a new key; its text (PKCS#8, PEM) is a secret. RSA takes a moment: not for the runtime's threads.
pub(crate) fn new_key(kind: KeyType) -> Result<KeyPair, Trouble> {
    let made = match kind {
        KeyType::Ecdsa => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::Rsa => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
    };
    made.map_err(|error| failed("could not make a key", &error))
}

/// Reads a key that [`new_key`] has made.
pub(crate) fn read_key_pair(pem: &str) -> Result<KeyPair, Trouble> {
    KeyPair::from_pem(pem).map_err(|error| failed("could not read a key", &error))
}

/// Makes a request for a certificate (CSR, DER).
pub(crate) fn request(names: &[CertificateName], key: &KeyPair) -> Result<Vec<u8>, Trouble> {
    let mut params = params(names)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params
        .serialize_request(key)
        .map_err(|error| failed("could not make the request for a certificate", &error))?;
    Ok(request.der().to_vec())
}

/// Makes a certificate that is signed by itself, valid from yesterday for a year; chain and key in PEM.
pub(crate) fn self_signed(
    names: &[CertificateName],
    kind: KeyType,
    now: Timestamp,
) -> Result<SelfSigned, Trouble> {
    let key = new_key(kind)?;
    let mut params = params(names)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Lyceum, signed by itself");
    params.distinguished_name = subject;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Clocks of visitors may be behind.
    let day = 24 * 3600;
    let at = |seconds: i64| {
        OffsetDateTime::from_unix_timestamp(now.as_second() + seconds)
            .map_err(|error| failed("could not make a certificate", &error))
    };
    params.not_before = at(-day)?;
    params.not_after = at(365 * day)?;
    let certificate = params
        .self_signed(&key)
        .map_err(|error| failed("could not make a certificate", &error))?;
    Ok(SelfSigned {
        chain: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// What [`self_signed`] has made.
pub(crate) struct SelfSigned {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Makes the certificate that answers TLS-ALPN-01 (RFC 8737 §3).
pub(crate) fn challenge_certificate(
    name: &str,
    digest: &[u8],
) -> Result<Arc<CertifiedKey>, Trouble> {
    let key = new_key(KeyType::Ecdsa)?;
    let name: CertificateName = name
        .parse()
        .map_err(|error| failed("could not make the certificate that proves a name", &error))?;
    let mut params = params(std::slice::from_ref(&name))?;
    params
        .custom_extensions
        .push(CustomExtension::new_acme_identifier(digest));
    let certificate = params
        .self_signed(&key)
        .map_err(|error| failed("could not make the certificate that proves a name", &error))?;
    let chain = vec![certificate.der().clone()];
    // Its extension is critical and known to authorities alone, so that the library would not read it to compare keys.
    let key = signing_key(&key.serialize_pem())?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Puts a chain and a key together as TLS needs them.
pub(crate) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &str,
) -> Result<CertifiedKey, Trouble> {
    let certified = CertifiedKey::new(chain, signing_key(key)?);
    match certified.keys_match() {
        // Keys of kinds that cannot be compared are found out by the first handshake.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
            Ok(certified)
        }
        Err(error) => Err(failed("the certificate is for another key", &error)),
    }
}

fn signing_key(text: &str) -> Result<Arc<dyn SigningKey>, Trouble> {
    let key =
        pem::key(text.as_bytes()).map_err(|error| failed("could not read the key", &error))?;
    any_supported_type(&key).map_err(|error| failed("could not use the key", &error))
}

fn params(names: &[CertificateName]) -> Result<CertificateParams, Trouble> {
    let mut params = CertificateParams::default();
    params.subject_alt_names = names
        .iter()
        .map(|name| match name.address() {
            Some(address) => Ok(SanType::IpAddress(address)),
            None => name.as_str().try_into().map(SanType::DnsName),
        })
        .collect::<Result<_, _>>()
        .map_err(|error| failed("a name cannot be in a certificate", &error))?;
    Ok(params)
}

fn failed(what: &str, error: &(dyn std::error::Error + 'static)) -> Trouble {
    Trouble::new(
        TroubleKind::Other,
        what,
        "this should not happen: please report it, with the log",
    )
    .caused_by(error)
}
