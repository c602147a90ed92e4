//! The audit table: what gets into it, and what never does.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use lyceum_core::Secret;
use lyceum_core::seams::MadeForUser;
use lyceum_store::{AuditQuery, AuditRow};
use lyceum_testkit::fakes::{FakeSpawner, Start};
use lyceum_testkit::{Dummy, TestHub};
use serde_json::json;

async fn rows(hub: &TestHub) -> Vec<AuditRow> {
    let query = AuditQuery {
        limit: 1000,
        oldest_first: true,
        ..AuditQuery::default()
    };
    hub.store().list_audit(&query).await.unwrap()
}

/// Waits for the first event of a kind that is about somebody.
pub(crate) async fn row(hub: &TestHub, kind: &str, about: &str) -> AuditRow {
    let wait = async {
        loop {
            let rows = rows(hub).await;
            let found = rows
                .into_iter()
                .find(|row| row.kind == kind && row.about.as_deref() == Some(about));
            if let Some(row) = found {
                return row;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(20), wait).await;
    found.unwrap_or_else(|_| panic!("no {kind} about {about}"))
}

#[tokio::test]
async fn what_an_administrator_does_to_others_is_written_down() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder()
        .settings(|settings| settings.allow_named_servers = true)
        .spawner(spawner)
        .start()
        .await;
    let mut admin = hub.admin().await;
    let mut call = async |method: Method, path: &str, body: Option<serde_json::Value>| {
        let answer = admin.api(method, path, body.as_ref()).await;
        assert!(
            answer.status < 300,
            "{path}: {} {}",
            answer.status,
            answer.text()
        );
        answer
    };
    call(Method::POST, "/users/bob", None).await;
    let token = call(Method::POST, "/users/bob/tokens", None).await.json();
    let id = token["id"].as_str().unwrap();
    call(Method::DELETE, &format!("/users/bob/tokens/{id}"), None).await;
    let members = json!({"users": ["bob"]});
    call(Method::POST, "/groups/first", Some(members)).await;
    call(Method::POST, "/groups/class", None).await;
    let users = json!({"users": ["bob"]});
    call(Method::POST, "/groups/class/users", Some(users)).await;
    call(Method::POST, "/users/bob/server", None).await;
    call(Method::DELETE, "/users/bob/server", None).await;
    let lab = Some(json!({"display_name": "Lab"}));
    call(Method::PUT, "/users/bob/servers/lab", lab).await;
    let shared = json!({"user": "admin"});
    call(Method::POST, "/shares/bob/lab", Some(shared.clone())).await;
    let code = call(Method::POST, "/share-codes/bob/lab", Some(json!({}))).await;
    call(Method::PATCH, "/shares/bob/lab", Some(shared)).await;
    let renamed = Some(json!({"name": "lab2"}));
    call(Method::PATCH, "/users/bob/servers/lab", renamed).await;
    let remove = Some(json!({"remove": true}));
    call(Method::DELETE, "/users/bob/servers/lab2", remove).await;
    call(Method::PATCH, "/users/bob", Some(json!({"admin": true}))).await;
    call(Method::DELETE, "/users/bob", None).await;

    for (kind, actor) in [
        ("user-created", "admin"),
        ("token-created", "admin"),
        ("token-revoked", "admin"),
        ("group-changed", "admin"),
        ("server-start", "admin"),
        ("server-started", "-"),
        ("server-stop", "admin"),
        ("server-created", "admin"),
        ("share-changed", "admin"),
        ("server-changed", "admin"),
        ("server-deleted", "admin"),
        ("user-changed", "admin"),
        ("user-deleted", "admin"),
    ] {
        let row = row(&hub, kind, "bob").await;
        assert_eq!(row.actor, actor, "{row:?}");
    }
    let first = row(&hub, "group-changed", "bob").await;
    assert_eq!(first.detail["group"], "first", "{first:?}");
    let revoked = row(&hub, "token-revoked", "bob").await;
    assert_eq!(revoked.detail["id"], id);
    let changed = row(&hub, "user-changed", "bob").await;
    assert_eq!(changed.detail["admin"], true);
    let login = row(&hub, "login", "admin").await;
    assert_eq!(login.client_addr.as_deref(), Some("127.0.0.1"));
    // Nothing of it is a secret.
    let secret = token["token"].as_str().unwrap();
    let code = code.json()["code"].as_str().unwrap().to_owned();
    let all = format!("{:?}", rows(&hub).await);
    assert!(!all.contains(secret) && !all.contains(&code), "{all}");
    let changes: Vec<_> = rows(&hub).await;
    let changes = changes.iter().filter(|row| row.kind == "share-changed");
    let changes: Vec<_> = changes.map(|row| row.detail["change"].as_str()).collect();
    let expected = ["granted", "code-created", "revoked"];
    assert_eq!(changes, expected.map(Some));
}

#[tokio::test]
async fn opening_the_server_of_somebody_else_is_written_down_and_ones_own_is_not() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    let started = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(started.status, 201, "{}", started.text());
    assert_eq!(ada.follow("/user/ada/lab").await.status, 200);
    let mut admin = hub.admin().await;
    let own = rows(&hub).await;
    assert!(own.iter().all(|row| row.kind != "admin-access"), "{own:?}");
    let question = admin.follow("/user/ada/lab").await;
    assert!(
        question.path.contains("/oauth2/authorize"),
        "{}",
        question.path
    );
    let asked = rows(&hub).await;
    assert!(
        asked.iter().all(|row| row.kind != "admin-access"),
        "{asked:?}"
    );
    let scopes: Vec<String> = crate::oauth::fields(&question.text());
    let mut allowed: Vec<(&str, &str)> =
        scopes.iter().map(|one| ("scopes", one.as_str())).collect();
    allowed.push(("allow", "1"));
    let answer = admin.post_form(&question.path, &allowed).await;
    let opened = admin.follow_on(answer).await;
    let row = row(&hub, "admin-access", "ada").await;
    assert_eq!(row.actor, "admin", "{}", opened.text());
    assert_eq!(row.server.as_deref(), Some(""));
    assert_eq!(row.detail["what"], "server");
}

