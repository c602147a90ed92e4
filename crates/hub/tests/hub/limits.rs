//! How many servers may be starting, active, and named: also for requests at the same moment.

use futures_util::future::join_all;
use http::Method;
use lyceum_core::limits::{NamedServerRules, NamedServers};
use lyceum_core::{GroupName, UserName};
use lyceum_hub::{Reserve, StartError, StartInput};
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::{FakeSpawner, Start};

/// Asks for the servers of ten users at once; gives how many were accepted, and the errors.
async fn ten(hub: &TestHub) -> (usize, Vec<StartError>) {
    let mut permits = Vec::new();
    for number in 0..10 {
        permits.push(hub.permit(&format!("user{number}"), "").await);
    }
    let starts = permits
        .iter()
        .map(|permit| hub.hub().request_start(permit, StartInput::default()));
    let results = join_all(starts).await;
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    (
        accepted,
        results.into_iter().filter_map(Result::err).collect(),
    )
}

#[tokio::test]
async fn no_more_servers_start_at_once_than_are_allowed() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.concurrent_spawn_limit = 3)
        .spawner(spawner.clone())
        .start()
        .await;
    spawner.on_start(Start::Hangs);
    let (accepted, errors) = ten(&hub).await;
    assert_eq!(accepted, 3);
    for error in errors {
        assert!(
            matches!(error, StartError::Busy(seconds) if (30..=60).contains(&seconds)),
            "{error}"
        );
    }
    assert_eq!(hub.hub().counts().starting, 3);

    let mut zoe = hub.user("zoe").await;
    let answer = zoe.api(Method::POST, "/users/zoe/server", None).await;
    assert_eq!(answer.status, 429);
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((30..=60).contains(&seconds));

    assert_eq!(hub.hub().stop_all(lyceum_testkit::LIMIT).await, 0);
    spawner.on_start(Start::Works);
    let answer = zoe.api(Method::POST, "/users/zoe/server", None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[tokio::test]
async fn no_more_servers_run_than_are_allowed() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.active_server_limit = 4)
        .spawner(spawner)
        .start()
        .await;
    let (accepted, errors) = ten(&hub).await;
    assert_eq!(accepted, 4);
    assert!(errors.iter().all(|error| matches!(error, StartError::Full)));
    let mut zoe = hub.user("zoe").await;
    let answer = zoe.api(Method::POST, "/users/zoe/server", None).await;
    assert_eq!(answer.status, 429);
}

#[tokio::test]
async fn nothing_starts_while_the_memory_of_the_system_is_needed() {
    let spawner = FakeSpawner::new().await;
    let dir = tempfile::tempdir().unwrap();
    let meminfo = dir.path().join("meminfo");
    let available = |kilobytes: u64| {
        let text = format!("MemTotal: 9999999 kB\nMemAvailable: {kilobytes} kB\n");
        std::fs::write(&meminfo, text).unwrap();
    };
    let reserve = Reserve {
        bytes: 1 << 30,
        meminfo: meminfo.clone(),
    };
    let hub = TestHub::builder()
        .settings(move |settings| settings.reserve = Some(reserve))
        .spawner(spawner.clone())
        .start()
        .await;
    let mut ada = hub.user("ada").await;
    available((1 << 20) - 1);
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 429);
    assert!(
        answer.text().contains("memory of this machine is used up"),
        "{}",
        answer.text()
    );
    assert_eq!(spawner.starts(), 0);
    available(1 << 20);
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    // Those that are starting are counted with what they will use soon.
    available((1 << 20) + (130 << 10));
    spawner.on_start(Start::Hangs);
    let (accepted, errors) = ten(&hub).await;
    assert!((1..10).contains(&accepted), "{accepted}");
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, StartError::NoMemory))
    );
    assert_eq!(hub.hub().stop_all(lyceum_testkit::LIMIT).await, 0);
}

