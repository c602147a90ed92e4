//! The headers by which an application learns where browsers find it.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::Context;
use crate::site::SiteKind;

const PREFIX: &str = "x-forwarded-prefix";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const PORT: &str = "x-forwarded-port";
const RSTUDIO_ROOT: &str = "x-rstudio-root-path";
const RSTUDIO_REQUEST: &str = "x-rstudio-request";

/// What nobody but us says to an application.
const OURS: [&str; 7] = [
    PREFIX,
    PROTO,
    HOST,
    PORT,
    RSTUDIO_ROOT,
    RSTUDIO_REQUEST,
    "x-script-name",
];

/// A request on its way to a site.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Path and query as the browser sent them, prefix included.
    pub path_and_query: &'a str,
    /// The kind of the application.
    pub kind: SiteKind,
}

/// Gives the fields that tell an application its public address; each name comes once.
///
/// `X-Forwarded-Proto`, `-Host` and `-Port` get one value each, that of the browser: applications read lists of them
/// in different ways, and RStudio in none. `X-Forwarded-Prefix` tells the prefix that was taken away, without its
/// last slash; if none was, it is not there, as applications would put it before their addresses a second time.
/// RStudio gets `X-RStudio-Root-Path` and `X-RStudio-Request` too. Whatever [`is_site_field`] says is not passed on
/// beside them.
pub fn site_fields(
    request: Request<'_>,
    context: &Context<'_>,
    mut field: impl FnMut(&'static str, &str),
) {
    let end = crate::table::without_port(context.host).len();
    let port = match context.host.get(end + 1..) {
        Some(port) => port,
        None if context.scheme == "https" => "443",
        None => "80",
    };
    field(PROTO, context.scheme);
    field(HOST, context.host);
    field(PORT, port);
    let prefix = context.url_prefix();
    if context.stripped && !prefix.is_empty() {
        field(PREFIX, &prefix);
    }
    if request.kind == SiteKind::RStudio {
        field(RSTUDIO_ROOT, if prefix.is_empty() { "/" } else { &prefix });
        let whole = format!(
            "{}://{}{}",
            context.scheme, context.host, request.path_and_query
        );
        field(RSTUDIO_REQUEST, &whole);
    }
}

/// Whether a field of this name is not passed on to a site from anybody: [`site_fields`] says it, or nobody.
///
/// Many servers take `_` in a header's name for `-`, so both spellings are meant.
pub fn is_site_field(name: &str, kind: SiteKind) -> bool {
    let is = |ours: &str| {
        ours.len() == name.len()
            && name
                .bytes()
                .zip(ours.bytes())
                .all(|(a, b)| a.to_ascii_lowercase() == b || (a == b'_' && b == b'-'))
    };
    // Of several ways to learn its address RStudio takes `Forwarded` first, and reads it in a way of its own.
    OURS.into_iter().any(is) || (kind == SiteKind::RStudio && is("forwarded"))
}

/// The same on a map: sets the fields in place of what anybody said.
pub fn site_headers(headers: &mut HeaderMap, request: Request<'_>, context: &Context<'_>) {
    while let Some(name) = headers
        .keys()
        .find(|name| is_site_field(name.as_str(), request.kind))
        .cloned()
    {
        headers.remove(name);
    }
    site_fields(request, context, |name, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    });
}
