//! Starts and stops that work: one process for all who ask, none after a stop, named servers.

use std::time::Duration;

use http::Method;
use lyceum_core::lifecycle::Refusal;
use lyceum_hub::permit::ManageServer;
use lyceum_hub::running::Outcome;
use lyceum_hub::{ServerPermit, StartError, StartInput};
use lyceum_store::Phase;
use lyceum_testkit::fakes::{FakeSpawner, Start, Stop};
use lyceum_testkit::hub::server_ref;
use lyceum_testkit::notebook::Mode;
use lyceum_testkit::{LIMIT, TestHub, eventually, within};
use serde_json::json;

async fn start(hub: &TestHub, permit: &ServerPermit<ManageServer>) -> Result<(), StartError> {
    hub.hub().request_start(permit, StartInput::default()).await
}

#[tokio::test]
async fn two_requests_at_once_make_one_process() {
    let hub = TestHub::start().await;
    hub.set_mode(Mode::Slow(1));
    let (mut one, mut two) = (hub.user("ada").await, hub.user("ada").await);
    let (first, second) = tokio::join!(
        one.api(Method::POST, "/users/ada/server", None),
        two.api(Method::POST, "/users/ada/server", None),
    );
    let mut statuses = [first.status, second.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 202]);
    assert_eq!(hub.processes_of("ada").len(), 1);
    let page = one.follow("/user/ada/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Tiny notebook of ada"));
}

#[tokio::test]
async fn a_stop_while_starting_leaves_no_process() {
    let hub = TestHub::start().await;
    hub.set_mode(Mode::NeverListen);
    let permit = hub.permit("ada", "").await;
    start(&hub, &permit).await.unwrap();
    eventually("there is a process", async || {
        !hub.processes_of("ada").is_empty()
    })
    .await;
    assert_eq!(hub.hub().stop(&permit).await, Ok(Outcome::Done));
    assert!(hub.processes_of("ada").is_empty());
    assert!(hub.hub().see(&permit).state.failure().is_none());

    hub.set_mode(Mode::Normal);
    start(&hub, &permit).await.unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

#[tokio::test]
async fn a_stop_at_any_moment_of_a_start_leaves_no_process() {
    let hub = TestHub::start().await;
    let permit = hub.permit("ada", "").await;
    // Each round stops after one more event of the start was seen.
    for events in 0..5 {
        start(&hub, &permit).await.unwrap();
        let mut seen = hub.hub().follow(&permit).unwrap();
        let reached = seen.wait_for(|now| now.progress.len() > events);
        within(reached).await.unwrap();
        assert_eq!(hub.hub().stop(&permit).await, Ok(Outcome::Done));
        assert!(hub.processes_of("ada").is_empty(), "after {events} events");
        // The first round may be so early that nothing is written down.
        if let Some(row) = hub.server_row("ada", "").await {
            assert_eq!(row.phase, Phase::Stopped);
            assert_eq!(hub.token_count("ada", row.id).await, 0);
        }
    }
}

#[tokio::test]
async fn a_start_while_stopping_is_refused_and_possible_afterwards() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.slow_stop_timeout = Duration::ZERO)
        .spawner(spawner.clone())
        .start()
        .await;
    let permit = hub.permit("ada", "").await;
    start(&hub, &permit).await.unwrap();
    hub.hub().await_start(&permit).await.unwrap();
    spawner.on_stop(Stop::Hangs);
    assert_eq!(hub.hub().stop(&permit).await, Ok(Outcome::Pending));
    assert!(matches!(
        start(&hub, &permit).await,
        Err(StartError::Refused(Refusal::Stopping))
    ));
    let mut ada = hub.user("ada").await;
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 400, "{}", answer.text());

    spawner.on_stop(Stop::Works);
    assert!(hub.hub().await_stop(&permit, LIMIT).await);
    start(&hub, &permit).await.unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

#[tokio::test]
async fn a_stop_that_fails_is_tried_again() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let permit = hub.permit("ada", "").await;
    start(&hub, &permit).await.unwrap();
    hub.hub().await_start(&permit).await.unwrap();
    spawner.on_stop(Stop::Fails);
    hub.hub().request_stop(&permit).await.unwrap();
    eventually("the spawner is asked", async || spawner.stops() == 1).await;
    spawner.on_stop(Stop::Works);
    assert!(hub.hub().await_stop(&permit, LIMIT).await);
    assert_eq!(spawner.running(), 0);
}

#[tokio::test]
async fn a_handle_that_becomes_known_during_a_stop_is_stopped() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let permit = hub.permit("ada", "").await;
    spawner.on_start(Start::HangsWithHandle);
    for round in 1..=20 {
        start(&hub, &permit).await.unwrap();
        // No waiting: the stop meets the start somewhere between preparing and the handle.
        if round % 2 == 0 {
            eventually("the spawner is asked", async || spawner.running() > 0).await;
        }
        assert_eq!(hub.hub().stop(&permit).await, Ok(Outcome::Done));
        assert_eq!(spawner.running(), 0, "round {round}");
    }
}

#[tokio::test]
async fn named_servers_have_processes_urls_and_removals_of_their_own() {
    let hub = TestHub::builder()
        .settings(|settings| settings.allow_named_servers = true)
        .start()
        .await;
    let mut ada = hub.user("ada").await;
    for path in ["/users/ada/server", "/users/ada/servers/lab"] {
        let answer = ada.api(Method::POST, path, None).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    assert_eq!(hub.processes_of("ada").len(), 2);
    assert_eq!(ada.follow("/user/ada/lab/x").await.status, 200);
    let bad = ada
        .api(Method::POST, "/users/ada/servers/Bad_Name", None)
        .await;
    assert_eq!(bad.status, 400);

    let remove = json!({"remove": true});
    let answer = ada
        .api(Method::DELETE, "/users/ada/servers/lab", Some(&remove))
        .await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(hub.server_row("ada", "lab").await, None);
    assert_eq!(hub.processes_of("ada").len(), 1);
    assert!(hub.hub().is_active(&server_ref("ada")));

    // The name can be used again.
    let answer = ada.api(Method::POST, "/users/ada/servers/lab", None).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn stopping_all_servers_leaves_none() {
    let hub = TestHub::start().await;
    for user in ["ada", "bob"] {
        let permit = hub.permit(user, "").await;
        start(&hub, &permit).await.unwrap();
    }
    let left = hub.hub().stop_all(LIMIT).await;
    assert_eq!(left, 0);
    assert!(hub.processes().is_empty());
}
