//! Shares by the API: who may, what is wrong, what is listed, and what they open.
//!
//! The statuses are those that JupyterHub 6.1.1 gave to the same requests.

use lyceum_core::{GroupName, ServerName, UserName};
use lyceum_store::Store;
use serde_json::{Value, json};

use crate::support::{Answer, Site};

/// ada has the default server and `lab`; kim is in the group `class`; nothing is shared.
pub(crate) async fn classroom() -> Site {
    let site = Site::with(|settings| settings.allow_named_servers = true).await;
    for name in ["ada", "bob", "kim", "root"] {
        site.user(name).await;
    }
    let ada = site.store.get_user(&user_name("ada")).await.unwrap();
    let kim = site.store.get_user(&user_name("kim")).await.unwrap();
    let mut tx = site.store.begin().await.unwrap();
    for name in ["", "lab"] {
        let name = ServerName::parse(name).unwrap();
        tx.ensure_server(ada.id, &name, ada.created).await.unwrap();
    }
    let class = tx.create_group(&group_name("class")).await.unwrap();
    tx.add_member(class.id, kim.id).await.unwrap();
    tx.commit().await.unwrap();
    site
}

pub(crate) fn user_name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn group_name(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

/// A program with these scopes, and no others but to know that it is root's.
async fn holder(site: &Site, scopes: &[&str]) -> String {
    site.token("root", scopes).await
}

async fn call(site: &Site, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    site.call(method, &format!("/hub/api{path}"), token, body)
        .await
}

/// An administrator shares.
async fn grant(site: &Site, path: &str, body: Value) -> Value {
    let root = site.token("root", &["inherit"]).await;
    let answer = call(site, &root, "POST", path, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn items(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_share_is_told_as_in_jupyterhub() {
    let site = classroom().await;
    let share = grant(&site, "/shares/ada/", json!({"user": "bob"})).await;
    assert!(share["created_at"].as_str().unwrap().ends_with('Z'));
    let mut expected = json!({
        "server": {"user": {"name": "ada"}, "name": "", "url": "/user/ada/", "full_url": null, "ready": false},
        "scopes": ["access:servers!server=ada/"],
        "user": {"name": "bob"},
        "group": null,
        "kind": "user",
        "created_at": share["created_at"],
    });
    assert_eq!(share, expected);

    let share = grant(
        &site,
        "/shares/ada/lab",
        json!({"group": "class", "scopes": ["servers!server=ada/lab", "access:servers"]}),
    )
    .await;
    expected["server"]["name"] = json!("lab");
    expected["server"]["url"] = json!("/user/ada/lab/");
    expected["scopes"] = json!(["access:servers!server=ada/lab", "servers!server=ada/lab"]);
    expected["user"] = Value::Null;
    expected["group"] = json!({"name": "class"});
    expected["kind"] = json!("group");
    expected["created_at"] = share["created_at"].clone();
    assert_eq!(share, expected);

    // A second one widens the first.
    let wider = json!({"user": "bob", "scopes": ["read:servers"]});
    let share = grant(&site, "/shares/ada/", wider).await;
    assert_eq!(
        share["scopes"],
        json!(["access:servers!server=ada/", "read:servers!server=ada/"])
    );
    let mut root = site.user("root").await;
    root.api("POST", "/users/ada/server", None).await;
    let token = site.token("root", &["inherit"]).await;
    let found = items(&call(&site, &token, "GET", "/shares/ada/", None).await);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["server"]["ready"], true);
}

#[tokio::test]
async fn a_default_server_that_never_ran_can_be_shared() {
    let site = classroom().await;
    let root = site.token("root", &["inherit"]).await;
    for path in ["/shares/bob/", "/share-codes/bob/"] {
        let list = items(&call(&site, &root, "GET", path, None).await);
        assert_eq!(list, Vec::<Value>::new());
        let answer = call(&site, &root, "DELETE", path, None).await;
        assert_eq!(answer.status, 204);
    }
    let body = json!({"user": "ada"});
    let answer = call(&site, &root, "PATCH", "/shares/bob/", Some(body.clone())).await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    let share = grant(&site, "/shares/bob/", body).await;
    assert_eq!(share["server"]["url"], "/user/bob/");
}

#[tokio::test]
async fn who_may_share_and_with_whom() {
    let site = classroom().await;
    let (bob, class) = (json!({"user": "bob"}), json!({"group": "class"}));
    let access = json!({"user": "bob", "scopes": ["access:servers!server=ada/"]});
    let read = json!({"user": "bob", "scopes": ["read:servers"]});
    for (scopes, body, status) in [
        (&["shares", "read:users:name"][..], &bob, 200),
        (&["shares!user=ada", "read:users:name!user=bob"], &bob, 200),
        (
            &["shares!server=ada/", "read:users:name!user=bob"],
            &access,
            200,
        ),
        (&["shares", "list:groups"], &class, 200),
        (&["shares", "read:groups:name!group=class"], &class, 200),
        // May not even know whom they name.
        (&["shares"], &bob, 403),
        (&["shares", "read:users:name!user=kim"], &bob, 403),
        (&["shares", "read:groups:name!group=other"], &class, 403),
        (
            &["shares", "read:users:name"],
            &json!({"user": "nobody"}),
            400,
        ),
        (
            &["shares", "read:users:name!user=bob"],
            &json!({"user": "nobody"}),
            403,
        ),
        (&["shares", "list:groups"], &json!({"group": "nobody"}), 400),
        // May not give what they do not have.
        (&["shares", "read:users:name"], &read, 403),
        (
            &["shares", "read:users:name", "servers!server=ada/"],
            &read,
            200,
        ),
        (
            &["shares", "read:users:name", "servers!server=ada/lab"],
            &read,
            403,
        ),
        // May not share, or only something else.
        (
            &["read:shares", "users:shares", "read:users:name"],
            &bob,
            403,
        ),
        (&["shares!user=bob", "read:users:name"], &bob, 404),
        (&["shares!server=ada/lab", "read:users:name"], &bob, 404),
    ] {
        let token = holder(&site, scopes).await;
        let answer = call(&site, &token, "POST", "/shares/ada/", Some(body.clone())).await;
        assert_eq!(
            answer.status,
            status,
            "{scopes:?} {body}: {}",
            answer.text()
        );
        if status >= 400 {
            answer.assert_api_error(status);
        }
    }
}

#[tokio::test]
async fn an_owner_sees_shares_but_does_not_share_without_the_right_to() {
    let site = classroom().await;
    grant(&site, "/shares/ada/", json!({"user": "bob"})).await;
    let mut ada = site.user("ada").await;
    assert_eq!(items(&ada.api("GET", "/shares/ada", None).await).len(), 1);
    assert_eq!(items(&ada.api("GET", "/shares/ada/", None).await).len(), 1);
    for (method, path) in [
        ("POST", "/shares/ada/"),
        ("PATCH", "/shares/ada/"),
        ("DELETE", "/shares/ada/"),
        ("POST", "/share-codes/ada/"),
        ("DELETE", "/share-codes/ada/"),
    ] {
        let answer = ada.api(method, path, Some(json!({"user": "bob"}))).await;
        answer.assert_api_error(403);
    }
    let mut kim = site.user("kim").await;
    for path in [
        "/shares/ada",
        "/shares/ada/",
        "/share-codes/ada",
        "/users/bob/shared",
    ] {
        kim.api("GET", path, None).await.assert_api_error(404);
    }
    kim.api("GET", "/groups/class/shared", None)
        .await
        .assert_api_error(403);
}

#[tokio::test]
async fn mistakes_are_named_and_change_nothing() {
    let site = classroom().await;
    let root = site.token("root", &["inherit"]).await;
    let shares = "/shares/ada/";
    for (path, body, status) in [
        (shares, json!({}), 400),
        (shares, json!([]), 400),
        (shares, json!(null), 400),
        (shares, json!([1]), 400),
        (shares, json!("bob"), 400),
        (shares, json!({"user": "bob", "group": "class"}), 400),
        (shares, json!({"user": "bob", "expires_in": 100}), 400),
        (shares, json!({"user": 1}), 400),
        (shares, json!({"user": ""}), 400),
        (shares, json!({"user": "a/b"}), 400),
        (shares, json!({"user": "BOB"}), 400),
        (
            shares,
            json!({"user": "bob", "scopes": "access:servers"}),
            400,
        ),
        (shares, json!({"user": "bob", "scopes": [1]}), 400),
        (shares, json!({"user": "bob", "scopes": ["nonsense"]}), 400),
        (
            shares,
            json!({"user": "bob", "scopes": ["access:servers", "nonsense!server=ada/"]}),
            400,
        ),
        (
            shares,
            json!({"user": "bob", "scopes": ["access:servers!server"]}),
            400,
        ),
        (
            shares,
            json!({"user": "bob", "scopes": ["access:servers!user=ada"]}),
            400,
        ),
        (
            shares,
            json!({"user": "bob", "scopes": ["access:servers!server=ada/lab"]}),
            400,
        ),
        (shares, json!({"user": "bob", "scopes": ["inherit"]}), 403),
        (shares, json!({"user": "bob", "scopes": ["self"]}), 403),
        ("/shares/ada/nosuch", json!({"user": "bob"}), 404),
        ("/shares/ada/%2e%2e%2f", json!({"user": "bob"}), 404),
        ("/shares/nobody/", json!({"user": "bob"}), 404),
    ] {
        let answer = call(&site, &root, "POST", path, Some(body.clone())).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        answer.assert_api_error(status);
    }
    let broken = site
        .send(
            "POST",
            "/hub/api/shares/ada/",
            &[("authorization", &format!("token {root}"))],
            "{\"user\": ",
        )
        .await;
    broken.assert_api_error(400);
    let all = items(&call(&site, &root, "GET", "/shares/ada", None).await);
    assert_eq!(all, Vec::<Value>::new());
    // Neither name counts if it is empty.
    let share = grant(
        &site,
        shares,
        json!({"user": "", "group": "class", "scopes": []}),
    )
    .await;
    assert_eq!(share["scopes"], json!(["access:servers!server=ada/"]));
}

#[tokio::test]
async fn without_a_server_there_is_only_the_list() {
    let site = classroom().await;
    let root = site.token("root", &["inherit"]).await;
    for path in ["/shares/ada", "/share-codes/ada"] {
        assert_eq!(
            items(&call(&site, &root, "GET", path, None).await),
            Vec::<Value>::new()
        );
        for method in ["POST", "PATCH", "DELETE", "PUT", "HEAD"] {
            let answer = call(&site, &root, method, path, None).await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
        for path in [path.replace("ada", "nobody"), format!("{path}/nosuch")] {
            let answer = call(&site, &root, "GET", &path, None).await;
            answer.assert_api_error(404);
        }
    }
    for path in ["/share-codes/ada/", "/share-codes/ada/lab"] {
        let answer = call(&site, &root, "PATCH", path, None).await;
        answer.assert_api_error(405);
    }
}

#[tokio::test]
async fn permissions_are_taken_back_one_by_one_or_all() {
    let site = classroom().await;
    let shared = json!({"user": "bob", "scopes": ["access:servers", "read:servers", "tokens"]});
    grant(&site, "/shares/ada/", shared).await;
    grant(&site, "/shares/ada/lab", json!({"user": "bob"})).await;
    let token = holder(&site, &["shares!server=ada/"]).await;
    let revoke = async |body: Value| call(&site, &token, "PATCH", "/shares/ada/", Some(body)).await;
    for (scopes, left) in [
        // Written without the filter, or with another, they are not those of the share.
        (json!(["access:servers"]), 3),
        (json!(["access:servers!server=ada/lab"]), 3),
        (json!(["access:servers!user=ada"]), 3),
        (json!(["start:servers!server=ada/"]), 3),
        (
            json!(["tokens!server=ada/", "start:servers!server=ada/"]),
            2,
        ),
        (json!(["read:servers!server=ada/"]), 1),
    ] {
        let answer = revoke(json!({"user": "bob", "scopes": scopes})).await;
        assert_eq!(answer.status, 200);
        let found = answer.json()["scopes"].as_array().unwrap().len();
        assert_eq!(found, left, "{scopes}: {}", answer.text());
    }
    for (body, status) in [
        (json!({}), 400),
        (json!({"user": "bob", "scopes": ["nonsense"]}), 400),
        (
            json!({"user": "bob", "scopes": ["nonsense!server=ada/"]}),
            400,
        ),
        (json!({"user": "bob", "x": 1}), 400),
        (json!([1]), 400),
    ] {
        revoke(body).await.assert_api_error(status);
    }
    // Who has nothing, or does not exist, has nothing afterwards.
    for body in [
        json!({"user": "kim"}),
        json!({"user": "nobody"}),
        json!({"user": "a/b"}),
        json!({"group": "nobody"}),
        json!({"group": "class"}),
        json!({"user": "bob", "scopes": ["access:servers!server=ada/"]}),
        json!({"user": "bob"}),
    ] {
        let answer = revoke(body.clone()).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})), "{body}");
    }
    let answer = call(
        &site,
        &token,
        "PATCH",
        "/shares/ada/lab",
        Some(json!({"user": "bob"})),
    );
    answer.await.assert_api_error(404);
    let root = site.token("root", &["inherit"]).await;
    let left = items(&call(&site, &root, "GET", "/shares/ada", None).await);
    assert_eq!(left.len(), 1);
    for path in ["/shares/ada/nosuch", "/shares/nobody/"] {
        for method in ["PATCH", "DELETE"] {
            let answer = call(&site, &root, method, path, Some(json!({"user": "bob"}))).await;
            answer.assert_api_error(404);
        }
    }
}

