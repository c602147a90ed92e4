//! The headers that tell an application who its visitor is: the gate's word, and nobody else's.

use http::HeaderMap;
use http::header::HeaderName;

use super::cookies::hide_cookies;

/// Beginnings of names by which proxies tell who a user is.
const PREFIXES: [&str; 4] = [
    "x-auth-request-",
    "x-remote-",
    "x-webauth-",
    "x-jupyterhub-user",
];

/// Whole names of the same kind.
const NAMES: [&str; 12] = [
    "x-forwarded-user",
    "x-forwarded-groups",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-rstudio-username",
    "remote-user",
    "remote-groups",
    "remote-name",
    "remote-email",
];

/// Removes every header by which an application could learn who its visitor is, from whomever it came: for sites, not
/// even a trusted proxy says that.
pub fn remove_identity(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_identity(name)).cloned() {
        headers.remove(name);
    }
}

/// Carries out what the gate said of a visitor who may enter: its headers replace those of the same name, an empty
/// value removes, and its cookies are hidden. For a site that is open to all, `admitted` is empty.
///
/// To be called for each request that goes to a site, before the site's own `request_headers` are set.
pub fn apply_admission(headers: &mut HeaderMap, admitted: &HeaderMap, hide: &[String]) {
    remove_identity(headers);
    for (name, value) in admitted {
        if value.is_empty() {
            headers.remove(name);
        } else {
            headers.insert(name.clone(), value.clone());
        }
    }
    hide_cookies(headers, hide);
}

/// Whether a header tells who a visitor is.
///
/// Many servers take `_` in a header's name for `-`, so both spellings are meant.
pub fn is_identity(name: &HeaderName) -> bool {
    let name = name.as_str();
    let same = |a: u8, b: u8| a == b || (a == b'_' && b == b'-');
    let begins = |start: &str| {
        name.len() >= start.len() && name.bytes().zip(start.bytes()).all(|(a, b)| same(a, b))
    };
    PREFIXES.into_iter().any(begins)
        || NAMES
            .into_iter()
            .any(|whole| whole.len() == name.len() && begins(whole))
}
