//! TLS as a server speaks it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::files::{CertificateError, read_certificates, read_key};

/// What a listener needs to speak TLS; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<ServerConfig>);

/// From what it is made.
#[derive(Debug, Clone, Default)]
pub struct ServerTlsOptions {
    /// The file with the chain of certificates, the leaf first.
    pub certificate_file: PathBuf,
    /// The file with the private key.
    pub key_file: PathBuf,
    /// Authorities whose certificates clients may show; without them clients are not asked.
    pub client_ca_file: Option<PathBuf>,
    /// Whether a client without a certificate is turned away.
    pub client_certificate_required: bool,
    /// The protocols of the application, most wanted first, such as `h2` and `http/1.1`.
    pub alpn: Vec<String>,
}

impl ServerTls {
    /// Reads the files; wrong ones are told at once.
    pub fn from_files(options: &ServerTlsOptions) -> Result<Self, CertificateError> {
        let chain = read_certificates(&options.certificate_file)?;
        let key = read_key(&options.key_file)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Unusable)?;
        let builder = match &options.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(path)? {
                    roots
                        .add(certificate)
                        .map_err(|source| CertificateError::Authority {
                            path: path.clone(),
                            source,
                        })?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = if options.client_certificate_required {
                    verifier
                } else {
                    verifier.allow_unauthenticated()
                };
                builder.with_client_cert_verifier(
                    verifier.build().map_err(CertificateError::Verifier)?,
                )
            }
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(CertificateError::Unusable)?;
        config.alpn_protocols = options
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Self(Arc::new(config)))
    }

    /// What the TLS library works with.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.0
    }
}
