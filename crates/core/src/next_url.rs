//! Where to go after a login: `next` comes from the URL, so anybody may have written it.
//!
//! What is let through leads back to this hub in every browser, whatever its disguise. Never decodes
//! percent-escapes: `%2F%2Fevil.example` is a path to a browser too.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// What is escaped in the result: what a `Location` header cannot carry and browsers escape anyway.
const UNSAFE_IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`');

/// Makes a `next` address safe to redirect to: a path of this hub with query and fragment. `None` if it
/// leads elsewhere, or nowhere; then the caller's default counts, as if there had been no `next`.
///
/// `own_hosts` are this hub's, with their port where it is not the scheme's default: the public URL's, or
/// the request's `Host`. Addresses on them are reduced to their path (JupyterHub `BaseHandler._validate_next_url`).
pub fn safe_next(raw: &str, own_hosts: &[&str]) -> Option<String> {
    // Browsers drop tabs and line ends anywhere in a URL, and controls and spaces around it: `/\t/evil`.
    if raw.chars().any(char::is_control) || raw.trim() != raw {
        return None;
    }
    // Some take a backslash for a slash: `/\evil`.
    let raw = raw.replace('\\', "%5C");
    let path = match split_authority(&raw) {
        Some((scheme, authority, rest)) => {
            if !own_hosts
                .iter()
                .any(|own| same_host(scheme, authority, own))
            {
                return None;
            }
            rest
        }
        None if raw.starts_with('/') => &raw,
        None => return None,
    };
    // One slash exactly: `https://hub//evil` must not become `//evil`.
    let path = path.trim_start_matches('/');
    Some(format!("/{}", utf8_percent_encode(path, UNSAFE_IN_HEADER)))
}

/// Splits `http://host/rest`, `https://host/rest` and `//host/rest`; two or more slashes are the same, as
/// browsers take `///host` for `//host`. `None` if there is no authority; other schemes have none.
fn split_authority(url: &str) -> Option<(Option<&str>, &str, &str)> {
    let (scheme, after) = match url.split_once(':') {
        Some((scheme, after)) if !scheme.contains(['/', '?', '#']) => {
            let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
            if !web {
                return None;
            }
            (Some(scheme), after)
        }
        _ => (None, url),
    };
    after.starts_with("//").then(|| {
        let after = after.trim_start_matches('/');
        let end = after.find(['/', '?', '#']).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        (scheme, authority, rest)
    })
}

