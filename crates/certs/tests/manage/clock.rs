//! A clock that is wrong: no needless orders, no loops, and it is told.

use lyceum_certs::{Level, State};

use crate::world::{World, never, until};

const DAYS: i64 = 24 * 3600;

#[tokio::test]
async fn a_first_certificate_comes_with_any_clock_and_no_second_one() {
    for wrong in [100 * DAYS, -100 * DAYS] {
        let world = World::new().await;
        world.clock.set(wrong);
        let config = world.config(&["a.example.org"]);
        let site = world.open(config.clone());
        let serial = site.issued("a.example.org").await;
        assert_eq!(world.shown("a.example.org").await, serial);
        let status = site.manager.status();
        let behind = status.clock.as_ref().unwrap().behind_seconds;
        assert!((behind + wrong).abs() <= 5, "{wrong}: {behind}");
        assert_eq!(status.certificates[0].state, State::Valid, "{status:?}");
        let warning = &status.warnings[0];
        assert_eq!(
            (warning.level, &warning.certificate),
            (Level::Warning, &None)
        );
        let way = if wrong > 0 { "ahead of" } else { "behind" };
        assert!(warning.text.contains(way), "{warning:?}");
        never("a second one was ordered", || world.pebble.orders() > 1).await;
        site.end().await;

        // The next start, with the clock as wrong, and then right.
        for wrong in [wrong, 0] {
            world.clock.set(wrong);
            let site = world.open(config.clone());
            never("a start has ordered one", || world.pebble.orders() > 1).await;
            let status = site.manager.status();
            assert_eq!(status.certificates[0].state, State::Valid, "{status:?}");
            assert_eq!(status.clock.is_some(), wrong != 0, "{status:?}");
            site.end().await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_set_is_seen_without_a_restart() {
    let world = World::new().await;
    let site = world.open(world.config(&["a.example.org"]));
    site.issued("a.example.org").await;
    let is_wrong = || site.manager.status().clock.is_some();
    for (wrong, told) in [
        (100 * DAYS, true),
        (0, false),
        (-100 * DAYS, true),
        (0, false),
    ] {
        world.clock.set(wrong);
        until("the clock is told as it is", || is_wrong() == told).await;
        // With a clock that was just set nobody knows better, until the authority was asked.
        until("the certificate is valid", || {
            site.status("a.example.org").state == State::Valid
        })
        .await;
    }
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn failures_of_a_wrong_clock_are_forgotten_when_it_is_right() {
    let world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    site.issued("a.example.org").await;
    site.end().await;
    world.change_history("a.example.org", |history| {
        history["failures"] = 2.into();
        history["trouble"] = serde_json::json!({
            "kind": "clock", "what": "the authority's own certificate is not valid at this time", "hint": "timedatectl"
        });
    });
    let site = world.open(config);
    until("it is forgotten", || {
        let status = site.status("a.example.org");
        (status.failures, status.trouble) == (0, None)
    })
    .await;
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn with_a_wrong_clock_and_an_authority_that_is_down_nothing_is_lost() {
    let mut world = World::new().await;
    let config = world.config(&["a.example.org"]);
    let site = world.open(config.clone());
    let serial = site.issued("a.example.org").await;
    site.end().await;
    world.pebble.stop();
    world.clock.set(100 * DAYS);
    let site = world.open(config);
    until("a try has failed", || {
        site.status("a.example.org").failures == 1
    })
    .await;
    assert_eq!(site.status("a.example.org").state, State::NotValid);
    // It is set right: what was noted with it does not count.
    world.clock.set(0);
    let status = site.status("a.example.org");
    assert_eq!(status.state, State::Valid);
    assert_eq!(world.shown("a.example.org").await, serial);
    let planned = status.renewal.unwrap();
    assert!(planned < status.not_after, "{status:?}");
    never("one was ordered", || world.pebble.orders() > 1).await;
}
