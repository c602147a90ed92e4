//! Browser sessions and settings.

use lyceum_core::ids::UserId;
use lyceum_store::{NewSession, Session, Store, StoreError};

use crate::support::{add_user, at, on_both_engines, secret};

on_both_engines!(
    a_session_is_found_by_its_secret_until_it_ends,
    a_sessions_use_is_noted_and_only_moves_forward,
    sessions_end_one_by_one_or_all_at_once,
    a_session_belongs_to_a_user,
    settings_are_kept,
);

async fn log_in(store: &Store, user: UserId, text: &str, created: i64) -> Session {
    let mut tx = store.begin().await.unwrap();
    let session = tx
        .create_session(NewSession {
            secret: &secret(text),
            public_id: "0123456789abcdef0123456789abcdef",
            user_id: user,
            created: at(created),
            expires_at: at(created + 100),
            client_addr: "192.0.2.7",
            user_agent: &"x".repeat(1000),
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    session
}

async fn a_session_is_found_by_its_secret_until_it_ends(store: Store) {
    let ada = add_user(&store, "ada").await;
    let session = log_in(&store, ada.id, "opaque", 0).await;
    assert_eq!(session.user_agent.len(), 300);
    let (found, user) = store
        .find_session(&secret("opaque"), at(99))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, session);
    assert_eq!(user.name, ada.name);
    for (text, now) in [("opaque", 100), ("Opaque", 1), ("", 1)] {
        let found = store.find_session(&secret(text), at(now)).await.unwrap();
        assert!(found.is_none(), "{text} {now}");
    }
}

async fn a_sessions_use_is_noted_and_only_moves_forward(store: Store) {
    let ada = add_user(&store, "ada").await;
    let session = log_in(&store, ada.id, "opaque", 0).await;
    let mut tx = store.begin().await.unwrap();
    tx.touch_session(session.id, at(50), at(150)).await.unwrap();
    tx.touch_session(session.id, at(40), at(140)).await.unwrap();
    tx.commit().await.unwrap();
    let (found, _) = store
        .find_session(&secret("opaque"), at(120))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((found.last_seen, found.expires_at), (at(50), at(150)));
}

async fn sessions_end_one_by_one_or_all_at_once(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let first = log_in(&store, ada.id, "one", 0).await;
    let second = log_in(&store, ada.id, "two", 10).await;
    log_in(&store, bob.id, "three", 0).await;
    let of_ada = store.sessions_of_user(ada.id, at(20)).await.unwrap();
    assert_eq!(of_ada, [second.clone(), first.clone()]);
    assert_eq!(
        store.sessions_of_user(ada.id, at(105)).await.unwrap(),
        [second]
    );

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_session(first.id).await.unwrap());
    assert!(!tx.delete_session(first.id).await.unwrap());
    assert_eq!(tx.delete_sessions_of_user(ada.id).await.unwrap(), 1);
    tx.commit().await.unwrap();
    assert!(
        store
            .find_session(&secret("two"), at(20))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .find_session(&secret("three"), at(20))
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_session_belongs_to_a_user(store: Store) {
    let ada = add_user(&store, "ada").await;
    log_in(&store, ada.id, "one", 0).await;
    let mut tx = store.begin().await.unwrap();
    tx.delete_user(ada.id).await.unwrap();
    tx.commit().await.unwrap();
    assert!(
        store
            .find_session(&secret("one"), at(1))
            .await
            .unwrap()
            .is_none()
    );

    let mut tx = store.begin().await.unwrap();
    let new = NewSession {
        secret: &secret("x"),
        public_id: "",
        user_id: ada.id,
        created: at(0),
        expires_at: at(1),
        client_addr: "",
        user_agent: "",
    };
    let error = tx.create_session(new).await.unwrap_err();
    assert!(matches!(error, StoreError::Orphan { .. }), "{error:?}");
}

async fn settings_are_kept(store: Store) {
    assert_eq!(store.find_setting("hub.id").await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    tx.set_setting("hub.id", Some("one")).await.unwrap();
    tx.set_setting("hub.id", Some("two")).await.unwrap();
    tx.commit().await.unwrap();
    let found = store.find_setting("hub.id").await.unwrap();
    assert_eq!(found.as_deref(), Some("two"));
    let mut tx = store.begin().await.unwrap();
    tx.set_setting("hub.id", None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store.find_setting("hub.id").await.unwrap(), None);
}
