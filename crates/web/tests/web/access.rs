//! For each endpoint: who may not.

use std::time::Duration;

use lyceum_core::{Clock as _, Secret, UserName};
use lyceum_store::{NewSession, NewUser};
use serde_json::json;

use crate::support::Site;

/// Method and path of every endpoint of the API that is about somebody, here about ada.
const ABOUT_ADA: &[(&str, &str)] = &[
    ("GET", "/users/ada"),
    ("POST", "/users/ada/activity"),
    ("GET", "/users/ada/server"),
    ("POST", "/users/ada/server"),
    ("DELETE", "/users/ada/server"),
    ("GET", "/users/ada/server/progress"),
    ("GET", "/users/ada/servers/"),
    ("POST", "/users/ada/servers/"),
    ("DELETE", "/users/ada/servers/"),
    ("GET", "/users/ada/servers/lab"),
    ("POST", "/users/ada/servers/lab"),
    ("DELETE", "/users/ada/servers/lab"),
    ("GET", "/users/ada/servers/lab/progress"),
];

/// Pages that are about ada's server.
const PAGES: &[&str] = &[
    "/hub/spawn/ada",
    "/hub/spawn/ada/lab",
    "/hub/spawn-pending/ada",
    "/hub/spawn-pending/ada/lab",
    "/hub/user/ada",
    "/hub/user/ada/",
    "/hub/user/ada/lab/tree",
    "/hub/user/ada/api/kernels",
];

