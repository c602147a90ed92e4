//! Logging in and out, and what the cookies of it are worth.

use std::time::Duration;

use crate::support::{FORM, PASSWORD, Site, form};

const LOGIN: &str = "jupyterhub-hub-login";
const SESSION: &str = "jupyterhub-session-id";

#[tokio::test]
async fn the_right_password_logs_in_with_the_cookies_of_the_contract() {
    let site = Site::new().await;
    let mut ada = site.anonymous();
    let before = ada.get("/hub/login").await;
    let anonymous = before.set_cookie("_xsrf").to_owned();
    assert!(anonymous.contains("Max-Age=3600") && anonymous.contains("Path=/hub/"));
    assert!(
        !anonymous.contains("HttpOnly"),
        "scripts of the pages read it"
    );
    let planted = ada.cookies[SESSION].clone();

    let answer = ada.log_in("ada", PASSWORD).await;
    answer.assert_leads_to("/hub/spawn");
    let login = answer.set_cookie(LOGIN);
    for attribute in ["HttpOnly", "SameSite=Lax", "Path=/hub/", "Max-Age=1209600"] {
        assert!(login.contains(attribute), "{login}");
    }
    let session = answer.set_cookie(SESSION);
    assert!(
        session.contains("HttpOnly") && session.contains("Path=/"),
        "{session}"
    );
    assert!(
        !session.contains("Max-Age"),
        "it ends with the browser: {session}"
    );
    assert_eq!(ada.cookies[SESSION].len(), 32);
    assert_ne!(
        ada.cookies[SESSION], planted,
        "a session id planted before is worth nothing"
    );
    assert!(!answer.set_cookie("_xsrf").contains("Max-Age"));
    assert!(!login.contains("Secure"), "this was http");
    ada.get("/hub/home").await.assert_page(200);
    // The same person, whatever the case and the spaces around.
    let mut again = site.anonymous();
    assert_eq!(again.log_in("  ADA ", PASSWORD).await.status, 302);
    assert_eq!(again.api("GET", "/user", None).await.json()["name"], "ada");
}

#[tokio::test]
async fn a_wrong_password_a_blocked_person_and_empty_fields_are_refused() {
    let site = Site::new().await;
    for (name, password, status) in [
        ("ada", "wrong", 403),
        ("ada", &format!(" {PASSWORD}"), 403),
        ("ada", "", 403),
        ("", PASSWORD, 403),
        ("eve", PASSWORD, 403),
        ("down", PASSWORD, 503),
    ] {
        let mut visitor = site.anonymous();
        let answer = visitor.log_in(name, password).await;
        answer.assert_page(status);
        assert_eq!(answer.set_cookie(LOGIN), "", "{name}");
        assert!(
            answer.text().contains("name=\"password\""),
            "the form is shown again"
        );
        assert!(!answer.text().contains(PASSWORD), "no password comes back");
        visitor
            .get("/hub/home")
            .await
            .assert_leads_to("/hub/login?next=/hub/home");
    }
    let mut visitor = site.anonymous();
    visitor.get("/hub/login").await;
    visitor
        .post("/hub/login", &[("username", "ada")])
        .await
        .assert_page(403);
    visitor
        .post("/hub/login", &[("password", PASSWORD)])
        .await
        .assert_page(403);
}

