//! The headers by which an application learns where browsers find it.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::Context;
use crate::site::SiteKind;

const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");
const SCRIPT_NAME: HeaderName = HeaderName::from_static("x-script-name");
const RSTUDIO_ROOT: HeaderName = HeaderName::from_static("x-rstudio-root-path");
const RSTUDIO_REQUEST: HeaderName = HeaderName::from_static("x-rstudio-request");

/// A request on its way to a site.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Path and query as the browser sent them, prefix included.
    pub path_and_query: &'a str,
    /// The kind of the application.
    pub kind: SiteKind,
}

/// Sets the headers that tell an application its public address, in place of what anybody said of it.
///
/// `X-Forwarded-Proto`, `-Host` and `-Port` get one value each, that of the browser: applications read lists of them
/// in different ways, and RStudio in none. `X-Forwarded-Prefix` tells the prefix that was taken away, without its
/// last slash; if none was, it is not there, as applications would put it before their addresses a second time.
/// RStudio gets `X-RStudio-Root-Path` and `X-RStudio-Request` too.
pub fn site_headers(headers: &mut HeaderMap, request: Request<'_>, context: &Context<'_>) {
    for name in [PREFIX, SCRIPT_NAME, RSTUDIO_ROOT, RSTUDIO_REQUEST] {
        remove_every_spelling(headers, name.as_str());
    }
    let port = match crate::table::without_port(context.host).len() {
        end if end < context.host.len() => context.host.get(end + 1..).unwrap_or_default(),
        _ if context.scheme == "https" => "443",
        _ => "80",
    };
    set(headers, PROTO, context.scheme);
    set(headers, HOST, context.host);
    set(headers, PORT, port);
    let prefix = context.url_prefix();
    if context.stripped && !prefix.is_empty() {
        set(headers, PREFIX, &prefix);
    }
    if request.kind == SiteKind::RStudio {
        // Of several ways to learn its address it would take this one first, and read it in a way of its own.
        headers.remove(FORWARDED);
        let root = if prefix.is_empty() { "/" } else { &prefix };
        set(headers, RSTUDIO_ROOT, root);
        let whole = format!(
            "{}://{}{}",
            context.scheme, context.host, request.path_and_query
        );
        set(headers, RSTUDIO_REQUEST, &whole);
    }
}

/// Removes a header, also where it is written with `_`, which many servers take for `-`.
pub(super) fn remove_every_spelling(headers: &mut HeaderMap, name: &str) {
    let is_it = |other: &HeaderName| {
        let other = other.as_str();
        other.len() == name.len()
            && other
                .bytes()
                .zip(name.bytes())
                .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    while let Some(found) = headers.keys().find(|key| is_it(key)).cloned() {
        headers.remove(found);
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
