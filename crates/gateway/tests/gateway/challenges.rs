//! Authorities that check a name: by a file at the plain port, and by a certificate at the secure one.

use std::os::unix::fs::symlink;

use http::Request;
use lyceum_certs::{LiveCertificates, Proof, Solver as _, TlsSolver};
use lyceum_core::RouteSpec;
use lyceum_gateway::{Challenges, Site, SiteAccess, SiteAction, SiteLimits};

use crate::authority::{Authority, show, tls};
use crate::http2::Client2;
use crate::policy::openssl;
use crate::support::{Answer, Setup, TestGateway, full, request};

const PATH: &str = "/.well-known/acme-challenge/";

async fn ask(gateway: &TestGateway, method: &'static str, path: &str) -> Answer {
    gateway.client().await.ask(request(method, path, "")).await
}

fn check_given(answer: &Answer, text: &str) {
    assert_eq!((answer.status, answer.text()), (200, text));
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_answered_whatever_else_is_done_with_requests() {
    let authority = Authority::new();
    let live = LiveCertificates::default();
    show(&live, "hub", &["hub.test"], &authority.issue(&["hub.test"]));
    let gateway = Setup::default()
        .challenges(live.challenges())
        .tls_listener(tls(&live))
        .config(|config| {
            config.https_redirect = true;
            config.canonical_host = Some("elsewhere.test".to_owned());
        })
        .start();
    gateway.table.set_sites([Site {
        name: "closed".to_owned(),
        spec: RouteSpec::path("/"),
        access: SiteAccess {
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            gated: true,
            client_certificate: true,
        },
        action: SiteAction::Redirect {
            to: "/elsewhere".to_owned(),
            status: 302,
        },
        limits: SiteLimits::default(),
        request_headers: Vec::new(),
        response_headers: Vec::new(),
        maintenance: Some("closed".to_owned()),
    }]);
    let path = format!("{PATH}abc");
    let held = live.challenges().answer_http("abc", "abc.thumb".to_owned());
    check_given(&gateway.get(&path).await, "abc.thumb");
    let head = ask(&gateway, "HEAD", &path).await;
    check_given(&head, "");
    assert_eq!(head.header("content-length"), "9");
    let client = authority.client(None);
    let stream = client.offering(&["h2"]).connect(&gateway, "hub.test").await;
    let mut client = Client2::new(stream).await;
    check_given(&client.get(&path).await, "abc.thumb");
    let head = Request::builder()
        .method("HEAD")
        .uri(format!("https://hub.test{path}"))
        .body(full(""))
        .unwrap();
    check_given(&client.ask(head).await, "");
    for (method, path) in [
        ("POST", path.as_str()),
        ("GET", "/.well-known/acme-challenge/x"),
    ] {
        assert_eq!(
            ask(&gateway, method, path).await.status,
            503,
            "{method} {path}"
        );
    }
    drop(held);
    assert_eq!(gateway.get(&path).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_is_looked_for_in_the_folder_of_another_program() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("www/.well-known/acme-challenge");
    std::fs::create_dir_all(&inner).unwrap();
    std::fs::write(inner.join("to-ken_1"), "to-ken_1.thumb").unwrap();
    std::fs::write(inner.join("dot.ted"), "not a token").unwrap();
    std::fs::write(inner.join("big"), vec![b'x'; 64 * 1024 + 1]).unwrap();
    std::fs::write(folder.path().join("secret"), "secret").unwrap();
    std::fs::create_dir(inner.join("folder")).unwrap();
    symlink("../../../secret", inner.join("link")).unwrap();
    symlink("/etc/hostname", inner.join("absolute")).unwrap();
    let challenges = Challenges::default();
    let gateway = Setup::default()
        .challenges(&challenges)
        .options(|options| options.challenge_folder = Some(folder.path().join("www").into()))
        .start();
    let held = challenges.answer_http("ours", "ours.thumb".to_owned());
    check_given(&gateway.get(&format!("{PATH}ours")).await, "ours.thumb");
    drop(held);
    let path = format!("{PATH}to-ken_1");
    check_given(&gateway.get(&path).await, "to-ken_1.thumb");
    let head = ask(&gateway, "HEAD", &path).await;
    check_given(&head, "");
    assert_eq!(head.header("content-length"), "14");
    let mut client = Client2::new(gateway.connect().await).await;
    check_given(&client.get(&path).await, "to-ken_1.thumb");
    for token in [
        "",
        "missing",
        "dot.ted",
        "big",
        "folder",
        "link",
        "absolute",
        "a%2Fb",
        "%74o-ken_1",
        "../../../secret",
        "to-ken_1/",
        "to-ken_1/x",
    ] {
        let answer = gateway.get(&format!("{PATH}{token}")).await;
        assert_eq!(answer.text(), "hub", "{token}");
        let answer = client.get(&format!("{PATH}{token}")).await;
        assert_eq!(answer.text(), "hub", "{token}");
    }
    assert_eq!(ask(&gateway, "POST", &path).await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_is_shown_its_certificate_and_nothing_else() {
    let authority = Authority::new();
    let live = LiveCertificates::default();
    let usual = authority.issue(&["hub.test"]);
    show(&live, "hub", &["hub.test"], &usual);
    let gateway = Setup::default().tls_listener(tls(&live)).start();
    let shown = TlsSolver(live.challenges().clone())
        .show(Proof {
            name: "hub.test",
            token: "token",
            key_authorization: "token.thumb",
            digest: &[7; 32],
            dns_value: "value",
        })
        .await
        .unwrap();
    let address = format!("127.0.0.1:{}", gateway.tls_port());
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "hub.test",
        "-ign_eof",
    ];
    let check = [&arguments[..], &["-alpn", "acme-tls/1"]].concat();
    let said = openssl(&check, "GET /hub/ HTTP/1.1\r\nHost: h\r\n\r\n").await;
    said.has("ALPN protocol: acme-tls/1").lacks("HTTP/1.1");
    let certificate = openssl(&["x509", "-noout", "-text"], &said.text).await;
    certificate
        .has("DNS:hub.test")
        .has("1.3.6.1.5.5.7.1.31: critical");
    // A browser is not told that there is a check.
    let client = authority.client(None);
    for alpn in [&[][..], &["http/1.1"], &["http/1.1", "acme-tls/1"]] {
        let stream = client.offering(alpn).connect(&gateway, "hub.test").await;
        let session = stream.get_ref().1;
        assert_ne!(session.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        assert_eq!(session.peer_certificates().unwrap()[0].to_vec(), usual.der);
    }
    shown.clean_up().await.unwrap();
    let said = openssl(&check, "").await;
    said.has("no peer certificate available");
}
