//! The cookies of the hub: their names, paths and attributes (JupyterHub `BaseHandler.set_login_cookie`).

use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

/// The login: an opaque secret that the hub looks up. Path: the hub.
pub(crate) const LOGIN: &str = "jupyterhub-hub-login";
/// The browser session's public id; single-user servers and services read it. Path: everything.
pub(crate) const SESSION_ID: &str = "jupyterhub-session-id";
/// The XSRF token; scripts of the page read it. Path: the hub.
pub(crate) const XSRF: &str = "_xsrf";
/// The language that the person chose. Path: everything.
pub(crate) const LANGUAGE: &str = "lyceum-language";
/// Only ever cleared; old versions of JupyterHub set it.
pub(crate) const OLD_SERVICES: &str = "jupyterhub-services";

/// Gives the values of all cookies of this name, in the order the browser sent them.
pub(crate) fn all<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .filter_map(|pair| Cookie::parse(pair.trim().to_owned()).ok())
        .filter(move |cookie| cookie.name() == name)
        .map(|cookie| cookie.value().trim_matches('"').to_owned())
}

/// Gives the value of the first cookie of this name.
pub(crate) fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    all(headers, name).next()
}

/// How long the browser keeps a cookie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep {
    /// Until it is closed.
    Session,
    /// For this long.
    For(Duration),
}

/// Writes a cookie into the answer's headers.
pub(crate) fn set(headers: &mut HeaderMap, name: &str, value: &str, attributes: Attributes<'_>) {
    let mut cookie = Cookie::build((name.to_owned(), value.to_owned()))
        .path(attributes.path.to_owned())
        .http_only(attributes.http_only)
        .secure(attributes.secure);
    if attributes.lax {
        cookie = cookie.same_site(SameSite::Lax);
    }
    if let Keep::For(time) = attributes.keep {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        cookie = cookie.max_age(cookie::time::Duration::seconds(seconds));
    }
    append(headers, &cookie.build());
}

/// Tells the browser to drop a cookie.
pub(crate) fn clear(headers: &mut HeaderMap, name: &str, path: &str) {
    let cookie = Cookie::build((name.to_owned(), String::new()))
        .path(path.to_owned())
        .max_age(cookie::time::Duration::ZERO)
        .expires(cookie::time::OffsetDateTime::UNIX_EPOCH);
    append(headers, &cookie.build());
}

/// The attributes of a cookie that the hub sets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a> {
    pub(crate) path: &'a str,
    pub(crate) secure: bool,
    pub(crate) http_only: bool,
    /// `SameSite=Lax`: not sent with requests that other sites make, except when a link is followed.
    pub(crate) lax: bool,
    pub(crate) keep: Keep,
}

fn append(headers: &mut HeaderMap, cookie: &Cookie<'_>) {
    // Values are ours (hexadecimal and base64url), and paths are escaped.
    if let Ok(value) = HeaderValue::from_str(&cookie.to_string()) {
        headers.append(SET_COOKIE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_read_from_several_headers_in_order() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; _xsrf=first; b=2"));
        headers.append(COOKIE, HeaderValue::from_static("_xsrf=\"second\""));
        assert_eq!(all(&headers, XSRF).collect::<Vec<_>>(), ["first", "second"]);
        assert_eq!(first(&headers, "c"), None);
    }

    #[test]
    fn the_login_cookie_has_its_attributes() {
        let mut headers = HeaderMap::new();
        let attributes = Attributes {
            path: "/hub/",
            secure: true,
            http_only: true,
            lax: true,
            keep: Keep::For(Duration::from_mins(1)),
        };
        set(&mut headers, LOGIN, "abc", attributes);
        assert_eq!(
            headers.get(SET_COOKIE).unwrap(),
            "jupyterhub-hub-login=abc; HttpOnly; SameSite=Lax; Secure; Path=/hub/; Max-Age=60"
        );
    }
}
