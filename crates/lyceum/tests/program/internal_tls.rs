//! TLS between Lyceum and the real `jupyterhub-singleuser`: they understand each other, and nobody else gets in.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lyceum_testkit::jupyterhub::Version;
use lyceum_testkit::visitor::Visitor;
use serde_json::{Value, json};

use crate::support::{PASSWORD, Running, Site, lyceum, mode, text, value};

/// The first start of an environment may have to compile all of its Python files.
const START_LIMIT: Duration = Duration::from_mins(2);

fn site() -> Site {
    let site = Site::new();
    let bin = Version::V6.python().parent().unwrap().display().to_string();
    site.write(&format!(
        "[hub]\ndata_dir = \"data\"\nruntime_dir = \"run\"\napi_listen = \"0.0.0.0:0\"\napi_connect = \"localhost\"\nhttp_timeout = \"2 min\"\n\
         internal_tls = true\nslow_spawn_timeout = \"0s\"\n\
         [gateway]\nlisten = [\"127.0.0.1:{}\"]\ndrain_timeout = \"1s\"\n\
         [auth]\nkind = \"dummy\"\n[access]\nallow_all = true\n[log]\nlevel = \"trace\"\n\
         [spawner]\nkind = \"process\"\npath = [\"{bin}\", \"/usr/local/bin\", \"/usr/bin\", \"/bin\"]\n",
        site.port,
    ));
    site
}

/// Starts the server of a user and gives its variables.
async fn start(running: &Running, site: &Site, user: &str) -> (String, HashMap<String, String>) {
    let cookies = running.log_in(user).await;
    running.get("/hub/spawn", &cookies).await;
    await_server(running, site, user).await;
    (cookies, variables(site, user))
}

