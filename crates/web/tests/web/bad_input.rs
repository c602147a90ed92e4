//! Names, escapes and bodies that nobody should send: each gets a clear answer, and nothing breaks.

use axum::body::Body;
use bytes::Bytes;
use serde_json::json;

use crate::support::{FORM, PASSWORD, Site, form};

/// Names as they stand in a path.
fn names() -> Vec<String> {
    let long = "x".repeat(300);
    [
        "a%20b",
        "%20",
        "ada%20",
        "ADA",
        "%C3%A9l%C3%A8ve",
        "%E2%80%AE",
        "..",
        "%2e%2e",
        ".",
        "%2E",
        "a%2Fb",
        "%2F",
        "..%2f..",
        "a%5Cb",
        "%00",
        "a%0d%0aX:y",
        "%",
        "%zz",
        "a%25b",
        "'",
        "%22",
        "%3Cscript%3E",
        "a;b",
        "a+b",
        "nobody",
        "{user}",
        "*",
        "-",
        "%F0%9F%90%8D",
    ]
    .iter()
    .map(|&name| name.to_owned())
    .chain([long])
    .collect()
}

/// Where a name can stand.
const PLACES: &[&str] = &[
    "/hub/api/users/NAME",
    "/hub/api/users/NAME/server",
    "/hub/api/users/NAME/server/progress",
    "/hub/api/users/NAME/servers/x",
    "/hub/api/users/ada/servers/NAME",
    "/hub/api/users/ada/servers/NAME/progress",
    "/hub/api/users/NAME/activity",
    "/hub/user/NAME",
    "/hub/user/NAME/lab",
    "/hub/user/ada/NAME/lab",
    "/user/NAME",
    "/user/NAME/lab",
    "/hub/spawn/NAME",
    "/hub/spawn-pending/NAME",
    "/hub/spawn-pending/ada/NAME",
    "/hub/stop/NAME",
    "/hub/stop/ada/NAME",
    "/hub/language/NAME",
    "/hub/error/NAME",
    "/hub/static/NAME",
    "/hub/user-redirect/NAME",
    "/NAME",
];

#[tokio::test]
async fn strange_names_get_clear_answers_in_every_place() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut nobody = site.anonymous();
    for place in PLACES {
        for name in names() {
            // A browser resolves dots before it asks, as the gateway does.
            let path = place.replace("NAME", &name);
            for method in ["GET", "POST", "DELETE"] {
                for answer in [
                    ada.api_or_page(method, &path).await,
                    nobody.api_or_page(method, &path).await,
                ] {
                    let status = answer.status;
                    assert!(status < 500, "{method} {path}: {status} {}", answer.text());
                    assert!(!answer.text().contains("<script>alert"), "{path}");
                    for value in answer.headers.values() {
                        assert!(!value.as_bytes().contains(&b'\n'), "{path}");
                    }
                    if path.starts_with("/hub/api/") && status >= 400 {
                        answer.assert_api_error(status);
                    }
                }
            }
        }
    }
    assert_eq!(site.spawner.starts(), 0);
    assert!(ada.get("/hub/home").await.status == 200);
}

impl crate::support::Browser<'_> {
    async fn api_or_page(&mut self, method: &str, path: &str) -> crate::support::Answer {
        let xsrf = self.xsrf();
        let headers = [("x-xsrftoken", xsrf.as_str())];
        self.send(method, path, &headers, "").await
    }
}

#[tokio::test]
async fn escapes_that_are_no_text_are_refused_everywhere() {
    let site = Site::new().await;
    for place in PLACES {
        for name in ["%FF", "%C3", "a%C0%AFb", "%ED%A0%80"] {
            let path = place.replace("NAME", name);
            let answer = site.send("GET", &path, &[], "").await;
            if path.starts_with("/hub/api/") {
                answer.assert_api_error(400);
            } else {
                answer.assert_page(400);
            }
        }
    }
}

#[tokio::test]
async fn unusual_people_can_log_in_and_start_servers() {
    let site = Site::new().await;
    for (name, escaped) in [
        ("a b", "a%20b"),
        ("élève", "%C3%A9l%C3%A8ve"),
        ("a@b.example", "a@b.example"),
        ("a%2fb", "a%252fb"),
        ("<script>", "%3Cscript%3E"),
        ("{user}", "%7Buser%7D"),
    ] {
        let mut visitor = site.user(name).await;
        let page = visitor.get("/hub/home").await;
        page.assert_page(200);
        assert!(!page.text().contains("<script>"), "{name} is escaped");
        let answer = visitor.get("/hub/user-redirect/lab").await;
        let next = format!("/user/{escaped}/lab")
            .replace('%', "%25")
            .replace('@', "%40");
        answer.assert_leads_to(&format!("/hub/spawn/{escaped}?next={next}"));
        let start = visitor
            .api("POST", &format!("/users/{escaped}/server"), None)
            .await;
        assert_eq!(start.status, 201, "{name}: {}", start.text());
        let model = visitor.api("GET", "/user", None).await.json();
        assert_eq!(
            (&model["name"], &model["server"]),
            (&json!(name), &json!(format!("/user/{escaped}/")))
        );
    }
}

