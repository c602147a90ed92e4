//! Activity: gathered in memory, shown at once, written in batches, never lost, never moved back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::Method;
use lyceum_core::clock::iso_format;
use lyceum_core::{Clock as _, Timestamp};
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::FakeClock;
use serde_json::json;

async fn seen(hub: &TestHub, user: &str) -> Option<Timestamp> {
    hub.user_row(user).await.last_activity
}

#[tokio::test]
async fn a_report_is_written_when_it_is_answered_and_moves_only_forward() {
    let clock = Arc::new(FakeClock::new());
    let hub = TestHub::builder().clock(&clock).start().await;
    let mut ada = hub.token("ada", &["users:activity!user"]).await;
    clock.advance(Duration::from_hours(1));
    let late = clock.now();
    let early = late - Duration::from_mins(30);
    for at in [late, early] {
        let body = json!({"last_activity": iso_format(at)});
        let answer = ada
            .api(Method::POST, "/users/ada/activity", Some(&body))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(seen(&hub, "ada").await, Some(late));
    }
    let other = json!({"last_activity": iso_format(late)});
    let answer = ada
        .api(Method::POST, "/users/bob/activity", Some(&other))
        .await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn many_reports_at_once_are_all_written() {
    let clock = Arc::new(FakeClock::new());
    let hub = TestHub::builder().clock(&clock).start().await;
    let mut users = Vec::new();
    for number in 0..50 {
        users.push(hub.user_row(&format!("user{number}")).await);
    }
    let now = hub.hub().now();
    let reports = users
        .iter()
        .map(|user| hub.hub().activity().report(Some((user.id, now)), &[]));
    assert!(join_all(reports).await.into_iter().all(|done| done.is_ok()));
    for user in users {
        assert_eq!(seen(&hub, user.name.as_str()).await, Some(now));
    }
}

#[tokio::test]
async fn activity_waits_while_the_database_is_busy_and_is_shown_meanwhile() {
    let clock = Arc::new(FakeClock::new());
    let hub = TestHub::builder().clock(&clock).start().await;
    let user = hub.user_row("ada").await;
    let mut reader = hub.token("ada", &["read:users!user"]).await;
    let others = hub.store().begin().await.unwrap();
    let at = hub.hub().now() + Duration::from_mins(10);
    let report = hub.hub().activity().report(Some((user.id, at)), &[]);
    let mut report = Box::pin(report);
    assert!(report.as_mut().now_or_never().is_none());
    let model = reader.api(Method::GET, "/users/ada", None).await.json();
    assert_eq!(model["last_activity"], json!(iso_format(at)));
    assert!(report.as_mut().now_or_never().is_none());
    others.commit().await.unwrap();
    report.await.unwrap();
    assert_eq!(seen(&hub, "ada").await, Some(at));
}

#[tokio::test]
async fn what_is_noticed_is_shown_at_once_and_written_at_the_end() {
    let clock = Arc::new(FakeClock::new());
    let mut hub = TestHub::builder().clock(&clock).start().await;
    let mut ada = hub.user("ada").await;
    clock.advance(Duration::from_mins(7));
    let now = clock.now();
    let model = ada.api(Method::GET, "/users/ada", None).await.json();
    assert_eq!(model["last_activity"], json!(iso_format(now)));
    assert_ne!(seen(&hub, "ada").await, Some(now));

    hub.end().await;
    hub.begin().await;
    assert_eq!(seen(&hub, "ada").await, Some(now));
    let user = hub.user_row("ada").await;
    let sessions = hub.store().sessions_of_user(user.id, now).await.unwrap();
    assert_eq!(sessions.first().unwrap().last_seen, now);
}

#[tokio::test]
async fn traffic_through_the_gateway_counts_as_activity_of_the_server() {
    let clock = Arc::new(FakeClock::new());
    let mut hub = TestHub::builder().clock(&clock).start().await;
    let mut ada = hub.user("ada").await;
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201);
    assert_eq!(ada.follow("/user/ada/").await.status, 200);
    clock.advance(Duration::from_mins(7));
    assert_eq!(ada.get("/user/ada/").await.status, 200);
    let now = clock.now();
    hub.end().await;
    hub.begin().await;
    let row = hub.server_row("ada", "").await.unwrap();
    assert_eq!(row.last_activity, Some(now));
}