#[tokio::test]
async fn all_shares_of_a_server_end_at_once() {
    let site = classroom().await;
    grant(&site, "/shares/ada/", json!({"user": "bob"})).await;
    grant(&site, "/shares/ada/", json!({"group": "class"})).await;
    grant(&site, "/shares/ada/lab", json!({"user": "bob"})).await;
    let other = holder(&site, &["shares!server=ada/lab"]).await;
    let answer = call(&site, &other, "DELETE", "/shares/ada/", None).await;
    answer.assert_api_error(404);
    let token = holder(&site, &["shares!server=ada/"]).await;
    for _ in 0..2 {
        let answer = call(&site, &token, "DELETE", "/shares/ada/", None).await;
        assert_eq!((answer.status, answer.body.len()), (204, 0));
    }
    let root = site.token("root", &["inherit"]).await;
    let left = items(&call(&site, &root, "GET", "/shares/ada", None).await);
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["server"]["name"], "lab");
}

#[tokio::test]
async fn what_is_received_is_listed_and_can_be_given_up() {
    let site = classroom().await;
    grant(&site, "/shares/ada/", json!({"user": "kim"})).await;
    grant(&site, "/shares/ada/", json!({"group": "class"})).await;
    grant(&site, "/shares/ada/lab", json!({"group": "class"})).await;
    let mut kim = site.user("kim").await;
    // With oneself and through the group: told twice.
    let mine = items(&kim.api("GET", "/users/kim/shared", None).await);
    let kinds: Vec<_> = mine
        .iter()
        .map(|share| {
            (
                share["kind"].as_str().unwrap(),
                share["server"]["name"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(kinds, [("user", ""), ("group", ""), ("group", "lab")]);
    let one = kim.api("GET", "/users/kim/shared/ada/", None).await;
    assert_eq!(one.json(), mine[0]);
    for path in [
        "/users/kim/shared/ada",
        "/users/kim/shared/",
        // Through the group only, or not at all.
        "/users/kim/shared/ada/lab",
        "/users/kim/shared/bob/",
        "/users/kim/shared/nobody/",
        "/users/kim/shared/ada/%2f",
        "/users/bob/shared/ada/",
        "/users/nobody/shared",
    ] {
        kim.api("GET", path, None).await.assert_api_error(404);
    }
    kim.api("DELETE", "/users/kim/shared/ada/lab", None)
        .await
        .assert_api_error(404);
    let answer = kim.api("DELETE", "/users/kim/shared/ada/", None).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    kim.api("DELETE", "/users/kim/shared/ada/", None)
        .await
        .assert_api_error(404);
    assert_eq!(
        items(&kim.api("GET", "/users/kim/shared", None).await).len(),
        2
    );

    let path = "/groups/class/shared/ada/lab";
    for (scopes, method, status) in [
        (&["users:shares", "read:groups"][..], "GET", 403),
        (&["read:groups:shares!group=other"], "GET", 404),
        (&["read:groups:shares!group=class"], "GET", 200),
        (&["read:groups:shares!group=class"], "DELETE", 403),
        (&["groups:shares!group=other"], "DELETE", 404),
        (&["groups:shares!group=class"], "DELETE", 204),
        (&["groups:shares!group=class"], "DELETE", 404),
        (&["groups:shares!group=class"], "GET", 404),
    ] {
        let token = holder(&site, scopes).await;
        let answer = call(&site, &token, method, path, None).await;
        assert_eq!(answer.status, status, "{method} with {scopes:?}");
    }
    let root = site.token("root", &["inherit"]).await;
    let left = items(&call(&site, &root, "GET", "/groups/class/shared", None).await);
    assert_eq!(left.len(), 1);
    for path in [
        "/groups/nobody/shared",
        "/groups/nobody/shared/ada/",
        "/groups/class/shared/bob/",
    ] {
        call(&site, &root, "GET", path, None)
            .await
            .assert_api_error(404);
    }
}

#[tokio::test]
async fn long_lists_come_in_pages_and_are_always_wrapped() {
    let site = classroom().await;
    for path in ["/shares/ada/", "/shares/ada/lab"] {
        for body in [json!({"user": "bob"}), json!({"group": "class"})] {
            grant(&site, path, body).await;
        }
    }
    let root = site.token("root", &["inherit"]).await;
    let get = async |query: &str| {
        let answer = call(&site, &root, "GET", &format!("/shares/ada{query}"), None).await;
        (answer.status, answer.json())
    };
    let (_, all) = get("").await;
    assert_eq!(
        all["_pagination"],
        json!({"offset": 0, "limit": 200, "total": 4, "next": null})
    );
    let (_, page) = get("?limit=3").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    assert_eq!(
        page["_pagination"]["next"],
        json!({"offset": 3, "limit": 3, "url": "http://hub.example/hub/api/shares/ada?offset=3&limit=3"})
    );
    let (_, page) = get("?offset=-3&limit=0").await;
    assert_eq!(page["items"], json!([all["items"][3]]));
    assert_eq!(get("?limit=many").await.0, 400);
}

#[tokio::test]
async fn a_share_opens_the_server_until_it_ends() {
    let site = classroom().await;
    let (mut bob, mut kim) = (site.user("bob").await, site.user("kim").await);
    let by_bob = site.token("bob", &["inherit"]).await;
    let by_kim = site.token("kim", &["inherit"]).await;
    let outside = 404;
    let inside = 424;
    let page = "/hub/user/ada/";
    assert_eq!(bob.get(page).await.status, outside);
    assert_eq!(kim.get(page).await.status, outside);

    grant(&site, "/shares/ada/", json!({"user": "bob"})).await;
    grant(&site, "/shares/ada/", json!({"group": "class"})).await;
    for browser in [&mut bob, &mut kim] {
        assert_eq!(browser.get(page).await.status, inside);
        assert_eq!(browser.get("/hub/user/ada/lab/").await.status, outside);
        // It is not theirs to start, nor to read about.
        browser.get("/hub/spawn/ada").await.assert_page(404);
        browser
            .api("GET", "/users/ada/server", None)
            .await
            .assert_api_error(404);
    }
    for token in [&by_bob, &by_kim] {
        let who = call(&site, token, "GET", "/user", None).await.json();
        let scopes = who["scopes"].as_array().unwrap();
        assert!(
            scopes.contains(&json!("access:servers!server=ada/")),
            "{who}"
        );
    }

    let root = site.token("root", &["inherit"]).await;
    let answer = call(
        &site,
        &root,
        "PATCH",
        "/shares/ada/",
        Some(json!({"user": "bob"})),
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(bob.get(page).await.status, outside);
    assert_eq!(kim.get(page).await.status, inside);
    // Whoever leaves the group leaves its shares.
    let kim_row = site.store.get_user(&user_name("kim")).await.unwrap();
    let class = site.store.get_group(&group_name("class")).await.unwrap();
    let mut tx = site.store.begin().await.unwrap();
    tx.remove_member(class.id, kim_row.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(kim.get(page).await.status, outside);
    for token in [&by_bob, &by_kim] {
        let who = call(&site, token, "GET", "/user", None).await.text();
        assert!(!who.contains("server=ada"), "{who}");
    }
}

#[tokio::test]
async fn more_than_access_can_be_shared_and_reaches_no_other_server() {
    let site = classroom().await;
    let shared = json!({"user": "bob", "scopes": ["access:servers", "servers"]});
    grant(&site, "/shares/ada/lab", shared).await;
    let mut bob = site.user("bob").await;
    let model = bob.api("GET", "/users/ada/servers/lab", None).await;
    assert_eq!(model.status, 200);
    assert_eq!(
        bob.api("POST", "/users/ada/servers/lab", None).await.status,
        201
    );
    assert_eq!(
        bob.api("DELETE", "/users/ada/servers/lab", None)
            .await
            .status,
        204
    );
    for path in ["/users/ada/server", "/users/ada/servers/other"] {
        for method in ["GET", "POST", "DELETE"] {
            bob.api(method, path, None).await.assert_api_error(404);
        }
    }
    bob.api(
        "POST",
        "/users/ada/activity",
        Some(json!({"last_activity": "2026-01-01T00:00:00Z"})),
    )
    .await
    .assert_api_error(404);
}

#[tokio::test]
async fn shares_follow_new_names() {
    let site = classroom().await;
    grant(&site, "/shares/ada/lab", json!({"user": "bob"})).await;
    rename(&site.store, "ada", "lab").await;
    let mut bob = site.user("bob").await;
    let mine = items(&bob.api("GET", "/users/bob/shared", None).await);
    assert_eq!(mine[0]["server"]["url"], "/user/lovelace/engine/");
    assert_eq!(
        mine[0]["scopes"],
        json!(["access:servers!server=lovelace/engine"])
    );
    assert_eq!(bob.get("/hub/user/lovelace/engine/").await.status, 424);
    assert_eq!(bob.get("/hub/user/ada/lab/").await.status, 404);
    let one = bob
        .api("GET", "/users/bob/shared/lovelace/engine", None)
        .await;
    assert_eq!(one.status, 200);
}

/// Gives a user and one of their servers other names.
async fn rename(store: &Store, user: &str, server: &str) {
    let user = store.get_user(&user_name(user)).await.unwrap();
    let server = ServerName::parse(server).unwrap();
    let server = store.find_server(user.id, &server).await.unwrap().unwrap();
    let mut tx = store.begin().await.unwrap();
    tx.rename_user(user.id, &user_name("lovelace"))
        .await
        .unwrap();
    let name = ServerName::parse("engine").unwrap();
    tx.rename_server(server.id, &name).await.unwrap();
    tx.commit().await.unwrap();
}
