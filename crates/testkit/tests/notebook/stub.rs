//! A stub of a hub, a running tiny server, and a visitor with cookies.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{RawForm, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{Method, Request};
use lyceum_core::clock::{Clock as _, SystemClock};
use lyceum_core::oauth::{self, AuthorizeParams, Client, CodeChallenge, StoredCode, TokenRequest};
use lyceum_testkit::http::{Target, send_to};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub(crate) const PREFIX: &str = "/user/a@b%20c/";
const CALLBACK: &str = "/user/a@b%20c/oauth_callback";
const CLIENT_ID: &str = "jupyterhub-user-a%40b%20c";
const SERVER_TOKEN: &str = "the-servers-token";
const ACCESS: &str = "access:servers!user=a@b c";
/// How long anything here may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Memory {
    codes: BTreeMap<String, (String, CodeChallenge)>,
    tokens: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Shared {
    memory: Arc<Mutex<Memory>>,
    activity: watch::Sender<Option<Value>>,
}

/// A hub that logs everybody in as the cookie `stub-user` says.
#[derive(Debug)]
pub(crate) struct StubHub {
    pub(crate) address: String,
    shared: Shared,
    _tasks: JoinSet<()>,
}

impl StubHub {
    pub(crate) async fn start() -> Self {
        let shared = Shared {
            memory: Arc::default(),
            activity: watch::Sender::new(None),
        };
        let app = Router::new()
            .route(
                "/hub/api",
                get(|| async { ([("x-jupyterhub-version", "6.1.1")], "{}") }),
            )
            .route("/hub/api/oauth2/authorize", get(authorize))
            .route("/hub/api/oauth2/token", post(token))
            .route("/hub/api/user", get(user))
            .route("/hub/api/users/{name}/activity", post(activity))
            .with_state(shared.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            shared,
            _tasks: tasks,
        }
    }

    /// Waits until a server has reported activity, and gives the report.
    pub(crate) async fn reported(&self) -> Value {
        let mut reports = self.shared.activity.subscribe();
        let report = timeout(LIMIT, reports.wait_for(Option::is_some))
            .await
            .unwrap();
        report.unwrap().clone().unwrap()
    }

    /// Makes all tokens worthless.
    pub(crate) fn revoke_all(&self) {
        self.shared.memory.lock().unwrap().tokens.clear();
    }
}

async fn authorize(
    State(shared): State<Shared>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let cookies = headers
        .get(header::COOKIE)
        .map_or("", |cookie| cookie.to_str().unwrap());
    let Some((_, user)) = cookies.split_once("stub-user=") else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let query = query.unwrap_or_default();
    let client = Client {
        id: CLIENT_ID,
        has_secret: true,
        redirect_uri: CALLBACK,
    };
    let request = AuthorizeParams::from_pairs(form_urlencoded::parse(query.as_bytes()))
        .check(Some(client), true)
        .unwrap();
    let code = oauth::new_code();
    let answer = Redirect::to(&request.accept(&code)).into_response();
    let entry = (user.to_owned(), request.challenge.unwrap());
    shared.memory.lock().unwrap().codes.insert(code, entry);
    answer
}

async fn token(State(shared): State<Shared>, RawForm(form): RawForm) -> Response {
    let request = TokenRequest::parse(form_urlencoded::parse(&form)).unwrap();
    assert!(request.client_secret.matches(SERVER_TOKEN));
    let mut memory = shared.memory.lock().unwrap();
    let found = memory.codes.remove(request.code.expose());
    let now = SystemClock.now();
    let stored = found.as_ref().map(|(_, challenge)| StoredCode {
        client_id: CLIENT_ID,
        redirect_uri: CALLBACK,
        expires_at: now + oauth::CODE_LIFETIME,
        challenge: Some(challenge),
    });
    if let Err(error) = request.check_code(stored, now, true) {
        return (StatusCode::BAD_REQUEST, error.body().to_string()).into_response();
    }
    let token = oauth::new_access_token();
    memory.tokens.insert(token.clone(), found.unwrap().0);
    json!({"access_token": token}).to_string().into_response()
}

async fn user(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let token = headers[header::AUTHORIZATION].to_str().unwrap();
    let token = token.strip_prefix("token ").unwrap();
    let Some(name) = shared.memory.lock().unwrap().tokens.get(token).cloned() else {
        return StatusCode::FORBIDDEN.into_response();
    };
    let scopes = if name == "ada" { vec![ACCESS] } else { vec![] };
    json!({"kind": "user", "name": name, "scopes": scopes})
        .to_string()
        .into_response()
}

async fn activity(State(shared): State<Shared>, headers: HeaderMap, body: String) {
    let token = headers[header::AUTHORIZATION].to_str().unwrap();
    assert_eq!(token, format!("token {SERVER_TOKEN}"));
    shared
        .activity
        .send_replace(Some(serde_json::from_str(&body).unwrap()));
}

/// A running tiny server; killed when dropped.
#[derive(Debug)]
pub(crate) struct Tiny {
    pub(crate) process: Child,
    pub(crate) target: Target,
    _folder: TempDir,
}

impl Tiny {
    /// Starts a server on a socket.
    pub(crate) fn start(hub: &StubHub, mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let process = command(&hub.address, "127.0.0.1:8888", mode)
            .arg(format!("--ServerApp.sock={}", socket.display()))
            .arg("--ServerApp.sock_mode=0600")
            .spawn()
            .unwrap();
        Self {
            process,
            target: Target::Unix(socket),
            _folder: folder,
        }
    }

