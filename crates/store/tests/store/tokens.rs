//! API tokens, services, OAuth clients and codes.

use lyceum_core::Secret;
use lyceum_core::ids::UserId;
use lyceum_core::names::ServiceName;
use lyceum_store::{
    ApiToken, NewOAuthClient, NewToken, OAuthClient, OAuthCode, Owner, Store, StoreError,
    TokenOwner, Tx,
};

use crate::support::{add_service, add_user, at, on_both_engines, scopes, secret, server_name};

on_both_engines!(
    a_token_is_found_by_its_text_until_it_ends,
    tokens_with_the_same_beginning_are_told_apart,
    a_token_that_nobody_could_show_is_refused,
    a_services_token_names_the_service,
    tokens_are_deleted_by_what_they_belong_to,
    a_client_takes_its_tokens_and_codes_along,
    a_client_is_brought_up_to_date,
    a_code_works_once,
    services_are_listed_and_deleted,
    what_has_ended_is_purged,
);

const TEXT: &str = "0123456789abcdef0123456789abcdef";

fn token(text: &Secret<String>, owner: TokenOwner) -> NewToken<'_> {
    NewToken {
        secret: text,
        owner,
        client_id: None,
        session_id: None,
        server_id: None,
        scopes: &[],
        note: "for a test",
        created: at(0),
        expires_at: None,
    }
}

async fn add(store: &Store, new: NewToken<'_>) -> ApiToken {
    let mut tx = store.begin().await.unwrap();
    let token = tx.create_token(new).await.unwrap();
    tx.commit().await.unwrap();
    token
}

async fn a_token_is_found_by_its_text_until_it_ends(store: Store) {
    let ada = add_user(&store, "ada").await;
    let owner = TokenOwner::User(ada.id);
    let granted = scopes(&["read:users!user=ada", "inherit"]);
    let made = add(
        &store,
        NewToken {
            scopes: &granted,
            session_id: Some("s"),
            expires_at: Some(at(100)),
            ..token(&secret(TEXT), owner)
        },
    )
    .await;
    let (found, owner) = store
        .find_token(&secret(TEXT), at(99))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found, made);
    assert_eq!(found.scopes, granted);
    assert!(matches!(owner, Owner::User(user) if user.name == ada.name));
    assert!(
        store
            .find_token(&secret(TEXT), at(100))
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(store.find_token_by_id(made.id).await.unwrap(), Some(made));
    for wrong in ["", "0123", "0123456789abcdef0123456789abcdee", &TEXT[..31]] {
        let found = store.find_token(&secret(wrong), at(1)).await.unwrap();
        assert!(found.is_none(), "{wrong}");
    }
}

async fn tokens_with_the_same_beginning_are_told_apart(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    for (text, user) in [("same-begin-1", ada.id), ("same-begin-2", bob.id)] {
        add(&store, token(&secret(text), TokenOwner::User(user))).await;
    }
    let (found, _) = store
        .find_token(&secret("same-begin-2"), at(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.owner, TokenOwner::User(bob.id));
}

async fn a_token_that_nobody_could_show_is_refused(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    for text in ["short", &"x".repeat(65)] {
        let text = secret(text);
        let result = tx
            .create_token(token(&text, TokenOwner::User(ada.id)))
            .await;
        assert!(matches!(result, Err(StoreError::TokenLength)));
    }
    let text = secret(TEXT);
    let result = tx
        .create_token(token(&text, TokenOwner::User(UserId(99))))
        .await;
    assert!(matches!(result, Err(StoreError::Orphan { .. })));
}

async fn a_services_token_names_the_service(store: Store) {
    let service = add_service(&store, "grader").await;
    add(
        &store,
        token(&secret(TEXT), TokenOwner::Service(service.id)),
    )
    .await;
    let (_, owner) = store
        .find_token(&secret(TEXT), at(0))
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(owner, Owner::Service(found) if found == service));
    let listed = store
        .tokens_of(TokenOwner::Service(service.id), at(0))
        .await;
    assert_eq!(listed.unwrap().len(), 1);
}

async fn tokens_are_deleted_by_what_they_belong_to(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    add_client(&mut tx, "client").await;
    tx.commit().await.unwrap();
    let owner = TokenOwner::User(ada.id);
    for (text, user) in [("session-ada", ada.id), ("session-bob", bob.id)] {
        let text = secret(text);
        let new = NewToken {
            session_id: Some("s"),
            ..token(&text, TokenOwner::User(user))
        };
        add(&store, new).await;
    }
    let client = add(
        &store,
        NewToken {
            client_id: Some("client"),
            ..token(&secret("of-the-client"), owner)
        },
    )
    .await;
    let own = add(
        &store,
        NewToken {
            server_id: Some(server.id),
            ..token(&secret("of-the-server"), owner)
        },
    )
    .await;
    let plain = add(&store, token(&secret("plain-token"), owner)).await;

    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.delete_tokens_of_session(ada.id, "s").await.unwrap(), 1);
    let left = tx.tokens_of(owner, at(0)).await.unwrap();
    assert_eq!(left, [client, own, plain.clone()]);
    assert_eq!(
        tx.delete_tokens_of_client(bob.id, "client").await.unwrap(),
        0
    );
    assert_eq!(
        tx.delete_tokens_of_client(ada.id, "client").await.unwrap(),
        1
    );
    assert_eq!(tx.delete_tokens_of_server(server.id).await.unwrap(), 1);
    assert!(tx.delete_token(plain.id).await.unwrap());
    assert!(!tx.delete_token(plain.id).await.unwrap());
    assert_eq!(tx.tokens_of(owner, at(0)).await.unwrap(), []);
    let of_bob = tx.tokens_of(TokenOwner::User(bob.id), at(0)).await;
    assert_eq!(of_bob.unwrap().len(), 1);
    tx.commit().await.unwrap();
}

