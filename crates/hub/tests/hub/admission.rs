//! Who may log in by groups and patterns, and who becomes an administrator by them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use http::Method;
use lyceum_core::limits::{NamedServerRules, NamedServers};
use lyceum_core::seams::{Attempt, AuthError, Authenticator, Identity, Step};
use lyceum_core::{GroupName, NamePattern, UserName};
use lyceum_hub::{Access, Profile, Profiles};
use lyceum_store::NewRole;
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::FakeSpawner;
use serde_json::json;

/// Admits everybody, and says that they are in these groups.
#[derive(Debug, Clone, Default)]
struct Teller(Arc<Mutex<Option<Vec<GroupName>>>>);

impl Teller {
    fn says(&self, groups: Option<&[&str]>) {
        *self.0.lock().unwrap() = groups.map(|groups| groups.iter().map(|g| group(g)).collect());
    }
}

#[async_trait]
impl Authenticator for Teller {
    fn kind(&self) -> &'static str {
        "teller"
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        Ok(Step::Identity(Identity {
            name: attempt.username,
            groups: self.0.lock().unwrap().clone(),
            ..Identity::default()
        }))
    }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

fn patterns(texts: &[&str]) -> Vec<NamePattern> {
    texts
        .iter()
        .map(|text| NamePattern::parse(text).unwrap())
        .collect()
}

async fn start(teller: &Teller, manage_groups: bool, access: Access) -> TestHub {
    TestHub::builder()
        .settings(move |settings| {
            settings.access = access;
            settings.manage_groups = manage_groups;
        })
        .authenticator(teller.clone())
        .start()
        .await
}

async fn status(hub: &TestHub, name: &str) -> u16 {
    hub.anonymous().log_in(name, "").await.status
}

