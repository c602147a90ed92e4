//! Cookies: those that an application sets, kept below its prefix, and those that it must not get.

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use super::{Context, is_clean, path};
use lyceum_core::Upstream;

/// Gives the value that `Set-Cookie` gets in place of `value`; `None` leaves it as it is.
///
/// `Path=/` becomes the prefix, and another path goes below it. A cookie without a path needs nothing: the browser
/// takes the path of the page, which has the prefix. `Domain` is dropped if it names the upstream or this machine.
/// On https, `Secure` is added, as the application cannot know. Everything else stays, byte for byte and in order. A
/// cookie whose name begins with `__Host-` keeps its path, as browsers take no other from it.
pub fn set_cookie(value: &[u8], context: &Context<'_>) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    if !is_clean(text) {
        return None;
    }
    let mut parts = text.split(';');
    let pair = parts.next()?;
    let bound_to_host = pair
        .trim_start()
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("__Host-"));
    let mut written = pair.to_owned();
    let mut is_secure = false;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("secure") {
            is_secure = true;
        }
        if name.eq_ignore_ascii_case("domain") && is_internal(value.trim(), context) {
            continue;
        }
        written.push(';');
        if name.eq_ignore_ascii_case("path")
            && !bound_to_host
            && let Some(moved) = moved(value.trim(), context)
        {
            let head = part.split_at(part.find('=').unwrap_or(part.len())).0;
            written.push_str(head);
            written.push('=');
            written.push_str(&moved);
        } else {
            written.push_str(part);
        }
    }
    if context.scheme == "https" && !is_secure {
        written.push_str("; Secure");
    }
    (written != text).then_some(written)
}

/// Where the path of a cookie is for the browser; `None` if it is right.
fn moved(path: &str, context: &Context<'_>) -> Option<String> {
    if !path.starts_with('/') || path::behind(context.prefix, path).is_some() {
        return None;
    }
    let prefix = context.url_prefix();
    match path {
        "/" => Some(format!("{prefix}/")),
        // An application that knows its prefix means another place of this host.
        _ if !context.stripped => None,
        _ => Some(format!("{prefix}{path}")),
    }
}

/// Whether a domain is one that browsers never hear of.
fn is_internal(domain: &str, context: &Context<'_>) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    let public = crate::table::without_port(context.host);
    if domain.eq_ignore_ascii_case(public) {
        return false;
    }
    let upstream = match context.upstream {
        Upstream::Tcp { host, .. }
        | Upstream::Tls { host, .. }
        | Upstream::Internal { host, .. } => host.as_str(),
        Upstream::OwnedTcp { .. } => Upstream::OWNED_HOST,
        Upstream::Unix(_) | Upstream::Owned { .. } => "localhost",
    };
    [upstream, "localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|name| domain.eq_ignore_ascii_case(name))
}

/// Takes cookies out of a request, by name; all others stay, byte for byte.
pub fn hide_cookies<Name: AsRef<str>>(headers: &mut HeaderMap, names: &[Name]) {
    if names.is_empty() {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(COOKIE).iter().cloned().collect();
    headers.remove(COOKIE);
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(&without_cookies(line.as_bytes(), names))
            && !value.is_empty()
        {
            headers.append(COOKIE, value);
        }
    }
}

/// Takes cookies out of the value of one `Cookie` field; what is left may be empty.
pub fn without_cookies<Name: AsRef<str>>(value: &[u8], names: &[Name]) -> Vec<u8> {
    let is_hidden = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let name = name.trim_ascii();
        names
            .iter()
            .any(|hidden| hidden.as_ref().as_bytes() == name)
    };
    let pairs = || value.split(|byte| *byte == b';');
    if !pairs().any(is_hidden) {
        return value.to_vec();
    }
    let kept: Vec<&[u8]> = pairs()
        .filter(|pair| !is_hidden(pair))
        .map(<[u8]>::trim_ascii)
        .filter(|pair| !pair.is_empty())
        .collect();
    kept.join(&b"; "[..])
}
