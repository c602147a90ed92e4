//! TLS with users' servers whose certificates are Lyceum's own: each proves to the other who it is.

use std::sync::Arc;

use lyceum_certs::{ClientTls, InternalAuthority};
use lyceum_core::Upstream;
use lyceum_core::clock::{Clock as _, SystemClock};
use lyceum_core::seams::ServerCredentials;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::{Setup, read_until};
use crate::upgrades::{echo, round_trip, websocket};

/// The authorities of one Lyceum.
struct Lyceum {
    _folder: TempDir,
    authority: InternalAuthority,
}

impl Lyceum {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = InternalAuthority::open(folder.path(), SystemClock.now()).unwrap();
        Self {
            _folder: folder,
            authority,
        }
    }

    fn client(&self) -> ClientTls {
        self.authority.client(SystemClock.now()).unwrap()
    }

    fn issue(&self, who: &str) -> ServerCredentials {
        self.authority.issue(who, SystemClock.now()).unwrap()
    }
}

/// A user's server as Jupyter Server is: TLS, and only with whom its authorities vouch for. Serves until it is dropped.
async fn server(credentials: &ServerCredentials) -> (u16, JoinSet<()>) {
    let mut roots = RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(credentials.client_ca.as_bytes()) {
        roots.add(one.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(credentials.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(credentials.key.expose().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            open.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let head = read_until(&mut stream, "\r\n\r\n").await;
                if head.contains("upgrade:") {
                    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
                    theirs.write_all(head.as_bytes()).await.unwrap();
                    tokio::join!(echo(Box::new(ours)), async {
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut theirs).await;
                    });
                    return;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";
                let _ = stream.write_all(answer).await;
                let _ = stream.read(&mut [0; 1]).await;
            });
        }
    });
    (port, serving)
}

fn upstream(port: u16, name: &str) -> Upstream {
    Upstream::Internal {
        host: "127.0.0.1".to_owned(),
        port,
        name: name.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_reached_if_it_is_the_very_one() {
    let lyceum = Lyceum::new();
    let (ada, bob) = (lyceum.issue("user-ada"), lyceum.issue("user-bob"));
    let (port, _serving) = server(&ada).await;
    let gateway = Setup::default()
        .options(|options| options.internal_tls = Some(lyceum.client()))
        .start();
    gateway
        .route("/user/ada/", &upstream(port, &ada.server_name))
        .await;
    for _ in 0..3 {
        assert_eq!(gateway.get("/user/ada/").await.text(), "secret");
    }
    let mut socket = websocket(&gateway, "/user/ada/ws").await;
    round_trip(
        &mut socket,
        tokio_tungstenite::tungstenite::Message::text("hello"),
    )
    .await;

    // It answers where bob's server should be.
    gateway
        .route("/user/bob/", &upstream(port, &bob.server_name))
        .await;
    assert_eq!(gateway.get("/user/bob/").await.status, 503);
    // A connection that is open to the one server is never used for the other.
    gateway
        .route("/user/ada/", &upstream(port, &bob.server_name))
        .await;
    assert_eq!(gateway.get("/user/ada/").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_not_reached_by_whoever_it_does_not_know() {
    let lyceum = Lyceum::new();
    let ada = lyceum.issue("user-ada");
    let (port, _serving) = server(&ada).await;
    let target = upstream(port, &ada.server_name);
    let other = Setup::default()
        .options(|options| options.internal_tls = Some(Lyceum::new().client()))
        .start();
    other.route("/user/ada/", &target).await;
    assert_eq!(other.get("/user/ada/").await.status, 503);
    // What is for services of other makers is not for users' servers.
    let ordinary = Setup::default()
        .options(|options| options.client_tls = Some(ClientTls::insecure().unwrap()))
        .start();
    ordinary.route("/user/ada/", &target).await;
    assert_eq!(ordinary.get("/user/ada/").await.status, 503);
}
