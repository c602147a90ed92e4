//! `/hub/api/users`: lists in pages, creation, change, deletion, and who may.

use std::time::Duration;

use lyceum_core::{GroupName, UserName};
use lyceum_store::{NewRole, RoleHolder};
use serde_json::{Value, json};

use crate::support::{Answer, Mood, Site};

const PAGES: (&str, &str) = ("accept", "application/jupyterhub-pagination+json");

/// A hub with root, an administrator, and root's token, which may do everything.
async fn site() -> (Site, String) {
    site_with(|_| {}).await
}

async fn site_with(change: impl FnOnce(&mut lyceum_hub::HubSettings)) -> (Site, String) {
    let site = Site::with(change).await;
    site.user("root").await;
    let token = site.token("root", &["inherit"]).await;
    (site, token)
}

async fn create(site: &Site, token: &str, names: &[&str]) {
    let body = json!({ "usernames": names });
    let answer = site.call("POST", "/hub/api/users", token, Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Asks for a page, as a client that knows of pages.
async fn page(site: &Site, token: &str, query: &str) -> Answer {
    let authorization = format!("token {token}");
    let headers = [("authorization", authorization.as_str()), PAGES];
    site.send("GET", &format!("/hub/api/users{query}"), &headers, "")
        .await
}

/// The names in a list, wrapped or not.
fn names(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    let items = if body.is_array() {
        &body
    } else {
        &body["items"]
    };
    items
        .as_array()
        .unwrap()
        .iter()
        .map(|user| user["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Makes a user hold these scopes by a role of their own; they are no administrator.
async fn grant(site: &Site, user: &str, scopes: &[&str]) {
    let name = UserName::parse(user).unwrap();
    let user = site.store.get_user(&name).await.unwrap();
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let mut tx = site.store.begin().await.unwrap();
    let role = NewRole {
        name: &format!("of-{name}"),
        description: "",
        scopes: &scopes,
        managed_by_auth: false,
    };
    let role = tx.upsert_role(role).await.unwrap();
    tx.grant_role(role.id, RoleHolder::User(user.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn add_to_group(site: &Site, user: &str, group: &str) {
    let user = UserName::parse(user).unwrap();
    let user = site.store.get_user(&user).await.unwrap();
    let group = GroupName::parse(group).unwrap();
    let mut tx = site.store.begin().await.unwrap();
    let group = match tx.find_group(&group).await.unwrap() {
        Some(group) => group,
        None => tx.create_group(&group).await.unwrap(),
    };
    tx.add_member(group.id, user.id).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_list_comes_in_pages_for_those_who_know_of_them() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob", "eve", "mia"]).await;
    let first = page(&site, &root, "?limit=2&name_filter=&x=a%20b").await;
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(names(&first), ["root", "ada"]);
    let pagination = &first.json()["_pagination"];
    let url = "http://hub.example/hub/api/users?name_filter=&x=a+b&offset=2&limit=2";
    assert_eq!(
        *pagination,
        json!({"offset": 0, "limit": 2, "total": 5, "next": {"offset": 2, "limit": 2, "url": url}})
    );
    let next = url
        .strip_prefix("http://hub.example/hub/api/users")
        .unwrap();
    assert_eq!(names(&page(&site, &root, next).await), ["bob", "eve"]);
    let last = page(&site, &root, "?limit=2&offset=4").await;
    assert_eq!(names(&last), ["mia"]);
    assert_eq!(last.json()["_pagination"]["next"], Value::Null);
    // Just at the end, and beyond it.
    for query in [
        "?limit=1&offset=4",
        "?limit=2&offset=5",
        "?offset=999999999999999999999",
    ] {
        let answer = page(&site, &root, query).await.json();
        assert_eq!(answer["_pagination"]["next"], Value::Null, "{query}");
        assert_eq!(answer["_pagination"]["total"], 5, "{query}");
    }
    // Who does not know of pages gets a bare list.
    let bare = site
        .call("GET", "/hub/api/users?limit=2", &root, None)
        .await;
    assert_eq!(bare.json().as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_next_page_is_where_the_client_found_this_one() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob"]).await;
    let authorization = format!("token {root}");
    let headers = [
        ("authorization", authorization.as_str()),
        (
            "accept",
            "text/html, APPLICATION/jupyterhub-pagination+json",
        ),
        ("host", "127.0.0.1:8081"),
    ];
    let answer = site
        .send_to_api("GET", "/hub/api/users?limit=1", &headers)
        .await;
    let url = &answer.json()["_pagination"]["next"]["url"];
    assert_eq!(url, "http://127.0.0.1:8081/hub/api/users?offset=1&limit=1");
    let path = url
        .as_str()
        .unwrap()
        .strip_prefix("http://127.0.0.1:8081")
        .unwrap();
    let answer = site.send_to_api("GET", path, &headers).await;
    assert_eq!(names(&answer), ["ada"]);
}

#[tokio::test]
async fn limits_are_kept_and_signs_dropped() {
    let (site, root) = site_with(|settings| {
        settings.api_page_default_limit = 2;
        settings.api_page_max_limit = 3;
    })
    .await;
    create(&site, &root, &["a", "b", "c", "d", "e"]).await;
    for (query, offset, limit) in [
        ("", 0, 2),
        ("?limit=3", 0, 3),
        ("?limit=4", 0, 3),
        ("?limit=0", 0, 1),
        ("?limit=-3&offset=-1", 1, 3),
        ("?limit=%202%20", 0, 2),
        ("?limit=1&limit=2", 0, 2),
        ("?limit=99999999999999999999", 0, 3),
    ] {
        let answer = page(&site, &root, query).await;
        let pagination = &answer.json()["_pagination"];
        assert_eq!(
            (&pagination["offset"], &pagination["limit"]),
            (&json!(offset), &json!(limit)),
            "{query}"
        );
    }
    for query in [
        "?limit=",
        "?limit=two",
        "?offset=1.5",
        "?offset=--1",
        "?limit=1e1",
    ] {
        page(&site, &root, query).await.assert_api_error(400);
    }
    // Without pages: the most there may be.
    let bare = site.call("GET", "/hub/api/users", &root, None).await;
    assert_eq!(bare.json().as_array().unwrap().len(), 3);
    // A weighted type is another text.
    let authorization = format!("token {root}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("accept", "application/jupyterhub-pagination+json;q=1"),
    ];
    let answer = site.send("GET", "/hub/api/users", &headers, "").await;
    assert!(answer.json().is_array());
}

#[tokio::test]
async fn users_are_found_by_name_and_sorted() {
    let (site, root) = site().await;
    create(&site, &root, &["bob", "a_b", "axb", "a%b"]).await;
    let list = async |query: &str| names(&page(&site, &root, query).await);
    assert_eq!(list("?name_filter=_").await, ["a_b"]);
    assert_eq!(list("?name_filter=%25").await, ["a%b"]);
    assert_eq!(list("?name_filter=B").await, ["bob", "a_b", "axb", "a%b"]);
    assert_eq!(
        list("?name_filter=b&sort=name").await,
        ["a%b", "a_b", "axb", "bob"]
    );
    assert_eq!(list("?sort=-id&limit=2").await, ["a%b", "axb"]);
    // A report is answered when it is written, and with it that root was seen.
    let body = json!({"last_activity": "2001-01-01T00:00:00Z"});
    let path = "/hub/api/users/axb/activity";
    let report = site.call("POST", path, &root, Some(body)).await;
    assert_eq!(report.status, 200);
    let never = ["bob", "a_b", "a%b"];
    let ascending = list("?sort=last_activity").await;
    assert_eq!(ascending[..3], never);
    assert_eq!(ascending[3..], ["axb", "root"]);
    let descending = list("?sort=-last_activity").await;
    assert_eq!(descending[..2], ["root", "axb"]);
    assert!(descending[2..].iter().rev().eq(never.iter()));
    for sort in ["admin", "--id", "-", "Name", ""] {
        page(&site, &root, &format!("?sort={sort}"))
            .await
            .assert_api_error(400);
    }
}

#[tokio::test]
async fn users_are_found_by_what_their_servers_do() {
    let brief = Duration::from_secs(2);
    let (site, root) = site_with(|settings| settings.slow_spawn_timeout = brief).await;
    create(&site, &root, &["ada", "bob", "eve"]).await;
    let start = site
        .call("POST", "/hub/api/users/ada/server", &root, None)
        .await;
    assert_eq!(start.status, 201);
    site.spawner.set_mood(Mood::Hangs);
    let start = site
        .call("POST", "/hub/api/users/eve/server", &root, None)
        .await;
    assert_eq!(start.status, 202);
    // A start counts as activity, whoever asked for it.
    let ada = site.call("GET", "/hub/api/users/ada", &root, None).await;
    assert!(ada.json()["last_activity"].is_string(), "{}", ada.text());
    let list = async |query: &str| names(&page(&site, &root, query).await);
    assert_eq!(list("?state=active").await, ["ada", "eve"]);
    assert_eq!(list("?state=ready").await, ["ada"]);
    assert_eq!(list("?state=inactive").await, ["root", "bob"]);
    assert_eq!(list("?state=").await.len(), 4);
    // `total` counts what the database chose.
    let ready = page(&site, &root, "?state=ready").await.json();
    assert_eq!(ready["_pagination"]["total"], 2);
    for state in ["Ready", "all", "stopped"] {
        page(&site, &root, &format!("?state={state}"))
            .await
            .assert_api_error(400);
    }
    // A server that was stopped is there, but not active.
    let stop = site
        .call("DELETE", "/hub/api/users/ada/server", &root, None)
        .await;
    assert_eq!(stop.status, 204);
    assert_eq!(list("?state=inactive").await, ["root", "ada", "bob"]);
}

#[tokio::test]
async fn a_list_shows_no_more_than_its_scopes_name() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob", "eve", "mia"]).await;
    add_to_group(&site, "bob", "poets").await;
    add_to_group(&site, "eve", "poets").await;
    for (scopes, expected) in [
        (&["list:users!user=ada"][..], &["ada"][..]),
        (&["list:users!user=ada", "list:users!user=nobody"], &["ada"]),
        (&["list:users!group=poets"], &["bob", "eve"]),
        (
            &["list:users!group=poets", "list:users!user=mia"],
            &["bob", "eve", "mia"],
        ),
        (&["list:users!group=none"], &[]),
        (&["list:users"], &["root", "ada", "bob", "eve", "mia"]),
    ] {
        let token = site.token("root", scopes).await;
        let answer = page(&site, &token, "").await;
        assert_eq!(names(&answer), expected, "{scopes:?}");
        assert_eq!(answer.json()["_pagination"]["total"], expected.len());
    }
    for scopes in [
        &["list:users!server=ada/"][..],
        &["list:users!server=ada/", "list:users!user=ada"],
        &["read:users"],
        &["admin:groups"],
    ] {
        let token = site.token("root", scopes).await;
        page(&site, &token, "").await.assert_api_error(403);
    }
    // Nobody, and an ordinary user.
    site.send("GET", "/hub/api/users", &[], "")
        .await
        .assert_api_error(403);
    let ada = site.token("ada", &["inherit"]).await;
    page(&site, &ada, "").await.assert_api_error(403);
}

#[tokio::test]
async fn each_field_needs_its_scope() {
    let (site, root) = site().await;
    create(&site, &root, &["ada"]).await;
    add_to_group(&site, "ada", "poets").await;
    let name = ["admin", "kind", "name", "user_info"];
    for (scope, more) in [
        ("read:users:name", &[][..]),
        ("read:users:groups", &["groups"]),
        ("read:users:activity", &["last_activity"]),
        ("read:servers", &["servers"]),
        ("read:roles:users", &["roles"]),
        ("admin:auth_state", &["auth_state"]),
        (
            "read:users",
            &[
                "created",
                "groups",
                "last_activity",
                "pending",
                "roles",
                "server",
            ],
        ),
    ] {
        // To be listed shows the name.
        let token = site.token("root", &["list:users", scope]).await;
        let list = site
            .call("GET", "/hub/api/users?name_filter=ada", &token, None)
            .await;
        let model = list.json()[0].clone();
        let keys: Vec<_> = model.as_object().unwrap().keys().cloned().collect();
        let mut expected: Vec<_> = name.iter().chain(more).map(|&key| key.to_owned()).collect();
        expected.sort();
        assert_eq!(keys, expected, "{scope}");
    }
    // One alone shows less of a single user.
    for (scope, expected) in [
        (
            "read:users:groups!user=ada",
            &["groups", "kind", "name"][..],
        ),
        ("read:servers!server=ada/", &["kind", "name"]),
        ("read:users:activity", &["kind", "last_activity", "name"]),
        ("read:roles:users", &["admin", "kind", "name", "roles"]),
    ] {
        let token = site.token("root", &[scope]).await;
        let answer = site.call("GET", "/hub/api/users/ada", &token, None).await;
        if scope.contains("!server") {
            // It names a server, not the user.
            answer.assert_api_error(404);
            continue;
        }
        let model = answer.json();
        let keys: Vec<_> = model.as_object().unwrap().keys().collect();
        assert_eq!(keys, expected, "{scope}");
    }
}

#[tokio::test]
async fn stopped_servers_are_shown_to_those_who_ask() {
    let (site, root) = site_with(|settings| settings.allow_named_servers = true).await;
    create(&site, &root, &["ada"]).await;
    for path in [
        "/hub/api/users/ada/servers/lab",
        "/hub/api/users/ada/server",
    ] {
        let start = site.call("POST", path, &root, None).await;
        assert_eq!(start.status, 201, "{}", start.text());
    }
    site.call("DELETE", "/hub/api/users/ada/servers/lab", &root, None)
        .await;
    let servers = async |path: &str| {
        let answer = site.call("GET", path, &root, None).await.json();
        let model = if answer.is_array() {
            answer[0].clone()
        } else {
            answer
        };
        let servers = model["servers"].as_object().unwrap().clone();
        servers
            .into_iter()
            .map(|(name, model)| (name, model["stopped"].as_bool().unwrap()))
            .collect::<Vec<_>>()
    };
    let (lab, default) = (("lab".to_owned(), true), (String::new(), false));
    for path in [
        "/hub/api/users/ada",
        "/hub/api/users/ada?include_stopped_servers=0",
        "/hub/api/users/ada?include_stopped_servers=False",
        "/hub/api/users?name_filter=ada",
    ] {
        assert_eq!(
            servers(path).await,
            std::slice::from_ref(&default),
            "{path}"
        );
    }
    for path in [
        "/hub/api/users/ada?include_stopped_servers=1",
        "/hub/api/users/ada?include_stopped_servers",
        "/hub/api/users?name_filter=ada&include_stopped_servers=yes",
    ] {
        assert_eq!(
            servers(path).await,
            [default.clone(), lab.clone()],
            "{path}"
        );
    }
}

#[tokio::test]
async fn users_are_created_together_or_not_at_all() {
    let (site, root) = site().await;
    let post = async |body: Value| site.call("POST", "/hub/api/users", &root, Some(body)).await;
    let created = post(json!({"usernames": ["Ada", "bob", "ada"], "admin": true})).await;
    assert_eq!(created.status, 201, "{}", created.text());
    assert_eq!(
        names(&Answer {
            status: 200,
            ..created
        }),
        ["ada", "bob"]
    );
    let ada = site
        .call("GET", "/hub/api/users/ada", &root, None)
        .await
        .json();
    assert_eq!(
        (&ada["admin"], &ada["roles"]),
        (&json!(true), &json!(["admin", "user"]))
    );
    // Who exists is passed over.
    let created = post(json!({"usernames": ["ada", "eve"]})).await;
    assert_eq!(
        (created.status, &created.json()[0]["admin"]),
        (201, &json!(false))
    );
    post(json!({"usernames": ["ada", "eve"]}))
        .await
        .assert_api_error(409);
    for body in [
        json!({"usernames": ["new", "a/b"]}),
        json!({"usernames": ["new", ".."]}),
        json!({"usernames": ["new", "%2e%2E"]}),
        json!({"usernames": ["new", ""]}),
        json!({"usernames": ["new", " ada"]}),
        json!({"usernames": ["new", "x".repeat(256)]}),
        json!({"usernames": ["new", 1]}),
        json!({"usernames": ["new", null]}),
        json!({"usernames": ["new"], "admin": 1}),
        json!({"usernames": ["new"], "admin": null}),
        json!({"usernames": ["new"], "unknown": true}),
        json!({"usernames": "new"}),
        json!({"usernames": []}),
        json!({"names": ["new"]}),
        json!({}),
        json!([]),
        json!(null),
        json!("new"),
    ] {
        let answer = post(body.clone()).await;
        answer.assert_api_error(400);
        assert!(answer.json()["message"].is_string(), "{body}");
    }
    let many: Vec<String> = (0..10_001).map(|number| format!("u{number}")).collect();
    post(json!({ "usernames": many }))
        .await
        .assert_api_error(413);
    site.call("POST", "/hub/api/users", &root, None)
        .await
        .assert_api_error(400);
    site.call("GET", "/hub/api/users/new", &root, None)
        .await
        .assert_api_error(404);
}

#[tokio::test]
async fn one_user_is_created_with_the_name_as_it_is() {
    let (site, root) = site().await;
    let post = async |name: &str, body: Option<Value>| {
        let path = format!("/hub/api/users/{name}");
        site.call("POST", &path, &root, body).await
    };
    let ada = post("Ada", None).await;
    assert_eq!((ada.status, &ada.json()["name"]), (201, &json!("Ada")));
    let bob = post("b%40b", Some(json!({"admin": true}))).await;
    assert_eq!(
        (&bob.json()["name"], &bob.json()["admin"]),
        (&json!("b@b"), &json!(true))
    );
    assert_eq!(post("eve", Some(json!({}))).await.status, 201);
    post("Ada", None).await.assert_api_error(409);
    for name in ["%2E%2e", "a%2Fb", "%20a", "a%0Ab", &"x".repeat(256)] {
        post(name, None).await.assert_api_error(400);
    }
    for body in [
        json!({"admin": "yes"}),
        json!({"x": 1}),
        json!([1]),
        json!("x"),
        json!(true),
    ] {
        post("new", Some(body)).await.assert_api_error(400);
    }
    let answer = site.call("GET", "/hub/api/users/new", &root, None).await;
    answer.assert_api_error(404);
}

#[tokio::test]
async fn a_renamed_user_stays_who_they_are() {
    let (site, root) = site().await;
    let mut ada = site.user("ada").await;
    add_to_group(&site, "ada", "poets").await;
    let token = site.token("ada", &["inherit"]).await;
    let patch = async |name: &str, body: Value| {
        let path = format!("/hub/api/users/{name}");
        site.call("PATCH", &path, &root, Some(body)).await
    };
    // Once it ran, and what it said is not for whoever gets the name next.
    site.spawner.set_mood(Mood::Fails);
    site.call("POST", "/hub/api/users/ada/server", &root, None)
        .await;
    site.spawner.set_mood(Mood::Works);

    let renamed = patch("ada", json!({"name": "Countess"})).await;
    assert_eq!(renamed.status, 200, "{}", renamed.text());
    let model = renamed.json();
    assert_eq!(
        (&model["name"], &model["groups"]),
        (&json!("countess"), &json!(["poets"]))
    );
    assert_eq!(model["auth_state"], Value::Null);
    patch("ada", json!({"admin": true}))
        .await
        .assert_api_error(404);
    // Logins and tokens go on.
    assert_eq!(
        ada.api("GET", "/user", None).await.json()["name"],
        "countess"
    );
    let me = site.call("GET", "/hub/api/user", &token, None).await.json();
    assert_eq!(me["name"], "countess");
    let scopes = me["scopes"].to_string();
    assert!(
        scopes.contains("servers!user=countess") && !scopes.contains("ada"),
        "{scopes}"
    );
    let start = ada.api("POST", "/users/countess/server", None).await;
    assert_eq!(start.status, 201, "{}", start.text());
    assert_eq!(
        site.spawner.last_environment()["JUPYTERHUB_USER"],
        "countess"
    );

    create(&site, &root, &["ada"]).await;
    let fresh = site
        .call("GET", "/hub/api/users/ada/server/progress", &root, None)
        .await;
    fresh.assert_api_error(404);
    // While a server runs, its address holds the name.
    patch("countess", json!({"name": "other"}))
        .await
        .assert_api_error(400);
    for (body, status) in [
        (json!({"name": "countess"}), 200),
        (json!({}), 200),
        (json!({"name": "Countess"}), 400),
        (json!({"name": "ada"}), 400),
        (json!({"name": "a/b"}), 400),
        (json!({"name": ""}), 400),
        (json!({"name": " other"}), 400),
        (json!({"name": null}), 400),
        (json!({"admin": "no"}), 400),
        (json!({"groups": []}), 400),
        (json!({"roles": ["admin"]}), 400),
        (json!({"auth_state": {}}), 400),
        (json!({"auth_state": null}), 400),
        (json!({"created": "2020-01-01"}), 400),
        (json!([]), 400),
        (json!(null), 400),
    ] {
        let answer = patch("countess", body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    site.call("PATCH", "/hub/api/users/countess", &root, None)
        .await
        .assert_api_error(400);
}

#[tokio::test]
async fn only_administrators_make_and_change_administrators() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob"]).await;
    grant(&site, "ada", &["admin:users"]).await;
    let ada = site.token("ada", &["inherit"]).await;
    let call = async |method: &str, path: &str, body: Value| {
        let path = format!("/hub/api/users{path}");
        site.call(method, &path, &ada, Some(body)).await
    };
    // What ada's role lets her do.
    assert_eq!(
        call("POST", "/eve", json!({"admin": false})).await.status,
        201
    );
    assert_eq!(
        call("PATCH", "/bob", json!({"admin": false})).await.status,
        200
    );
    // Everything that has to do with administrators is none of it.
    for (method, path, body) in [
        ("POST", "/new", json!({"admin": true})),
        ("POST", "", json!({"usernames": ["new"], "admin": true})),
        ("PATCH", "/bob", json!({"admin": true})),
        ("PATCH", "/ada", json!({"admin": true})),
        ("PATCH", "/root", json!({"admin": false})),
        ("PATCH", "/root", json!({"name": "ruth"})),
    ] {
        let answer = call(method, path, body).await;
        answer.assert_api_error(403);
        assert!(answer.json()["message"].is_string(), "{method} {path}");
    }
    let root_is = site
        .call("GET", "/hub/api/users/root", &root, None)
        .await
        .json();
    assert_eq!(root_is["admin"], true);
    // An administrator does, with a token that may manage users; it gives bob what goes with it.
    let users_only = site.token("root", &["admin:users"]).await;
    let body = Some(json!({"admin": true}));
    let answer = site
        .call("PATCH", "/hub/api/users/bob", &users_only, body)
        .await;
    assert_eq!(answer.json()["roles"], json!(["admin", "user"]));
    let bob = site.token("bob", &["inherit"]).await;
    assert_eq!(page(&site, &bob, "").await.status, 200);
    let body = Some(json!({"admin": false}));
    site.call("PATCH", "/hub/api/users/bob", &users_only, body)
        .await;
    assert_eq!(page(&site, &bob, "").await.status, 403);
}

#[tokio::test]
async fn a_deleted_user_is_gone_with_servers_logins_and_tokens() {
    let (site, root) = site_with(|settings| settings.allow_named_servers = true).await;
    let mut ada = site.user("ada").await;
    let token = site.token("ada", &["inherit"]).await;
    for path in ["/users/ada/server", "/users/ada/servers/lab"] {
        assert_eq!(ada.api("POST", path, None).await.status, 201);
    }
    let of_server = site.spawner.last_environment()["JUPYTERHUB_API_TOKEN"].clone();
    let deleted = site.call("DELETE", "/hub/api/users/ada", &root, None).await;
    assert_eq!(
        (deleted.status, deleted.body.len()),
        (204, 0),
        "{}",
        deleted.text()
    );
    for token in [&token, &of_server] {
        let answer = site.call("GET", "/hub/api/user", token, None).await;
        answer.assert_api_error(403);
    }
    ada.api("GET", "/user", None).await.assert_api_error(403);
    site.call("DELETE", "/hub/api/users/ada", &root, None)
        .await
        .assert_api_error(404);
    // Somebody new of the same name begins with nothing.
    create(&site, &root, &["ada"]).await;
    let path = "/hub/api/users/ada?include_stopped_servers=1";
    let model = site.call("GET", path, &root, None).await.json();
    assert_eq!(model["servers"], json!({}));
    let progress = site
        .call("GET", "/hub/api/users/ada/server/progress", &root, None)
        .await;
    progress.assert_api_error(404);
}

#[tokio::test]
async fn a_server_that_starts_is_stopped_for_the_deletion_of_its_owner() {
    let brief = Duration::from_millis(50);
    let (site, root) = site_with(|settings| settings.slow_spawn_timeout = brief).await;
    create(&site, &root, &["ada"]).await;
    site.spawner.set_mood(Mood::Hangs);
    let start = site
        .call("POST", "/hub/api/users/ada/server", &root, None)
        .await;
    assert_eq!(start.status, 202);
    let deleted = site.call("DELETE", "/hub/api/users/ada", &root, None).await;
    assert_eq!(deleted.status, 204, "{}", deleted.text());
}

#[tokio::test]
async fn nobody_deletes_themselves_or_without_the_scope() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob"]).await;
    let answer = site
        .call("DELETE", "/hub/api/users/root", &root, None)
        .await;
    answer.assert_api_error(400);
    let ada = site.token("ada", &["inherit"]).await;
    let of_bob = site.token("root", &["delete:users!user=bob"]).await;
    let users = site.token("root", &["users"]).await;
    for (token, name, status) in [
        (&ada, "ada", 403),
        (&ada, "bob", 403),
        (&users, "ada", 403),
        (&of_bob, "ada", 404),
        (&of_bob, "nobody", 404),
        (&of_bob, "bob", 204),
    ] {
        let path = format!("/hub/api/users/{name}");
        let answer = site.call("DELETE", &path, token, None).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn who_may_not_is_told_nothing() {
    let (site, root) = site().await;
    create(&site, &root, &["ada", "bob"]).await;
    let ada = site.token("ada", &["inherit"]).await;
    let of_ada = site.token("root", &["admin:users!user=ada"]).await;
    let body = || Some(json!({}));
    for (method, path, token, status) in [
        ("POST", "/hub/api/users", Some(&ada), 403),
        ("POST", "/hub/api/users", Some(&of_ada), 403),
        ("POST", "/hub/api/users", None, 403),
        ("POST", "/hub/api/users/new", Some(&ada), 403),
        ("POST", "/hub/api/users/new", Some(&of_ada), 404),
        ("POST", "/hub/api/users/ada", Some(&of_ada), 409),
        ("POST", "/hub/api/users/new", None, 403),
        ("PATCH", "/hub/api/users/ada", Some(&ada), 403),
        ("PATCH", "/hub/api/users/ada", Some(&of_ada), 200),
        ("PATCH", "/hub/api/users/bob", Some(&of_ada), 404),
        ("PATCH", "/hub/api/users/nobody", Some(&of_ada), 404),
        ("PATCH", "/hub/api/users/ada", None, 403),
        ("GET", "/hub/api/users/ada", Some(&ada), 200),
        ("GET", "/hub/api/users/bob", Some(&ada), 404),
        ("GET", "/hub/api/users/nobody", Some(&ada), 404),
        ("GET", "/hub/api/users/ada", None, 403),
        ("DELETE", "/hub/api/users/ada", None, 403),
        ("POST", "/hub/api/users/ada/admin-access", Some(&ada), 403),
        ("POST", "/hub/api/users/bob/admin-access", Some(&ada), 404),
        ("POST", "/hub/api/users/ada/admin-access", None, 403),
    ] {
        let answer = match token {
            Some(token) => site.call(method, path, token, body()).await,
            None => site.send(method, path, &[], "{}").await,
        };
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[tokio::test]
async fn pages_of_the_hub_use_the_api_with_their_xsrf_token() {
    let (site, _) = site().await;
    let mut root = site.user("root").await;
    let body = Some(json!({"usernames": ["ada"]}));
    assert_eq!(root.api("POST", "/users", body).await.status, 201);
    let body = Some(json!({"admin": true}));
    assert_eq!(root.api("PATCH", "/users/ada", body).await.status, 200);
    let headers = [
        ("content-type", "application/json"),
        ("sec-fetch-site", "cross-site"),
    ];
    for (method, path) in [("DELETE", "/hub/api/users/ada"), ("POST", "/hub/api/users")] {
        root.send(method, path, &headers, r#"{"usernames": ["x"]}"#)
            .await
            .assert_api_error(403);
    }
    assert_eq!(root.api("DELETE", "/users/ada", None).await.status, 204);
}
