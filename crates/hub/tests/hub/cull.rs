//! The culler on a hub with real processes: who goes, who stays, who is told, and what a restart changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use lyceum_core::clock::iso_format;
use lyceum_core::{Clock as _, GroupName};
use lyceum_hub::CullSettings;
use lyceum_hub::culler::Pressure;
use lyceum_hub::culler::rules::{Limit, Override, Reason, Use};
use lyceum_hub::permit::AccessServer;
use lyceum_testkit::fakes::FakeClock;
use lyceum_testkit::hub::server_ref;
use lyceum_testkit::{TestHub, Visitor, eventually};
use serde_json::json;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Idle for two hours, a warning of ten minutes. The tests make the checks themselves.
fn settings() -> CullSettings {
    let mut settings = CullSettings::default();
    settings.rules.enabled = true;
    settings.check = Duration::from_hours(24);
    settings.grace = 5 * MINUTE;
    settings
}

async fn hub(clock: &Arc<FakeClock>, change: impl FnOnce(&mut CullSettings)) -> TestHub {
    let mut cull = settings();
    change(&mut cull);
    TestHub::builder()
        .clock(clock)
        .settings(|settings| {
            settings.cull = cull;
            settings.allow_named_servers = true;
        })
        .start()
        .await
}

async fn start(hub: &TestHub, user: &str) -> Visitor {
    let mut visitor = hub.user(user).await;
    let path = format!("/users/{user}/server");
    assert_eq!(visitor.api(Method::POST, &path, None).await.status, 201);
    visitor
}

/// A crash, and the next life; until all servers were found to run.
async fn restart(hub: &mut TestHub) {
    hub.restart().await;
    eventually("all servers are found again", async || {
        let counts = hub.hub().counts();
        counts.ready == counts.active
    })
    .await;
}

/// Makes a check, and gives the servers that were stopped.
async fn check(hub: &TestHub) -> Vec<(String, Reason)> {
    let culled = hub.hub().cull_idle_servers().await.unwrap();
    let mut culled: Vec<_> = culled
        .into_iter()
        .map(|one| (one.server.to_string(), one.reason))
        .collect();
    culled.sort_by(|a, b| a.0.cmp(&b.0));
    culled
}

/// Has the tiny notebook of a user say this of its kernels.
fn kernels(hub: &TestHub, user: &str, state: &str, last: &str) {
    let file = hub.path("data").join(format!("homes/{user}/kernels.json"));
    let kernels = json!([{"execution_state": state, "last_activity": last}]);
    std::fs::write(file, kernels.to_string()).unwrap();
}

fn is_warned(hub: &TestHub, server: &str) -> bool {
    hub.hub().cull_notice(&server_ref(server)).is_some()
}

fn idle(server: &str) -> Vec<(String, Reason)> {
    vec![(server.to_owned(), Reason::Idle)]
}

#[tokio::test]
async fn an_idle_server_is_warned_and_then_stopped() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    start(&hub, "ada").await;
    clock.advance(HOUR);
    assert_eq!(check(&hub).await, []);
    assert!(!is_warned(&hub, "ada/"));
    clock.advance(51 * MINUTE);
    assert_eq!(check(&hub).await, []);
    let notice = hub.hub().cull_notice(&server_ref("ada/")).unwrap();
    assert!(notice.can_be_kept);
    assert!(notice.left > 8 * MINUTE && notice.left <= 10 * MINUTE);
    clock.advance(10 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/"));
    assert_eq!(hub.processes_of("ada").len(), 0);
    assert!(!is_warned(&hub, "ada/"));
}

#[tokio::test]
async fn whoever_wants_it_keeps_the_server_and_asking_is_no_use_of_it() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    start(&hub, "ada").await;
    clock.advance(111 * MINUTE);
    check(&hub).await;
    assert!(is_warned(&hub, "ada/"));
    let principal = hub.principal("ada").await;
    let permit = hub
        .hub()
        .permit_server::<AccessServer>(&principal, "ada", "");
    let permit = permit.await.unwrap();
    let row = hub.server_row("ada", "").await.unwrap();
    hub.hub().keep_running(&permit, Some(row.id));
    assert!(!is_warned(&hub, "ada/"));
    clock.advance(100 * MINUTE);
    assert_eq!(check(&hub).await, []);
    assert!(!is_warned(&hub, "ada/"));
    clock.advance(11 * MINUTE);
    check(&hub).await;
    clock.advance(10 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/"));
}

