//! Renewals: in time, by the authority's advice, and when the authority is down.

use std::time::Duration;

use lyceum_certs::{State, TroubleKind};
use lyceum_core::{Clock as _, SystemClock};

use crate::pebble::PebbleOptions;
use crate::world::{World, never, until};

fn brief(seconds: u64) -> PebbleOptions {
    PebbleOptions {
        profiles: vec![("brief".to_owned(), seconds)],
        ..PebbleOptions::default()
    }
}

#[tokio::test]
async fn a_certificate_that_lives_for_a_minute_is_renewed_before_its_end_without_a_gap() {
    let world = World::with(brief(75)).await;
    let mut config = world.config(&["a.example.org"]);
    config.acme.profile = Some("brief".to_owned());
    let site = world.open(config);
    let mut serial = site.issued("a.example.org").await;
    for _ in 0..2 {
        let before = site.status("a.example.org");
        while world.shown("a.example.org").await == serial {
            let now = SystemClock.now();
            assert!(now < before.not_after, "it has ended: {before:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let status = site.status("a.example.org");
        serial.clone_from(&status.serial);
        assert_eq!(status.failures, 0, "{status:?}");
        assert!(status.not_after > before.not_after, "{status:?}");
        // Pebble wants it at any moment of its life; the first and the last ones are ours to leave out.
        let lived = before.not_before.duration_until(status.not_before);
        assert!(lived.as_secs() >= 3, "renewed after {lived:?}");
    }
    assert_eq!(world.pebble.orders(), 3);
}

#[tokio::test]
async fn the_authoritys_wish_is_followed_and_told_as_such() {
    let world = World::with(brief(240)).await;
    let mut config = world.config(&["a.example.org"]);
    config.acme.profile = Some("brief".to_owned());
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    site.end().await;
    world.want_renewal("a.example.org");
    let site = world.open(config);
    // Not before it is ten seconds old, whatever the authority wants.
    let new = site.other_than("a.example.org", &serial).await;
    assert_eq!(world.shown("a.example.org").await, new);
    never("renewed again", || world.pebble.orders() > 2).await;
}

#[tokio::test]
async fn the_old_one_stays_while_the_authority_is_down_and_the_renewal_comes_after() {
    let mut world = World::with(brief(600)).await;
    let mut config = world.config(&["a.example.org"]);
    config.acme.profile = Some("brief".to_owned());
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    site.end().await;
    world.want_renewal("a.example.org");
    world.pebble.stop();
    let orders = world.pebble.orders();
    // A minute later, which is not enough to be a wrong clock.
    world.clock.set(60);
    let site = world.open(config);
    until("the trouble is told", || {
        site.status("a.example.org").trouble.is_some()
    })
    .await;
    let status = site.status("a.example.org");
    let trouble = status.trouble.unwrap();
    assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble:?}");
    assert_eq!(status.state, State::Valid);
    assert!(status.renewal.unwrap() > status.last_attempt.unwrap());
    assert_eq!(world.shown("a.example.org").await, serial);
    never("tried again at once", || {
        site.status("a.example.org").failures > 1
    })
    .await;
    world.pebble.restart().await;
    world.clock.set(115);
    let new = site.other_than("a.example.org", &serial).await;
    assert_eq!(world.shown("a.example.org").await, new);
    let status = site.status("a.example.org");
    assert_eq!((status.failures, status.trouble), (0, None));
    assert_eq!(world.pebble.orders(), orders + 1);
}
