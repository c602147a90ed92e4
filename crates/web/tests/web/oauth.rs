//! OAuth2 as single-user servers use it: authorize, exchange, and every way in which that must not work.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::support::{Answer, Browser, FORM, Site, form};

const TOKEN: &str = "/hub/api/oauth2/token";
const VERIFIER: &str = "a-verifier-of-more-than-43-characters-as-rfc-7636-wants";

/// A server's client.
struct Client {
    id: String,
    secret: String,
    callback: String,
}

impl Client {
    /// Starts the server of a browser's user.
    async fn start(site: &Site, owner: &mut Browser<'_>, name: &str) -> Self {
        let start = owner
            .api("POST", &format!("/users/{name}/server"), None)
            .await;
        assert_eq!(start.status, 201, "{}", start.text());
        let environment = site.spawner.last_environment();
        Self {
            id: environment["JUPYTERHUB_CLIENT_ID"].clone(),
            secret: environment["JUPYTERHUB_API_TOKEN"].clone(),
            callback: environment["JUPYTERHUB_OAUTH_CALLBACK_URL"].clone(),
        }
    }

    fn authorize_url(&self, change: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("client_id", self.id.as_str()),
            ("redirect_uri", &self.callback),
            ("response_type", "code"),
            ("state", "st"),
        ];
        fields.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
        fields.extend(change.iter().filter(|(_, value)| *value != "-"));
        format!("/hub/api/oauth2/authorize?{}", form(&fields))
    }

    async fn code(&self, browser: &mut Browser<'_>, change: &[(&str, &str)]) -> String {
        let answer = browser.get(&self.authorize_url(change)).await;
        let location = answer.location();
        let start = format!("{}?code=", self.callback);
        assert!(
            location.starts_with(&start) && location.ends_with("&state=st"),
            "{location}"
        );
        location[start.len()..]
            .split('&')
            .next()
            .unwrap()
            .to_owned()
    }

    async fn exchange(&self, site: &Site, code: &str, change: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("client_id", &self.id),
            ("client_secret", &self.secret),
            ("redirect_uri", &self.callback),
        ];
        fields.retain(|(name, _)| !change.iter().any(|(changed, _)| changed == name));
        fields.extend(change.iter().filter(|(_, value)| *value != "-"));
        site.send("POST", TOKEN, &[("content-type", FORM)], form(&fields))
            .await
    }
}

#[tokio::test]
async fn a_visitor_of_their_own_server_gets_in_without_a_question() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    let code = client.code(&mut ada, &[]).await;
    let answer = client.exchange(&site, &code, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        (answer.header("cache-control"), answer.header("pragma")),
        ("no-store", "no-cache")
    );
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"]),
        (&"Bearer".into(), &1_209_600.into())
    );
    assert!(
        body["scope"]
            .as_str()
            .unwrap()
            .contains("access:servers!server=ada/"),
        "{body}"
    );
    let token = body["access_token"].as_str().unwrap();
    let model = site.call("GET", "/hub/api/user", token, None).await.json();
    assert_eq!(model["name"], "ada");
    assert_eq!(
        model["session_id"],
        ada.cookies["jupyterhub-session-id"].as_str()
    );
    // It opens the server and tells who it is, and nothing else.
    for (method, path) in [
        ("DELETE", "/hub/api/users/ada/server"),
        ("POST", "/hub/api/users/ada/activity"),
    ] {
        site.call(method, path, token, None)
            .await
            .assert_api_error(403);
    }
    // It ends with the login that it came from.
    ada.get("/hub/logout").await;
    site.call("GET", "/hub/api/user", token, None)
        .await
        .assert_api_error(403);
}

#[tokio::test]
async fn others_do_not_get_into_the_server() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    let mut bob = site.user("bob").await;
    bob.get(&client.authorize_url(&[])).await.assert_page(403);
    bob.post(&client.authorize_url(&[]), &[])
        .await
        .assert_page(403);
    let answer = site.anonymous().get(&client.authorize_url(&[])).await;
    assert!(
        answer
            .location()
            .starts_with("/hub/login?next=/hub/api/oauth2/authorize%3F")
    );
    // An administrator is asked, since it is not their own.
    let mut root = site.user("root").await;
    let url = client.authorize_url(&[]);
    let page = root.get(&url).await;
    page.assert_page(200);
    let refused = root.post(&url, &[("refuse", "true")]).await;
    assert!(
        refused.location().contains("error=access_denied"),
        "{}",
        refused.location()
    );
    assert!(root.post(&url, &[]).await.location().contains("?code="));
}

#[tokio::test]
async fn without_a_trusted_address_to_go_back_to_there_is_a_page() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    let trailing = format!("{}/", client.callback);
    let encoded = client.callback.replace("oauth", "%6fauth");
    for change in [
        ("client_id", "-"),
        ("client_id", ""),
        ("client_id", "nobody"),
        ("client_id", "jupyterhub"),
        ("client_id", "jupyterhub-user-bob"),
        ("redirect_uri", "http://evil.example/"),
        ("redirect_uri", "//evil.example/"),
        ("redirect_uri", "/user/bob/oauth_callback"),
        ("redirect_uri", trailing.as_str()),
        ("redirect_uri", encoded.as_str()),
    ] {
        let answer = ada.get(&client.authorize_url(&[change])).await;
        answer.assert_page(400);
        assert_eq!(answer.location(), "", "{change:?}");
    }
}

