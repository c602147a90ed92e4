//! `next`: wherever it is taken from, it leads to a path of this site, or counts as absent.

use crate::support::{PASSWORD, Site};

/// Each with where it leads after a login; `None`: to the usual place.
const CASES: &[(&str, Option<&str>)] = &[
    ("/hub/home", Some("/hub/home")),
    (
        "/user/ada/lab?x=1&y=a%20b#z",
        Some("/user/ada/lab?x=1&y=a%20b#z"),
    ),
    ("http://hub.example/hub/home", Some("/hub/home")),
    ("//hub.example/x", Some("/x")),
    ("HTTP://HUB.example:80/x", Some("/x")),
    ("/%2F%2Fevil.example", Some("/%2F%2Fevil.example")),
    ("/é", Some("/%C3%A9")),
    ("/a?next=//evil.example", Some("/a?next=//evil.example")),
    ("/%0d%0aset-cookie:a=b", Some("/%0d%0aset-cookie:a=b")),
    ("/\\evil.example", Some("/%5Cevil.example")),
    ("//hub.example//evil.example", Some("/evil.example")),
    (
        "http://hub.example/\\evil.example",
        Some("/%5Cevil.example"),
    ),
    ("//evil.example", None),
    ("///evil.example", None),
    ("////evil.example", None),
    ("\\\\evil.example", None),
    ("http://evil.example", None),
    ("HTTPS://evil.example", None),
    ("https:evil.example", None),
    ("https:/evil.example", None),
    ("http:///evil.example", None),
    ("http://hub.example@evil.example/", None),
    ("http://hub.example:x@evil.example/", None),
    ("http://hub.example.evil.example/", None),
    ("http://evil.example/#hub.example", None),
    ("http://evil.example\\@hub.example/", None),
    ("//user@hub.example/x", None),
    ("http://hub.example:81/x", None),
    ("javascript:alert(1)", None),
    ("data:text/html,x", None),
    ("hub/home", None),
    ("?x", None),
    ("", None),
    ("/\t/evil.example", None),
    ("/\n/evil.example", None),
    ("/x\r\nset-cookie: a=b", None),
    (" //evil.example", None),
    ("\u{0}/x", None),
];

fn query(next: &str) -> String {
    let value: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    format!("next={value}")
}

#[tokio::test]
async fn a_login_leads_to_this_site_alone() {
    let site = Site::new().await;
    for (next, expected) in CASES {
        let expected = expected.unwrap_or("/hub/spawn");
        let fields = [("username", "ada"), ("password", PASSWORD)];
        let path = format!("/hub/login?{}", query(next));
        let mut visitor = site.anonymous();
        let page = visitor.get(&path).await;
        page.assert_page(200);
        for away in ["=\"//", "=\"http", "=\"javascript"] {
            assert!(!page.text().contains(away), "{next}: the page leads away");
        }
        let answer = visitor.post(&path, &fields).await;
        assert_eq!(answer.location(), expected, "in the query: {next:?}");

        let mut visitor = site.anonymous();
        visitor.get("/hub/login").await;
        let answer = visitor
            .post("/hub/login", &[fields[0], fields[1], ("next", next)])
            .await;
        assert_eq!(answer.location(), expected, "in the form: {next:?}");
    }
}

#[tokio::test]
async fn pages_for_people_who_are_logged_in_lead_to_this_site_alone() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let started = ada.api("POST", "/users/ada/server", None).await;
    assert_eq!(started.status, 201, "{}", started.text());
    for (next, expected) in CASES {
        for (path, usual) in [
            ("/hub/login", "/user/ada/"),
            ("/hub/", "/user/ada/"),
            ("/hub/spawn", "/user/ada/"),
            ("/hub/spawn/ada", "/user/ada/"),
            ("/hub/spawn-pending/ada", "/user/ada/"),
            ("/hub/language/en", "/hub/"),
        ] {
            let answer = ada.get(&format!("{path}?{}", query(next))).await;
            assert_eq!(answer.status, 302, "{path} {next:?}");
            assert_eq!(
                answer.location(),
                expected.unwrap_or(usual),
                "{path} {next:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_leads_through_a_start_is_checked_again() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let answer = ada.get("/hub/spawn?next=/user/ada/tree%3Fa=b").await;
    answer.assert_leads_to("/hub/spawn-pending/ada?next=/user/ada/tree%3Fa%3Db");
    let mut bob = site.user("bob").await;
    let answer = bob.get("/hub/spawn?next=//evil.example").await;
    answer.assert_leads_to("/hub/spawn-pending/bob");
}

#[tokio::test]
async fn the_configured_public_url_counts_as_this_site_and_a_foreign_host_header_gains_nothing() {
    let public = |settings: &mut lyceum_hub::HubSettings| {
        settings.public_url = Some("https://learn.example".to_owned());
    };
    let site = Site::with(public).await;
    let mut ada = site.user("ada").await;
    let answer = ada
        .get("/hub/login?next=https://learn.example/hub/home")
        .await;
    answer.assert_leads_to("/hub/home");
    // Only the requester's own browser sends such a header, and it is led to a path in any case.
    let host = [("host", "evil.example")];
    let answer = ada
        .send("GET", "/hub/login?next=http://evil.example/x", &host, "")
        .await;
    answer.assert_leads_to("/x");
}
