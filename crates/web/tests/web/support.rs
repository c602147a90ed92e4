//! A hub with a fake spawner, browsers with cookies, and programs with tokens.

mod fakes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt as _;
use lyceum_core::xsrf::XsrfKey;
use lyceum_core::{Clock as _, Secret, UserName, random};
use lyceum_hub::{Access, Hub, HubSettings, Parts};
use lyceum_store::{NewToken, Store, StoreSettings, TokenOwner};
use lyceum_web::render::{Branding, Language, Options, Renderer};
use lyceum_web::{Client, Web, WebSettings};
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) use self::fakes::{FakeSpawner, Mood, PASSWORD, TestClock};

/// The host that browsers ask for.
pub(crate) const OWN_HOST: &str = "hub.example";
/// The content type of forms.
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
/// No test waits longer.
const LIMIT: Duration = Duration::from_secs(20);

/// A hub on an empty database, where everybody but eve may log in with [`PASSWORD`]; root is an administrator.
pub(crate) struct Site {
    pub(crate) store: Store,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) spawner: FakeSpawner,
    pub(crate) hub: Hub,
    pub(crate) web: Web,
    router: Router,
    api: Router,
    _dir: tempfile::TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut HubSettings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let settings = StoreSettings::sqlite(dir.path().join("hub.sqlite"));
        let store = Store::open(&settings, clock.now()).await.unwrap();
        let name = |name| BTreeSet::from([UserName::parse(name).unwrap()]);
        let mut settings = HubSettings {
            access: Access {
                allow_all: true,
                admin_users: name("root"),
                blocked_users: name("eve"),
                ..Access::default()
            },
            slow_spawn_timeout: Duration::from_secs(5),
            ..HubSettings::default()
        };
        change(&mut settings);
        let spawner = FakeSpawner::new().await;
        let renderer = Renderer::new(Options {
            base_url: settings.hub_url(),
            version: "0.0.0".to_owned(),
            branding: Branding::default(),
            override_dir: None,
        })
        .unwrap();
        let hub = Hub::new(Parts {
            settings,
            store: store.clone(),
            clock: clock.clone(),
            authenticator: Arc::new(fakes::FakeLogin),
            spawner: Arc::new(spawner.clone()),
            routes: Arc::new(fakes::NoRoutes),
            runtime: tokio::runtime::Handle::current(),
        });
        hub.provision().await.unwrap();
        hub.run_background();
        let settings = WebSettings {
            xsrf_key: XsrfKey::new(b"a key of the tests, of 32 bytes."),
            languages: vec![Language::default()],
            logo: None,
            always_secure: false,
        };
        let web = Web::new(hub.clone(), renderer, settings);
        Self {
            router: web.router(),
            api: web.api_router(),
            web,
            store,
            clock,
            spawner,
            hub,
            _dir: dir,
        }
    }

    /// A browser without cookies.
    pub(crate) fn anonymous(&self) -> Browser<'_> {
        Browser {
            site: self,
            cookies: BTreeMap::new(),
        }
    }

    /// The browser of somebody who has logged in.
    pub(crate) async fn user(&self, name: &str) -> Browser<'_> {
        let mut browser = self.anonymous();
        let answer = browser.log_in(name, PASSWORD).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        // The first page after the login sets the token of its forms.
        browser.get("/hub/home").await;
        browser
    }

    /// A token of somebody who exists, with these scopes.
    pub(crate) async fn token(&self, name: &str, scopes: &[&str]) -> String {
        let name = UserName::parse(name).unwrap();
        let user = self.store.find_user(&name).await.unwrap().unwrap();
        let secret = Secret::new(random::hex(16));
        let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
        let mut tx = self.store.begin().await.unwrap();
        tx.create_token(NewToken {
            secret: &secret,
            owner: TokenOwner::User(user.id),
            client_id: None,
            session_id: None,
            server_id: None,
            scopes: &scopes,
            note: "",
            created: self.clock.now(),
            expires_at: None,
        })
        .await
        .unwrap();
        tx.commit().await.unwrap();
        secret.expose().clone()
    }

    /// Makes a request with nothing but these headers.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let request = build(method, path, headers, body.into());
        answer(self.router.clone(), request).await
    }

    /// Makes a request and gives the status alone, without waiting for a body that may never end.
    pub(crate) async fn status(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> u16 {
        let request = build(method, path, headers, body.into());
        let response = tokio::time::timeout(LIMIT, self.router.clone().oneshot(request));
        let response = response
            .await
            .unwrap_or_else(|_| panic!("no answer to {method} {path}"));
        response.unwrap().status().as_u16()
    }

    /// Makes a request of a browser that speaks https.
    pub(crate) async fn send_by_https(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = build(method, path, headers, body.into());
        request.extensions_mut().insert(Client {
            addr: None,
            https: true,
            host: OWN_HOST.to_owned(),
        });
        answer(self.router.clone(), request).await
    }

    /// Makes a request at the listener for servers.
    pub(crate) async fn send_to_api(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let request = build(method, path, headers, Body::empty());
        answer(self.api.clone(), request).await
    }

    /// Makes a request with a token.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let authorization = format!("token {token}");
        let mut headers = vec![(AUTHORIZATION.as_str(), authorization.as_str())];
        if body.is_some() {
            headers.push((CONTENT_TYPE.as_str(), "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, &headers, body).await
    }
}

fn build(method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path);
    if !headers.iter().any(|(name, _)| *name == HOST.as_str()) {
        request = request.header(HOST, OWN_HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

async fn answer(router: Router, request: Request<Body>) -> Answer {
    let asked = format!("{} {}", request.method(), request.uri());
    let work = async {
        let response: Response<Body> = router.oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.to_vec(),
        }
    };
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| panic!("no answer to {asked} in time"))
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }

    /// The `Set-Cookie` header of this cookie; empty if there is none.
    pub(crate) fn set_cookie(&self, name: &str) -> &str {
        let start = format!("{name}=");
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|value| value.to_str().unwrap())
            .find(|value| value.starts_with(&start))
            .unwrap_or_default()
    }

    /// Checks that it is an error of the API: JSON with exactly the two keys.
    #[track_caller]
    pub(crate) fn assert_api_error(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/json");
        let body = self.json();
        let keys: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message", "status"], "{body}");
        assert_eq!(body["status"], status);
        assert!(body["message"].is_string() || body["message"].is_null());
    }

    /// Checks that it is a page.
    #[track_caller]
    pub(crate) fn assert_page(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.header("content-type").starts_with("text/html"));
        assert!(self.text().contains("<h1"), "{}", self.text());
    }

    #[track_caller]
    pub(crate) fn assert_leads_to(&self, location: &str) {
        assert_eq!((self.status, self.location()), (302, location));
    }
}