async fn add_client(tx: &mut Tx, identifier: &str) -> OAuthClient {
    tx.upsert_oauth_client(NewOAuthClient {
        identifier,
        description: "a client",
        secret: Some(&secret("its-own-secret")),
        redirect_uri: "/user/ada/oauth_callback",
        allowed_scopes: &scopes(&["inherit"]),
        server_id: None,
        service_id: None,
    })
    .await
    .unwrap()
}

fn code(user: UserId) -> OAuthCode {
    OAuthCode {
        client_id: "client".to_owned(),
        user_id: user,
        redirect_uri: "/user/ada/oauth_callback".to_owned(),
        session_id: Some("s".to_owned()),
        scopes: scopes(&["access:servers!server=ada/"]),
        code_challenge: Some("challenge".to_owned()),
        code_challenge_method: Some("S256".to_owned()),
        expires_at: at(300),
    }
}

async fn a_client_takes_its_tokens_and_codes_along(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    add_client(&mut tx, "client").await;
    tx.create_token(NewToken {
        client_id: Some("client"),
        ..token(&secret(TEXT), TokenOwner::User(ada.id))
    })
    .await
    .unwrap();
    tx.create_oauth_code(&secret("the code"), &code(ada.id))
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_oauth_client("client").await.unwrap());
    assert!(!tx.delete_oauth_client("client").await.unwrap());
    let taken = tx.take_oauth_code(&secret("the code"), at(1)).await;
    assert_eq!(taken.unwrap(), None);
    tx.commit().await.unwrap();
    assert!(
        store
            .find_token(&secret(TEXT), at(1))
            .await
            .unwrap()
            .is_none()
    );
}

async fn a_client_is_brought_up_to_date(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    let old = add_client(&mut tx, "client").await;
    assert!(old.secret_matches(&secret("its-own-secret")));
    assert!(!old.secret_matches(&secret("another-secret")));
    tx.create_token(NewToken {
        client_id: Some("client"),
        ..token(&secret(TEXT), TokenOwner::User(ada.id))
    })
    .await
    .unwrap();
    let new = tx
        .upsert_oauth_client(NewOAuthClient {
            identifier: "client",
            description: "changed",
            secret: None,
            redirect_uri: "/elsewhere",
            allowed_scopes: &[],
            server_id: None,
            service_id: None,
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(new.id, old.id);
    assert!(!new.secret_matches(&secret("its-own-secret")));
    let found = store.find_oauth_client("client").await.unwrap();
    assert_eq!(found, Some(new.clone()));
    assert_eq!(store.list_oauth_clients().await.unwrap(), [new]);
    assert!(
        store
            .find_token(&secret(TEXT), at(1))
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_code_works_once(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    add_client(&mut tx, "client").await;
    for text in ["one", "late"] {
        tx.create_oauth_code(&secret(text), &code(ada.id))
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();

    // Two requests at once: exactly one gets it.
    let take = async || {
        let mut tx = store.begin().await.unwrap();
        let taken = tx.take_oauth_code(&secret("one"), at(1)).await.unwrap();
        tx.commit().await.unwrap();
        taken
    };
    let (first, second) = tokio::join!(take(), take());
    assert_eq!(first.or(second), Some(code(ada.id)));
    assert_eq!(take().await, None);

    let mut tx = store.begin().await.unwrap();
    let late = tx.take_oauth_code(&secret("late"), at(300)).await;
    assert_eq!(late.unwrap(), None);
    tx.commit().await.unwrap();
}

async fn services_are_listed_and_deleted(store: Store) {
    let grader = add_service(&store, "grader").await;
    let announcer = add_service(&store, "announcer").await;
    let mut changed = grader.clone();
    changed.data.admin = true;
    changed.data.url = None;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.upsert_service(&changed.data).await.unwrap(), changed);
    tx.commit().await.unwrap();
    let listed = store.list_services().await.unwrap();
    assert_eq!(listed, [announcer.clone(), changed.clone()]);
    let name = ServiceName::parse("grader").unwrap();
    assert_eq!(store.find_service(&name).await.unwrap(), Some(changed));
    let mut tx = store.begin().await.unwrap();
    assert!(tx.delete_service(grader.id).await.unwrap());
    assert!(!tx.delete_service(grader.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.find_service_by_id(grader.id).await.unwrap(), None);
}

async fn what_has_ended_is_purged(store: Store) {
    let ada = add_user(&store, "ada").await;
    let mut tx = store.begin().await.unwrap();
    add_client(&mut tx, "client").await;
    tx.create_oauth_code(&secret("code"), &code(ada.id))
        .await
        .unwrap();
    for (text, expires_at) in [("never-ends", None), ("ends-soon", Some(at(200)))] {
        tx.create_token(NewToken {
            expires_at,
            ..token(&secret(text), TokenOwner::User(ada.id))
        })
        .await
        .unwrap();
    }
    for (text, expires_at) in [("soon", at(200)), ("later", at(900))] {
        tx.create_session(lyceum_store::NewSession {
            secret: &secret(text),
            public_id: "p",
            user_id: ada.id,
            created: at(0),
            expires_at,
            client_addr: "",
            user_agent: "",
        })
        .await
        .unwrap();
    }
    let purged = tx.purge_expired(at(200)).await.unwrap();
    assert_eq!((purged.tokens, purged.codes, purged.sessions), (1, 0, 1));
    let purged = tx.purge_expired(at(300)).await.unwrap();
    assert_eq!((purged.tokens, purged.codes, purged.sessions), (0, 1, 0));
    tx.commit().await.unwrap();
}
