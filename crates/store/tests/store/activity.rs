//! Activity written in batches.

use lyceum_core::ids::UserId;
use lyceum_store::{ActivityBatch, NewSession, NewToken, Store, TokenOwner};

use crate::support::{add_user, at, on_both_engines, secret, server_name};

on_both_engines!(activity_only_moves_forward, a_large_batch_is_written_whole);

async fn write(store: &Store, batch: &ActivityBatch) {
    let mut tx = store.begin().await.unwrap();
    tx.record_activity(batch).await.unwrap();
    tx.commit().await.unwrap();
}

async fn activity_only_moves_forward(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    let token = tx
        .create_token(NewToken {
            secret: &secret("a-token-of-ada"),
            owner: TokenOwner::User(ada.id),
            client_id: None,
            session_id: None,
            server_id: None,
            scopes: &[],
            note: "",
            created: at(0),
            expires_at: None,
        })
        .await
        .unwrap();
    let session = tx
        .create_session(NewSession {
            secret: &secret("cookie"),
            public_id: "p",
            user_id: ada.id,
            created: at(0),
            expires_at: at(1000),
            client_addr: "",
            user_agent: "",
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();

    for (seconds, expected) in [(10, 10), (5, 10), (20, 20)] {
        let mut batch = ActivityBatch::default();
        batch.user(ada.id, at(seconds));
        // Somebody who was deleted meanwhile does no harm.
        batch.user(UserId(99), at(seconds));
        batch.server(server.id, at(seconds));
        batch.token(token.id, at(seconds));
        batch.session(session.id, at(seconds));
        write(&store, &batch).await;
        let user = store.find_user_by_id(ada.id).await.unwrap().unwrap();
        assert_eq!(user.last_activity, Some(at(expected)));
        let (_, found) = store.find_server_by_id(server.id).await.unwrap().unwrap();
        assert_eq!(found.last_activity, Some(at(expected)));
        let found = store.sessions_of_user(ada.id, at(0)).await.unwrap();
        assert_eq!(found[0].last_seen, at(expected));
        let found = store.find_token_by_id(token.id).await.unwrap().unwrap();
        assert_eq!(found.last_activity, Some(at(expected)));
    }
    write(&store, &ActivityBatch::default()).await;
}

async fn a_large_batch_is_written_whole(store: Store) {
    let mut batch = ActivityBatch::default();
    let mut tx = store.begin().await.unwrap();
    for number in 0..700 {
        let user = tx
            .create_user(lyceum_store::NewUser {
                name: &crate::support::user_name(&format!("user-{number}")),
                admin: false,
                created: at(0),
                cookie_id: &secret(&number.to_string()),
            })
            .await
            .unwrap();
        batch.user(user.id, at(number));
    }
    tx.commit().await.unwrap();
    write(&store, &batch).await;
    let users = store.list_users(&lyceum_store::UserQuery::default()).await;
    for (number, user) in users.unwrap().items.iter().enumerate() {
        let expected = at(i64::try_from(number).unwrap());
        assert_eq!(user.last_activity, Some(expected));
    }
}