    /// Starts a server on a free port, and waits until it answers. The port may be taken meanwhile.
    pub(crate) async fn start_on_port(hub: &StubHub) -> Self {
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = free.local_addr().unwrap().to_string();
            drop(free);
            let mut server = Self {
                process: command(&hub.address, &address, "").spawn().unwrap(),
                target: Target::Tcp(address),
                _folder: tempfile::tempdir().unwrap(),
            };
            if server.answers().await {
                return server;
            }
        }
        panic!("no port stays free");
    }

    /// Waits until the server answers.
    pub(crate) async fn ready(mut self) -> Self {
        assert!(self.answers().await, "the server ended");
        self
    }

    /// Waits until the server answers, or ends.
    async fn answers(&mut self) -> bool {
        let path = format!("{PREFIX}api");
        let answers = async {
            loop {
                let request = Request::get(&path).body(Bytes::new()).unwrap();
                if send_to(&self.target, request).await.is_ok() {
                    return true;
                }
                if self.process.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(LIMIT, answers).await.unwrap()
    }

    /// Waits until somebody accepts connections.
    pub(crate) async fn connect(&self) -> UnixStream {
        let Target::Unix(socket) = &self.target else {
            panic!("started on a socket");
        };
        let connected = async {
            loop {
                match UnixStream::connect(socket).await {
                    Ok(stream) => break stream,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        };
        timeout(LIMIT, connected).await.unwrap()
    }

    /// Waits until the server has said something.
    pub(crate) async fn says(&mut self, expected: &str) {
        let stderr = self.process.stderr.as_mut().unwrap();
        let mut said = Vec::new();
        let heard = async {
            while !String::from_utf8_lossy(&said).contains(expected) {
                assert_ne!(
                    stderr.read_buf(&mut said).await.unwrap(),
                    0,
                    "the server ended"
                );
            }
        };
        timeout(LIMIT, heard).await.unwrap();
    }

    pub(crate) fn pid(&self) -> i32 {
        self.process.id().unwrap().cast_signed()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, and gives the status and what the server said.
    pub(crate) async fn end(&mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let mut stderr = self.process.stderr.take().unwrap();
        let read = stderr.read_to_string(&mut said);
        timeout(LIMIT, read).await.unwrap().unwrap();
        let status = timeout(LIMIT, self.process.wait()).await.unwrap().unwrap();
        (status, said)
    }
}

/// The program with the environment that a hub gives it, and nothing else.
pub(crate) fn command(hub: &str, address: &str, mode: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tiny-notebook"));
    command
        .env_clear()
        .envs([
            ("JUPYTERHUB_USER", "a@b c"),
            ("JUPYTERHUB_SERVER_NAME", ""),
            ("JUPYTERHUB_API_TOKEN", SERVER_TOKEN),
            ("JUPYTERHUB_CLIENT_ID", CLIENT_ID),
            ("JUPYTERHUB_BASE_URL", "/"),
            ("JUPYTERHUB_SERVICE_PREFIX", PREFIX),
            ("JUPYTERHUB_OAUTH_CALLBACK_URL", CALLBACK),
            ("JUPYTERHUB_HOST", ""),
            ("TINY_MODE", mode),
        ])
        .env("JUPYTERHUB_API_URL", format!("http://{hub}/hub/api"))
        .env(
            "JUPYTERHUB_ACTIVITY_URL",
            format!("http://{hub}/hub/api/users/a@b%20c/activity"),
        )
        .env(
            "JUPYTERHUB_SERVICE_URL",
            format!("http://{address}{PREFIX}"),
        )
        .env(
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
            json!([ACCESS]).to_string(),
        )
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Somebody with a browser, logged in to the stub under a name.
#[derive(Debug)]
pub(crate) struct Visitor {
    hub: Target,
    server: Target,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    pub(crate) fn new(name: &str, hub: &StubHub, server: &Tiny) -> Self {
        Self {
            hub: Target::Tcp(hub.address.clone()),
            server: server.target.clone(),
            cookies: BTreeMap::from([("stub-user".to_owned(), name.to_owned())]),
        }
    }

    /// The cookies, as a header, the stub's own last.
    pub(crate) fn cookie_header(&self) -> String {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        cookies.join("; ")
    }

    pub(crate) fn forget(&mut self, part_of_name: &str) {
        self.cookies.retain(|name, _| !name.contains(part_of_name));
    }

    /// Sends one request, and follows nothing.
    pub(crate) async fn get(&mut self, path: &str) -> http::Response<Bytes> {
        self.send(Method::GET, path).await
    }

    pub(crate) async fn send(&mut self, method: Method, path: &str) -> http::Response<Bytes> {
        let target = if path.starts_with("/hub/") {
            &self.hub
        } else {
            &self.server
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::COOKIE, self.cookie_header())
            .body(Bytes::new())
            .unwrap();
        let answer = send_to(target, request).await.unwrap();
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie::Cookie::parse(cookie.to_str().unwrap()).unwrap();
            let name = cookie.name().to_owned();
            if cookie.value().is_empty() {
                self.cookies.remove(&name);
            } else {
                self.cookies.insert(name, cookie.value().to_owned());
            }
        }
        answer
    }

    /// Sends a request and follows redirects, at most five.
    pub(crate) async fn visit(&mut self, path: &str) -> http::Response<Bytes> {
        let mut path = path.to_owned();
        for _ in 0..5 {
            let answer = self.get(&path).await;
            let Some(location) = answer.headers().get(header::LOCATION) else {
                return answer;
            };
            location.to_str().unwrap().clone_into(&mut path);
        }
        panic!("too many redirects, the last to {path}");
    }
}
