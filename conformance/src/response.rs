//! An answer together with what was asked, and the checks that cases make on it.

use serde_json::Value;

use crate::failure::{Done, Failure, ensure, same};
use crate::wire::Answer;

/// How much of a body a failure shows.
const EXCERPT: usize = 300;

/// An answer of the hub, and what it answers.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    /// Who asked what, for messages.
    pub(crate) asked: String,
    pub(crate) answer: Answer,
}

/// A cookie as the hub sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Attributes in lower case, sorted, such as `httponly` and `path=/hub/`.
    pub(crate) attributes: Vec<String>,
}

impl SetCookie {
    /// Reads a `Set-Cookie` header.
    pub(crate) fn parse(header: &str) -> Self {
        let mut parts = header.split(';').map(str::trim);
        let (name, value) = parts
            .next()
            .unwrap_or_default()
            .split_once('=')
            .unwrap_or_default();
        let mut attributes: Vec<String> = parts
            .map(|part| match part.split_once('=') {
                Some((name, value)) => format!("{}={value}", name.to_ascii_lowercase()),
                None => part.to_ascii_lowercase(),
            })
            .collect();
        attributes.sort();
        Self {
            name: name.to_owned(),
            value: value.trim_matches('"').to_owned(),
            attributes,
        }
    }

    pub(crate) fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|found| found == attribute)
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|found| found.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    }

    /// Whether this takes the cookie away.
    pub(crate) fn deletes(&self) -> bool {
        let expired = self
            .attribute("expires")
            .is_some_and(|time| time.contains(" 1970 ") || time.contains("-1970 "));
        let ended = self.attribute("max-age") == Some("0");
        self.value.is_empty()
            || ended
            || (expired && self.attribute("max-age").is_none())
            || is_past(self)
    }
}

