//! Shares and share codes: what they hold, how they widen, and with whom they end.

use std::collections::BTreeSet;

use lyceum_core::ids::{ServerId, ShareCodeId, UserId};
use lyceum_core::names::ServerRef;
use lyceum_store::{
    Group, NewShareCode, Page, ReceiverId, ShareCode, ShareCodesOf, SharesOf, Store, StoreError,
    User,
};
use tokio::task::JoinSet;

use crate::support::{
    add_user, at, group_name, on_both_engines, scopes, secret, server_name, user_name,
};

on_both_engines!(
    a_share_is_widened_and_taken_back,
    shares_reach_users_directly_and_through_groups,
    shares_follow_the_names_of_server_and_owner,
    shares_end_with_whatever_they_belong_to,
    a_share_that_has_ended_grants_nothing_and_begins_anew,
    shares_are_listed_in_pages,
    codes_are_found_by_their_text_alone,
    a_code_counts_its_exchanges_until_it_ends,
    codes_end_with_their_server,
    two_grants_at_once_lose_nothing,
);

const CODE: &str = "kXb1Zr0c1dE-lV3yUqXh7n5m4s6t8w9a_BcDeFgHiJk";

async fn add_server(store: &Store, user: UserId, name: &str) -> ServerId {
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(user, &server_name(name), at(0))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    server.id
}

async fn add_group(store: &Store, name: &str, members: &[&User]) -> Group {
    let mut tx = store.begin().await.unwrap();
    let group = tx.create_group(&group_name(name)).await.unwrap();
    for member in members {
        tx.add_member(group.id, member.id).await.unwrap();
    }
    tx.commit().await.unwrap();
    group
}

async fn grant(store: &Store, server: ServerId, with: ReceiverId, granted: &[&str]) {
    let mut tx = store.begin().await.unwrap();
    let granted = scopes(granted);
    tx.grant_share(server, with, &granted, at(1)).await.unwrap();
    tx.commit().await.unwrap();
}