async fn put_into(hub: &TestHub, name: &str, into: &str) {
    let row = hub.user_row(name).await;
    let mut tx = hub.store().begin().await.unwrap();
    let found = match tx.find_group(&group(into)).await.unwrap() {
        Some(found) => found,
        None => tx.create_group(&group(into)).await.unwrap(),
    };
    tx.add_member(found.id, row.id).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn groups_of_the_login_method_and_of_the_hub_admit_and_block() {
    let teller = Teller::default();
    let access = Access {
        allowed_groups: [group("students"), group("class")].into(),
        blocked_groups: [group("graduates"), group("banned")].into(),
        ..Access::default()
    };
    let hub = start(&teller, false, access).await;
    for (groups, expected) in [
        (None, 403),
        (Some(&[][..]), 403),
        (Some(&["staff"]), 403),
        (Some(&["staff", "students"]), 302),
        (Some(&["students", "graduates"]), 403),
    ] {
        teller.says(groups);
        assert_eq!(status(&hub, "ada").await, expected, "{groups:?}");
    }
    // Also those that an administrator has put them into.
    teller.says(None);
    put_into(&hub, "bob", "class").await;
    assert_eq!(status(&hub, "bob").await, 302);
    put_into(&hub, "bob", "banned").await;
    assert_eq!(status(&hub, "bob").await, 403);
}

#[tokio::test]
async fn a_group_that_the_login_method_takes_away_does_not_admit_once_more() {
    let teller = Teller::default();
    let access = Access {
        allowed_groups: [group("students")].into(),
        ..Access::default()
    };
    let hub = start(&teller, true, access).await;
    teller.says(Some(&["students"]));
    assert_eq!(status(&hub, "ada").await, 302);
    teller.says(Some(&[]));
    assert_eq!(
        status(&hub, "ada").await,
        403,
        "the hub still has her in it"
    );
}

#[tokio::test]
async fn patterns_match_whole_names_and_blocking_ends_logins_and_tokens() {
    let teller = Teller::default();
    let access = Access {
        allowed_patterns: patterns(&["s[0-9]{3}", "guest.*"]),
        ..Access::default()
    };
    let mut hub = start(&teller, false, access).await;
    for (name, expected) in [
        ("s123", 302),
        ("S124", 302),
        ("s1234", 403),
        ("xs123", 403),
        ("guest-x", 302),
    ] {
        assert_eq!(status(&hub, name).await, expected, "{name}");
    }
    let mut guest = hub.user("guest-1").await;
    let mut program = hub.token("guest-1", &["inherit"]).await;
    hub.change_settings(|settings| settings.access.blocked_patterns = patterns(&["guest.*"]));
    hub.restart().await;
    assert_eq!(status(&hub, "guest-1").await, 403);
    for visitor in [&mut guest, &mut program] {
        let answer = visitor.api(Method::GET, "/user", None).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
}

#[tokio::test]
async fn groups_make_and_unmake_administrators_but_not_those_who_are_named() {
    let teller = Teller::default();
    let access = Access {
        allow_all: true,
        admin_users: [user("root")].into(),
        admin_groups: [group("staff")].into(),
        ..Access::default()
    };
    let hub = start(&teller, false, access).await;
    for (name, groups, admin) in [
        ("ada", Some(&["staff"][..]), true),
        // The login method says nothing: it stays.
        ("ada", None, true),
        ("ada", Some(&["students"]), false),
        ("root", Some(&["students"]), true),
        ("bob", Some(&[]), false),
    ] {
        teller.says(groups);
        assert_eq!(status(&hub, name).await, 302);
        assert_eq!(hub.user_row(name).await.admin, admin, "{name} {groups:?}");
    }
}

#[test]
fn being_an_administrator_by_group_does_not_admit() {
    let access = Access {
        admin_groups: [group("staff")].into(),
        ..Access::default()
    };
    let groups = [group("staff")];
    assert!(!access.admits(&user("ada"), true, &groups.clone().into()));
    assert_eq!(access.makes_admin(&user("ada"), Some(&groups)), Some(true));
}

#[tokio::test]
async fn groups_that_the_login_method_tells_of_open_what_is_configured_for_them_and_give_no_rights()
{
    let teller = Teller::default();
    let profile = |name: &str, groups: Option<&str>| Profile {
        name: name.to_owned(),
        groups: groups.map(|name| [group(name)].into()),
        ..Profile::default()
    };
    let profiles = Profiles::new(vec![profile("gpu", Some("staff")), profile("small", None)]);
    let access = Access {
        allow_all: true,
        ..Access::default()
    };
    let rules = NamedServerRules {
        groups: [(group("staff"), NamedServers::UpTo(1))].into(),
        ..NamedServerRules::default()
    };
    let hub = TestHub::builder()
        .settings(move |settings| {
            settings.access = access;
            settings.profiles = profiles;
            settings.named_server_rules = rules;
        })
        .authenticator(teller.clone())
        .spawner(FakeSpawner::new().await)
        .start()
        .await;
    // What the hub gives its own group of that name is not for those whom somebody else calls so.
    put_into_role(&hub, "staff").await;
    let gpu = json!({"profile": "gpu"});
    for (told, allowed) in [(Some(&["staff"][..]), true), (None, false)] {
        teller.says(told);
        let mut ada = hub.user("ada").await;
        let page = ada.get("/hub/spawn").await.text();
        let answer = ada.api(Method::POST, "/users/ada/server", Some(&gpu)).await;
        let lab = ada.api(Method::PUT, "/users/ada/servers/lab", None).await;
        if allowed {
            assert!(page.contains("gpu"), "{page}");
            assert_eq!(answer.status, 201, "{}", answer.text());
            assert_eq!(lab.status, 201, "{}", lab.text());
            let stopped = ada.api(Method::DELETE, "/users/ada/server", None).await;
            assert_eq!(stopped.status, 204, "{}", stopped.text());
        } else {
            assert_eq!(answer.status, 400, "{}", answer.text());
        }
        let me = ada.api(Method::GET, "/user", None).await.json();
        assert_eq!(me["groups"], json!([]), "{me}");
        let users = ada.api(Method::GET, "/users", None).await;
        assert_eq!(users.status, 403, "{}", users.text());
    }
    let started = crate::audit::row(&hub, "server-start", "ada").await;
    assert_eq!(started.detail["profile"], "gpu");
    let told = crate::audit::row(&hub, "group-changed", "ada").await;
    assert_eq!(told.detail["change"], "told");
    assert_eq!(told.detail["groups"], json!(["staff"]));
}

/// Lets members of a group of the hub see all users.
async fn put_into_role(hub: &TestHub, name: &str) {
    let mut tx = hub.store().begin().await.unwrap();
    let found = tx.create_group(&group(name)).await.unwrap();
    let role = tx
        .upsert_role(NewRole {
            name: "lists",
            description: "",
            scopes: &["list:users".to_owned()],
            managed_by_auth: false,
        })
        .await
        .unwrap();
    tx.set_role_groups(role.id, &[found.id]).await.unwrap();
    tx.commit().await.unwrap();
}
