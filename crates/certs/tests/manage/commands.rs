//! What people ask for: renewals, trials, revocations, new keys.

use std::fs;

use lyceum_certs::{Authority, CertificateConfig, RevocationReason, State, TroubleKind};

use crate::pebble::PebbleOptions;
use crate::world::{World, never, until};

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[tokio::test]
async fn a_renewal_is_for_what_is_due_or_named() {
    let world = World::new().await;
    let mut config = world.config(&["a.example.org"]);
    config.certificates = vec![CertificateConfig {
        names: vec![
            "b.example.org".parse().unwrap(),
            "c.example.org".parse().unwrap(),
        ],
        ..CertificateConfig::default()
    }];
    let site = world.open(config);
    let a = site.issued("a.example.org").await;
    let b = site.issued("b.example.org").await;
    let outcomes = site.manager.renew(&[], false).await.unwrap();
    let done = |at: usize| outcomes[at].done.clone().unwrap();
    assert!(done(0).contains("not due") && done(1).contains("not due"));
    assert_eq!(world.pebble.orders(), 2);

    let trouble = site.manager.renew(&texts(&["d.example.org"]), false).await;
    let trouble = trouble.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(
        trouble.hint.contains("a.example.org, b.example.org"),
        "{trouble:?}"
    );

    // By its id, and by another of its names: once.
    let names = texts(&["c.example.org", "b.example.org"]);
    let outcomes = site.manager.renew(&names, false).await.unwrap();
    assert_eq!(outcomes.len(), 1);
    assert!(outcomes[0].done.as_ref().unwrap().contains("renewed"));
    let b = site.other_than("b.example.org", &b).await;
    assert_eq!(world.shown("c.example.org").await, b);
    assert_eq!(site.status("a.example.org").serial, a);
    assert_eq!(world.pebble.orders(), 3);
    site.manager.renew(&[], true).await.unwrap();
    assert_eq!(world.pebble.orders(), 5);
}

#[tokio::test]
async fn two_who_ask_at_the_same_time_get_one_certificate() {
    let world = World::new().await;
    let site = world.open(world.config(&["a.example.org"]));
    let name = texts(&["a.example.org"]);
    // The manager itself begins with the first one at this moment.
    let (one, two) = tokio::join!(
        site.manager.renew(&name, false),
        site.manager.renew(&name, false)
    );
    assert!(one.unwrap()[0].trouble.is_none());
    assert!(two.unwrap()[0].trouble.is_none());
    site.issued("a.example.org").await;
    never("more than one was ordered", || world.pebble.orders() > 1).await;
}

#[tokio::test]
async fn a_renewal_that_is_dropped_anywhere_leaves_a_whole_certificate() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    site.issued("a.example.org").await;
    let name = texts(&["a.example.org"]);
    for after in [1, 5, 20, 60, 120, 200, 300, 500, 800, 1200] {
        let limit = std::time::Duration::from_millis(after);
        let _ = tokio::time::timeout(limit, site.manager.renew(&name, false)).await;
        world.shown("a.example.org").await;
    }
    let outcomes = site.manager.renew(&name, false).await.unwrap();
    assert_eq!(outcomes[0].trouble, None, "{outcomes:?}");
    let serial = site.status("a.example.org").serial;
    assert_eq!(world.shown("a.example.org").await, serial);
    assert!(world.pebble.orders() <= 12, "{}", world.pebble.orders());
    site.end().await;
    let site = world.open(config);
    assert_eq!(site.status("a.example.org").serial, serial);
}

#[tokio::test]
async fn a_new_one_is_shown_before_the_old_one_is_void() {
    let world = World::new().await;
    let mut config = world.config(&[]);
    config.certificates = vec![CertificateConfig {
        names: vec![
            "a.example.org".parse().unwrap(),
            "b.example.org".parse().unwrap(),
        ],
        ..CertificateConfig::default()
    }];
    let site = world.open(config);
    let mut old = site.issued("a.example.org").await;
    // By its id, and by another of its names.
    for name in ["a.example.org", "b.example.org"] {
        assert_eq!(world.pebble.status(&old).await, "Valid");
        let reason = RevocationReason::KeyCompromise;
        site.manager.revoke(name, reason, false).await.unwrap();
        let new = site.status("a.example.org").serial;
        assert_ne!(new, old);
        assert_eq!(world.shown("b.example.org").await, new);
        assert_eq!(world.pebble.status(&old).await, "Revoked");
        assert_eq!(world.pebble.status(&new).await, "Valid");
        old = new;
    }
    let unknown = site
        .manager
        .revoke("x", RevocationReason::Unspecified, false);
    assert_eq!(unknown.await.unwrap_err().kind, TroubleKind::Configuration);
}

