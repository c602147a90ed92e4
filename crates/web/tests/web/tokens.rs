//! API tokens: asked for, listed, revoked; and the old endpoints that tell whose a token or a cookie is.

use std::time::Duration;

use lyceum_core::scope::Scope;
use lyceum_core::{GroupName, Secret, ServiceName, UserName};
use lyceum_store::{NewOAuthClient, NewRole, NewToken, RoleHolder, ServiceData, Store, TokenOwner};
use serde_json::{Value, json};

use crate::support::{Answer, PASSWORD, Site};

const TOKENS: &str = "/hub/api/users/ada/tokens";

async fn ask(site: &Site, token: &str, body: Value) -> Answer {
    site.call("POST", TOKENS, token, Some(body)).await
}

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_revoked() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let answer = ada
        .api(
            "POST",
            "/users/ada/tokens",
            Some(json!({"note": "for my script", "expires_in": 3600})),
        )
        .await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let made = answer.json();
    let keys: Vec<_> = made.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "created",
            "expires_at",
            "id",
            "kind",
            "last_activity",
            "note",
            "oauth_client",
            "roles",
            "scopes",
            "session_id",
            "token",
            "user"
        ]
    );
    assert_eq!(made["user"], "ada");
    assert_eq!(made["kind"], "api_token");
    assert_eq!(made["note"], "for my script");
    assert_eq!(made["oauth_client"], "JupyterHub");
    assert_eq!(made["roles"], json!([]));
    assert_eq!(made["session_id"], Value::Null);
    assert_eq!(made["last_activity"], Value::Null);
    // `inherit` is told as what it means.
    let scopes = made["scopes"].as_array().unwrap();
    assert!(scopes.contains(&json!("servers!user=ada")), "{scopes:?}");
    let token = made["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);

    let me = site.call("GET", "/hub/api/user", token, None).await.json();
    assert_eq!((&me["name"], &me["token_id"]), (&json!("ada"), &made["id"]));
    let path = format!("{TOKENS}/{}", made["id"].as_str().unwrap());
    let shown = site.call("GET", &path, token, None).await.json();
    // The use of a moment ago is known, although it is written later.
    let time = |key: &str| shown[key].as_str().map(str::to_owned);
    assert!(time("last_activity") >= time("created"), "{shown}");
    assert_eq!(shown.get("token"), None);
    assert_eq!(shown["id"], made["id"]);

    let gone = ada
        .api("DELETE", path.strip_prefix("/hub/api").unwrap(), None)
        .await;
    assert_eq!(gone.status, 204);
    site.call("GET", "/hub/api/user", token, None)
        .await
        .assert_api_error(403);
    let again = ada.api("DELETE", path.strip_prefix("/hub/api").unwrap(), None);
    again.await.assert_api_error(404);
}

