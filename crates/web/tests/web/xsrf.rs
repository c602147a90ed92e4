//! When a request must prove that its page is ours, and by what.

use serde_json::json;

use crate::support::{Browser, Site};

const ACTIVITY: &str = "/hub/api/users/ada/activity";
const BODY: &str = r#"{"last_activity": "2026-01-01T00:00:00Z"}"#;

async fn send(
    browser: &mut Browser<'_>,
    method: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> u16 {
    let mut headers = headers.to_vec();
    let mut body = "";
    if method == "POST" {
        headers.push(("content-type", "application/json"));
        body = BODY;
    }
    browser.send(method, path, &headers, body).await.status
}

/// Whether JupyterHub asks a browser for a token, by method, `Sec-Fetch-Mode` and `Sec-Fetch-Site`.
const TABLE: &[(&str, Option<&str>, Option<&str>, bool)] = &[
    ("GET", None, None, false),
    ("GET", Some("navigate"), Some("none"), false),
    ("GET", Some("navigate"), Some("cross-site"), false),
    ("GET", Some("no-cors"), Some("same-origin"), false),
    ("GET", Some("no-cors"), Some("same-site"), true),
    ("GET", Some("no-cors"), Some("cross-site"), true),
    ("GET", Some("no-cors"), None, true),
    ("GET", Some("cors"), Some("same-origin"), true),
    ("GET", Some("cors"), Some("cross-site"), true),
    ("GET", Some("same-origin"), Some("same-origin"), true),
    ("GET", Some("websocket"), Some("same-origin"), false),
    ("GET", Some("unheard-of"), None, true),
    ("POST", None, None, true),
    ("POST", Some("navigate"), Some("none"), true),
    ("POST", Some("cors"), Some("same-origin"), true),
    ("POST", Some("no-cors"), Some("same-origin"), true),
];

#[tokio::test]
async fn the_api_asks_browsers_for_a_token_as_jupyterhub_does() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let token = format!("token {}", site.token("ada", &["inherit"]).await);
    for &(method, mode, fetch_site, needed) in TABLE {
        let path = if method == "POST" {
            ACTIVITY
        } else {
            "/hub/api/user"
        };
        let mut headers = Vec::new();
        headers.extend(mode.map(|mode| ("sec-fetch-mode", mode)));
        headers.extend(fetch_site.map(|site| ("sec-fetch-site", site)));
        let case = format!("{method} {mode:?} {fetch_site:?}");
        let expected = if needed { 403 } else { 200 };
        assert_eq!(
            send(&mut ada, method, path, &headers).await,
            expected,
            "{case}"
        );
        headers.push(("x-xsrftoken", xsrf.as_str()));
        assert_eq!(send(&mut ada, method, path, &headers).await, 200, "{case}");
        headers.pop();
        // Another site cannot make a browser send a token.
        headers.push(("authorization", token.as_str()));
        assert_eq!(send(&mut ada, method, path, &headers).await, 200, "{case}");
    }
}

#[tokio::test]
async fn a_token_may_come_in_a_header_or_in_the_query_and_is_nobody_elses() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let bob = site.user("bob").await;
    let mut stranger = site.anonymous();
    stranger.get("/hub/login").await;
    let (own, bobs, strangers) = (ada.xsrf(), bob.xsrf(), stranger.xsrf());
    for name in ["x-xsrftoken", "x-csrftoken"] {
        assert_eq!(
            send(&mut ada, "POST", ACTIVITY, &[(name, own.as_str())]).await,
            200
        );
        for wrong in [
            bobs.as_str(),
            strangers.as_str(),
            "",
            "x",
            &own.to_lowercase(),
        ] {
            assert_eq!(
                send(&mut ada, "POST", ACTIVITY, &[(name, wrong)]).await,
                403,
                "{wrong}"
            );
        }
    }
    let path = format!("{ACTIVITY}?_xsrf={own}");
    assert_eq!(send(&mut ada, "POST", &path, &[]).await, 200);
    let path = format!("{ACTIVITY}?_xsrf={bobs}");
    assert_eq!(send(&mut ada, "POST", &path, &[]).await, 403);
    // What counts is the binding to the login, not the cookie that anybody on this host can plant.
    ada.cookies.insert("_xsrf".to_owned(), bobs.clone());
    assert_eq!(
        send(
            &mut ada,
            "POST",
            ACTIVITY,
            &[("x-xsrftoken", bobs.as_str())]
        )
        .await,
        403
    );
}

