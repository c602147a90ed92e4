//! Share codes by the API, and the page on which they are exchanged.

use std::time::Duration;

use lyceum_core::scope::{Catalogue, CustomScope};
use lyceum_store::{NewRole, RoleHolder};
use serde_json::{Value, json};

use crate::shares::{classroom, user_name};
use crate::support::{Answer, Site};

async fn call(site: &Site, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
    site.call(method, &format!("/hub/api{path}"), token, body)
        .await
}

/// An administrator makes a code.
async fn make(site: &Site, path: &str, body: Value) -> Value {
    let root = site.token("root", &["inherit"]).await;
    let answer = call(site, &root, "POST", path, Some(body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn listed(site: &Site, path: &str) -> Vec<Value> {
    let root = site.token("root", &["inherit"]).await;
    let answer = call(site, &root, "GET", path, None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

async fn shares_with(site: &Site, user: &str) -> usize {
    let user = site.store.get_user(&user_name(user)).await.unwrap();
    let now = lyceum_core::Clock::now(&*site.clock);
    site.store
        .received_shares(user.id, now)
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn a_code_is_told_once_and_never_again() {
    let site = classroom().await;
    let made = make(&site, "/share-codes/ada/lab", json!({})).await;
    let code = made["code"].as_str().unwrap();
    assert_eq!(code.len(), 43);
    assert!(
        code.bytes()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
    );
    let time = |key: &str| {
        made[key]
            .as_str()
            .unwrap()
            .parse::<lyceum_core::Timestamp>()
            .unwrap()
    };
    let lifetime = time("expires_at").duration_since(time("created_at"));
    assert_eq!(lifetime.as_secs(), 24 * 60 * 60);
    let mut expected = json!({
        "server": {"user": {"name": "ada"}, "name": "lab", "url": "/user/ada/lab/", "full_url": null, "ready": false},
        "scopes": ["access:servers!server=ada/lab"],
        "id": made["id"],
        "created_at": made["created_at"],
        "expires_at": made["expires_at"],
        "exchange_count": 0,
        "last_exchanged_at": null,
        "code": code,
        "accept_url": format!("/hub/accept-share?code={code}"),
        "full_accept_url": null,
    });
    assert_eq!(made, expected);
    assert!(made["id"].as_str().unwrap().starts_with("sc_"));
    for key in ["code", "accept_url", "full_accept_url"] {
        expected.as_object_mut().unwrap().remove(key);
    }
    for path in ["/share-codes/ada", "/share-codes/ada/lab"] {
        assert_eq!(listed(&site, path).await, [expected.clone()], "{path}");
    }
    assert_eq!(
        listed(&site, "/share-codes/ada/").await,
        Vec::<Value>::new()
    );
}

#[tokio::test]
async fn links_are_whole_where_the_public_address_is_known() {
    let site =
        Site::with(|settings| settings.public_url = Some("https://hub.example/".to_owned())).await;
    site.user("root").await;
    let made = make(&site, "/share-codes/root/", json!({})).await;
    let path = made["accept_url"].as_str().unwrap();
    assert_eq!(
        made["full_accept_url"],
        format!("https://hub.example{path}")
    );
    assert_eq!(made["server"]["full_url"], "https://hub.example/user/root/");
}

#[tokio::test]
async fn who_may_make_codes() {
    let site = classroom().await;
    let servers = json!({"scopes": ["read:servers", "access:servers!server=ada/"]});
    for (scopes, path, body, status) in [
        (&["shares"][..], "ada/", json!({}), 200),
        (&["shares!server=ada/"], "ada/", json!({}), 200),
        (
            &["shares!user=ada", "servers!user=ada"],
            "ada/",
            servers.clone(),
            200,
        ),
        (&["shares!user=ada"], "ada/", servers, 403),
        (&["read:shares", "users:shares"], "ada/", json!({}), 403),
        (&["shares!user=bob"], "ada/", json!({}), 404),
        (&["shares!user=ada"], "ada/nosuch", json!({}), 404),
        // What is not theirs to give comes first, then whether there is the server.
        (
            &["shares!user=ada"],
            "ada/nosuch",
            json!({"scopes": ["servers"]}),
            403,
        ),
        (&["shares"], "nobody/", json!({}), 404),
    ] {
        let token = site.token("root", scopes).await;
        let path = format!("/share-codes/{path}");
        let answer = call(&site, &token, "POST", &path, Some(body.clone())).await;
        assert_eq!(
            answer.status,
            status,
            "{scopes:?} {path} {body}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn mistakes_in_codes_are_named() {
    let site = classroom().await;
    let root = site.token("root", &["inherit"]).await;
    for (body, status) in [
        (json!({"user": "bob"}), 400),
        (json!([1]), 400),
        (json!(7), 400),
        (json!({"scopes": ["nonsense"]}), 400),
        (json!({"scopes": ["custom:nonsense"]}), 400),
        (json!({"scopes": ["read:servers!server=ada/lab"]}), 400),
        (json!({"scopes": ["read:users!user"]}), 400),
        (json!({"scopes": {}}), 400),
        (json!({"scopes": ["inherit"]}), 403),
        (json!({"expires_in": 59}), 400),
        (json!({"expires_in": 31_536_001}), 400),
        (json!({"expires_in": null}), 400),
        (json!({"expires_in": "soon"}), 400),
    ] {
        let answer = call(
            &site,
            &root,
            "POST",
            "/share-codes/ada/",
            Some(body.clone()),
        )
        .await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    assert_eq!(
        listed(&site, "/share-codes/ada/").await,
        Vec::<Value>::new()
    );
    make(&site, "/share-codes/ada/", json!([])).await;
    make(
        &site,
        "/share-codes/ada/",
        json!({"scopes": null, "expires_in": 31_536_000}),
    )
    .await;
    assert_eq!(listed(&site, "/share-codes/ada/").await.len(), 2);
}

#[tokio::test]
async fn codes_are_deleted_by_code_by_id_or_all() {
    let site = classroom().await;
    let mut codes = Vec::new();
    for path in [
        "/share-codes/ada/",
        "/share-codes/ada/",
        "/share-codes/ada/",
        "/share-codes/ada/lab",
    ] {
        codes.push(make(&site, path, json!({})).await);
    }
    let text = |at: usize, key: &str| codes[at][key].as_str().unwrap();
    let reader = site.token("root", &["read:shares"]).await;
    let other = site.token("root", &["shares!server=ada/lab"]).await;
    let token = site.token("root", &["shares!server=ada/"]).await;
    let (by_code, by_id) = (
        format!("?code={}", text(0, "code")),
        format!("?id={}", text(1, "id")),
    );
    let foreign = (
        format!("?code={}", text(3, "code")),
        format!("?id={}", text(3, "id")),
    );
    for (token, query, status) in [
        (&reader, by_code.as_str(), 403),
        (&other, &by_code, 404),
        (&token, "?code=nonsense", 404),
        (&token, "?id=nonsense", 404),
        (&token, "?id=sc_9999", 404),
        (&token, "?id=sc_99999999999999999999", 404),
        (&token, "?code=", 404),
        (&token, "?id=", 404),
        // Of another server.
        (&token, &foreign.0, 404),
        (&token, &foreign.1, 404),
        (&token, &by_code, 204),
        (&token, &by_code, 404),
        (&token, &by_id, 204),
    ] {
        let path = format!("/share-codes/ada/{query}");
        let answer = call(&site, token, "DELETE", &path, None).await;
        assert_eq!(answer.status, status, "{query}");
    }
    let left: Vec<_> = listed(&site, "/share-codes/ada").await;
    let left: Vec<_> = left.iter().map(|code| &code["id"]).collect();
    assert_eq!(left, [&codes[2]["id"], &codes[3]["id"]]);
    for _ in 0..2 {
        let answer = call(&site, &token, "DELETE", "/share-codes/ada/", None).await;
        assert_eq!(answer.status, 204);
    }
    assert_eq!(listed(&site, "/share-codes/ada").await.len(), 1);
}

#[tokio::test]
async fn an_invitation_is_shown_before_it_is_accepted() {
    let site = classroom().await;
    let made = make(&site, "/share-codes/ada/", json!({})).await;
    let url = made["accept_url"].as_str().unwrap();
    let mut bob = site.user("bob").await;
    let page = bob.get(url).await;
    page.assert_page(200);
    let text = page.text();
    assert!(text.contains("ada shares a server with you"), "{text}");
    assert!(text.contains("The server is not running"), "{text}");
    assert!(text.contains("/user/ada/"), "{text}");
    assert_eq!(shares_with(&site, "bob").await, 0);

    // Without the form's token, or with that of others, nothing is accepted.
    let code = made["code"].as_str().unwrap();
    let theirs = site.user("kim").await.xsrf();
    for token in ["", "nonsense", &theirs] {
        let fields = [("code", code), ("_xsrf", token)];
        let answer = bob.post_as_is("/hub/accept-share", &fields).await;
        answer.assert_page(403);
    }
    assert_eq!(shares_with(&site, "bob").await, 0);
    bob.post("/hub/accept-share", &[("code", code)])
        .await
        .assert_leads_to("/user/ada/");
    assert_eq!(bob.get("/hub/user/ada/").await.status, 424);

    let used = listed(&site, "/share-codes/ada/").await;
    assert_eq!(used[0]["exchange_count"], 1);
    assert!(used[0]["last_exchanged_at"].is_string());
    // Once more changes nothing, but is counted.
    bob.post(url, &[]).await.assert_leads_to("/user/ada/");
    assert_eq!(shares_with(&site, "bob").await, 1);
    assert_eq!(
        listed(&site, "/share-codes/ada/").await[0]["exchange_count"],
        2
    );
    assert_eq!(shares_with(&site, "kim").await, 0);

    let mut root = site.user("root").await;
    root.api("POST", "/users/ada/server", None).await;
    let text = bob.get(url).await.text();
    assert!(!text.contains("The server is not running"), "{text}");
}

#[tokio::test]
async fn an_invitation_says_what_custom_scopes_mean() {
    let grades = CustomScope {
        description: "See the grades of this server".to_owned(),
        subscopes: Vec::new(),
    };
    let custom = [("custom:grades".to_owned(), grades)];
    let catalogue = Catalogue::with_custom(custom).unwrap();
    let site = Site::with(|settings| settings.declared.catalogue = catalogue).await;
    site.user("ada").await;
    let ada = site.store.get_user(&user_name("ada")).await.unwrap();
    let mut tx = site.store.begin().await.unwrap();
    let role = NewRole {
        name: "graders",
        description: "",
        scopes: &["shares!user".to_owned(), "custom:grades!user".to_owned()],
        managed_by_auth: false,
    };
    let role = tx.upsert_role(role).await.unwrap();
    tx.grant_role(role.id, RoleHolder::User(ada.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let token = site.token("ada", &["inherit"]).await;
    let body = json!({"scopes": ["custom:grades"]});
    let made = call(&site, &token, "POST", "/share-codes/ada/", Some(body)).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!(made["scopes"], json!(["custom:grades!server=ada/"]));
    let mut bob = site.user("bob").await;
    let text = bob.get(made["accept_url"].as_str().unwrap()).await.text();
    assert!(text.contains("See the grades of this server"), "{text}");
}

#[tokio::test]
async fn an_invitation_widens_what_was_shared_before() {
    let site = classroom().await;
    let root = site.token("root", &["inherit"]).await;
    let before = json!({"user": "bob", "scopes": ["read:servers"]});
    call(&site, &root, "POST", "/shares/ada/lab", Some(before)).await;
    let made = make(&site, "/share-codes/ada/lab", json!({})).await;
    let mut bob = site.user("bob").await;
    bob.get(made["accept_url"].as_str().unwrap()).await;
    bob.post(
        "/hub/accept-share",
        &[("code", made["code"].as_str().unwrap())],
    )
    .await
    .assert_leads_to("/user/ada/lab/");
    let answer = call(&site, &root, "GET", "/users/bob/shared/ada/lab", None).await;
    assert_eq!(
        answer.json()["scopes"],
        json!([
            "access:servers!server=ada/lab",
            "read:servers!server=ada/lab"
        ])
    );
}

#[tokio::test]
async fn what_is_no_invitation_is_refused() {
    let site = classroom().await;
    let made = make(&site, "/share-codes/ada/", json!({"expires_in": 60})).await;
    let code = made["code"].as_str().unwrap().to_owned();
    let (mut ada, mut bob) = (site.user("ada").await, site.user("bob").await);
    let url = format!("/hub/accept-share?code={code}");
    // To one's own server.
    ada.get(&url).await.assert_page(403);
    ada.post("/hub/accept-share", &[("code", &code)])
        .await
        .assert_page(400);
    for query in ["", "?code=", "?code=%20"] {
        bob.get(&format!("/hub/accept-share{query}"))
            .await
            .assert_page(400);
    }
    bob.post("/hub/accept-share", &[]).await.assert_page(400);
    let long = "x".repeat(2000);
    for wrong in ["nosuchcode", &code[1..], &code.to_lowercase(), &long, "%00"] {
        bob.get(&format!("/hub/accept-share?code={wrong}"))
            .await
            .assert_page(404);
        bob.post("/hub/accept-share", &[("code", wrong)])
            .await
            .assert_page(400);
    }
    // Nobody is asked before they have logged in, and then they come back.
    let mut nobody = site.anonymous();
    let answer = nobody.get(&url).await;
    answer.assert_leads_to(&format!(
        "/hub/login?next=/hub/accept-share%3Fcode%3D{code}"
    ));
    let answer = nobody.post("/hub/accept-share", &[("code", &code)]).await;
    answer.assert_leads_to("/hub/login?next=/hub/home");
    // Too late.
    bob.get(&url).await.assert_page(200);
    site.clock.advance(Duration::from_mins(1));
    bob.get(&url).await.assert_page(404);
    bob.post("/hub/accept-share", &[("code", &code)])
        .await
        .assert_page(400);
    assert_eq!(
        listed(&site, "/share-codes/ada/").await,
        Vec::<Value>::new()
    );
    assert_eq!(shares_with(&site, "bob").await, 0);
}

#[tokio::test]
async fn an_invitation_leads_on_within_this_site_only() {
    let site = classroom().await;
    let code = make(&site, "/share-codes/ada/", json!({})).await;
    let code = code["code"].as_str().unwrap();
    let mut bob = site.user("bob").await;
    for (next, expected) in [
        ("", "/user/ada/"),
        ("/hub/home", "/hub/home"),
        (
            "/user/ada/lab/tree/a%20b.ipynb?c=d",
            "/user/ada/lab/tree/a%20b.ipynb?c=d",
        ),
        ("https://elsewhere.example/user/ada/", "/user/ada/"),
        ("//elsewhere.example/", "/user/ada/"),
        ("/\\elsewhere.example", "/%5Celsewhere.example"),
        ("javascript:alert(1)", "/user/ada/"),
    ] {
        let query = crate::support::form(&[("code", code), ("next", next)]);
        let url = format!("/hub/accept-share?{query}");
        bob.get(&url).await.assert_page(200);
        bob.post(&url, &[]).await.assert_leads_to(expected);
        bob.post("/hub/accept-share", &[("code", code), ("next", next)])
            .await
            .assert_leads_to(expected);
    }
}
