//! The page of tokens, by forms alone.

use crate::support::{Browser, Site};

/// The text of the token that a page shows.
fn secret(page: &str) -> String {
    let (_, rest) = page.split_once("id=\"secret\"").unwrap();
    let (_, rest) = rest.split_once("value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// The ids in the forms that revoke.
fn ids(page: &str) -> Vec<String> {
    page.split("name=\"id\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

async fn make(browser: &mut Browser<'_>, scopes: &str) -> String {
    let fields = [
        ("note", "my script"),
        ("lifetime", "3600"),
        ("scopes", scopes),
    ];
    let made = browser.post("/hub/token", &fields).await;
    made.assert_page(200);
    assert_eq!(made.header("cache-control"), "no-store, private");
    secret(&made.text())
}

#[tokio::test]
async fn a_token_made_on_the_page_works_until_it_is_revoked_there() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    ada.get("/hub/token").await.assert_page(200);
    let token = make(&mut ada, "").await;
    let me = site.call("GET", "/hub/api/user", &token, None).await;
    assert_eq!(me.json()["name"], "ada");
    // It is not shown again, and the list knows it by its note.
    let page = ada.get("/hub/token").await.text();
    assert!(page.contains("my script") && !page.contains(&token));
    let ids = ids(&page);
    assert_eq!(ids.len(), 1);
    ada.post("/hub/token/revoke", &[("id", &ids[0])])
        .await
        .assert_leads_to("/hub/token");
    let me = site.call("GET", "/hub/api/user", &token, None).await;
    me.assert_api_error(403);
    // Whoever clicks twice is led back as well.
    for id in [ids[0].as_str(), "nonsense", ""] {
        ada.post("/hub/token/revoke", &[("id", id)])
            .await
            .assert_leads_to("/hub/token");
    }
}

#[tokio::test]
async fn a_token_of_the_page_has_the_scopes_and_the_end_that_were_chosen() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let token = make(&mut ada, "users:activity!user  read:users:name!user").await;
    let me = site.call("GET", "/hub/api/user", &token, None).await.json();
    let scopes = me["scopes"].as_array().unwrap();
    assert_eq!(scopes.len(), 4, "{scopes:?}");
    site.clock.advance(std::time::Duration::from_secs(3601));
    let me = site.call("GET", "/hub/api/user", &token, None).await;
    me.assert_api_error(403);
}

#[tokio::test]
async fn what_cannot_be_is_said_and_what_was_typed_is_kept() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    for (field, value) in [
        ("scopes", "nonsense<script>"),
        ("scopes", "admin:users"),
        ("scopes", "read:users!"),
        ("lifetime", "0"),
        ("lifetime", "-1"),
        ("lifetime", "soon"),
    ] {
        let answer = ada
            .post("/hub/token", &[("note", "kept"), (field, value)])
            .await;
        answer.assert_page(400);
        assert!(answer.text().contains("value=\"kept\""), "{value}");
        assert!(!answer.text().contains("<script>"));
    }
    assert!(ids(&ada.get("/hub/token").await.text()).is_empty());
}

#[tokio::test]
async fn nobody_else_makes_or_revokes_by_these_forms() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    let token = make(&mut ada, "").await;
    let id = ids(&ada.get("/hub/token").await.text()).remove(0);
    bob.post("/hub/token/revoke", &[("id", &id)])
        .await
        .assert_leads_to("/hub/token");
    let me = site.call("GET", "/hub/api/user", &token, None).await;
    assert_eq!(me.status, 200);
    let bobs = bob.xsrf();
    for path in ["/hub/token", "/hub/token/revoke"] {
        for xsrf in ["", "x", bobs.as_str()] {
            let fields = [("_xsrf", xsrf), ("id", id.as_str())];
            ada.post_as_is(path, &fields).await.assert_page(403);
        }
        // Not by token, and not without a login.
        let answer = site.call("POST", path, &token, None).await;
        assert_eq!(answer.status, 302);
        let answer = site.anonymous().post(path, &[]).await;
        assert!(answer.location().starts_with("/hub/login"));
    }
    assert_eq!(ids(&ada.get("/hub/token").await.text()), [id]);
}