#[tokio::test]
async fn of_a_failed_login_only_what_can_be_a_name_is_kept() {
    let hub = TestHub::builder()
        .authenticator(Dummy::new(Some(&Secret::from("the right one"))))
        .start()
        .await;
    for name in ["ada", "hunter/2-typed-here", "", "Grace", &"n".repeat(100)] {
        hub.anonymous().log_in(name, "a wrong one").await;
    }
    hub.anonymous().log_in("last", "a wrong one").await;
    row(&hub, "login-failed", "last").await;
    let rows = rows(&hub).await;
    let failed: Vec<_> = rows
        .iter()
        .filter(|row| row.kind == "login-failed")
        .collect();
    let about: BTreeSet<_> = failed
        .iter()
        .map(|row| row.about.as_deref().unwrap_or("-"))
        .collect();
    let long = "n".repeat(64);
    assert_eq!(about, BTreeSet::from(["-", "ada", "grace", "last", &long]));
    assert!(
        failed
            .iter()
            .all(|row| row.actor == "-" && row.client_addr.is_some())
    );
    let all = format!("{rows:?}");
    assert!(
        !all.contains("hunter") && !all.contains("wrong one"),
        "{all}"
    );
}

#[tokio::test]
async fn nothing_is_written_where_it_is_switched_off() {
    let hub = TestHub::builder()
        .settings(|settings| settings.audit.enabled = false)
        .start()
        .await;
    hub.user("ada").await;
    hub.admin().await;
    assert_eq!(rows(&hub).await, []);
}

#[tokio::test]
async fn the_end_is_written_down_with_what_was_still_waiting() {
    let mut hub = TestHub::start().await;
    hub.user("ada").await;
    hub.end().await;
    hub.begin().await;
    let rows = rows(&hub).await;
    assert!(rows.iter().any(|row| row.kind == "shutdown"), "{rows:?}");
}

#[tokio::test]
async fn an_account_that_a_start_had_made_is_written_down() {
    let spawner = FakeSpawner::new().await;
    let hub = TestHub::builder().spawner(spawner.clone()).start().await;
    let mut ada = hub.user("ada").await;
    spawner.on_start(Start::Makes(MadeForUser {
        account: Some("ada".to_owned()),
        home: Some("/home/ada".into()),
        uid: 20001,
    }));
    let started = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(started.status, 201, "{}", started.text());
    let row = row(&hub, "account-created", "ada").await;
    assert_eq!(row.actor, "-");
    let expected = json!({"account": "ada", "home": "/home/ada", "uid": 20001});
    assert_eq!(row.detail, expected);
}
