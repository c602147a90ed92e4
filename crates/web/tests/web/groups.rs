//! `/hub/api/groups`: groups, their members and properties, and who may.

use serde_json::{Value, json};

use crate::support::{Answer, Site};

/// A hub with root, ada and bob, and root's token.
async fn site() -> (Site, String) {
    let site = Site::new().await;
    site.user("root").await;
    let root = site.token("root", &["inherit"]).await;
    let body = json!({"usernames": ["ada", "bob"]});
    let answer = site.call("POST", "/hub/api/users", &root, Some(body)).await;
    assert_eq!(answer.status, 201);
    (site, root)
}

async fn get(site: &Site, token: &str, path: &str) -> Answer {
    site.call("GET", &format!("/hub/api/groups{path}"), token, None)
        .await
}

#[tokio::test]
async fn a_group_is_made_filled_emptied_and_deleted() {
    let (site, root) = site().await;
    let call = async |method: &str, path: &str, body: Option<Value>| {
        let path = format!("/hub/api/groups{path}");
        site.call(method, &path, &root, body).await
    };
    let made = call("POST", "/poets", Some(json!({"users": ["Ada"]}))).await;
    let model = json!({
        "kind": "group", "name": "poets", "roles": [], "users": ["ada"], "properties": {},
    });
    assert_eq!((made.status, made.json()), (201, model.clone()));
    call("POST", "/poets", None).await.assert_api_error(409);
    assert_eq!(
        call("POST", "/empty", None).await.json()["users"],
        json!([])
    );

    let both = call(
        "POST",
        "/poets/users",
        Some(json!({"users": ["bob", "ada"]})),
    )
    .await;
    assert_eq!(
        (both.status, &both.json()["users"]),
        (200, &json!(["ada", "bob"]))
    );
    let left = call("DELETE", "/poets/users", Some(json!({"users": ["ada"]}))).await;
    assert_eq!((left.status, &left.json()["users"]), (200, &json!(["bob"])));
    let again = call("DELETE", "/poets/users", Some(json!({"users": ["ada"]}))).await;
    assert_eq!(again.json()["users"], json!(["bob"]));
    let bob = site
        .call("GET", "/hub/api/users/bob", &root, None)
        .await
        .json();
    assert_eq!(bob["groups"], json!(["poets"]));

    let properties = json!({"quota": {"cpu": 2}, "note": "ä"});
    let set = call("PUT", "/poets/properties", Some(properties.clone())).await;
    assert_eq!((set.status, &set.json()["properties"]), (200, &properties));
    call("PUT", "/poets/properties", Some(json!({}))).await;
    assert_eq!(
        get(&site, &root, "/poets").await.json()["properties"],
        json!({})
    );

    let deleted = call("DELETE", "/poets", None).await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    call("DELETE", "/poets", None).await.assert_api_error(404);
    get(&site, &root, "/poets").await.assert_api_error(404);
    let bob = site
        .call("GET", "/hub/api/users/bob", &root, None)
        .await
        .json();
    assert_eq!(bob["groups"], json!([]));
}

#[tokio::test]
async fn groups_are_created_together_or_not_at_all() {
    let (site, root) = site().await;
    let post = async |body: Value| {
        site.call("POST", "/hub/api/groups", &root, Some(body))
            .await
    };
    let made = post(json!({"groups": ["b", "a"], "users": ["ada"]})).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(
        (&made.json()[0]["name"], &made.json()[1]["users"]),
        (&json!("b"), &json!(["ada"]))
    );
    for (body, status) in [
        (json!({"groups": ["new", "a"]}), 409),
        (json!({"groups": ["new", "new"]}), 409),
        (json!({"groups": ["new"], "users": ["nobody"]}), 400),
        (json!({"groups": ["new"], "users": ["a/b"]}), 400),
        (json!({"groups": ["new"], "users": "ada"}), 400),
        (json!({"groups": ["new"], "users": [1]}), 400),
        (json!({"groups": ["new", ""]}), 400),
        (json!({"groups": ["new", ".."]}), 400),
        (json!({"groups": ["new", 1]}), 400),
        (json!({"groups": ["new"], "properties": {}}), 400),
        (json!({"groups": []}), 400),
        (json!({"groups": "new"}), 400),
        (json!({}), 400),
        (json!([]), 400),
        (json!(null), 400),
    ] {
        post(body.clone()).await.assert_api_error(status);
    }
    let list = get(&site, &root, "").await.json();
    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["name"])
        .collect();
    assert_eq!(names, ["b", "a"]);
}

