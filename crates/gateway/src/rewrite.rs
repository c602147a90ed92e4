//! What changes in requests and answers of a site whose application does not know its prefix: pure functions on text.
//!
//! Nothing here reads a body: pages with addresses that begin at the root of the host cannot be helped, and their
//! application has to be told its prefix. All functions take what anybody may have sent, and never panic.

mod cookies;
mod headers;
mod identity;
mod location;
mod path;
mod proxy;

use lyceum_core::Upstream;

pub use cookies::{hide_cookies, set_cookie, without_cookies};
pub use headers::{Request, is_site_field, site_fields, site_headers};
pub use identity::{apply_admission, is_identity, is_identity_name, remove_identity};
pub use location::{location, refresh};
pub use path::{missing_slash, redirect_target, strip, unstrip};
pub use proxy::{Redirects, rewrite_redirect};

/// What has to be known of a site and a request to make an answer right for the browser.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The prefix of the site, with slashes at both ends ([`RouteSpec::path_prefix`](lyceum_core::RouteSpec)).
    pub prefix: &'a str,
    /// Whether the prefix was taken from the path of the request.
    pub stripped: bool,
    /// The scheme that the browser used: `http` or `https`.
    pub scheme: &'a str,
    /// The host that the browser asked for, with its port if it is not the scheme's.
    pub host: &'a str,
    /// Where the request went.
    pub upstream: &'a Upstream,
}

impl Context<'_> {
    /// The prefix as it stands in URLs, without its last slash; empty for `/`.
    fn url_prefix(&self) -> String {
        path::escaped(self.prefix)
    }
}

/// Gives the value that a field of an answer gets in place of `value`; `None` leaves it as it is. Only `Location`,
/// `Content-Location`, `Refresh` and `Set-Cookie` are ever changed. For sites whose `rewrite` is on.
pub fn answer_field(name: &str, value: &[u8], context: &Context<'_>) -> Option<String> {
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    match name.len() {
        8 if is("location") => location(value, context),
        16 if is("content-location") => location(value, context),
        7 if is("refresh") => refresh(value, context),
        10 if is("set-cookie") => set_cookie(value, context),
        _ => None,
    }
}

/// Whether a text can stand in a header: nothing in it that ends a line, or that is no text at all.
fn is_clean(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

/// Runs all functions on what anybody may have sent, and checks what must always hold; for fuzzing and properties.
#[doc(hidden)]
pub fn fuzz(prefix: &str, path: &str, value: &[u8]) {
    let prefix = lyceum_core::RouteSpec::path(prefix);
    let prefix = prefix.path_prefix();
    let upstream = Upstream::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 8787,
    };
    let context = Context {
        prefix,
        stripped: true,
        scheme: "https",
        host: "hub.example.org",
        upstream: &upstream,
    };
    if let Some(stripped) = strip(prefix, path) {
        assert!(stripped.starts_with('/') && !stripped.starts_with("//"));
        assert!(unstrip(prefix, &stripped).starts_with('/'));
    }
    for text in [
        missing_slash(prefix, path),
        redirect_target("/", prefix, path),
    ]
    .into_iter()
    .flatten()
    {
        assert!(text.starts_with('/') && !text.starts_with("//") && !text.contains('\\'));
    }
    for text in ["Location", "content-location", "REFRESH", "Set-Cookie"]
        .into_iter()
        .filter_map(|name| answer_field(name, value, &context))
    {
        assert!(is_clean(&text), "{text:?}");
    }
}

#[cfg(test)]
mod tests;
