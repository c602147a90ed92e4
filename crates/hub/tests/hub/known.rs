//! What the hub remembers of who asks is never told once it was taken away, and is told without the database.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Method;
use lyceum_core::ids::TokenId;
use lyceum_core::scope::{Access, Scope, Target};
use lyceum_core::{GroupName, Secret, ServerName, ServiceName, Timestamp, UserName, token};
use lyceum_hub::Principal;
use lyceum_hub::permit::ReadUser;
use lyceum_store::{NewRole, NewToken, ReceiverId, RoleHolder, ServiceData, TokenOwner, Tx};
use lyceum_testkit::TestHub;
use lyceum_testkit::fakes::FakeClock;
use serde_json::{Map, json};

/// Stores a token with all its owner's rights.
async fn add_token(
    hub: &TestHub,
    user: &str,
    expires_at: Option<Timestamp>,
) -> (TokenId, Secret<String>) {
    let user = hub.user_row(user).await;
    let secret = token::new_token();
    let mut tx = hub.store().begin().await.unwrap();
    let new = NewToken {
        secret: &secret,
        owner: TokenOwner::User(user.id),
        client_id: None,
        session_id: None,
        server_id: None,
        scopes: &["inherit".to_owned()],
        note: "",
        created: hub.hub().now(),
        expires_at,
    };
    let made = tx.create_token(new).await.unwrap();
    tx.commit().await.unwrap();
    (made.id, secret)
}

async fn who(hub: &TestHub, secret: &Secret<String>) -> Option<Principal> {
    hub.hub().principal_of_token(secret).await.unwrap()
}

async fn write(hub: &TestHub, change: impl AsyncFnOnce(&mut Tx)) {
    let mut tx = hub.store().begin().await.unwrap();
    change(&mut tx).await;
    tx.commit().await.unwrap();
}

fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

fn role(scopes: &[String]) -> NewRole<'_> {
    NewRole {
        name: "teacher",
        description: "",
        scopes,
        managed_by_auth: false,
    }
}

/// Whether somebody may do something to every user.
fn may(principal: &Principal, scope: Scope) -> bool {
    let any = Target::Any;
    principal.scopes().check_any(&[scope], any) == Access::Allowed
}

#[tokio::test]
async fn who_was_found_is_told_again_without_the_database() {
    let hub = TestHub::builder().without_background().start().await;
    let (_, secret) = add_token(&hub, "ada", None).await;
    assert!(who(&hub, &secret).await.is_some());
    hub.store().close().await;
    let ada = who(&hub, &secret).await.unwrap();
    assert_eq!(ada.name(), "ada");
    let unknown = hub.hub().principal_of_token(&token::new_token()).await;
    assert!(unknown.is_err(), "what was not found is asked for again");
}

#[tokio::test]
async fn a_revoked_token_proves_nothing_from_then_on() {
    let hub = TestHub::start().await;
    let (id, secret) = add_token(&hub, "ada", None).await;
    assert!(who(&hub, &secret).await.is_some());
    write(&hub, async |tx| assert!(tx.delete_token(id).await.unwrap())).await;
    assert!(who(&hub, &secret).await.is_none());
}

#[tokio::test]
async fn a_token_ends_at_its_instant_remembered_or_not() {
    let clock = Arc::new(FakeClock::new());
    let hub = TestHub::builder().clock(&clock).start().await;
    let ends = hub.hub().now() + Duration::from_secs(10);
    let (_, secret) = add_token(&hub, "ada", Some(ends)).await;
    assert!(who(&hub, &secret).await.is_some());
    clock.advance(Duration::from_millis(9999));
    assert!(who(&hub, &secret).await.is_some());
    clock.advance(Duration::from_millis(1));
    assert!(who(&hub, &secret).await.is_none());
}

