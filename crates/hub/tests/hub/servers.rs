//! What is kept and told of servers: actors, routes, events, old names, and too many failures.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::Routes as _;
use lyceum_core::{RouteSpec, ServerName};
use lyceum_hub::{Ending, OldNames, StartInput};
use lyceum_testkit::fakes::{FakeSpawner, Start, Stop};
use lyceum_testkit::{TestHub, eventually};
use serde_json::{Value, json};

fn fails() -> Start {
    Start::Fails(Failure::new(Cause::System, "It broke.", "Wait."))
}

#[tokio::test]
async fn routes_that_are_missing_wrong_or_left_over_are_mended() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    let mut admin = hub.admin().await;
    let start = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(start.status, 201);
    let routes = hub.routes();
    let spec = RouteSpec::path("/user/ada/");
    let right = routes.list().await.unwrap();
    let right = right.into_iter().find(|status| status.route.spec == spec);
    let right = right.unwrap().route;

    let shown = admin.api(Method::GET, "/proxy", None).await.json();
    let keys: Vec<_> = shown.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["/", "/user/ada/"]);
    let route = &shown["/user/ada/"];
    assert_eq!(route["routespec"], "/user/ada/");
    assert_eq!(route["target"], right.target.to_string());
    assert_eq!(route["data"]["user"], "ada");
    assert_eq!(route["data"]["server_name"], "");
    let page = admin
        .api(Method::GET, "/proxy?limit=1&offset=1", None)
        .await;
    assert_eq!(page.json().as_object().unwrap().len(), 1);

    // One is missing, one leads to a server that does not run, one belongs to somebody else.
    routes.remove(&spec).await.unwrap();
    let mut stale = right.clone();
    stale.spec = RouteSpec::path("/user/bob/");
    stale.data.insert("user".to_owned(), json!("bob"));
    routes.put(stale.clone()).await.unwrap();
    let mut foreign = right.clone();
    foreign.spec = RouteSpec::path("/foreign/");
    foreign.data = serde_json::Map::new();
    routes.put(foreign.clone()).await.unwrap();
    let checked = admin.api(Method::POST, "/proxy", None).await;
    assert_eq!(checked.status, 200, "{}", checked.text());
    let now = routes.list().await.unwrap();
    let now: BTreeSet<_> = now.into_iter().map(|status| status.route.spec).collect();
    assert_eq!(now, BTreeSet::from([spec.clone(), foreign.spec.clone()]));

    // And one leads elsewhere.
    let mut wrong = right.clone();
    wrong.target = lyceum_core::route::Upstream::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    routes.put(wrong).await.unwrap();
    admin.api(Method::POST, "/proxy", None).await;
    let now = routes.list().await.unwrap();
    let now = now.into_iter().find(|status| status.route.spec == spec);
    assert_eq!(now.unwrap().route, right);
    assert_eq!(ada.follow("/user/ada/whoami").await.status, 200);
}

