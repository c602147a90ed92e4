//! What a service is told of its visitor.

use http::{HeaderMap, HeaderName, HeaderValue};
use lyceum_hub::Principal;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The name of the user; the other one is for programs that follow the CGI convention.
const USER: HeaderName = HeaderName::from_static("x-forwarded-user");
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");
/// The groups of the user, separated by commas.
const GROUPS: HeaderName = HeaderName::from_static("x-forwarded-groups");

/// What cannot stand in a name: it is escaped as in a URL, so that two names are never one.
const NAME: &AsciiSet = &CONTROLS.add(b'%').add(b',').add(b' ');

/// The headers about somebody. A service that visits another with its token is no user, and has none.
pub(super) fn headers(principal: &Principal) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let Some(user) = principal.user() else {
        return headers;
    };
    let name = escaped(user.name.as_str());
    let groups: Vec<String> = principal
        .groups()
        .iter()
        .map(|group| escaped(group.as_str()))
        .collect();
    for (header, value) in [
        (USER, name.clone()),
        (REMOTE_USER, name),
        (GROUPS, groups.join(",")),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value)
            && !value.is_empty()
        {
            headers.insert(header, value);
        }
    }
    headers
}

fn escaped(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_plain_are_escaped() {
        assert_eq!(escaped("ada"), "ada");
        assert_eq!(escaped("ada@example.org"), "ada@example.org");
        assert_eq!(escaped("žofie, a"), "%C5%BEofie%2C%20a");
        assert_eq!(escaped("100%"), "100%25");
        assert_eq!(escaped("a\r\nb"), "a%0D%0Ab");
    }
}
