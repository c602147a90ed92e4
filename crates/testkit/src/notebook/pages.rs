//! What the tiny server answers, page by page.

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SET_COOKIE, UPGRADE,
};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::hub::{Answer, Hub};
use super::login::{self, Logins};
use super::{Mode, Settings, VERSION, say};

/// The file in the user's home folder with the answer of `api/kernels`; without it, there is none.
const KERNELS: &str = "kernels.json";

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Page = Response<Body>;

/// What the pages share.
#[derive(Debug)]
pub(super) struct State {
    settings: Settings,
    hub: Hub,
    child: Option<u32>,
    end: mpsc::Sender<u8>,
    logins: Logins,
    echoes: Mutex<JoinSet<()>>,
}

impl State {
    pub(super) fn new(
        settings: Settings,
        hub: Hub,
        child: Option<u32>,
        end: mpsc::Sender<u8>,
    ) -> Self {
        Self {
            settings,
            hub,
            child,
            end,
            logins: Logins::default(),
            echoes: Mutex::default(),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Page {
        let mut page = if self.settings.mode == Mode::Http500 {
            text(StatusCode::INTERNAL_SERVER_ERROR, "told to fail")
        } else {
            self.route(request).await
        };
        page.headers_mut()
            .insert("x-jupyterhub-version", HeaderValue::from_static(VERSION));
        page
    }

    async fn route(&self, mut request: Request<Incoming>) -> Page {
        let upgrade = hyper::upgrade::on(&mut request);
        let (request, body) = request.into_parts();
        let path = request.uri.path().to_owned();
        let Some(below) = path.strip_prefix(&self.settings.prefix) else {
            if format!("{path}/") == self.settings.prefix {
                return redirect(&self.settings.prefix);
            }
            return text(StatusCode::NOT_FOUND, "not below the prefix of this server");
        };
        match below {
            "api" | "api/" => return json_page(StatusCode::OK, &json!({"version": "2.0"})),
            "oauth_callback" => return self.finish_login(&request).await,
            "process" => {
                let ids = json!({"pid": std::process::id(), "child": self.child});
                return json_page(StatusCode::OK, &ids);
            }
            "exit" => {
                let code = login::argument(&request, "code").and_then(|code| code.parse().ok());
                let _ = self.end.try_send(code.unwrap_or(0));
                return text(StatusCode::ACCEPTED, "ending");
            }
            _ => {}
        }
        let visitor = match self.visitor(&request).await {
            Ok(visitor) => visitor,
            Err(page) => return page,
        };
        match below {
            "whoami" => json_page(StatusCode::OK, &visitor),
            "request" => describe(&request, body).await,
            "echo" => self.echo(&request, upgrade),
            "events" => events(&request),
            "api/kernels" => match std::fs::read(KERNELS) {
                Ok(kernels) => {
                    let mut page = text(StatusCode::OK, &String::from_utf8_lossy(&kernels));
                    let json = HeaderValue::from_static("application/json");
                    page.headers_mut().insert(CONTENT_TYPE, json);
                    page
                }
                Err(_) => text(StatusCode::NOT_FOUND, "no kernels here"),
            },
            _ => {
                let name = visitor.get("name").and_then(Value::as_str).unwrap_or("?");
                let mut page = text(
                    StatusCode::OK,
                    &format!(
                        "<!doctype html><title>Tiny notebook</title><h1>Tiny notebook of {}</h1><p>Hello {}.",
                        self.settings.user, name
                    ),
                );
                let html = HeaderValue::from_static("text/html; charset=utf-8");
                page.headers_mut().insert(CONTENT_TYPE, html);
                page
            }
        }
    }

    /// Finds out who the visitor is; otherwise gives the page that the visitor sees instead.
    async fn visitor(&self, request: &Parts) -> Result<Value, Page> {
        let answer = match login::token(request, &self.settings) {
            Some(token) => self.hub.user(&token).await,
            None => Answer::No,
        };
        match answer {
            Answer::Yes(user) if self.may_enter(&user) => Ok(user),
            Answer::Yes(_) => {
                let message = json!({"message": "you may not use this server"});
                Err(json_page(StatusCode::FORBIDDEN, &message))
            }
            Answer::No => Err(self.begin_login(request)),
            Answer::Trouble(status) => Err(text(status, "the hub does not answer as it should")),
        }
    }

    fn may_enter(&self, user: &Value) -> bool {
        let held = user.get("scopes").and_then(Value::as_array);
        held.is_some_and(|held| {
            held.iter().filter_map(Value::as_str).any(|scope| {
                self.settings
                    .access_scopes
                    .iter()
                    .any(|needed| needed == scope)
            })
        })
    }

    /// Sends a browser to the hub; anything else is told that it may not.
    fn begin_login(&self, request: &Parts) -> Page {
        let page = request.uri.path().strip_prefix(&self.settings.prefix);
        let by_script = page.is_some_and(|page| page.starts_with("api/"))
            || request.headers.contains_key(UPGRADE)
            || !matches!(request.method, http::Method::GET | http::Method::HEAD);
        if by_script {
            return json_page(StatusCode::FORBIDDEN, &json!({"message": "Forbidden"}));
        }
        let next = request
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let begun = self.logins.begin(&self.settings, next);
        with_cookie(redirect(&begun.location), &begun.cookie)
    }

    async fn finish_login(&self, request: &Parts) -> Page {
        if let Some(error) = login::argument(request, "error") {
            let detail = login::argument(request, "error_description").unwrap_or(error);
            return text(
                StatusCode::BAD_REQUEST,
                &format!("the login failed: {detail}"),
            );
        }
        let (Some(code), Some(state)) = (
            login::argument(request, "code"),
            login::argument(request, "state"),
        ) else {
            return text(StatusCode::BAD_REQUEST, "code or state is missing");
        };
        let cookie = login::cookie(request, &login::state_cookie(&self.settings));
        if cookie.as_deref() != Some(state.as_str()) {
            return text(StatusCode::FORBIDDEN, "the state is not this browser's");
        }
        let Some(begun) = self.logins.finish(&state) else {
            return text(StatusCode::FORBIDDEN, "the state is not known");
        };
        let token = match self.hub.token(&code, &begun.verifier).await {
            Answer::Yes(answer) => answer
                .get("access_token")
                .and_then(Value::as_str)
                .map(str::to_owned),
            Answer::No => None,
            Answer::Trouble(status) => return text(status, "the hub gives no token"),
        };
        let Some(token) = token else {
            return text(StatusCode::FORBIDDEN, "the hub does not take the code");
        };
        match self.hub.user(&token).await {
            Answer::Yes(_) => {}
            _ => return text(StatusCode::INTERNAL_SERVER_ERROR, "nobody owns the token"),
        }
        let done = format!(
            "{}=; Path={}; Max-Age=0",
            login::state_cookie(&self.settings),
            self.settings.prefix
        );
        let page = with_cookie(redirect(&begun.next), &done);
        with_cookie(page, &login::token_cookie(&self.settings, &token))
    }

    /// Sends back every message of a WebSocket.
    fn echo(&self, request: &Parts, upgrade: hyper::upgrade::OnUpgrade) -> Page {
        let Some(key) = request.headers.get(SEC_WEBSOCKET_KEY) else {
            return text(StatusCode::BAD_REQUEST, "this is a WebSocket");
        };
        let accept = derive_accept_key(key.as_bytes());
        let echo = async move {
            let stream = match upgrade.await {
                Ok(stream) => TokioIo::new(stream),
                Err(error) => return say(&format!("a WebSocket broke off: {error}")),
            };
            let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
            while let Some(Ok(message)) = socket.next().await {
                let data = message.is_text() || message.is_binary();
                if data && socket.send(message).await.is_err() {
                    break;
                }
            }
        };
        let mut echoes = self.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        while echoes.try_join_next().is_some() {}
        echoes.spawn(echo);
        drop(echoes);
        let mut page = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = page.headers_mut();
        headers.remove(CONTENT_TYPE);
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        page
    }
}

/// Gives the request back: what a proxy made of it can be seen here.
async fn describe(request: &Parts, body: Incoming) -> Page {
    let headers: Vec<(&str, String)> = request
        .headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str(), value)
        })
        .collect();
    let length = match body.collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => return text(StatusCode::BAD_REQUEST, "the body broke off"),
    };
    json_page(
        StatusCode::OK,
        &json!({
            "method": request.method.as_str(),
            "uri": request.uri.to_string(),
            "headers": headers,
            "body_length": length,
        }),
    )
}

