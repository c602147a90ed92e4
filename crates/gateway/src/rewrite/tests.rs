//! Rewriting, case by case, and what holds for whatever anybody sends.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::site::SiteKind;

fn rstudio() -> Upstream {
    Upstream::Tcp {
        host: "10.0.0.7".to_owned(),
        port: 8787,
    }
}

fn context(upstream: &Upstream) -> Context<'_> {
    Context {
        prefix: "/r/",
        stripped: true,
        scheme: "https",
        host: "hub.example.org",
        upstream,
    }
}

#[test]
fn the_prefix_is_taken_away_as_the_table_has_found_it() {
    let check = |prefix: &str, path: &str, expected: Option<&str>| {
        assert_eq!(strip(prefix, path).as_deref(), expected, "{prefix} {path}");
    };
    check("/r/", "/r", Some("/"));
    check("/r/", "/r/", Some("/"));
    check("/r/", "/r?x=1", Some("/?x=1"));
    check("/r/", "/r/a%2Fb%20c?x=/r/", Some("/a%2Fb%20c?x=/r/"));
    check("/r/", "/r//evil.example/x", Some("/evil.example/x"));
    check("/r/", "/r///", Some("/"));
    check("/r/", "/%72/x", Some("/x"));
    check("/r/", "/r%2Fx", Some("/x"));
    check("/r/", "/r%2F..%2f", Some("/..%2f"));
    check("/r/", "/r%2F../x", Some("/x"));
    check("/r/", "/r%2F.//evil.example", Some("/evil.example"));
    check("/r/", "/r%2f", Some("/"));
    check("/r/", "/rx", None);
    check("/r/", "/", None);
    check("/a b/", "/a%20b/x", Some("/x"));
    check("/ü/", "/%C3%BC/x", Some("/x"));
    check("/", "/x", Some("/x"));
    check("/", "//x", Some("/x"));
    check("/r/", "/r/%", Some("/%"));
    check("/r/", "/%7/x", None);
}

#[test]
fn a_missing_slash_is_added_and_nothing_else() {
    let check = |path: &str, expected: Option<&str>| {
        assert_eq!(missing_slash("/r/", path).as_deref(), expected, "{path}");
    };
    check("/r", Some("/r/"));
    check("/r?a=b&c", Some("/r/?a=b&c"));
    check("/%72", Some("/r/"));
    check("/r/", None);
    check("/r/x", None);
    check("/rx", None);
    assert_eq!(missing_slash("/", "/"), None);
}

#[test]
fn redirects_keep_what_follows_the_prefix_if_told_so() {
    let check = |to: &str, path: &str, expected: &str| {
        let found = redirect_target(to, "/old/", path);
        assert_eq!(found.as_deref(), Some(expected), "{to} {path}");
    };
    check(
        "https://e.org/new/",
        "/old/a/b?x=1",
        "https://e.org/new/a/b?x=1",
    );
    check("https://e.org/new", "/old/a/b?x=1", "https://e.org/new?x=1");
    check("https://e.org/?q=1", "/old/?x=1", "https://e.org/?q=1&x=1");
    check("/", "/old//evil.example", "/evil.example");
    check("/", "/old/\\evil.example", "/%5Cevil.example");
}

#[test]
fn addresses_of_the_application_come_below_its_prefix() {
    let upstream = rstudio();
    let check = |value: &str, expected: Option<&str>| {
        let found = location(value.as_bytes(), &context(&upstream));
        assert_eq!(found.as_deref(), expected, "{value}");
    };
    check("/auth-sign-in", Some("/r/auth-sign-in"));
    check("/", Some("/r/"));
    check("/?a#b", Some("/r/?a#b"));
    check(
        "http://10.0.0.7:8787/x",
        Some("https://hub.example.org/r/x"),
    );
    check(
        "http://localhost:8787/x",
        Some("https://hub.example.org/r/x"),
    );
    check("http://127.0.0.1:8787", Some("https://hub.example.org/r/"));
    check(
        "HTTP://LocalHost:8787?q",
        Some("https://hub.example.org/r/?q"),
    );
    check("//10.0.0.7:8787/x", Some("https://hub.example.org/r/x"));
    check(
        "https://hub.example.org/x",
        Some("https://hub.example.org/r/x"),
    );
    check(
        "http://hub.example.org/x",
        Some("https://hub.example.org/r/x"),
    );
    check(
        "https://hub.example.org:443/x",
        Some("https://hub.example.org/r/x"),
    );
    // What is right stays.
    check("/r/auth", None);
    check("/r", None);
    check("/r?x", None);
    check("https://hub.example.org/r/auth", None);
    // Other places stay.
    check("http://localhost:9999/x", None);
    check("https://hub.example.org:8443/x", None);
    check("https://login.example.org/x", None);
    check("//login.example.org/x", None);
    check("https://user@hub.example.org/x", None);
    check("auth", None);
    check("../auth", None);
    check("?x", None);
    check("", None);
    check("mailto:ada@example.org", None);
    check("///x", None);
    check("/rx", Some("/r/rx"));
    check("/\\evil.example", Some("/r/\\evil.example"));
    // The application at its own address, with the prefix that it was told.
    check(
        "http://localhost:8787/r/x",
        Some("https://hub.example.org/r/x"),
    );
}