#[tokio::test]
async fn nobody_gets_nothing_from_the_api() {
    let site = Site::new().await;
    site.user("ada").await;
    let others = [("GET", "/user"), ("GET", "/info")];
    for (method, path) in ABOUT_ADA.iter().chain(&others) {
        let path = format!("/hub/api{path}");
        site.send(method, &path, &[], "")
            .await
            .assert_api_error(403);
        // Neither with a bad token, nor with other kinds of credentials, nor with a token in the URL.
        for value in [
            "token nonsense",
            "Basic YWRhOnB3",
            "token",
            "token ",
            "nonsense",
            "token a b",
        ] {
            let answer = site
                .send(method, &path, &[("authorization", value)], "")
                .await;
            answer.assert_api_error(403);
        }
    }
    let token = site.token("ada", &["inherit"]).await;
    let answer = site
        .send("GET", &format!("/hub/api/user?token={token}"), &[], "")
        .await;
    answer.assert_api_error(403);
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn others_may_not_even_know_by_cookie_or_by_token() {
    let site = Site::with(|settings| settings.allow_named_servers = true).await;
    site.user("ada").await;
    let mut bob = site.user("bob").await;
    let token = site.token("bob", &["inherit"]).await;
    for (method, path) in ABOUT_ADA {
        let nobody = path.replace("/ada", "/nobody");
        for path in [(*path).to_owned(), nobody] {
            let body =
                (*method == "POST").then(|| json!({"last_activity": "2026-01-01T00:00:00Z"}));
            bob.api(method, &path, body.clone())
                .await
                .assert_api_error(404);
            let path = format!("/hub/api{path}");
            site.call(method, &path, &token, body)
                .await
                .assert_api_error(404);
        }
    }
    bob.api("GET", "/info", None).await.assert_api_error(403);
    for path in PAGES {
        bob.get(path).await.assert_page(404);
        bob.get(&path.replace("/ada", "/nobody"))
            .await
            .assert_page(404);
    }
    for path in [
        "/hub/spawn/ada",
        "/hub/spawn/ada/lab",
        "/hub/stop/ada",
        "/hub/stop/ada/lab",
    ] {
        bob.post(path, &[]).await.assert_page(404);
    }
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn a_token_without_the_scope_may_not() {
    let site = Site::new().await;
    site.user("ada").await;
    let identify = site.token("ada", &[]).await;
    let reader = site
        .token("ada", &["read:users!user", "read:servers!user"])
        .await;
    for (method, path) in ABOUT_ADA {
        let path = format!("/hub/api{path}");
        let body = (*method == "POST").then(|| json!({"last_activity": "2026-01-01T00:00:00Z"}));
        if path != "/hub/api/users/ada" {
            let answer = site.call(method, &path, &identify, body.clone()).await;
            answer.assert_api_error(403);
        }
        if *method != "GET" {
            site.call(method, &path, &reader, body)
                .await
                .assert_api_error(403);
        }
    }
    // What identifies somebody is always told.
    let model = site
        .call("GET", "/hub/api/user", &identify, None)
        .await
        .json();
    let keys: Vec<_> = model
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        keys,
        [
            "admin",
            "groups",
            "kind",
            "name",
            "scopes",
            "session_id",
            "token_id",
            "user_info"
        ]
    );
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn a_token_of_nobodys_rights_grows_no_rights() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    // Scopes beyond the owner's are cut at each use.
    let token = site
        .token("bob", &["admin:users", "admin:servers", "read:hub"])
        .await;
    for path in ["/hub/api/users/ada", "/hub/api/users/ada/server"] {
        let answer = site.call("GET", path, &token, None).await;
        answer.assert_api_error(404);
    }
    site.call("GET", "/hub/api/info", &token, None)
        .await
        .assert_api_error(403);
}

#[tokio::test]
async fn pages_ask_to_log_in_first_and_lead_back() {
    let site = Site::new().await;
    let own = [
        "/hub/home",
        "/hub/spawn",
        "/hub/user-redirect/lab",
        "/hub/api/oauth2/authorize?x=1",
    ];
    for path in PAGES.iter().chain(&own) {
        let answer = site.send("GET", path, &[], "").await;
        let back = path.replace('?', "%3F").replace('=', "%3D");
        answer.assert_leads_to(&format!("/hub/login?next={back}"));
    }
    // A form cannot be sent again after the login, so it leads to where there are forms.
    for path in [
        "/hub/spawn",
        "/hub/spawn/ada",
        "/hub/stop/ada",
        "/hub/api/oauth2/authorize",
    ] {
        let answer = site.send("POST", path, &[], "").await;
        answer.assert_leads_to("/hub/login?next=/hub/home");
    }
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn pages_take_no_tokens_except_where_servers_are_looked_for() {
    let site = Site::new().await;
    site.user("ada").await;
    let token = site.token("ada", &["inherit"]).await;
    for path in ["/hub/home", "/hub/spawn", "/hub/spawn-pending/ada"] {
        assert_eq!(
            site.call("GET", path, &token, None).await.status,
            302,
            "{path}"
        );
    }
    let answer = site
        .call("GET", "/hub/user/ada/api/kernels", &token, None)
        .await;
    assert_eq!(answer.status, 424);
}

#[tokio::test]
async fn an_administrator_may_see_and_stop_but_nobody_becomes_one_by_asking() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut root = site.user("root").await;
    ada.api("POST", "/users/ada/server", None).await;
    assert_eq!(root.api("GET", "/users/ada", None).await.status, 200);
    assert_eq!(root.api("GET", "/info", None).await.status, 200);
    assert_eq!(
        root.api("DELETE", "/users/ada/server", None).await.status,
        204
    );
    root.api("GET", "/users/nobody", None)
        .await
        .assert_api_error(404);
    root.api("POST", "/users/nobody/server", None)
        .await
        .assert_api_error(404);
    assert_eq!(ada.api("GET", "/user", None).await.json()["admin"], false);
}

#[tokio::test]
async fn whoever_is_blocked_is_out_with_every_login_and_token() {
    let site = Site::new().await;
    let name = UserName::parse("eve").unwrap();
    let (cookie, cookie_id) = (Secret::from("a login"), Secret::from("an id"));
    let now = site.clock.now();
    let mut tx = site.store.begin().await.unwrap();
    let eve = NewUser {
        name: &name,
        admin: true,
        created: now,
        cookie_id: &cookie_id,
    };
    let eve = tx.create_user(eve).await.unwrap();
    tx.create_session(NewSession {
        secret: &cookie,
        public_id: "x",
        user_id: eve.id,
        created: now,
        expires_at: now + Duration::from_hours(1),
        client_addr: "",
        user_agent: "",
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let token = site.token("eve", &["inherit"]).await;
    site.call("GET", "/hub/api/user", &token, None)
        .await
        .assert_api_error(403);
    let mut browser = site.anonymous();
    let login = "jupyterhub-hub-login".to_owned();
    browser.cookies.insert(login, cookie.expose().clone());
    browser
        .get("/hub/home")
        .await
        .assert_leads_to("/hub/login?next=/hub/home");
}
