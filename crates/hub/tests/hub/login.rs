//! Who gets in, as what, and how they get out again.

use http::Method;
use lyceum_core::UserName;
use lyceum_testkit::{TestHub, Visitor};

fn names(names: &[&str]) -> std::collections::BTreeSet<UserName> {
    names
        .iter()
        .map(|name| UserName::parse(name).unwrap())
        .collect()
}

async fn status(hub: &TestHub, name: &str) -> u16 {
    hub.anonymous().log_in(name, "").await.status
}

#[tokio::test]
async fn only_those_who_are_admitted_get_in() {
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.access.allow_all = false;
            settings.access.allowed_users = names(&["ada", "eve"]);
            settings.access.admin_users = names(&["boss", "mallory"]);
            settings.access.blocked_users = names(&["eve", "mallory"]);
        })
        .start()
        .await;
    for (name, expected) in [
        ("ada", 302),
        ("ADA", 302),
        ("boss", 302),
        ("bob", 403),
        ("eve", 403),
        ("Eve", 403),
        ("mallory", 403),
    ] {
        assert_eq!(status(&hub, name).await, expected, "{name}");
    }
    let bob = UserName::parse("bob").unwrap();
    assert!(hub.store().find_user(&bob).await.unwrap().is_none());
    let answer = hub.anonymous().log_in("bob", "").await;
    assert!(answer.text().contains("bob"), "{}", answer.text());
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 1);
}

#[tokio::test]
async fn known_people_get_in_where_that_is_enough() {
    let hub = TestHub::builder()
        .settings(|settings| {
            settings.access.allow_all = false;
            settings.access.allow_existing_users = true;
        })
        .start()
        .await;
    hub.user_row("ada").await;
    assert_eq!(status(&hub, "ada").await, 302);
    assert_eq!(status(&hub, "bob").await, 403);
}

async fn is_admin(visitor: &mut Visitor) -> bool {
    let model = visitor.api(Method::GET, "/user", None).await.json();
    model["admin"].as_bool().unwrap()
}

#[tokio::test]
async fn the_configuration_makes_administrators_and_never_unmakes_them() {
    let hub = TestHub::start().await;
    assert!(is_admin(&mut hub.admin().await).await);
    assert!(!is_admin(&mut hub.user("ada").await).await);
    let ada = hub.user_row("ada").await;
    let mut tx = hub.store().begin().await.unwrap();
    tx.set_admin(ada.id, true).await.unwrap();
    tx.commit().await.unwrap();
    assert!(is_admin(&mut hub.user("ada").await).await);
}

#[tokio::test]
async fn a_logout_ends_this_login_and_no_other() {
    let hub = TestHub::start().await;
    let (mut here, mut there) = (hub.user("ada").await, hub.user("ada").await);
    let copied = here.clone();
    assert_eq!(here.get("/hub/home").await.status, 200);
    assert_eq!(here.get("/hub/logout").await.status, 302);
    for mut browser in [here, copied] {
        let answer = browser.get("/hub/home").await;
        assert_eq!(answer.status, 302);
        assert!(answer.location().starts_with("/hub/login"), "{answer:?}");
    }
    assert_eq!(there.get("/hub/home").await.status, 200);
}

#[tokio::test]
async fn a_forged_cookie_is_nobodys() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    let real = ada.cookie("jupyterhub-hub-login").to_owned();
    for forged in ["", "x", &real[1..], &"a".repeat(4000)] {
        ada.set_cookie("jupyterhub-hub-login", forged);
        assert_eq!(ada.get("/hub/home").await.status, 302, "{forged}");
    }
    ada.set_cookie("jupyterhub-hub-login", &real);
    assert_eq!(ada.get("/hub/home").await.status, 200);
}

#[tokio::test]
async fn a_login_form_without_its_token_logs_nobody_in() {
    let hub = TestHub::start().await;
    let mut browser = hub.anonymous();
    browser.get("/hub/login").await;
    for forged in ["", "x"] {
        browser.set_cookie("_xsrf", forged);
        let answer = browser
            .post_form("/hub/login", &[("username", "ada"), ("password", "")])
            .await;
        assert_eq!(answer.status, 403);
        assert_eq!(browser.cookie("jupyterhub-hub-login"), "");
    }
}
