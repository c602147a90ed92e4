//! A real `jupyterhub-singleuser` that is shared: by code with one, with a group, and with nobody else.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use lyceum_core::GroupName;
use lyceum_store::{NewRole, RoleHolder};
use lyceum_testkit::wait::eventually;
use lyceum_testkit::{Answer, TestHub, Visitor};
use serde_json::json;

/// The first start of an environment may have to compile all of its Python files.
const START_LIMIT: Duration = Duration::from_mins(2);
/// What only those get who are in: the server itself answers, not the hub.
const INSIDE: &str = "/user/ada/api/status";

#[tokio::test]
async fn a_shared_server_opens_for_those_it_is_shared_with_until_that_ends() {
    let hub = real_hub().await;
    let mut ada = with_right_to_share(&hub).await;
    start(&mut ada).await;
    let mut bob = hub.user("bob").await;
    let mut eve = hub.user("eve").await;
    assert_eq!(open(&mut bob).await.status, 403);

    // By a code, on the page, with the button.
    let made = ada.api(Method::POST, "/share-codes/ada/", None).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let link = made.json()["accept_url"].as_str().unwrap().to_owned();
    let page = bob.get(&link).await;
    assert_eq!(page.status, 200, "{}", page.text());
    let accepted = submit(&mut bob, "/hub/accept-share", &page).await;
    assert_eq!((accepted.status, accepted.location()), (302, "/user/ada/"));
    let answer = open(&mut bob).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.json()["started"].is_string(), "{}", answer.text());
    // The page that people see, too.
    let lab = bob.follow("/user/ada/").await;
    assert_eq!(lab.status, 200, "{}", lab.text());
    assert!(lab.path.starts_with("/user/ada/lab"), "{}", lab.path);

    // Of a group's members, kim is one and eve is not.
    share_with_group(&hub, "class", "kim").await;
    let mut kim = hub.user("kim").await;
    let answer = open(&mut kim).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(open(&mut eve).await.status, 403);
    assert_eq!(eve.get("/hub/user/ada/").await.status, 404);

    // Out again, as soon as the server asks anew.
    let answer = ada
        .api(Method::PATCH, "/shares/ada/", Some(&json!({"user": "bob"})))
        .await;
    assert_eq!((answer.status, answer.json()), (200, json!({})));
    eventually("bob is out", async || bob.get(INSIDE).await.status == 403).await;
    let mut bob = hub.user("bob").await;
    assert_eq!(open(&mut bob).await.status, 403);
    assert_eq!(kim.get(INSIDE).await.status, 200);
    let answer = ada.api(Method::DELETE, "/shares/ada/", None).await;
    assert_eq!(answer.status, 204);
    eventually("kim is out", async || kim.get(INSIDE).await.status == 403).await;
    let mut ada = hub.user("ada").await;
    assert_eq!(open(&mut ada).await.status, 200);
}

/// A hub whose servers are those of JupyterHub itself; they remember for a second who somebody is.
async fn real_hub() -> TestHub {
    let environment = std::env::var_os("LYCEUM_TEST_PYENV")
        .map(PathBuf::from)
        .expect(
            "LYCEUM_TEST_PYENV has to name a Python environment with jupyterhub and jupyterlab; \
             `cargo xtask test` prepares one and sets it",
        );
    TestHub::builder()
        .settings(|settings| {
            settings.start_timeout = START_LIMIT;
            settings.http_timeout = START_LIMIT;
            settings.slow_spawn_timeout = Duration::ZERO;
        })
        .process(move |config| {
            config.command = vec!["jupyterhub-singleuser".to_owned()];
            config.args = vec![
                "--allow-root".to_owned(),
                "--HubOAuth.cache_max_age=1".to_owned(),
            ];
            let programs = environment.join("bin").display().to_string();
            config.path.insert(0, programs);
        })
        .start()
        .await
}

/// ada's browser; she may share her servers, which users may only if a role says so.
async fn with_right_to_share(hub: &TestHub) -> Visitor {
    let ada = hub.user_row("ada").await;
    let mut tx = hub.store().begin().await.unwrap();
    let role = NewRole {
        name: "sharers",
        description: "",
        scopes: &["shares!user".to_owned()],
        managed_by_auth: false,
    };
    let role = tx.upsert_role(role).await.unwrap();
    tx.grant_role(role.id, RoleHolder::User(ada.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut visitor = hub.user("ada").await;
    // The first page after the login sets the token of its forms and scripts.
    visitor.get("/hub/home").await;
    visitor
}

async fn start(ada: &mut Visitor) {
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text());
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let server = ada.api(Method::GET, "/users/ada/server", None).await.json();
        if server["ready"] == true {
            return;
        }
        assert_ne!(server["stopped"], true, "the start failed: {server}");
        assert!(Instant::now() < deadline, "no start in time: {server}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn share_with_group(hub: &TestHub, group: &str, member: &str) {
    let member = hub.user_row(member).await;
    let mut tx = hub.store().begin().await.unwrap();
    let name = GroupName::parse(group).unwrap();
    let row = tx.create_group(&name).await.unwrap();
    tx.add_member(row.id, member.id).await.unwrap();
    tx.commit().await.unwrap();
    let mut admin = hub.admin().await;
    admin.get("/hub/home").await;
    let body = json!({ "group": group });
    let answer = admin.api(Method::POST, "/shares/ada/", Some(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Opens ada's server as people do: from its page to the hub, there to the question whether the server may know who
/// they are, and back. Gives what they get then.
async fn open(visitor: &mut Visitor) -> Answer {
    let page = visitor.follow("/user/ada/lab").await;
    if page.status == 200 && page.path.contains("/oauth2/authorize") {
        let path = page.path.clone();
        let answer = submit(visitor, &path, &page).await;
        visitor.follow_on(answer).await;
    } else if page.status != 200 {
        return page;
    }
    visitor.get(INSIDE).await
}

/// Sends the form of a page, with all that is hidden in it.
async fn submit(visitor: &mut Visitor, path: &str, page: &Answer) -> Answer {
    let text = page.text();
    let mut form = form_urlencoded::Serializer::new(String::new());
    for input in text.split("<input type=\"hidden\" name=\"").skip(1) {
        let (name, rest) = input.split_once("\" value=\"").unwrap();
        let (value, _) = rest.split_once('"').unwrap();
        form.append_pair(name, &value.replace("&#x2f;", "/"));
    }
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    visitor.send(Method::POST, path, &kind, form.finish()).await
}
