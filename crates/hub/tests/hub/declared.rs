//! Roles and groups of the configuration, applied at each start.

use lyceum_core::declared::{Declared, DeclaredGroup, DeclaredRole};
use lyceum_core::scope::{Catalogue, CustomScope, RoleName, Scope};
use lyceum_core::service::{ServiceDraft, ServiceSpec};
use lyceum_core::{GroupName, ServiceName, UserName};
use lyceum_store::{AuditQuery, AuditRow, NewRole, RoleHolder};
use lyceum_testkit::TestHub;
use serde_json::json;

pub(crate) fn role(name: &str, scopes: &[&str]) -> DeclaredRole {
    let scopes: Vec<String> = scopes.iter().map(|&scope| scope.to_owned()).collect();
    DeclaredRole {
        name: RoleName::parse(name).unwrap(),
        description: None,
        scopes: (!scopes.is_empty()).then_some(scopes),
        users: None,
        groups: None,
        services: None,
    }
}

pub(crate) fn users(names: &[&str]) -> Vec<UserName> {
    let parse = |name: &&str| UserName::parse(name).unwrap();
    names.iter().map(parse).collect()
}

fn groups(names: &[&str]) -> Vec<GroupName> {
    let parse = |name: &&str| GroupName::parse(name).unwrap();
    names.iter().map(parse).collect()
}

pub(crate) fn services(names: &[&str]) -> Vec<ServiceName> {
    let parse = |name: &&str| ServiceName::parse(name).unwrap();
    names.iter().map(parse).collect()
}

pub(crate) fn service(draft: ServiceDraft) -> ServiceSpec {
    draft.check(&Catalogue::built_in()).unwrap()
}

fn external(name: &str) -> ServiceSpec {
    service(ServiceDraft {
        name: name.to_owned(),
        ..ServiceDraft::default()
    })
}

/// A hub that declares this.
pub(crate) async fn hub_with(declared: Declared) -> TestHub {
    let builder = TestHub::builder().settings(|settings| settings.declared = declared);
    builder.start().await
}

/// The hub's next life, in which it declares this.
async fn then(hub: &mut TestHub, declared: Declared) {
    hub.change_settings(|settings| settings.declared = declared);
    hub.restart().await;
}

/// Who holds a role by a row, as `user:ada`, sorted.
async fn holders(hub: &TestHub, role: &str) -> Vec<String> {
    let store = hub.store();
    let role = store.get_role(role).await.unwrap();
    let mut names = Vec::new();
    for holder in store.holders_of_role(role.id).await.unwrap() {
        names.push(match holder {
            RoleHolder::User(id) => {
                let user = store.find_user_by_id(id).await.unwrap().unwrap();
                format!("user:{}", user.name)
            }
            RoleHolder::Service(id) => {
                let service = store.find_service_by_id(id).await.unwrap().unwrap();
                format!("service:{}", service.data.name)
            }
            RoleHolder::Group(id) => format!("group:{id}"),
        });
    }
    names.sort();
    names
}

async fn roles(hub: &TestHub) -> Vec<String> {
    let roles = hub.store().list_roles().await.unwrap();
    roles.into_iter().map(|role| role.name).collect()
}

