//! The path of a request: its prefix taken away or put back, escapes left as they came.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::path::resolve_dots;

/// What cannot stand in a path as it is (RFC 3986 §3.3).
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Takes the prefix of a site from path and query; `None` if they do not begin with it.
///
/// The prefix is decoded, the path is not: it is compared as the route table compares it. `/r` and `/r/` become `/`.
/// The answer begins with one slash, never with two, which would name a host in other places.
pub fn strip<'a>(prefix: &str, path_and_query: &'a str) -> Option<Cow<'a, str>> {
    let rest = behind(prefix, path_and_query)?;
    let (path, query) = split(rest);
    let plain = path.trim_start_matches('/');
    if let Some(after) = escaped_slash(plain).filter(|_| !path.starts_with('/')) {
        // What follows was no segment of its own before.
        let path = format!("/{}", after.trim_start_matches('/'));
        // Without a dot in front, slashes can come to stand side by side.
        let path = resolve_dots(&path);
        let path = path.trim_start_matches('/');
        return Some(Cow::Owned(format!("/{path}{query}")));
    }
    Some(match path.len() - plain.len() {
        1 => Cow::Borrowed(rest),
        _ => Cow::Owned(format!("/{plain}{query}")),
    })
}

/// Puts the prefix of a site before path and query.
pub fn unstrip(prefix: &str, path_and_query: &str) -> String {
    let slash = if path_and_query.starts_with('/') {
        ""
    } else {
        "/"
    };
    format!("{}{slash}{path_and_query}", escaped(prefix))
}

/// Says where a request goes that lacks the slash at the end of the prefix, query included: `/r?x` to `/r/?x`.
pub fn missing_slash(prefix: &str, path_and_query: &str) -> Option<String> {
    let rest = behind(prefix, path_and_query)?;
    let (path, query) = split(rest);
    (path.is_empty() && prefix != "/")
        .then(|| format!("{}/{}", escaped(prefix), for_location(query)))
}

/// Says where a site that redirects sends a request: to `to`, with what follows the prefix if `to` ends with a slash.
/// The query goes along.
pub fn redirect_target(to: &str, prefix: &str, path_and_query: &str) -> Option<String> {
    let stripped = strip(prefix, path_and_query)?;
    let (path, query) = split(&stripped);
    let rest = if to.ends_with('/') {
        path.trim_start_matches('/')
    } else {
        ""
    };
    let query = match query.strip_prefix('?') {
        Some(more) if to.contains('?') => format!("&{more}"),
        _ => query.to_owned(),
    };
    Some(format!(
        "{to}{}{}",
        for_location(rest),
        for_location(&query)
    ))
}

/// Browsers take a backslash for a slash.
fn for_location(text: &str) -> String {
    const UNSAFE: &AsciiSet = &CONTROLS.add(b'\\').add(b' ');
    utf8_percent_encode(text, UNSAFE).to_string()
}

/// The prefix as it stands in URLs, without its last slash.
pub(super) fn escaped(prefix: &str) -> String {
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    utf8_percent_encode(trimmed, PATH).to_string()
}

/// What stands behind the prefix, which ends there: nothing, a query, or a slash, which may be escaped.
pub(super) fn behind<'a>(prefix: &str, path_and_query: &'a str) -> Option<&'a str> {
    let wanted = prefix.strip_suffix('/').unwrap_or(prefix);
    let mut rest = path_and_query;
    for byte in wanted.bytes() {
        rest = take(rest, byte)?;
    }
    let ends = rest.is_empty() || rest.starts_with(['/', '?']) || escaped_slash(rest).is_some();
    ends.then_some(rest)
}

/// Takes one byte from a path in which it may be escaped. A byte that is a part of a character is only ever escaped.
fn take(path: &str, byte: u8) -> Option<&str> {
    if byte.is_ascii() && path.as_bytes().first() == Some(&byte) && byte != b'%' {
        return path.get(1..);
    }
    if !byte.is_ascii() && path.as_bytes().first() == Some(&byte) {
        // Not a valid path of a request, but no reason to fail.
        return None;
    }
    let digits = path.strip_prefix('%')?.get(..2)?;
    let value = u8::from_str_radix(digits, 16).ok()?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    (plain && value == byte).then(|| path.get(3..))?
}

fn escaped_slash(path: &str) -> Option<&str> {
    path.strip_prefix("%2F")
        .or_else(|| path.strip_prefix("%2f"))
}

/// Path, and query with its question mark.
pub(super) fn split(path_and_query: &str) -> (&str, &str) {
    match path_and_query.find('?') {
        Some(at) => path_and_query.split_at(at),
        None => (path_and_query, ""),
    }
}
