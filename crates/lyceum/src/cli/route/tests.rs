//! What is told of requests, for a configuration with one service of each kind.

use clap::Parser as _;
use insta::assert_snapshot;

use super::*;

const CONFIG: &str = r#"
[hub]
public_url = "https://hub.example.org"
[gateway]
canonical_host = "hub.example.org"
https_redirect = true
[auth]
kind = "dummy"
[access]
allow_all = true
admin_users = ["root"]
[groups.class]
users = ["ada"]

[[services]]
name = "rstudio"
prefix = "/r/"
url = "http://127.0.0.1:8787"
kind = "rstudio"
access = { groups = ["class"], networks = ["10.0.0.0/8"] }
max_body = "50M"
request_headers = { X-Course = "statistics" }
response_headers = { X-Frame-Options = "DENY" }

[[services]]
name = "admin"
prefix = "/r/admin/"
url = "unix:/run/admin.sock"
kind = "generic"

[[services]]
name = "old"
prefix = "/old/"
kind = "redirect"
redirect_to = "/r/"
access = "public"

[[services]]
name = "forum"
url = "http://127.0.0.1:10101"
"#;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    args: TestArgs,
}

fn told(line: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lyceum.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let file = file.display().to_string();
    let line = ["test"]
        .iter()
        .chain(line)
        .copied()
        .chain(["--config", &file]);
    let command = Command::parse_from(line);
    match test(&command.args) {
        Ok(text) => text,
        Err(report) => format!("{report:?}"),
    }
}

#[test]
fn an_application_is_told_its_place_and_its_visitor() {
    let line = ["/r/auth-sign-in?x=%2F", "--as", "Ada", "--from", "10.1.2.3"];
    assert_snapshot!(told(&line));
}

#[test]
fn whoever_may_not_come_learns_why() {
    assert_snapshot!(told(&["/r/", "--as", "bob", "--from", "203.0.113.9"]));
}

#[test]
fn what_somebody_claims_of_themselves_goes_no_further() {
    let line = [
        "/r/admin/x",
        "--method",
        "post",
        "--header",
        "X-Forwarded-User: root",
        "--header",
        "Accept: text/html",
        "--as",
        "root",
    ];
    assert_snapshot!(told(&line));
}

#[test]
fn other_rules_are_told_as_well() {
    let check = |url: &str, expected: &str| {
        let text = told(&[url]);
        assert!(text.contains(expected), "{url}: {text}");
    };
    check("/old/a/b?c", "sends the browser to /r/a/b?c (status 302)");
    check("/r", "the browser is sent to /r/ first");
    check("/services/forum/x", "> /services/forum/");
    check("/user/ada/lab", "> /user/ada/");
    check("/hub/home", "> /                        the hub");
    check(
        "http://10.0.0.7/r/",
        "the browser is sent to https://hub.example.org/r/ first",
    );
    check("ftp://x/", "is not the address of a page");
}
