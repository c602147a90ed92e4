//! OAuth2 as services use it: what they may ask for, what the user is asked, and what they get.

use std::time::Duration;

use lyceum_core::{Secret, ServiceName, UserName};
use lyceum_store::{NewOAuthClient, NewRole, RoleHolder, ServiceData};

use crate::support::{Answer, Browser, FORM, Site, form};

const SECRET: &str = "secret-of-the-service";
const CALLBACK: &str = "https://grades.example/oauth_callback?x=1";

/// Makes a service that may ask for these scopes, and lets ada use it.
async fn service(site: &Site, allowed: &[&str], no_confirm: bool) {
    let allowed: Vec<String> = allowed.iter().map(|&scope| scope.to_owned()).collect();
    let mut tx = site.store.begin().await.unwrap();
    let service = tx
        .upsert_service(&ServiceData {
            oauth_no_confirm: no_confirm,
            ..ServiceData::named(ServiceName::parse("grades").unwrap())
        })
        .await
        .unwrap();
    tx.upsert_oauth_client(NewOAuthClient {
        identifier: "service-grades",
        description: "JupyterHub service grades",
        secret: Some(&Secret::from(SECRET)),
        redirect_uri: CALLBACK,
        allowed_scopes: &allowed,
        server_id: None,
        service_id: Some(service.id),
    })
    .await
    .unwrap();
    for (role, scopes) in [
        ("visitor", &["access:services!service=grades"][..]),
        ("reader", &["read:users!user"]),
    ] {
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let new = NewRole {
            name: role,
            description: "",
            scopes: &scopes,
            managed_by_auth: false,
        };
        let role = tx.upsert_role(new).await.unwrap();
        let ada = UserName::parse("ada").unwrap();
        let ada = tx.find_user(&ada).await.unwrap().unwrap();
        if scopes[0].starts_with("access") {
            let holder = RoleHolder::User(ada.id);
            tx.grant_role(role.id, holder).await.unwrap();
        }
    }
    tx.commit().await.unwrap();
}

fn url(scope: Option<&str>) -> String {
    let mut fields = vec![
        ("client_id", "service-grades"),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("state", "st"),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    format!("/hub/api/oauth2/authorize?{}", form(&fields))
}

/// The scopes that the confirm page would grant.
fn offered(page: &str) -> Vec<String> {
    page.split("name=\"scopes\" value=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// The code in an answer.
fn code(answer: &Answer) -> String {
    let start = format!("{CALLBACK}&code=");
    let location = answer.location();
    let rest = location.strip_prefix(&start);
    let rest = rest.unwrap_or_else(|| panic!("{} {location}", answer.status));
    rest.split('&').next().unwrap().to_owned()
}

async fn redeem(site: &Site, code: &str) -> Answer {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", "service-grades"),
        ("client_secret", SECRET),
        ("redirect_uri", CALLBACK),
    ];
    let headers = [("content-type", FORM)];
    site.send("POST", "/hub/api/oauth2/token", &headers, form(&fields))
        .await
}

async fn grant(ada: &mut Browser<'_>, scope: Option<&str>, granted: &[&str]) -> Answer {
    let fields: Vec<_> = granted.iter().map(|&scope| ("scopes", scope)).collect();
    ada.post(&url(scope), &fields).await
}

const KNOWN: [&str; 3] = [
    "access:services!service=grades",
    "read:users:groups!user",
    "read:users:name!user",
];

#[tokio::test]
async fn a_service_gets_what_it_may_ask_for_and_the_user_agrees_to() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    service(&site, &["read:users!user", "tokens!user"], false).await;
    for (scope, extra) in [
        (None, &["read:users!user", "tokens!user"][..]),
        (Some("identify"), &[]),
        (Some("read:users!user"), &["read:users!user"]),
        // A role stands for its scopes.
        (Some("reader"), &["read:users!user"]),
        (
            Some("identify reader tokens!user"),
            &["read:users!user", "tokens!user"],
        ),
        (
            Some("read:users:activity!user"),
            &["read:users:activity!user"],
        ),
    ] {
        let page = ada.get(&url(scope)).await;
        page.assert_page(200);
        let mut expected: Vec<&str> = KNOWN.iter().chain(extra).copied().collect();
        expected.sort_unstable();
        let mut offered = offered(&page.text());
        offered.sort_unstable();
        assert_eq!(offered, expected, "{scope:?}");
    }
    for scope in [
        "nonsense",
        "self",
        "inherit",
        "user",
        "token",
        "admin",
        "servers",
        "read:users",
    ] {
        let answer = ada.get(&url(Some(scope))).await;
        let start = format!("{CALLBACK}&error=invalid_scope");
        assert!(
            answer.location().starts_with(&start),
            "{scope}: {}",
            answer.text()
        );
    }
    let answer = grant(&mut ada, None, &["read:users!user"]).await;
    let token = redeem(&site, &code(&answer)).await.json();
    let mut scopes: Vec<_> = token["scope"].as_str().unwrap().split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, [KNOWN[0], "read:users!user", KNOWN[1], KNOWN[2]]);
    let token = token["access_token"].as_str().unwrap();
    let me = site.call("GET", "/hub/api/user", token, None).await.json();
    assert_eq!(me["name"], "ada");
    let scopes = me["scopes"].as_array().unwrap();
    assert!(scopes.contains(&"read:users!user=ada".into()), "{scopes:?}");
    site.call("POST", "/hub/api/users/ada/tokens", token, None)
        .await
        .assert_api_error(403);
}

