//! `/hub/api/services`: what is told of services, how they are made and deleted, and who may.

use lyceum_core::declared::{Declared, DeclaredRole};
use lyceum_core::scope::{Catalogue, RoleName};
use lyceum_core::service::ServiceDraft;
use lyceum_core::{Secret, ServiceName};
use serde_json::{Value, json};

use crate::support::{Answer, Site};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).unwrap()
}

/// A hub with root and ada, and the services `forum` (with a role) and `wiki` of the configuration; and root's token.
async fn site() -> (Site, String) {
    let draft = |name: &str| ServiceDraft {
        name: name.to_owned(),
        ..ServiceDraft::default()
    };
    let forum = ServiceDraft {
        url: Some("http://127.0.0.1:10101".to_owned()),
        command: vec!["forum".to_owned(), "--plain".to_owned()],
        api_token: Some(Secret::from(TOKEN)),
        info: json!({"contact": "ada"}).as_object().unwrap().clone(),
        display: false,
        ..draft("forum")
    };
    let declared = Declared {
        services: [forum, draft("wiki")]
            .map(|draft| draft.check(&Catalogue::built_in()).unwrap())
            .to_vec(),
        roles: vec![DeclaredRole {
            name: RoleName::parse("reader").unwrap(),
            description: None,
            scopes: Some(vec!["list:users".to_owned()]),
            users: None,
            groups: None,
            services: Some(vec![service("forum")]),
        }],
        ..Declared::default()
    };
    let site = Site::with(|settings| settings.declared = declared).await;
    for name in ["root", "ada"] {
        site.user(name).await;
    }
    let root = site.token("root", &["inherit"]).await;
    (site, root)
}

async fn call(site: &Site, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
    let path = format!("/hub/api/services{path}");
    site.call(method, &path, token, body).await
}

fn forum() -> Value {
    json!({
        "kind": "service", "name": "forum", "admin": false, "roles": ["reader"],
        "url": "http://127.0.0.1:10101", "prefix": "/services/forum/",
        "command": ["forum", "--plain"], "pid": 0, "info": {"contact": "ada"}, "display": false,
    })
}

#[tokio::test]
async fn services_are_told_as_far_as_the_caller_may_see_them() {
    let (site, root) = site().await;
    let all = call(&site, "GET", "", &root, None).await;
    let wiki = json!({
        "kind": "service", "name": "wiki", "admin": false, "roles": [], "url": "", "prefix": "",
        "command": [], "pid": 0, "info": {}, "display": true,
    });
    assert_eq!(all.json(), json!({"forum": forum(), "wiki": wiki}));
    let one = call(&site, "GET", "/forum", &root, None).await;
    assert_eq!((one.status, one.json()), (200, forum()));
    let check = async |scope: &str, path: &str, expected: Value| {
        let token = site.token("root", &[scope]).await;
        let answer = call(&site, "GET", path, &token, None).await;
        assert_eq!(answer.json(), expected, "{scope}");
    };
    let name = json!({"kind": "service", "name": "forum", "admin": false});
    check("read:services:name", "/forum", name.clone()).await;
    check("list:services!service=forum", "", json!({"forum": name})).await;
    let roles = json!({"kind": "service", "name": "forum", "admin": false, "roles": ["reader"]});
    check("read:roles:services", "/forum", roles).await;
}

