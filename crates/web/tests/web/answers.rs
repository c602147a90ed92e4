//! What answers carry, whatever they say: versions, ids, policies; and which methods are known where.

use crate::support::Site;

#[tokio::test]
async fn every_answer_names_version_and_request_and_is_not_to_be_guessed_at() {
    let site = Site::new().await;
    for path in [
        "/hub/api",
        "/hub/api/user",
        "/hub/api/nothing",
        "/hub/login",
        "/hub/nothing",
        "/hub/home",
        "/hub/health",
        "/",
        "/hub/%FF",
        "/hub/user/ada/hub/static/x",
    ] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!(answer.header("x-jupyterhub-version"), "6.1.1", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
        assert!(!policy.contains("script-src 'unsafe"), "{path}: {policy}");
    }
    for path in ["/hub/logo", "/hub/static/style.css", "/hub/static/nothing"] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!(answer.header("x-jupyterhub-version"), "", "{path}");
    }
}

#[tokio::test]
async fn the_id_of_a_request_is_ours_and_on_its_error_page() {
    let site = Site::new().await;
    let sent = [("x-request-id", "chosen-by-the-client")];
    let answer = site.send("GET", "/hub/nothing", &sent, "").await;
    let id = answer.header("x-request-id");
    assert_ne!(id, "chosen-by-the-client");
    assert!(!answer.text().contains("chosen-by-the-client"));
    let again = site.send("GET", "/hub/nothing", &sent, "").await;
    assert_ne!(again.header("x-request-id"), id);
}

#[tokio::test]
async fn the_api_knows_options_everywhere_and_head_nowhere() {
    let site = Site::new().await;
    for path in [
        "/hub/api",
        "/hub/api/",
        "/hub/api/info",
        "/hub/api/user",
        "/hub/api/users/ada",
        "/hub/api/users/ada/server/progress",
        "/hub/api/oauth2/token",
    ] {
        let options = site.send("OPTIONS", path, &[], "").await;
        assert_eq!((options.status, options.body.len()), (200, 0), "{path}");
        let allowed = options.header("access-control-allow-headers");
        assert_eq!(allowed, "accept, content-type, authorization", "{path}");
        let head = site.send("HEAD", path, &[], "").await;
        assert_eq!(head.status, 405, "{path}");
        site.send("FOO", path, &[], "").await.assert_api_error(405);
    }
    for method in ["GET", "POST", "PUT", "OPTIONS"] {
        let answer = site.send(method, "/hub/api/nothing", &[], "").await;
        answer.assert_api_error(404);
    }
    assert_eq!(
        site.send("HEAD", "/hub/api/nothing", &[], "").await.status,
        404
    );
    let mut ada = site.user("ada").await;
    let head = ada.send("HEAD", "/hub/api/oauth2/authorize", &[], "").await;
    assert_eq!(head.status, 405);
}

#[tokio::test]
async fn only_the_version_is_open_to_other_sites() {
    let site = Site::new().await;
    for path in ["/hub/api", "/hub/api/"] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!(answer.json(), serde_json::json!({"version": "6.1.1"}));
        assert_eq!(answer.header("access-control-allow-origin"), "*");
    }
    for path in [
        "/hub/api/user",
        "/hub/api/info",
        "/hub/login",
        "/hub/api/oauth2/token",
    ] {
        let answer = site
            .send("GET", path, &[("origin", "http://evil.example")], "")
            .await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

#[tokio::test]
async fn pages_know_their_methods_and_head_changes_nothing() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for path in [
        "/hub/login",
        "/hub/home",
        "/hub/",
        "/hub/spawn",
        "/hub/error/404",
    ] {
        ada.send("PUT", path, &[], "").await.assert_page(405);
    }
    ada.send("POST", "/hub/home", &[], "")
        .await
        .assert_page(405);
    ada.send("POST", "/hub/nothing", &[], "")
        .await
        .assert_page(404);
    ada.send("POST", "/user/ada/lab", &[], "")
        .await
        .assert_page(403);
    ada.send("OPTIONS", "/user/ada/lab", &[], "")
        .await
        .assert_page(405);
    for path in [
        "/hub/spawn",
        "/hub/spawn/ada",
        "/hub/spawn/ada/x",
        "/hub/logout",
    ] {
        assert_eq!(ada.send("HEAD", path, &[], "").await.status, 405, "{path}");
    }
    assert_eq!(site.spawner.starts(), 0);
    let home = ada.send("HEAD", "/hub/home", &[], "").await;
    assert_eq!((home.status, home.body.len()), (200, 0));
}

#[tokio::test]
async fn health_needs_nothing() {
    let site = Site::new().await;
    for path in ["/hub/health", "/hub/api/health"] {
        for method in ["GET", "HEAD"] {
            let answer = site.send(method, path, &[], "").await;
            assert_eq!(
                (answer.status, answer.body.len()),
                (200, 0),
                "{method} {path}"
            );
            assert_eq!(answer.header("content-type"), "text/html");
            assert_eq!(answer.header("set-cookie"), "");
        }
    }
}

