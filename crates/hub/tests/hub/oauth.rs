//! The OAuth2 provider: who gets a code, what a code is good for, and how long tokens live.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use lyceum_testkit::fakes::FakeClock;
use lyceum_testkit::{Answer, TestHub, Visitor};
use sha2::{Digest as _, Sha256};

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-is-here";

/// A hub with a running server of ada's, and ada's browser.
async fn begin(clock: &Arc<FakeClock>) -> (TestHub, Visitor) {
    let hub = TestHub::builder().clock(clock).start().await;
    let ada = start(&hub, "ada").await;
    (hub, ada)
}

async fn start(hub: &TestHub, name: &str) -> Visitor {
    let mut visitor = hub.user(name).await;
    let path = format!("/users/{name}/server");
    let answer = visitor.api(Method::POST, &path, None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    visitor
}

fn authorize_path(owner: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    format!(
        "/hub/api/oauth2/authorize?response_type=code&client_id=jupyterhub-user-{owner}\
         &redirect_uri=/user/{owner}/oauth_callback&state=s\
         &code_challenge={challenge}&code_challenge_method=S256"
    )
}

/// Asks for a code of the server of `owner`, as its server would.
async fn code(visitor: &mut Visitor, owner: &str) -> String {
    let answer = visitor.get(&authorize_path(owner)).await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    let query = answer.location().split_once('?').unwrap().1.to_owned();
    form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "code")
        .map(|(_, value)| value.into_owned())
        .unwrap()
}

/// Redeems a code as the server of `client` would, with this verifier.
async fn redeem(hub: &TestHub, client: &str, code: &str, verifier: Option<&str>) -> Answer {
    let secret = hub.variable_of(client, "JUPYTERHUB_API_TOKEN");
    let id = format!("jupyterhub-user-{client}");
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "authorization_code")
        .append_pair("client_id", &id)
        .append_pair("client_secret", &secret)
        .append_pair("code", code);
    if let Some(verifier) = verifier {
        form.append_pair("code_verifier", verifier);
    }
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    let body = form.finish();
    let path = "/hub/api/oauth2/token";
    hub.anonymous().send(Method::POST, path, &kind, body).await
}

fn assert_refused(answer: &Answer) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_works_once() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    let code = code(&mut ada, "ada").await;
    let answer = redeem(&hub, "ada", &code, Some(VERIFIER)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let model = hub.program(&token).api(Method::GET, "/user", None).await;
    assert_eq!(model.json()["name"], "ada");
    assert_refused(&redeem(&hub, "ada", &code, Some(VERIFIER)).await);
}

#[tokio::test]
async fn a_code_is_worth_nothing_without_its_verifier() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    for verifier in [
        Some("another-verifier-that-is-long-enough-to-be-one-x"),
        None,
    ] {
        let code = code(&mut ada, "ada").await;
        assert_eq!(redeem(&hub, "ada", &code, verifier).await.status, 400);
        // It was tried, and is used up.
        assert_refused(&redeem(&hub, "ada", &code, Some(VERIFIER)).await);
    }
}

#[tokio::test]
async fn a_code_expires() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    let code = code(&mut ada, "ada").await;
    clock.advance(lyceum_core::oauth::CODE_LIFETIME);
    assert_refused(&redeem(&hub, "ada", &code, Some(VERIFIER)).await);
}

#[tokio::test]
async fn a_code_of_one_client_is_worth_nothing_to_another() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    start(&hub, "bob").await;
    let code = code(&mut ada, "ada").await;
    assert_refused(&redeem(&hub, "bob", &code, Some(VERIFIER)).await);
}

#[tokio::test]
async fn a_code_of_a_login_that_has_ended_gives_no_token() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    let code = code(&mut ada, "ada").await;
    assert_eq!(ada.get("/hub/logout").await.status, 302);
    assert_refused(&redeem(&hub, "ada", &code, Some(VERIFIER)).await);
}

