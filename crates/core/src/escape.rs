//! Percent-encoding of names, as JupyterHub writes them in URLs, cookies and client ids.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays bare in a path segment: letters, digits and `_.-~@` (JupyterHub `utils.url_escape_path`).
const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'@');

/// What stays bare in a client id, which is a cookie name too: letters, digits and `_.-~/`.
const CLIENT_ID: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/');

/// What stays bare in a query value: the unreserved characters of RFC 3986 §2.3 and `/`.
const QUERY_VALUE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'_')
    .remove(b'.')
    .remove(b'-')
    .remove(b'~')
    .remove(b'/');

/// Escapes a name for use as one segment of a URL path.
pub fn path_segment(name: &str) -> String {
    utf8_percent_encode(name, PATH_SEGMENT).to_string()
}

/// Escapes a name for use in an OAuth client id and in the cookie of that name.
pub fn client_id(name: &str) -> String {
    utf8_percent_encode(name, CLIENT_ID).to_string()
}

/// Escapes a value for use in a query string; slashes stay readable.
pub fn query_value(value: &str) -> String {
    utf8_percent_encode(value, QUERY_VALUE).to_string()
}

/// Decodes percent-escapes once; `None` if the result is not UTF-8.
pub fn decode(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text)
        .decode_utf8()
        .ok()
        .map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_as_jupyterhub_escapes_them() {
        assert_eq!(path_segment("a@b.cz"), "a@b.cz");
        assert_eq!(client_id("a@b.cz"), "a%40b.cz");
        assert_eq!(path_segment("user+tag x"), "user%2Btag%20x");
        assert_eq!(path_segment("ümläut"), "%C3%BCml%C3%A4ut");
        assert_eq!(query_value("/hub/home?a=b&c"), "/hub/home%3Fa%3Db%26c");
    }

    #[test]
    fn decoding_refuses_what_is_not_text() {
        assert_eq!(decode("%C3%BC").as_deref(), Some("ü"));
        assert_eq!(decode("%FF"), None);
    }
}
