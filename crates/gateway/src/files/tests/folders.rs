//! The folder of a site.

use std::os::unix::fs::symlink;

use http::Uri;

use super::*;

struct Site {
    base: tempfile::TempDir,
    sets: StaticSets,
}

impl Site {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let file = |path: &str, content: &str| put(base.path(), path, content);
        file("secret", "secret");
        file("site/index.html", "<p>front page");
        file("site/docs/index.html", "<p>docs");
        file("site/docs/page one.txt", &"words ".repeat(1000));
        file("site/bare/file.txt", "file");
        file("site/.hidden/x.txt", "hidden");
        file("site/.htaccess", "hidden");
        let at = |path: &str| base.path().join(path);
        symlink("../secret", at("site/out.txt")).unwrap();
        symlink(at("secret"), at("site/absolute.txt")).unwrap();
        symlink("docs", at("site/latest")).unwrap();
        Self {
            base,
            sets: StaticSets::new(),
        }
    }

    async fn ask(
        &self,
        method: Method,
        below: &str,
        asked: &[(&'static str, &str)],
    ) -> Option<Seen> {
        let folder = self.base.path().join("site");
        let uri: Uri = format!("/files/{below}?x=1").parse().unwrap();
        let request = headers(asked);
        let request = StaticRequest {
            method: &method,
            headers: &request,
        };
        let folder = FileFolder::new(&folder, &self.sets);
        let disk = Handle::current();
        match folder.respond(below, &uri, request, &disk).await {
            Some(response) => Some(Seen::of(response).await),
            None => None,
        }
    }

    async fn get(&self, below: &str) -> Option<Seen> {
        self.ask(Method::GET, below, &[]).await
    }
}

#[tokio::test]
async fn files_are_answered_and_a_folder_is_its_index() {
    let site = Site::new();
    let front = site.get("").await.unwrap();
    assert_eq!(front.body, "<p>front page");
    assert_eq!(front.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(front.header("cache-control"), "no-cache");
    assert_eq!(site.get("docs/").await.unwrap().body, "<p>docs");
    assert_eq!(site.get("latest/").await.unwrap().body, "<p>docs");
    let page = site.get("docs/page%20one.txt").await.unwrap();
    assert_eq!(page.body, "words ".repeat(1000));
}

#[tokio::test]
async fn a_folder_without_its_slash_is_sent_there() {
    let site = Site::new();
    let seen = site.get("docs").await.unwrap();
    assert_eq!(seen.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(seen.header("location"), "/files/docs/?x=1");
}

#[tokio::test]
async fn nothing_hidden_missing_or_outside_is_answered() {
    let site = Site::new();
    for below in [
        "missing.txt",
        "bare",
        "bare/",
        ".hidden/x.txt",
        ".htaccess",
        "docs/..%2f..%2fsecret",
        "%2e%2e/secret",
        "..%2fsecret",
        "%2fetc/passwd",
        "docs//index.html",
        "out.txt",
        "absolute.txt",
        "index.html/",
        "index.html/x",
        "docs/%00",
        "%ff",
    ] {
        assert!(site.get(below).await.is_none(), "{below}");
    }
}

#[tokio::test]
async fn a_folder_that_is_swapped_is_seen_at_once() {
    let site = Site::new();
    put(site.base.path(), "new/index.html", "<p>new");
    let at = |name: &str| site.base.path().join(name);
    fs::rename(at("site"), at("old")).unwrap();
    assert!(site.get("").await.is_none());
    symlink("new", at("site")).unwrap();
    assert_eq!(site.get("").await.unwrap().body, "<p>new");
}

#[tokio::test]
async fn text_is_compressed_on_its_way_with_weak_tags() {
    let site = Site::new();
    let large = "line of a table, 1, 2, 3\n".repeat(100_000);
    put(site.base.path(), "site/large.csv", &large);
    for (below, plain) in [
        ("docs/page%20one.txt", "words ".repeat(1000)),
        ("large.csv", large),
    ] {
        for (accept, coding) in [("gzip", "gzip"), ("zstd, gzip", "zstd"), ("br", "br")] {
            let asked = [("accept-encoding", accept)];
            let seen = site.ask(Method::GET, below, &asked).await.unwrap();
            assert_eq!(seen.header("content-encoding"), coding);
            assert_eq!(seen.plain(), plain.as_bytes());
            assert!(seen.header("etag").starts_with("W/"));
            assert_eq!(seen.header("vary"), "Accept-Encoding");
            let again = [("if-none-match", seen.header("etag"))];
            let again = site.ask(Method::GET, below, &again).await.unwrap();
            assert_eq!(again.status, StatusCode::NOT_MODIFIED);
        }
        let asked = [("accept-encoding", "br"), ("range", "bytes=2-5")];
        let part = site.ask(Method::GET, below, &asked).await.unwrap();
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.body, plain.as_bytes()[2..6]);
    }
}

#[tokio::test]
async fn a_changed_file_is_answered_anew() {
    let site = Site::new();
    let before = site.get("docs/").await.unwrap();
    put(site.base.path(), "site/docs/index.html", "<p>docs, changed");
    let asked = [("if-none-match", before.header("etag"))];
    let after = site.ask(Method::GET, "docs/", &asked).await.unwrap();
    assert_eq!(after.body, "<p>docs, changed");
}

#[tokio::test]
async fn other_methods_are_refused() {
    let site = Site::new();
    let seen = site.ask(Method::POST, "", &[]).await.unwrap();
    assert_eq!(seen.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(seen.header("allow"), "GET, HEAD");
    let head = site.ask(Method::HEAD, "", &[]).await.unwrap();
    assert!(head.body.is_empty());
    assert_eq!(head.header("content-length"), "13");
}