#[tokio::test]
async fn whoever_may_not_see_or_change_services_cannot() {
    let (site, root) = site().await;
    let made = call(&site, "POST", "/board", &root, Some(json!({"info": {}}))).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let ada = site.token("ada", &["inherit"]).await;
    for (method, path) in [
        ("GET", ""),
        ("GET", "/forum"),
        ("POST", "/new"),
        ("DELETE", "/board"),
    ] {
        call(&site, method, path, &ada, None)
            .await
            .assert_api_error(403);
        call(&site, method, path, "nobodys-token", None)
            .await
            .assert_api_error(403);
    }
    // With a filter, what is not covered is not there.
    let reader = site.token("root", &["read:services!service=forum"]).await;
    assert_eq!(
        call(&site, "GET", "/forum", &reader, None).await.status,
        200
    );
    call(&site, "GET", "/wiki", &reader, None)
        .await
        .assert_api_error(404);
    call(&site, "GET", "/none", &reader, None)
        .await
        .assert_api_error(404);
    call(&site, "GET", "/none", &root, None)
        .await
        .assert_api_error(404);
    let maker = site.token("root", &["admin:services!service=mine"]).await;
    let body = || Some(json!({"info": {}}));
    call(&site, "POST", "/other", &maker, body())
        .await
        .assert_api_error(404);
    call(&site, "DELETE", "/board", &maker, None)
        .await
        .assert_api_error(404);
    assert_eq!(
        call(&site, "POST", "/mine", &maker, body()).await.status,
        201
    );
    assert_eq!(
        call(&site, "DELETE", "/mine", &maker, None).await.status,
        200
    );
    // Its own token lets a service see itself.
    let own = site.call("GET", "/hub/api/user", TOKEN, None).await.json();
    assert_eq!(
        (&own["kind"], &own["name"]),
        (&json!("service"), &json!("forum"))
    );
    assert_eq!(own["scopes"], json!(["list:users", "read:users:name"]));
    assert!(own["token_id"].as_str().unwrap().starts_with('a'));
    assert_eq!(own["session_id"], Value::Null);
}

