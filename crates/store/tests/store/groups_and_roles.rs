//! Groups, roles, and who is in them.

use lyceum_core::ids::{GroupId, UserId};
use lyceum_store::{GroupQuery, NewRole, Page, Role, RoleHolder, Store, StoreError, Tx};
use serde_json::json;

use crate::support::{add_service, add_user, group_name, object, on_both_engines, scopes};

on_both_engines!(
    groups_have_members_and_properties,
    groups_are_listed_in_pages,
    members_and_roles_of_groups_are_loaded_together,
    a_group_keeps_to_its_rules,
    roles_are_brought_up_to_date,
    roles_reach_users_directly_and_through_groups,
    lists_of_holders_are_exact,
);

async fn groups_have_members_and_properties(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let poets = tx.create_group(&group_name("poets")).await.unwrap();
    let coders = tx.create_group(&group_name("coders")).await.unwrap();
    assert!(tx.add_member(poets.id, bob.id).await.unwrap());
    assert!(tx.add_member(poets.id, ada.id).await.unwrap());
    assert!(!tx.add_member(poets.id, ada.id).await.unwrap());
    assert!(tx.add_member(coders.id, ada.id).await.unwrap());
    let properties = object(json!({"quota": {"cpu": 2}}));
    tx.set_group_properties(poets.id, &properties)
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let found = store.get_group(&poets.name).await.unwrap();
    assert_eq!(found.properties, properties);
    let members = store.members_of_group(poets.id).await.unwrap();
    assert_eq!(
        members,
        [(ada.id, ada.name.clone()), (bob.id, bob.name.clone())]
    );
    let groups = store.groups_of_user(ada.id).await.unwrap();
    assert_eq!(groups, [coders.clone(), found]);

    let mut tx = store.begin().await.unwrap();
    assert!(tx.remove_member(poets.id, ada.id).await.unwrap());
    assert!(!tx.remove_member(poets.id, ada.id).await.unwrap());
    assert!(tx.delete_group(coders.id).await.unwrap());
    assert!(!tx.delete_group(coders.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.groups_of_user(ada.id).await.unwrap(), []);
    assert!(store.find_user_by_id(ada.id).await.unwrap().is_some());
}

async fn groups_are_listed_in_pages(store: Store) {
    let mut tx = store.begin().await.unwrap();
    for name in ["c", "a", "b"] {
        tx.create_group(&group_name(name)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let page = |offset, limit| GroupQuery {
        page: Page { offset, limit },
        only: None,
    };
    let found = store.list_groups(&page(1, 2)).await.unwrap();
    let names: Vec<_> = found.items.iter().map(|g| g.name.as_str()).collect();
    assert_eq!((names, found.total), (vec!["a", "b"], 3));
    assert_eq!(store.list_groups(&page(9, 2)).await.unwrap().total, 3);

    let only = GroupQuery {
        only: Some(vec![group_name("b"), group_name("x")]),
        ..page(0, 1)
    };
    let found = store.list_groups(&only).await.unwrap();
    let names: Vec<_> = found.items.iter().map(|g| g.name.as_str()).collect();
    assert_eq!((names, found.total), (vec!["b"], 1));
}

async fn members_and_roles_of_groups_are_loaded_together(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let poets = tx.create_group(&group_name("poets")).await.unwrap();
    let empty = tx.create_group(&group_name("empty")).await.unwrap();
    for user in [&bob, &ada] {
        tx.add_member(poets.id, user.id).await.unwrap();
    }
    let role = tx
        .upsert_role(NewRole {
            name: "reader",
            description: "",
            scopes: &scopes(&["read:users"]),
            managed_by_auth: false,
        })
        .await
        .unwrap();
    tx.grant_role(role.id, RoleHolder::Group(poets.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let details = store
        .load_group_details(&[poets.id, empty.id])
        .await
        .unwrap();
    assert_eq!(details[&poets.id].members, [ada.name, bob.name]);
    assert_eq!(details[&poets.id].roles, ["reader"]);
    assert!(details[&empty.id].members.is_empty() && details[&empty.id].roles.is_empty());
}

async fn a_group_keeps_to_its_rules(store: Store) {
    let mut tx = store.begin().await.unwrap();
    let poets = tx.create_group(&group_name("poets")).await.unwrap();
    let twice = tx.create_group(&group_name("poets")).await.unwrap_err();
    assert_eq!(twice.to_string(), "group `poets` exists already");
    let error = tx
        .set_group_properties(GroupId(99), &object(json!({})))
        .await;
    assert!(matches!(error, Err(StoreError::NotFound { .. })));
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    let error = tx.add_member(poets.id, UserId(99)).await.unwrap_err();
    assert!(matches!(error, StoreError::Orphan { .. }), "{error:?}");
}

async fn add_role(tx: &mut Tx, name: &str, granted: &[&str]) -> Role {
    tx.upsert_role(NewRole {
        name,
        description: "for a test",
        scopes: &scopes(granted),
        managed_by_auth: false,
    })
    .await
    .unwrap()
}

async fn roles_are_brought_up_to_date(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let old = add_role(&mut tx, "teacher", &["list:users"]).await;
    tx.grant_role(old.id, RoleHolder::User(ada.id))
        .await
        .unwrap();
    let new = add_role(&mut tx, "teacher", &["read:users", "list:users"]).await;
    add_role(&mut tx, "assistant", &[]).await;
    tx.commit().await.unwrap();

    assert_eq!(old.id, new.id);
    let found = store.get_role("teacher").await.unwrap();
    assert_eq!(found.scopes, ["read:users", "list:users"]);
    let held = store.roles_held_by(RoleHolder::User(ada.id)).await.unwrap();
    assert_eq!(held, [found]);
    let all = store.list_roles().await.unwrap();
    let names: Vec<_> = all.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(names, ["assistant", "teacher"]);

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_role(new.id).await.unwrap());
    tx.commit().await.unwrap();
    assert!(store.find_role("teacher").await.unwrap().is_none());
    assert_eq!(store.roles_of_user(ada.id).await.unwrap(), []);
}

async fn roles_reach_users_directly_and_through_groups(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let service = add_service(&store, "grader").await;
    let mut tx = store.begin().await.unwrap();
    let group = tx.create_group(&group_name("poets")).await.unwrap();
    tx.add_member(group.id, ada.id).await.unwrap();
    let direct = add_role(&mut tx, "direct", &["a"]).await;
    let both = add_role(&mut tx, "both", &["b"]).await;
    let grouped = add_role(&mut tx, "grouped", &["c"]).await;
    for (role, holder) in [
        (&direct, RoleHolder::User(ada.id)),
        (&both, RoleHolder::User(ada.id)),
        (&both, RoleHolder::Group(group.id)),
        (&grouped, RoleHolder::Group(group.id)),
        (&grouped, RoleHolder::Service(service.id)),
    ] {
        assert!(tx.grant_role(role.id, holder).await.unwrap());
        assert!(!tx.grant_role(role.id, holder).await.unwrap());
    }
    tx.commit().await.unwrap();

    let of_ada = store.roles_of_user(ada.id).await.unwrap();
    assert_eq!(of_ada, [both.clone(), direct.clone(), grouped.clone()]);
    assert_eq!(store.roles_of_user(bob.id).await.unwrap(), []);
    let of_service = store.roles_held_by(RoleHolder::Service(service.id)).await;
    assert_eq!(of_service.unwrap(), std::slice::from_ref(&grouped));
    let of_group = store.roles_held_by(RoleHolder::Group(group.id)).await;
    assert_eq!(of_group.unwrap(), [both.clone(), grouped.clone()]);

    let mut tx = store.begin().await.unwrap();
    let holder = RoleHolder::Group(group.id);
    assert!(tx.revoke_role(both.id, holder).await.unwrap());
    assert!(!tx.revoke_role(both.id, holder).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.roles_of_user(ada.id).await.unwrap().len(), 3);
}

async fn lists_of_holders_are_exact(store: Store) {
    let mut users = Vec::new();
    for name in ["ada", "bob", "eve"] {
        users.push(add_user(&store, name).await.id);
    }
    let service = add_service(&store, "grader").await.id;
    let mut tx = store.begin().await.unwrap();
    let group = tx.create_group(&group_name("poets")).await.unwrap().id;
    let role = add_role(&mut tx, "teacher", &[]).await.id;
    tx.set_role_users(role, &users[..2]).await.unwrap();
    tx.set_role_groups(role, &[group]).await.unwrap();
    tx.set_role_services(role, &[service]).await.unwrap();
    tx.set_role_users(role, &users[1..]).await.unwrap();
    assert_eq!(
        tx.holders_of_role(role).await.unwrap(),
        [
            RoleHolder::User(users[1]),
            RoleHolder::User(users[2]),
            RoleHolder::Group(group),
            RoleHolder::Service(service),
        ]
    );
    tx.set_role_groups(role, &[]).await.unwrap();
    tx.set_role_services(role, &[]).await.unwrap();
    tx.set_role_users(role, &[]).await.unwrap();
    assert_eq!(tx.holders_of_role(role).await.unwrap(), []);
    tx.commit().await.unwrap();
}