/// A stream of numbered events, each sent by itself.
fn events(request: &Parts) -> Page {
    let number = |name, default| {
        login::argument(request, name)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (count, pause): (u64, u64) = (number("count", 5), number("interval_ms", 100));
    let events = stream::iter(1..=count).then(move |n| async move {
        if n > 1 {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        Ok(Frame::data(Bytes::from(format!(
            "data: {{\"n\": {n}}}\n\n"
        ))))
    });
    let mut page = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    page
}

fn page(status: StatusCode, kind: &'static str, body: Bytes) -> Page {
    let mut page = Response::new(Full::new(body).boxed_unsync());
    *page.status_mut() = status;
    page.headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    page
}

fn text(status: StatusCode, body: &str) -> Page {
    page(status, "text/plain; charset=utf-8", body.to_owned().into())
}

fn json_page(status: StatusCode, body: &Value) -> Page {
    page(status, "application/json", body.to_string().into())
}

fn redirect(location: &str) -> Page {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut page = text(StatusCode::FOUND, "");
            page.headers_mut().insert(LOCATION, location);
            page
        }
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "a malformed redirect"),
    }
}

fn with_cookie(mut page: Page, cookie: &str) -> Page {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        page.headers_mut().append(SET_COOKIE, cookie);
    }
    page
}
