//! Services that want certificates of their visitors.

use http::Request;
use lyceum_certs::{LiveCertificates, LiveTlsOptions, ServerTls};
use lyceum_core::{RouteSpec, Upstream};
use lyceum_gateway::{Forwarding, Site, SiteAccess, SiteAction, SiteKind, SiteLimits};
use tokio::net::TcpStream;

use crate::authority::{Authority, show};
use crate::http2::Client2;
use crate::peer::Peer;
use crate::support::{AnyBody, Client, Setup, TestGateway, full, soon};

fn site(prefix: &str, target: &Upstream, client_certificate: bool) -> Site {
    Site {
        name: prefix.to_owned(),
        spec: RouteSpec::parse(prefix).unwrap(),
        access: SiteAccess {
            networks: Vec::new(),
            gated: false,
            client_certificate,
        },
        action: SiteAction::Forward(Forwarding {
            target: target.clone(),
            strip_prefix: false,
            rewrite: false,
            kind: SiteKind::Generic,
        }),
        limits: SiteLimits::default(),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        maintenance: None,
    }
}

/// A gateway that asks visitors for certificates, with a service that needs one, and one that does not.
async fn asking(authority: &Authority) -> (Peer, TestGateway) {
    let live = LiveCertificates::default();
    show(&live, "hub", &["hub.test"], &authority.issue(&["hub.test"]));
    let options = LiveTlsOptions {
        client_ca_file: Some(authority.file.clone()),
        ..LiveTlsOptions::default()
    };
    let peer = Peer::echo().await;
    let gateway = Setup::default()
        .tls_listener(ServerTls::live(&live, &options).unwrap())
        .hub(|request| async move {
            let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
            http::Response::new(names.join(" ").into())
        })
        // Not even a proxy that is believed speaks of certificates.
        .config(|config| config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .start();
    gateway.table.set_sites([
        site("/marks/", &peer.target, true),
        site("/open/", &peer.target, false),
    ]);
    gateway.route("/user/ada/", &peer.target).await;
    (peer, gateway)
}

fn lying(path: &str) -> Request<AnyBody> {
    Request::builder()
        .uri(format!("https://hub.test{path}"))
        .header("host", "hub.test")
        .header("X-Lyceum-Client-Cert-Subject", "CN=teacher")
        .header("x_lyceum_client_cert_subject", "CN=teacher")
        .header("X-Lyceum-Client-Cert-Sha256", "00ff")
        .header("X-Lyceum-Client-Cert-Other", "x")
        .body(full(""))
        .unwrap()
}

fn told(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| line.replace('_', "-").starts_with("x-lyceum-client-cert"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_told_whose_certificate_was_shown() {
    let authority = Authority::new();
    let (_peer, gateway) = asking(&authority).await;
    let client = authority.client(Some("J\u{f6}rg, the student"));
    let stream = client.connect(&gateway, "hub.test").await;
    let mut first = Client::new(stream).await;
    // The second connection is a resumed one.
    let again = client.offering(&["h2"]);
    for _ in 0..2 {
        let answer = first.ask(lying("/marks/x")).await;
        let lines = told(answer.text());
        assert_eq!(lines.len(), 2, "{}", answer.text());
        let fingerprint = lines[0].strip_prefix("x-lyceum-client-cert-sha256: ");
        assert_eq!(fingerprint.unwrap().len(), 64);
        assert_eq!(
            lines[1],
            r"x-lyceum-client-cert-subject: CN=J\C3\B6rg\, the student"
        );
        let stream = again.connect(&gateway, "hub.test").await;
        let answer2 = Client2::new(stream).await.ask(lying("/marks/x")).await;
        assert_eq!(told(answer2.text()), lines);
    }
    // Nobody else is told.
    for path in ["/open/", "/user/ada/", "/hub/"] {
        let answer = first.ask(lying(path)).await;
        let names = answer.text().replace(' ', "\n");
        assert_eq!(told(&names), Vec::<&str>::new(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resumed_connections_keep_their_certificate() {
    let authority = Authority::new();
    let (_peer, gateway) = asking(&authority).await;
    let client = authority.client(Some("ada"));
    let mut kinds = Vec::new();
    for _ in 0..3 {
        let stream = client.connect(&gateway, "hub.test").await;
        kinds.push(stream.get_ref().1.handshake_kind());
        let answer = Client::new(stream).await.ask(lying("/marks/")).await;
        let lines = told(answer.text());
        assert_eq!(lines[1], "x-lyceum-client-cert-subject: CN=ada");
    }
    assert_eq!(kinds[2], Some(rustls::HandshakeKind::Resumed));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_the_service_is_closed_and_all_else_is_open() {
    let authority = Authority::new();
    let (peer, gateway) = asking(&authority).await;
    let client = authority.client(None);
    let stream = client.connect(&gateway, "hub.test").await;
    let mut secure = Client::new(stream).await;
    let stream = client.offering(&["h2"]).connect(&gateway, "hub.test").await;
    let mut second = Client2::new(stream).await;
    let mut plain = gateway.client().await;
    for path in ["/open/", "/user/ada/", "/hub/"] {
        for answer in [
            secure.ask(lying(path)).await,
            second.ask(lying(path)).await,
            plain.ask(lying(path)).await,
        ] {
            assert_eq!(answer.status, 200);
            let names = answer.text().replace(' ', "\n");
            assert_eq!(told(&names), Vec::<&str>::new(), "{path}");
        }
    }
    let reached = peer.connections();
    for answer in [
        secure.ask(lying("/marks/")).await,
        second.ask(lying("/marks/")).await,
        plain.ask(lying("/marks/")).await,
    ] {
        assert_eq!(answer.status, 403);
        assert!(answer.text().contains("NoCertificate"), "{}", answer.text());
    }
    assert_eq!(peer.connections(), reached);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_ends_the_connection() {
    let authority = Authority::new();
    let (_peer, gateway) = asking(&authority).await;
    let other = Authority::new();
    // It believes the right server, and shows the wrong certificate.
    std::fs::copy(&authority.file, &other.file).unwrap();
    let client = other.client(Some("ada"));
    let address = ("127.0.0.1", gateway.tls_port());
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    // With TLS 1.3, a client is told after its own side of the handshake.
    if let Ok(mut stream) = client.begin(stream, "hub.test").await {
        let mut bytes = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut bytes);
        assert!(soon(read).await.is_err());
    }
}