#[tokio::test]
async fn a_service_is_made_read_and_deleted() {
    let (site, root) = site().await;
    let body = json!({
        "name": "another name, which plays no part", "admin": true,
        "url": "http://127.0.0.1:9999", "api_token": "board-board-board", "info": {"a": [1]},
        "display": false, "oauth_no_confirm": true, "oauth_client_id": "service-b",
        "oauth_redirect_uri": "https://board.example/back", "command": [], "cwd": "/",
        "environment": {"A": "b"}, "user": "ada",
        "oauth_client_allowed_scopes": ["read:users", "self"],
    });
    let made = call(&site, "POST", "/board", &root, Some(body)).await;
    let model = json!({
        "kind": "service", "name": "board", "admin": true, "roles": ["admin"],
        "url": "http://127.0.0.1:9999", "prefix": "/services/board/", "command": [], "pid": 0,
        "info": {"a": [1]}, "display": false,
    });
    assert_eq!((made.status, made.json()), (201, model.clone()));
    assert_eq!(
        call(&site, "GET", "/board", &root, None).await.json(),
        model
    );
    let client = site
        .store
        .find_oauth_client("service-b")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(client.redirect_uri, "https://board.example/back");
    assert!(client.secret_hash.unwrap().matches("board-board-board"));
    // Its token is that of an administrator.
    let users = site
        .call("GET", "/hub/api/users", "board-board-board", None)
        .await;
    assert_eq!(users.status, 200);

    let body = || Some(json!({"info": {}}));
    call(&site, "POST", "/board", &root, body())
        .await
        .assert_api_error(409);
    call(&site, "POST", "/board", &root, Some(json!([])))
        .await
        .assert_api_error(409);
    call(&site, "POST", "/forum", &root, body())
        .await
        .assert_api_error(409);
    call(&site, "DELETE", "/forum", &root, None)
        .await
        .assert_api_error(405);
    call(&site, "DELETE", "/none", &root, None)
        .await
        .assert_api_error(404);
    let gone = call(&site, "DELETE", "/board", &root, None).await;
    assert_eq!((gone.status, gone.text().as_str()), (200, ""));
    call(&site, "GET", "/board", &root, None)
        .await
        .assert_api_error(404);
    site.call("GET", "/hub/api/user", "board-board-board", None)
        .await
        .assert_api_error(403);
    assert!(
        site.store
            .find_oauth_client("service-b")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn what_cannot_be_a_service_is_refused_whole() {
    let (site, root) = site().await;
    let count = site.store.list_oauth_clients().await.unwrap().len();
    for body in [
        json!({}),
        json!([]),
        json!("x"),
        json!({"unknown": 1}),
        json!({"admin": "yes"}),
        json!({"url": 7}),
        json!({"url": null}),
        json!({"url": "ftp://x"}),
        json!({"url": "https://x"}),
        json!({"command": ["x"]}),
        json!({"command": "x"}),
        json!({"info": []}),
        json!({"environment": ["a"]}),
        json!({"oauth_client_id": "", "url": "http://x"}),
        json!({"display": 1}),
        json!({"api_token": "short"}),
        json!({"api_token": "x".repeat(65)}),
        json!({"api_token": TOKEN}),
        json!({"oauth_client_allowed_scopes": ["read:nothing"]}),
        json!({"oauth_client_allowed_scopes": [1]}),
        json!({"oauth_client_id": "board", "url": "http://x"}),
        json!({"oauth_client_id": "service-forum", "url": "http://x"}),
        json!({"oauth_no_confirm": true}),
        json!({"oauth_redirect_uri": "javascript:x"}),
    ] {
        let answer = call(&site, "POST", "/board", &root, Some(body.clone())).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    call(&site, "POST", "/board", &root, None)
        .await
        .assert_api_error(400);
    for name in ["%2e%2e", "a%2Fb", "%20a", "a%2541"] {
        let answer = call(
            &site,
            "POST",
            &format!("/{name}"),
            &root,
            Some(json!({"info": {}})),
        )
        .await;
        assert!(
            [400, 404].contains(&answer.status),
            "{name}: {}",
            answer.status
        );
    }
    assert!(
        site.store
            .find_service(&service("board"))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(site.store.list_oauth_clients().await.unwrap().len(), count);
}

#[tokio::test]
async fn nobody_gives_a_service_what_they_do_not_have() {
    let (site, _) = site().await;
    let maker = site
        .token("root", &["admin:services", "read:users!user=ada"])
        .await;
    let post = async |body: Value| call(&site, "POST", "/board", &maker, Some(body)).await;
    post(json!({"admin": true})).await.assert_api_error(400);
    let scopes =
        |scopes: &[&str]| json!({"oauth_client_allowed_scopes": scopes, "url": "http://x"});
    post(scopes(&["read:users"])).await.assert_api_error(400);
    post(scopes(&["read:users!user=bob"]))
        .await
        .assert_api_error(400);
    post(scopes(&["shutdown"])).await.assert_api_error(400);
    // Without the confirm page, the visit of an administrator would give the maker all that they may.
    for theirs in ["inherit", "self", "tokens!user"] {
        let mut body = scopes(&[theirs]);
        body["oauth_no_confirm"] = json!(true);
        post(body).await.assert_api_error(400);
    }
    let good = post(scopes(&["read:users!user=ada", "inherit"])).await;
    assert_eq!(good.status, 201, "{}", good.text());
}

#[tokio::test]
async fn who_may_something_with_a_group_may_give_it_for_its_members() {
    let (site, root) = site().await;
    site.user("bob").await;
    let members = json!({"users": ["bob"]});
    let made = site
        .call("POST", "/hub/api/groups/poets", &root, Some(members))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let maker = site
        .token("root", &["admin:services", "read:users!group=poets"])
        .await;
    for (user, status) in [("bob", 201), ("root", 400)] {
        let scope = format!("read:users!user={user}");
        let body = json!({"oauth_client_allowed_scopes": [scope], "url": "http://x"});
        let path = format!("/of-{user}");
        let answer = call(&site, "POST", &path, &maker, Some(body)).await;
        assert_eq!(answer.status, status, "{user}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_home_page_leads_to_services_that_one_may_open() {
    let (site, root) = site().await;
    let body = |display: bool| json!({"url": "http://127.0.0.1:1", "display": display});
    for (name, display) in [("board", true), ("hidden", false)] {
        let path = format!("/{name}");
        let made = call(&site, "POST", &path, &root, Some(body(display))).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let page = site.user("root").await.get("/hub/home").await.text();
    assert!(page.contains("href=\"/services/board/\""), "{page}");
    // `forum` is not to be shown, `wiki` has no pages.
    for name in ["hidden", "forum", "wiki"] {
        assert!(!page.contains(&format!("/services/{name}/")), "{page}");
    }
    let page = site.user("ada").await.get("/hub/home").await.text();
    assert!(!page.contains("/services/"), "{page}");
}
