//! Servers that do not start, or do not stay: the cause in plain words, in time, and the next try works.

use std::time::{Duration, Instant};

use http::Method;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::Exit;
use lyceum_hub::StartInput;
use lyceum_hub::running::Outcome;
use lyceum_testkit::fakes::{FakeSpawner, Start};
use lyceum_testkit::hub::server_ref;
use lyceum_testkit::notebook::Mode;
use lyceum_testkit::{TestHub, eventually};

/// Starts ada's server and gives the reason why that fails.
async fn failure(hub: &TestHub) -> Failure {
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    let failure = hub.hub().await_start(&permit).await.unwrap_err();
    assert!(hub.processes_of("ada").is_empty(), "{failure:?}");
    assert!(!hub.hub().is_active(&server_ref("ada")));
    let row = hub.server_row("ada", "").await.unwrap();
    assert_eq!(row.failure.as_ref(), Some(&failure));
    assert_eq!(hub.token_count("ada", row.id).await, 0);
    failure
}

/// The next try works.
async fn works(hub: &TestHub) {
    hub.set_mode(Mode::Normal);
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

async fn check(mode: Mode, http_timeout: Duration, cause: Cause) -> Failure {
    let hub = TestHub::builder()
        .settings(|settings| settings.http_timeout = http_timeout)
        .start()
        .await;
    hub.set_mode(mode);
    let began = Instant::now();
    let failure = failure(&hub).await;
    assert_eq!(failure.cause, cause, "{failure:?}");
    // The stop has its own time; nothing of it is needed here.
    assert!(began.elapsed() < http_timeout + Duration::from_secs(10));

    // The person is told: on the page, and where the server would have been.
    let mut ada = hub.user("ada").await;
    let page = ada.follow("/user/ada/").await;
    assert_eq!(page.status, 500);
    let told = failure.message.replace(['`', '\''], "");
    let words: Vec<&str> = told.split_whitespace().take(4).collect();
    assert!(page.text().contains(&words.join(" ")), "{}", page.text());
    works(&hub).await;
    failure
}

#[tokio::test]
async fn a_server_that_exits_at_once_tells_its_status_and_last_lines() {
    let failure = check(
        Mode::ExitAtOnce,
        Duration::from_secs(20),
        Cause::ExitedEarly,
    )
    .await;
    assert!(failure.message.contains("exit status 3"), "{failure:?}");
    let log = failure.log.join("\n");
    assert!(log.contains("something is missing"), "{log}");
}

#[tokio::test]
async fn a_server_that_never_listens_fails_at_the_limit() {
    check(
        Mode::NeverListen,
        Duration::from_secs(1),
        Cause::NeverAnswered,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_never_answers_fails_at_the_limit() {
    check(
        Mode::NeverAnswer,
        Duration::from_secs(1),
        Cause::NeverAnswered,
    )
    .await;
}

#[tokio::test]
async fn a_server_that_says_garbage_fails_at_once() {
    check(Mode::Garbage, Duration::from_secs(20), Cause::BadAnswer).await;
}

#[tokio::test]
async fn a_server_that_only_answers_with_errors_fails_at_the_limit() {
    let failure = check(Mode::Http500, Duration::from_secs(2), Cause::BadAnswer).await;
    assert!(failure.message.contains("500"), "{failure:?}");
}

#[tokio::test]
async fn a_missing_command_is_named() {
    let hub = TestHub::start().await;
    hub.remove_program();
    let failure = failure(&hub).await;
    assert_eq!(failure.cause, Cause::CommandMissing);
    assert!(failure.message.contains("notebook"), "{failure:?}");
    hub.install_program();
    works(&hub).await;
}

#[tokio::test]
async fn a_spawner_that_hangs_is_given_up_at_its_limit() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.start_timeout = Duration::from_millis(200))
        .spawner(spawner.clone())
        .start()
        .await;
    for start in [Start::Hangs, Start::HangsWithHandle] {
        spawner.on_start(start);
        assert_eq!(failure(&hub).await.cause, Cause::StartTimeout);
        assert_eq!(spawner.running(), 0);
    }
    spawner.on_start(Start::Works);
    works(&hub).await;
}

#[tokio::test]
async fn a_spawner_with_a_mistake_harms_one_start_only() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    spawner.on_start(Start::Panics);
    assert_eq!(failure(&hub).await.cause, Cause::Internal);
    spawner.on_start(Start::Works);
    works(&hub).await;
}

#[tokio::test]
async fn a_server_that_dies_is_noticed_at_once_and_its_owner_told_why() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    works(&hub).await;
    let route = hub.routes().find_spec("", "/user/ada/").unwrap();
    assert_eq!(route.path_prefix(), "/user/ada/");
    let permit = hub.permit("ada", "").await;
    let mut seen = hub.hub().follow(&permit).unwrap();

    let died = Instant::now();
    assert_eq!(ada.get("/user/ada/exit?code=7").await.status, 202);
    let gone = seen.wait_for(|now| !now.state.is_ready());
    lyceum_testkit::within(gone).await.unwrap();
    assert!(died.elapsed() < Duration::from_secs(1));
    assert_eq!(hub.routes().find_spec("", "/user/ada/"), None);

    eventually("it is stopped", async || {
        !hub.hub().is_active(&server_ref("ada"))
    })
    .await;
    let row = hub.server_row("ada", "").await.unwrap();
    let failure = row.failure.unwrap();
    assert_eq!(failure.cause, Cause::Died);
    assert!(failure.message.contains("exit status 7"), "{failure:?}");
    let home = ada.get("/hub/home").await.text();
    assert!(home.contains("ended by itself"), "{home}");
    let page = ada.get("/hub/user/ada/").await;
    assert_eq!(page.status, 424);
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201);
}

#[tokio::test]
async fn a_server_that_traffic_cannot_reach_is_looked_at() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    works(&hub).await;
    let server = server_ref("ada");
    // It lives: nothing happens to it.
    hub.hub().suspect(&server);
    // A stop waits for its turn behind the look, so the look has begun when this is answered.
    let permit = hub.permit("ada", "").await;
    let refused = hub.hub().request_start(&permit, StartInput::default());
    assert!(refused.await.is_err());
    assert!(hub.hub().is_active(&server));

    spawner.end_all(Exit::Signal(9));
    hub.hub().suspect(&server);
    eventually("it is stopped", async || !hub.hub().is_active(&server)).await;
    let state = hub.hub().snapshot(&server).state;
    assert_eq!(state.failure().unwrap().cause, Cause::Died);
}