#[tokio::test]
async fn starts_and_stops_that_worked_are_in_the_event_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let log = path.clone();
    let spawner = FakeSpawner::new().await;
    let mut hub = TestHub::builder()
        .settings(move |settings| {
            settings.allow_named_servers = true;
            settings.servers.event_log = Some(log);
        })
        .spawner(spawner.clone())
        .start()
        .await;
    let lab = hub.permit("ümläut", "lab").await;
    hub.hub()
        .request_start(&lab, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&lab).await.unwrap();
    hub.hub().stop(&lab).await.unwrap();
    spawner.on_start(fails());
    let bob = hub.permit("bob", "").await;
    hub.hub()
        .request_start(&bob, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&bob).await.unwrap_err();
    hub.end().await;

    let text = std::fs::read_to_string(&path).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let deeds: Vec<_> = events
        .iter()
        .map(|event| {
            let part = |key: &str| event[key].as_str().unwrap().to_owned();
            (part("action"), part("username"), part("servername"))
        })
        .collect();
    let told = |deed: &str| (deed.to_owned(), "ümläut".to_owned(), "lab".to_owned());
    assert_eq!(deeds, [told("start"), told("stop")]);
    let event = events[0].as_object().unwrap();
    assert_eq!(event.len(), 7, "{event:?}");
    assert_eq!(
        event["__schema__"],
        "https://schema.jupyter.org/jupyterhub/events/server-action"
    );
    assert_eq!(event["__schema_version__"], "1");
    assert_eq!(event["__metadata_version__"], 1);
    assert!(event["__timestamp__"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn names_from_before_the_rules_are_treated_as_is_wished() {
    for (wish, starts) in [
        (OldNames::AllowStart, true),
        (OldNames::AllowDelete, false),
        (OldNames::Rename, false),
    ] {
        let mut hub = TestHub::builder()
            .settings(move |settings| {
                settings.allow_named_servers = true;
                settings.servers.old_names = wish;
            })
            .start()
            .await;
        let mut ada = hub.user("ada").await;
        let user = hub.user_row("ada").await;
        let mut tx = hub.store().begin().await.unwrap();
        for name in ["My Lab", "my-lab", "My_Lab"] {
            let name = ServerName::parse(name).unwrap();
            tx.ensure_server(user.id, &name, hub.hub().now())
                .await
                .unwrap();
        }
        tx.commit().await.unwrap();
        let path = "/users/ada/servers/My%20Lab";
        let start = ada.api(Method::POST, path, None).await;
        assert_eq!(start.status == 201, starts, "{wish:?} {}", start.text());
        if !starts {
            assert_eq!(start.status, 400);
        }
        assert_eq!(ada.api(Method::DELETE, path, None).await.status, 204);
        hub.restart().await;
        let rows = hub.store().servers_of_user(user.id).await.unwrap();
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        if wish == OldNames::Rename {
            let shown: Vec<_> = rows.iter().map(|row| row.display_name.as_deref()).collect();
            assert_eq!(names.len(), 3);
            assert!(names.iter().all(|name| ServerName::parse_new(name).is_ok()));
            assert!(names.contains(&"my-lab"), "{names:?}");
            assert!(shown.contains(&Some("My Lab")) && shown.contains(&Some("My_Lab")));
        } else {
            assert_eq!(names, ["My Lab", "My_Lab", "my-lab"]);
        }
    }
}

#[tokio::test]
async fn too_many_failures_in_a_row_end_the_hub() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.servers.failure_limit = 3)
        .spawner(spawner.clone())
        .start()
        .await;
    let ada = hub.permit("ada", "").await;
    let start = async |works: bool| {
        spawner.on_start(if works { Start::Works } else { fails() });
        let asked = hub.hub().request_start(&ada, StartInput::default());
        asked.await.unwrap();
        let started = hub.hub().await_start(&ada).await;
        assert_eq!(started.is_ok(), works);
        hub.hub().stop(&ada).await.unwrap();
    };
    for works in [false, false, true, false, false] {
        start(works).await;
    }
    let ending = tokio::time::timeout(Duration::from_millis(20), hub.hub().ending());
    assert!(ending.await.is_err(), "they were not in a row");
    start(false).await;
    let ending = tokio::time::timeout(Duration::from_secs(20), hub.hub().ending());
    assert_eq!(ending.await, Ok(Ending::TooManyFailures(3)));
}

#[tokio::test]
async fn servers_that_do_not_run_are_not_kept_in_memory() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.servers.memory = Duration::from_millis(20))
        .spawner(spawner.clone())
        .start()
        .await;
    let ada = hub.permit("ada", "").await;
    for _ in 0..3 {
        hub.hub()
            .request_start(&ada, StartInput::default())
            .await
            .unwrap();
        hub.hub().await_start(&ada).await.unwrap();
        assert_eq!(hub.hub().remembered_servers(), 1, "it runs");
        hub.hub().stop(&ada).await.unwrap();
        eventually("it is forgotten", async || {
            hub.hub().remembered_servers() == 0
        })
        .await;
    }
    spawner.on_start(fails());
    hub.hub()
        .request_start(&ada, StartInput::default())
        .await
        .unwrap();
    hub.hub().await_start(&ada).await.unwrap_err();
    eventually("it is forgotten", async || {
        hub.hub().remembered_servers() == 0
    })
    .await;
    let view = hub.hub().server_view(&ada).await.unwrap();
    assert!(view.start_failed(), "why it failed is stored");
}

#[tokio::test]
async fn the_progress_of_a_start_that_failed_is_told_until_its_remains_are_gone() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.start_timeout = Duration::from_millis(20);
            settings.slow_spawn_timeout = Duration::ZERO;
        })
        .spawner(spawner.clone())
        .start()
        .await;
    spawner.on_start(Start::HangsWithHandle);
    spawner.on_stop(Stop::Hangs);
    let mut ada = hub.user("ada").await;
    let start = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(start.status, 202);
    eventually("it is being cleaned up", async || {
        let model = ada.api(Method::GET, "/users/ada/server", None).await;
        model.json()["pending"] == "stop"
    })
    .await;
    let xsrf = ada.cookie("_xsrf").to_owned();
    let path = format!("/hub/api/users/ada/server/progress?_xsrf={xsrf}");
    let (answer, ()) = tokio::join!(ada.get(&path), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        spawner.on_stop(Stop::Works);
    });
    assert_eq!(answer.status, 200, "{}", answer.text());
    let last = answer
        .text()
        .trim_end()
        .rsplit("data: ")
        .next()
        .map(str::to_owned);
    let last: Value = serde_json::from_str(&last.unwrap()).unwrap();
    assert_eq!(
        (&last["failed"], &last["progress"]),
        (&json!(true), &json!(100))
    );
}
