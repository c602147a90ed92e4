//! An authority of the tests' own, and the certificates that it issues.

use std::path::PathBuf;
use std::sync::Arc;

use lyceum_certs::{ClientTls, LiveCertificates, LiveTlsOptions, ServerTls};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
};
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::{TestGateway, soon};

/// An authority, and a place for files.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) folder: TempDir,
    /// The file with its certificate.
    pub(crate) file: PathBuf,
}

/// A certificate and its key, in PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of the tests");
        let own = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("authority.pem");
        std::fs::write(&file, own.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            folder,
            file,
        }
    }

    /// Issues a certificate for names, with an ECDSA key.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_for(names, "somebody", &KeyPair::generate().unwrap())
    }

    pub(crate) fn issue_rsa(&self, names: &[&str]) -> Issued {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        self.issue_for(names, "somebody", &key)
    }

    pub(crate) fn issue_for(&self, names: &[&str], subject: &str, key: &KeyPair) -> Issued {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject);
        let made = params.signed_by(key, &self.issuer).unwrap();
        Issued {
            chain: made.pem(),
            key: key.serialize_pem(),
            der: made.der().to_vec(),
        }
    }

    /// A client that believes this authority, shows a certificate of this subject, and remembers sessions.
    pub(crate) fn client(&self, subject: Option<&str>) -> TestClient {
        let own = subject.map(|subject| {
            let issued = self.issue_for(&[], subject, &KeyPair::generate().unwrap());
            let chain = self.folder.path().join("client.pem");
            let key = self.folder.path().join("client.key");
            std::fs::write(&chain, issued.chain).unwrap();
            std::fs::write(&key, issued.key).unwrap();
            (chain, key)
        });
        let own = own
            .as_ref()
            .map(|(chain, key)| (chain.as_path(), key.as_path()));
        let tls = ClientTls::new(Some(&self.file), own).unwrap();
        TestClient(Arc::clone(tls.config()))
    }
}

/// Shows a certificate for names.
pub(crate) fn show(live: &LiveCertificates, id: &str, names: &[&str], issued: &Issued) {
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    live.show_pem(id, names, &issued.chain, &issued.key, true)
        .unwrap();
}

/// TLS with what is live.
pub(crate) fn tls(live: &LiveCertificates) -> ServerTls {
    ServerTls::live(live, &LiveTlsOptions::default()).unwrap()
}

/// A client for TLS.
#[derive(Clone)]
pub(crate) struct TestClient(pub(crate) Arc<rustls::ClientConfig>);

impl TestClient {
    pub(crate) fn offering(&self, alpn: &[&str]) -> Self {
        let mut config = rustls::ClientConfig::clone(&self.0);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    pub(crate) async fn connect(&self, gateway: &TestGateway, name: &str) -> TlsStream<TcpStream> {
        let address = ("127.0.0.1", gateway.tls_port());
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        self.begin(stream, name).await.unwrap()
    }

    pub(crate) async fn begin(
        &self,
        stream: TcpStream,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(Arc::clone(&self.0)).connect(name, stream)).await
    }
}
