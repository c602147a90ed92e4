//! Managed services with the real programs: JupyterHub's own classes for services, and its idle culler.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::Method;
use lyceum_core::clock::iso_format;
use lyceum_core::{Clock as _, Secret, SystemClock};
use lyceum_testkit::jupyterhub::Version;
use lyceum_testkit::{Answer, Visitor, eventually};
use serde_json::{Value, json};

use crate::support::{PASSWORD, Running, Site, alive, free_port, text};

/// The token of a service that is an administrator.
const TESTER: &str = "tester-0123456789abcdef";
/// How long the culler may take, on a machine that is busy.
const CULL_LIMIT: Duration = Duration::from_mins(1);
/// How often is looked whether it has done its work.
const PAUSE: Duration = Duration::from_millis(200);

impl Site {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn program(&self, token: &str) -> Visitor {
        Visitor::program(self.address(), Secret::from(token))
    }

    fn tester(&self) -> Visitor {
        self.program(TESTER)
    }

    async fn browser(&self, user: &str) -> Visitor {
        let mut visitor = Visitor::browser(self.address());
        let answer = visitor.log_in(user, PASSWORD).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        visitor
    }

    /// A hub with the service `whoami`, which listens on a port of its own and which ada may use.
    fn with_whoami(more: &str) -> Self {
        let site = Self::new();
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/program/services/whoami.py"
        );
        site.add(&format!(
            "[[services]]\nname = \"tester\"\nadmin = true\napi_token = \"{TESTER}\"\n\
             [[services]]\nname = \"whoami\"\nurl = \"http://127.0.0.1:{}\"\n\
             command = [\"{}\", \"{script}\"]\ncwd = \"/\"\nenvironment = {{ GREETING = \"hello\" }}\n{more}\n\
             [[roles]]\nname = \"visitor\"\nscopes = [\"access:services!service=whoami\"]\nusers = [\"ada\"]\n",
            free_port(),
            Version::V6.python().display(),
        ));
        site
    }

    async fn await_service(&self, path: &str) -> Answer {
        let mut answer = None;
        eventually("the service answers", async || {
            let found = Visitor::browser(self.address()).get(path).await;
            let is_up = found.status == 200;
            answer = Some(found);
            is_up
        })
        .await;
        answer.unwrap()
    }
}

/// The scopes that the confirm page would send.
fn offered(page: &str) -> Vec<&str> {
    page.split("name=\"scopes\"")
        .skip(1)
        .filter_map(|rest| rest.split("value=\"").nth(1)?.split('"').next())
        .collect()
}

#[tokio::test]
async fn a_service_with_huboauth_logs_a_browser_in_by_the_confirm_page() {
    let site = Site::with_whoami("oauth_client_allowed_scopes = [\"read:users!user\"]");
    let mut running = site.serve().await;
    site.await_service("/services/whoami/me").await;

    let mut ada = site.browser("ada").await;
    let first = ada.get("/services/whoami/").await;
    assert_eq!(first.status, 302, "{}", first.text());
    let authorize = first.location().to_owned();
    assert!(
        authorize.starts_with("/hub/api/oauth2/authorize?"),
        "{authorize}"
    );
    let page = ada.get(&authorize).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.text();
    let scopes = offered(&page);
    let fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scopes", *scope)).collect();
    let granted = ada.post_form(&authorize, &fields).await;
    assert!(
        granted
            .location()
            .starts_with("/services/whoami/oauth_callback?code="),
        "{}",
        granted.text()
    );
    let me = ada.follow_on(granted).await;
    assert_eq!(me.status, 200, "{}", me.text());
    let me = me.json();
    assert_eq!(me["name"], "ada");
    let scopes = me["scopes"].as_array().unwrap();
    assert!(scopes.contains(&json!("read:users!user=ada")), "{me}");
    assert!(
        scopes.contains(&json!("access:services!service=whoami")),
        "{me}"
    );
    // It is known now, and not asked again, in another browser either.
    assert_eq!(ada.get("/services/whoami/").await.status, 200);
    let mut other = site.browser("ada").await;
    assert_eq!(
        other.follow("/services/whoami/").await.json()["name"],
        "ada"
    );
    // Who may not use the service does not get in.
    let refused = site.browser("bob").await.follow("/services/whoami/").await;
    assert_eq!(refused.status, 403, "{}", refused.text());

    running.signal("-TERM");
    running.wait();
    let log = running.log();
    assert!(
        log.contains("whoami: serving /services/whoami/ with [secret]"),
        "{log}"
    );
}

