//! What a restart of the hub finds: running servers as they were, interrupted starts and stops ended, no left-overs.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use http::Method;
use lyceum_core::lifecycle::Cause;
use lyceum_core::seams::Exit;
use lyceum_hub::StartInput;
use lyceum_hub::running::Outcome;

use lyceum_store::Phase;
use lyceum_testkit::fakes::{FakeSpawner, Start, Stop};
use lyceum_testkit::hub::{INSTANCE_VARIABLE, SERVER_VARIABLE, server_ref};
use lyceum_testkit::notebook::Mode;
use lyceum_testkit::{TestHub, eventually};

#[tokio::test]
async fn a_running_server_is_as_it_was_after_a_crash() {
    let mut hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201);
    let before = ada.follow("/user/ada/whoami").await.json();
    let processes = hub.processes_of("ada");
    let model = ada.api(Method::GET, "/users/ada/server", None).await.json();
    let own_token = hub.variable_of("ada", "JUPYTERHUB_API_TOKEN");

    for how in ["crash", "end"] {
        if how == "crash" {
            hub.crash().await;
        } else {
            hub.end().await;
        }
        assert_eq!(hub.processes_of("ada"), processes, "{how}");
        hub.begin().await;
        let routes: Vec<_> = hub
            .recovered()
            .iter()
            .map(|status| status.route.spec.path_prefix().to_owned())
            .collect();
        assert_eq!(routes, ["/user/ada/"], "{how}");

        // Nobody has to log in again: neither the browser at the hub and at the server, nor the server itself.
        let after = ada.get("/user/ada/whoami").await;
        assert_eq!(after.status, 200, "{how}: {}", after.text());
        assert_eq!(after.json()["token_id"], before["token_id"]);
        let mut server = hub.server_program(&own_token);
        let answer = server.api(Method::GET, "/user", None).await;
        assert_eq!(answer.status, 200, "{how}");

        assert_eq!(hub.processes_of("ada"), processes);
        eventually("it is ready", async || {
            hub.hub().snapshot(&server_ref("ada")).state.is_ready()
        })
        .await;
        let now = ada.api(Method::GET, "/users/ada/server", None).await.json();
        assert_eq!(now["started"], model["started"], "{how}");
    }
    let answer = ada.api(Method::DELETE, "/users/ada/server", None).await;
    assert_eq!(answer.status, 204);
    assert!(hub.processes().is_empty());
}

#[tokio::test]
async fn a_server_that_died_meanwhile_is_told_as_such() {
    let spawner = FakeSpawner::new().await;
    let mut hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&permit).await.unwrap();
    hub.crash().await;
    spawner.end_all(Exit::Signal(9));
    hub.begin().await;
    eventually("it is stopped", async || {
        !hub.hub().is_active(&server_ref("ada"))
    })
    .await;
    let row = hub.server_row("ada", "").await.unwrap();
    assert_eq!(row.failure.unwrap().cause, Cause::GoneAtRestart);
    assert_eq!(hub.routes().find_spec("", "/user/ada/"), None);
    assert_eq!(hub.token_count("ada", row.id).await, 0);
}

/// Starts ada's server, which does not get ready; crashes; the next life ends what there is.
async fn interrupt(hub: &mut TestHub, until: impl AsyncFn(&TestHub) -> bool) {
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    eventually("the start got far enough", async || until(hub).await).await;
    let row = hub.server_row("ada", "").await.unwrap();
    assert_eq!(row.phase, Phase::Starting);
    hub.restart().await;
    eventually("it is ended", async || {
        hub.server_row("ada", "").await.unwrap().phase == Phase::Stopped
    })
    .await;
    let row = hub.server_row("ada", "").await.unwrap();
    let failure = row.failure.unwrap();
    assert_eq!(failure.cause, Cause::GoneAtRestart);
    assert!(failure.message.contains("interrupted"), "{failure:?}");
    assert_eq!(hub.token_count("ada", row.id).await, 0);
}

#[tokio::test]
async fn a_start_that_a_crash_interrupted_is_ended_with_its_process() {
    let mut hub = TestHub::start().await;
    hub.set_mode(Mode::NeverListen);
    interrupt(&mut hub, async |hub| {
        let row = hub.server_row("ada", "").await;
        row.is_some_and(|row| row.handle.is_some())
    })
    .await;
    assert!(hub.processes().is_empty());
    hub.set_mode(Mode::Normal);
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

#[tokio::test]
async fn a_start_that_a_crash_interrupted_before_there_was_a_process_is_ended() {
    let spawner = FakeSpawner::new().await;
    let mut hub = TestHub::builder().spawner(spawner.clone()).start().await;
    spawner.on_start(Start::Hangs);
    interrupt(&mut hub, async |_| spawner.starts() == 1).await;
    spawner.on_start(Start::Works);
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
}

#[tokio::test]
async fn a_stop_that_a_crash_interrupted_goes_on_and_nothing_starts_before_its_end() {
    let spawner = FakeSpawner::new().await;
    let mut hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&permit).await.unwrap();
    spawner.on_stop(Stop::Hangs);
    hub.hub().request_stop(&permit).await.unwrap();
    eventually("the stop is written down", async || {
        hub.server_row("ada", "").await.unwrap().phase == Phase::Stopping
    })
    .await;
    hub.restart().await;
    assert!(hub.recovered().is_empty());
    let start = hub.hub().request_start(&permit, StartInput::default());
    assert!(start.await.is_err());
    spawner.on_stop(Stop::Works);
    assert!(hub.hub().await_stop(&permit, lyceum_testkit::LIMIT).await);
    assert_eq!(spawner.running(), 0);
    assert_eq!(hub.server_row("ada", "").await.unwrap().failure, None);
}

#[tokio::test]
async fn a_process_that_was_never_written_down_is_ended_without_delaying_the_start() {
    let mut hub = TestHub::start().await;
    let permit = hub.permit("bob", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&permit).await.unwrap();
    let bobs = hub.processes_of("bob");
    hub.crash().await;
    let mut left = Command::new("/bin/sh")
        .args(["-c", "trap '' TERM; while :; do sleep 1; done"])
        .env(INSTANCE_VARIABLE, hub.instance())
        .env(SERVER_VARIABLE, "of-a-crash")
        .env("JUPYTERHUB_USER", "carla")
        .process_group(0)
        .spawn()
        .unwrap();
    let began = Instant::now();
    hub.begin().await;
    // It is given five seconds to end politely; nobody waits for that.
    assert!(began.elapsed() < Duration::from_secs(4));

    // A server that is started meanwhile is not taken for a left-over.
    let permit = hub.permit("ada", "").await;
    hub.hub()
        .request_start(&permit, StartInput::default())
        .await
        .unwrap();
    assert_eq!(hub.hub().await_start(&permit).await, Ok(Outcome::Done));
    eventually("the left-over has ended", async || {
        left.try_wait().unwrap().is_some()
    })
    .await;
    assert!(hub.hub().is_active(&server_ref("ada")));
    assert_eq!(hub.processes_of("bob"), bobs);
}