/// Whether an authority is one of ours: letter case and the scheme's default port do not count, and
/// anything unusual (user info, escapes, other letters) is not ours.
fn same_host(scheme: Option<&str>, authority: &str, own: &str) -> bool {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if own.is_empty() || !authority.chars().all(plain) {
        return false;
    }
    let default_port = match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => ":80",
        Some(_) => ":443",
        None => "",
    };
    let bare = |host: &str| {
        host.strip_suffix(default_port)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    bare(authority) == bare(own)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    const OWN: [&str; 2] = ["hub.example.org", "localhost:8000"];

    fn to(raw: &str, expected: &str) {
        assert_eq!(safe_next(raw, &OWN).as_deref(), Some(expected), "{raw:?}");
    }

    fn refuse(raw: &str) {
        assert_eq!(safe_next(raw, &OWN), None, "{raw:?}");
    }

    #[test]
    fn paths_of_this_hub_are_kept_as_they_are() {
        for path in [
            "/",
            "/hub/home",
            "/hub/spawn/ada?profile=a%20b&x=%2F",
            "/user/ada/lab/tree/a%2Fb.ipynb#cell-1",
            "/hub/oauth?redirect_uri=https://elsewhere.example//x&y=1",
            "/user/ada/tree/x:y@z",
            "/%2F%2Fevil.example",
            "/%09/evil.example",
            "/.//evil.example",
            "/..//evil.example",
            "/?next=//evil.example",
            "/;//evil.example",
        ] {
            to(path, path);
        }
        to("/a b/ü", "/a%20b/%C3%BC");
    }

    #[test]
    fn addresses_on_this_host_become_paths() {
        to("https://hub.example.org/hub/home?a=b#c", "/hub/home?a=b#c");
        to("HTTPS://HUB.Example.ORG/hub", "/hub");
        to("//hub.example.org/hub", "/hub");
        to("////hub.example.org/hub", "/hub");
        to("https://hub.example.org:443/x", "/x");
        to("http://hub.example.org:80/x", "/x");
        to("http://localhost:8000/hub/home", "/hub/home");
        to("https://hub.example.org", "/");
        to("https://hub.example.org?a=b", "/?a=b");
        to("//hub.example.org#top", "/#top");
        // What follows must not become a host in its turn.
        to("https://hub.example.org//evil.example", "/evil.example");
        to("//hub.example.org///evil.example/x", "/evil.example/x");
        to("https://hub.example.org/\\evil.example", "/%5Cevil.example");
    }

    #[test]
    fn other_hosts_are_refused_in_all_their_disguises() {
        for raw in [
            "https://evil.example/",
            "http://evil.example",
            "//evil.example",
            "///evil.example",
            "/////evil.example/hub",
            "\\\\evil.example",
            "\\/evil.example",
            "http:\\\\evil.example",
            "http:/\\evil.example",
            "http:evil.example",
            "http:/evil.example",
            "https:///evil.example",
            "//evil.example\\@hub.example.org/",
            "https://hub.example.org@evil.example/",
            "https://hub.example.org:x@evil.example/",
            "//user@hub.example.org/",
            "https://hub.example.org.evil.example/",
            "https://evil.example/hub.example.org",
            "https://evil-hub.example.org/",
            "https://hub.example.org%2eevil.example/",
            "https://hub.example.org:8443/",
            "http://localhost/",
            "http://localhost:8001/",
            "https://hub.example.org:/x",
            "//hub.example.org:443/",
            "https://hub\u{3002}example.org/",
            "https://ｈub.example.org/",
            "https://hub.example.org\u{2044}evil.example/",
            "//\u{ff0f}evil.example",
            "https://[::1]/",
        ] {
            refuse(raw);
        }
        // A backslash after a slash stays in the path.
        to("/\\evil.example", "/%5Cevil.example");
        to("/\u{ff0f}evil.example", "/%EF%BC%8Fevil.example");
    }

    #[test]
    fn what_browsers_drop_or_run_is_refused() {
        for raw in [
            "",
            " ",
            "/\t/evil.example",
            "/\n/evil.example",
            "/\r\n/evil.example",
            "\t//evil.example",
            "ht\ntps://evil.example",
            " //evil.example",
            "/hub ",
            "\u{0}//evil.example",
            "\u{1f}//evil.example",
            "/hub\r\nSet-Cookie: a=b",
            "/hub\u{7f}",
            "/hub\u{85}",
            "\u{a0}/hub",
            "javascript:alert(1)",
            "JavaScript://hub.example.org/%0aalert(1)",
            "data:text/html,x",
            "ftp://hub.example.org/",
            "file:///etc/passwd",
            "blob:https://hub.example.org/x",
            "hub/home",
            "evil.example",
            "?a=b",
            "#x",
            ".",
            "../x",
            "://evil.example",
            ":",
            "@evil.example",
        ] {
            refuse(raw);
        }
    }

    #[test]
    fn without_own_hosts_only_paths_are_kept() {
        assert_eq!(safe_next("//hub.example.org/x", &[]), None);
        assert_eq!(safe_next("//hub.example.org/x", &[""]), None);
        assert_eq!(safe_next("///x", &[""]), None);
        assert_eq!(safe_next("/x", &[]).as_deref(), Some("/x"));
    }

    #[test]
    fn hosts_with_a_numeric_address_work() {
        let own = ["[::1]:8000", "127.0.0.1:8000"];
        assert_eq!(
            safe_next("http://[::1]:8000/x", &own).as_deref(),
            Some("/x")
        );
        assert_eq!(
            safe_next("http://127.0.0.1:8000/x", &own).as_deref(),
            Some("/x")
        );
        assert_eq!(safe_next("http://127.1:8000/x", &own), None);
    }

    /// Texts made of the parts from which disguises are made.
    fn nasty() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "/",
            "//",
            "\\",
            ":",
            "@",
            "?",
            "#",
            ".",
            "..",
            "%",
            "%2f",
            "%5c",
            "%09",
            " ",
            "\t",
            "\n",
            "\r",
            "\0",
            "\u{85}",
            "\u{ff0f}",
            "\u{3002}",
            "\u{200b}",
            "\u{2028}",
            "http",
            "https",
            "http:",
            "https://",
            "javascript:",
            "evil.example",
            "hub.example.org",
            "localhost",
            "8000",
            "80",
            "443",
            "[::1]",
            "x",
            ";",
            "&",
            "=",
        ]);
        prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat())
    }

    fn stays_here(raw: &str) -> Result<(), TestCaseError> {
        let Some(next) = safe_next(raw, &OWN) else {
            return Ok(());
        };
        prop_assert!(next.bytes().all(|c| c.is_ascii_graphic()), "{:?}", next);
        for base in [
            "https://hub.example.org/hub/login",
            "http://localhost:8000/hub/login?a#b",
        ] {
            let base = Url::parse(base).unwrap();
            let there = base.join(&next).unwrap();
            prop_assert_eq!(there.origin(), base.origin(), "{:?} gives {:?}", raw, next);
            prop_assert!(there.username().is_empty() && there.password().is_none());
        }
        // Safe stays safe, and does not change.
        prop_assert_eq!(safe_next(&next, &OWN), Some(next));
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn no_browser_is_led_to_another_host(raw in nasty()) {
            stays_here(&raw)?;
        }

        #[test]
        fn no_browser_is_led_to_another_host_by_any_text(raw in any::<String>()) {
            stays_here(&raw)?;
            stays_here(&format!("/{raw}"))?;
        }
    }
}
