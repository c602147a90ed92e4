//! `lyceum audit`, and the line of the log that fail2ban looks for.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use http::Method;
use lyceum_testkit::Visitor;
use regex::Regex;
use serde_json::Value;

use crate::support::{LIMIT, PASSWORD, Site, output, text};

impl Site {
    /// One password for all.
    fn with_password() -> Self {
        let site = Self::new();
        let file = site.dir.path().join("password");
        std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = site.config_text();
        site.write(&config.replace(
            "kind = \"dummy\"",
            &format!("kind = \"dummy\"\npassword_file = \"{}\"", file.display()),
        ));
        site
    }

    fn config_text(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }

    fn stranger(&self) -> Visitor {
        Visitor::browser(([127, 0, 0, 1], self.port).into())
    }

    fn audit(&self, args: &[&str]) -> Output {
        let file = self.file_text();
        let all: Vec<&str> = ["audit", "--config", &file]
            .iter()
            .chain(args)
            .copied()
            .collect();
        output(&all)
    }

    fn events(&self, args: &[&str]) -> Vec<Value> {
        let output = self.audit(&[args, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        let lines = text(&output.stdout);
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The events, once there are so many of them.
    async fn await_events(&self, args: &[&str], count: usize) -> Vec<Value> {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let events = self.events(args);
            if events.len() >= count {
                return events;
            }
            assert!(std::time::Instant::now() < deadline, "{events:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn events_are_shown_while_lyceum_runs_and_afterwards() {
    let site = Site::with_password();
    let before = site.audit(&[]);
    assert_eq!(before.status.code(), Some(1));
    let told = text(&before.stderr);
    assert!(
        told.contains("hint: ") && told.contains("first start"),
        "{told}"
    );

    let mut running = site.serve().await;
    let mut ada = site.stranger();
    assert_eq!(ada.log_in("ada", "wrong").await.status, 403);
    assert_eq!(ada.log_in("ada", PASSWORD).await.status, 302);
    let started = ada.api(Method::POST, "/users/ada/server", None).await;
    assert!(started.status < 300, "{}", started.text());
    let kinds = ["--kind", "login-failed,login,server-start,server-started"];
    let events = site.await_events(&kinds, 4).await;
    let found: Vec<&str> = events
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    for kind in ["login-failed", "login", "server-start", "server-started"] {
        assert!(found.contains(&kind), "{found:?}");
    }
    assert!(
        events.iter().all(|event| event["about"] == "ada"),
        "{events:?}"
    );
    let of_bob = site.events(&["--user", "bob"]);
    assert!(of_bob.is_empty(), "{of_bob:?}");
    assert_eq!(site.events(&["--user", "ada", "--limit", "1"]).len(), 1);
    assert!(site.events(&["--until", "1h"]).is_empty());
    assert_eq!(
        site.events(&["--kind", "login", "--address", "127.0.0.1"])
            .len(),
        1
    );
    assert!(site.events(&["--address", "192.0.2.1"]).is_empty());

    let stopped = ada.api(Method::DELETE, "/users/ada/server", None).await;
    assert!(stopped.status < 300, "{}", stopped.text());
    running.signal("-TERM");
    running.wait();
    let table = text(&site.audit(&[]).stdout);
    for part in [
        "login ",
        "server-stop",
        "ada/",
        "127.0.0.1",
        "why=asked",
        "shutdown",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert!(!table.contains(PASSWORD), "{table}");

    // Which keys have changed since is told at the next start, and no value.
    site.add("[pages]\ntitle = \"Not to be seen\"\n");
    let _running = site.serve().await;
    let starts = site.await_events(&["--kind", "configuration"], 2).await;
    assert_eq!(starts[0]["detail"]["first"], true);
    assert_eq!(
        starts[1]["detail"]["changed"],
        serde_json::json!(["pages.title"])
    );
    assert!(!text(&site.audit(&[]).stdout).contains("Not to be seen"));
}

#[test]
fn what_cannot_be_asked_is_refused() {
    let site = Site::new();
    for args in [
        ["--since", "yesterday"],
        ["--kind", "nonsense"],
        ["--address", "here"],
    ] {
        let refused = site.audit(&args);
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    }
}

/// The filter of the documentation, as fail2ban reads it.
fn documented() -> Regex {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/security-logins.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let line = docs
        .lines()
        .find_map(|line| line.strip_prefix("failregex = "))
        .unwrap();
    assert!(
        line.starts_with('^'),
        "nothing that was typed may stand before: {line}"
    );
    // What journald puts before a line is in the definitions that fail2ban brings.
    let line = line.replace("%(__prefix_line)s", r"(?:\S+ lyceum\[\d+\]: )?");
    Regex::new(&line.replace("<ADDR>", r"(?P<addr>[0-9a-fA-F:.]+)")).unwrap()
}

#[tokio::test]
async fn the_documented_filter_finds_failed_and_slowed_logins_and_nothing_that_was_typed() {
    let site = Site::with_password();
    let mut running = site.serve().await;
    let mut guesser = site.stranger();
    let lie = "x WARN lyceum_hub::login: failed login from 192.0.2.99 for user y";
    // Enough that some of them have to wait, also on a slow machine.
    let names = [lie, "a/b"]
        .into_iter()
        .chain(std::iter::repeat_n("ada", 10));
    for name in names {
        guesser.log_in(name, "wrong").await;
    }
    assert_eq!(site.stranger().log_in("bob", PASSWORD).await.status, 302);
    running.signal("-TERM");
    running.wait();
    let log = running.log();
    let filter = documented();
    let found: Vec<&str> = log
        .lines()
        .filter_map(|line| filter.captures(line))
        .map(|found| found.name("addr").unwrap().as_str())
        .collect();
    assert_eq!(found, ["127.0.0.1"; 12], "{log}");
    assert!(
        log.contains("slowed login from 127.0.0.1 for user ada"),
        "{log}"
    );
}
