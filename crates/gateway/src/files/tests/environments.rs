//! The files of an environment, in the name of its servers.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const LAB: &str = "share/jupyter/lab/static";
const EXTENSIONS: &str = "share/jupyter/labextensions";
const PACKAGES: &str = "lib/python3.11/site-packages";
const CORE: &str = "jlab_core.8811dd2733d03721.js";

/// An environment in a folder, with a registry that has its set.
struct Environment {
    base: tempfile::TempDir,
    sets: StaticSets,
}

impl Environment {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let prefix = base.path().join("env");
        let file = |path: String, content: &str| put(&prefix, &path, content);
        file(format!("{LAB}/{CORE}"), &script("core"));
        file(format!("{LAB}/index.html"), "a template");
        file(format!("{LAB}/package.json"), "{}");
        file(format!("{LAB}/0031b1860ea4ad75.woff2"), "font font font");
        let extension = "@x/y/static/remoteEntry.83856cd0a08d728a.js";
        file(format!("{EXTENSIONS}/{extension}"), &script("extension"));
        file(format!("{EXTENSIONS}/@x/y/package.json"), "{}");
        file(format!("{EXTENSIONS}/@x/y/static/style.js"), "");
        let server = format!("{PACKAGES}/jupyter_server/static");
        file(format!("{server}/favicon.ico"), "icon");
        file(format!("{server}/custom/custom.css"), "not the user's");
        file(format!("{server}/lab/{CORE}"), "in the wrong folder");
        file(
            format!("{PACKAGES}/notebook/static/1053.ae46e18526c3caef.js"),
            &script("notebook"),
        );
        let environment = Self {
            base,
            sets: StaticSets::new(),
        };
        environment.read();
        environment
    }

    fn prefix(&self) -> PathBuf {
        self.base.path().join("env")
    }

    fn cache(&self) -> PathBuf {
        self.base.path().join("cache")
    }

    /// Reads it again, as a new start does.
    fn read(&self) -> Arc<StaticSet> {
        let set = Arc::new(StaticSet::read(&self.prefix(), &self.cache()).unwrap());
        self.sets.put("env", &set);
        set
    }

    fn find(&self, path: &str) -> Option<StaticFile> {
        self.sets.find(&route("env"), path)
    }

    async fn get(&self, path: &str, asked: &[(&'static str, &str)]) -> Seen {
        let request = headers(asked);
        let request = StaticRequest {
            method: &Method::GET,
            headers: &request,
        };
        let file = self.find(path).expect("it is ours to answer");
        let response = file.respond(request, &Handle::current()).await;
        Seen::of(response.expect("it is there")).await
    }

    async fn gone(&self, path: &str) -> bool {
        let nothing = HeaderMap::new();
        let request = StaticRequest {
            method: &Method::GET,
            headers: &nothing,
        };
        match self.find(path) {
            Some(file) => file.respond(request, &Handle::current()).await.is_none(),
            None => true,
        }
    }
}

fn route(environment: &str) -> Route {
    let data = serde_json::json!({"user": "ada", "environment": environment});
    Route {
        spec: RouteSpec::path("/user/ada"),
        target: Upstream::Unix(PathBuf::new()),
        target_path: String::new(),
        data: data.as_object().unwrap().clone(),
    }
}

fn compress_all(set: &StaticSet) {
    for coding in Coding::BY_SIZE {
        set.compress(coding, &mut |_| true).unwrap();
    }
}

fn core() -> String {
    format!("/user/ada/static/lab/{CORE}")
}

#[tokio::test]
async fn hashed_names_are_answered_for_ever_and_in_the_types_that_jupyter_sends() {
    let environment = Environment::new();
    let seen = environment.get(&core(), &[]).await;
    assert_eq!(seen.status, StatusCode::OK);
    assert_eq!(seen.body, script("core"));
    assert_eq!(
        seen.header("cache-control"),
        "public, max-age=31536000, immutable"
    );
    assert_eq!(seen.header("content-type"), "application/javascript");
    assert_eq!(seen.header("x-content-type-options"), "nosniff");
    assert_eq!(seen.header("vary"), "Accept-Encoding");
    assert_eq!(seen.header("accept-ranges"), "bytes");
    assert_eq!(
        seen.header("content-length"),
        script("core").len().to_string()
    );
    let font = environment
        .get("/user/ada/static/lab/0031b1860ea4ad75.woff2", &[])
        .await;
    assert_eq!(font.header("content-type"), "font/woff2");
    assert_eq!(font.header("vary"), "");
    let icon = environment.get("/user/ada/static/favicon.ico", &[]).await;
    assert_eq!(icon.header("cache-control"), "public, max-age=600");
}

#[tokio::test]
async fn escapes_in_the_path_are_decoded_and_the_prefix_has_to_be_the_routes() {
    let environment = Environment::new();
    let path = "lab/extensions/%40x/y/static/remoteEntry.83856cd0a08d728a.js";
    let seen = environment.get(&format!("/user/%61da/{path}"), &[]).await;
    assert_eq!(seen.body, script("extension"));
    assert!(environment.find(&format!("/user/adam/{path}")).is_none());
    assert!(
        environment
            .find(&format!("/user/ada/static/lab/../lab/{CORE}"))
            .is_none()
    );
}

#[test]
fn what_is_the_users_or_the_servers_is_not_found() {
    let environment = Environment::new();
    for path in [
        "static/lab/index.html",
        "static/lab/package.json",
        "static/lab/missing.0123456789abcdef.js",
        "static/lab/",
        "static/custom/custom.css",
        "static/lab",
        "static/",
        "lab/extensions/@x/y/package.json",
        "lab/extensions/@x/y/static/style.js",
        "lab/tree/static/lab/x.js",
        "lab/static/lab/x.0123456789abcdef.js",
        "lab",
        "api/contents/static",
        "files/static/lab/jlab_core.8811dd2733d03721.js",
        "static/lab/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "static/lab/%2e%2e/%2e%2e/lab/static/jlab_core.8811dd2733d03721.js",
        "static//lab/jlab_core.8811dd2733d03721.js",
        "static/lab/jlab_core.8811dd2733d03721.js/",
        "static/lab/jlab_core.8811dd2733d03721.js%00",
        "",
    ] {
        let found = environment.find(&format!("/user/ada/{path}"));
        assert!(found.is_none(), "{path}");
    }
    assert!(environment.find(&core()).is_some());
}

#[tokio::test]
async fn only_the_environment_that_the_route_names_is_asked() {
    let environment = Environment::new();
    let path = core();
    assert!(environment.sets.find(&route("other"), &path).is_none());
    let mut nothing = route("env");
    nothing.data.remove(Route::ENVIRONMENT);
    assert!(environment.sets.find(&nothing, &path).is_none());
    nothing.data.insert(Route::ENVIRONMENT.to_owned(), 7.into());
    assert!(environment.sets.find(&nothing, &path).is_none());
    environment.sets.remove("env");
    assert!(environment.find(&path).is_none());
}

#[tokio::test]
async fn links_and_files_that_anybody_can_write_are_left_out() {
    let environment = Environment::new();
    let lab = environment.prefix().join(LAB);
    put(environment.base.path(), "secret", "secret");
    symlink("../../../../../secret", lab.join("a.0123456789abcdef.js")).unwrap();
    symlink(CORE, lab.join("b.0123456789abcdef.js")).unwrap();
    symlink(environment.base.path(), lab.join("c")).unwrap();
    put(environment.base.path(), "d.0123456789abcdef.js", "outside");
    put(&lab, "e.0123456789abcdef.js", "by anybody");
    let anybody = fs::Permissions::from_mode(0o666);
    fs::set_permissions(lab.join("e.0123456789abcdef.js"), anybody).unwrap();
    put(&lab, "f/0123456789abcdef.js", "by anybody, too");
    fs::set_permissions(lab.join("f"), fs::Permissions::from_mode(0o777)).unwrap();
    let set = environment.read();
    for name in [
        "a.0123456789abcdef.js",
        "b.0123456789abcdef.js",
        "c/d.0123456789abcdef.js",
        "e.0123456789abcdef.js",
        "f/0123456789abcdef.js",
    ] {
        let path = format!("/user/ada/static/lab/{name}");
        assert!(environment.gone(&path).await, "{name}");
    }
    assert_eq!(set.summary().distrusted, 2);
    assert_eq!(set.summary().files, 5);
}

#[tokio::test]
async fn a_file_that_became_a_link_or_another_is_the_servers_again() {
    let environment = Environment::new();
    let file = environment.prefix().join(LAB).join(CORE);
    put(environment.base.path(), "secret", script("evil"));
    fs::remove_file(&file).unwrap();
    symlink(environment.base.path().join("secret"), &file).unwrap();
    assert!(environment.gone(&core()).await);
    fs::remove_file(&file).unwrap();
    put(
        &environment.prefix(),
        &format!("{LAB}/{CORE}"),
        script("evil"),
    );
    assert!(environment.gone(&core()).await);
}

#[tokio::test]
async fn compressed_forms_are_chosen_by_what_the_client_accepts() {
    let environment = Environment::new();
    compress_all(&environment.read());
    let plain = environment.get(&core(), &[]).await;
    let mut tags = vec![plain.header("etag").to_owned()];
    for (accept, coding) in [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, zstd", "zstd"),
        ("gzip", "gzip"),
        ("br;q=0.1, gzip", "gzip"),
        ("identity", ""),
        ("br;q=0", ""),
    ] {
        let seen = environment
            .get(&core(), &[("accept-encoding", accept)])
            .await;
        assert_eq!(seen.header("content-encoding"), coding, "{accept}");
        assert_eq!(seen.plain(), script("core").as_bytes());
        assert_eq!(seen.header("vary"), "Accept-Encoding");
        assert_eq!(seen.header("content-length"), seen.body.len().to_string());
        assert_eq!(seen.header("accept-ranges").is_empty(), !coding.is_empty());
        tags.push(seen.header("etag").to_owned());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "each form has a tag of its own: {tags:?}");
    assert!(tags.iter().all(|tag| tag.starts_with('"')));
}

#[tokio::test]
async fn a_form_is_used_from_the_moment_when_it_is_there() {
    let environment = Environment::new();
    let set = environment.read();
    let accept = [("accept-encoding", "gzip, br")];
    let before = environment.get(&core(), &accept).await;
    assert_eq!(before.header("content-encoding"), "");
    set.compress(Coding::Gzip, &mut |_| true).unwrap();
    let soon = environment.get(&core(), &accept).await;
    assert_eq!(soon.header("content-encoding"), "gzip");
    set.compress(Coding::Brotli, &mut |_| true).unwrap();
    let later = environment.get(&core(), &accept).await;
    assert_eq!(later.header("content-encoding"), "br");
    // What a browser has from before counts as the same.
    let tag = before.header("etag");
    let again = [("accept-encoding", "gzip, br"), ("if-none-match", tag)];
    let again = environment.get(&core(), &again).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    assert_eq!(again.header("etag"), tag);
}

#[tokio::test]
async fn work_that_was_interrupted_goes_on_where_it_was() {
    let environment = Environment::new();
    let set = environment.read();
    let mut asked = 0;
    set.compress(Coding::Gzip, &mut |progress| {
        asked += 1;
        assert!(progress.done <= progress.all);
        asked == 1
    })
    .unwrap();
    assert_eq!(asked, 2);
    // A crash while something was written.
    put(&environment.cache(), "1/0123.gz.new", "half");
    let again = environment.read();
    let mut first = None;
    again
        .compress(Coding::Gzip, &mut |progress| {
            first.get_or_insert(progress);
            true
        })
        .unwrap();
    let all = set.summary().bytes;
    assert!(first.unwrap().all < all, "what was made is not made again");
    again
        .compress(Coding::Gzip, &mut |progress| {
            assert_eq!(progress.all, 0);
            true
        })
        .unwrap();
    assert_eq!(StaticSet::sweep(&[again]).unwrap(), 1);
    assert!(!environment.cache().join("1/0123.gz.new").exists());
    assert_eq!(StaticSet::sweep(&[environment.read()]).unwrap(), 0);
}

#[tokio::test]
async fn a_damaged_form_is_answered_by_the_content_itself() {
    let environment = Environment::new();
    compress_all(&environment.read());
    for entry in fs::read_dir(environment.cache().join("1")).unwrap() {
        fs::write(entry.unwrap().path(), "damaged, and long enough to be one").unwrap();
    }
    environment.read();
    let accept = [("accept-encoding", "gzip, br")];
    for _ in 0..3 {
        let seen = environment.get(&core(), &accept).await;
        assert_eq!(seen.plain(), script("core").as_bytes());
    }
}

#[tokio::test]
async fn once_asked_for_a_page_needs_no_disk() {
    let environment = Environment::new();
    compress_all(&environment.read());
    let accept = [("accept-encoding", "br")];
    environment.get(&core(), &accept).await;
    environment.get(&core(), &[]).await;
    fs::remove_dir_all(environment.cache()).unwrap();
    fs::remove_dir_all(environment.prefix()).unwrap();
    let seen = environment.get(&core(), &accept).await;
    assert_eq!(seen.header("content-encoding"), "br");
    assert_eq!(seen.plain(), script("core").as_bytes());
    assert_eq!(environment.get(&core(), &[]).await.body, script("core"));
}

#[tokio::test]
async fn a_part_is_a_part_of_the_plain_content() {
    let environment = Environment::new();
    compress_all(&environment.read());
    let size = script("core").len();
    let asked = [("range", "bytes=8-11"), ("accept-encoding", "br")];
    let seen = environment.get(&core(), &asked).await;
    assert_eq!(seen.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(seen.body, "log(");
    assert_eq!(seen.header("content-range"), format!("bytes 8-11/{size}"));
    assert_eq!(seen.header("content-encoding"), "");
    let beyond = environment.get(&core(), &[("range", "bytes=99999-")]).await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    let stale = [("range", "bytes=0-1"), ("if-range", "\"other\"")];
    assert_eq!(
        environment.get(&core(), &stale).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn large_files_come_in_pieces_and_are_whole() {
    let environment = Environment::new();
    let large: Vec<u8> = (0..6_000_000_u32).map(|i| (i % 251) as u8).collect();
    put(
        &environment.prefix(),
        &format!("{LAB}/0123456789abcdef.wasm"),
        &large,
    );
    environment.read();
    let path = "/user/ada/static/lab/0123456789abcdef.wasm";
    assert_eq!(environment.get(path, &[]).await.body, large);
    let part = environment
        .get(path, &[("range", "bytes=1000000-2999999")])
        .await;
    assert_eq!(part.body, large[1_000_000..3_000_000]);
}

#[tokio::test]
async fn only_reading_is_answered() {
    let environment = Environment::new();
    compress_all(&environment.read());
    let file = environment.find(&core()).unwrap();
    let asked = headers(&[("accept-encoding", "br")]);
    let ask = async |method: Method| {
        let request = StaticRequest {
            method: &method,
            headers: &asked,
        };
        file.respond(request, &Handle::current()).await
    };
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert!(ask(method).await.is_none());
    }
    let head = Seen::of(ask(Method::HEAD).await.unwrap()).await;
    let get = Seen::of(ask(Method::GET).await.unwrap()).await;
    assert_eq!(head.headers, get.headers);
    assert!(head.body.is_empty() && !get.body.is_empty());
}

#[tokio::test]
async fn a_change_of_the_environment_is_noticed() {
    let environment = Environment::new();
    let set = environment.read();
    assert!(set.is_current());
    let lab = environment.prefix().join(LAB);
    put(&lab, "unhashed.js", "");
    let set = {
        assert!(!set.is_current(), "a folder has changed");
        environment.read()
    };
    assert!(set.is_current());
    put(&lab, CORE, "other");
    assert!(!environment.read().is_current() || !set.is_current());
    assert!(!set.is_current());
    fs::remove_dir_all(environment.prefix()).unwrap();
    assert!(!set.is_current());
}

#[test]
fn what_is_no_environment_is_an_error_and_an_empty_one_is_not() {
    let base = tempfile::tempdir().unwrap();
    let cache = base.path().join("cache");
    let missing = StaticSet::read(&base.path().join("missing"), &cache);
    assert!(matches!(missing, Err(StaticError::Environment { .. })));
    let empty = StaticSet::read(base.path(), &cache).unwrap();
    assert_eq!(empty.summary(), Summary::default());
    put(base.path(), "file", "");
    let no_cache = StaticSet::read(base.path(), &base.path().join("file"));
    assert!(matches!(no_cache, Err(StaticError::Cache { .. })));
}
