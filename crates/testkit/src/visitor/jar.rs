//! The cookies of a visitor, kept as a browser keeps them, as far as the hub's are concerned.

use cookie::Cookie;
use http::HeaderMap;
use http::header::SET_COOKIE;

/// Cookies with the path for which they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Jar(Vec<(String, String, String)>);

impl Jar {
    /// Takes the cookies of an answer.
    pub(super) fn take(&mut self, headers: &HeaderMap) {
        for value in headers.get_all(SET_COOKIE) {
            let Some(cookie) = value
                .to_str()
                .ok()
                .and_then(|text| Cookie::parse(text).ok())
            else {
                continue;
            };
            let path = cookie.path().unwrap_or("/").to_owned();
            self.0
                .retain(|(name, _, of)| !(name == cookie.name() && *of == path));
            let gone = cookie.max_age().is_some_and(|age| age.whole_seconds() <= 0);
            if !gone {
                self.0
                    .push((cookie.name().to_owned(), cookie.value().to_owned(), path));
            }
        }
    }

    /// The cookies for a path, as the request's header.
    pub(super) fn header(&self, path: &str) -> String {
        let mut fitting: Vec<_> = self
            .0
            .iter()
            .filter(|(_, _, of)| path.starts_with(of.as_str()))
            .collect();
        // The longest path first (RFC 6265 §5.4).
        fitting.sort_by_key(|(_, _, of)| std::cmp::Reverse(of.len()));
        let pairs: Vec<String> = fitting
            .iter()
            .map(|(name, value, _)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// A cookie's value, whatever its path.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(of, _, _)| of == name)
            .map(|(_, value, _)| value.as_str())
    }

    /// Replaces a cookie's value.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        for (of, known, _) in &mut self.0 {
            if of == name {
                value.clone_into(known);
            }
        }
    }
}
