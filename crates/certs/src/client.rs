//! TLS as a client speaks it, towards upstreams.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::files::{CertificateError, read_certificates, read_key};

/// Where the authorities of this machine are, most usual first.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// How upstreams are spoken to by TLS; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Believes certificates of the authorities in a file, or else of this machine's; shows a certificate of its
    /// own if it is given one (chain and key).
    pub fn new(
        authorities: Option<&Path>,
        own: Option<(&Path, &Path)>,
    ) -> Result<Self, CertificateError> {
        let mut roots = RootCertStore::empty();
        if let Some(path) = authorities {
            for certificate in read_certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|source| CertificateError::Authority {
                        path: path.to_owned(),
                        source,
                    })?;
            }
        } else {
            // A machine without authorities can still reach upstreams that need none.
            if let Some(file) = system_file() {
                roots.add_parsable_certificates(read_certificates(&file)?);
            }
        }
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Unusable)?
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder
                .with_client_auth_cert(read_certificates(chain)?, read_key(key)?)
                .map_err(CertificateError::Unusable)?,
        };
        Ok(Self(Arc::new(config)))
    }

    /// Believes any certificate: the connection is encrypted, and with whom is not known.
    pub fn insecure() -> Result<Self, CertificateError> {
        let provider = provider();
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Takes what is made elsewhere in this crate.
    pub(crate) fn of_config(config: ClientConfig) -> Self {
        Self(Arc::new(config))
    }

    /// What the TLS library works with.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.0
    }
}

fn system_file() -> Option<PathBuf> {
    SYSTEM_AUTHORITIES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
}

/// The authorities of this machine; none if they cannot be read.
pub(crate) fn system_authorities() -> Vec<CertificateDer<'static>> {
    system_file()
        .and_then(|file| read_certificates(&file).ok())
        .unwrap_or_default()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Takes every certificate; only the signature of the handshake is checked.
#[derive(Debug)]
pub(crate) struct AnyCertificate(pub(crate) Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