async fn add_code(store: &Store, server: ServerId, code: &str, expires_in: i64) -> ShareCode {
    let mut tx = store.begin().await.unwrap();
    let code = tx
        .create_share_code(NewShareCode {
            code: &secret(code),
            server,
            scopes: &scopes(&["access:servers"]),
            created: at(0),
            expires_at: Some(at(expires_in)),
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    code
}

/// What a user may do by shares, in short.
async fn received(store: &Store, user: &User, now: i64) -> Vec<(String, bool, Vec<String>)> {
    let mut all: Vec<_> = store
        .received_shares(user.id, at(now))
        .await
        .unwrap()
        .into_iter()
        .map(|share| (share.server.to_string(), share.by_group, share.scopes))
        .collect();
    all.sort();
    all
}

async fn a_share_is_widened_and_taken_back(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let server = add_server(&store, ada.id, "").await;
    let with = ReceiverId::User(bob.id);
    let mut tx = store.begin().await.unwrap();
    let first = tx
        .grant_share(server, with, &scopes(&["access:servers"]), at(1))
        .await
        .unwrap();
    let wider = scopes(&["start:servers", "access:servers", "start:servers"]);
    let second = tx.grant_share(server, with, &wider, at(2)).await.unwrap();
    let same = tx
        .grant_share(server, with, &scopes(&["access:servers"]), at(3))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(first.scopes, ["access:servers"]);
    assert_eq!(second.scopes, ["access:servers", "start:servers"]);
    assert_eq!((second.id, second.created), (first.id, at(1)));
    assert_eq!(same, second);
    assert_eq!(
        store.find_share(server, with, at(4)).await.unwrap(),
        Some(second.clone())
    );

    let set = |list: &[&str]| scopes(list).into_iter().collect::<BTreeSet<_>>();
    let mut tx = store.begin().await.unwrap();
    let none = tx
        .revoke_share(server, with, Some(&set(&["tokens"])), at(4))
        .await
        .unwrap();
    assert_eq!(none, Some(second));
    let left = tx
        .revoke_share(server, with, Some(&set(&["access:servers"])), at(4))
        .await
        .unwrap();
    assert_eq!(left.unwrap().scopes, ["start:servers"]);
    let left = tx
        .revoke_share(server, with, Some(&set(&["start:servers"])), at(4))
        .await
        .unwrap();
    assert_eq!(left, None);
    assert_eq!(
        tx.revoke_share(server, with, None, at(4)).await.unwrap(),
        None
    );
    tx.commit().await.unwrap();
    assert_eq!(store.find_share(server, with, at(4)).await.unwrap(), None);
}

async fn shares_reach_users_directly_and_through_groups(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let eve = add_user(&store, "eve").await;
    let (default, lab) = (
        add_server(&store, ada.id, "").await,
        add_server(&store, ada.id, "lab").await,
    );
    let class = add_group(&store, "class", &[&bob]).await;
    grant(
        &store,
        default,
        ReceiverId::User(bob.id),
        &["access:servers"],
    )
    .await;
    grant(&store, default, ReceiverId::Group(class.id), &["servers"]).await;
    grant(
        &store,
        lab,
        ReceiverId::Group(class.id),
        &["access:servers"],
    )
    .await;
    assert_eq!(
        received(&store, &bob, 2).await,
        [
            ("ada/".to_owned(), false, scopes(&["access:servers"])),
            ("ada/".to_owned(), true, scopes(&["servers"])),
            ("ada/lab".to_owned(), true, scopes(&["access:servers"])),
        ]
    );
    assert_eq!(received(&store, &eve, 2).await, []);
    assert_eq!(received(&store, &ada, 2).await, []);

    let mut tx = store.begin().await.unwrap();
    tx.remove_member(class.id, bob.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(received(&store, &bob, 2).await.len(), 1);
}

async fn shares_follow_the_names_of_server_and_owner(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let lab = add_server(&store, ada.id, "lab").await;
    let with = ReceiverId::User(bob.id);
    grant(&store, lab, with, &["access:servers"]).await;
    add_code(&store, lab, CODE, 100).await;
    let mut tx = store.begin().await.unwrap();
    tx.rename_user(ada.id, &user_name("lovelace"))
        .await
        .unwrap();
    tx.rename_server(lab, &server_name("engine")).await.unwrap();
    tx.commit().await.unwrap();
    let now = ServerRef::new(user_name("lovelace"), server_name("engine"));
    let share = store.find_share(lab, with, at(2)).await.unwrap().unwrap();
    assert_eq!(share.server, now);
    assert_eq!(received(&store, &bob, 2).await[0].0, "lovelace/engine");
    let code = store.find_share_code(&secret(CODE), at(2)).await.unwrap();
    assert_eq!(code.unwrap().server, now);
}

async fn shares_end_with_whatever_they_belong_to(store: Store) {
    let bob = add_user(&store, "bob").await;
    for ends in ["owner", "server", "user", "group"] {
        let (ada, eve) = (add_user(&store, "ada").await, add_user(&store, "eve").await);
        let server = add_server(&store, ada.id, "").await;
        let group = add_group(&store, "class", &[&bob]).await;
        grant(
            &store,
            server,
            ReceiverId::User(eve.id),
            &["access:servers"],
        )
        .await;
        grant(
            &store,
            server,
            ReceiverId::Group(group.id),
            &["access:servers"],
        )
        .await;
        let list = || store.list_shares(SharesOf::Server(server), Page::ALL, at(2));
        assert_eq!(list().await.unwrap().total, 2);

        let mut tx = store.begin().await.unwrap();
        let left = match ends {
            "owner" => tx.delete_user(ada.id).await.map(|_| 0),
            "server" => tx.delete_server(server).await.map(|_| 0),
            "user" => tx.delete_user(eve.id).await.map(|_| 1),
            _ => tx.delete_group(group.id).await.map(|_| 1),
        };
        tx.commit().await.unwrap();
        assert_eq!(list().await.unwrap().total, left.unwrap(), "{ends}");
        assert_eq!(
            received(&store, &bob, 2).await.len(),
            usize::from(ends == "user")
        );

        let mut tx = store.begin().await.unwrap();
        for id in [ada.id, eve.id] {
            tx.delete_user(id).await.unwrap();
        }
        tx.delete_group(group.id).await.unwrap();
        tx.commit().await.unwrap();
    }
}

async fn a_share_that_has_ended_grants_nothing_and_begins_anew(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let server = add_server(&store, ada.id, "").await;
    let with = ReceiverId::User(bob.id);
    grant(&store, server, with, &["servers"]).await;
    let mut tx = store.begin().await.unwrap();
    tx.end_share_at(server, with, Some(at(50))).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(received(&store, &bob, 49).await.len(), 1);
    assert_eq!(received(&store, &bob, 50).await, []);
    assert_eq!(store.find_share(server, with, at(50)).await.unwrap(), None);
    let of = SharesOf::User(bob.id);
    let found = store.list_shares(of, Page::ALL, at(50)).await.unwrap();
    assert_eq!((found.items.len(), found.total), (0, 0));

    let mut tx = store.begin().await.unwrap();
    let anew = tx
        .grant_share(server, with, &scopes(&["access:servers"]), at(60))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(anew.scopes, ["access:servers"]);
    assert_eq!((anew.created, anew.expires_at), (at(60), None));
    assert_eq!(received(&store, &bob, 70).await.len(), 1);

    let mut tx = store.begin().await.unwrap();
    tx.end_share_at(server, with, Some(at(80))).await.unwrap();
    add_code_in(&mut tx, server).await;
    let purged = tx.purge_expired(at(79)).await.unwrap();
    assert_eq!((purged.shares, purged.share_codes), (0, 0));
    let purged = tx.purge_expired(at(80)).await.unwrap();
    assert_eq!((purged.shares, purged.share_codes), (1, 1));
    tx.commit().await.unwrap();
}

async fn add_code_in(tx: &mut lyceum_store::Tx, server: ServerId) {
    tx.create_share_code(NewShareCode {
        code: &secret(CODE),
        server,
        scopes: &scopes(&["access:servers"]),
        created: at(0),
        expires_at: Some(at(80)),
    })
    .await
    .unwrap();
}

async fn shares_are_listed_in_pages(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let class = add_group(&store, "class", &[&bob]).await;
    let mut servers = Vec::new();
    for name in ["", "a", "b"] {
        servers.push(add_server(&store, ada.id, name).await);
    }
    let (user, group) = (ReceiverId::User(bob.id), ReceiverId::Group(class.id));
    grant(&store, servers[2], user, &["access:servers"]).await;
    grant(&store, servers[0], group, &["access:servers"]).await;
    grant(&store, servers[0], user, &["access:servers"]).await;
    for (of, expected) in [
        (SharesOf::Owner(ada.id), vec!["ada/b", "ada/", "ada/"]),
        (SharesOf::Owner(bob.id), vec![]),
        (SharesOf::Server(servers[0]), vec!["ada/", "ada/"]),
        (SharesOf::Server(servers[1]), vec![]),
        // What comes twice is listed twice.
        (SharesOf::User(bob.id), vec!["ada/b", "ada/", "ada/"]),
        (SharesOf::User(ada.id), vec![]),
        (SharesOf::Group(class.id), vec!["ada/"]),
    ] {
        let found = store.list_shares(of, Page::ALL, at(2)).await.unwrap();
        let names: Vec<_> = found.items.iter().map(|s| s.server.to_string()).collect();
        assert_eq!(names, expected, "{of:?}");
        assert_eq!(found.total, u64::try_from(expected.len()).unwrap());
    }
    let page =
        |offset, limit| store.list_shares(SharesOf::User(bob.id), Page { offset, limit }, at(2));
    let found = page(1, 1).await.unwrap();
    assert_eq!((found.items.len(), found.total), (1, 3));
    assert_eq!(found.items[0].with.id(), group);
    assert_eq!(page(9, 1).await.unwrap().total, 3);
}

async fn codes_are_found_by_their_text_alone(store: Store) {
    let ada = add_user(&store, "ada").await;
    let server = add_server(&store, ada.id, "lab").await;
    let code = add_code(&store, server, CODE, 100).await;
    let other = add_code(&store, server, &CODE.replace("Jk", "Kj"), 100).await;
    assert_eq!((code.owner_id, code.server_id), (ada.id, server));
    assert_eq!(code.exchange_count, 0);
    let find = |text: &str| {
        let (store, text) = (store.clone(), secret(text));
        async move { store.find_share_code(&text, at(5)).await.unwrap() }
    };
    assert_eq!(find(CODE).await, Some(code.clone()));
    assert_eq!(find(&CODE.replace("Jk", "Kj")).await, Some(other.clone()));
    for wrong in [
        "",
        "kXb1",
        &CODE[1..],
        &CODE.to_lowercase(),
        &CODE.repeat(2),
        "%",
    ] {
        assert_eq!(find(wrong).await, None, "{wrong}");
    }
    for of in [ShareCodesOf::Owner(ada.id), ShareCodesOf::Server(server)] {
        let found = store.list_share_codes(of, Page::ALL, at(5)).await.unwrap();
        assert_eq!(found.items, [code.clone(), other.clone()]);
        assert_eq!(found.total, 2);
        let late = store
            .list_share_codes(of, Page::ALL, at(100))
            .await
            .unwrap();
        assert_eq!((late.items.len(), late.total), (0, 0));
    }
    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_share_code(code.id).await.unwrap());
    assert!(!tx.delete_share_code(code.id).await.unwrap());
    assert_eq!(tx.delete_share_codes_of_server(server).await.unwrap(), 1);
    let short = tx
        .create_share_code(NewShareCode {
            code: &secret("short"),
            server,
            scopes: &[],
            created: at(0),
            expires_at: None,
        })
        .await;
    assert!(matches!(short, Err(StoreError::TokenLength)), "{short:?}");
}

async fn a_code_counts_its_exchanges_until_it_ends(store: Store) {
    let ada = add_user(&store, "ada").await;
    let server = add_server(&store, ada.id, "").await;
    let code = add_code(&store, server, CODE, 100).await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.count_exchange(code.id, at(7)).await.unwrap());
    assert!(tx.count_exchange(code.id, at(9)).await.unwrap());
    assert!(!tx.count_exchange(code.id, at(100)).await.unwrap());
    assert!(!tx.count_exchange(ShareCodeId(99), at(9)).await.unwrap());
    tx.commit().await.unwrap();
    let found = store.find_share_code_by_id(code.id).await.unwrap().unwrap();
    assert_eq!(found.exchange_count, 2);
    assert_eq!(found.last_exchanged_at, Some(at(9)));
    assert_eq!(
        store.find_share_code(&secret(CODE), at(100)).await.unwrap(),
        None
    );
}

async fn codes_end_with_their_server(store: Store) {
    let ada = add_user(&store, "ada").await;
    let server = add_server(&store, ada.id, "lab").await;
    add_code(&store, server, CODE, 100).await;
    let mut tx = store.begin().await.unwrap();
    tx.delete_server(server).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        store.find_share_code(&secret(CODE), at(1)).await.unwrap(),
        None
    );
}

async fn two_grants_at_once_lose_nothing(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let server = add_server(&store, ada.id, "").await;
    let with = ReceiverId::User(bob.id);
    let all = [
        "access:servers",
        "read:servers",
        "start:servers",
        "delete:servers",
    ];
    let mut grants = JoinSet::new();
    for scope in all {
        let store = store.clone();
        grants.spawn(async move { grant(&store, server, with, &[scope]).await });
    }
    grants.join_all().await;
    let share = store
        .find_share(server, with, at(2))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(share.scopes.len(), all.len(), "{:?}", share.scopes);
}
