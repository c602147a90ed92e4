//! The API's models and bodies.

use serde_json::{Value, json};

use crate::support::Site;

#[tokio::test]
async fn a_user_sees_everything_about_themself() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let model = ada.api("GET", "/user", None).await.json();
    assert_eq!(model["kind"], "user");
    assert_eq!(model["name"], "ada");
    assert_eq!(model["roles"], json!(["user"]));
    assert_eq!(model["server"], Value::Null);
    assert_eq!(model["servers"], json!({}));
    // By cookie, there is neither a token nor a session of one.
    assert_eq!(
        (&model["token_id"], &model["session_id"]),
        (&Value::Null, &Value::Null)
    );
    let created = model["created"].as_str().unwrap();
    assert!(created.ends_with('Z'), "{created}");
    let scopes: Vec<&str> = model["scopes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s.as_str().unwrap())
        .collect();
    assert!(
        scopes.contains(&"servers!user=ada") && scopes.is_sorted(),
        "{scopes:?}"
    );
    assert_eq!(model.as_object().unwrap().len(), 14, "{model}");

    let same = ada.api("GET", "/users/ada", None).await.json();
    assert_eq!(same.as_object().unwrap().len(), 11, "{same}");
}

#[tokio::test]
async fn the_root_sees_states_and_auth_states() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut root = site.user("root").await;
    root.api("POST", "/users/ada/server", None).await;
    let model = root.api("GET", "/users/ada", None).await.json();
    assert_eq!(model["auth_state"], Value::Null);
    let server = &model["servers"][""];
    assert!(server["state"].is_object(), "{server}");
    assert_eq!(
        root.api("GET", "/user", None).await.json()["roles"],
        json!(["admin", "user"])
    );
}

#[tokio::test]
async fn a_token_is_found_however_its_scheme_is_written() {
    let site = Site::new().await;
    let mut bob = site.user("bob").await;
    site.user("ada").await;
    let token = site.token("ada", &["inherit"]).await;
    for scheme in ["token", "Token", "BEARER", "bearer"] {
        let value = format!("{scheme} {token}");
        let headers = [("authorization", value.as_str())];
        let answer = site.send("GET", "/hub/api/user", &headers, "").await;
        assert_eq!(answer.json()["name"], "ada", "{scheme}");
        // The token comes first, the cookie if it is bad.
        assert_eq!(
            bob.send("GET", "/hub/api/user", &headers, "").await.json()["name"],
            "ada"
        );
    }
    let answer = bob
        .send(
            "GET",
            "/hub/api/user",
            &[("authorization", "token nonsense")],
            "",
        )
        .await;
    assert_eq!(answer.json()["name"], "bob");
    let answer = site.call("GET", "/hub/api/user", &token, None).await.json();
    assert!(
        answer["token_id"].as_str().unwrap().starts_with('a'),
        "{answer}"
    );
}

#[tokio::test]
async fn info_names_this_program_with_the_keys_of_jupyterhub() {
    let site = Site::new().await;
    let info = site
        .user("root")
        .await
        .api("GET", "/info", None)
        .await
        .json();
    assert_eq!(info["version"], "6.1.1");
    assert!(info["python"].as_str().unwrap().starts_with("Lyceum"));
    assert!(info["sys_executable"].is_string());
    for part in ["spawner", "authenticator"] {
        assert_eq!(info[part]["class"], "lyceum.fake");
        assert!(info[part]["version"].is_string());
    }
}

#[tokio::test]
async fn activity_is_taken_and_mistakes_are_named() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.api("POST", "/users/ada/server", None).await;
    let now = "2026-01-01T00:00:00Z";
    for (body, status) in [
        (json!({"last_activity": now}), 200),
        (json!({"last_activity": "2026-01-01T00:00:00"}), 200),
        (json!({"servers": {"": {"last_activity": now}}}), 200),
        (
            json!({"last_activity": now, "servers": {"": {"last_activity": now}}, "x": 1}),
            200,
        ),
        (json!({}), 400),
        (json!([]), 400),
        (json!(null), 400),
        (json!("x"), 400),
        (json!({"last_activity": null}), 400),
        (json!({"last_activity": "yesterday"}), 400),
        (json!({"last_activity": 12}), 400),
        (json!({"last_activity": "2999-01-01T00:00:00Z"}), 400),
        (json!({"servers": {}}), 400),
        (json!({"servers": []}), 400),
        (json!({"servers": {"": {}}}), 400),
        (json!({"servers": {"": null}}), 400),
        (json!({"servers": {"none": {"last_activity": now}}}), 400),
        (json!({"servers": {"..": {"last_activity": now}}}), 400),
    ] {
        let answer = ada
            .api("POST", "/users/ada/activity", Some(body.clone()))
            .await;
        if status == 200 {
            assert_eq!(
                (answer.status, answer.body.len()),
                (200, 0),
                "{body}: {}",
                answer.text()
            );
        } else {
            answer.assert_api_error(status);
            assert!(answer.json()["message"].is_string(), "{body}");
        }
    }
    ada.api("POST", "/users/ada/activity", None)
        .await
        .assert_api_error(400);
}

#[tokio::test]
async fn activity_moves_only_forward() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let seen = |model: Value| model["last_activity"].as_str().map(str::to_owned);
    let token = site
        .token("ada", &["users:activity!user", "read:users:activity!user"])
        .await;
    let before = seen(ada.api("GET", "/users/ada", None).await.json());
    let old = json!({"last_activity": "2001-01-01T00:00:00Z"});
    let answer = site
        .call("POST", "/hub/api/users/ada/activity", &token, Some(old))
        .await;
    assert_eq!(answer.status, 200);
    assert!(seen(ada.api("GET", "/users/ada", None).await.json()) >= before);
}
