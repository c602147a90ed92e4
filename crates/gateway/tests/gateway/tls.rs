//! TLS with clients and with upstreams.

use std::path::PathBuf;
use std::sync::Arc;

use http::Response;
use lyceum_certs::{ClientTls, ServerTls, ServerTlsOptions};
use lyceum_core::Upstream;
use rustls::pki_types::ServerName;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::http2::Client2;
use crate::peer::{Peer, Stream};
use crate::support::{Client, Setup, TestGateway, full, read_until, soon};
use crate::upgrades::{echo, echo_peer};

/// A certificate for `localhost` that is its own authority.
struct Certificate {
    _folder: TempDir,
    chain: PathBuf,
    key: PathBuf,
}

impl Certificate {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&chain, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self {
            _folder: folder,
            chain,
            key,
        }
    }

    fn server(&self) -> ServerTls {
        ServerTls::from_files(&ServerTlsOptions {
            certificate_file: self.chain.clone(),
            key_file: self.key.clone(),
            alpn: vec!["h2".to_owned(), "http/1.1".to_owned()],
            ..ServerTlsOptions::default()
        })
        .unwrap()
    }

    fn client(&self) -> ClientTls {
        ClientTls::new(Some(&self.chain), None).unwrap()
    }

    async fn connect(&self, gateway: &TestGateway, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut config = rustls::ClientConfig::clone(self.client().config());
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        soon(connector.connect(name, gateway.connect().await))
            .await
            .unwrap()
    }

    fn gateway(&self) -> TestGateway {
        Setup::default().tls(self.server()).start()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_come_by_tls_in_both_versions_of_http() {
    let certificate = Certificate::new();
    let peer = Peer::echo().await;
    let gateway = certificate.gateway();
    gateway.route("/user/ada/", &peer.target).await;
    let mut client = Client::new(certificate.connect(&gateway, &["http/1.1"]).await).await;
    for _ in 0..3 {
        let answer = client.get("/user/ada/x").await;
        assert!(
            answer.text().contains("\nx-forwarded-proto: https\n"),
            "{}",
            answer.text()
        );
    }
    let stream = certificate.connect(&gateway, &["h2", "http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client2::new(stream).await;
    let answer = client.get("/user/ada/x").await;
    assert!(
        answer.text().contains("\nx-forwarded-proto: https\n"),
        "{}",
        answer.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn big_answers_and_websockets_pass_by_tls() {
    let certificate = Certificate::new();
    let gateway = certificate.gateway();
    let big = Peer::http(|_| async { Response::new(full(vec![3; 5_000_000])) }).await;
    let sockets = echo_peer().await;
    gateway.route("/user/ada/", &big.target).await;
    gateway.route("/user/bob/", &sockets.target).await;
    let mut client = Client::new(certificate.connect(&gateway, &[]).await).await;
    assert_eq!(client.get("/user/ada/").await.body.len(), 5_000_000);
    let request = "wss://localhost/user/bob/ws".into_client_request().unwrap();
    let stream = certificate.connect(&gateway, &[]).await;
    let (mut socket, _) = soon(Box::pin(tokio_tungstenite::client_async(request, stream)))
        .await
        .unwrap();
    for size in [1, 1000, 1_000_000] {
        let message = Message::binary(vec![7; size]);
        soon(futures_util::SinkExt::send(&mut socket, message.clone()))
            .await
            .unwrap();
        let answer = soon(futures_util::StreamExt::next(&mut socket)).await;
        assert_eq!(answer.unwrap().unwrap(), message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_never_comes_is_given_up() {
    let certificate = Certificate::new();
    let gateway = Setup::default()
        .tls(certificate.server())
        .config(|config| config.header_timeout = crate::support::millis(200))
        .start();
    let mut silent = gateway.connect().await;
    assert_eq!(soon(silent.read(&mut [0; 10])).await.unwrap(), 0);
}

/// An upstream that speaks TLS.
async fn secure_peer(certificate: &Certificate) -> (Peer, Upstream) {
    let inner = Peer::raw(|mut stream, _| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        if head.contains("upgrade:") {
            return echo(Box::new(Replayed(head.into_bytes(), stream))).await;
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
            .await
            .unwrap();
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(certificate.server().config()));
    let Upstream::Tcp {
        host,
        port: inner_port,
    } = inner.target.clone()
    else {
        panic!("a TCP peer has another target");
    };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, host) = (acceptor.clone(), host.clone());
            open.spawn(async move {
                let Ok(mut secure) = acceptor.accept(stream).await else {
                    return;
                };
                let mut plain = TcpStream::connect((host.as_str(), inner_port))
                    .await
                    .unwrap();
                let _ = tokio::io::copy_bidirectional(&mut secure, &mut plain).await;
            });
        }
    });
    tasks.detach_all();
    let target = Upstream::Tls {
        host: "localhost".to_owned(),
        port,
    };
    (inner, target)
}

/// A stream whose beginning was read already.
struct Replayed<S>(Vec<u8>, S);

impl<S: Stream> tokio::io::AsyncRead for Replayed<S> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return std::pin::Pin::new(&mut self.1).poll_read(cx, buffer);
        }
        let count = self.0.len().min(buffer.remaining());
        let rest = self.0.split_off(count);
        buffer.put_slice(&self.0);
        self.0 = rest;
        std::task::Poll::Ready(Ok(()))
    }
}

impl<S: Stream> tokio::io::AsyncWrite for Replayed<S> {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.1).poll_write(cx, bytes)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.1).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.1).poll_shutdown(cx)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstreams_are_reached_by_tls_if_their_certificate_is_good() {
    let certificate = Certificate::new();
    let (_peer, target) = secure_peer(&certificate).await;
    let good = Setup::default()
        .options(|options| options.client_tls = Some(certificate.client()))
        .start();
    good.route("/user/ada/", &target).await;
    for _ in 0..3 {
        assert_eq!(good.get("/user/ada/").await.text(), "secret");
    }
    let mut socket = crate::upgrades::websocket(&good, "/user/ada/ws").await;
    crate::upgrades::round_trip(&mut socket, Message::text("hello")).await;

    let other = Certificate::new();
    let bad = Setup::default()
        .options(|options| options.client_tls = Some(other.client()))
        .start();
    bad.route("/user/ada/", &target).await;
    assert_eq!(bad.get("/user/ada/").await.status, 503);
    let blind = Setup::default()
        .options(|options| options.client_tls = Some(ClientTls::insecure().unwrap()))
        .start();
    blind.route("/user/ada/", &target).await;
    assert_eq!(blind.get("/user/ada/").await.text(), "secret");
    let none = TestGateway::start();
    none.route("/user/ada/", &target).await;
    assert_eq!(none.get("/user/ada/").await.status, 503);
}
