//! What configurable-http-proxy does with redirects if it is told so: `--auto-rewrite` and `--protocol-rewrite`.

use http::StatusCode;
use lyceum_core::Upstream;

use super::is_clean;
use super::location::Address;

/// What is done with redirects.
#[derive(Debug, Clone, Copy)]
pub struct Redirects<'a> {
    /// Whether host and port become those that the client has asked for.
    pub auto_rewrite: bool,
    /// The scheme that they get.
    pub protocol_rewrite: Option<&'a str>,
    /// The value of `Host` of the request.
    pub request_host: &'a str,
    /// Where the request went.
    pub target: &'a Upstream,
}

/// Gives the value that `Location` gets in place of `value`; `None` leaves it as it is.
///
/// As there, only the statuses 201, 301, 302, 307 and 308 are looked at, and only addresses of the target.
pub fn rewrite_redirect(
    value: &[u8],
    status: StatusCode,
    redirects: &Redirects<'_>,
) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    if !matches!(status.as_u16(), 201 | 301 | 302 | 307 | 308)
        || !(redirects.auto_rewrite || redirects.protocol_rewrite.is_some())
        || !is_clean(text)
        || !is_clean(redirects.request_host)
    {
        return None;
    }
    let address = Address::parse(text)?;
    let scheme = address.scheme?;
    if !address.is_exactly(redirects.target) {
        return None;
    }
    let host = match redirects.request_host {
        host if redirects.auto_rewrite && !host.is_empty() => host,
        _ => address.host,
    };
    let scheme = redirects
        .protocol_rewrite
        .map_or(scheme, |wanted| wanted.trim_end_matches(':'));
    let rewritten = format!("{scheme}://{host}{}", address.rest);
    (rewritten != text && is_clean(&rewritten)).then_some(rewritten)
}
