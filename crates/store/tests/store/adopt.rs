//! Rows that another hub has made: taken as they are, once, and found by what only their owners know.

use lyceum_core::ids::UserId;
use lyceum_core::token::{self, TokenHash};
use lyceum_store::{
    AdoptedClient, AdoptedShare, AdoptedShareCode, AdoptedToken, Owner, Page, ReceiverId, SharesOf,
    Store, TokenOwner,
};

use crate::support::{
    add_service, add_user, at, on_both_engines, scopes, secret, server_name, user_name,
};

on_both_engines!(
    a_token_is_adopted_once_and_found_by_its_text,
    a_client_is_adopted_once_with_the_hash_of_its_secret,
    a_share_and_a_code_are_adopted_once,
);

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A hash as JupyterHub makes it of [`TOKEN`] with 16384 rounds.
fn hash() -> TokenHash {
    TokenHash::parse(TokenHash::of_chosen(TOKEN).as_str()).unwrap()
}

async fn a_token_is_adopted_once_and_found_by_its_text(store: Store) {
    let ada = add_user(&store, "ada").await;
    let hash = hash();
    let granted = scopes(&["read:users!user=ada"]);
    let adopted = AdoptedToken {
        hash: &hash,
        prefix: token::prefix(TOKEN).unwrap(),
        owner: TokenOwner::User(ada.id),
        scopes: &granted,
        note: "from there",
        created: at(-100),
        last_activity: Some(at(-50)),
        expires_at: Some(at(100)),
    };
    let mut tx = store.begin().await.unwrap();
    assert!(tx.adopt_token(adopted.clone()).await.unwrap());
    assert!(!tx.adopt_token(adopted.clone()).await.unwrap());
    tx.commit().await.unwrap();

    let found = store.find_token(&secret(TOKEN), at(0)).await.unwrap();
    let (token, owner) = found.unwrap();
    assert!(matches!(owner, Owner::User(user) if user.id == ada.id));
    assert_eq!(token.scopes, granted);
    assert_eq!(token.note, "from there");
    assert_eq!(token.created, at(-100));
    assert_eq!(token.last_activity, Some(at(-50)));
    assert_eq!((token.client_id, token.server_id), (None, None));
    let later = store.find_token(&secret(TOKEN), at(101)).await.unwrap();
    assert!(later.is_none());

    // A row that was refused leaves the transaction usable, and one for nobody is an error.
    let mut tx = store.begin().await.unwrap();
    assert!(!tx.adopt_token(adopted.clone()).await.unwrap());
    let nobody = AdoptedToken {
        hash: &TokenHash::of("another token of nobody"),
        owner: TokenOwner::User(UserId(9999)),
        ..adopted
    };
    assert!(tx.adopt_token(nobody).await.is_err());
}

async fn a_client_is_adopted_once_with_the_hash_of_its_secret(store: Store) {
    let service = add_service(&store, "forum").await;
    let hash = hash();
    let allowed = scopes(&["read:users!user"]);
    let adopted = AdoptedClient {
        identifier: "service-forum",
        description: "a forum",
        secret: Some(&hash),
        redirect_uri: "/services/forum/oauth_callback",
        allowed_scopes: &allowed,
        service: service.id,
    };
    let mut tx = store.begin().await.unwrap();
    assert!(tx.adopt_oauth_client(adopted.clone()).await.unwrap());
    let other = AdoptedClient {
        description: "another one",
        ..adopted
    };
    assert!(!tx.adopt_oauth_client(other).await.unwrap());
    tx.commit().await.unwrap();
    let found = store.find_oauth_client("service-forum").await.unwrap();
    let client = found.unwrap();
    assert_eq!(client.description, "a forum");
    assert_eq!(client.service_id, Some(service.id));
    assert!(client.secret_matches(&secret(TOKEN)));
    assert!(!client.secret_matches(&secret("another")));
}

async fn a_share_and_a_code_are_adopted_once(store: Store) {
    let ada = add_user(&store, "ada").await;
    let bob = add_user(&store, "bob").await;
    let hash = hash();
    let granted = scopes(&["access:servers"]);
    let mut tx = store.begin().await.unwrap();
    let lab = server_name("lab");
    let (server, _) = tx.ensure_server(ada.id, &lab, at(0)).await.unwrap();
    let share = AdoptedShare {
        server: server.id,
        with: ReceiverId::User(bob.id),
        scopes: &granted,
        created: at(-100),
        expires_at: Some(at(100)),
    };
    assert!(tx.adopt_share(share.clone()).await.unwrap());
    assert!(!tx.adopt_share(share).await.unwrap());
    let code = AdoptedShareCode {
        server: server.id,
        hash: &hash,
        prefix: token::prefix(TOKEN).unwrap(),
        scopes: &granted,
        created: at(-100),
        expires_at: Some(at(100)),
        exchange_count: 3,
        last_exchanged_at: Some(at(-10)),
    };
    assert!(tx.adopt_share_code(code.clone()).await.unwrap());
    assert!(!tx.adopt_share_code(code).await.unwrap());
    tx.commit().await.unwrap();

    let of = SharesOf::User(bob.id);
    let shares = store.list_shares(of, Page::ALL, at(0)).await.unwrap();
    let [share] = &shares.items[..] else {
        panic!("{shares:?}");
    };
    assert_eq!(share.server.user, user_name("ada"));
    assert_eq!((share.created, share.expires_at), (at(-100), Some(at(100))));
    assert_eq!(share.scopes, granted);
    let code = store.find_share_code(&secret(TOKEN), at(0)).await.unwrap();
    let code = code.unwrap();
    assert_eq!(code.exchange_count, 3);
    assert_eq!(code.last_exchanged_at, Some(at(-10)));
    assert_eq!(code.created, at(-100));
}
