//! Certificates and keys in PEM files.

use std::path::{Path, PathBuf};

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::pem::{self, PemError};

/// Why a certificate or key cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file could not be read, or holds no PEM.
    #[error("could not read the {what} in {}", path.display())]
    Read {
        /// `certificate` or `key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PemError,
    },
    /// A file has no certificate in it.
    #[error("there is no certificate in {}", .0.display())]
    Empty(PathBuf),
    /// Certificate, key and options do not go together.
    #[error("the certificate cannot be used")]
    Unusable(#[source] rustls::Error),
    /// A certificate of an authority cannot be used to check others.
    #[error("the certificates of authorities in {} cannot be used", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::Error,
    },
    /// The verifier of client certificates could not be made.
    #[error("clients cannot be checked with these authorities")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// An option has a value that is not known.
    #[error("{0}")]
    Option(String),
}

/// Reads a chain of certificates, the leaf first.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let chain = std::fs::read(path)
        .map_err(PemError::Io)
        .and_then(|text| pem::certificates(&text))
        .map_err(|source| CertificateError::Read {
            what: "certificate",
            path: path.to_owned(),
            source,
        })?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(path.to_owned()));
    }
    Ok(chain)
}

/// Reads the first private key of a file: PKCS#8, PKCS#1 or SEC1.
pub fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    std::fs::read(path)
        .map_err(PemError::Io)
        .and_then(|text| pem::key(&text))
        .map_err(|source| CertificateError::Read {
            what: "key",
            path: path.to_owned(),
            source,
        })
}
