//! Certificates of all kinds, got, renewed and revoked.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lyceum_certs::acme::{OrderRequest, RevocationReason};
use lyceum_certs::{ChallengeKind, KeyType, TroubleKind};
use lyceum_core::{Clock as _, SystemClock};

use crate::pebble::PebbleOptions;
use crate::world::{Listeners, World, facts, fits_its_key, leaf, request};

use ChallengeKind::{Dns01, Http01, TlsAlpn01};

#[tokio::test]
async fn a_certificate_is_issued_by_each_way_of_proving_a_name() {
    let world = World::new().await;
    let client = world.client();
    for (name, kind) in [
        ("http.example.org", Http01),
        ("tls.example.org", TlsAlpn01),
        ("dns.example.org", Dns01),
    ] {
        let request = request(&[name], &[kind]);
        let issued = client.order(&request, &world.solvers()).await.unwrap();
        assert_eq!(facts(&issued).names, [name]);
        assert!(fits_its_key(&issued));
        assert!(issued.chain_pem.matches("BEGIN CERTIFICATE").count() > 1);
        // The order is kept until the certificate is stored.
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(world.order_file(name)), 0o600);
        client.finish(name).await.unwrap();
        assert!(!world.order_file(name).exists());
        assert_eq!(mode(world.account_file()), 0o600);
    }
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn several_names_are_in_one_certificate() {
    let world = World::new().await;
    let names = ["a.example.org", "b.example.org", "c.example.org"];
    let mut request = request(&names, &[Http01, TlsAlpn01]);
    // Each in its own way.
    request
        .challenges
        .insert(names[1].parse().unwrap(), vec![TlsAlpn01]);
    request
        .challenges
        .insert(names[2].parse().unwrap(), vec![Dns01]);
    let issued = world.issue(&world.client(), &request).await.unwrap();
    assert_eq!(facts(&issued).names, names);
}

#[tokio::test]
async fn a_wildcard_and_its_base_are_proven_by_the_dns() {
    let world = World::new().await;
    let request = request(&["*.example.org", "example.org"], &[Dns01]);
    let issued = world.issue(&world.client(), &request).await.unwrap();
    assert_eq!(facts(&issued).names, ["*.example.org", "example.org"]);
}

#[tokio::test]
async fn an_address_is_proven_by_http_and_by_tls() {
    let world = World::new().await;
    for kind in [Http01, TlsAlpn01] {
        let issued = world
            .issue(&world.client(), &request(&["127.0.0.1"], &[kind]))
            .await
            .unwrap();
        assert_eq!(facts(&issued).names, ["127.0.0.1"]);
    }
}

#[tokio::test]
async fn keys_are_of_the_kind_that_is_asked_for() {
    let world = World::new().await;
    let client = world.client();
    for (key_type, bits) in [(KeyType::Ecdsa, 256), (KeyType::Rsa, 2048)] {
        let request = OrderRequest {
            key_type,
            ..request(&["a.example.org"], &[Http01])
        };
        let issued = world.issue(&client, &request).await.unwrap();
        assert!(fits_its_key(&issued));
        assert!(
            (bits - 8..=bits).contains(&facts(&issued).key_bits),
            "{bits}"
        );
    }
}

#[tokio::test]
async fn a_profile_gives_certificates_of_six_days() {
    let world = World::new().await;
    let client = world.client();
    let profiles = client.directory().await.unwrap().profiles;
    assert_eq!(profiles.get("shortlived").unwrap(), "518400 s");
    let mut request = request(&["a.example.org"], &[Http01]);
    for (profile, days) in [("shortlived", 6), ("default", 90)] {
        request.profile = Some(profile.to_owned());
        let issued = world.issue(&client, &request).await.unwrap();
        assert_eq!(facts(&issued).days, days);
    }

    request.profile = Some("no-such".to_owned());
    let trouble = world.issue(&client, &request).await.unwrap_err();
    assert_eq!(trouble.kind, TroubleKind::Configuration);
    assert!(trouble.causes[0].contains("shortlived"), "{trouble}");
}

#[tokio::test]
async fn the_authority_says_when_to_renew_and_is_told_what_is_replaced() {
    let world = World::new().await;
    let client = world.client();
    assert!(client.directory().await.unwrap().has_renewal_info);
    let mut request = request(&["a.example.org"], &[Http01]);
    let first = world.issue(&client, &request).await.unwrap();
    let advice = client.renewal_info(&leaf(&first)).await.unwrap().unwrap();
    assert!(advice.start > SystemClock.now());
    assert!(advice.end > advice.start);
    assert!(advice.ask_again >= Duration::from_mins(1));

    request.replaces = Some(leaf(&first));
    let second = world.issue(&client, &request).await.unwrap();
    assert_ne!(facts(&first).serial, facts(&second).serial);
    // Replaced already: it is ordered all the same, without that.
    let third = world.issue(&client, &request).await.unwrap();
    assert_ne!(facts(&third).serial, facts(&second).serial);

    // A certificate of somebody else.
    let other = World::new().await;
    let strange = other
        .issue(
            &other.client(),
            &crate::world::request(&["a.example.org"], &[Http01]),
        )
        .await
        .unwrap();
    assert_eq!(client.renewal_info(&leaf(&strange)).await.unwrap(), None);
    request.replaces = Some(leaf(&strange));
    world.issue(&client, &request).await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_revoked_and_issued_anew() {
    let world = World::new().await;
    let client = world.client();
    let request = request(&["a.example.org"], &[TlsAlpn01]);
    let issued = world.issue(&client, &request).await.unwrap();
    let serial = facts(&issued).serial;
    assert_eq!(world.pebble.status(&serial).await, "Valid");
    for _ in 0..2 {
        // The second time it is revoked already.
        client
            .revoke(&leaf(&issued), RevocationReason::KeyCompromise)
            .await
            .unwrap();
        assert_eq!(world.pebble.status(&serial).await, "Revoked");
    }
    let again = world.issue(&client, &request).await.unwrap();
    assert_eq!(world.pebble.status(&facts(&again).serial).await, "Valid");
}

#[tokio::test]
async fn names_that_are_proven_already_are_not_proven_again() {
    let options = PebbleOptions {
        authorization_reuse: 100,
        ..PebbleOptions::default()
    };
    let world = World::with(options, Listeners::Both).await;
    let client = world.client();
    let request = request(&["a.example.org"], &[Http01]);
    world.issue(&client, &request).await.unwrap();
    let issued = client.order(&request, &[]).await.unwrap();
    assert!(fits_its_key(&issued));
}

#[tokio::test]
async fn many_worn_out_nonces_are_no_trouble() {
    let options = PebbleOptions {
        nonce_reject: 50,
        ..PebbleOptions::default()
    };
    let world = World::with(options, Listeners::Both).await;
    let client = world.client();
    let names = ["a.example.org", "b.example.org"];
    let issued = world
        .issue(&client, &request(&names, &[Http01]))
        .await
        .unwrap();
    client
        .revoke(&leaf(&issued), RevocationReason::Superseded)
        .await
        .unwrap();
    client.roll_account_key().await.unwrap();
    let issued = world
        .issue(&client, &request(&names, &[Dns01]))
        .await
        .unwrap();
    assert_eq!(facts(&issued).names, names);
}