#[tokio::test]
async fn the_list_has_what_works_and_begins_with_what_was_unused_longest() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut make = async |note: &str, expires_in: Value| {
        site.clock.advance(Duration::from_secs(1));
        let body = json!({"note": note, "expires_in": expires_in});
        let answer = ada.api("POST", "/users/ada/tokens", Some(body)).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["token"].as_str().unwrap().to_owned()
    };
    make("first", Value::Null).await;
    make("short", json!(10)).await;
    let last = make("last", json!(1_000_000)).await;
    let notes = async || {
        let list = site.call("GET", TOKENS, &last, None).await.json();
        let keys: Vec<_> = list.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["api_tokens"]);
        let tokens = list["api_tokens"].as_array().unwrap().clone();
        assert!(tokens.iter().all(|token| token.get("token").is_none()));
        tokens
            .iter()
            .map(|token| token["note"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(notes().await, ["first", "short", "last"]);
    site.clock.advance(Duration::from_secs(20));
    assert_eq!(notes().await, ["first", "last"]);
}

#[tokio::test]
async fn a_token_has_the_scopes_that_were_asked_for_and_never_more_than_its_owner() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let all = site.token("ada", &["inherit"]).await;
    for (body, scopes) in [
        (json!({"scopes": ["read:users:name!user"]}), &[][..]),
        (json!({"scopes": []}), &[]),
        (
            json!({"scopes": ["users:activity!user=ada"]}),
            &["read:users:activity!user=ada", "users:activity!user=ada"],
        ),
        (
            json!({"scopes": ["servers!server=ada/lab"]}),
            &[
                "delete:servers!server=ada/lab",
                "read:servers!server=ada/lab",
                "servers!server=ada/lab",
                "start:servers!server=ada/lab",
            ],
        ),
        (
            json!({"roles": ["server"]}),
            &["read:users:activity!user=ada", "users:activity!user=ada"],
        ),
    ] {
        let answer = ask(&site, &all, body.clone()).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        let mut expected = vec!["read:users:groups!user=ada", "read:users:name!user=ada"];
        expected.extend(scopes);
        expected.sort_unstable();
        assert_eq!(answer.json()["scopes"], json!(expected), "{body}");
    }
    for body in [
        json!({"scopes": ["nonsense"]}),
        json!({"scopes": ["read:users!"]}),
        json!({"scopes": ["read:users!planet=earth"]}),
        json!({"scopes": ["self!user=ada"]}),
        json!({"scopes": ["read:users"]}),
        json!({"scopes": ["read:users!user=bob"]}),
        json!({"scopes": ["inherit", "admin:users"]}),
        json!({"scopes": ["servers!server=bob/"]}),
        json!({"scopes": ["custom:undefined:scope"]}),
        json!({"scopes": "inherit"}),
        json!({"scopes": [1]}),
        json!({"scopes": {}}),
        json!({"roles": ["nobody"]}),
        json!({"roles": ["admin"]}),
        json!({"roles": "token"}),
        json!({"roles": ["token"], "scopes": ["inherit"]}),
        json!({"roles": [], "scopes": []}),
        json!({"note": 1}),
        json!({"note": "x".repeat(1001)}),
        json!([1]),
        json!("x"),
        json!(true),
    ] {
        ask(&site, &all, body.clone()).await.assert_api_error(400);
    }
    let list = site.call("GET", TOKENS, &all, None).await.json();
    assert_eq!(list["api_tokens"].as_array().unwrap().len(), 1 + 5);
}

