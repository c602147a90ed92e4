//! Settings that change between two starts: what was made for others is replaced, and going back works.

use lyceum_certs::{Authority, CertificateConfig, KeyType, TlsConfig};

use crate::world::{World, never};

/// Starts with settings, and waits for the certificate that is not this one.
async fn other(world: &World, config: &TlsConfig, id: &str, before: &str) -> String {
    let site = world.open(config.clone());
    let serial = site.other_than(id, before).await;
    assert_eq!(world.shown("a.example.org").await, serial);
    site.end().await;
    serial
}

#[tokio::test]
async fn other_settings_get_another_certificate_and_so_does_going_back() {
    let world = World::new().await;
    let single = world.config(&["a.example.org"]);
    let site = world.open(single.clone());
    let mut serial = site.issued("a.example.org").await;
    site.end().await;
    let mut rsa = single.clone();
    rsa.key_type = KeyType::Rsa;
    let mut shortlived = single.clone();
    shortlived.acme.profile = Some("shortlived".to_owned());
    let mut group = single.clone();
    group.domains = Vec::new();
    group.certificates = vec![CertificateConfig {
        names: vec![
            "a.example.org".parse().unwrap(),
            "b.example.org".parse().unwrap(),
        ],
        ..CertificateConfig::default()
    }];
    let mut orders = world.pebble.orders();
    for config in [&rsa, &single, &shortlived, &single, &group, &single] {
        serial = other(&world, config, "a.example.org", &serial).await;
        orders += 1;
        assert_eq!(world.pebble.orders(), orders);
    }
    let site = world.open(single);
    never("one more was ordered for the same settings", || {
        world.pebble.orders() > orders
    })
    .await;
    site.end().await;
}

#[tokio::test]
async fn another_authority_gives_another_certificate_and_so_does_going_back() {
    let world = World::new().await;
    let second = world.second_pebble().await;
    let first = world.config(&["a.example.org"]);
    let mut next = first.clone();
    next.acme.directory = Authority::Url(second.directory());
    next.acme.ca_file = Some(second.ca_file());
    let site = world.open(first.clone());
    let serial = site.issued("a.example.org").await;
    site.end().await;
    let serial = other(&world, &next, "a.example.org", &serial).await;
    other(&world, &first, "a.example.org", &serial).await;
    assert_eq!((world.pebble.orders(), second.orders()), (2, 1));
}
