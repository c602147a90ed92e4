//! Visitors of a hub: browsers with cookies, and programs with a token.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test whose visitor cannot visit fails"
)]

mod jar;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, LOCATION};
use http::{HeaderMap, Method, Request, Response};
use lyceum_core::Secret;
use serde_json::Value;

use self::jar::Jar;
use crate::http::{Target, send_to};

/// How many redirects are followed.
const REDIRECTS: usize = 20;

/// Somebody, or some program, that visits a hub.
#[derive(Debug, Clone)]
pub struct Visitor {
    address: SocketAddr,
    jar: Jar,
    token: Option<Secret<String>>,
}

/// What a visitor got.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The path that was asked for, after all redirects.
    pub path: String,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    fn new(path: &str, response: Response<Bytes>) -> Self {
        let (head, body) = response.into_parts();
        Self {
            path: path.to_owned(),
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text()))
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Where the answer leads.
    pub fn location(&self) -> &str {
        self.header(LOCATION.as_str())
    }
}

impl Visitor {
    /// A browser without cookies.
    pub fn browser(address: SocketAddr) -> Self {
        Self {
            address,
            jar: Jar::default(),
            token: None,
        }
    }

    /// A program with a token.
    pub fn program(address: SocketAddr, token: Secret<String>) -> Self {
        Self {
            token: Some(token),
            ..Self::browser(address)
        }
    }

    /// The token of a program.
    pub fn token(&self) -> &Secret<String> {
        self.token.as_ref().unwrap()
    }

    /// A cookie's value; empty if there is none.
    pub fn cookie(&self, name: &str) -> &str {
        self.jar.find(name).unwrap_or_default()
    }

    /// Changes a cookie.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.jar.set(name, value);
    }

    /// Makes a request without following redirects.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        let cookies = self.jar.header(path.split('?').next().unwrap_or(path));
        if !cookies.is_empty() {
            request = request.header(COOKIE, cookies);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("token {}", token.expose()));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let target = Target::Tcp(self.address.to_string());
        let response = send_to(&target, request)
            .await
            .unwrap_or_else(|error| panic!("no answer to {path}: {error:?}"));
        self.jar.take(response.headers());
        Answer::new(path, response)
    }

    /// Asks for a page.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("accept", "text/html")], "")
            .await
    }

    /// Asks for a page and follows all redirects.
    pub async fn follow(&mut self, path: &str) -> Answer {
        let first = self.get(path).await;
        self.follow_on(first).await
    }

    /// Follows the redirects of an answer.
    pub async fn follow_on(&mut self, mut answer: Answer) -> Answer {
        for _ in 0..REDIRECTS {
            if !(300..400).contains(&answer.status) {
                return answer;
            }
            let location = answer.location();
            let own = format!("http://{}", self.address);
            let path = location.strip_prefix(&own).unwrap_or(location).to_owned();
            assert!(path.starts_with('/'), "a redirect to {path}");
            answer = self.get(&path).await;
        }
        panic!("too many redirects, the last one to {}", answer.location());
    }

    /// Sends a form of the hub's, with its XSRF token.
    pub async fn post_form(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("_xsrf", self.cookie("_xsrf"))
            .extend_pairs(fields)
            .finish();
        let kind = "application/x-www-form-urlencoded";
        self.send(Method::POST, path, &[(CONTENT_TYPE.as_str(), kind)], body)
            .await
    }

    /// Calls the API; a browser's script adds its XSRF token.
    pub async fn api(&mut self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let xsrf = self.cookie("_xsrf").to_owned();
        let mut headers = vec![("accept", "application/json")];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        if self.token.is_none() {
            headers.push(("x-xsrftoken", &xsrf));
        }
        let body = body.map(Value::to_string).unwrap_or_default();
        self.send(method, &format!("/hub/api{path}"), &headers, body)
            .await
    }

    /// Fills in the login form; the answer is the form's.
    pub async fn log_in(&mut self, name: &str, password: &str) -> Answer {
        let form = self.get("/hub/login").await;
        assert!(form.status < 400, "the login form: {}", form.text());
        self.post_form("/hub/login", &[("username", name), ("password", password)])
            .await
    }
}