#[tokio::test]
async fn a_service_without_confirm_page_asks_nothing() {
    let site = Site::with_whoami("oauth_no_confirm = true");
    let _running = site.serve().await;
    site.await_service("/services/whoami/me").await;
    let me = site.browser("ada").await.follow("/services/whoami/").await;
    assert_eq!(
        (me.status, &me.json()["name"]),
        (200, &json!("ada")),
        "{}",
        me.text()
    );
}

#[tokio::test]
async fn a_service_with_hubauth_knows_programs_by_their_tokens() {
    let site = Site::with_whoami("");
    let _running = site.serve().await;
    let own = site.await_service("/services/whoami/me").await.json();
    assert_eq!(own["me"]["name"], "whoami");
    assert_eq!(own["me"]["kind"], "service");
    assert_eq!(
        (&own["cwd"], &own["greeting"]),
        (&json!("/"), &json!("hello"))
    );

    let mut tester = site.tester();
    let body = json!({"note": "for whoami"});
    let path = "/users/ada/tokens";
    let made = tester.api(Method::POST, path, Some(&body)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let me = site.program(&token).get("/services/whoami/program").await;
    assert_eq!(me.status, 200, "{}", me.text());
    assert_eq!(me.json()["name"], "ada");
    let nobody = site
        .program("0123456789abcdef")
        .get("/services/whoami/program")
        .await;
    assert_eq!(nobody.status, 403);
}

/// The number of the process of a service.
async fn pid(site: &Site, name: &str) -> u64 {
    let mut found = 0;
    eventually("the service has a process", async || {
        let path = format!("/services/{name}");
        let model = site.tester().api(Method::GET, &path, None).await.json();
        found = model["pid"].as_u64().unwrap_or_default();
        found != 0
    })
    .await;
    found
}

#[tokio::test]
async fn kill_9_leaves_no_service_and_no_double() {
    let site = Site::new();
    // One that ends on a signal, and one that does not and has a child of its own session.
    let stubborn = "trap '' TERM INT HUP; setsid sleep 1000 & while :; do sleep 0.1; done";
    site.add(&format!(
        "[[services]]\nname = \"tester\"\nadmin = true\napi_token = \"{TESTER}\"\n\
         [[services]]\nname = \"polite\"\ncommand = [\"sleep\", \"1000\"]\n\
         [[services]]\nname = \"stubborn\"\ncommand = [\"sh\", \"-c\", \"{stubborn}\"]\n"
    ));
    let mut first = site.serve().await;
    let (polite, stubborn) = (pid(&site, "polite").await, pid(&site, "stubborn").await);
    first.signal("-KILL");
    first.wait();
    // The kernel ends what listens to it.
    eventually("the polite service has ended", async || !alive(polite)).await;
    assert!(alive(stubborn));

    let mut second = site.serve().await;
    let again = pid(&site, "stubborn").await;
    assert_ne!(again, stubborn);
    assert!(!alive(stubborn), "there are two of them");
    second.signal("-TERM");
    assert!(second.wait().success());
    assert!(!alive(again), "it has outlived the hub");
}

/// Adds the culler, which looks every second, and culls what was idle for two, unless a flag says otherwise.
fn with_culler(flags: &str) -> Site {
    let site = Site::new();
    site.add(&format!(
        "[[services]]\nname = \"tester\"\nadmin = true\napi_token = \"{TESTER}\"\n\
         [[services]]\nname = \"culler\"\n\
         command = [\"{}\", \"-m\", \"jupyterhub_idle_culler\", \"--timeout=2\", \"--cull-every=1\"{flags}]\n\
         [[roles]]\nname = \"culler\"\nservices = [\"culler\"]\nscopes = [\n\
         \"list:users\", \"read:users:activity\", \"read:servers\", \"delete:servers\", \"admin:users\"]\n",
        Version::V6.python().display(),
    ));
    site
}

/// What the culler was heard saying, for a test that fails.
fn told(mut running: Running) -> String {
    running.signal("-TERM");
    running.wait();
    running.log()
}

async fn user(site: &Site, name: &str) -> Value {
    let path = format!("/users/{name}");
    site.tester().api(Method::GET, &path, None).await.json()
}

#[tokio::test]
async fn the_idle_culler_stops_idle_servers_and_no_others() {
    // By itself the built-in one is off beside it; where it is on, each does its work.
    for more in ["", "[cull]\nenabled = true\n"] {
        idle_servers_are_stopped_and_no_others(more).await;
    }
}

async fn idle_servers_are_stopped_and_no_others(more: &str) {
    let site = with_culler("");
    site.add(more);
    let running = site.serve().await;
    for name in ["ada", "bob"] {
        let mut browser = site.browser(name).await;
        let path = format!("/users/{name}/server");
        let started = browser.api(Method::POST, &path, None).await;
        assert!([201, 202].contains(&started.status), "{}", started.text());
    }
    let mut tester = site.tester();
    let deadline = Instant::now() + CULL_LIMIT;
    loop {
        // Bob works.
        let activity = json!({"last_activity": iso_format(SystemClock.now())});
        let body = json!({"servers": {"": activity}});
        let reported = tester
            .api(Method::POST, "/users/bob/activity", Some(&body))
            .await;
        assert_eq!(reported.status, 200, "{}", reported.text());
        if user(&site, "ada").await["servers"] == json!({}) {
            break;
        }
        assert!(Instant::now() < deadline, "not culled:\n{}", told(running));
        tokio::time::sleep(PAUSE).await;
    }
    assert_eq!(user(&site, "bob").await["servers"][""]["ready"], true);
    let log = told(running);
    assert!(log.contains("Culling server ada"), "{log}");
    assert_eq!(log.contains("`[cull]` is off"), more.is_empty(), "{log}");
}

#[tokio::test]
async fn the_built_in_culler_does_its_work_beside_the_idle_culler() {
    let site = with_culler(", \"--timeout=3600\"");
    site.add("[cull]\nenabled = true\nidle = \"2s\"\nwarn = \"0s\"\n");
    let running = site.serve().await;
    let mut browser = site.browser("ada").await;
    let started = browser.api(Method::POST, "/users/ada/server", None).await;
    assert!([201, 202].contains(&started.status), "{}", started.text());
    let deadline = Instant::now() + CULL_LIMIT;
    while user(&site, "ada").await["servers"] != json!({}) {
        assert!(Instant::now() < deadline, "not culled:\n{}", told(running));
        tokio::time::sleep(PAUSE).await;
    }
    let log = told(running);
    assert!(log.contains("culled the server ada/: idle"), "{log}");
    assert!(!log.contains("Culling server"), "{log}");
}

#[tokio::test]
async fn the_idle_culler_follows_the_pages_of_500_users() {
    // Administrators are not culled: they fill all pages, and who is to be found stands on the last one.
    let site = with_culler(
        ", \"--cull-users=true\", \"--cull-admin-users=false\", \"--api-page-size=50\"",
    );
    let running = site.serve().await;
    let mut tester = site.tester();
    let masters: Vec<String> = (0..499).map(|n| format!("master-{n:03}")).collect();
    for body in [
        json!({"usernames": masters, "admin": true}),
        json!({"usernames": ["student"]}),
    ] {
        let made = tester.api(Method::POST, "/users", Some(&body)).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let deadline = Instant::now() + CULL_LIMIT;
    while tester.api(Method::GET, "/users/student", None).await.status == 200 {
        assert!(Instant::now() < deadline, "not culled:\n{}", told(running));
        tokio::time::sleep(PAUSE).await;
    }
    let left = tester
        .api(Method::GET, "/users/master-498", None)
        .await
        .status;
    assert_eq!(left, 200);
    let log = told(running);
    assert!(log.contains("Culling user student"), "{log}");
}

#[tokio::test]
async fn no_token_of_a_service_is_in_the_list_of_processes() {
    let site = Site::with_whoami("");
    let _running = site.serve().await;
    site.await_service("/services/whoami/me").await;
    let pid = pid(&site, "whoami").await;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = text(&environment);
    let token = environment
        .split('\0')
        .find_map(|variable| variable.strip_prefix("JUPYTERHUB_API_TOKEN="))
        .unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(command) = std::fs::read(entry.path().join("cmdline")) {
            assert!(!text(&command).contains(token), "{}", text(&command));
        }
    }
}
