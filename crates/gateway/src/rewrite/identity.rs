//! The headers that tell an application who its visitor is: the gate's word, and nobody else's.

use http::HeaderMap;
use http::header::HeaderName;

use super::cookies::hide_cookies;

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

/// Whether a header tells who a visitor is: then nobody but the gate says it to a site.
pub fn is_identity(name: &HeaderName) -> bool {
    is_identity_name(name.as_str())
}

/// The same for a name as it came.
pub fn is_identity_name(name: &str) -> bool {
    crate::forwarded::is_identity(name.as_bytes()) || is_special(name)
}

/// Names of the same kind that some applications believe.
fn is_special(name: &str) -> bool {
    ["x-rstudio-username", "x-jupyterhub-user"]
        .into_iter()
        .any(|special| {
            special.len() == name.len() && name.replace('_', "-").eq_ignore_ascii_case(special)
        })
}
