//! What pages of users' servers ask the hub by themselves: who may, from where, and what it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lyceum_core::seams::{PythonInUse, PythonNow, Pythons};
use lyceum_hub::CullSettings;
use serde_json::Value;

use crate::support::{Browser, OWN_HOST, Site};

const PATH: &str = "/hub/notices/servers/ada";
const MARK: (&str, &str) = ("x-lyceum-notices", "1");
const SAME: (&str, &str) = ("sec-fetch-site", "same-origin");

/// A site where servers may be idle for two hours, with ada's server running and warned.
async fn warned() -> Site {
    let site = Site::with(|settings| {
        let mut cull = CullSettings::default();
        cull.rules.enabled = true;
        cull.grace = Duration::ZERO;
        cull.check = Duration::from_hours(24);
        settings.cull = cull;
    })
    .await;
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let headers = [("x-xsrftoken", xsrf.as_str())];
    let start = ada
        .send("POST", "/hub/api/users/ada/server", &headers, "")
        .await;
    assert_eq!(start.status, 201, "{}", start.text());
    site.clock.advance(Duration::from_mins(111));
    site.hub.cull_idle_servers().await.unwrap();
    site
}

async fn ask(
    browser: &mut Browser<'_>,
    method: &str,
    headers: &[(&'static str, &str)],
) -> (u16, Value) {
    let answer = browser.send(method, PATH, headers, "").await;
    let body = serde_json::from_str(&answer.text()).unwrap_or(Value::Null);
    (answer.status, body)
}

#[tokio::test]
async fn a_page_is_told_in_its_language_and_keeps_its_server() {
    let site = warned().await;
    let mut ada = site.user("ada").await;
    let (status, told) = ask(&mut ada, "GET", &[MARK, SAME]).await;
    assert_eq!(status, 200, "{told}");
    assert_eq!(told["again"], 60);
    let text = told["stop"]["text"].as_str().unwrap();
    assert!(text.contains("{minutes}"), "{text}");
    assert_eq!(told["stop"]["keep"], "Keep running");
    let german = [MARK, SAME, ("accept-language", "de")];
    let (_, told) = ask(&mut ada, "GET", &german).await;
    assert_eq!(told["language"], "de");
    assert_eq!(told["stop"]["keep"], "Weiterlaufen lassen");
    let home = ada.get("/hub/home").await.text();
    assert!(home.contains("/hub/keep/ada"), "{home}");

    let (status, told) = ask(&mut ada, "POST", &[MARK, SAME]).await;
    assert_eq!((status, &told["stop"]), (200, &Value::Null));
    let home = ada.get("/hub/home").await.text();
    assert!(!home.contains("/hub/keep/ada"), "{home}");
}

#[tokio::test]
async fn only_pages_of_this_host_ask_and_only_for_those_who_may_use_the_server() {
    let site = warned().await;
    let mut ada = site.user("ada").await;
    let mut bob = site.user("bob").await;
    let own = format!("http://{OWN_HOST}");
    for method in ["GET", "POST"] {
        for headers in [
            &[SAME][..],
            &[MARK, ("sec-fetch-site", "cross-site")],
            &[MARK, ("sec-fetch-site", "same-site")],
            &[MARK, ("sec-fetch-site", "none")],
            &[MARK, ("origin", "http://evil.example")],
            &[MARK, ("origin", "null")],
        ] {
            assert_eq!(ask(&mut ada, method, headers).await.0, 403, "{headers:?}");
        }
        assert_eq!(ask(&mut bob, method, &[MARK, SAME]).await.0, 404);
        let mut nobody = site.anonymous();
        assert_eq!(ask(&mut nobody, method, &[MARK, SAME]).await.0, 403);
    }
    // Without any word of where it comes from, it does nothing.
    assert_eq!(ask(&mut ada, "POST", &[MARK]).await.0, 403);
    assert_eq!(ask(&mut ada, "GET", &[MARK]).await.0, 200);
    let (status, _) = ask(&mut ada, "POST", &[MARK, ("origin", &own)]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn to_ask_is_no_activity_of_anybody() {
    let site = warned().await;
    let mut ada = site.user("ada").await;
    let mut root = site.user("root").await;
    site.clock.advance(Duration::from_mins(5));
    let path = "/hub/api/users/ada";
    let before = root.get(path).await.text();
    assert_eq!(ask(&mut ada, "GET", &[MARK, SAME]).await.0, 200);
    assert_eq!(root.get(path).await.text(), before);
    assert_eq!(ask(&mut ada, "POST", &[MARK, SAME]).await.0, 200);
    assert_ne!(root.get(path).await.text(), before);
}

/// Environments as a test says they are now.
#[derive(Debug, Default)]
struct Environments(AtomicU32);

impl Pythons for Environments {
    fn find(&self, name: &str) -> Option<PythonNow> {
        (name == "base").then(|| PythonNow {
            title: "For all".to_owned(),
            current: Some(self.0.load(Ordering::Relaxed)),
        })
    }
}

#[tokio::test]
async fn another_generation_of_the_environment_is_told_as_long_as_it_waits() {
    let environments = Arc::new(Environments::default());
    environments.0.store(3, Ordering::Relaxed);
    let shared: Arc<dyn Pythons> = Arc::<Environments>::clone(&environments);
    let site = Site::with(|settings| settings.pythons = Some(shared)).await;
    site.spawner.starts_from(PythonInUse {
        name: "base".to_owned(),
        generation: 3,
        prefix: "/opt/envs/python/base/3".into(),
    });
    let mut ada = site.user("ada").await;
    let xsrf = ada.xsrf();
    let headers = [("x-xsrftoken", xsrf.as_str())];
    let server = "/hub/api/users/ada/server";
    assert_eq!(ada.send("POST", server, &headers, "").await.status, 201);
    let (_, told) = ask(&mut ada, "GET", &[MARK, SAME]).await;
    assert_eq!(told["python"], Value::Null);
    let home = ada.get("/hub/home").await.text();
    assert!(home.contains("For all, version 3") && !home.contains("data-python"));

    environments.0.store(4, Ordering::Relaxed);
    let (_, told) = ask(&mut ada, "GET", &[MARK, SAME]).await;
    assert_eq!(told["python"]["at"], "base/4");
    let text = told["python"]["text"].as_str().unwrap();
    assert!(text.starts_with("A newer version"), "{text}");
    assert!(ada.get("/hub/home").await.text().contains(text));
    let mut root = site.user("root").await;
    let admin = root.get("/hub/admin/users/ada").await.text();
    assert!(admin.contains("(next start: version 4)"), "{admin}");
    // What is stored of it is there for administrators.
    let model: Value = serde_json::from_str(&root.get("/hub/api/users/ada").await.text()).unwrap();
    assert_eq!(model["servers"][""]["state"]["python"]["generation"], 3);

    environments.0.store(2, Ordering::Relaxed);
    let (_, told) = ask(&mut ada, "GET", &[MARK, SAME]).await;
    let text = told["python"]["text"].as_str().unwrap();
    assert!(text.contains("set back to an earlier version"), "{text}");
}
