//! Transactions: all or nothing, and many at once.

use lyceum_store::{NewUser, Store, UserQuery};
use tokio::task::JoinSet;

use crate::support::{add_user, at, on_both_engines, secret, user_name};

on_both_engines!(
    a_dropped_transaction_leaves_nothing,
    a_transaction_sees_its_own_writes_and_others_do_not,
    sixteen_writers_at_once_all_succeed,
    a_cancelled_request_leaves_the_store_usable,
);

async fn create(tx: &mut lyceum_store::Tx, name: &str) {
    let new = NewUser {
        name: &user_name(name),
        admin: false,
        created: at(0),
        cookie_id: &secret(name),
    };
    tx.create_user(new).await.unwrap();
}

async fn a_dropped_transaction_leaves_nothing(store: Store) {
    let mut tx = store.begin().await.unwrap();
    create(&mut tx, "ada").await;
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    create(&mut tx, "ada").await;
    tx.rollback().await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 0);
    store.check().await.unwrap();
}

async fn a_transaction_sees_its_own_writes_and_others_do_not(store: Store) {
    let mut tx = store.begin().await.unwrap();
    create(&mut tx, "ada").await;
    assert_eq!(tx.count_users().await.unwrap(), 1);
    assert_eq!(store.count_users().await.unwrap(), 0);
    tx.commit().await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
}

async fn sixteen_writers_at_once_all_succeed(store: Store) {
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let store = store.clone();
        writers.spawn(async move {
            for number in 0..20 {
                let mut tx = store.begin().await.unwrap();
                // A read first: with SQLite, a lock taken only at the write could not be had any more.
                tx.count_users().await.unwrap();
                create(&mut tx, &format!("user-{writer}-{number}")).await;
                tx.commit().await.unwrap();
                store.list_users(&UserQuery::default()).await.unwrap();
            }
        });
    }
    while let Some(result) = writers.join_next().await {
        result.unwrap();
    }
    assert_eq!(store.count_users().await.unwrap(), 16 * 20);
}

async fn a_cancelled_request_leaves_the_store_usable(store: Store) {
    for number in 0..30 {
        let work = async {
            let mut tx = store.begin().await.unwrap();
            create(&mut tx, &format!("cancelled-{number}")).await;
            tx.commit().await.unwrap();
        };
        // Dropped after a few polls: in the middle of whatever was going on.
        let limit = std::time::Duration::from_micros(30 * number);
        let _ = tokio::time::timeout(limit, work).await;
    }
    add_user(&store, "ada").await;
    assert!(store.find_user(&user_name("ada")).await.unwrap().is_some());
}
