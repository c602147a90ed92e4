//! Users: creation, change, deletion, and lists of them.

use lyceum_core::GroupName;
use lyceum_core::ids::UserId;
use lyceum_store::{
    ActivityBatch, HavingServers, Kind, NewUser, OnlyUsers, Page, Store, StoreError, UserQuery,
    UserSort,
};
use serde_json::json;

use crate::support::{add_user, at, object, on_both_engines, secret, server_name, user_name};

on_both_engines!(
    a_user_is_found_as_it_was_created,
    a_second_user_of_the_same_name_is_refused,
    a_user_can_be_changed,
    changing_nobody_is_an_error,
    a_deleted_user_takes_everything_along,
    users_are_listed_in_pages,
    users_are_searched_without_wildcards_and_letter_case,
    users_are_sorted_as_asked,
    users_are_chosen_by_their_servers,
    users_are_chosen_by_name_and_by_group,
    text_from_outside_stays_text,
);

async fn a_user_is_found_as_it_was_created(store: Store) {
    let ada = add_user(&store, "ada").await;
    let found = store.get_user(&user_name("ada")).await.unwrap();
    assert_eq!((found.id, &found.name), (ada.id, &ada.name));
    assert_eq!((found.created, found.last_activity), (at(0), None));
    assert!(!found.admin && found.user_info.is_none());
    assert!(found.cookie_id.matches(ada.cookie_id.expose()));
    let by_id = store.find_user_by_id(ada.id).await.unwrap().unwrap();
    assert_eq!(by_id.name, ada.name);
    // Letter case counts.
    assert!(store.find_user(&user_name("Ada")).await.unwrap().is_none());
    let error = store.get_user(&user_name("bob")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no user `bob`");
}

async fn a_second_user_of_the_same_name_is_refused(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let new = NewUser {
        name: &ada.name,
        admin: true,
        created: at(1),
        cookie_id: &secret("another"),
    };
    let error = tx.create_user(new).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Exists { kind: Kind::User, name } if name == "ada"),
        "{error}"
    );
    assert_eq!(error.to_string(), "user `ada` exists already");
    // The transaction goes on after this error.
    assert_eq!(tx.count_users().await.unwrap(), 1);
    tx.commit().await.unwrap();
}

async fn a_user_can_be_changed(store: Store) {
    let ada = add_user(&store, "ada").await;
    let bob = add_user(&store, "bob").await;
    let info = object(json!({"email": "ada@example.org"}));
    let mut tx = store.begin().await.unwrap();
    tx.rename_user(ada.id, &user_name("ada")).await.unwrap();
    let taken = tx.rename_user(ada.id, &bob.name).await.unwrap_err();
    assert!(matches!(taken, StoreError::Exists { .. }));
    tx.rename_user(ada.id, &user_name("Countess"))
        .await
        .unwrap();
    tx.set_admin(ada.id, true).await.unwrap();
    tx.set_user_info(ada.id, Some(&info)).await.unwrap();
    let told = ["class", "staff"].map(|name| GroupName::parse(name).unwrap());
    tx.set_told_groups(ada.id, &told).await.unwrap();
    tx.rename_user(ada.id, &user_name("Countess"))
        .await
        .unwrap();
    tx.set_cookie_id(ada.id, &secret("fresh")).await.unwrap();
    tx.set_auth_state(ada.id, Some(&[0, 255, 7])).await.unwrap();
    tx.commit().await.unwrap();

    let found = store.get_user(&user_name("Countess")).await.unwrap();
    assert!(found.admin && found.cookie_id.matches("fresh"));
    assert_eq!(found.user_info, Some(info));
    assert_eq!(found.told_groups, told);
    assert_eq!(
        store.find_auth_state(ada.id).await.unwrap(),
        Some(vec![0, 255, 7])
    );
    assert_eq!(store.find_auth_state(bob.id).await.unwrap(), None);
    assert!(store.find_user(&ada.name).await.unwrap().is_none());

    let mut tx = store.begin().await.unwrap();
    tx.set_user_info(ada.id, None).await.unwrap();
    tx.set_auth_state(ada.id, None).await.unwrap();
    tx.rename_user(ada.id, &user_name("Lovelace"))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let found = store.get_user(&user_name("Lovelace")).await.unwrap();
    assert_eq!(found.user_info, None);
    assert_eq!(found.told_groups, [], "they were told of another name");
    assert_eq!(store.find_auth_state(ada.id).await.unwrap(), None);
}

async fn changing_nobody_is_an_error(store: Store) {
    let mut tx = store.begin().await.unwrap();
    let nobody = UserId(4711);
    let error = tx.set_admin(nobody, true).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no user `4711`");
    assert!(tx.rename_user(nobody, &user_name("x")).await.is_err());
    assert!(!tx.delete_user(nobody).await.unwrap());
}

async fn a_deleted_user_takes_everything_along(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let group = tx
        .create_group(&crate::support::group_name("poets"))
        .await
        .unwrap();
    tx.add_member(group.id, ada.id).await.unwrap();
    tx.ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    assert!(tx.delete_user(ada.id).await.unwrap());
    assert_eq!(tx.members_of_group(group.id).await.unwrap(), []);
    assert_eq!(tx.count_servers().await.unwrap().stopped, 0);
    tx.commit().await.unwrap();
    // Ids are not used again: an old reference never means somebody else.
    let bob = add_user(&store, "bob").await;
    assert!(bob.id > ada.id);
}

async fn names(store: &Store, query: &UserQuery) -> Vec<String> {
    let users = store.list_users(query).await.unwrap();
    users.items.iter().map(|u| u.name.to_string()).collect()
}

