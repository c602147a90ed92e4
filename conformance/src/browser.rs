//! A browser: a jar of cookies, and the `Sec-Fetch-…` headers of somebody who clicks.

use std::sync::{Mutex, PoisonError};

use crate::case::Case;
use crate::failure::Failure;
use crate::request::Request;
use crate::response::{Response, SetCookie};

/// The cookies of a browser, by name and path.
#[derive(Debug, Default)]
pub(crate) struct Jar(Mutex<Vec<SetCookie>>);

impl Jar {
    /// Keeps cookies that came with an answer, and drops those that it deletes.
    pub(crate) fn keep(&self, request_path: &str, cookies: Vec<SetCookie>) {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for mut cookie in cookies {
            if cookie.attribute("path").is_none() {
                let folder = request_path
                    .rsplit_once('/')
                    .map_or("/", |(folder, _)| folder);
                cookie.attributes.push(format!("path={folder}/"));
            }
            jar.retain(|old| {
                old.name != cookie.name || old.attribute("path") != cookie.attribute("path")
            });
            if !cookie.deletes() {
                jar.push(cookie);
            }
        }
    }

    /// The `Cookie` header for a path: longer paths first, as browsers do.
    pub(crate) fn header(&self, path: &str) -> String {
        let jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fitting: Vec<&SetCookie> = jar
            .iter()
            .filter(|cookie| fits(path, cookie.attribute("path").unwrap_or("/")))
            .collect();
        fitting
            .sort_by_key(|cookie| std::cmp::Reverse(cookie.attribute("path").unwrap_or("/").len()));
        let pairs: Vec<String> = fitting
            .iter()
            .map(|cookie| format!("{}=\"{}\"", cookie.name, cookie.value))
            .collect();
        pairs.join("; ")
    }

    pub(crate) fn find(&self, name: &str) -> Option<SetCookie> {
        let jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jar.iter().find(|cookie| cookie.name == name).cloned()
    }

    /// Puts a cookie in place of the one of its name.
    pub(crate) fn put(&self, name: &str, value: &str, path: &str) {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jar.retain(|cookie| cookie.name != name);
        jar.push(SetCookie {
            name: name.to_owned(),
            value: value.to_owned(),
            attributes: vec![format!("path={path}")],
        });
    }

    pub(crate) fn drop_cookie(&self, name: &str) {
        let mut jar = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        jar.retain(|cookie| cookie.name != name);
    }
}

/// Whether a cookie of a path goes with a request.
fn fits(request: &str, path: &str) -> bool {
    let request = request.split('?').next().unwrap_or_default();
    request == path
        || request
            .strip_prefix(path)
            .is_some_and(|rest| path.ends_with('/') || rest.starts_with('/'))
}

/// Somebody at a browser.
#[derive(Debug)]
pub(crate) struct Browser<'c> {
    case: &'c Case<'c>,
    pub(crate) jar: Jar,
}

impl<'c> Browser<'c> {
    pub(crate) fn new(case: &'c Case<'c>) -> Self {
        Self {
            case,
            jar: Jar::default(),
        }
    }

    /// A request with the browser's cookies and nothing else.
    pub(crate) fn request<'b>(&'b self, method: &str, path: impl Into<String>) -> Request<'b>
    where
        'c: 'b,
    {
        Request::new(self.case, method, &path.into()).jar(&self.jar)
    }

    /// Opens a page, as a click on a link of the same site does.
    pub(crate) fn open(&self, path: impl Into<String>) -> Request<'_> {
        self.request("GET", path)
            .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Dest", "document")
    }

    /// Sends a form of a page, with the XSRF token in a hidden field.
    pub(crate) fn submit(&self, path: impl Into<String>, fields: &[(&str, &str)]) -> Request<'_> {
        let xsrf = self.xsrf();
        let mut all = vec![("_xsrf", xsrf.as_str())];
        all.extend_from_slice(fields);
        self.request("POST", path)
            .header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("Origin", format!("http://{}", self.case.target.host))
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Dest", "document")
            .form(&all)
    }

    /// Asks as a script of a page does, with the XSRF token in its header.
    pub(crate) fn fetch(&self, method: &str, path: impl Into<String>) -> Request<'_> {
        self.request(method, path)
            .header("Accept", "application/json")
            .header("Sec-Fetch-Mode", "cors")
            .header("Sec-Fetch-Site", "same-origin")
            .header("Sec-Fetch-Dest", "empty")
            .header("X-XSRFToken", self.xsrf())
    }

    /// The present XSRF token; empty if there is none.
    pub(crate) fn xsrf(&self) -> String {
        self.jar
            .find("_xsrf")
            .map(|cookie| cookie.value)
            .unwrap_or_default()
    }

    /// Logs in with the form.
    pub(crate) fn log_in(&self, user: &str) -> Result<Response, Failure> {
        self.open("/hub/login").expect(200)?;
        let answer = self
            .submit("/hub/login", &[("username", user), ("password", "pw")])
            .expect(302)?;
        for name in ["jupyterhub-hub-login", "jupyterhub-session-id", "_xsrf"] {
            if let Some(cookie) = self.jar.find(name) {
                self.case.secret(&cookie.value);
            }
        }
        // The token of the new session comes with its first page.
        self.open("/hub/home").expect(200)?;
        Ok(answer)
    }

    /// Opens a page and follows redirects within the hub; gives the last answer.
    pub(crate) fn follow(&self, path: &str) -> Result<Response, Failure> {
        let mut path = format!("={}{path}", self.case.target.base);
        for _ in 0..12 {
            let answer = self.open(&path).send()?;
            if !matches!(answer.status(), 301..=303) {
                return Ok(answer);
            }
            let target = answer.redirect(answer.status())?;
            path = format!("={}", within(&target));
        }
        Err(Failure::new(format!("{path}: more than 12 redirects")))
    }
}

/// The path and query of a target.
fn within(target: &str) -> String {
    match target.split_once("://") {
        Some((_, rest)) => rest
            .find('/')
            .and_then(|at| rest.get(at..))
            .unwrap_or("/")
            .to_owned(),
        None => target.to_owned(),
    }
}