#[tokio::test]
async fn a_busy_kernel_keeps_its_server_and_is_not_believed_for_ever() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    start(&hub, "ada").await;
    kernels(&hub, "ada", "busy", &iso_format(clock.now()));
    let begun = clock.now();
    for _ in 0..23 {
        clock.advance(2 * HOUR);
        assert_eq!(check(&hub).await, []);
        assert!(!is_warned(&hub, "ada/"));
    }
    let views = hub.hub().cull_views().await.unwrap();
    assert_eq!(views[0].last.by, Use::Busy);
    assert!(views[0].answered);
    let mut admin = hub.admin().await;
    let ada = admin.api(Method::GET, "/users/ada", None).await.json();
    let seen: lyceum_core::Timestamp = ada["last_activity"].as_str().unwrap().parse().unwrap();
    // Servers report by the machine's own clock.
    assert!(
        seen < begun + HOUR,
        "the hub's own question is nobody's doing"
    );
    clock.advance(4 * HOUR);
    check(&hub).await;
    assert!(is_warned(&hub, "ada/"));
    clock.advance(11 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/"));
}

#[tokio::test]
async fn a_kernel_that_has_ended_its_work_counts_from_then_on() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    start(&hub, "ada").await;
    clock.advance(HOUR);
    // What it says of the future is not believed.
    kernels(&hub, "ada", "idle", &iso_format(clock.now() + 100 * HOUR));
    clock.advance(55 * MINUTE);
    assert_eq!(check(&hub).await, []);
    assert!(!is_warned(&hub, "ada/"));
    kernels(&hub, "ada", "idle", &iso_format(clock.now() - 200 * HOUR));
    clock.advance(111 * MINUTE);
    check(&hub).await;
    assert!(is_warned(&hub, "ada/"));
}

#[tokio::test]
async fn reports_count_only_of_servers_that_do_not_say_what_they_compute() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    for user in ["ada", "bob"] {
        start(&hub, user).await;
    }
    kernels(&hub, "bob", "idle", &iso_format(clock.now()));
    clock.advance(115 * MINUTE);
    for user in ["ada", "bob"] {
        let mut program = hub.token(user, &["users:activity!user"]).await;
        let now = iso_format(clock.now());
        let body = json!({"servers": {"": {"last_activity": now}}, "last_activity": now});
        let path = format!("/users/{user}/activity");
        let answer = program.api(Method::POST, &path, Some(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(check(&hub).await, []);
    assert!(!is_warned(&hub, "ada/"));
    assert!(is_warned(&hub, "bob/"));
}

#[tokio::test]
async fn what_happens_between_the_warning_and_the_stop_keeps_the_server() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |_| {}).await;
    let mut ada = start(&hub, "ada").await;
    assert_eq!(ada.follow("/user/ada/whoami").await.status, 200);
    clock.advance(112 * MINUTE);
    check(&hub).await;
    assert!(is_warned(&hub, "ada/"));
    clock.advance(9 * MINUTE);
    assert_eq!(ada.get("/user/ada/whoami").await.status, 200);
    clock.advance(2 * MINUTE);
    assert_eq!(check(&hub).await, []);
    assert!(!is_warned(&hub, "ada/"));
}

