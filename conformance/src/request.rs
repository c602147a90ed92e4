//! A request in the making.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::browser::Jar;
use crate::case::{Case, Exchange};
use crate::failure::Failure;
use crate::response::Response;
use crate::wire;

/// The longest wait for an answer: longer than a hub waits for a server's start.
const LIMIT: Duration = Duration::from_secs(30);

/// A request of a case, with whatever headers it was given.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub(crate) struct Request<'c> {
    case: &'c Case<'c>,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    jar: Option<&'c Jar>,
    is_quiet: bool,
    limit: Duration,
}

impl<'c> Request<'c> {
    /// `path` belongs to the API if it has no slash at its begin: `users/ada` is `/hub/api/users/ada`. Both are put
    /// after the hub's base path; `=/path` is taken as it stands.
    pub(crate) fn new(case: &'c Case<'c>, method: &str, path: &str) -> Self {
        let base = &case.target.base;
        let path = match path.strip_prefix('=') {
            Some(raw) => raw.to_owned(),
            None if path.starts_with('/') => format!("{base}{path}"),
            None if path.is_empty() => format!("{base}/hub/api"),
            None => format!("{base}/hub/api/{path}"),
        };
        Self {
            case,
            method: method.to_owned(),
            path,
            headers: Vec::new(),
            body: None,
            jar: None,
            is_quiet: false,
            limit: LIMIT,
        }
    }

    /// Sends the cookies of a browser, and keeps those that come back.
    pub(crate) fn jar(mut self, jar: &'c Jar) -> Self {
        self.jar = Some(jar);
        self
    }

    /// Adds a header, or replaces the one of this name; an empty value removes it.
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.headers
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value));
        }
        self
    }

    /// Adds a query parameter.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        let pair: String = form_urlencoded::Serializer::new(String::new())
            .append_pair(name, value)
            .finish();
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(&pair);
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// A body as a form sends it.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.body("application/x-www-form-urlencoded", body)
    }

    /// Any body; an empty type leaves the header out.
    pub(crate) fn body(mut self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", media_type)
    }

    /// Leaves this exchange out of the comparison: it is one of a number that depends on time.
    pub(crate) fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// Waits no longer than this for the answer.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sends it, and wants a status.
    pub(crate) fn expect(self, status: u16) -> Result<Response, Failure> {
        self.send()?.is(status)
    }

    /// Sends it, and wants an error of the API.
    pub(crate) fn refused(self, status: u16) -> Result<Response, Failure> {
        self.send()?.error_body(status)
    }

    /// Sends it and reads the whole answer.
    pub(crate) fn send(self) -> Result<Response, Failure> {
        self.send_until(None)
    }

    /// Sends it and reads the answer until its body satisfies a condition.
    pub(crate) fn send_until(self, until: wire::Until<'_>) -> Result<Response, Failure> {
        let asked = format!("{} {}", self.method, self.path);
        let target = self.case.target;
        let deadline = self.case.deadline.min(Instant::now() + self.limit);
        let answer = wire::exchange(target.address, &self.bytes(), deadline, until)
            .map_err(|error| Failure::new(format!("{asked}: {error}")))?;
        let response = Response { asked, answer };
        if let Some(jar) = self.jar {
            jar.keep(&self.path, response.cookies());
        }
        if !self.is_quiet {
            self.case.remember(Exchange {
                method: self.method,
                path: self.path,
                answer: response.answer.clone(),
            });
        }
        Ok(response)
    }

    /// The request as it goes out.
    fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has = |name: &str| {
            self.headers
                .iter()
                .any(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        // Writing to a text cannot fail.
        if !has("host") {
            let _ = write!(head, "Host: {}\r\n", self.case.target.host);
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(cookies) = self.jar.map(|jar| jar.header(&self.path))
            && !cookies.is_empty()
            && !has("cookie")
        {
            let _ = write!(head, "Cookie: {cookies}\r\n");
        }
        let has_body =
            self.body.is_some() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH");
        let body = self.body.as_deref().unwrap_or_default();
        if has_body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("Connection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }
}