#[tokio::test]
async fn other_mistakes_go_back_to_the_client_with_its_state() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    for (change, error) in [
        (("response_type", "token"), "unsupported_response_type"),
        (("scope", "nonsense"), "invalid_scope"),
        (("scope", "admin:users"), "invalid_scope"),
        (("scope", "inherit"), "invalid_scope"),
        (("scope", "self"), "invalid_scope"),
        (("code_challenge_method", "S512"), "invalid_request"),
    ] {
        let answer = ada
            .get(&client.authorize_url(&[change, ("code_challenge", "x")]))
            .await;
        let start = format!("{}?error={error}", client.callback);
        assert_eq!(answer.status, 302);
        assert!(
            answer.location().starts_with(&start),
            "{change:?}: {}",
            answer.location()
        );
        assert!(answer.location().contains("state=st"));
    }
    let answer = ada
        .get(&client.authorize_url(&[("state", "a\r\nset-cookie: b=c")]))
        .await;
    assert!(
        answer.location().contains("state=a%0D%0Aset-cookie%3A"),
        "{}",
        answer.location()
    );
}

#[tokio::test]
async fn a_code_works_once_for_its_client_in_its_time() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    let other = Client::start(&site, &mut bob, "bob").await;

    let code = client.code(&mut ada, &[]).await;
    assert_eq!(client.exchange(&site, &code, &[]).await.status, 200);
    let again = client.exchange(&site, &code, &[]).await;
    assert_eq!(
        (again.status, &again.json()["error"]),
        (400, &"invalid_grant".into())
    );

    let code = client.code(&mut ada, &[]).await;
    let foreign = other.exchange(&site, &code, &[]).await;
    assert_eq!(foreign.status, 400, "{}", foreign.text());

    let code = client.code(&mut ada, &[]).await;
    site.clock.advance(Duration::from_secs(301));
    let late = client.exchange(&site, &code, &[]).await;
    assert_eq!(
        (late.status, &late.json()["error"]),
        (400, &"invalid_grant".into())
    );
}

#[tokio::test]
async fn mistakes_at_the_token_endpoint_have_their_codes() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    for (change, status, error) in [
        (("client_id", "-"), 401, "invalid_client"),
        (("client_id", "nobody"), 401, "invalid_client"),
        (("client_secret", "-"), 401, "invalid_client"),
        (("client_secret", ""), 401, "invalid_client"),
        (("client_secret", "wrong"), 401, "invalid_client"),
        (("code", "wrong"), 400, "invalid_grant"),
        (("code", "-"), 400, "invalid_request"),
        (
            ("redirect_uri", "/user/bob/oauth_callback"),
            400,
            "invalid_request",
        ),
        (("grant_type", "-"), 400, "unsupported_grant_type"),
        (("grant_type", "password"), 400, "unsupported_grant_type"),
        (
            ("grant_type", "client_credentials"),
            400,
            "unsupported_grant_type",
        ),
    ] {
        let code = client.code(&mut ada, &[]).await;
        let answer = client.exchange(&site, &code, &[change]).await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (status, &error.into()),
            "{change:?}"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
        if status == 401 {
            assert_eq!(
                answer.header("www-authenticate"),
                "Bearer error=\"invalid_client\""
            );
        }
        assert!(!answer.text().contains(&client.secret));
    }
    // The credentials belong into the body.
    let code = client.code(&mut ada, &[]).await;
    let fields = form(&[("grant_type", "authorization_code"), ("code", &code)]);
    let headers = [("content-type", FORM), ("authorization", "Basic YTpi")];
    assert_eq!(site.send("POST", TOKEN, &headers, fields).await.status, 401);
    for body in [&b"\xff=\xff"[..], b"", b"{}"] {
        let answer = site
            .send("POST", TOKEN, &[("content-type", FORM)], body)
            .await;
        assert_eq!(answer.status, 400);
        assert!(answer.json()["error"].is_string());
    }
}

#[tokio::test]
async fn a_proof_is_asked_for_when_there_was_a_challenge() {
    let site = Site::new().await;
    let mut ada = site.user("ada").await;
    let client = Client::start(&site, &mut ada, "ada").await;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let asked = [
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    for (verifier, status) in [
        (VERIFIER, 200),
        ("wrong", 400),
        (challenge.as_str(), 400),
        ("", 400),
        ("-", 400),
    ] {
        let code = client.code(&mut ada, &asked).await;
        let answer = client
            .exchange(&site, &code, &[("code_verifier", verifier)])
            .await;
        assert_eq!(answer.status, status, "{verifier}: {}", answer.text());
    }
}
