//! Unusual names, from the login to a running server; and names that cannot be.

use http::Method;
use lyceum_core::{RouteSpec, UserName, escape};
use lyceum_testkit::TestHub;

#[tokio::test]
async fn unusual_names_work_from_login_to_server() {
    let hub = TestHub::start().await;
    let long = "x".repeat(255);
    let long_umlauts = "ü".repeat(255);
    for typed in [
        "a@b.cz",
        "Ümläut",
        "user+tag",
        "ada lovelace",
        "100%",
        "%2F",
        "a;b=c",
        "日本",
        "'\"<b>&amp;",
        long.as_str(),
        long_umlauts.as_str(),
    ] {
        let name = UserName::normalize(typed).unwrap();
        let path = escape::path_segment(name.as_str());
        let mut visitor = hub.user(typed).await;
        let answer = visitor
            .api(Method::POST, &format!("/users/{path}/server"), None)
            .await;
        assert_eq!(answer.status, 201, "{typed}: {}", answer.text());
        let url = format!("/user/{path}/");
        let route = hub.routes().find_spec("", &url);
        let decoded = format!("/user/{name}/");
        assert_eq!(
            route.as_ref().map(RouteSpec::path_prefix),
            Some(decoded.as_str()),
            "{typed}"
        );
        let me = visitor.follow(&format!("{url}whoami")).await;
        assert_eq!(me.status, 200, "{typed}: {}", me.text());
        assert_eq!(me.json()["name"], name.as_str());
        let home = visitor.get("/hub/home").await;
        assert_eq!(home.status, 200, "{typed}");
        let answer = visitor
            .api(Method::DELETE, &format!("/users/{path}/server"), None)
            .await;
        assert_eq!(answer.status, 204, "{typed}: {}", answer.text());
        assert_eq!(hub.routes().find_spec("", &url), None, "{typed}");
    }
    assert!(hub.processes().is_empty());
}

#[tokio::test]
async fn names_that_would_mean_something_else_are_refused() {
    let hub = TestHub::start().await;
    let before = hub.store().count_users().await.unwrap();
    for typed in [
        "",
        ".",
        "..",
        "a/b",
        "%2E%2e",
        "a\nb",
        "a\0b",
        "/",
        &"x".repeat(300),
    ] {
        let answer = hub.anonymous().log_in(typed, "").await;
        assert_eq!(answer.status, 403, "{typed:?}");
    }
    // Longer than any form of the hub's.
    let answer = hub.anonymous().log_in(&"x".repeat(200_000), "").await;
    assert_eq!(answer.status, 413);
    assert_eq!(hub.store().count_users().await.unwrap(), before);

    // Nor can they be asked for.
    let mut admin = hub.admin().await;
    for path in ["..", "a%2Fb", "%252e%252e", &"x".repeat(300)] {
        let answer = admin
            .api(Method::POST, &format!("/users/{path}/server"), None)
            .await;
        assert!((400..=405).contains(&answer.status), "{path}: {answer:?}");
    }
    assert!(hub.processes().is_empty());
}