#[tokio::test]
async fn a_deleted_users_tokens_prove_nothing_and_a_renamed_ones_the_new_name() {
    let hub = TestHub::start().await;
    let (_, secret) = add_token(&hub, "ada", None).await;
    let ada = who(&hub, &secret).await.unwrap();
    let id = ada.user().unwrap().id;
    write(&hub, async |tx| {
        tx.rename_user(id, &name("eve")).await.unwrap();
    })
    .await;
    let eve = who(&hub, &secret).await.unwrap();
    assert_eq!(eve.name(), "eve");
    let admin = hub.user_row("root").await;
    write(&hub, async |tx| tx.set_admin(admin.id, true).await.unwrap()).await;
    let (_, root) = add_token(&hub, "root", None).await;
    let root = who(&hub, &root).await.unwrap();
    let known = hub.hub().permit_user::<ReadUser>(&root, "eve").await;
    assert_eq!(known.unwrap().user().id, id);
    let old = hub.hub().permit_user::<ReadUser>(&root, "ada").await;
    assert!(old.is_err());
    write(&hub, async |tx| assert!(tx.delete_user(id).await.unwrap())).await;
    assert!(who(&hub, &secret).await.is_none());
    let gone = hub.hub().permit_user::<ReadUser>(&root, "eve").await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn changes_of_rights_are_seen_at_once() {
    let hub = TestHub::start().await;
    let (_, secret) = add_token(&hub, "ada", None).await;
    let reads_all = async || may(&who(&hub, &secret).await.unwrap(), Scope::ReadUsers);
    assert!(!reads_all().await);
    let ada = hub.user_row("ada").await.id;

    write(&hub, async |tx| tx.set_admin(ada, true).await.unwrap()).await;
    assert!(reads_all().await, "an administrator");
    write(&hub, async |tx| tx.set_admin(ada, false).await.unwrap()).await;
    assert!(!reads_all().await, "no administrator");

    let scopes = ["read:users".to_owned()];
    write(&hub, async |tx| {
        let teacher = tx.upsert_role(role(&scopes)).await.unwrap();
        tx.grant_role(teacher.id, RoleHolder::User(ada))
            .await
            .unwrap();
    })
    .await;
    assert!(reads_all().await, "a role");
    write(&hub, async |tx| {
        tx.upsert_role(role(&[])).await.unwrap();
    })
    .await;
    assert!(!reads_all().await, "a role that can do nothing now");

    let class = GroupName::parse("class").unwrap();
    write(&hub, async |tx| {
        let teacher = tx.upsert_role(role(&scopes)).await.unwrap();
        tx.revoke_role(teacher.id, RoleHolder::User(ada))
            .await
            .unwrap();
        let group = tx.create_group(&class).await.unwrap();
        tx.grant_role(teacher.id, RoleHolder::Group(group.id))
            .await
            .unwrap();
    })
    .await;
    assert!(!reads_all().await, "a role of others");
    let group = hub.store().get_group(&class).await.unwrap().id;
    write(&hub, async |tx| {
        assert!(tx.add_member(group, ada).await.unwrap());
    })
    .await;
    assert!(reads_all().await, "in the group");
    let principal = who(&hub, &secret).await.unwrap();
    assert_eq!(principal.groups(), std::slice::from_ref(&class));
    write(&hub, async |tx| {
        assert!(tx.remove_member(group, ada).await.unwrap());
    })
    .await;
    assert!(!reads_all().await, "out of the group");
    let principal = who(&hub, &secret).await.unwrap();
    assert_eq!(principal.groups(), []);
}

#[tokio::test]
async fn what_is_told_of_somebody_is_told_as_it_is_now() {
    let hub = TestHub::start().await;
    let ada = hub.user_row("ada").await.id;
    let mut root = hub.admin().await;
    let mut told = async || {
        root.api(Method::GET, "/users/ada?include_stopped_servers", None)
            .await
            .json()
    };
    let before = told().await;
    assert_eq!(before["groups"], json!([]));
    assert_eq!(before["roles"], json!(["user"]));
    assert_eq!(before["servers"], json!({}));

    let class = GroupName::parse("class").unwrap();
    let now = hub.hub().now();
    let named = |name: &str| ServerName::parse(name).unwrap();
    write(&hub, async |tx| {
        let group = tx.create_group(&class).await.unwrap();
        tx.add_member(group.id, ada).await.unwrap();
        let role = tx.upsert_role(role(&[])).await.unwrap();
        tx.grant_role(role.id, RoleHolder::User(ada)).await.unwrap();
        tx.ensure_server(ada, &named("lab"), now).await.unwrap();
    })
    .await;
    let after = told().await;
    assert_eq!(after["groups"], json!(["class"]));
    assert_eq!(after["roles"], json!(["teacher", "user"]));
    assert_eq!(after["servers"]["lab"]["display_name"], json!("lab"));

    let row = hub.server_row("ada", "lab").await.unwrap().id;
    write(&hub, async |tx| {
        tx.set_display_name(row, Some("My lab")).await.unwrap();
    })
    .await;
    assert_eq!(
        told().await["servers"]["lab"]["display_name"],
        json!("My lab")
    );
    write(&hub, async |tx| {
        assert!(tx.delete_server(row).await.unwrap());
        let group = tx.get_group(&class).await.unwrap();
        assert!(tx.delete_group(group.id).await.unwrap());
        let role = tx.get_role("teacher").await.unwrap();
        assert!(tx.delete_role(role.id).await.unwrap());
    })
    .await;
    assert_eq!(told().await, before);
}

#[tokio::test]
async fn the_roles_of_a_service_are_told_as_they_are_now() {
    let hub = TestHub::start().await;
    let secret = token::new_token();
    let data = ServiceData {
        name: ServiceName::parse("culler").unwrap(),
        admin: true,
        url: None,
        info: Map::new(),
        display: false,
        oauth_no_confirm: false,
        from_config: false,
        command: Vec::new(),
        oauth_client_allowed_scopes: Vec::new(),
    };
    write(&hub, async |tx| {
        let service = tx.upsert_service(&data).await.unwrap();
        tx.create_token(NewToken {
            secret: &secret,
            owner: TokenOwner::Service(service.id),
            client_id: None,
            session_id: None,
            server_id: None,
            scopes: &["inherit".to_owned()],
            note: "",
            created: hub.hub().now(),
            expires_at: None,
        })
        .await
        .unwrap();
    })
    .await;
    let mut culler = hub.program(secret.expose());
    let mut roles = async || culler.api(Method::GET, "/user", None).await.json()["roles"].clone();
    assert_eq!(roles().await, json!(["admin"]));
    let id = hub
        .store()
        .find_service(&data.name)
        .await
        .unwrap()
        .unwrap()
        .id;
    write(&hub, async |tx| {
        let role = tx.upsert_role(role(&[])).await.unwrap();
        tx.grant_role(role.id, RoleHolder::Service(id))
            .await
            .unwrap();
    })
    .await;
    assert_eq!(roles().await, json!(["admin", "teacher"]));
    write(&hub, async |tx| {
        let role = tx.get_role("teacher").await.unwrap();
        assert!(
            tx.revoke_role(role.id, RoleHolder::Service(id))
                .await
                .unwrap()
        );
    })
    .await;
    assert_eq!(roles().await, json!(["admin"]));
}

#[tokio::test]
async fn a_share_is_there_from_its_grant_to_its_end() {
    let clock = Arc::new(FakeClock::new());
    let hub = TestHub::builder().clock(&clock).start().await;
    let bob = hub.user_row("bob").await;
    let ada = hub.user_row("ada").await;
    let (_, secret) = add_token(&hub, "ada", None).await;
    let can_enter = async || {
        let principal = who(&hub, &secret).await.unwrap();
        let server = Target::Server {
            user: "bob",
            server: "",
            groups: &[],
        };
        let access = principal
            .scopes()
            .check_any(&[Scope::AccessServers], server);
        access == Access::Allowed
    };
    assert!(!can_enter().await);
    let with = ReceiverId::User(ada.id);
    let scopes = ["access:servers".to_owned()];
    let now = hub.hub().now();
    let default = ServerName::default_server();
    let mut server = None;
    write(&hub, async |tx| {
        let (row, _) = tx.ensure_server(bob.id, &default, now).await.unwrap();
        tx.grant_share(row.id, with, &scopes, now).await.unwrap();
        server = Some(row.id);
    })
    .await;
    let server = server.unwrap();
    assert!(can_enter().await);
    write(&hub, async |tx| {
        let all: Option<&BTreeSet<String>> = None;
        tx.revoke_share(server, with, all, now).await.unwrap();
    })
    .await;
    assert!(!can_enter().await);
    let ends = now + Duration::from_mins(1);
    write(&hub, async |tx| {
        tx.grant_share(server, with, &scopes, now).await.unwrap();
        tx.end_share_at(server, with, Some(ends)).await.unwrap();
    })
    .await;
    assert!(can_enter().await);
    clock.advance(Duration::from_secs(59));
    assert!(can_enter().await);
    clock.advance(Duration::from_secs(1));
    assert!(!can_enter().await);
}

#[tokio::test]
async fn a_logout_ends_the_login_and_its_tokens() {
    let hub = TestHub::start().await;
    let mut ada = hub.user("ada").await;
    assert_eq!(ada.get("/hub/home").await.status, 200);
    assert_eq!(ada.get("/hub/home").await.status, 200);
    let row = hub.user_row("ada").await;
    write(&hub, async |tx| {
        assert_eq!(tx.delete_sessions_of_user(row.id).await.unwrap(), 1);
    })
    .await;
    assert_eq!(ada.get("/hub/home").await.status, 302);
}

#[tokio::test]
async fn the_use_of_what_is_remembered_is_written_down() {
    let clock = Arc::new(FakeClock::new());
    let mut hub = TestHub::builder().clock(&clock).start().await;
    let (id, secret) = add_token(&hub, "ada", None).await;
    who(&hub, &secret).await.unwrap();
    clock.advance(Duration::from_hours(1));
    who(&hub, &secret).await.unwrap();
    let used = hub.hub().now();
    hub.end().await;
    hub.begin().await;
    let row = hub.store().find_token_by_id(id).await.unwrap().unwrap();
    assert_eq!(row.last_activity, Some(used));
    assert_eq!(hub.user_row("ada").await.last_activity, Some(used));
}

/// Many ask with tokens while these are revoked one after the other: nobody is let in after the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_lives_on_in_memory_while_many_ask_with_it() {
    const TOKENS: usize = 40;
    const ASKERS: usize = 6;
    let hub = Arc::new(TestHub::start().await);
    let mut all = Vec::new();
    for _ in 0..TOKENS {
        let (id, secret) = add_token(&hub, "ada", None).await;
        all.push((id, secret, AtomicBool::new(false)));
    }
    let all = Arc::new(all);
    let mut askers = tokio::task::JoinSet::new();
    for asker in 0..ASKERS {
        let (hub, all) = (Arc::clone(&hub), Arc::clone(&all));
        askers.spawn(async move {
            let mut number = asker;
            let mut let_in = 0;
            while !all
                .iter()
                .all(|(_, _, revoked)| revoked.load(Ordering::SeqCst))
            {
                let (_, secret, revoked) = &all[number % TOKENS];
                let was_revoked = revoked.load(Ordering::SeqCst);
                let found = who(&hub, secret).await.is_some();
                assert!(!(was_revoked && found), "a revoked token was let in");
                let_in += i32::from(found);
                number += 1;
            }
            let_in
        });
    }
    for (id, _, revoked) in all.iter() {
        write(&hub, async |tx| {
            assert!(tx.delete_token(*id).await.unwrap());
        })
        .await;
        revoked.store(true, Ordering::SeqCst);
    }
    let done = tokio::time::timeout(Duration::from_mins(1), askers.join_all());
    let let_in: i32 = done.await.unwrap().iter().sum();
    assert!(let_in > 0, "nobody was ever let in");
    for (_, secret, _) in all.iter() {
        assert!(who(&hub, secret).await.is_none());
    }
}
