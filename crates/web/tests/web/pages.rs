//! Where pages lead, and what is shown where a server does not run.

use serde_json::json;

use crate::support::Site;

#[tokio::test]
async fn paths_outside_of_the_hub_are_found_inside_of_it() {
    let site = Site::new().await;
    for (path, status, location) in [
        ("/", 302, "/hub/"),
        ("/?x=1", 302, "/hub/?x=1"),
        ("/hub", 301, "/hub/"),
        ("/hub?x=1", 301, "/hub/?x=1"),
        ("/nothing/x?y=1", 302, "/hub/nothing/x?y=1"),
        ("/user/ada", 301, "/user/ada/"),
        ("/user/ada?x=1", 301, "/user/ada/?x=1"),
        ("/user/ada/lab?x=1", 302, "/hub/user/ada/lab?x=1"),
        ("/user/", 302, "/hub/user/"),
        ("/services/x", 301, "/services/x/"),
        ("/services/x/y", 302, "/hub/services/x/y"),
        ("/user-redirect/lab?x", 302, "/hub/user-redirect/lab?x"),
        ("//evil.example/x", 302, "/hub//evil.example/x"),
        ("/hub/", 302, "/hub/login?next=/hub/"),
    ] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!(
            (answer.status, answer.location()),
            (status, location),
            "{path}"
        );
    }
}

#[tokio::test]
async fn unknown_pages_need_no_login() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for path in [
        "/hub/nothing",
        "/hub/home/",
        "/hub/login/",
        "/hub/services/x/",
        "/hub/user",
        "/hub//home",
        "/hub/spawn-pending",
    ] {
        site.send("GET", path, &[], "").await.assert_page(404);
        ada.get(path).await.assert_page(404);
    }
    ada.get("/hub/spawn-pending/ada/none")
        .await
        .assert_page(404);
    ada.get("/hub/spawn-pending/nobody").await.assert_page(404);
}

#[tokio::test]
async fn links_for_everybody_lead_to_ones_own_server() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for (path, next) in [
        (
            "lab/tree/a%20b.ipynb?x=1&y=2",
            "/user/ada/lab/tree/a%2520b.ipynb%3Fx%3D1%26y%3D2",
        ),
        ("a%2Fb", "/user/ada/a%252Fb"),
        ("", "/user/ada/"),
        ("/evil.example", "/user/ada/evil.example"),
    ] {
        let answer = ada.get(&format!("/hub/user-redirect/{path}")).await;
        answer.assert_leads_to(&format!("/hub/spawn/ada?next={next}"));
    }
}

#[tokio::test]
async fn a_server_that_does_not_run_is_told_to_people_and_to_programs() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let page = ada.get("/hub/user/ada/lab?x=1").await;
    page.assert_page(424);
    assert!(
        page.text()
            .contains("/hub/spawn/ada?next=/user/ada/lab%3Fx%3D1"),
        "{}",
        page.text()
    );
    for (accept, path, is_json) in [
        ("application/json", "/hub/user/ada/lab", true),
        ("application/json,text/html", "/hub/user/ada/lab", true),
        ("text/html,application/json", "/hub/user/ada/lab", false),
        ("*/*", "/hub/user/ada/lab", false),
        ("text/html", "/hub/user/ada/api/kernels", true),
        ("text/html", "/hub/user/ada/apis", false),
    ] {
        let answer = ada.send("GET", path, &[("accept", accept)], "").await;
        assert_eq!(answer.status, 424);
        let kind = answer.header("content-type");
        assert_eq!(
            kind == "application/json",
            is_json,
            "{accept} {path}: {kind}"
        );
        if is_json {
            let body = answer.json();
            assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
            let message = body["message"].as_str().unwrap();
            assert!(
                message.contains("http://hub.example/hub/spawn/ada"),
                "{message}"
            );
        }
    }
    assert_eq!(site.spawner.starts(), 0, "looking starts nothing");
}

#[tokio::test]
async fn programs_that_change_something_in_a_stopped_server_are_told_after_the_token() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    for method in ["POST", "PATCH", "DELETE"] {
        let path = "/hub/user/ada/api/kernels";
        ada.send(method, path, &[], "").await.assert_api_error(403);
        let answer = ada.send(method, path, &[("x-xsrftoken", &xsrf)], "").await;
        assert_eq!(answer.status, 424, "{method}");
        assert_eq!(answer.json().as_object().unwrap().len(), 1);
    }
    ada.send("PUT", "/hub/user/ada/x", &[], "")
        .await
        .assert_page(405);
    assert_eq!(
        ada.post("/hub/user/ada/x", &[]).await.status,
        424,
        "the token may be in the form"
    );
    let token = site.token("ada", &["inherit"]).await;
    let answer = site
        .call("POST", "/hub/user/ada/api/kernels", &token, Some(json!({})))
        .await;
    assert_eq!(answer.status, 424);
}

#[tokio::test]
async fn a_server_that_runs_is_led_back_to_but_not_for_ever() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.api("POST", "/users/ada/server", None).await;
    ada.get("/hub/user/ada/lab?x=1")
        .await
        .assert_leads_to("/user/ada/lab?x=1&redirects=1");
    ada.get("/hub/user/ada/lab?redirects=nonsense")
        .await
        .assert_leads_to("/user/ada/lab?redirects=1");
    ada.get("/hub/user/ada/lab?redirects=4")
        .await
        .assert_page(500);
    ada.get("/hub/user/ada/lab?redirects=4294967295")
        .await
        .assert_page(500);
    ada.get("/hub/spawn-pending/ada")
        .await
        .assert_leads_to("/user/ada/");
    ada.get("/hub/").await.assert_leads_to("/user/ada/");
}

#[tokio::test]
async fn the_pages_for_another_proxy_are_always_there() {
    let site = Site::new().await;
    for code in ["404", "424", "500", "503"] {
        let answer = site
            .send("GET", &format!("/hub/error/{code}"), &[], "")
            .await;
        answer.assert_page(200);
    }
    let dead = site
        .send("GET", "/hub/error/503?url=/user/ada/lab", &[], "")
        .await;
    dead.assert_page(200);
    assert!(dead.text().contains("/user/ada/lab"));
    let away = site
        .send("GET", "/hub/error/503?url=//evil.example/x", &[], "")
        .await;
    assert!(!away.text().contains("evil.example"), "{}", away.text());
    for code in ["200", "302", "999", "abc", "99999", "-1"] {
        let answer = site
            .send("GET", &format!("/hub/error/{code}"), &[], "")
            .await;
        assert!(matches!(answer.status, 200 | 404), "{code}");
    }
}

#[tokio::test]
async fn reports_of_browsers_need_a_login_and_are_limited() {
    let site = Site::new().await;
    let path = "/hub/security/csp-report";
    site.send("POST", path, &[], "{}").await.assert_page(403);
    let mut ada = site.user("ada").await;
    assert_eq!(ada.send("POST", path, &[], "{}").await.status, 200);
    assert_eq!(
        ada.send("POST", path, &[], vec![b'x'; 100_000])
            .await
            .status,
        413
    );
}
