//! Starting, watching and stopping servers over API and pages.

use serde_json::{Value, json};

use crate::support::{Mood, Site};

#[tokio::test]
async fn a_server_starts_and_stops_by_the_api() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let stopped = ada.api("GET", "/users/ada/server", None).await.json();
    assert_eq!(
        (&stopped["stopped"], &stopped["ready"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(stopped["user_options"], Value::Null);

    let start = ada
        .api("POST", "/users/ada/server", Some(json!({"memory": "2G"})))
        .await;
    assert_eq!(
        (start.status, start.body.len()),
        (201, 0),
        "{}",
        start.text()
    );
    assert_eq!(start.header("content-type"), "text/plain");
    assert_eq!(site.spawner.last_options(), json!({"memory": "2G"}));
    for path in ["/users/ada/server", "/users/ada/servers/"] {
        let model = ada.api("GET", path, None).await.json();
        assert_eq!(model["name"], "");
        assert_eq!(model["full_name"], "ada/");
        assert_eq!(model["url"], "/user/ada/");
        assert_eq!(model["progress_url"], "/hub/api/users/ada/server/progress");
        assert_eq!(
            (&model["ready"], &model["stopped"]),
            (&json!(true), &json!(false))
        );
        assert_eq!(model["pending"], Value::Null);
        assert_eq!(model.get("state"), None, "that is for administrators");
        assert_eq!(model.as_object().unwrap().len(), 13, "{model}");
    }
    ada.api("POST", "/users/ada/server", None)
        .await
        .assert_api_error(400);
    let stop = ada.api("DELETE", "/users/ada/server", None).await;
    assert_eq!(
        (stop.status, stop.body.len(), stop.header("content-type")),
        (204, 0, "")
    );
    let again = ada.api("DELETE", "/users/ada/server", None).await;
    assert_eq!(again.status, 204, "what does not run is stopped already");
    assert_eq!(
        ada.api("GET", "/user", None).await.json()["servers"],
        json!({})
    );
}

#[tokio::test]
async fn wrong_bodies_start_nothing_and_stop_nothing() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for body in [
        json!([1]),
        json!("x"),
        json!(1),
        json!({"user_options": 1}),
        json!({"display_name": []}),
        json!({"__jupyterhub_x": 1}),
    ] {
        ada.api("POST", "/users/ada/server", Some(body))
            .await
            .assert_api_error(400);
    }
    assert_eq!(site.spawner.starts(), 0);
    assert_eq!(
        ada.api("POST", "/users/ada/server", Some(json!([])))
            .await
            .status,
        201
    );
    for body in [
        json!([1]),
        json!("x"),
        json!({"remove": 1}),
        json!({"remove": true}),
    ] {
        ada.api("DELETE", "/users/ada/server", Some(body))
            .await
            .assert_api_error(400);
    }
    let model = ada.api("GET", "/users/ada/server", None).await.json();
    assert_eq!(model["ready"], true);
}

#[tokio::test]
async fn named_servers_are_refused_where_there_are_none_and_checked_where_there_are() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for method in ["POST", "DELETE"] {
        ada.api(method, "/users/ada/servers/lab", None)
            .await
            .assert_api_error(400);
    }
    ada.api("GET", "/users/ada/servers/lab", None)
        .await
        .assert_api_error(404);
    ada.get("/hub/spawn/ada/lab").await.assert_page(400);

    let site = Site::with(|settings| settings.allow_named_servers = true).await;
    let mut ada = site.user("ada").await;
    let long = "x".repeat(300);
    for name in ["UPPER", "-x", "a%2Fb", "%20", "%00", "a_b", long.as_str()] {
        let path = format!("/users/ada/servers/{name}");
        ada.api("POST", &path, None).await.assert_api_error(400);
        ada.get(&format!("/hub/spawn/ada/{name}"))
            .await
            .assert_page(400);
    }
    ada.api("DELETE", "/users/ada/servers/lab", None)
        .await
        .assert_api_error(404);
    assert_eq!(site.spawner.starts(), 0);
    assert_eq!(
        ada.api("POST", "/users/ada/servers/lab", None).await.status,
        201
    );
    let model = ada.api("GET", "/users/ada/servers/lab", None).await.json();
    assert_eq!(model["url"], "/user/ada/lab/");
    let removed = ada
        .api(
            "DELETE",
            "/users/ada/servers/lab",
            Some(json!({"remove": true})),
        )
        .await;
    assert_eq!(removed.status, 204);
    ada.api("GET", "/users/ada/servers/lab", None)
        .await
        .assert_api_error(404);
}

#[tokio::test]
async fn progress_ends_with_the_address_or_with_the_cause() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let path = "/users/ada/server/progress";
    ada.api("GET", path, None).await.assert_api_error(404);

    site.spawner.set_mood(Mood::Fails);
    let failed = ada.api("POST", "/users/ada/server", None).await;
    failed.assert_api_error(500);
    assert!(
        failed.text().contains("The disk is full."),
        "{}",
        failed.text()
    );
    let answer = ada.api("GET", path, None).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/event-stream")
    );
    assert_eq!(answer.header("cache-control"), "no-cache");
    let last = last_event(&answer.text());
    assert_eq!(
        (&last["failed"], &last["progress"]),
        (&json!(true), &json!(100)),
        "{last}"
    );

    site.spawner.set_mood(Mood::Works);
    assert_eq!(ada.api("POST", "/users/ada/server", None).await.status, 201);
    let answer = ada.api("GET", path, None).await;
    let last = last_event(&answer.text());
    assert_eq!(
        (&last["ready"], &last["url"]),
        (&json!(true), &json!("/user/ada/")),
        "{last}"
    );
    // An event source of a page has its token in the URL.
    let bare = [
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "same-origin"),
    ];
    let url = format!("/hub/api{path}");
    ada.send("GET", &url, &bare, "").await.assert_api_error(403);
    let url = format!("{url}?_xsrf={}", ada.xsrf());
    assert_eq!(ada.send("GET", &url, &bare, "").await.status, 200);
}