#[tokio::test]
async fn nothing_is_void_if_no_new_one_can_be_got() {
    let world = World::new().await;
    let site = world.open(world.config(&["a.example.org"]));
    let old = site.issued("a.example.org").await;
    site.end().await;
    // From now on with a name that was never proven, as Pebble may not ask again for one that was: nobody listens there.
    let away = serde_json::json!({"host": "b.example.org", "addresses": ["127.0.0.9"]});
    world.pebble.change_dns("add-a", away).await;
    let mut config = world.config(&[]);
    let names = ["a.example.org", "b.example.org"].map(|name| name.parse().unwrap());
    config.certificates = vec![CertificateConfig {
        names: names.to_vec(),
        ..CertificateConfig::default()
    }];
    let site = world.open(config);
    until("it was tried by itself", || {
        site.status("a.example.org").failures > 0
    })
    .await;
    let reason = RevocationReason::Unspecified;
    let refused = site.manager.revoke("a.example.org", reason, false).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind, TroubleKind::NotProven, "{refused:?}");
    assert!(refused.what.contains("nothing was revoked"), "{refused:?}");
    assert_eq!(world.pebble.status(&old).await, "Valid");
    assert_eq!(world.shown("a.example.org").await, old);
    let anyway = site.manager.revoke("a.example.org", reason, true).await;
    anyway.unwrap();
    assert_eq!(world.pebble.status(&old).await, "Revoked");
    assert_eq!(world.shown("a.example.org").await, old);
    // The next start takes a void one for no certificate.
    site.end().await;
    let site = world.open(world.config(&["a.example.org"]));
    assert_eq!(site.status("a.example.org").state, State::StandIn);
    assert_ne!(world.shown("a.example.org").await, old);
}

#[tokio::test]
async fn a_new_account_key_signs_the_next_renewal() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    site.manager.roll_account_key().await.unwrap();
    let name = texts(&["a.example.org"]);
    let outcomes = site.manager.renew(&name, false).await.unwrap();
    assert_eq!(outcomes[0].trouble, None, "{outcomes:?}");
    site.end().await;
    let site = world.open(config);
    let outcomes = site.manager.renew(&name, false).await.unwrap();
    assert_eq!(outcomes[0].trouble, None, "{outcomes:?}");
    assert_ne!(site.status("a.example.org").serial, serial);
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn a_trial_leaves_no_certificate() {
    let world = World::with(PebbleOptions {
        blocked: vec!["bad.example.org".to_owned()],
        ..PebbleOptions::default()
    })
    .await;
    let mut config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    // What it says of a certificate is written a moment later.
    let state = world.certificates().join("a.example.org.json");
    until("the window for a renewal is written", || {
        fs::read_to_string(&state).is_ok_and(|text| text.contains("\"start\""))
    })
    .await;
    let before = world.content();
    let authority = Authority::Url(world.pebble.directory());
    let outcomes = site.manager.try_out_at(&authority, &[]).await.unwrap();
    assert!(outcomes[0].done.as_ref().unwrap().contains("thrown away"));
    assert_eq!(world.pebble.orders(), 2);
    assert_eq!(world.shown("a.example.org").await, serial);
    assert_eq!(world.content(), before);
    let trouble = site.manager.try_out(&[]).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    site.end().await;

    config.domains = vec!["bad.example.org".parse().unwrap()];
    let site = world.open(config);
    let outcomes = site.manager.try_out_at(&authority, &[]).await.unwrap();
    let trouble = outcomes[0].trouble.as_ref().unwrap();
    assert_eq!(trouble.kind, TroubleKind::Refused, "{trouble:?}");
}
