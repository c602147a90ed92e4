//! The account: made once, kept, bound, changed, replaced.

use std::fs;
use std::path::PathBuf;
use std::pin::Pin;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use instant_acme::{Account, BodyWrapper, BytesResponse, HttpClient};
use lyceum_certs::ClientTls;
use lyceum_certs::acme::{AcmeClient, AcmeOptions};
use lyceum_certs::{ChallengeKind, TroubleKind};

use crate::pebble::PebbleOptions;
use crate::world::{Listeners, World, facts, request};

use ChallengeKind::Http01;

#[tokio::test]
async fn orders_at_the_same_time_make_one_account() {
    let world = World::new().await;
    let client = world.client();
    assert_eq!(client.account_id().await, None);
    let requests =
        ["a.example.org", "b.example.org", "c.example.org"].map(|name| request(&[name], &[Http01]));
    let [a, b, c] = &requests;
    let (a, b, c) = tokio::join!(
        world.issue(&client, a),
        world.issue(&client, b),
        world.issue(&client, c)
    );
    for issued in [a, b, c] {
        issued.unwrap();
    }
    assert_eq!(world.pebble.accounts(), 1);
    let id = client.account_id().await.unwrap();
    assert_eq!(world.account()["id"], id);
    // Another start of the program takes the same.
    let client = world.client();
    world.issue(&client, &requests[0]).await.unwrap();
    assert_eq!(client.account_id().await.unwrap(), id);
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn nothing_is_made_before_the_terms_are_agreed_to() {
    let world = World::new().await;
    let client = AcmeClient::new(AcmeOptions {
        agree_to_terms: false,
        ..world.options()
    })
    .unwrap();
    let terms = client.directory().await.unwrap().terms_of_service.unwrap();
    let trouble = world
        .issue(&client, &request(&["a.example.org"], &[Http01]))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(trouble.hint.contains(&terms), "{}", trouble.hint);
    assert!(trouble.hint.contains("agree_to_terms"), "{}", trouble.hint);
    assert_eq!(world.pebble.accounts(), 0);
    assert!(!world.account_file().exists());
}

#[tokio::test]
async fn an_end_while_registering_costs_no_account() {
    let world = World::new().await;
    let request = request(&["a.example.org"], &[Http01]);
    world.issue(&world.client(), &request).await.unwrap();
    // As if the authority's answer had not been seen.
    let mut account = world.account();
    let id = account.as_object_mut().unwrap().remove("id").unwrap();
    fs::write(world.account_file(), account.to_string()).unwrap();
    let client = world.client();
    assert_eq!(client.account_id().await, None);
    world.issue(&client, &request).await.unwrap();
    assert_eq!(client.account_id().await.unwrap(), id);
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn the_authority_is_told_a_new_address_once() {
    let world = World::new().await;
    let order = request(&["a.example.org"], &[Http01]);
    world.issue(&world.client(), &order).await.unwrap();
    assert_eq!(world.account()["contact"], "admin@example.org");
    let client = AcmeClient::new(AcmeOptions {
        email: Some("other@example.org".to_owned()),
        ..world.options()
    })
    .unwrap();
    world.issue(&client, &order).await.unwrap();
    assert_eq!(world.account()["contact"], "other@example.org");
    assert_eq!(world.pebble.accounts(), 1);
    // One that it does not take holds up no certificate.
    let client = AcmeClient::new(AcmeOptions {
        email: Some("bad@".to_owned()),
        ..world.options()
    })
    .unwrap();
    world.issue(&client, &order).await.unwrap();
    assert_eq!(world.account()["contact"], "other@example.org");
}

#[tokio::test]
async fn orders_go_on_with_a_new_key_of_the_account() {
    let world = World::new().await;
    let client = world.client();
    let request = request(&["a.example.org"], &[Http01]);
    world.issue(&client, &request).await.unwrap();
    let before = world.account();
    client.roll_account_key().await.unwrap();
    let after = world.account();
    assert_ne!(before["key"], after["key"]);
    assert_eq!(before["id"], after["id"]);
    assert_eq!(before["contact"], after["contact"]);
    world.issue(&client, &request).await.unwrap();
    assert_eq!(world.pebble.accounts(), 1);

    // The old key with the note that it was being changed, as an end before the new one was written leaves it.
    let mut torn = before;
    torn["key_changing"] = true.into();
    fs::write(world.account_file(), torn.to_string()).unwrap();
    world.issue(&client, &request).await.unwrap();
    assert_eq!(world.pebble.accounts(), 2);
    // The same if the authority has never heard of the change.
    let mut torn = world.account();
    torn["key_changing"] = true.into();
    fs::write(world.account_file(), torn.to_string()).unwrap();
    world.issue(&client, &request).await.unwrap();
    assert_eq!(world.pebble.accounts(), 2);
    assert_eq!(world.account().get("key_changing"), None);
}

#[tokio::test]
async fn an_account_that_the_authority_has_lost_is_made_anew() {
    let mut world = World::new().await;
    let client = world.client();
    let request = request(&["a.example.org"], &[Http01]);
    world.issue(&client, &request).await.unwrap();
    let before = world.account();
    world.pebble.restart().await;
    let issued = world.issue(&client, &request).await.unwrap();
    assert_eq!(facts(&issued).names, ["a.example.org"]);
    assert_ne!(before["key"], world.account()["key"]);
    let old = fs::read_to_string(world.account_file().with_extension("json.old")).unwrap();
    assert!(old.contains(before["key"].as_str().unwrap()));
    assert_eq!(world.pebble.accounts(), 2);
}

#[tokio::test]
async fn an_account_that_was_deactivated_is_made_anew() {
    let world = World::new().await;
    let client = world.client();
    let request = request(&["a.example.org"], &[Http01]);
    world.issue(&client, &request).await.unwrap();
    let before = client.account_id().await.unwrap();
    let key = BASE64_STANDARD
        .decode(world.account()["key"].as_str().unwrap())
        .unwrap();
    Account::builder_with_http(Box::new(PlainClient(world.pebble.ca_file())))
        .from_parts(
            before.clone(),
            key.as_slice().into(),
            world.pebble.directory(),
        )
        .await
        .unwrap()
        .deactivate()
        .await
        .unwrap();
    world.issue(&client, &request).await.unwrap();
    assert_ne!(client.account_id().await.unwrap(), before);
    assert_eq!(world.pebble.accounts(), 2);
}

/// Another client of the same account, as an administrator may have one.
struct PlainClient(PathBuf);

impl HttpClient for PlainClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let tls = ClientTls::new(Some(&self.0), None).unwrap();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.config().as_ref().clone())
            .https_only()
            .enable_http1()
            .build();
        let answer = Client::builder(TokioExecutor::new())
            .build(connector)
            .request(request);
        Box::pin(async move { Ok(BytesResponse::from(answer.await.unwrap())) })
    }
}