async fn await_server(running: &Running, site: &Site, user: &str) {
    let deadline = Instant::now() + START_LIMIT;
    // Jupyter Server tells its version to everybody.
    while running.get(&format!("/user/{user}/api"), "").await.status() != 200 {
        if Instant::now() > deadline {
            let log = site
                .dir
                .path()
                .join(format!("data/logs/servers/{user}.log"));
            panic!("{}", fs::read_to_string(log).unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The environment of the server of a user, found by its home.
fn variables(site: &Site, user: &str) -> HashMap<String, String> {
    let home = site.dir.path().join("data/homes").join(user);
    let home = home.canonicalize().unwrap();
    let of_process = |path: PathBuf| -> HashMap<String, String> {
        let environment = fs::read(path.join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment)
            .split('\0')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    fs::read_dir("/proc")
        .unwrap()
        .map(|entry| of_process(entry.unwrap().path()))
        .find(|all| {
            all.contains_key("JUPYTERHUB_SERVICE_URL")
                && all.get("HOME").is_some_and(|one| Path::new(one) == home)
        })
        .expect("the server has a process")
}

/// Has a program in Python look at everything, with the environment of a server.
async fn look(
    running: &Running,
    own: HashMap<String, String>,
    other: &HashMap<String, String>,
) -> Value {
    let other = Path::new(&other["JUPYTERHUB_SSL_KEYFILE"])
        .parent()
        .unwrap();
    let mut command = Command::new(Version::V6.python());
    command
        .args(["-I", "-c", include_str!("internal_tls.py")])
        .env_clear()
        .envs(own)
        .env("GATEWAY", format!("127.0.0.1:{}", running.port()))
        .env("OTHER_CERTIFICATES", other)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

async fn stop(running: &Running, cookies: &str, user: &str) {
    let xsrf = value(cookies, "_xsrf");
    let form = format!("_xsrf={xsrf}");
    let answer = running
        .post(&format!("/hub/stop/{user}"), cookies, &form)
        .await;
    assert_eq!(answer.status(), 302, "{}", text(answer.body()));
}

#[tokio::test]
async fn the_real_single_user_server_speaks_tls_with_lyceum_and_with_nobody_else() {
    let site = site();
    let mut first = site.serve().await;
    let (ada_cookies, ada) = start(&first, &site, "ada").await;
    let (bob_cookies, bob) = start(&first, &site, "bob").await;
    for (name, start) in [
        ("JUPYTERHUB_API_URL", "https://localhost:"),
        ("JUPYTERHUB_SERVICE_URL", "https://127.0.0.1:"),
    ] {
        assert!(ada[name].starts_with(start), "{}", ada[name]);
    }
    for name in ["KEYFILE", "CERTFILE", "CLIENT_CA"] {
        let path = Path::new(&ada[&format!("JUPYTERHUB_SSL_{name}")]);
        assert_eq!(mode(path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
    let expected = json!({
        "api": 200,
        "api_strictly": 200,
        "activity": 200,
        "hub_auth": "ada",
        "api_without_certificate": "refused",
        "api_by_http": true,
        "server_without_certificate": "refused",
        "server_with_its_own": "refused",
        "server_with_anothers": "refused",
        "server_by_http": "refused",
        "page": 200,
        "kernel": "42",
    });
    assert_eq!(look(&first, ada.clone(), &bob).await, expected);

    // As a browser: the server asks the hub who it is, by TLS.
    let mut browser = Visitor::browser(([127, 0, 0, 1], first.port()).into());
    browser.log_in("ada", PASSWORD).await;
    let page = browser.follow("/user/ada/lab").await;
    assert_eq!((page.path.as_str(), page.status), ("/user/ada/lab", 200));
    assert!(
        page.text().contains("jupyter-config-data"),
        "{}",
        page.text()
    );

    // Both go on, with the certificates that they have.
    first.signal("-KILL");
    first.wait();
    let mut second = site.serve().await;
    assert_eq!(second.get("/user/bob/api", "").await.status(), 200);
    assert_eq!(look(&second, ada.clone(), &bob).await, expected);

    stop(&second, &ada_cookies, "ada").await;
    stop(&second, &bob_cookies, "bob").await;
    let deadline = Instant::now() + START_LIMIT;
    while Path::new(&ada["JUPYTERHUB_SSL_KEYFILE"]).exists()
        || Path::new(&bob["JUPYTERHUB_SSL_KEYFILE"]).exists()
    {
        assert!(Instant::now() < deadline, "the files stay");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let left: Vec<_> = fs::read_dir(site.dir.path().join("run"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name.to_string_lossy().starts_with("tls-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    second.signal("-TERM");
    assert_eq!(second.wait().code(), Some(0));
    for log in [first.log(), second.log()] {
        assert!(!log.contains("PRIVATE KEY"), "a key is in the log");
    }
}

#[tokio::test]
async fn services_of_this_machine_reach_the_api_without_certificates() {
    let site = site();
    let seen = site.dir.path().join("seen");
    site.add(&format!(
        "[[services]]\nname = \"asker\"\ncommand = [\"/bin/sh\", \"-c\", \"echo $JUPYTERHUB_API_URL > {0}.new; mv {0}.new {0}; exec sleep 600\"]\n",
        seen.display()
    ));
    let mut running = site.serve().await;
    let deadline = Instant::now() + crate::support::LIMIT;
    while !seen.exists() {
        assert!(Instant::now() < deadline, "the service does not start");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let url = fs::read_to_string(&seen).unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let request = http::Request::get(url.trim())
        .body(bytes::Bytes::new())
        .unwrap();
    let answer = lyceum_testkit::http::send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    running.signal("-TERM");
    running.wait();
}

#[test]
fn an_authority_that_cannot_be_read_is_told_with_what_to_do() {
    let site = site();
    let folder = site.dir.path().join("data/internal-tls");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hub.pem"), "no certificate").unwrap();
    let answer = lyceum(&["serve", "--config", &site.file_text()])
        .output()
        .unwrap();
    let errors = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("hub.pem") && errors.contains("hint:"),
        "{errors}"
    );
}