#[tokio::test]
async fn roles_are_held_by_exactly_those_who_are_listed() {
    let declared = |names: &[&str]| Declared {
        roles: vec![
            DeclaredRole {
                users: Some(users(names)),
                groups: Some(groups(&["teachers"])),
                services: Some(services(&["forum"])),
                ..role("reader", &["list:users"])
            },
            role("nobody", &["read:hub"]),
        ],
        services: vec![external("forum")],
        ..Declared::default()
    };
    let mut hub = hub_with(declared(&["ada", "bob"])).await;
    // Users and groups that were not there are made.
    let group = GroupName::parse("teachers").unwrap();
    let group = hub.store().get_group(&group).await.unwrap().id;
    let group = format!("group:{group}");
    let expected = |names: &[&str]| {
        let mut all: Vec<String> = names.iter().map(|name| format!("user:{name}")).collect();
        all.extend([group.clone(), "service:forum".to_owned()]);
        all.sort();
        all
    };
    assert_eq!(holders(&hub, "reader").await, expected(&["ada", "bob"]));
    assert!(hub.principal("ada").await.scopes().holds(Scope::ListUsers));

    // Whoever got in between is out again, and so is whoever is listed no more.
    let carol = hub.user_row("carol").await;
    for name in ["reader", "nobody"] {
        let role = hub.store().get_role(name).await.unwrap();
        let mut tx = hub.store().begin().await.unwrap();
        tx.grant_role(role.id, RoleHolder::User(carol.id))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    then(&mut hub, declared(&["bob"])).await;
    assert_eq!(holders(&hub, "reader").await, expected(&["bob"]));
    assert!(holders(&hub, "nobody").await.is_empty());
    assert!(!hub.principal("ada").await.scopes().holds(Scope::ListUsers));

    // A role that is not declared any more is deleted, unless a login method manages it.
    let mut tx = hub.store().begin().await.unwrap();
    for (name, managed_by_auth) in [("by-auth", true), ("by-hand", false)] {
        tx.upsert_role(NewRole {
            name,
            description: "",
            scopes: &[],
            managed_by_auth,
        })
        .await
        .unwrap();
    }
    tx.commit().await.unwrap();
    then(&mut hub, Declared::default()).await;
    assert_eq!(roles(&hub).await, ["by-auth"]);
}

#[tokio::test]
async fn default_roles_are_changed_and_are_as_before_when_they_are_declared_no_more() {
    let declared = Declared {
        roles: vec![
            role("user", &["self", "list:services"]),
            role("server", &["users:activity!user", "read:hub"]),
        ],
        ..Declared::default()
    };
    let mut hub = hub_with(declared).await;
    let ada = hub.principal("ada").await;
    assert!(ada.scopes().holds(Scope::ListServices));
    assert!(ada.scopes().holds(Scope::Servers));
    then(&mut hub, Declared::default()).await;
    assert!(
        !hub.principal("ada")
            .await
            .scopes()
            .holds(Scope::ListServices)
    );
    let stored = hub.store().get_role("user").await.unwrap();
    assert_eq!(stored.scopes, ["self"]);
}

#[tokio::test]
async fn the_role_admin_decides_over_the_flag_only_if_it_lists_users() {
    let admin = |list: Option<&[&str]>| Declared {
        roles: vec![DeclaredRole {
            users: list.map(users),
            groups: Some(groups(&["masters"])),
            ..role("admin", &[])
        }],
        ..Declared::default()
    };
    let is_admin = async |hub: &TestHub, name: &str| hub.user_row(name).await.admin;
    let mut hub = hub_with(admin(None)).await;
    let by_api = hub.user_row("carol").await;
    let mut tx = hub.store().begin().await.unwrap();
    tx.set_admin(by_api.id, true).await.unwrap();
    let masters = GroupName::parse("masters").unwrap();
    let masters = tx.get_group(&masters).await.unwrap();
    tx.commit().await.unwrap();
    let dora = hub.user_row("dora").await;
    let mut tx = hub.store().begin().await.unwrap();
    tx.add_member(masters.id, dora.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(hub.principal("dora").await.scopes().holds(Scope::Shutdown));

    // Nobody is listed: those made by API stay.
    then(&mut hub, admin(None)).await;
    assert!(is_admin(&hub, "carol").await);

    // A list is exact, but takes nothing from `access.admin_users`.
    hub.admin().await;
    then(&mut hub, admin(Some(&["ada"]))).await;
    assert!(is_admin(&hub, "ada").await);
    assert!(is_admin(&hub, lyceum_testkit::hub::ADMIN).await);
    assert!(!is_admin(&hub, "carol").await);
    assert!(
        holders(&hub, "admin")
            .await
            .iter()
            .all(|name| name.starts_with("group:"))
    );
    assert!(hub.principal("ada").await.scopes().holds(Scope::Shutdown));
}

#[tokio::test]
async fn holders_of_the_role_admin_by_a_row_get_the_flag() {
    let mut hub = TestHub::start().await;
    let ada = hub.user_row("ada").await;
    let mut tx = hub.store().begin().await.unwrap();
    let admin = tx
        .upsert_role(NewRole {
            name: "admin",
            description: "of another program",
            scopes: &["list:users".to_owned()],
            managed_by_auth: false,
        })
        .await
        .unwrap();
    tx.grant_role(admin.id, RoleHolder::User(ada.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    hub.restart().await;
    assert!(hub.user_row("ada").await.admin);
    assert!(holders(&hub, "admin").await.is_empty());
    assert!(hub.principal("ada").await.scopes().holds(Scope::Shutdown));
}

#[tokio::test]
async fn groups_are_only_ever_added_to() {
    let group = |members: &[&str], properties: Option<serde_json::Value>| Declared {
        groups: vec![DeclaredGroup {
            name: GroupName::parse("class").unwrap(),
            users: users(members),
            properties: properties.map(|value| value.as_object().unwrap().clone()),
        }],
        ..Declared::default()
    };
    let name = GroupName::parse("class").unwrap();
    let mut hub = hub_with(group(&["ada"], Some(json!({"room": "B12"})))).await;
    let class = hub.store().get_group(&name).await.unwrap();
    assert_eq!(json!(class.properties), json!({"room": "B12"}));
    let bob = hub.user_row("bob").await;
    let mut tx = hub.store().begin().await.unwrap();
    tx.add_member(class.id, bob.id).await.unwrap();
    tx.commit().await.unwrap();

    then(&mut hub, group(&["carol"], None)).await;
    let members = hub.store().members_of_group(class.id).await.unwrap();
    let members: Vec<&str> = members.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(members, ["ada", "bob", "carol"]);
    let class = hub.store().get_group(&name).await.unwrap();
    assert_eq!(json!(class.properties), json!({"room": "B12"}));
    then(&mut hub, group(&[], Some(json!({})))).await;
    let class = hub.store().get_group(&name).await.unwrap();
    assert!(class.properties.is_empty());
    then(&mut hub, Declared::default()).await;
    assert!(hub.store().find_group(&name).await.unwrap().is_some());
}

#[tokio::test]
async fn custom_scopes_are_granted_and_told() {
    let scope = |description: &str, subscopes: &[&str]| CustomScope {
        description: description.to_owned(),
        subscopes: subscopes.iter().map(|&name| name.to_owned()).collect(),
    };
    let catalogue = Catalogue::with_custom([
        ("custom:forum:read".to_owned(), scope("Read.", &[])),
        (
            "custom:forum:write".to_owned(),
            scope("Write.", &["custom:forum:read"]),
        ),
    ])
    .unwrap();
    let declared = Declared {
        catalogue,
        roles: vec![DeclaredRole {
            users: Some(users(&["ada"])),
            ..role("writer", &["custom:forum:write"])
        }],
        ..Declared::default()
    };
    let hub = hub_with(declared).await;
    let mut ada = hub.token("ada", &["custom:forum:write"]).await;
    let me = ada.api(http::Method::GET, "/user", None).await.json();
    let scopes = me["scopes"].as_array().unwrap();
    for name in ["custom:forum:read", "custom:forum:write"] {
        assert!(scopes.contains(&json!(name)), "{me}");
    }
    let mut bob = hub.token("bob", &["custom:forum:write"]).await;
    let me = bob.api(http::Method::GET, "/user", None).await.json();
    assert!(!me["scopes"].to_string().contains("custom:"), "{me}");
}

#[tokio::test]
async fn what_the_configuration_changes_of_rights_is_written_down() {
    let declared = |admins: &[&str], scopes: &[&str]| Declared {
        roles: vec![
            DeclaredRole {
                users: Some(users(admins)),
                ..role("admin", &[])
            },
            role("reader", scopes),
        ],
        ..Declared::default()
    };
    let mut hub = hub_with(declared(&["ada"], &["list:users"])).await;
    then(&mut hub, declared(&["ada"], &["list:users"])).await;
    then(&mut hub, declared(&["bob"], &["list:groups"])).await;
    then(&mut hub, Declared::default()).await;
    let query = AuditQuery {
        kinds: vec!["user-changed".to_owned(), "role-changed".to_owned()],
        limit: 100,
        oldest_first: true,
        ..AuditQuery::default()
    };
    let rows = hub.store().list_audit(&query).await.unwrap();
    let text = |row: &AuditRow| {
        let detail = &row.detail;
        assert_eq!(
            (row.actor.as_str(), &detail["by"]),
            ("-", &json!("configuration"))
        );
        match row.about.as_deref() {
            Some(user) => format!("{user} {}", detail["admin"]),
            None => format!("{} {}", detail["role"], detail["change"]).replace('"', ""),
        }
    };
    let mut told: Vec<_> = rows.iter().map(text).collect();
    // That of the role `admin` itself is not what this is about.
    told.retain(|text| !text.starts_with("admin "));
    let expected = [
        "ada true",
        "reader created",
        "bob true",
        "ada false",
        "reader changed",
        "reader deleted",
    ];
    assert_eq!(told, expected);
}