#[tokio::test]
async fn mistakes_are_named_and_change_nothing() {
    let (site, root) = site().await;
    site.call("POST", "/hub/api/groups/poets", &root, None)
        .await;
    let users = "/hub/api/groups/poets/users";
    let properties = "/hub/api/groups/poets/properties";
    for (method, path, body) in [
        ("POST", users, json!({})),
        ("POST", users, json!({"users": ["ada", "nobody"]})),
        ("POST", users, json!({"users": ["ada", null]})),
        ("POST", users, json!({"users": [" ada"]})),
        ("POST", users, json!({"users": {"ada": 1}})),
        ("POST", users, json!({"users": ["ada"], "x": 1})),
        ("POST", users, json!(["ada"])),
        ("POST", users, json!(null)),
        ("DELETE", users, json!({"users": ["nobody"]})),
        ("DELETE", users, json!({})),
        ("PUT", properties, json!([])),
        ("PUT", properties, json!("x")),
        ("PUT", properties, json!(null)),
        ("POST", "/hub/api/groups/new", json!({"users": ["nobody"]})),
        ("POST", "/hub/api/groups/new", json!({"x": 1})),
        ("POST", "/hub/api/groups/new", json!([])),
        ("POST", "/hub/api/groups/a%2Fb", json!({})),
        ("POST", "/hub/api/groups/%2E.", json!({})),
    ] {
        let answer = site.call(method, path, &root, Some(body.clone())).await;
        answer.assert_api_error(400);
        assert!(
            answer.json()["message"].is_string(),
            "{method} {path} {body}"
        );
    }
    for (method, path) in [("POST", users), ("DELETE", users), ("PUT", properties)] {
        site.call(method, path, &root, None)
            .await
            .assert_api_error(400);
    }
    let poets = get(&site, &root, "/poets").await.json();
    assert_eq!(
        (&poets["users"], &poets["properties"]),
        (&json!([]), &json!({}))
    );
    get(&site, &root, "/new").await.assert_api_error(404);
    // Properties are stored, so they must be small.
    let large = json!({"text": "x".repeat(256 << 10)});
    site.call("PUT", properties, &root, Some(large))
        .await
        .assert_api_error(413);
}

#[tokio::test]
async fn groups_come_in_pages_and_as_far_as_scopes_name_them() {
    let (site, root) = site().await;
    let body = json!({"groups": ["a", "b", "c"], "users": ["ada"]});
    site.call("POST", "/hub/api/groups", &root, Some(body))
        .await;
    let page = async |token: &str, query: &str| {
        let authorization = format!("token {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("accept", "application/jupyterhub-pagination+json"),
        ];
        site.send("GET", &format!("/hub/api/groups{query}"), &headers, "")
            .await
    };
    let first = page(&root, "?limit=2").await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["_pagination"]["total"], 3);
    let url = "http://hub.example/hub/api/groups?offset=2&limit=2";
    assert_eq!(first["_pagination"]["next"]["url"], url);

    let one = site.token("root", &["list:groups!group=b"]).await;
    let only = page(&one, "").await.json();
    assert_eq!(only["items"], json!([{"kind": "group", "name": "b"}]));
    assert_eq!(only["_pagination"]["total"], 1);
    for (scopes, keys) in [
        (
            &["list:groups", "read:groups"][..],
            &["kind", "name", "properties", "users"][..],
        ),
        (&["list:groups", "read:groups!group=b"], &["kind", "name"]),
        (
            &["list:groups", "read:roles:groups"],
            &["kind", "name", "roles"],
        ),
    ] {
        let token = site.token("root", scopes).await;
        let list = page(&token, "").await.json();
        let first = list["items"][0].as_object().unwrap();
        assert_eq!(first.keys().collect::<Vec<_>>(), keys, "{scopes:?}");
    }
    for scope in [
        "list:groups!user=ada",
        "list:groups!server=ada/",
        "read:groups",
        "list:users",
    ] {
        let token = site.token("root", &[scope]).await;
        page(&token, "").await.assert_api_error(403);
    }
}

#[tokio::test]
async fn who_may_not_is_told_nothing() {
    let (site, root) = site().await;
    let body = json!({"groups": ["mine", "other"]});
    site.call("POST", "/hub/api/groups", &root, Some(body))
        .await;
    let ada = site.token("ada", &["inherit"]).await;
    let mine = site.token("root", &["admin:groups!group=mine"]).await;
    let members = site.token("root", &["groups!group=mine"]).await;
    let reader = site.token("root", &["read:groups!group=mine"]).await;
    for (method, path) in [
        ("GET", "/hub/api/groups"),
        ("POST", "/hub/api/groups"),
        ("GET", "/hub/api/groups/mine"),
        ("POST", "/hub/api/groups/mine"),
        ("DELETE", "/hub/api/groups/mine"),
        ("POST", "/hub/api/groups/mine/users"),
        ("DELETE", "/hub/api/groups/mine/users"),
        ("PUT", "/hub/api/groups/mine/properties"),
    ] {
        site.send(method, path, &[], "{}")
            .await
            .assert_api_error(403);
        site.call(method, path, &ada, Some(json!({})))
            .await
            .assert_api_error(403);
        // What a filter does not name might as well not be there.
        let other = path.replace("mine", "other");
        let nobody = path.replace("mine", "nobody");
        for path in [other, nobody] {
            let answer = site.call(method, &path, &mine, Some(json!({}))).await;
            let status = if !path.ends_with("/groups") {
                404
            } else if method == "GET" {
                200
            } else {
                403
            };
            assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        }
    }
    let add = || Some(json!({"users": ["ada"]}));
    for (method, path, token, body, status) in [
        ("GET", "/hub/api/groups/mine", &reader, None, 200),
        ("POST", "/hub/api/groups/mine/users", &reader, add(), 403),
        (
            "PUT",
            "/hub/api/groups/mine/properties",
            &reader,
            add(),
            403,
        ),
        ("POST", "/hub/api/groups/mine/users", &members, add(), 200),
        ("DELETE", "/hub/api/groups/mine", &members, None, 403),
        ("POST", "/hub/api/groups/mine", &members, None, 403),
        ("POST", "/hub/api/groups/mine", &mine, None, 409),
        ("DELETE", "/hub/api/groups/mine", &mine, None, 204),
        ("POST", "/hub/api/groups/mine", &mine, None, 201),
    ] {
        let answer = site.call(method, path, token, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}