#[tokio::test]
async fn after_a_restart_nobody_goes_at_once_and_what_was_known_counts() {
    let clock = Arc::new(FakeClock::new());
    let mut hub = hub(&clock, |_| {}).await;
    for user in ["ada", "bob"] {
        start(&hub, user).await;
    }
    clock.advance(100 * MINUTE);
    let principal = hub.principal("bob").await;
    let permit = hub
        .hub()
        .permit_server::<AccessServer>(&principal, "bob", "");
    let permit = permit.await.unwrap();
    let row = hub.server_row("bob", "").await.unwrap();
    hub.hub().keep_running(&permit, Some(row.id));
    let kept = clock.now();
    eventually("it is written", async || {
        let row = hub.server_row("bob", "").await.unwrap();
        row.last_activity == Some(kept)
    })
    .await;
    restart(&mut hub).await;
    clock.advance(HOUR);
    assert_eq!(check(&hub).await, []);
    assert!(is_warned(&hub, "ada/"));
    assert!(!is_warned(&hub, "bob/"));
    clock.advance(10 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/"));
    restart(&mut hub).await;
    clock.advance(52 * MINUTE);
    assert_eq!(check(&hub).await, []);
    clock.advance(10 * MINUTE);
    assert_eq!(check(&hub).await, idle("bob/"));
}

#[tokio::test]
async fn without_a_warning_a_restart_still_gives_a_grace() {
    let clock = Arc::new(FakeClock::new());
    let mut hub = hub(&clock, |settings| settings.warn = Duration::ZERO).await;
    start(&hub, "ada").await;
    clock.advance(3 * HOUR);
    restart(&mut hub).await;
    assert_eq!(check(&hub).await, []);
    clock.advance(5 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/"));
}

#[tokio::test]
async fn rules_differ_by_profile_group_and_name_and_culled_names_can_be_deleted() {
    let clock = Arc::new(FakeClock::new());
    let never = Override {
        enabled: Some(false),
        ..Override::default()
    };
    let patient = Override {
        idle: Some(Limit::After(8 * HOUR)),
        ..Override::default()
    };
    let hub = hub(&clock, |settings| {
        settings.warn = Duration::ZERO;
        settings.remove_named = true;
        settings.rules.named.idle = Some(Limit::After(HOUR));
        let staff = GroupName::parse("staff").unwrap();
        settings.rules.groups = BTreeMap::from([(staff, never)]);
        settings.rules.profiles = BTreeMap::from([("gpu".to_owned(), patient)]);
    })
    .await;
    let mut admin = hub.admin().await;
    start(&hub, "bob").await;
    let body = json!({"users": ["bob"]});
    admin.api(Method::POST, "/groups/staff", None).await;
    let added = admin
        .api(Method::POST, "/groups/staff/users", Some(&body))
        .await;
    assert_eq!(added.status, 200, "{}", added.text());
    let mut ada = start(&hub, "ada").await;
    let named = ada.api(Method::POST, "/users/ada/servers/lab", None).await;
    assert_eq!(named.status, 201, "{}", named.text());
    let mut eve = hub.user("eve").await;
    let gpu = json!({"profile": "gpu"});
    let gpu = eve.api(Method::POST, "/users/eve/server", Some(&gpu)).await;
    assert_eq!(gpu.status, 201, "{}", gpu.text());
    clock.advance(61 * MINUTE);
    assert_eq!(check(&hub).await, idle("ada/lab"));
    assert!(hub.server_row("ada", "lab").await.is_none());
    let deleted = crate::audit::row(&hub, "server-deleted", "ada").await;
    assert_eq!(deleted.server.as_deref(), Some("lab"));
    assert_eq!(deleted.detail["why"], "cull");
    clock.advance(HOUR);
    assert_eq!(check(&hub).await, idle("ada/"));
    assert!(hub.server_row("ada", "").await.is_some());
    clock.advance(7 * HOUR);
    assert_eq!(check(&hub).await, idle("eve/"));
    assert_eq!(hub.processes_of("bob").len(), 1);
}

#[tokio::test]
async fn the_greatest_age_ends_a_server_that_is_used_and_cannot_be_put_off() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |settings| {
        settings.rules.max_age = Limit::After(HOUR);
    })
    .await;
    let mut ada = start(&hub, "ada").await;
    clock.advance(55 * MINUTE);
    assert_eq!(ada.follow("/user/ada/whoami").await.status, 200);
    check(&hub).await;
    let notice = hub.hub().cull_notice(&server_ref("ada/")).unwrap();
    assert!(!notice.can_be_kept);
    clock.advance(10 * MINUTE);
    let culled = check(&hub).await;
    assert_eq!(culled, [("ada/".to_owned(), Reason::MaxAge)]);
}

#[tokio::test]
async fn when_memory_is_short_the_idlest_go_first_until_it_is_not() {
    let clock = Arc::new(FakeClock::new());
    let folder = tempfile::tempdir().unwrap();
    let meminfo = folder.path().join("meminfo");
    let memory = |available: u32| {
        let text = format!("MemTotal: 1000 kB\nMemAvailable: {available} kB\n");
        std::fs::write(&meminfo, text).unwrap();
    };
    memory(500);
    let hub = hub(&clock, |settings| {
        settings.pressure = Some(Pressure {
            memory: 0.9,
            idle: 15 * MINUTE,
            meminfo: meminfo.clone(),
        });
    })
    .await;
    for user in ["ada", "bob", "eve"] {
        start(&hub, user).await;
        clock.advance(10 * MINUTE);
    }
    assert_eq!(check(&hub).await, []);
    memory(50);
    let culled = check(&hub).await;
    let pressed = |server: &str| (server.to_owned(), Reason::MemoryPressure);
    assert_eq!(culled, [pressed("ada/"), pressed("bob/")]);
    assert_eq!(hub.processes_of("eve").len(), 1);
}

#[tokio::test]
async fn by_hand_goes_what_is_idle_and_a_look_stops_nothing() {
    let clock = Arc::new(FakeClock::new());
    let hub = hub(&clock, |settings| settings.rules.enabled = false).await;
    for user in ["ada", "bob", "eve"] {
        start(&hub, user).await;
    }
    kernels(&hub, "eve", "busy", &iso_format(clock.now()));
    clock.advance(HOUR);
    let views = hub.hub().cull_views().await.unwrap();
    assert_eq!(views.len(), 3);
    assert!(views.iter().all(|view| view.due.is_none()));
    let none = hub.hub().cull_now(None, None).await.unwrap();
    assert_eq!(none.len(), 0, "no rule says that anything goes");
    let bob = hub.user_row("bob").await.name;
    let culled = hub.hub().cull_now(Some(30 * MINUTE), Some(&bob)).await;
    assert_eq!(culled.unwrap().len(), 1);
    let culled = hub.hub().cull_now(Some(30 * MINUTE), None).await.unwrap();
    assert_eq!(culled.len(), 1);
    assert_eq!(culled[0].server, server_ref("ada/"));
    assert_eq!(culled[0].reason, Reason::ByHand);
    assert_eq!(hub.processes_of("eve").len(), 1);
}