#[tokio::test]
async fn whoever_guesses_is_told_how_long_to_wait_and_that_the_password_was_not_looked_at() {
    let site = Site::new().await;
    site.user("ada").await;
    let mut visitor = site.anonymous();
    // Until the pause is longer than this test takes.
    let mut seconds = 0;
    while seconds < 8 {
        site.clock.advance(Duration::from_secs(seconds));
        let answer = visitor.log_in("ada", "wrong").await;
        if answer.status == 429 {
            seconds = answer.header("retry-after").parse().unwrap();
        } else {
            answer.assert_page(403);
            seconds = 0;
        }
    }
    let answer = visitor.log_in("ada", PASSWORD).await;
    answer.assert_page(429);
    let seconds = answer.header("retry-after");
    assert!(answer.text().contains("not looked at"), "{}", answer.text());
    let told = format!("again in {seconds} s");
    assert!(answer.text().contains(&told), "{}", answer.text());
    assert!(answer.text().contains("name=\"password\""));
    assert_eq!(answer.set_cookie(LOGIN), "");
    // The same holds for programs.
    let body = serde_json::json!({"auth": {"username": "ada", "password": PASSWORD}});
    let mut program = site.anonymous();
    let answer = program
        .api("POST", "/users/ada/tokens", Some(body.clone()))
        .await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_ne!(answer.header("retry-after"), "");
    assert_eq!(answer.json()["status"], 429);
    site.clock.advance(Duration::from_secs(11));
    let answer = program.api("POST", "/users/ada/tokens", Some(body)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(visitor.log_in("ada", PASSWORD).await.status, 302);
}

#[tokio::test]
async fn the_login_form_needs_the_token_of_this_browser() {
    let site = Site::new().await;
    let mut other = site.anonymous();
    other.get("/hub/login").await;
    let theirs = other.xsrf();
    let fields = [("username", "ada"), ("password", PASSWORD)];
    for token in [None, Some(""), Some("x"), Some(theirs.as_str())] {
        let mut visitor = site.anonymous();
        visitor.get("/hub/login").await;
        let mut fields = fields.to_vec();
        fields.extend(token.map(|token| ("_xsrf", token)));
        let answer = visitor.post_as_is("/hub/login", &fields).await;
        answer.assert_page(403);
        assert_eq!(answer.set_cookie(LOGIN), "", "{token:?}");
        assert!(
            answer.text().contains("value=\"ada\""),
            "the name need not be typed again"
        );
    }
    // Without any cookie, the answer brings what the next try needs.
    let mut blank = site.anonymous();
    blank
        .post_as_is("/hub/login", &fields)
        .await
        .assert_page(403);
    let answer = blank.post("/hub/login", &fields).await;
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn a_login_page_that_was_open_meanwhile_still_works() {
    let site = Site::new().await;
    let mut ada = site.anonymous();
    ada.get("/hub/login").await;
    let old = ada.xsrf();
    ada.log_in("ada", PASSWORD).await;
    let fields = [
        ("username", "ada"),
        ("password", PASSWORD),
        ("_xsrf", old.as_str()),
    ];
    // The token of before is of another session: the form is shown again, with the right one.
    ada.post_as_is("/hub/login", &fields).await.assert_page(403);
    assert_eq!(ada.post("/hub/login", &fields[..2]).await.status, 302);
}

#[tokio::test]
async fn somebody_who_is_logged_in_goes_on() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.get("/hub/login").await.assert_leads_to("/hub/spawn");
    ada.get("/hub/login?next=/hub/home")
        .await
        .assert_leads_to("/hub/home");
    ada.get("/hub/login?next=//evil.example&x=1")
        .await
        .assert_leads_to("/hub/spawn?x=1");
    ada.get("/hub/").await.assert_leads_to("/hub/spawn");
}

#[tokio::test]
async fn logging_out_ends_the_login_for_whoever_copied_its_cookies() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut thief = site.anonymous();
    thief.cookies = ada.cookies.clone();
    let answer = ada.get("/hub/logout").await;
    answer.assert_leads_to("/hub/login");
    for (name, path) in [(LOGIN, "/hub/"), ("jupyterhub-services", "/services")] {
        let cookie = answer.set_cookie(name);
        assert!(
            cookie.contains("Max-Age=0") && cookie.contains(&format!("Path={path}")),
            "{cookie}"
        );
    }
    ada.get("/hub/home")
        .await
        .assert_leads_to("/hub/login?next=/hub/home");
    thief
        .get("/hub/home")
        .await
        .assert_leads_to("/hub/login?next=/hub/home");
    thief.api("GET", "/user", None).await.assert_api_error(403);
}

#[tokio::test]
async fn a_logout_without_a_login_ends_nobodys_sessions() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut visitor = site.anonymous();
    visitor
        .get("/hub/logout")
        .await
        .assert_leads_to("/hub/login");
    // Somebody who knows the public session id but not the login.
    let session = ada.cookies[SESSION].clone();
    visitor.cookies.insert(SESSION.to_owned(), session);
    visitor
        .get("/hub/logout")
        .await
        .assert_leads_to("/hub/login");
    ada.get("/hub/home").await.assert_page(200);
}

