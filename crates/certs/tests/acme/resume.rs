//! Orders that were stopped at any moment go on, or are made anew: never more than two.

use std::fs;
use std::time::{Duration, Instant};

use lyceum_certs::ChallengeKind;
use serde_json::Value;
use tokio::time::timeout;

use crate::world::{World, facts, fits_its_key, leaf, request};

use ChallengeKind::{Dns01, Http01, TlsAlpn01};

#[tokio::test]
async fn an_order_that_was_stopped_at_any_moment_goes_on() {
    let world = World::new().await;
    let order = request(&["warm.example.org"], &[Http01]);
    let begin = Instant::now();
    world.issue(&world.client(), &order).await.unwrap();
    let whole = begin.elapsed();

    let steps = 40;
    for step in 0..steps {
        let name = format!("step-{step}.example.org");
        let kind = [Http01, TlsAlpn01, Dns01][step % 3];
        let order = request(&[&name], &[kind]);
        let before = world.pebble.orders();
        let moment = whole * u32::try_from(step).unwrap() / (steps as u32 - 5);
        // Each attempt is that of another start of the program.
        let stopped = timeout(moment, world.client().order(&order, &world.solvers())).await;
        if let Ok(outcome) = stopped {
            outcome.unwrap();
        }
        let kept = order_url(&world, &name);
        let issued = world
            .client()
            .order(&order, &world.solvers())
            .await
            .unwrap();
        assert_eq!(facts(&issued).names, [name.as_str()]);
        assert!(fits_its_key(&issued), "{step}");
        if let Some(url) = kept {
            assert_eq!(
                order_url(&world, &name),
                Some(url),
                "{step}: it was not gone on with"
            );
        }
        assert!(world.pebble.orders() - before <= 2, "{step}");
        world.client().finish(&name).await.unwrap();
        assert!(!world.order_file(&name).exists());
    }
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn an_order_that_is_stopped_again_and_again_comes_to_its_end() {
    let world = World::new().await;
    let names = ["a.example.org", "b.example.org"];
    let order = request(&names, &[TlsAlpn01]);
    let mut moment = Duration::from_millis(20);
    let issued = loop {
        let attempt = timeout(moment, world.client().order(&order, &world.solvers())).await;
        if let Ok(outcome) = attempt {
            break outcome.unwrap();
        }
        moment += Duration::from_millis(20);
    };
    assert_eq!(facts(&issued).names, names);
    assert_eq!(world.pebble.accounts(), 1);
}

#[tokio::test]
async fn an_end_between_download_and_store_costs_another_download_only() {
    let world = World::new().await;
    let order = request(&["a.example.org"], &[Http01]);
    let first = world
        .client()
        .order(&order, &world.solvers())
        .await
        .unwrap();
    let second = world
        .client()
        .order(&order, &world.solvers())
        .await
        .unwrap();
    assert_eq!(first.chain_pem, second.chain_pem);
    assert_eq!(first.key_pem.expose(), second.key_pem.expose());
    assert_eq!(world.pebble.orders(), 1);
}

#[tokio::test]
async fn an_end_between_store_and_note_does_not_give_the_old_certificate_again() {
    let world = World::new().await;
    let mut order = request(&["a.example.org"], &[Http01]);
    let first = world
        .client()
        .order(&order, &world.solvers())
        .await
        .unwrap();
    order.replaces = Some(leaf(&first));
    let second = world
        .client()
        .order(&order, &world.solvers())
        .await
        .unwrap();
    assert_ne!(facts(&first).serial, facts(&second).serial);
    assert_eq!(world.pebble.orders(), 2);
}

#[tokio::test]
async fn an_order_for_other_names_is_not_gone_on_with() {
    let world = World::new().await;
    let client = world.client();
    let mut order = request(&["a.example.org"], &[Http01]);
    client.order(&order, &world.solvers()).await.unwrap();
    order = request(&["a.example.org", "b.example.org"], &[Http01]);
    let issued = client.order(&order, &world.solvers()).await.unwrap();
    assert_eq!(facts(&issued).names, ["a.example.org", "b.example.org"]);
}

#[tokio::test]
async fn an_authority_that_forgets_everything_in_the_middle_is_asked_anew() {
    let mut world = World::new().await;
    let order = request(&["a.example.org"], &[Http01]);
    // Nobody answers: the order stays open.
    let solvers = world.solvers();
    let client = world.client();
    let stopped = async {
        client.order(&order, &solvers).await.unwrap();
    };
    let kept = async {
        while !world.order_file("a.example.org").exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        () = stopped => {}
        () = kept => {}
    }
    assert!(world.order_file("a.example.org").exists());
    world.pebble.restart().await;
    let issued = world.issue(&client, &order).await.unwrap();
    assert_eq!(facts(&issued).names, ["a.example.org"]);
    assert!(fits_its_key(&issued));
}

fn order_url(world: &World, name: &str) -> Option<String> {
    let text = fs::read(world.order_file(name)).ok()?;
    let kept: Value = serde_json::from_slice(&text).unwrap();
    Some(kept["url"].as_str().unwrap().to_owned())
}