/// Lets time pass as it does for a hub that looks at its servers again and again.
async fn pass(hub: &TestHub, clock: &FakeClock, minutes: u32) -> Vec<(String, Reason)> {
    let mut culled = Vec::new();
    for _ in 0..minutes / 2 {
        clock.advance(2 * MINUTE);
        culled.extend(check(hub).await);
    }
    culled
}

#[tokio::test]
async fn whoever_sets_the_clock_stops_no_server_and_keeps_none() {
    const DAY: Duration = Duration::from_hours(24);
    for ahead in [true, false] {
        let clock = Arc::new(FakeClock::new());
        let hub = hub(&clock, |settings| {
            settings.rules.max_age = Limit::After(8 * HOUR);
        })
        .await;
        let mut ada = start(&hub, "ada").await;
        assert_eq!(ada.follow("/user/ada/whoami").await.status, 200);
        start(&hub, "bob").await;
        assert_eq!(pass(&hub, &clock, 60).await, []);
        assert_eq!(ada.get("/user/ada/whoami").await.status, 200);
        if ahead {
            clock.set_ahead(DAY);
        } else {
            clock.set_back(DAY);
        }
        assert_eq!(pass(&hub, &clock, 48).await, [], "{ahead}");
        assert!(!is_warned(&hub, "bob/"), "{ahead}");
        // A warning that is being shown stays one of ten minutes, and for its own reason.
        assert_eq!(pass(&hub, &clock, 4).await, [], "{ahead}");
        let notice = hub.hub().cull_notice(&server_ref("bob/")).unwrap();
        assert!(
            notice.left > 7 * MINUTE && notice.left <= 10 * MINUTE,
            "{ahead} {notice:?}"
        );
        if ahead {
            clock.set_ahead(DAY);
        } else {
            clock.set_back(DAY);
        }
        let again = hub.hub().cull_notice(&server_ref("bob/")).unwrap();
        assert_eq!(again.left, notice.left, "{ahead}");
        // What happens now counts, though it may have an earlier date than what was before.
        assert_eq!(ada.get("/user/ada/whoami").await.status, 200);
        assert_eq!(pass(&hub, &clock, 10).await, idle("bob/"), "{ahead}");
        assert_eq!(pass(&hub, &clock, 96).await, [], "{ahead}");
        assert!(!is_warned(&hub, "ada/"), "{ahead}");
        assert_eq!(pass(&hub, &clock, 20).await, idle("ada/"), "{ahead}");
    }
}

#[tokio::test]
async fn the_greatest_age_and_short_memory_do_not_ask_the_clock_on_the_wall() {
    const YEAR: Duration = Duration::from_hours(365 * 24);
    let clock = Arc::new(FakeClock::new());
    let folder = tempfile::tempdir().unwrap();
    let meminfo = folder.path().join("meminfo");
    std::fs::write(&meminfo, "MemTotal: 1000 kB\nMemAvailable: 500 kB\n").unwrap();
    let hub = hub(&clock, |settings| {
        settings.rules.max_age = Limit::After(HOUR);
        settings.rules.idle = Limit::Off;
        settings.pressure = Some(Pressure {
            memory: 0.9,
            idle: 15 * MINUTE,
            meminfo: meminfo.clone(),
        });
    })
    .await;
    for user in ["ada", "bob"] {
        start(&hub, user).await;
        assert_eq!(pass(&hub, &clock, 10).await, []);
    }
    clock.set_ahead(YEAR);
    std::fs::write(&meminfo, "MemTotal: 1000 kB\nMemAvailable: 50 kB\n").unwrap();
    // Unused for 22 minutes and for 12.
    let pressed = ("ada/".to_owned(), Reason::MemoryPressure);
    assert_eq!(pass(&hub, &clock, 2).await, [pressed]);
    std::fs::write(&meminfo, "MemTotal: 1000 kB\nMemAvailable: 500 kB\n").unwrap();
    clock.set_back(YEAR);
    assert_eq!(pass(&hub, &clock, 46).await, []);
    let aged = ("bob/".to_owned(), Reason::MaxAge);
    assert_eq!(pass(&hub, &clock, 4).await, [aged]);
}