#[tokio::test]
async fn files_are_kept_by_browsers_if_their_version_is_right() {
    let site = Site::new().await;
    let logo = site.send("GET", "/hub/logo", &[], "").await;
    assert_eq!(
        (logo.status, logo.header("content-type")),
        (200, "image/svg+xml")
    );
    let tag = logo.header("etag").to_owned();
    let known = [("if-none-match", tag.as_str())];
    assert_eq!(site.send("GET", "/hub/logo", &known, "").await.status, 304);
    let head = site.send("HEAD", "/hub/logo", &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));

    let page = site.send("GET", "/hub/login", &[], "").await.text();
    let (_, rest) = page.split_once("/hub/static/style.css?v=").unwrap();
    let version = rest.split('"').next().unwrap();
    let kept = |query: String| {
        let site = &site;
        async move {
            let answer = site
                .send("GET", &format!("/hub/static/style.css{query}"), &[], "")
                .await;
            assert_eq!(answer.status, 200);
            answer.header("cache-control").to_owned()
        }
    };
    assert_eq!(kept(format!("?v={version}")).await, "max-age=315360000");
    assert_eq!(kept("?v=0".to_owned()).await, "no-cache");
    assert_eq!(kept(String::new()).await, "no-cache");
    for path in [
        "../Cargo.toml",
        "..%2F..%2Fetc/passwd",
        "%2e%2e/x",
        "",
        "x/y",
    ] {
        let answer = site
            .send("GET", &format!("/hub/static/{path}"), &[], "")
            .await;
        answer.assert_page(404);
    }
    assert_eq!(site.send("GET", "/favicon.ico", &[], "").await.status, 200);
    let robots = site.send("GET", "/robots.txt", &[], "").await;
    assert!(robots.text().contains("Disallow: /"));
}

/// The hub's cookies do not come to a server's address: one that is set there would replace that of an open page.
#[tokio::test]
async fn a_request_for_a_server_that_does_not_run_sets_no_cookie_of_the_hub() {
    let site = Site::new().await;
    let answer = site.send("POST", "/user/ada/api/contents", &[], "{}").await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("set-cookie"), "");
}

#[tokio::test]
async fn an_authority_that_asks_for_an_unknown_proof_is_told_so_and_not_sent_on() {
    for base in ["/", "/lab/"] {
        let site = Site::with(|settings| settings.base_url = base.to_owned()).await;
        for path in ["", "no-such-token", "a/b"] {
            let path = format!("/.well-known/acme-challenge/{path}");
            let answer = site.send("GET", &path, &[], "").await;
            assert_eq!(answer.status, 404, "{base} {path}");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(answer.text(), "404 Not Found");
        }
    }
}

#[tokio::test]
async fn pages_and_answers_about_people_are_not_kept() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for path in ["/hub/home", "/hub/login", "/hub/nothing"] {
        let cache = ada.get(path).await.header("cache-control").to_owned();
        assert!(
            path == "/hub/login" || cache == "no-store, private",
            "{path}: {cache}"
        );
    }
    let user = ada.api("GET", "/user", None).await;
    assert_eq!(user.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_chosen_language_is_kept_for_the_whole_site() {
    let site = Site::new().await;
    let mut visitor = site.anonymous();
    let chosen = visitor.get("/hub/language/de?next=/hub/login").await;
    chosen.assert_leads_to("/hub/login");
    let cookie = chosen.set_cookie("lyceum-language");
    assert!(cookie.starts_with("lyceum-language=de;"), "{cookie}");
    for attribute in ["; Path=/;", "HttpOnly", "SameSite=Lax"] {
        assert!(format!("{cookie};").contains(attribute), "{cookie}");
    }
    assert!(
        visitor
            .get("/hub/login")
            .await
            .text()
            .contains("<html lang=\"de\"")
    );
    visitor.get("/hub/language/xx").await.assert_page(404);
    let away = visitor.get("/hub/language/de?next=//evil.example").await;
    away.assert_leads_to("/hub/");
}

#[tokio::test]
async fn everything_lives_below_the_base_url() {
    let site = Site::with(|settings| settings.base_url = "/lab/".to_owned()).await;
    let answer = site.send("GET", "/lab/hub/api/", &[], "").await;
    assert_eq!(answer.status, 200);
    let answer = site.send("GET", "/lab/user/ada", &[], "").await;
    assert_eq!((answer.status, answer.location()), (301, "/lab/user/ada/"));
    let answer = site.send("GET", "/lab/hub", &[], "").await;
    assert_eq!((answer.status, answer.location()), (301, "/lab/hub/"));
    for path in ["/", "/hub/api", "/laboratory"] {
        site.send("GET", path, &[], "").await.assert_page(404);
    }
    for (path, leads_to) in [("/lab", "/lab/hub/"), ("/lab?x=1", "/lab/hub/?x=1")] {
        let answer = site.send("GET", path, &[], "").await;
        assert_eq!((answer.status, answer.location()), (302, leads_to));
    }
    let login = site.send("GET", "/lab/hub/login", &[], "").await;
    assert!(login.set_cookie("_xsrf").contains("Path=/lab/hub/"));
    assert!(
        login
            .set_cookie("jupyterhub-session-id")
            .contains("Path=/lab/")
    );
    assert_eq!(
        site.send("HEAD", "/lab/hub/api/user", &[], "").await.status,
        405
    );
}
