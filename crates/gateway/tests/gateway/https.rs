//! Listeners with TLS beside those without: where people are sent, what they are told, and who speaks something else.

use std::sync::atomic::Ordering;

use http::Request;
use lyceum_certs::{LiveCertificates, LiveTlsOptions, ServerTls};
use lyceum_gateway::{Gateway, GatewayConfig, GatewayError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::authority::{Authority, show, tls};
use crate::http2::Client2;
use crate::peer::Peer;
use crate::support::{Answer, Client, Setup, TestGateway, full, read_to_end, seconds, soon, until};

/// An authority, certificates for `hub.test`, and a gateway that shows them.
fn https(edit: impl FnOnce(&mut GatewayConfig)) -> (Authority, LiveCertificates, TestGateway) {
    let authority = Authority::new();
    let live = LiveCertificates::default();
    show(&live, "hub", &["hub.test"], &authority.issue(&["hub.test"]));
    let gateway = Setup::default()
        .tls_listener(tls(&live))
        .config(edit)
        .start();
    (authority, live, gateway)
}

async fn get(mut client: Client, host: &str, path: &str) -> Answer {
    let request = Request::builder()
        .uri(path)
        .header("host", host)
        .body(full(""))
        .unwrap();
    client.ask(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_secure_listeners_stand_side_by_side() {
    let (authority, _live, gateway) = https(|_| {});
    let peer = Peer::echo().await;
    gateway.route("/user/ada/", &peer.target).await;
    let text = gateway.get("/user/ada/").await.text().to_owned();
    assert!(text.contains("\nx-forwarded-proto: http\n"), "{text}");
    let client = authority.client(None);
    let stream = client.connect(&gateway, "hub.test").await;
    let answer = Client::new(stream).await.get("/user/ada/").await;
    let text = answer.text();
    assert!(text.contains("\nx-forwarded-proto: https\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_listed_with_those_of_tls_behind() {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let bind = || {
        Gateway::bind(GatewayConfig {
            listen: addresses(&["127.0.0.1:0"]),
            listen_tls: addresses(&["127.0.0.2:0", "127.0.0.3:0"]),
            threads: 2,
            ..GatewayConfig::default()
        })
        .unwrap()
    };
    let bound = bind();
    let all = bound.local_addrs();
    assert_eq!(all.len(), 3);
    assert!(all[0].to_string().starts_with("127.0.0.1:"));
    assert_eq!(bound.local_tls_addrs(), &all[1..]);
    let live = LiveCertificates::default();
    assert_eq!(
        bind()
            .with_tls_listeners(tls(&live))
            .local_tls_addrs()
            .len(),
        2
    );
    assert_eq!(bind().with_tls(tls(&live)).local_tls_addrs().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_never_replaced_by_plain_text() {
    let gateway = Setup::default()
        .config(|config| config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()])
        .start();
    let error = soon(gateway.serving).await.unwrap().unwrap_err();
    assert!(
        matches!(error, GatewayError::NoCertificate { .. }),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("tls.domains"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_can_speak_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tls.sock");
    let (authority, _live, _gateway) = https(|config| {
        config.listen_tls = vec![format!("unix:{}", path.display()).parse().unwrap()];
    });
    let stream = soon(UnixStream::connect(&path)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(authority.client(None).0);
    let name = rustls::pki_types::ServerName::try_from("hub.test").unwrap();
    let stream = soon(connector.connect(name, stream)).await.unwrap();
    assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_comes_before_tls() {
    let (authority, _live, gateway) = https(|config| {
        config.proxy_protocol_from = vec!["127.0.0.1".parse().unwrap()];
    });
    let peer = Peer::echo().await;
    gateway.route("/user/ada/", &peer.target).await;
    let address = ("127.0.0.1", gateway.tls_port());
    let mut stream = soon(TcpStream::connect(address)).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 443\r\n")
        .await
        .unwrap();
    let client = authority.client(None);
    let stream = client.begin(stream, "hub.test").await.unwrap();
    let answer = Client::new(stream).await.get("/user/ada/").await;
    let text = answer.text();
    assert!(text.contains("\nx-forwarded-for: 192.0.2.7\n"), "{text}");
    assert!(text.contains("\nx-forwarded-proto: https\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_are_sent_to_the_port_where_tls_is_spoken() {
    let (authority, _live, gateway) = https(|config| {
        config.https_redirect = true;
        config.listen = ["127.0.0.1:0", "[::1]:0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
    });
    let [four, six, tls] = [0, 1, 2].map(|at| gateway.addresses[at].to_string());
    let tls_port = tls.rsplit_once(':').unwrap().1;
    for (address, host, expected) in [
        (&four, "hub.test", "hub.test"),
        (&four, "hub.test:80", "hub.test"),
        (&six, "[::1]:80", "[::1]"),
        (&six, "[::1]", "[::1]"),
    ] {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        let answer = get(Client::new(stream).await, host, "/x?y=1").await;
        assert_eq!(answer.status, 301);
        let expected = format!("https://{expected}:{tls_port}/x?y=1");
        assert_eq!(answer.header("location"), expected, "{host}");
    }
    let stream = soon(TcpStream::connect(&tls)).await.unwrap();
    let client = authority.client(None);
    let stream = client.begin(stream, "hub.test").await.unwrap();
    let answer = get(Client::new(stream).await, "hub.test", "/x").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canonical_host_names_the_port_that_is_seen_from_outside() {
    for host in ["hub.test", "hub.test:444"] {
        let (_authority, _live, gateway) = https(|config| {
            config.https_redirect = true;
            config.canonical_host = Some(host.to_owned());
        });
        let answer = get(gateway.client().await, "other.test:80", "/x").await;
        assert_eq!(answer.header("location"), format!("https://{host}/x"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_not_told_of_ports_that_their_clients_do_not_see() {
    let (_authority, _live, gateway) = https(|config| {
        config.https_redirect = true;
        config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    });
    let answer = get(gateway.client().await, "hub.test", "/x").await;
    assert_eq!(answer.header("location"), "https://hub.test/x");
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_held_to_tls_only_by_certificates_that_they_believe() {
    const HSTS: &str = "strict-transport-security";
    let (authority, live, gateway) = https(|config| config.hsts = Some(seconds(3600)));
    let issued = authority.issue(&["new.test"]);
    let names = || vec!["new.test".parse().unwrap()];
    live.show_pem("new", names(), &issued.chain, &issued.key, false)
        .unwrap();
    let client = authority.client(None);
    let told = async |name: &str| {
        let stream = client.connect(&gateway, name).await;
        let first = Client::new(stream).await.get("/hub/").await;
        let stream = client.offering(&["h2"]).connect(&gateway, name).await;
        let second = Client2::new(stream).await.get("/hub/").await;
        assert_eq!(first.header(HSTS), second.header(HSTS));
        first.header(HSTS).to_owned()
    };
    assert_eq!(gateway.get("/hub/").await.header(HSTS), "");
    assert_eq!(told("hub.test").await, "max-age=3600");
    assert_eq!(told("new.test").await, "");
    live.show_pem("new", names(), &issued.chain, &issued.key, true)
        .unwrap();
    assert_eq!(told("new.test").await, "max-age=3600");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_at_a_secure_port_is_told_what_to_do() {
    let (authority, _live, gateway) = https(|_| {});
    let send = async |bytes: &[u8]| {
        let address = ("127.0.0.1", gateway.tls_port());
        let mut stream = soon(TcpStream::connect(address)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        read_to_end(&mut stream).await
    };
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    for text in ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", &long] {
        let answer = send(text.as_bytes()).await;
        let begin = "HTTP/1.1 400 Bad Request\r\n";
        assert!(answer.starts_with(begin), "{answer:?}");
        assert!(answer.contains("https://"), "{answer:?}");
    }
    let answer = send(b"\x01\x02\x03\x04\x05\x06\x07\x08").await;
    assert!(!answer.contains("HTTP"), "{answer:?}");
    let counted = || gateway.counts.tls_failures.load(Ordering::Relaxed);
    until("failures are counted", async || counted() == 3).await;
    // Somebody looks whether the port is open.
    let address = ("127.0.0.1", gateway.tls_port());
    drop(soon(TcpStream::connect(address)).await.unwrap());
    let client = authority.client(None);
    let mut stream = client.connect(&gateway, "hub.test").await;
    stream
        .write_all(b"GET /hub/ HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(gateway.counts.tls_handshakes.load(Ordering::Relaxed), 1);
    assert_eq!(counted(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_certificate_handshakes_fail_and_the_gateway_lives() {
    let authority = Authority::new();
    let live = LiveCertificates::default();
    let options = LiveTlsOptions::default();
    let gateway = Setup::default()
        .tls_listener(ServerTls::live(&live, &options).unwrap())
        .start();
    let client = authority.client(None);
    let address = ("127.0.0.1", gateway.tls_port());
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    assert!(client.begin(stream, "hub.test").await.is_err());
    show(&live, "hub", &["hub.test"], &authority.issue(&["hub.test"]));
    client.connect(&gateway, "hub.test").await;
}
