//! TLS as a server speaks it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};

use crate::challenge::ACME_TLS_ALPN;
use crate::config::TlsVersion;
use crate::files::{CertificateError, read_certificates, read_key};
use crate::live::LiveCertificates;

/// What a listener needs to speak TLS; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// The certificates, if they change.
    live: Option<LiveCertificates>,
}

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

/// How a server with changing certificates speaks.
#[derive(Debug, Clone, Default)]
pub struct LiveTlsOptions {
    /// The oldest version.
    pub min_version: TlsVersion,
    /// Authorities whose certificates clients may show; without them clients are not asked.
    pub client_ca_file: Option<PathBuf>,
}

impl ServerTls {
    /// Reads the files; wrong ones are told at once.
    pub fn from_files(options: &ServerTlsOptions) -> Result<Self, CertificateError> {
        let chain = read_certificates(&options.certificate_file)?;
        let key = read_key(&options.key_file)?;
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(TlsVersion::Tls12))
            .map_err(CertificateError::Unusable)?;
        let required = options.client_certificate_required;
        let builder = match &options.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path, required, provider)?),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .map_err(CertificateError::Unusable)?;
        config.alpn_protocols = options
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        resume(&mut config)?;
        Ok(Self {
            config: Arc::new(config),
            live: None,
        })
    }

    /// Shows the certificates that are live at the moment of each handshake, and answers authorities.
    pub fn live(
        certificates: &LiveCertificates,
        options: &LiveTlsOptions,
    ) -> Result<Self, CertificateError> {
        let provider = provider();
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(options.min_version))
            .map_err(CertificateError::Unusable)?;
        let builder = match &options.client_ca_file {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(verifier(path, false, provider)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates.clone()));
        // The last one is chosen only by clients that offer nothing else: authorities.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS_ALPN.to_vec()];
        resume(&mut config)?;
        Ok(Self {
            config: Arc::new(config),
            live: Some(certificates.clone()),
        })
    }

    /// Takes what is made elsewhere in this crate; clients come back by tickets.
    pub(crate) fn of_config(mut config: ServerConfig) -> Result<Self, CertificateError> {
        resume(&mut config)?;
        Ok(Self {
            config: Arc::new(config),
            live: None,
        })
    }

    /// What the TLS library works with.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Whether somebody vouches for the certificate that is shown to visitors who ask for a name. Of files that were
    /// given once and for all, whoever gave them knows.
    pub fn is_vouched(&self, server_name: Option<&str>) -> bool {
        self.live
            .as_ref()
            .is_none_or(|live| live.is_vouched(server_name))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn versions(oldest: TlsVersion) -> &'static [&'static rustls::SupportedProtocolVersion] {
    static FROM_12: [&rustls::SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static FROM_13: [&rustls::SupportedProtocolVersion; 1] = [&TLS13];
    match oldest {
        TlsVersion::Tls12 => &FROM_12,
        TlsVersion::Tls13 => &FROM_13,
    }
}

/// Clients come back by tickets, whose keys are kept in memory alone and change every six hours.
fn resume(config: &mut ServerConfig) -> Result<(), CertificateError> {
    config.ticketer = Ticketer::new().map_err(CertificateError::Unusable)?;
    Ok(())
}

fn verifier(
    authorities: &Path,
    required: bool,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(authorities)? {
        roots
            .add(certificate)
            .map_err(|source| CertificateError::Authority {
                path: authorities.to_owned(),
                source,
            })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = if required {
        verifier
    } else {
        verifier.allow_unauthenticated()
    };
    verifier.build().map_err(CertificateError::Verifier)
}
