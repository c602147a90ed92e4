//! The end of users, and other names for them, while their servers start, run and stop.

use std::time::Duration;

use http::Method;
use lyceum_core::seams::Handle;
use lyceum_store::Phase;
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::{FakeSpawner, Stop};
use serde_json::json;

/// A hub where servers stop at once, or not within the time that a request has.
async fn hub() -> (TestHub, FakeSpawner) {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.allow_named_servers = true;
            settings.slow_stop_timeout = Duration::from_millis(300);
        })
        .spawner(spawner.clone())
        .start()
        .await;
    (hub, spawner)
}

/// Whether there is a user of this name.
async fn exists(hub: &TestHub, name: &str) -> bool {
    let name = lyceum_core::UserName::parse(name).unwrap();
    hub.store().find_user(&name).await.unwrap().is_some()
}

#[tokio::test]
async fn a_start_and_the_end_of_its_user_at_once_leave_nothing() {
    let (hub, spawner) = hub().await;
    let root = hub.admin().await;
    for _ in 0..15 {
        let (mut one, mut two, mut three) = (root.clone(), root.clone(), root.clone());
        let made = one.api(Method::POST, "/users/mia", None).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let (_, _, mut ended) = tokio::join!(
            one.api(Method::POST, "/users/mia/server", None),
            two.api(Method::POST, "/users/mia/servers/lab", None),
            three.api(Method::DELETE, "/users/mia", None),
        );
        if ended.status == 400 {
            // A server had just been written down; then the user is still whole, and can be deleted.
            assert!(exists(&hub, "mia").await);
            ended = three.api(Method::DELETE, "/users/mia", None).await;
        }
        assert_eq!(ended.status, 204, "{}", ended.text());
        assert!(!exists(&hub, "mia").await);
        assert_eq!(spawner.running(), 0);
        assert_eq!(hub.hub().counts().active, 0);
    }
}

#[tokio::test]
async fn a_start_and_another_name_at_once_leave_a_whole_user() {
    let (hub, spawner) = hub().await;
    let root = hub.admin().await;
    let (mut one, mut two) = (root.clone(), root.clone());
    let made = one.api(Method::POST, "/users/mia", None).await;
    assert_eq!(made.status, 201);
    let (mut old, mut new) = ("mia", "eve");
    for _ in 0..15 {
        let body = json!({ "name": new });
        let (start, rename) = (format!("/users/{old}/server"), format!("/users/{old}"));
        let (started, renamed) = tokio::join!(
            one.api(Method::POST, &start, None),
            two.api(Method::PATCH, &rename, Some(&body)),
        );
        match renamed.status {
            200 => {
                assert!(!exists(&hub, old).await);
                (old, new) = (new, old);
                assert_ne!(started.status, 201, "the old name has no server any more");
            }
            400 => assert_eq!(started.status, 201, "{}", started.text()),
            other => panic!("{other}: {}", renamed.text()),
        }
        // Whatever came first, nothing runs under a name that is nobody's.
        let stop = format!("/users/{old}/server");
        let stopped = one.api(Method::DELETE, &stop, None).await;
        assert_eq!(stopped.status, 204, "{}", stopped.text());
        assert_eq!(spawner.running(), 0);
        let row = hub.server_row(old, "").await;
        assert!(row.is_none_or(|row| row.phase == Phase::Stopped));
    }
}

#[tokio::test]
async fn a_user_whose_server_does_not_stop_in_time_stays() {
    let (hub, spawner) = hub().await;
    let mut root = hub.admin().await;
    root.api(Method::POST, "/users/mia", None).await;
    let started = root.api(Method::POST, "/users/mia/server", None).await;
    assert_eq!(started.status, 201);
    spawner.on_stop(Stop::Hangs);
    let refused = root.api(Method::DELETE, "/users/mia", None).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    // It is stopping now.
    let again = root.api(Method::DELETE, "/users/mia", None).await;
    assert_eq!(again.status, 400, "{}", again.text());
    let body = json!({"name": "eve"});
    let renamed = root.api(Method::PATCH, "/users/mia", Some(&body)).await;
    assert_eq!(renamed.status, 400);
    assert!(exists(&hub, "mia").await);
    let row = hub.server_row("mia", "").await.unwrap();
    assert!(
        matches!(row.handle, Some(Handle(_))),
        "it can still be stopped"
    );
}
