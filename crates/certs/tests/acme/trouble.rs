//! What people are told when something fails at a real authority.

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use lyceum_certs::acme::{AcmeClient, AcmeOptions};
use lyceum_certs::{ChallengeKind, TroubleKind};
use serde_json::json;

use crate::pebble::{PebbleOptions, server_certificate};
use crate::world::{Listeners, World, WrongClock, facts, request};

use ChallengeKind::{Dns01, Http01, TlsAlpn01};

#[tokio::test]
async fn a_proof_that_fails_is_told_and_the_next_attempt_takes_another_way() {
    let world = World::with(PebbleOptions::default(), Listeners::TlsOnly).await;
    let client = world.client();
    let order = request(&["a.example.org"], &[Http01, TlsAlpn01, Dns01]);
    let trouble = world.issue(&client, &order).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::NotProven);
    assert!(
        trouble.what.contains("a.example.org by http-01"),
        "{trouble:?}"
    );
    assert!(trouble.causes[0].contains("(connection)"), "{trouble:?}");
    assert!(trouble.causes[0].contains("refused"), "{trouble:?}");
    assert!(trouble.hint.contains("port 80"), "{trouble:?}");
    assert!(!world.order_file("a.example.org").exists());

    let issued = world.issue(&client, &order).await.unwrap();
    assert_eq!(facts(&issued).names, ["a.example.org"]);
    // It has worked, and with that the first way is the first again.
    assert!(world.issue(&client, &order).await.is_err());
}

#[tokio::test]
async fn the_only_way_is_tried_again() {
    let world = World::with(PebbleOptions::default(), Listeners::TlsOnly).await;
    let client = world.client();
    let order = request(&["a.example.org"], &[Http01]);
    for _ in 0..2 {
        let trouble = world.issue(&client, &order).await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::NotProven);
        assert!(trouble.what.contains("http-01"), "{trouble:?}");
    }
}

#[tokio::test]
async fn nothing_is_shown_when_an_order_is_over() {
    let world = World::with(PebbleOptions::default(), Listeners::TlsOnly).await;
    let client = world.client();
    let names = ["a.example.org", "b.example.org"];
    let mut order = request(&names, &[TlsAlpn01]);
    order
        .challenges
        .insert(names[1].parse().unwrap(), vec![Http01]);
    world.issue(&client, &order).await.unwrap_err();
    let shown = format!("{:?}", world.live.challenges());
    assert!(!shown.contains("example.org"), "{shown}");
}

#[tokio::test]
async fn a_name_server_that_fails_is_told() {
    let world = World::new().await;
    world
        .pebble
        .change_dns("set-servfail", json!({"host": "a.example.org."}))
        .await;
    let trouble = world
        .issue(&world.client(), &request(&["a.example.org"], &[Http01]))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::NotProven, "{trouble:?}");
    assert!(
        trouble.causes[0].contains("could not resolve"),
        "{trouble:?}"
    );
    assert!(trouble.hint.contains("A and AAAA"), "{trouble:?}");
}

#[tokio::test]
async fn a_name_that_is_not_issued_for_is_told() {
    let options = PebbleOptions {
        blocked: vec!["blocked.example".to_owned()],
        ..PebbleOptions::default()
    };
    let world = World::with(options, Listeners::Both).await;
    let trouble = world
        .issue(&world.client(), &request(&["a.blocked.example"], &[Http01]))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Refused, "{trouble:?}");
    assert!(
        trouble
            .causes
            .iter()
            .any(|cause| cause.contains("rejectedIdentifier")),
        "{trouble:?}"
    );
}

#[tokio::test]
async fn a_wildcard_without_the_dns_has_no_way() {
    let world = World::new().await;
    let trouble = world
        .issue(&world.client(), &request(&["*.example.org"], &[Http01]))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration, "{trouble:?}");
    assert!(trouble.causes[0].contains("offers dns-01"), "{trouble:?}");
}

#[tokio::test]
async fn an_authority_that_is_down_is_unreachable_and_back_later() {
    let mut world = World::new().await;
    let client = world.client();
    let order = request(&["a.example.org"], &[Http01]);
    world.pebble.stop();
    let trouble = world.issue(&client, &order).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble:?}");
    assert!(trouble.causes[0].contains("refused"), "{trouble:?}");
    world.pebble.restart().await;
    world.issue(&client, &order).await.unwrap();
}

#[tokio::test]
async fn an_authority_that_is_not_believed_is_told_with_the_setting() {
    let world = World::new().await;
    let other = world.folder.path().join("other.pem");
    fs::write(&other, server_certificate(|_| {}).ca).unwrap();
    for ca_file in [Some(other), None] {
        let client = AcmeClient::new(AcmeOptions {
            ca_file,
            ..world.options()
        })
        .unwrap();
        let trouble = client.directory().await.unwrap_err();
        assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble:?}");
        assert!(trouble.hint.contains("ca_file"), "{trouble:?}");
    }
    let trouble = AcmeClient::new(AcmeOptions {
        ca_file: Some(world.folder.path().join("none.pem")),
        ..world.options()
    })
    .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
}

#[tokio::test]
async fn a_name_that_is_nowhere_is_told() {
    let world = World::new().await;
    let at = |directory: &str| {
        AcmeClient::new(AcmeOptions {
            directory: directory.to_owned(),
            ..world.options()
        })
        .unwrap()
    };
    let trouble = at("https://nowhere.invalid/dir")
        .directory()
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unreachable);
    assert!(trouble.hint.contains("look up names"), "{trouble:?}");
    // Not by TLS, and not at all without it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let trouble = at(&format!("http://localhost:{port}/dir"))
        .directory()
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble:?}");
    // No directory.
    let wrong = world.pebble.directory().replace("/dir", "/nonce-plz");
    let trouble = at(&wrong).directory().await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration, "{trouble:?}");
    assert!(trouble.hint.contains("tls.acme.directory"), "{trouble:?}");
}

#[tokio::test]
async fn a_wrong_clock_is_seen() {
    let world = World::new().await;
    for wrong in [-3600, 0, 86_400] {
        let client = AcmeClient::new(AcmeOptions {
            clock: Arc::new(WrongClock(wrong)),
            ..world.options()
        })
        .unwrap();
        assert_eq!(client.clock_difference(), None);
        client.directory().await.unwrap();
        let seen = client.clock_difference().unwrap().as_secs();
        assert!((seen + wrong).abs() <= 2, "{wrong}: {seen}");
    }
}
