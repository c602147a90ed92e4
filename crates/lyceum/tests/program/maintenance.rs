//! `lyceum maintenance`: who is kept out, who is not, and that a restart changes nothing.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use http::Method;
use lyceum_testkit::Visitor;

use crate::support::{PASSWORD, Site, output, text};

impl Site {
    fn maintenance(&self, args: &[&str]) -> String {
        let file = self.file_text();
        let all: Vec<&str> = ["maintenance"]
            .iter()
            .chain(args)
            .copied()
            .chain(["--config", &file])
            .collect();
        let output = output(&all);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    fn browser_of_nobody(&self) -> Visitor {
        Visitor::browser(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }

    async fn browser_of(&self, user: &str) -> Visitor {
        let mut visitor = self.browser_of_nobody();
        let answer = visitor.log_in(user, PASSWORD).await;
        assert_eq!(answer.status, 302, "{}", answer.text());
        visitor
    }
}

#[tokio::test]
async fn people_are_kept_out_and_administrators_are_not() {
    let site = Site::new();
    let config = std::fs::read_to_string(site.file()).unwrap();
    site.write(&config.replace(
        "allow_all = true",
        "allow_all = true\nadmin_users = [\"root\"]",
    ));
    let mut running = site.serve().await;
    let socket = site.dir.path().join("run/admin.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(site.maintenance(&["status"]), "open: no maintenance\n");

    let mut ada = site.browser_of("ada").await;
    let mut root = site.browser_of("root").await;
    assert_eq!(ada.get("/hub/home").await.status, 200);
    let args = ["on", "--message", "A new disk.", "--until", "2h"];
    let said = site.maintenance(&args);
    assert!(said.contains("people are told: A new disk."), "{said}");

    let closed = ada.get("/hub/home").await;
    assert_eq!(closed.status, 503);
    assert!(closed.text().contains("A new disk."), "{}", closed.text());
    let seconds: u64 = closed.header("retry-after").parse().unwrap();
    assert!((7_000..=7_200).contains(&seconds), "{seconds}");
    let api = ada.api(Method::GET, "/user", None).await;
    assert_eq!(api.json()["message"], "A new disk.");
    assert_eq!(root.get("/hub/home").await.status, 200);
    // Nobody else gets in, not even to be told.
    let mut bob = site.browser_of_nobody();
    let refused = bob.log_in("bob", PASSWORD).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(bob.cookie("jupyterhub-hub-login"), "");

    // A restart changes nothing.
    running.signal("-KILL");
    running.wait();
    let _running = site.serve().await;
    assert_eq!(ada.get("/hub/home").await.status, 503);
    assert!(site.maintenance(&["off"]).starts_with("open"));
    assert_eq!(ada.get("/hub/home").await.status, 200);

    // Whoever is allowed notices nothing.
    site.maintenance(&["on", "--allow", "127.0.0.0/8"]);
    assert_eq!(ada.get("/hub/home").await.status, 200);
}

#[tokio::test]
async fn running_servers_go_on_if_that_is_wanted_and_no_new_ones_start() {
    let site = Site::new();
    let running = site.serve().await;
    let mut ada = site.browser_of("ada").await;
    let started = ada.api(Method::POST, "/users/ada/server", None).await;
    assert!(started.status < 300, "{}", started.text());
    running.await_server("ada").await;
    site.maintenance(&["on", "--keep-sessions"]);
    running.await_server("ada").await;
    assert_eq!(ada.get("/hub/home").await.status, 200);
    let second = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(second.status, 503, "{}", second.text());
    assert_eq!(ada.get("/hub/spawn").await.status, 503);
    site.maintenance(&["on"]);
    let closed = running.get("/user/ada/api", "").await;
    assert_eq!(closed.status(), 503);
    site.maintenance(&["off"]);
    running.await_server("ada").await;
}

#[test]
fn without_a_running_lyceum_it_says_so() {
    let site = Site::new();
    let file = site.file_text();
    let output = output(&["maintenance", "status", "--config", &file]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("no running Lyceum"), "{said}");
    assert!(said.contains("hint:"), "{said}");
}