#[tokio::test]
async fn a_logout_ends_the_tokens_of_its_session_and_no_others() {
    let hub = TestHub::start().await;
    let mut here = start(&hub, "ada").await;
    let mut there = hub.user("ada").await;
    let mut program = hub.token("ada", &["read:users!user"]).await;
    let cookie = "jupyterhub-user-ada";
    for browser in [&mut here, &mut there] {
        assert_eq!(browser.follow("/user/ada/").await.status, 200);
        assert_ne!(browser.cookie(cookie), "");
    }
    let mut gone = hub.program(here.cookie(cookie));
    let mut stays = hub.program(there.cookie(cookie));
    assert_eq!(here.get("/hub/logout").await.status, 302);
    assert_eq!(gone.api(Method::GET, "/user", None).await.status, 403);
    assert_eq!(stays.api(Method::GET, "/user", None).await.status, 200);
    assert_eq!(program.api(Method::GET, "/user", None).await.status, 200);
    let own = hub.variable_of("ada", "JUPYTERHUB_API_TOKEN");
    let own = hub
        .server_program(&own)
        .api(Method::GET, "/user", None)
        .await;
    assert_eq!(own.status, 200);
    // The server itself asks the hub again, and sends this browser to the login.
    let page = here.follow("/user/ada/").await;
    assert!(page.path.starts_with("/hub/login"), "{}", page.path);
}

#[tokio::test]
async fn tokens_of_a_stopped_server_work_no_longer() {
    let hub = TestHub::start().await;
    let mut ada = start(&hub, "ada").await;
    ada.follow("/user/ada/").await;
    let tokens = [
        hub.variable_of("ada", "JUPYTERHUB_API_TOKEN"),
        ada.cookie("jupyterhub-user-ada").to_owned(),
    ];
    for token in &tokens {
        let answer = hub
            .server_program(token)
            .api(Method::GET, "/user", None)
            .await;
        assert_eq!(answer.status, 200);
    }
    let answer = ada.api(Method::DELETE, "/users/ada/server", None).await;
    assert_eq!(answer.status, 204);
    for token in &tokens {
        let answer = hub
            .server_program(token)
            .api(Method::GET, "/user", None)
            .await;
        assert_eq!(answer.status, 403);
    }
}

#[tokio::test]
async fn nobody_is_asked_for_their_own_server_and_everybody_for_anothers() {
    let hub = TestHub::start().await;
    let mut ada = start(&hub, "ada").await;
    assert_eq!(ada.follow("/user/ada/").await.status, 200);

    let mut admin = hub.admin().await;
    let question = admin.follow("/user/ada/").await;
    assert_eq!(question.status, 200);
    assert!(
        question.path.starts_with("/hub/api/oauth2/authorize"),
        "{}",
        question.path
    );
    let scopes: Vec<String> = fields(&question.text());
    assert!(!scopes.is_empty());
    let mut form: Vec<(&str, &str)> = scopes.iter().map(|one| ("scopes", one.as_str())).collect();
    form.push(("allow", "1"));
    let answer = admin.post_form(&question.path, &form).await;
    let page = admin.follow_on(answer).await;
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(page.text().contains("Hello admin"), "{}", page.text());
    // Whoever has agreed is not asked again.
    let again = hub.admin().await.follow("/user/ada/").await;
    assert!(again.text().contains("Hello admin"), "{}", again.text());

    let mut bob = hub.user("bob").await;
    let page = bob.follow("/user/ada/").await;
    assert_eq!(page.status, 403);
}

/// The values of the hidden `scopes` fields of the confirm page.
pub(crate) fn fields(html: &str) -> Vec<String> {
    html.split("<input")
        .filter(|input| input.contains("name=\"scopes\""))
        .filter_map(|input| input.split_once("value=\"")?.1.split_once('"'))
        .map(|(value, _)| value.replace("&#x2f;", "/").replace("&#x27;", "'"))
        .collect()
}

#[tokio::test]
async fn refusing_sends_the_browser_back_with_an_error_and_without_a_code() {
    let hub = TestHub::start().await;
    start(&hub, "ada").await;
    let mut admin = hub.admin().await;
    let answer = admin
        .post_form(&authorize_path("ada"), &[("refuse", "1")])
        .await;
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert!(answer.location().contains("error=access_denied"));
    assert!(!answer.location().contains("code="));
}

#[tokio::test]
async fn a_login_that_is_too_old_is_none() {
    let clock = Arc::new(FakeClock::new());
    let (hub, mut ada) = begin(&clock).await;
    assert_eq!(ada.follow("/user/ada/").await.status, 200);
    let lifetime = hub.hub().settings().cookie_max_age;
    clock.advance(lifetime.checked_sub(Duration::from_mins(1)).unwrap());
    assert_eq!(ada.get("/user/ada/").await.status, 200);
    clock.advance(Duration::from_mins(1));
    assert_eq!(ada.get("/hub/home").await.status, 302);
    assert_eq!(ada.get("/user/ada/").await.status, 302);
}
