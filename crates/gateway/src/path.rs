//! The path of a request: dot segments resolved before routing, everything else left as it came.

use std::borrow::Cow;

/// Removes `.` and `..` segments, plain or escaped as `%2e`, as the WHATWG URL standard does for paths.
///
/// `/user/ada/../../hub/api` becomes `/hub/api`. A `..` at the root stays there. Other escapes are not
/// touched: `%2F` separates no segments here and reaches the upstream as it came. Routes are another
/// matter: like `JupyterHub`'s proxy, the table compares the decoded path, in which it is a slash. Costs
/// nothing if there is no such segment.
pub(crate) fn resolve_dots(path: &str) -> Cow<'_, str> {
    if !path.split('/').any(|segment| dots(segment).is_some()) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for segment in path.strip_prefix('/').unwrap_or(path).split('/') {
        ends_in_folder = match dots(segment) {
            Some(1) => true,
            Some(_) => {
                kept.pop();
                true
            }
            None => {
                kept.push(segment);
                false
            }
        };
    }
    let mut resolved = String::with_capacity(path.len());
    for segment in &kept {
        resolved.push('/');
        resolved.push_str(segment);
    }
    if ends_in_folder || resolved.is_empty() {
        resolved.push('/');
    }
    Cow::Owned(resolved)
}

/// Tells whether a segment is one dot or two, each plain or as `%2e`.
fn dots(segment: &str) -> Option<u8> {
    let mut rest = segment;
    let mut count = 0;
    while !rest.is_empty() {
        rest = rest
            .strip_prefix('.')
            .or_else(|| rest.strip_prefix("%2e"))
            .or_else(|| rest.strip_prefix("%2E"))?;
        count += 1;
        if count > 2 {
            return None;
        }
    }
    (count > 0).then_some(count)
}

/// Decodes percent-escapes; what is not UTF-8 becomes the replacement character, which no route has.
pub(crate) fn decode(path: &str) -> Cow<'_, str> {
    if path.contains('%') {
        percent_encoding::percent_decode_str(path).decode_utf8_lossy()
    } else {
        Cow::Borrowed(path)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(path: &str, expected: &str) {
        assert_eq!(resolve_dots(path), expected, "{path}");
    }

    #[test]
    fn dot_segments_are_resolved_in_all_their_disguises() {
        check("/user/x/../../hub/api", "/hub/api");
        check("/user/x/%2e%2e/%2E./hub", "/hub");
        check("/a/./b", "/a/b");
        check("/a/b/..", "/a/");
        check("/a/b/.", "/a/b/");
        check("/../../..", "/");
        check("/..", "/");
        check("/", "/");
        check("//a//../b", "//a/b");
    }

    #[test]
    fn everything_else_stays_as_it_came() {
        for path in [
            "/a%2Fb",
            "/a/...",
            "/a/..b",
            "/a/b..",
            "/.hidden",
            "/%2e%2e%2f",
            "/a%20b//c",
            "/x/%2f../y",
        ] {
            check(path, path);
        }
    }

    proptest! {
        #[test]
        fn no_dot_segment_survives(path in "(/(\\.|%2e|%2E|a|)(\\.|%2e|b|)(\\.|c|)){0,8}") {
            let path = format!("/{path}");
            let resolved = resolve_dots(&path).into_owned();
            prop_assert!(resolved.starts_with('/'));
            prop_assert!(resolved.split('/').all(|segment| dots(segment).is_none()), "{resolved}");
            prop_assert_eq!(resolve_dots(&resolved).into_owned(), resolved.clone());
        }
    }
}
