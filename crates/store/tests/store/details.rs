//! What hangs on many users, loaded together.

use lyceum_core::ids::UserId;
use lyceum_store::{NewRole, RoleHolder, Store, UserDetails};

use crate::support::{add_user, at, group_name, on_both_engines, server_name};

on_both_engines!(
    details_of_many_users_come_together,
    details_of_hundreds_of_users_are_complete
);

async fn details_of_many_users_come_together(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let role = tx
        .upsert_role(NewRole {
            name: "teacher",
            description: "",
            scopes: &[],
            managed_by_auth: true,
        })
        .await
        .unwrap();
    for name in ["b", "a"] {
        let group = tx.create_group(&group_name(name)).await.unwrap();
        tx.add_member(group.id, ada.id).await.unwrap();
        // Roles of groups are not shown as the user's own.
        tx.grant_role(role.id, RoleHolder::Group(group.id))
            .await
            .unwrap();
    }
    tx.grant_role(role.id, RoleHolder::User(bob.id))
        .await
        .unwrap();
    for name in ["x", ""] {
        tx.ensure_server(ada.id, &server_name(name), at(0))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();

    let details = store
        .load_details(&[bob.id, ada.id, UserId(99)])
        .await
        .unwrap();
    assert_eq!(details[&ada.id].groups, [group_name("a"), group_name("b")]);
    assert_eq!(details[&ada.id].roles, Vec::<String>::new());
    let names: Vec<_> = details[&ada.id]
        .servers
        .iter()
        .map(|s| s.name.as_str())
        .collect();
    assert_eq!(names, ["", "x"]);
    assert_eq!(details[&bob.id].roles, ["teacher"]);
    assert_eq!(details[&UserId(99)], UserDetails::default());
    assert!(store.load_details(&[]).await.unwrap().is_empty());
}

async fn details_of_hundreds_of_users_are_complete(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    tx.ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut users: Vec<UserId> = (1000..1299).map(UserId).collect();
    users.push(ada.id);
    let details = store.load_details(&users).await.unwrap();
    assert_eq!(details.len(), 300);
    assert_eq!(details[&ada.id].servers.len(), 1);
}
