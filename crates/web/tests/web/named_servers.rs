//! Named servers over API and pages: made, renamed, changed, deleted, and how many there may be.

use lyceum_hub::HubSettings;
use serde_json::{Value, json};

use crate::support::{Browser, Mood, Site};

fn with_names(settings: &mut HubSettings) {
    settings.allow_named_servers = true;
}

async fn put(ada: &mut Browser<'_>, name: &str, body: Value) -> u16 {
    let path = format!("/users/ada/servers/{name}");
    ada.api("PUT", &path, Some(body)).await.status
}

#[tokio::test]
async fn a_server_is_made_without_being_started() {
    let site = Site::with(with_names).await;
    let mut ada = site.user("ada").await;
    let body = json!({"display_name": "Lab e\u{301}", "user_options": {"a": 1}});
    let made = ada.api("PUT", "/users/ada/servers/lab", Some(body)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let model = made.json();
    assert_eq!(model["name"], "lab");
    assert_eq!(model["display_name"], "Lab \u{e9}");
    assert_eq!(model["user_options"], json!({"a": 1}));
    assert_eq!(
        (&model["ready"], &model["stopped"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(site.spawner.starts(), 0);
    for path in [
        "/users/ada/servers/lab",
        "/users/ada/server",
        "/users/ada/servers/",
    ] {
        ada.api("PUT", path, None).await.assert_api_error(409);
    }
    let start = ada.api("POST", "/users/ada/servers/lab", None).await;
    assert_eq!(start.status, 201);
    assert_eq!(
        site.spawner.last_options(),
        json!({"a": 1}),
        "those it was made with"
    );
}

#[tokio::test]
async fn names_that_cannot_be_are_refused() {
    let site = Site::with(with_names).await;
    let mut ada = site.user("ada").await;
    for name in ["Bad", "1x", "a--b", "a-", &"x".repeat(31), "a.b", "%C3%BC"] {
        assert_eq!(put(&mut ada, name, json!({})).await, 400, "{name}");
        let path = format!("/users/ada/servers/{name}");
        ada.api("POST", &path, None).await.assert_api_error(400);
        ada.get(&format!("/hub/spawn/ada/{name}"))
            .await
            .assert_page(400);
    }
    assert_eq!(put(&mut ada, "x", json!({"display_name": " a"})).await, 400);
    assert_eq!(put(&mut ada, "x", json!({"display_name": ""})).await, 201);
    let off = Site::new().await;
    let mut bob = off.user("bob").await;
    for method in ["PUT", "POST", "DELETE"] {
        let answer = bob.api(method, "/users/bob/servers/lab", None).await;
        answer.assert_api_error(400);
    }
    let body = json!({"name": "lab"});
    bob.api("PATCH", "/users/bob/server", Some(body))
        .await
        .assert_api_error(400);
}

#[tokio::test]
async fn a_server_is_renamed_and_changed_while_it_does_not_run() {
    let site = Site::with(with_names).await;
    let mut ada = site.user("ada").await;
    assert_eq!(put(&mut ada, "one", json!({})).await, 201);
    assert_eq!(put(&mut ada, "two", json!({})).await, 201);
    let mut patch = async |name: &str, body: Value| {
        let path = format!("/users/ada/servers/{name}");
        let answer = ada.api("PATCH", &path, Some(body)).await;
        (answer.status, answer)
    };
    for (name, body, status) in [
        ("one", json!({}), 400),
        ("one", json!({"x": 1}), 400),
        ("one", json!({"name": "one"}), 409),
        ("one", json!({"name": "two"}), 409),
        ("one", json!({"name": ""}), 409),
        ("one", json!({"name": "Bad"}), 400),
        ("one", json!({"name": 5}), 400),
        ("one", json!({"user_options": []}), 400),
        ("none", json!({"name": "three"}), 404),
        ("none", json!({"user_options": {}}), 404),
        ("one", json!({"name": "uno", "user_options": null}), 400),
    ] {
        let (found, answer) = patch(name, body.clone()).await;
        assert_eq!(found, status, "{name} {body} {}", answer.text());
    }
    let body = json!({"name": "uno", "display_name": "Uno!", "user_options": {"b": 2}});
    let (status, answer) = patch("one", body).await;
    assert_eq!(status, 200, "{}", answer.text());
    let model = answer.json();
    assert_eq!(model["name"], "uno");
    assert_eq!(model["url"], "/user/ada/uno/");
    assert_eq!(model["display_name"], "Uno!");
    assert_eq!(model["user_options"], json!({"b": 2}));
    let (status, answer) = patch("uno", json!({"name": null})).await;
    assert_eq!((status, &answer.json()["name"]), (200, &json!("uno")));
    ada.api("GET", "/users/ada/servers/one", None)
        .await
        .assert_api_error(404);
    assert_eq!(
        ada.api("POST", "/users/ada/servers/uno", None).await.status,
        201
    );
    let body = json!({"display_name": "busy"});
    ada.api("PATCH", "/users/ada/servers/uno", Some(body))
        .await
        .assert_api_error(400);
}

#[tokio::test]
async fn the_default_server_can_get_a_name_and_leaves_a_new_one() {
    let site = Site::with(|settings| {
        with_names(settings);
        settings.named_server_limit = 1;
    })
    .await;
    let mut ada = site.user("ada").await;
    let body = json!({"user_options": {"q": 1}});
    let answer = ada.api("PATCH", "/users/ada/server", Some(body)).await;
    assert_eq!(
        answer.status,
        200,
        "it need not have run: {}",
        answer.text()
    );
    let body = json!({"name": "old"});
    let answer = ada
        .api("PATCH", "/users/ada/server", Some(body.clone()))
        .await;
    assert_eq!(
        (answer.status, &answer.json()["full_name"]),
        (200, &json!("ada/old"))
    );
    let fresh = ada.api("GET", "/users/ada/server", None).await.json();
    assert_eq!(fresh["user_options"], Value::Null);
    let old = ada.api("GET", "/users/ada/servers/old", None).await.json();
    assert_eq!(old["user_options"], json!({"q": 1}));
    let body = json!({"name": "older"});
    ada.api("PATCH", "/users/ada/server", Some(body))
        .await
        .assert_api_error(400);
    let body = json!({"name": "older"});
    let renamed = ada.api("PATCH", "/users/ada/servers/old", Some(body)).await;
    assert_eq!(renamed.status, 200, "that makes no more of them");
    assert_eq!(put(&mut ada, "another", json!({})).await, 400);
}

#[tokio::test]
async fn others_may_neither_make_nor_change_servers() {
    let site = Site::with(with_names).await;
    let mut ada = site.user("ada").await;
    assert_eq!(put(&mut ada, "lab", json!({})).await, 201);
    let mut bob = site.user("bob").await;
    for (method, body) in [
        ("PUT", json!({})),
        ("PATCH", json!({"name": "stolen"})),
        ("DELETE", json!({"remove": true})),
    ] {
        for path in ["/users/ada/servers/lab", "/users/ada/servers/other"] {
            let answer = bob.api(method, path, Some(body.clone())).await;
            answer.assert_api_error(404);
        }
    }
    let reader = site.token("ada", &["read:servers!user"]).await;
    for method in ["PUT", "PATCH"] {
        site.call(method, "/hub/api/users/ada/servers/lab", &reader, None)
            .await
            .assert_api_error(403);
    }
    for form in ["/hub/rename/ada/lab", "/hub/delete/ada/lab"] {
        bob.post(form, &[("title", "Mine")]).await.assert_page(404);
        let unsafe_form = ada.post_as_is(form, &[("title", "Mine")]).await;
        unsafe_form.assert_page(403);
    }
    let lab = ada.api("GET", "/users/ada/servers/lab", None).await.json();
    assert_eq!(lab["display_name"], "lab");
}

#[tokio::test]
async fn the_home_page_makes_renames_and_deletes_servers_without_scripts() {
    let site = Site::with(|settings| {
        with_names(settings);
        settings.named_server_limit = 2;
    })
    .await;
    let mut ada = site.user("ada").await;
    let title = "Žluťoučký  kůň";
    let made = ada.post("/hub/new-server", &[("title", title)]).await;
    let start = "/hub/spawn/ada/zlutoucky-kun?display_name=\
                 %C5%BDlu%C5%A5ou%C4%8Dk%C3%BD%20k%C5%AF%C5%88";
    made.assert_leads_to(start);
    ada.get(start)
        .await
        .assert_leads_to("/hub/spawn-pending/ada/zlutoucky-kun");
    let home = ada.get("/hub/home").await;
    assert!(home.text().contains("Žluťoučký kůň"), "{}", home.text());
    let again = ada.post("/hub/new-server", &[("title", title)]).await;
    assert!(
        again
            .location()
            .starts_with("/hub/spawn/ada/zlutoucky-kun-"),
        "another name, as that one is taken: {}",
        again.location()
    );
    for wrong in ["", "  ", "a\u{202e}b", &"x".repeat(256)] {
        let answer = ada.post("/hub/new-server", &[("title", wrong)]).await;
        answer.assert_page(400);
    }
    let path = "/users/ada/servers/zlutoucky-kun";
    assert_eq!(ada.api("DELETE", path, None).await.status, 204);
    ada.post("/hub/rename/ada/zlutoucky-kun", &[("title", "Horse")])
        .await
        .assert_leads_to("/hub/home");
    assert_eq!(
        ada.api("GET", path, None).await.json()["display_name"],
        "Horse"
    );
    assert_eq!(put(&mut ada, "second", json!({})).await, 201);
    assert!(ada.get("/hub/home").await.text().contains("as many as"));
    ada.post("/hub/delete/ada/zlutoucky-kun", &[])
        .await
        .assert_leads_to("/hub/home");
    ada.api("GET", path, None).await.assert_api_error(404);
    ada.post("/hub/delete/ada/zlutoucky-kun", &[])
        .await
        .assert_page(404);
}

#[tokio::test]
async fn limits_answer_as_in_jupyterhub() {
    let site = Site::with(|settings| {
        with_names(settings);
        settings.concurrent_spawn_limit = 1;
        settings.servers.retry_range = (7, 9);
        settings.slow_spawn_timeout = std::time::Duration::from_millis(50);
    })
    .await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    site.spawner.set_mood(Mood::Hangs);
    let slow = ada.api("POST", "/users/ada/server", None).await;
    assert_eq!(slow.status, 202);
    let throttled = bob.api("POST", "/users/bob/server", None).await;
    throttled.assert_api_error(429);
    let pause: u64 = throttled.header("retry-after").parse().unwrap();
    assert!((7..=9).contains(&pause), "{pause}");
    let page = bob.get("/hub/spawn").await;
    page.assert_page(429);
    assert!(!page.header("retry-after").is_empty());

    let site = Site::with(|settings| settings.active_server_limit = 1).await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    let first = ada.api("POST", "/users/ada/server", None).await;
    assert_eq!(first.status, 201);
    let full = bob.api("POST", "/users/bob/server", None).await;
    full.assert_api_error(429);
    assert_eq!(full.header("retry-after"), "");
    let again = ada.api("POST", "/users/ada/server", None).await;
    again.assert_api_error(400);
}

#[tokio::test]
async fn a_link_without_a_name_may_mean_a_named_server() {
    let site = Site::with(|settings| {
        with_names(settings);
        settings.servers.default_name = lyceum_core::ServerName::parse_new("lab").ok();
    })
    .await;
    let mut ada = site.user("ada").await;
    ada.get("/hub/user-redirect/lab/tree/a%20b?x=1")
        .await
        .assert_leads_to("/hub/spawn/ada/lab?next=/user/ada/lab/lab/tree/a%2520b%3Fx%3D1");
    ada.get("/hub/").await.assert_leads_to("/hub/spawn");
}
