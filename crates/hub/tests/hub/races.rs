//! Things that happen at the same moment: starts, stops, removals, and ends, in every order that chance gives.

use futures_util::future::join_all;
use http::Method;
use lyceum_core::seams::Exit;
use lyceum_hub::StartInput;
use lyceum_store::Phase;
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::FakeSpawner;
use serde_json::json;

/// After any storm, what is written down, what runs and what is shown agree.
async fn check(hub: &TestHub, spawner: &FakeSpawner, server: &str) {
    let permit = hub.permit("ada", server).await;
    let limit = lyceum_testkit::LIMIT;
    let _ = hub.hub().await_start_for(&permit, limit).await;
    let state = hub.hub().see(&permit).state;
    let row = hub.server_row("ada", server).await;
    let phase = row.as_ref().map_or(Phase::Stopped, |row| row.phase);
    if state.is_ready() {
        assert_eq!((phase, spawner.running()), (Phase::Running, 1), "{state:?}");
        assert_eq!(hub.token_count("ada", row.unwrap().id).await, 1);
    } else {
        assert!(!state.is_active(), "{state:?}");
        assert_eq!((phase, spawner.running()), (Phase::Stopped, 0), "{state:?}");
        if let Some(row) = row {
            assert_eq!(hub.token_count("ada", row.id).await, 0);
        }
    }
}

#[tokio::test]
async fn starts_and_stops_at_once_leave_one_server_or_none() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let permit = hub.permit("ada", "").await;
    for round in 0..15_usize {
        let storm = (0..8).map(|number| {
            let (hub, permit, spawner) = (hub.hub(), &permit, &spawner);
            async move {
                match (number + round) % 4 {
                    0 | 1 => drop(hub.request_start(permit, StartInput::default()).await),
                    2 => drop(hub.request_stop(permit).await),
                    _ => spawner.end_all(Exit::Code(1)),
                }
            }
        });
        join_all(storm).await;
        check(&hub, &spawner, "").await;
    }
}

#[tokio::test]
async fn a_removal_and_a_start_at_once_leave_a_whole_server_or_none() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.allow_named_servers = true)
        .spawner(spawner.clone())
        .start()
        .await;
    let ada = hub.user("ada").await;
    let remove = json!({"remove": true});
    for _ in 0..15 {
        let (mut one, mut two, mut three) = (ada.clone(), ada.clone(), ada.clone());
        let path = "/users/ada/servers/lab";
        tokio::join!(
            one.api(Method::POST, path, None),
            two.api(Method::DELETE, path, Some(&remove)),
            three.api(Method::POST, path, None),
        );
        check(&hub, &spawner, "lab").await;
    }
}
