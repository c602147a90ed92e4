//! Orders that were stopped at any moment go on, or are made anew: never more than two.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lyceum_certs::ChallengeKind;
use serde_json::Value;
use tokio::time::timeout;

use crate::world::{World, facts, fits_its_key, leaf, request, until};

use ChallengeKind::{Dns01, Http01, TlsAlpn01};

#[tokio::test]
async fn an_order_that_was_stopped_at_any_moment_goes_on() {
    let world = World::new().await;
    let order = request(&["warm.example.org"], &[Http01]);
    let begin = Instant::now();
    world.issue(&world.client(), &order).await.unwrap();
    let whole = begin.elapsed();

    let (mut kept_orders, mut gone_on_with) = (0, 0);
    let steps: u32 = 24;
    for step in 0..steps {
        let name = format!("step-{step}.example.org");
        let kind = [Http01, TlsAlpn01, Dns01][step as usize % 3];
        let order = request(&[&name], &[kind]);
        let before = world.pebble.orders();
        let moment = whole * step / (steps - 4);
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
            kept_orders += 1;
            gone_on_with += usize::from(order_url(&world, &name) == Some(url));
        }
        assert!(world.pebble.orders() - before <= 2, "{step}");
        world.client().finish(&name).await.unwrap();
        assert!(!world.order_file(&name).exists());
    }
    assert_eq!(world.pebble.accounts(), 1);
    // Only an order whose proofs went away just when the authority looked is lost.
    assert!(kept_orders > 5, "{kept_orders}");
    assert!(
        gone_on_with * 3 >= kept_orders * 2,
        "{gone_on_with} of {kept_orders}"
    );
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
    let solvers = world.solvers();
    let client = world.client();
    let stopped = async {
        client.order(&order, &solvers).await.unwrap();
    };
    tokio::select! {
        () = stopped => {}
        () = until(|| world.order_file("a.example.org").exists()) => {}
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

#[tokio::test]
async fn records_in_the_dns_go_away_when_an_order_is_stopped() {
    let world = World::new().await;
    let order = request(&["a.example.org", "b.example.org"], &[Dns01]);
    let (client, solvers) = (world.client(), world.solvers());
    let shown = || world.records.load(Ordering::SeqCst);
    tokio::select! {
        outcome = client.order(&order, &solvers) => panic!("it was too fast: {outcome:?}"),
        () = until(|| shown() == 2) => {}
    }
    until(|| shown() == 0).await;
    world.issue(&client, &order).await.unwrap();
    assert_eq!(shown(), 0);
}