#[test]
fn an_application_that_keeps_its_prefix_is_only_brought_to_the_public_host() {
    let upstream = rstudio();
    let keeps = Context {
        stripped: false,
        ..context(&upstream)
    };
    let check = |value: &str, expected: Option<&str>| {
        assert_eq!(
            location(value.as_bytes(), &keeps).as_deref(),
            expected,
            "{value}"
        );
    };
    check(
        "http://localhost:8787/r/x",
        Some("https://hub.example.org/r/x"),
    );
    check("/hub/home", None);
    check("https://hub.example.org/hub/home", None);
}

#[test]
fn an_application_on_a_socket_believes_to_be_localhost() {
    let upstream = Upstream::Unix("/run/app.sock".into());
    let found = location(b"http://localhost/x", &context(&upstream));
    assert_eq!(found.as_deref(), Some("https://hub.example.org/r/x"));
    assert_eq!(
        location(b"http://localhost:80/x", &context(&upstream)),
        None
    );
}

#[test]
fn refresh_keeps_its_form() {
    let upstream = rstudio();
    let check = |value: &str, expected: Option<&str>| {
        let found = refresh(value.as_bytes(), &context(&upstream));
        assert_eq!(found.as_deref(), expected, "{value}");
    };
    check("5; url=/next", Some("5; url=/r/next"));
    check("0;URL='/next' ", Some("0;URL='/r/next' "));
    check("0, url = \"/n\"x", Some("0, url = \"/r/n\"x"));
    check("3;/next", Some("3;/r/next"));
    check("3", None);
    check("3;", None);
    check("5; url=https://elsewhere.example/", None);
    check("5; url=/r/next", None);
}

