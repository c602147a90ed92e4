//! Where a service can be in the URL space, if not at the usual place.

/// Whether a text can be a part of the URL space that a service has for itself: slashes at both ends, and between them
/// segments of letters, digits, `-`, `.`, `_` and `~`, with a host before them or not.
pub fn is_place(text: &str) -> bool {
    let Some(slash) = text.find('/') else {
        return false;
    };
    let (host, path) = text.split_at(slash);
    let plain = |text: &str, more: &[u8]| {
        text.bytes()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(&c))
    };
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && plain(segment, b"-._~")
    };
    let segments = path
        .strip_prefix('/')
        .and_then(|path| path.strip_suffix('/'));
    plain(host, b"-.")
        && (path == "/" || segments.is_some_and(|inner| inner.split('/').all(is_segment)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_plain_paths_with_slashes_at_both_ends() {
        for good in ["/", "/r/", "/a/b.c-d_e~f/", "stats.example.org/", "h/x/"] {
            assert!(is_place(good), "{good}");
        }
        for bad in [
            "",
            "r",
            "r/x",
            "/r",
            "//",
            "/a//b/",
            "/../",
            "/a/./",
            "/a b/",
            "/%41/",
            "/a?/",
            "h:80/",
            "http://h/",
        ] {
            assert!(!is_place(bad), "{bad}");
        }
    }
}
