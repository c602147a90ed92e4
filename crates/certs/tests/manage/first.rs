//! The first certificate, what a restart does, and what is kept of secrets.

use std::os::unix::fs::PermissionsExt as _;

use lyceum_certs::{Level, Manager, State};

use crate::pebble::PebbleOptions;
use crate::world::{World, files, hex, logged, never, secrets_of, until};

#[tokio::test]
async fn one_signed_by_itself_is_shown_at_once_then_the_authoritys_and_a_restart_keeps_it() {
    let world = World::new().await;
    let site = world.open(world.config(&["a.example.org"]));
    let first = site.status("a.example.org");
    assert_eq!(first.state, State::StandIn);
    assert_eq!(world.shown("a.example.org").await, first.serial);
    assert_eq!(site.manager.warnings()[0].level, Level::Notice);
    let serial = site.issued("a.example.org").await;
    assert_eq!(world.shown("a.example.org").await, serial);
    assert_eq!(world.shown("nobody.example.org").await, serial);
    let status = site.status("a.example.org");
    assert_eq!(status.state, State::Valid);
    assert_eq!(site.manager.warnings(), []);
    until("the authority has said when to renew", || {
        site.status("a.example.org").renewal_by_authority
    })
    .await;
    site.end().await;

    let again = world.open(world.config(&["a.example.org"]));
    assert_eq!(again.status("a.example.org").serial, serial);
    assert_eq!(world.shown("a.example.org").await, serial);
    never("a restart has asked for a certificate", || {
        world.pebble.orders() > 1
    })
    .await;
    let status = again.status("a.example.org");
    assert!(status.renewal_by_authority, "{status:?}");
    assert!(status.renewal.unwrap() > status.not_before, "{status:?}");
}

#[tokio::test]
async fn one_that_fails_holds_up_no_other() {
    let world = World::with(PebbleOptions {
        blocked: vec!["bad.example.org".to_owned()],
        ..PebbleOptions::default()
    })
    .await;
    let names = ["bad.example.org", "a.example.org", "b.example.org"];
    let site = world.open(world.config(&names));
    for name in ["a.example.org", "b.example.org"] {
        let serial = site.issued(name).await;
        assert_eq!(world.shown(name).await, serial);
    }
    until("the failure is told", || {
        site.status("bad.example.org").trouble.is_some()
    })
    .await;
    let bad = site.status("bad.example.org");
    assert_eq!((bad.state, bad.failures), (State::StandIn, 1), "{bad:?}");
    assert_eq!(world.shown("bad.example.org").await, bad.serial);
    let orders = world.pebble.orders();
    never("it is tried again at once", || {
        world.pebble.orders() > orders || site.status("bad.example.org").failures > 1
    })
    .await;
}

#[tokio::test]
async fn keys_are_for_the_owner_alone_and_told_to_nobody() {
    let world = World::new().await;
    let site = world.open(world.config(&["secret.example.org"]));
    site.issued("secret.example.org").await;
    site.manager.roll_account_key().await.unwrap();
    let shown = format!(
        "{:?}{}",
        site.manager,
        serde_json::to_string(&site.manager.status()).unwrap()
    );
    let look = Manager::look(world.options(world.config(&["secret.example.org"]))).unwrap();
    assert_eq!(look.certificates[0].state, State::Valid);
    let shown = format!("{shown}{look:?}{}", logged());
    let mut secrets = Vec::new();
    let mut accounts = 0;
    for path in files(&world.certificates()) {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{}", path.display());
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            secrets.extend(secrets_of(&text));
            if let Ok(json) = serde_json::from_str::<serde_json::Value>(&text)
                && let Some(key) = json["key"].as_str()
                && path.ends_with("account.json")
            {
                secrets.push(key.to_owned());
                accounts += 1;
            }
        }
    }
    assert_eq!(accounts, 1);
    assert!(secrets.len() >= 4, "only {} lines of keys", secrets.len());
    for secret in secrets {
        assert!(!shown.contains(&secret), "a key is told");
        assert!(!shown.contains(&hex(secret.as_bytes())), "a key is told");
    }
    assert!(!shown.contains("PRIVATE KEY"), "a key is told");
}