#[tokio::test]
async fn names_that_would_break_urls_or_logs_cannot_log_in() {
    let site = Site::new().await;
    let long = "x".repeat(300);
    for name in [
        "a/b", "..", ".", "%2e%2e", "a\nb", "a\0b", "a\rb", "/", &long,
    ] {
        let mut visitor = site.anonymous();
        let answer = visitor.log_in(name, PASSWORD).await;
        answer.assert_page(403);
        visitor
            .get("/hub/home")
            .await
            .assert_leads_to("/hub/login?next=/hub/home");
    }
    // What is shown again of a long name is cut.
    let mut visitor = site.anonymous();
    let answer = visitor.log_in(&"y".repeat(50_000), PASSWORD).await;
    answer.assert_page(403);
    assert!(answer.body.len() < 10_000);
}

#[tokio::test]
async fn huge_and_broken_forms_are_refused() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let huge = form(&[("_xsrf", &xsrf), ("password", &"x".repeat(100_000))]);
    let kind = [("content-type", FORM)];
    for path in ["/hub/login", "/hub/stop/ada", "/hub/api/oauth2/authorize"] {
        ada.send("POST", path, &kind, huge.clone())
            .await
            .assert_page(413);
        for broken in [&b"username=\xff"[..], b"username=%ff&_xsrf=x", b"\xc3\x28"] {
            let answer = ada.send("POST", path, &kind, broken).await;
            answer.assert_page(400);
        }
    }
    let answer = site
        .send("POST", "/hub/api/oauth2/token", &kind, huge)
        .await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (400, &json!("invalid_request"))
    );
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn options_are_few_and_small() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let kind = [("content-type", FORM)];
    let long = form(&[("_xsrf", &xsrf), ("x", &"x".repeat(64 << 10))]);
    let many = format!("{}&{}", form(&[("_xsrf", &xsrf)]), "a&".repeat(1000));
    for body in [long, many.clone()] {
        ada.send("POST", "/hub/spawn", &kind, body)
            .await
            .assert_page(413);
    }
    ada.get(&format!("/hub/spawn?{many}"))
        .await
        .assert_page(413);
    let many: serde_json::Map<_, _> = (0..1001).map(|n| (n.to_string(), json!(n))).collect();
    for body in [
        json!({"x": "x".repeat(256 << 10)}),
        json!({"user_options": many}),
        json!(many),
    ] {
        ada.api("POST", "/users/ada/server", Some(body))
            .await
            .assert_api_error(413);
    }
    assert_eq!(site.spawner.starts(), 0);
    let large = json!({"servers": {}, "x": "x".repeat(1 << 20)});
    ada.api("POST", "/users/ada/activity", Some(large))
        .await
        .assert_api_error(413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_mistake_of_the_client() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let broken = || {
        let parts = [
            Ok(Bytes::from_static(b"username=ada")),
            Err(std::io::Error::other("gone")),
        ];
        Body::from_stream(tokio_stream::iter(parts))
    };
    let kind = [("content-type", FORM)];
    ada.send("POST", "/hub/login", &kind, broken())
        .await
        .assert_page(400);
    let token = format!("token {}", site.token("ada", &["inherit"]).await);
    let headers = [("authorization", token.as_str())];
    let answer = site
        .send("POST", "/hub/api/users/ada/server", &headers, broken())
        .await;
    answer.assert_api_error(400);
}

#[tokio::test]
async fn json_that_is_none_is_refused_once_the_caller_is_known() {
    let site = Site::new().await;
    site.user("ada").await;
    site.user("bob").await;
    let token = format!("token {}", site.token("ada", &["inherit"]).await);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
    ];
    let deep = "[".repeat(60_000);
    for body in [
        &b"{"[..],
        b"\xff\xfe",
        b"{'a': 1}",
        b"NaN",
        b"{}{}",
        deep.as_bytes(),
    ] {
        for (method, path) in [
            ("POST", "server"),
            ("DELETE", "server"),
            ("POST", "activity"),
        ] {
            let path = |user| format!("/hub/api/users/{user}/{path}");
            let body = || Body::from(body.to_vec());
            let own = site.send(method, &path("ada"), &headers, body()).await;
            own.assert_api_error(400);
            let other = site.send(method, &path("bob"), &headers, body()).await;
            other.assert_api_error(404);
        }
    }
    assert_eq!(site.spawner.starts(), 0);
}

#[tokio::test]
async fn strange_headers_do_no_harm() {
    let site = Site::new().await;
    let long = "x".repeat(60_000);
    for (name, value) in [
        ("cookie", long.as_str()),
        ("cookie", ";;;=;=;a=b=c;\"=;"),
        ("authorization", long.as_str()),
        ("accept", ";;,,q=;q=x"),
        ("accept-language", ";;,x-q;q=nan,*"),
        ("sec-fetch-mode", long.as_str()),
        ("if-none-match", ",,\"\""),
        ("content-type", ";"),
        ("user-agent", ""),
    ] {
        for path in [
            "/hub/login",
            "/hub/api/user",
            "/hub/user/ada/lab",
            "/hub/logo",
        ] {
            let answer = site.send("GET", path, &[(name, value)], "").await;
            assert!(answer.status < 500, "{name} {path}: {}", answer.text());
        }
    }
}