#[tokio::test]
async fn a_default_role_of_the_administrator_decides_over_tokens_without_scopes() {
    let site = Site::new().await;
    site.user("ada").await;
    let all = site.token("ada", &["inherit"]).await;
    let mut tx = site.store.begin().await.unwrap();
    tx.upsert_role(NewRole {
        name: "token",
        description: "",
        scopes: &["users:activity!user".to_owned()],
        managed_by_auth: false,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let scopes = ask(&site, &all, json!({})).await.json()["scopes"].clone();
    assert_eq!(
        scopes,
        json!([
            "read:users:activity!user=ada",
            "read:users:groups!user=ada",
            "read:users:name!user=ada",
            "users:activity!user=ada"
        ])
    );
}

#[tokio::test]
async fn a_lifetime_is_a_number_of_seconds_within_the_limit() {
    let limit = Duration::from_hours(1);
    let site = Site::with(|settings| settings.token_lifetime_limit = Some(limit)).await;
    site.user("ada").await;
    let all = site.token("ada", &["inherit"]).await;
    let end = async |body: Value| {
        let answer = ask(&site, &all, body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let parse = |key: &str| -> lyceum_core::Timestamp {
            answer.json()[key].as_str().unwrap().parse().unwrap()
        };
        parse("expires_at").duration_since(parse("created"))
    };
    assert_eq!(end(json!({"expires_in": 60})).await.as_secs(), 60);
    assert_eq!(end(json!({"expires_in": 3600})).await.as_secs(), 3600);
    assert_eq!(end(json!({"expires_in": null})).await.as_secs(), 3600);
    assert_eq!(end(json!({})).await.as_secs(), 3600);
    for wrong in [
        json!(3601),
        json!(0),
        json!(-1),
        json!(1.5),
        json!("60"),
        json!(true),
        json!([]),
        json!(u64::MAX),
        json!(1e300),
    ] {
        let answer = ask(&site, &all, json!({"expires_in": wrong})).await;
        answer.assert_api_error(400);
    }
    let free = Site::new().await;
    free.user("ada").await;
    let all = free.token("ada", &["inherit"]).await;
    for (asked, end) in [(json!(u64::MAX), 400), (json!(null), 201), (json!(1), 201)] {
        let answer = ask(&free, &all, json!({"expires_in": asked})).await;
        assert_eq!(answer.status, end, "{asked}");
    }
}

#[tokio::test]
async fn nobody_makes_sees_or_revokes_tokens_of_others() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    let made = ada.api("POST", "/users/ada/tokens", None).await.json();
    let id = made["id"].as_str().unwrap();
    for user in ["ada", "nobody", "..", "x".repeat(300).as_str()] {
        let path = format!("/users/{user}/tokens");
        // 403, too, where others are 404: as JupyterHub.
        bob.api("POST", &path, Some(json!({})))
            .await
            .assert_api_error(403);
        bob.api("GET", &path, None).await.assert_api_error(404);
    }
    bob.api("GET", &format!("/users/ada/tokens/{id}"), None)
        .await
        .assert_api_error(404);
    bob.api("DELETE", &format!("/users/ada/tokens/{id}"), None)
        .await
        .assert_api_error(404);
    // Not by going through one's own name either.
    for method in ["GET", "DELETE"] {
        bob.api(method, &format!("/users/bob/tokens/{id}"), None)
            .await
            .assert_api_error(404);
    }
    for id in ["", "a", "1", "a99999999999999999999", "a0", "a1x", "sc_1"] {
        let path = format!("/users/bob/tokens/{id}");
        bob.api("GET", &path, None).await.assert_api_error(404);
        bob.api("DELETE", &path, None).await.assert_api_error(404);
    }
    // A token that may only look cannot make another.
    let reader = site.token("ada", &["read:tokens!user"]).await;
    assert_eq!(site.call("GET", TOKENS, &reader, None).await.status, 200);
    ask(&site, &reader, json!({})).await.assert_api_error(403);
    let path = format!("{TOKENS}/{id}");
    site.call("DELETE", &path, &reader, None)
        .await
        .assert_api_error(403);
    assert_eq!(site.call("GET", &path, &reader, None).await.status, 200);
}

#[tokio::test]
async fn administrators_and_services_make_tokens_for_users_and_the_note_says_so() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("root").await;
    let root = site.token("root", &["inherit"]).await;
    let note = |answer: Answer| {
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.json()["user"], "ada");
        answer.json()["note"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        note(ask(&site, &root, json!({})).await),
        "Requested via api by user root"
    );
    let maker = service(&site.store, &site, "maker", &["tokens!user=ada"]).await;
    assert_eq!(
        note(ask(&site, &maker, json!({})).await),
        "Requested via api by service maker"
    );
    // What counts is what the owner may, not who asks.
    let beyond = json!({"scopes": ["admin:users"]});
    ask(&site, &root, beyond).await.assert_api_error(400);
    let other = service(&site.store, &site, "other", &["tokens!user=root"]).await;
    ask(&site, &other, json!({})).await.assert_api_error(403);
    let own = site.token("ada", &["inherit"]).await;
    assert_eq!(note(ask(&site, &own, json!({})).await), "Requested via api");
}

#[tokio::test]
async fn whoever_knows_a_password_gets_a_token_without_a_browser() {
    let site = Site::new().await;
    site.user("ada").await;
    let ask = async |path: &str, auth: Value| {
        let body = json!({"auth": auth, "note": "by password"}).to_string();
        site.send("POST", path, &[("content-type", "application/json")], body)
            .await
    };
    let right = json!({"username": "Ada", "password": PASSWORD});
    let answer = ask(TOKENS, right.clone()).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(answer.header("set-cookie"), "");
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(
        site.call("GET", "/hub/api/user", &token, None).await.status,
        200
    );
    ask("/hub/api/users/root/tokens", right)
        .await
        .assert_api_error(403);
    for wrong in [
        json!({"username": "ada", "password": "wrong"}),
        json!({"username": "ada"}),
        json!({"username": " ada ", "password": PASSWORD}),
        json!({"password": PASSWORD}),
        json!({"username": "eve", "password": PASSWORD}),
        json!({"username": 1, "password": 2}),
        json!({}),
        json!("ada"),
        json!(null),
        json!([PASSWORD]),
    ] {
        ask(TOKENS, wrong).await.assert_api_error(403);
    }
    // Who has no account does not get one so.
    let newcomer = json!({"username": "newcomer", "password": PASSWORD});
    ask("/hub/api/users/newcomer/tokens", newcomer)
        .await
        .assert_api_error(403);
    let name = UserName::parse("newcomer").unwrap();
    assert!(site.store.find_user(&name).await.unwrap().is_none());
    let broken = site.send("POST", TOKENS, &[], "{").await;
    broken.assert_api_error(400);
    site.send("POST", TOKENS, &[], "")
        .await
        .assert_api_error(403);
}

#[tokio::test]
async fn with_a_login_cookie_making_a_token_needs_the_pages_own_token() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let json = ("content-type", "application/json");
    let answer = ada.send("POST", TOKENS, &[json], "{}").await;
    answer.assert_api_error(403);
    let xsrf = ada.xsrf();
    let right = ("x-xsrftoken", xsrf.as_str());
    assert_eq!(
        ada.send("POST", TOKENS, &[json, right], "{}").await.status,
        201
    );
    // A body of another kind makes it a request of nobody, even with the token.
    let text = ("content-type", "text/plain");
    let answer = ada.send("POST", TOKENS, &[text, right], "{}").await;
    answer.assert_api_error(403);
    let list = ada.api("GET", "/users/ada/tokens", None).await.json();
    assert_eq!(list["api_tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn with_a_token_of_an_oauth_client_all_of_that_client_go() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let all = site.token("ada", &["inherit"]).await;
    let secret = service(&site.store, &site, "app", &[]).await;
    let app = ServiceName::parse("app").unwrap();
    let app = site.store.find_service(&app).await.unwrap().unwrap();
    let mut tx = site.store.begin().await.unwrap();
    tx.upsert_oauth_client(NewOAuthClient {
        identifier: "service-app",
        description: "JupyterHub service app",
        secret: Some(&Secret::new(secret)),
        redirect_uri: "/services/app/oauth_callback",
        allowed_scopes: &[],
        server_id: None,
        service_id: Some(app.id),
    })
    .await
    .unwrap();
    let mut ids = Vec::new();
    for (name, number) in [("ada", 1), ("ada", 2), ("bob", 3)] {
        let name = UserName::parse(name).unwrap();
        let user = tx.find_user(&name).await.unwrap().unwrap();
        let token = tx
            .create_token(NewToken {
                secret: &Secret::new(format!("issued-token-{number}")),
                owner: TokenOwner::User(user.id),
                client_id: Some("service-app"),
                session_id: Some("session"),
                server_id: None,
                scopes: &["read:users:name!user".to_owned()],
                note: "",
                created: user.created,
                expires_at: None,
            })
            .await
            .unwrap();
        ids.push(token.id);
    }
    tx.commit().await.unwrap();
    let shown = format!("{TOKENS}/a{}", ids[0]);
    let model = site.call("GET", &shown, &all, None).await.json();
    assert_eq!(model["oauth_client"], "JupyterHub service app");
    assert_eq!(model["session_id"], "session");
    assert_eq!(site.call("DELETE", &shown, &all, None).await.status, 204);
    let works = async |number| {
        let token = format!("issued-token-{number}");
        site.call("GET", "/hub/api/user", &token, None).await.status == 200
    };
    assert!(!works(1).await && !works(2).await && works(3).await);
    assert_eq!(site.call("GET", TOKENS, &all, None).await.status, 200);
}

#[tokio::test]
async fn only_those_with_a_token_of_their_own_may_ask_whose_another_is() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    site.user("root").await;
    let asker = site.token("root", &["read:hub"]).await;
    let adas = site.token("ada", &["read:hub"]).await;
    let of_token = format!("/hub/api/authorizations/token/{adas}");
    let login = ada.cookies["jupyterhub-hub-login"].clone();
    let of_cookie = format!("/hub/api/authorizations/cookie/jupyterhub-hub-login/{login}");
    let model = site.call("GET", &of_token, &asker, None).await.json();
    assert_eq!(
        (&model["name"], &model["kind"]),
        (&json!("ada"), &json!("user"))
    );
    assert_eq!(model.get("servers"), None);
    for path in [
        "/hub/api/authorizations/token/nonsense",
        "/hub/api/authorizations/cookie/jupyterhub-hub-login/nonsense",
        "/hub/api/authorizations/cookie/jupyterhub-hub-login",
        &format!("/hub/api/authorizations/cookie/other/{login}"),
    ] {
        site.call("GET", path, &asker, None)
            .await
            .assert_api_error(404);
    }
    let root = site.token("root", &["inherit"]).await;
    let model = site.call("GET", &of_cookie, &root, None).await.json();
    assert_eq!(model["name"], "ada");
    for path in [&of_token, &of_cookie] {
        site.send("GET", path, &[], "").await.assert_api_error(403);
        let path = path.strip_prefix("/hub/api").unwrap();
        ada.api("GET", path, None).await.assert_api_error(403);
    }
    let gone = site.call("POST", "/hub/api/authorizations/token", &root, None);
    gone.await.assert_api_error(404);
}

/// A service with these scopes, and its token.
async fn service(store: &Store, site: &Site, name: &str, scopes: &[&str]) -> String {
    let service = ServiceName::parse(name).unwrap();
    let secret = format!("token-of-service-{name}");
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let mut tx = store.begin().await.unwrap();
    let service = tx
        .upsert_service(&ServiceData::named(service))
        .await
        .unwrap();
    let role = tx
        .upsert_role(NewRole {
            name: &format!("role-of-{name}"),
            description: "",
            scopes: &scopes,
            managed_by_auth: false,
        })
        .await
        .unwrap();
    tx.grant_role(role.id, RoleHolder::Service(service.id))
        .await
        .unwrap();
    tx.create_token(NewToken {
        secret: &Secret::new(secret.clone()),
        owner: TokenOwner::Service(service.id),
        client_id: None,
        session_id: None,
        server_id: None,
        scopes: &[Scope::Inherit.name().to_owned()],
        note: "",
        created: lyceum_core::Clock::now(site.clock.as_ref()),
        expires_at: None,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    secret
}

#[tokio::test]
async fn who_may_something_for_a_group_may_it_for_its_members_by_token_too() {
    let site = Site::new().await;
    for name in ["ada", "bob", "cleo"] {
        site.user(name).await;
    }
    let user = async |name: &str| {
        let name = UserName::parse(name).unwrap();
        site.store.find_user(&name).await.unwrap().unwrap().id
    };
    let (ada, bob) = (user("ada").await, user("bob").await);
    let mut tx = site.store.begin().await.unwrap();
    let class = GroupName::parse("class").unwrap();
    let class = tx.create_group(&class).await.unwrap().id;
    tx.add_member(class, bob).await.unwrap();
    let role = NewRole {
        name: "teacher",
        description: "",
        scopes: &["read:users!group=class".to_owned()],
        managed_by_auth: false,
    };
    let role = tx.upsert_role(role).await.unwrap();
    tx.grant_role(role.id, RoleHolder::User(ada)).await.unwrap();
    tx.commit().await.unwrap();
    let all = site.token("ada", &["inherit"]).await;
    let asked = json!({"scopes": ["read:users!user=cleo"]});
    ask(&site, &all, asked).await.assert_api_error(400);
    let asked = json!({"scopes": ["read:users!user=bob"]});
    let made = ask(&site, &all, asked).await.json();
    let scopes = made["scopes"].as_array().unwrap();
    assert!(scopes.contains(&json!("read:users!user=bob")), "{made}");
    let token = made["token"].as_str().unwrap();
    let looks = async || {
        let bob = site.call("GET", "/hub/api/users/bob", token, None);
        bob.await.status
    };
    assert_eq!((looks().await, looks().await), (200, 200));
    // It ends when bob leaves, although nothing of the token or its owner has changed.
    let mut tx = site.store.begin().await.unwrap();
    tx.remove_member(class, bob).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(looks().await, 404);
}