#[tokio::test]
async fn what_the_user_does_not_have_is_left_out_and_nothing_posted_means_who_they_are() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    service(&site, &["admin:users", "read:users!user"], false).await;
    let page = ada.get(&url(None)).await.text();
    assert!(
        !offered(&page).contains(&"admin:users".to_owned()),
        "{page}"
    );
    let answer = grant(&mut ada, None, &["admin:users"]).await;
    let token = redeem(&site, &code(&answer)).await.json();
    assert!(
        !token["scope"].as_str().unwrap().contains("admin"),
        "{token}"
    );
    let answer = grant(&mut ada, None, &[]).await;
    let token = redeem(&site, &code(&answer)).await.json();
    let mut scopes: Vec<_> = token["scope"].as_str().unwrap().split(' ').collect();
    scopes.sort_unstable();
    assert_eq!(scopes, KNOWN);
}

#[tokio::test]
async fn a_user_is_asked_again_for_more_and_when_all_tokens_have_ended() {
    let site = Site::with(|settings| settings.oauth_token_lifetime = Duration::from_mins(1)).await;
    let mut ada = site.user("ada").await;
    service(&site, &["read:users!user", "tokens!user"], false).await;
    let less = url(Some("read:users!user"));
    ada.get(&less).await.assert_page(200);
    let answer = grant(&mut ada, Some("read:users!user"), &["read:users!user"]).await;
    // A code alone is no consent yet; a token is.
    ada.get(&less).await.assert_page(200);
    assert_eq!(redeem(&site, &code(&answer)).await.status, 200);
    assert_eq!(code(&ada.get(&less).await).len(), 30);
    ada.get(&url(None)).await.assert_page(200);
    site.clock.advance(Duration::from_secs(61));
    ada.get(&less).await.assert_page(200);
}

#[tokio::test]
async fn a_service_that_the_administrator_trusts_is_not_asked_about() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    service(&site, &["read:users!user"], true).await;
    let answer = ada.get(&url(None)).await;
    let token = redeem(&site, &code(&answer)).await.json();
    assert!(token["scope"].as_str().unwrap().contains("read:users!user"));
}

#[tokio::test]
async fn others_may_not_even_be_asked_and_refusing_gives_no_code() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    service(&site, &[], false).await;
    for page in [bob.get(&url(None)).await, bob.post(&url(None), &[]).await] {
        page.assert_page(403);
        assert_eq!(page.location(), "");
    }
    // What is wrong with the request is told first, as by JupyterHub.
    let answer = bob.get(&url(Some("nonsense"))).await;
    assert!(answer.location().contains("error=invalid_scope"));
    let refused = ada.post(&url(None), &[("refuse", "true")]).await;
    let start = format!("{CALLBACK}&error=access_denied");
    assert!(refused.location().starts_with(&start));
    assert!(refused.location().ends_with("&state=st"));
}

#[tokio::test]
async fn a_client_of_a_service_that_is_gone_is_none() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    service(&site, &[], false).await;
    let mut tx = site.store.begin().await.unwrap();
    tx.upsert_oauth_client(NewOAuthClient {
        identifier: "service-grades",
        description: "",
        secret: Some(&Secret::from(SECRET)),
        redirect_uri: CALLBACK,
        allowed_scopes: &[],
        server_id: None,
        service_id: None,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    ada.get(&url(None)).await.assert_page(400);
}

#[tokio::test]
async fn where_pkce_is_required_nothing_goes_without() {
    let site = Site::with(|settings| settings.oauth_require_pkce = true).await;
    let mut ada = site.user("ada").await;
    service(&site, &[], true).await;
    let answer = ada.get(&url(None)).await;
    let start = format!("{CALLBACK}&error=invalid_request");
    assert!(
        answer.location().starts_with(&start),
        "{}",
        answer.location()
    );
    let verifier = "v".repeat(50);
    let with = format!("{}&code_challenge={verifier}", url(None));
    let code = code(&ada.get(&with).await);
    let answer = redeem(&site, &code).await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (400, &"invalid_request".into())
    );
}

#[tokio::test]
async fn nobody_gets_a_new_token_for_an_old_one() {
    let site = Site::new().await;
    site.user("ada").await;
    service(&site, &[], true).await;
    for (secret, refresh, status, error) in [
        (SECRET, Some("x"), 400, "unauthorized_client"),
        (SECRET, None, 400, "invalid_request"),
        ("wrong", Some("x"), 401, "invalid_client"),
    ] {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("client_id", "service-grades"),
            ("client_secret", secret),
        ];
        fields.extend(refresh.map(|token| ("refresh_token", token)));
        let headers = [("content-type", FORM)];
        let answer = site
            .send("POST", "/hub/api/oauth2/token", &headers, form(&fields))
            .await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (status, &error.into())
        );
    }
}