#[tokio::test]
async fn expired_and_forged_logins_are_none() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let real = ada.cookies[LOGIN].clone();
    for forged in [
        "",
        "x",
        "2|1:0|10:1|1:x",
        "\"quoted\"",
        &"a".repeat(3000),
        &real[1..],
        &real.to_uppercase(),
    ] {
        let mut visitor = site.anonymous();
        visitor.cookies.insert(LOGIN.to_owned(), forged.to_owned());
        visitor
            .get("/hub/home")
            .await
            .assert_leads_to("/hub/login?next=/hub/home");
        let login = visitor.get("/hub/login").await;
        login.assert_page(200);
        assert!(
            login.set_cookie(LOGIN).contains("Max-Age=0"),
            "{forged}: it is cleared"
        );
    }
    site.clock.advance(Duration::from_hours(15 * 24));
    ada.get("/hub/home")
        .await
        .assert_leads_to("/hub/login?next=/hub/home");
    ada.api("GET", "/user", None).await.assert_api_error(403);
}

#[tokio::test]
async fn a_flood_of_login_cookies_is_not_all_looked_up() {
    let site = Site::new().await;
    let ada = site.user("ada").await;
    let real = format!("{LOGIN}={}", ada.cookies[LOGIN]);
    let with = |before: usize| format!("{}{real}", format!("{LOGIN}=x; ").repeat(before));
    let few = with(2);
    let answer = site
        .send("GET", "/hub/home", &[("cookie", few.as_str())], "")
        .await;
    answer.assert_page(200);
    let many = with(500);
    let answer = site
        .send("GET", "/hub/home", &[("cookie", many.as_str())], "")
        .await;
    assert_eq!(answer.status, 302);
}

#[tokio::test]
async fn a_form_of_another_kind_is_no_login() {
    let site = Site::new().await;
    let mut visitor = site.anonymous();
    visitor.get("/hub/login").await;
    let xsrf = visitor.xsrf();
    let fields = form(&[
        ("username", "ada"),
        ("password", PASSWORD),
        ("_xsrf", &xsrf),
    ]);
    let json = format!("{{\"username\":\"ada\",\"password\":\"{PASSWORD}\",\"_xsrf\":\"{xsrf}\"}}");
    let kind = [("content-type", "application/json")];
    visitor
        .send("POST", "/hub/login", &kind, json)
        .await
        .assert_page(403);
    let kind = [("content-type", FORM)];
    assert_eq!(
        visitor
            .send("POST", "/hub/login", &kind, fields)
            .await
            .status,
        302
    );
}

#[tokio::test]
async fn over_https_all_cookies_are_for_https_only() {
    let site = Site::new().await;
    let page = site.send_by_https("GET", "/hub/login", &[], "").await;
    let mut cookies = Vec::new();
    for (name, script, keep) in [("_xsrf", true, "Max-Age=3600"), (SESSION, false, "")] {
        let cookie = page.set_cookie(name);
        assert!(cookie.contains("; Secure"), "{cookie}");
        assert!(cookie.contains("SameSite=Lax"), "{cookie}");
        assert_eq!(cookie.contains("HttpOnly"), !script, "{cookie}");
        assert!(cookie.contains(keep), "{cookie}");
        cookies.push(cookie.split(';').next().unwrap().to_owned());
    }
    let xsrf = cookies[0].strip_prefix("_xsrf=").unwrap();
    let fields = [("username", "ada"), ("password", PASSWORD), ("_xsrf", xsrf)];
    let cookies = cookies.join("; ");
    let headers = [("cookie", cookies.as_str()), ("content-type", FORM)];
    let answer = site
        .send_by_https("POST", "/hub/login", &headers, form(&fields))
        .await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    for name in [LOGIN, SESSION, "_xsrf"] {
        let cookie = answer.set_cookie(name);
        assert!(cookie.contains("; Secure"), "{cookie}");
    }
}
