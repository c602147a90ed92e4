//! Names that hurt, with the real `jupyterhub-singleuser`: its routes, its login at the hub, its cookies, a kernel's
//! API, its activity, for default and for named servers.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use lyceum_core::{UserName, escape};
use lyceum_testkit::{TestHub, Visitor};

/// The first start of an environment may have to compile all of its Python files.
const START_LIMIT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_real_server_is_at_home_under_every_name() {
    let hub = real_hub().await;
    let long = "x".repeat(255);
    let long_umlauts = "ü".repeat(255);
    for (typed, server) in [
        ("a@b.cz", ""),
        ("Ümläut", "lab"),
        ("user+tag", ""),
        ("ada-lab", ""),
        ("ada", "lab"),
        (long.as_str(), "a23456789012345678901234567890"),
        (long_umlauts.as_str(), ""),
    ] {
        let name = UserName::normalize(typed).unwrap();
        let user = escape::path_segment(name.as_str());
        let (api, url) = if server.is_empty() {
            (format!("/users/{user}/server"), format!("/user/{user}"))
        } else {
            (
                format!("/users/{user}/servers/{server}"),
                format!("/user/{user}/{server}"),
            )
        };
        let mut visitor = hub.user(typed).await;
        visitor.get("/hub/home").await;
        start(&mut visitor, &api).await;
        let page = visitor.follow(&format!("{url}/lab")).await;
        assert_eq!(page.status, 200, "{typed}: {}", page.text());
        assert!(
            page.path.starts_with(&format!("{url}/lab")),
            "{}",
            page.path
        );
        // The page has logged the browser in at the server; programs in it need that.
        let status = visitor.get(&format!("{url}/api/status")).await;
        assert_eq!(status.status, 200, "{typed}: {}", status.text());
        assert!(status.json()["started"].is_string(), "{}", status.text());
        // The server has told the hub of itself, so its token and its address of the API are right.
        let model = visitor.api(Method::GET, &api, None).await.json();
        assert_eq!(model["full_name"], format!("{name}/{server}"));
        assert_eq!(model["url"], format!("{url}/"));
        let stopped = visitor.api(Method::DELETE, &api, None).await;
        assert!(
            matches!(stopped.status, 202 | 204),
            "{typed}: {}",
            stopped.text()
        );
    }
}

async fn real_hub() -> TestHub {
    let environment = std::env::var_os("LYCEUM_TEST_PYENV")
        .map(PathBuf::from)
        .expect(
            "LYCEUM_TEST_PYENV has to name a Python environment with jupyterhub and jupyterlab; \
             `cargo xtask test` prepares one and sets it",
        );
    TestHub::builder()
        .settings(|settings| {
            settings.allow_named_servers = true;
            settings.start_timeout = START_LIMIT;
            settings.http_timeout = START_LIMIT;
            settings.slow_spawn_timeout = Duration::ZERO;
        })
        .process(move |config| {
            config.command = vec!["jupyterhub-singleuser".to_owned()];
            config.args = vec!["--allow-root".to_owned()];
            let programs = environment.join("bin").display().to_string();
            config.path.insert(0, programs);
        })
        .start()
        .await
}

async fn start(visitor: &mut Visitor, api: &str) {
    let answer = visitor.api(Method::POST, api, None).await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text());
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let server = visitor.api(Method::GET, api, None).await.json();
        if server["ready"] == true {
            return;
        }
        assert_ne!(server["stopped"], true, "the start failed: {server}");
        assert!(Instant::now() < deadline, "no start in time: {server}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