#[test]
fn cookies_stay_below_the_prefix() {
    let upstream = rstudio();
    let check = |value: &str, expected: Option<&str>| {
        let found = set_cookie(value.as_bytes(), &context(&upstream));
        assert_eq!(found.as_deref(), expected, "{value}");
    };
    check("a=b; Path=/; Secure", Some("a=b; Path=/r/; Secure"));
    check(
        "a=b;path=/app; HttpOnly ;Expires=Wed, 21 Oct 2026 07:28:00 GMT; secure",
        Some("a=b;path=/r/app; HttpOnly ;Expires=Wed, 21 Oct 2026 07:28:00 GMT; secure"),
    );
    check("a=b; Path=/r; Secure", None);
    check("a=b; Path=/r/x; Secure", None);
    check("a=b; Secure", None);
    check("a=b; Path=x; Secure", None);
    check("a=b", Some("a=b; Secure"));
    check(
        "a=b; Domain=10.0.0.7; Path=/; Secure",
        Some("a=b; Path=/r/; Secure"),
    );
    check("a=b; Domain=.localhost; Secure", Some("a=b; Secure"));
    check("a=b; Domain=example.org; Secure", None);
    check("__Host-a=b; Path=/; Secure", None);
    check(
        "__Secure-a=b; Path=/; Secure",
        Some("__Secure-a=b; Path=/r/; Secure"),
    );
    check("Path=/; Secure", None);
    let plain = Context {
        scheme: "http",
        ..context(&upstream)
    };
    assert_eq!(set_cookie(b"a=b", &plain), None);
    let keeps = Context {
        stripped: false,
        ..plain
    };
    assert_eq!(
        set_cookie(b"a=b; Path=/", &keeps).as_deref(),
        Some("a=b; Path=/r/")
    );
    assert_eq!(set_cookie(b"a=b; Path=/hub/", &keeps), None);
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    map
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

#[test]
fn applications_learn_their_address_from_one_value_each() {
    let upstream = rstudio();
    let request = |kind| Request {
        path_and_query: "/r/auth?x=1",
        kind,
    };
    let sent = [
        ("X-Forwarded-Proto", "https,http"),
        ("X-Forwarded-Host", "evil.example, hub.example.org"),
        ("X-Forwarded-Port", "443,80"),
        ("X-Forwarded-Prefix", "/evil"),
        ("X_Forwarded_Prefix", "/evil"),
        ("X-RStudio-Root-Path", "//evil"),
        ("X-RStudio-Request", "https://evil.example/"),
        ("Forwarded", "host=evil.example"),
    ];
    let mut all = headers(&sent);
    site_headers(&mut all, request(SiteKind::RStudio), &context(&upstream));
    assert_eq!(
        lines(&all),
        [
            "x-forwarded-host: hub.example.org",
            "x-forwarded-port: 443",
            "x-forwarded-prefix: /r",
            "x-forwarded-proto: https",
            "x-rstudio-request: https://hub.example.org/r/auth?x=1",
            "x-rstudio-root-path: /r",
        ]
    );
    let keeps = Context {
        stripped: false,
        host: "[::1]:8000",
        scheme: "http",
        ..context(&upstream)
    };
    let mut all = headers(&sent[..7]);
    site_headers(&mut all, request(SiteKind::Generic), &keeps);
    assert_eq!(
        lines(&all),
        [
            "x-forwarded-host: [::1]:8000",
            "x-forwarded-port: 8000",
            "x-forwarded-proto: http",
        ]
    );
    let at_root = Context {
        prefix: "/",
        ..context(&upstream)
    };
    let mut all = HeaderMap::new();
    site_headers(&mut all, request(SiteKind::RStudio), &at_root);
    assert_eq!(all["x-rstudio-root-path"], "/");
    assert!(!all.contains_key("x-forwarded-prefix"));
}

#[test]
fn only_the_gate_says_who_a_visitor_is() {
    let mut all = headers(&[
        ("X-Forwarded-User", "admin"),
        ("x_forwarded_groups", "admins"),
        ("Remote_User", "admin"),
        ("X-Remote-Anything", "admin"),
        ("Authorization", "token secret"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("Cookie", "a=1; jupyterhub-session-id=x; b=\"2;3\""),
        ("Cookie", "jupyterhub-session-id=y"),
        ("Cookie", "jupyterhub-session-idx=z"),
    ]);
    let admitted = headers(&[("X-Forwarded-User", "ada"), ("Authorization", "")]);
    apply_admission(&mut all, &admitted, &["jupyterhub-session-id".to_owned()]);
    assert_eq!(
        lines(&all),
        [
            "cookie: a=1; b=\"2; 3\"",
            "cookie: jupyterhub-session-idx=z",
            "x-forwarded-for: 1.2.3.4",
            "x-forwarded-user: ada",
        ]
    );
}

#[test]
fn redirects_are_rewritten_as_configurable_http_proxy_does() {
    let target = Upstream::Tcp {
        host: "127.0.0.1".to_owned(),
        port: 9999,
    };
    let check = |auto: bool, protocol: Option<&str>, status: u16, expected: Option<&str>| {
        let redirects = Redirects {
            auto_rewrite: auto,
            protocol_rewrite: protocol,
            request_host: "hub.example.org:8000",
            target: &target,
        };
        let status = StatusCode::from_u16(status).unwrap();
        let found = rewrite_redirect(b"http://127.0.0.1:9999/a?b", status, &redirects);
        assert_eq!(found.as_deref(), expected, "{auto} {protocol:?} {status}");
        for other in ["http://localhost:9999/a", "/a", "a", "//127.0.0.1:9999/a"] {
            assert_eq!(rewrite_redirect(other.as_bytes(), status, &redirects), None);
        }
    };
    check(true, None, 302, Some("http://hub.example.org:8000/a?b"));
    check(
        true,
        Some("https"),
        201,
        Some("https://hub.example.org:8000/a?b"),
    );
    check(
        false,
        Some("https"),
        308,
        Some("https://127.0.0.1:9999/a?b"),
    );
    check(true, None, 303, None);
    check(true, None, 200, None);
    check(false, None, 302, None);
}

proptest! {
    #[test]
    fn nothing_that_anybody_sends_breaks_it(
        prefix in "[/a-z%é ]{0,6}",
        path in "(/|%2[fF]|%7[0-9]|[a-z]|\\?|\\\\|\\.|%|é){0,12}",
        value in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        fuzz(&prefix, &path, &value);
        fuzz("/r/", &format!("/r{path}"), &value);
    }

    #[test]
    fn addresses_of_all_forms_break_nothing(
        value in "((https?:)?//)?(hub\\.example\\.org|localhost|127\\.0\\.0\\.1)?(:8787|:443|:)?(/|\\\\|\\?|#|;|=|,|'|\"| |[a-z]|url=|Path=|Domain=){0,10}",
    ) {
        fuzz("/r/", "/r/x", value.as_bytes());
    }

    #[test]
    fn a_prefix_that_is_put_back_is_the_one_that_was_taken(
        path in "(/[a-z0-9]{1,3}|/%20|/%2F[a-z]){1,4}/?(\\?[a-z=&/]{0,6})?",
    ) {
        let whole = format!("/some/prefix{path}");
        let stripped = strip("/some/prefix/", &whole).unwrap();
        prop_assert_eq!(stripped.as_ref(), path.as_str());
        prop_assert_eq!(unstrip("/some/prefix/", &stripped), whole);
    }

    #[test]
    fn what_was_rewritten_leads_back_to_what_was_sent(path in "(/[a-q]{1,3}){1,3}/?(\\?[a-z=]{0,4})?(#[a-z]{0,3})?") {
        let upstream = rstudio();
        let context = context(&upstream);
        let seen = location(path.as_bytes(), &context).unwrap();
        // The browser asks for that, and the prefix is taken away again.
        let back = strip("/r/", &seen).unwrap();
        prop_assert_eq!(back.as_ref(), path.as_str());
        // Done twice, it is done once.
        prop_assert_eq!(location(seen.as_bytes(), &context), None);
        let absolute = format!("http://localhost:8787{path}");
        let seen = location(absolute.as_bytes(), &context).unwrap();
        prop_assert_eq!(seen, format!("https://hub.example.org/r{path}"));
    }
}