fn last_event(stream: &str) -> Value {
    assert!(stream.starts_with("\n\n"), "{stream:?}");
    let last = stream.trim_end().rsplit("\n\n").next().unwrap();
    serde_json::from_str(last.trim_start().strip_prefix("data: ").unwrap()).unwrap()
}

#[tokio::test]
async fn a_start_by_link_shows_its_progress_and_can_be_cancelled() {
    let site = Site::with(|settings| settings.slow_spawn_timeout = std::time::Duration::ZERO).await;
    let mut ada = site.user("ada").await;
    site.spawner.set_mood(Mood::Hangs);
    ada.get("/hub/spawn?opt-memory=2G&x=1")
        .await
        .assert_leads_to("/hub/spawn-pending/ada?opt-memory=2G&x=1");
    assert_eq!(site.spawner.last_options(), json!({"memory": ["2G"]}));
    let page = ada.get("/hub/spawn-pending/ada?next=/user/ada/tree").await;
    page.assert_page(200);
    assert!(
        page.text()
            .contains("/hub/api/users/ada/server/progress?_xsrf=")
    );
    // Asking again, in every way, does not start a second one.
    ada.get("/hub/spawn")
        .await
        .assert_leads_to("/hub/spawn-pending/ada");
    ada.post("/hub/spawn", &[])
        .await
        .assert_leads_to("/hub/spawn-pending/ada");
    assert_eq!(ada.api("POST", "/users/ada/server", None).await.status, 202);
    assert_eq!(site.spawner.starts(), 1);
    let wanted = ada.get("/hub/user/ada/lab?x=1").await;
    assert_eq!(wanted.status, 303);
    assert_eq!(
        wanted.location(),
        "/hub/spawn-pending/ada?next=/user/ada/lab%3Fx%3D1"
    );
    ada.post("/hub/stop/ada", &[])
        .await
        .assert_leads_to("/hub/home");
    assert_eq!(
        ada.api("GET", "/users/ada/server", None).await.json()["stopped"],
        true
    );
}

#[tokio::test]
async fn a_failed_start_says_why_and_the_next_try_works() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    site.spawner.set_mood(Mood::Fails);
    ada.get("/hub/spawn?next=/user/ada/tree").await;
    let page = ada.get("/hub/spawn-pending/ada?next=/user/ada/tree").await;
    page.assert_page(500);
    let text = page.text();
    assert!(
        text.contains("The disk is full.") && text.contains("Delete something."),
        "{text}"
    );
    assert!(text.contains("/hub/spawn/ada?next="), "{text}");
    assert!(
        !text.contains("<script>the last line"),
        "what a server wrote is text"
    );
    assert!(
        text.contains(page.header("x-request-id")),
        "the administrator can be told which"
    );
    // Links into the server do not start it again by themselves.
    assert_eq!(ada.get("/hub/user/ada/lab").await.status, 303);
    assert_eq!(site.spawner.starts(), 1);

    site.spawner.set_mood(Mood::Works);
    ada.post("/hub/spawn/ada", &[])
        .await
        .assert_leads_to("/hub/spawn-pending/ada");
    ada.get("/hub/spawn-pending/ada")
        .await
        .assert_leads_to("/user/ada/");
    assert!(ada.get("/hub/home").await.text().contains("/user/ada/"));
}

#[tokio::test]
async fn the_token_of_a_form_is_no_option() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.post(
        "/hub/spawn",
        &[("memory", "2G"), ("memory", "4G"), ("next", "/x")],
    )
    .await;
    assert_eq!(site.spawner.last_options(), json!({"memory": ["2G", "4G"]}));
}

#[tokio::test]
async fn a_log_is_for_the_owner_and_for_whoever_manages_the_server() {
    const LINE: &str = "the last line";
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    site.user("root").await;
    site.spawner.set_mood(Mood::Breaks);
    ada.api("POST", "/users/ada/server", None)
        .await
        .assert_api_error(500);
    let path = "/hub/api/users/ada/server/progress";
    for (user, scope, may) in [
        ("ada", "read:servers", true),
        ("root", "servers", true),
        ("root", "read:servers", false),
    ] {
        let token = site.token(user, &[scope]).await;
        let answer = site.call("GET", path, &token, None).await;
        assert_eq!(answer.status, 200, "{user} {scope}");
        assert!(answer.text().contains("It broke."), "{}", answer.text());
        assert_eq!(answer.text().contains(LINE), may, "{user} {scope}");
    }
}

#[tokio::test]
async fn access_to_one_server_shows_nothing_of_another() {
    let site = Site::with(|settings| settings.allow_named_servers = true).await;
    let mut ada = site.user("ada").await;
    site.user("root").await;
    let start = ada.api("POST", "/users/ada/servers/lab", None).await;
    assert_eq!(start.status, 201);
    let stop = ada.api("DELETE", "/users/ada/servers/lab", None).await;
    assert_eq!(stop.status, 204);
    for (scope, default, lab) in [
        ("access:servers!server=ada/", 424, 404),
        ("access:servers!server=ada/lab", 404, 424),
    ] {
        let token = site.token("root", &[scope]).await;
        for (path, expected) in [("lab2", default), ("lab/tree", lab)] {
            let path = format!("/hub/user/ada/{path}");
            let answer = site.call("GET", &path, &token, None).await;
            assert_eq!(answer.status, expected, "{scope} {path}");
        }
    }
}