async fn users_are_listed_in_pages(store: Store) {
    for number in 0..7 {
        add_user(&store, &format!("user-{number}")).await;
    }
    let page = |offset, limit| UserQuery {
        page: Page { offset, limit },
        ..UserQuery::default()
    };
    let first = store.list_users(&page(0, 3)).await.unwrap();
    assert_eq!((first.items.len(), first.total), (3, 7));
    assert_eq!(names(&store, &page(6, 3)).await, ["user-6"]);
    let beyond = store.list_users(&page(100, 3)).await.unwrap();
    assert_eq!((beyond.items.len(), beyond.total), (0, 7));
    let all = store.list_users(&UserQuery::default()).await.unwrap();
    assert_eq!((all.items.len(), all.total), (7, 7));
}

async fn users_are_searched_without_wildcards_and_letter_case(store: Store) {
    for name in ["a%b", "a_b", "axb", "A\\B", "Ünal", "ünsal"] {
        add_user(&store, name).await;
    }
    let find = async |text: &str| {
        let query = UserQuery {
            name_contains: Some(text.to_owned()),
            ..UserQuery::default()
        };
        names(&store, &query).await
    };
    assert_eq!(find("%").await, ["a%b"]);
    assert_eq!(find("A_B").await, ["a_b"]);
    assert_eq!(find("a\\b").await, ["A\\B"]);
    assert_eq!(find("X").await, ["axb"]);
    assert_eq!(find("ÜN").await, ["Ünal", "ünsal"]);
    assert_eq!(find("").await.len(), 6);
    assert_eq!(find("nobody").await.len(), 0);
}

async fn users_are_sorted_as_asked(store: Store) {
    let mut batch = ActivityBatch::default();
    for (name, seen) in [("b", Some(5)), ("C", None), ("a", Some(9)), ("d", Some(1))] {
        let user = add_user(&store, name).await;
        if let Some(seconds) = seen {
            batch.user(user.id, at(seconds));
        }
    }
    let mut tx = store.begin().await.unwrap();
    tx.record_activity(&batch).await.unwrap();
    tx.commit().await.unwrap();

    let check = async |sort, expected: [&str; 4]| {
        for descending in [false, true] {
            let query = UserQuery {
                sort,
                descending,
                ..UserQuery::default()
            };
            let mut names = names(&store, &query).await;
            if descending {
                names.reverse();
            }
            assert_eq!(names, expected, "{sort:?}, descending: {descending}");
        }
    };
    check(UserSort::Id, ["b", "C", "a", "d"]).await;
    check(UserSort::Name, ["C", "a", "b", "d"]).await;
    check(UserSort::LastActivity, ["C", "d", "b", "a"]).await;
}

async fn users_are_chosen_by_their_servers(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    add_user(&store, "eve").await;
    let mut tx = store.begin().await.unwrap();
    let (running, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    tx.ensure_server(bob.id, &server_name(""), at(0))
        .await
        .unwrap();
    let (handle, upstream) = crate::servers::run();
    tx.record_running(running.id, &handle, &upstream)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let check = async |servers, expected: &[&str]| {
        let query = UserQuery {
            servers: Some(servers),
            ..UserQuery::default()
        };
        assert_eq!(names(&store, &query).await, expected, "{servers:?}");
    };
    check(HavingServers::Active, &["ada"]).await;
    check(HavingServers::NoneActive, &["bob", "eve"]).await;
}

async fn users_are_chosen_by_name_and_by_group(store: Store) {
    let mut ids = std::collections::BTreeMap::new();
    for name in ["ada", "bob", "eve", "mia"] {
        ids.insert(name, add_user(&store, name).await.id);
    }
    let mut tx = store.begin().await.unwrap();
    let poets = crate::support::group_name("poets");
    let group = tx.create_group(&poets).await.unwrap();
    for name in ["bob", "eve"] {
        tx.add_member(group.id, ids[name]).await.unwrap();
    }
    tx.commit().await.unwrap();
    let check = async |users: &[&str], groups: &[&str], expected: &[&str]| {
        let query = UserQuery {
            only: Some(OnlyUsers {
                users: users.iter().map(|name| user_name(name)).collect(),
                groups: groups
                    .iter()
                    .map(|name| crate::support::group_name(name))
                    .collect(),
            }),
            page: Page {
                offset: 0,
                limit: 1,
            },
            ..UserQuery::default()
        };
        let page = store.list_users(&query).await.unwrap();
        let first: Vec<_> = page.items.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(first, expected.get(..1).unwrap_or_default());
        assert_eq!(page.total, expected.len() as u64);
        let query = UserQuery {
            page: Page::ALL,
            ..query
        };
        assert_eq!(names(&store, &query).await, expected);
    };
    check(&["ada", "nobody"], &[], &["ada"]).await;
    check(&[], &["poets"], &["bob", "eve"]).await;
    check(
        &["ada", "bob", "mia"],
        &["poets", "x"],
        &["ada", "bob", "eve", "mia"],
    )
    .await;
    check(&[], &[], &[]).await;

    let asked = ["mia", "nobody", "ada"].map(user_name);
    let found = store.find_user_ids(&asked).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(id, name)| (*id, name.as_str()))
        .collect();
    assert_eq!(found, [(ids["ada"], "ada"), (ids["mia"], "mia")]);
}

async fn text_from_outside_stays_text(store: Store) {
    for name in ["'; DROP TABLE users; --", "$1", "\"x\"", "名前 😀"] {
        add_user(&store, name).await;
        assert_eq!(
            store
                .get_user(&user_name(name))
                .await
                .unwrap()
                .name
                .as_str(),
            name
        );
    }
    assert_eq!(store.count_users().await.unwrap(), 4);
}