#[tokio::test]
async fn a_spoilt_file_is_told_and_left() {
    let world = World::new().await;
    fs::create_dir_all(world.account_file().parent().unwrap()).unwrap();
    fs::write(world.account_file(), "{\"key\": \"secret").unwrap();
    let trouble = world
        .issue(&world.client(), &request(&["a.example.org"], &[Http01]))
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Files);
    assert!(!trouble.to_string().contains("secret"));
    assert!(world.account_file().exists());
}

#[tokio::test]
async fn an_account_is_bound_to_one_that_the_authority_knows() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let options = PebbleOptions {
        eab: Some(("kid-1".to_owned(), key.to_owned())),
        ..PebbleOptions::default()
    };
    let world = World::with(options, Listeners::Both).await;
    let order = request(&["a.example.org"], &[Http01]);
    let client = |id: &str, file: &str| {
        let file = world.folder.path().join(file);
        AcmeClient::new(AcmeOptions {
            eab: Some((id.to_owned(), file)),
            ..world.options()
        })
        .unwrap()
    };

    let plain = world.client();
    assert!(plain.directory().await.unwrap().external_account_required);
    let trouble = world.issue(&plain, &order).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(trouble.hint.contains("eab_key_id"), "{trouble:?}");

    let trouble = world
        .issue(&client("kid-1", "none"), &order)
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(trouble.what.contains("none"), "{trouble:?}");

    fs::write(world.folder.path().join("bad"), "not a key!").unwrap();
    let trouble = world
        .issue(&client("kid-1", "bad"), &order)
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(!format!("{trouble:?}").contains("not a key!"));

    fs::write(world.folder.path().join("good"), format!("{key}\n")).unwrap();
    let trouble = world
        .issue(&client("kid-2", "good"), &order)
        .await
        .unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Account, "{trouble:?}");

    let client = client("kid-1", "good");
    world.issue(&client, &order).await.unwrap();
    assert_eq!(world.account()["contact"], "admin@example.org");
    // Once made, it is an account as any other.
    world.issue(&client, &order).await.unwrap();
    world.issue(&plain, &order).await.unwrap();
    assert_eq!(world.pebble.accounts(), 1);
}