/// Whether the cookie's last moment is over: a hub may delete by a date of last year.
fn is_past(cookie: &SetCookie) -> bool {
    let Some(text) = cookie.attribute("expires") else {
        return false;
    };
    jiff::fmt::rfc2822::parse(text).is_ok_and(|time| time.timestamp() < crate::case::now())
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        self.answer.status
    }

    /// A failure that shows this answer.
    pub(crate) fn wrong(&self, text: impl AsRef<str>) -> Failure {
        let body = String::from_utf8_lossy(&self.answer.body);
        let excerpt: String = body.chars().take(EXCERPT).collect();
        Failure::new(format!(
            "{}: {}\n      {} {excerpt}",
            self.asked,
            text.as_ref(),
            self.answer.status
        ))
    }

    /// Wants one status.
    pub(crate) fn is(self, status: u16) -> Result<Self, Failure> {
        if self.answer.status == status {
            Ok(self)
        } else {
            Err(self.wrong(format!("status {} instead of {status}", self.answer.status)))
        }
    }

    /// Wants one of several statuses; `why` says why more than one is right.
    pub(crate) fn either(self, statuses: &[u16], why: &str) -> Result<Self, Failure> {
        if statuses.contains(&self.answer.status) {
            Ok(self)
        } else {
            let text = format!(
                "status {} instead of one of {statuses:?} ({why})",
                self.answer.status
            );
            Err(self.wrong(text))
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// Wants a header's exact value.
    pub(crate) fn has_header(self, name: &str, value: &str) -> Result<Self, Failure> {
        match self.header(name) {
            Some(found) if found == value => Ok(self),
            found => Err(self.wrong(format!("{name} is {found:?} instead of {value:?}"))),
        }
    }

    /// Wants that there is no such header.
    pub(crate) fn lacks_header(self, name: &str) -> Result<Self, Failure> {
        match self.header(name) {
            None => Ok(self),
            Some(found) => Err(self.wrong(format!("has {name}: {found}"))),
        }
    }

    /// Wants a media type, whatever its parameters.
    pub(crate) fn has_type(self, media_type: &str) -> Result<Self, Failure> {
        let found = self.header("content-type").unwrap_or_default();
        if found.split(';').next().unwrap_or_default().trim() == media_type {
            Ok(self)
        } else {
            Err(self.wrong(format!("content type {found:?} instead of {media_type:?}")))
        }
    }

    /// Wants a page.
    pub(crate) fn page(self) -> Result<Self, Failure> {
        self.has_type("text/html")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.answer.body).into_owned()
    }

    /// Wants a text in the body.
    pub(crate) fn contains(self, text: &str) -> Result<Self, Failure> {
        if self.text().contains(text) {
            Ok(self)
        } else {
            Err(self.wrong(format!("does not contain {text:?}")))
        }
    }

    /// Wants an empty body.
    pub(crate) fn empty(self) -> Result<Self, Failure> {
        if self.answer.body.is_empty() {
            Ok(self)
        } else {
            Err(self.wrong("has a body"))
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.answer.body)
            .map_err(|error| self.wrong(format!("no JSON: {error}")))
    }

    /// Wants an error of the API: its type, its two keys, and the status once more.
    pub(crate) fn error_body(self, status: u16) -> Result<Self, Failure> {
        let response = self.is(status)?.has_type("application/json")?;
        let body = response.json()?;
        let keys: Vec<&str> = body
            .as_object()
            .into_iter()
            .flat_map(|o| o.keys())
            .map(String::as_str)
            .collect();
        if keys.len() != 2 || body["status"] != status || !keys.contains(&"message") {
            return Err(response.wrong("is no error body {status, message}"));
        }
        if !(body["message"].is_null()
            || body["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()))
        {
            return Err(response.wrong("the message is neither a text nor null"));
        }
        Ok(response)
    }

    /// Wants a redirect, and gives its target as sent.
    pub(crate) fn redirect(&self, status: u16) -> Result<String, Failure> {
        if self.status() != status {
            return Err(self.wrong(format!("status {} instead of {status}", self.status())));
        }
        self.header("location")
            .map(str::to_owned)
            .ok_or_else(|| self.wrong("redirects nowhere"))
    }

    /// Wants a redirect to a target; how its query is escaped does not matter.
    pub(crate) fn leads_to(self, status: u16, target: &str) -> Result<Self, Failure> {
        let found = self.redirect(status)?;
        if unescaped(&found) == unescaped(target) {
            Ok(self)
        } else {
            Err(self.wrong(format!("leads to {found:?} instead of {target:?}")))
        }
    }

    /// Wants a redirect to a path, whatever its query.
    pub(crate) fn leads_to_path(self, status: u16, path: &str) -> Result<Self, Failure> {
        let found = self.redirect(status)?;
        if found.split('?').next() == Some(path) {
            Ok(self)
        } else {
            Err(self.wrong(format!("leads to {found:?} instead of {path:?}")))
        }
    }

    /// All cookies that are set.
    pub(crate) fn cookies(&self) -> Vec<SetCookie> {
        self.answer
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"))
            .map(|(_, value)| SetCookie::parse(value))
            .collect()
    }

    /// Wants a cookie to be set.
    pub(crate) fn cookie(&self, name: &str) -> Result<SetCookie, Failure> {
        self.cookies()
            .into_iter()
            .find(|cookie| cookie.name == name && !cookie.deletes())
            .ok_or_else(|| self.wrong(format!("does not set the cookie {name}")))
    }
}

/// A target's path as it is, and the parameters of its query as they are meant.
fn unescaped(target: &str) -> (&str, Vec<(String, String)>) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    (path, pairs)
}

/// Wants an object to have exactly these keys.
pub(crate) fn has_keys(value: &Value, wanted: &[&str]) -> Done {
    let Some(object) = value.as_object() else {
        return Err(Failure::new(format!("no object: {value}")));
    };
    let mut found: Vec<&str> = object.keys().map(String::as_str).collect();
    let mut wanted = wanted.to_vec();
    found.sort_unstable();
    wanted.sort_unstable();
    same!(found, wanted, "the keys");
    Ok(())
}

/// The texts of a list, sorted.
pub(crate) fn texts(value: &Value) -> Vec<String> {
    let mut texts: Vec<String> = value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect();
    texts.sort();
    texts
}

/// The names of the objects of a list, in its order.
pub(crate) fn names(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|object| object["name"].as_str().map(str::to_owned))
        .collect()
}

/// Wants a time as the contract writes it: UTC with a `Z`.
pub(crate) fn is_time(value: &Value) -> Done {
    let text = value.as_str().unwrap_or_default();
    let fine = text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok();
    ensure!(fine, "{value} is no time with a Z");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_with_their_attributes() {
        let cookie = SetCookie::parse(r#"a="x=y"; Path=/hub/; HttpOnly; Max-Age=3600"#);
        assert_eq!((cookie.name.as_str(), cookie.value.as_str()), ("a", "x=y"));
        assert!(cookie.has("httponly") && cookie.attribute("path") == Some("/hub/"));
        assert!(!cookie.deletes());
        assert!(SetCookie::parse(r#"a=""; expires=Wed, 20 Nov 2024 10:00:00 GMT"#).deletes());
        assert!(SetCookie::parse("a=; Max-Age=0").deletes());
    }
}