/// A browser: it keeps cookies. Their paths are checked elsewhere.
pub(crate) struct Browser<'a> {
    site: &'a Site,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser<'_> {
    pub(crate) fn xsrf(&self) -> String {
        self.cookies.get("_xsrf").cloned().unwrap_or_default()
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push((COOKIE.as_str(), cookies.as_str()));
        }
        let answer = self.site.send(method, path, &headers, body).await;
        for value in answer.headers.get_all(SET_COOKIE) {
            let (pair, attributes) = value.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, &[("accept", "text/html")], "").await
    }

    /// Sends a form with the right XSRF token.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let xsrf = self.xsrf();
        let mut fields = fields.to_vec();
        fields.push(("_xsrf", &xsrf));
        self.post_as_is(path, &fields).await
    }

    /// Sends a form with these fields alone.
    pub(crate) async fn post_as_is(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form(fields);
        self.send("POST", path, &[(CONTENT_TYPE.as_str(), FORM)], body)
            .await
    }

    /// Calls the API as a script of one of our pages does.
    pub(crate) async fn api(&mut self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let xsrf = self.xsrf();
        let mut headers = vec![
            ("x-xsrftoken", xsrf.as_str()),
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-site", "same-origin"),
        ];
        if body.is_some() {
            headers.push((CONTENT_TYPE.as_str(), "application/json"));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, &format!("/hub/api{path}"), &headers, body)
            .await
    }

    /// Fills in the login form; the answer is the form's.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        self.get("/hub/login").await.assert_page(200);
        self.post("/hub/login", &[("username", name), ("password", password)])
            .await
    }
}

/// Writes a form.
pub(crate) fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish()
}
