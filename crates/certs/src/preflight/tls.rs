//! Asks for an answer to tls-alpn-01 as an authority does: one handshake at every address of a name. Sends nothing over
//! the connection.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::reach::Reach;
use super::{Finding, PreflightOptions, Trial, Verdict};
use crate::challenge::{ACME_TLS_ALPN, Solver as _, TlsSolver, server_name_of};
use crate::name::CertificateName;

/// How long one address may take.
const LIMIT: Duration = Duration::from_secs(10);
/// What marks certificates that are answers (RFC 8737 §3).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Puts up a certificate and asks for it at each address.
pub(super) async fn probe(
    options: &PreflightOptions<'_>,
    name: &CertificateName,
    addresses: &[IpAddr],
) -> Result<Vec<(IpAddr, Reach)>, Finding> {
    let failed = |what: String| {
        Finding::new(name, Verdict::Warning, what).hint("please report it, with the log")
    };
    let config = config().map_err(|error| failed(error.to_string()))?;
    let host = server_name_of(name.base()).into_owned();
    let server_name = ServerName::try_from(host).map_err(|error| failed(error.to_string()))?;
    let trial = Trial::new();
    let shown = TlsSolver(options.challenges.clone())
        .show(trial.proof(name.base()))
        .await
        .map_err(|trouble| failed(trouble.to_string()))?;
    let asked = addresses.iter().map(|address| {
        let (server_name, config) = (server_name.clone(), Arc::clone(&config));
        let place = SocketAddr::new(*address, options.ports.https);
        let digest = &trial.digest;
        async move {
            let reach = timeout(LIMIT, ask(place, server_name, config, digest)).await;
            (*address, reach.unwrap_or(Reach::TimedOut))
        }
    });
    let reached = join_all(asked).await;
    // It is taken away by being dropped: there is nothing that could fail.
    let _ = shown.clean_up().await;
    Ok(reached)
}

async fn ask(
    place: SocketAddr,
    server_name: ServerName<'static>,
    config: Arc<ClientConfig>,
    digest: &[u8],
) -> Reach {
    let stream = match TcpStream::connect(place).await {
        Ok(stream) => stream,
        Err(error) => return Reach::from_error(&error),
    };
    let stream = match TlsConnector::from(config)
        .connect(server_name, stream)
        .await
    {
        Ok(stream) => stream,
        Err(error) => {
            let source = error
                .get_ref()
                .and_then(|source| source.downcast_ref::<rustls::Error>());
            return Reach::Other(match source {
                Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                    "another server, or a proxy that ends TLS, answers: it does not know acme-tls/1"
                        .to_owned()
                }
                _ => format!("the handshake of TLS fails: {error}"),
            });
        }
    };
    let (_, session) = stream.get_ref();
    if session.alpn_protocol() != Some(ACME_TLS_ALPN) {
        return Reach::Other(
            "another server, or a proxy that ends TLS, answers: it takes acme-tls/1 for something else".to_owned(),
        );
    }
    let first = session.peer_certificates().and_then(<[_]>::first);
    if first.is_some_and(|certificate| holds(certificate, digest)) {
        Reach::Ours
    } else {
        Reach::Other("another server answers with a proof that is not ours".to_owned())
    }
}

/// Whether a certificate answers with a digest: the extension's value is that in an octet string.
fn holds(certificate: &CertificateDer<'_>, digest: &[u8]) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    certificate.extensions().iter().any(|extension| {
        extension.oid.to_id_string() == ACME_IDENTIFIER
            && matches!(extension.value, [0x04, 32, value @ ..] if value == digest)
    })
}

fn config() -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(LookedAtLater(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// Takes every certificate: it is looked at when the handshake is over. The usual check of signatures cannot be done, as
/// it refuses certificates with the mark, which is critical. Nothing is sent to whom it is.
#[derive(Debug)]
struct LookedAtLater(Arc<CryptoProvider>);

impl ServerCertVerifier for LookedAtLater {
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
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