#[tokio::test]
async fn a_script_of_another_site_cannot_learn_whether_somebody_is_logged_in() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut nobody = site.anonymous();
    let headers = [
        ("origin", "http://evil.example"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-site", "cross-site"),
    ];
    let known = ada.send("GET", "/hub/api/user", &headers, "").await;
    let unknown = nobody.send("GET", "/hub/api/user", &headers, "").await;
    known.assert_api_error(403);
    assert_eq!(known.json(), unknown.json());
}

#[tokio::test]
async fn forms_of_pages_need_the_token_and_do_nothing_without() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let bobs = site.user("bob").await.xsrf();
    for path in [
        "/hub/spawn",
        "/hub/spawn/ada",
        "/hub/stop/ada",
        "/hub/api/oauth2/authorize",
    ] {
        for token in ["", "x", bobs.as_str()] {
            let answer = ada.post_as_is(path, &[("_xsrf", token)]).await;
            answer.assert_page(403);
        }
        ada.post_as_is(path, &[]).await.assert_page(403);
    }
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn with_a_cookie_the_body_of_a_post_must_be_json() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    for (kind, status) in [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("application/json-patch+json", 200),
        ("", 200),
        ("text/plain", 403),
        ("text/plain; application/json", 403),
        ("text/plain,application/json", 403),
        ("application/x-json", 403),
        ("garbage", 403),
        ("application/x-www-form-urlencoded", 403),
        ("multipart/form-data; boundary=x", 403),
    ] {
        let headers = [("x-xsrftoken", xsrf.as_str()), ("content-type", kind)];
        let answer = ada.send("POST", ACTIVITY, &headers, BODY).await;
        assert_eq!(answer.status, status, "{kind}: {}", answer.text());
    }
    let token = format!("token {}", site.token("ada", &["inherit"]).await);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "text/plain"),
    ];
    assert_eq!(
        site.send("POST", ACTIVITY, &headers, BODY).await.status,
        200
    );
}

#[tokio::test]
async fn only_pages_that_people_go_to_set_the_token() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.cookies.remove("_xsrf");
    for mode in ["cors", "no-cors", "same-origin"] {
        let answer = ada
            .send("GET", "/hub/home", &[("sec-fetch-mode", mode)], "")
            .await;
        assert_eq!(answer.set_cookie("_xsrf"), "", "{mode}");
    }
    let answer = ada
        .send("GET", "/hub/home", &[("sec-fetch-mode", "navigate")], "")
        .await;
    assert!(answer.set_cookie("_xsrf").contains("Path=/hub/"));
    // The same again: the browser has it now.
    assert_eq!(ada.get("/hub/home").await.set_cookie("_xsrf"), "");
    assert_eq!(ada.api("GET", "/user", None).await.set_cookie("_xsrf"), "");
}

#[tokio::test]
async fn errors_keep_the_token_of_the_pages_that_are_open() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for (method, path) in [
        ("GET", "/hub/static/nothing"),
        ("GET", "/hub/%FF"),
        ("GET", "/hub/language/xx"),
        ("GET", "/hub/error/404"),
        ("PUT", "/hub/user/ada/x"),
        ("PUT", "/hub/home"),
        ("POST", "/user/ada/x"),
    ] {
        let answer = ada.send(method, path, &[], "").await;
        assert_eq!(answer.header("set-cookie"), "", "{method} {path}");
    }
    assert_eq!(ada.api("GET", "/user", None).await.status, 200);
}

#[tokio::test]
async fn the_listener_for_servers_knows_no_cookies() {
    let site = Site::new().await;
    let ada = site.user("ada").await;
    let cookies = format!(
        "jupyterhub-hub-login={}",
        ada.cookies["jupyterhub-hub-login"]
    );
    let by_cookie = [("cookie", cookies.as_str())];
    site.send_to_api("GET", "/hub/api/user", &by_cookie)
        .await
        .assert_api_error(403);
    let token = format!("token {}", site.token("ada", &["inherit"]).await);
    let by_token = [("authorization", token.as_str())];
    assert_eq!(
        site.send_to_api("GET", "/hub/api/user", &by_token)
            .await
            .status,
        200
    );
    for path in ["/hub/api", "/hub/api/"] {
        assert_eq!(
            site.send_to_api("GET", path, &[]).await.json(),
            json!({"version": "6.1.1"})
        );
    }
    for path in ["/hub/home", "/hub/login", "/", "/hub/api/oauth2/authorize"] {
        site.send_to_api("GET", path, &by_token)
            .await
            .assert_api_error(404);
    }
}