#[tokio::test]
async fn groups_and_users_may_have_other_numbers_of_named_servers() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.allow_named_servers = true;
            settings.named_server_rules = NamedServerRules {
                everybody: Some(NamedServers::Off),
                groups: [(GroupName::parse("class").unwrap(), NamedServers::UpTo(1))].into(),
                users: [(UserName::parse("eve").unwrap(), NamedServers::Off)].into(),
            };
            settings.declared.groups = vec![lyceum_core::declared::DeclaredGroup {
                name: GroupName::parse("class").unwrap(),
                users: ["ada", "eve"]
                    .map(|name| UserName::parse(name).unwrap())
                    .to_vec(),
                properties: None,
            }];
        })
        .spawner(spawner)
        .start()
        .await;
    hub.hub().provision().await.unwrap();
    for (name, statuses) in [
        ("ada", [201, 400]),
        ("bob", [400, 400]),
        ("eve", [400, 400]),
    ] {
        let mut user = hub.user(name).await;
        for (server, status) in ["one", "two"].into_iter().zip(statuses) {
            let path = format!("/users/{name}/servers/{server}");
            let answer = user.api(Method::POST, &path, None).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        let path = format!("/users/{name}/server");
        assert_eq!(user.api(Method::POST, &path, None).await.status, 201);
    }
}

#[tokio::test]
async fn nobody_has_more_named_servers_than_are_allowed() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.allow_named_servers = true;
            settings.named_server_limit = 2;
        })
        .spawner(spawner.clone())
        .start()
        .await;
    let ada = hub.user("ada").await;
    let starts = (0..6).map(|number| {
        let mut ada = ada.clone();
        async move {
            let path = format!("/users/ada/servers/s{number}");
            ada.api(Method::POST, &path, None).await.status
        }
    });
    let statuses = join_all(starts).await;
    let created = statuses.iter().filter(|status| **status == 201).count();
    assert_eq!(created, 2, "{statuses:?}");
    let user = hub.user_row("ada").await;
    let counts = hub.store().count_servers_of_user(user.id).await.unwrap();
    assert_eq!(counts.named, 2);
    // One that exists may be started again, and the default server does not count.
    let mut ada = ada;
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201);
    let answer = ada.api(Method::POST, "/users/ada/servers/s9", None).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("limit of 2"), "{}", answer.text());
}

#[tokio::test]
async fn named_servers_are_refused_where_they_are_not_enabled() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    let answer = ada.api(Method::POST, "/users/ada/servers/lab", None).await;
    assert_eq!(answer.status, 400);
    assert!(hub.processes().is_empty());
}

#[tokio::test]
async fn two_servers_whose_client_ids_would_be_the_same_have_logins_of_their_own() {
    let hub = TestHub::builder()
        .settings(|settings| settings.allow_named_servers = true)
        .start()
        .await;
    let mut ada = hub.user("ada").await;
    let mut other = hub.user("ada-lab").await;
    // Both would be the OAuth client `jupyterhub-user-ada-lab`, as in JupyterHub.
    let id = hub.permit("ada", "lab").await.server().client_id();
    assert_eq!(id, hub.permit("ada-lab", "").await.server().client_id());
    for (visitor, path) in [
        (&mut ada, "/users/ada/servers/lab"),
        (&mut other, "/users/ada-lab/server"),
    ] {
        let answer = visitor.api(Method::POST, path, None).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    for (visitor, url, name) in [
        (&mut ada, "/user/ada/lab/whoami", "ada"),
        (&mut other, "/user/ada-lab/whoami", "ada-lab"),
    ] {
        let me = visitor.follow(url).await;
        assert_eq!((me.status, &me.json()["name"]), (200, &name.into()));
    }
    assert_eq!(other.get("/user/ada/lab/whoami").await.status, 302);

    // Stopping one leaves the other's logins alone.
    let answer = other
        .api(Method::DELETE, "/users/ada-lab/server", None)
        .await;
    assert_eq!(answer.status, 204);
    assert!(hub.store().find_oauth_client(&id).await.unwrap().is_some());
    assert_eq!(ada.get("/user/ada/lab/whoami").await.status, 200);
    let answer = ada
        .api(Method::DELETE, "/users/ada/servers/lab", None)
        .await;
    assert_eq!(answer.status, 204);
    assert_eq!(hub.store().list_oauth_clients().await.unwrap(), []);
}
