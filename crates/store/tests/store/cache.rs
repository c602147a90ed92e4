//! What is remembered of the database ends with the write that changes it, and with no other.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use lyceum_core::Secret;
use lyceum_core::ids::{SessionId, UserId};
use lyceum_store::{
    Cache, NewOAuthClient, NewRole, NewSession, NewToken, RoleHolder, SecretKey, Store, Tag,
    TokenOwner, Tx, User,
};
use serde_json::json;

use crate::support::{
    add_service, add_user, at, group_name, object, on_both_engines, secret, server_name, user_name,
};

on_both_engines!(
    a_write_ends_what_depends_on_it_and_nothing_else,
    what_everybody_depends_on_ends_everything,
    what_happens_all_the_time_ends_nothing_of_others,
    a_transaction_that_is_dropped_ends_nothing,
    no_answered_write_is_ever_hidden_by_what_is_remembered,
);

/// Remembers the words for some tags.
struct Remembered {
    cache: Cache<&'static str, ()>,
}

impl Remembered {
    /// Remembers something for each tag; without a tag, what depends on nothing in particular.
    fn new(store: &Store, all: &[(&'static str, &[Tag<'static>])]) -> Self {
        let cache = Cache::new(store.clone(), 1000);
        for (word, tags) in all {
            cache.fill(*word, (), store.moment(), tags.iter().copied());
        }
        Self { cache }
    }

    fn has(&self, word: &'static str) -> bool {
        self.cache.get(&word).is_some()
    }
}

/// Writes something, and says whether `ada` and `bob` are still remembered.
async fn after<F>(store: &Store, tags: [Tag<'static>; 2], write: F) -> (bool, bool)
where
    F: AsyncFnOnce(&mut Tx),
{
    let remembered = Remembered::new(store, &[("ada", &tags[..1]), ("bob", &tags[1..])]);
    assert!(remembered.has("ada") && remembered.has("bob"));
    let mut tx = store.begin().await.unwrap();
    write(&mut tx).await;
    assert!(
        remembered.has("ada"),
        "before the commit nothing has changed"
    );
    tx.commit().await.unwrap();
    (remembered.has("ada"), remembered.has("bob"))
}

fn new_session<'a>(user: &User, text: &'a Secret<String>) -> NewSession<'a> {
    NewSession {
        secret: text,
        public_id: "public",
        user_id: user.id,
        created: at(0),
        expires_at: at(1000),
        client_addr: "",
        user_agent: "",
    }
}

fn new_token<'a>(text: &'a Secret<String>, user: &User) -> NewToken<'a> {
    NewToken {
        secret: text,
        owner: TokenOwner::User(user.id),
        client_id: None,
        session_id: Some("public"),
        server_id: None,
        scopes: &[],
        note: "",
        created: at(0),
        expires_at: None,
    }
}

async fn a_write_ends_what_depends_on_it_and_nothing_else(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let mut tx = store.begin().await.unwrap();
    let group = tx.create_group(&group_name("class")).await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    let (other, _) = tx
        .ensure_server(bob.id, &server_name(""), at(0))
        .await
        .unwrap();
    let texts = [secret("0123456789abcdef"), secret("123456789abcdef0")];
    let token = tx.create_token(new_token(&texts[0], &ada)).await.unwrap();
    let session = tx.create_session(new_session(&ada, &texts[1])).await;
    let session = session.unwrap();
    tx.commit().await.unwrap();

    let users = [Tag::User(ada.id), Tag::User(bob.id)];
    let only_adas = (false, true);
    let info = object(json!({"a": 1}));
    let check =
        async |what: &str, tags, write: &mut dyn for<'a> FnMut(&'a mut Tx) -> Writing<'a>| {
            assert_eq!(
                after(&store, tags, async |tx: &mut Tx| write(tx).await).await,
                only_adas,
                "{what}"
            );
        };
    check("admin", users, &mut |tx| {
        Box::pin(async move { tx.set_admin(ada.id, true).await.unwrap() })
    })
    .await;
    let about = info.clone();
    check("info", users, &mut |tx| {
        let about = about.clone();
        Box::pin(async move { tx.set_user_info(ada.id, Some(&about)).await.unwrap() })
    })
    .await;
    check("join", users, &mut |tx| {
        Box::pin(async move { tx.add_member(group.id, ada.id).await.map(drop).unwrap() })
    })
    .await;
    check("leave", users, &mut |tx| {
        Box::pin(async move { tx.remove_member(group.id, ada.id).await.map(drop).unwrap() })
    })
    .await;
    check("named server", users, &mut |tx| {
        Box::pin(async move {
            tx.ensure_server(ada.id, &server_name("lab"), at(0))
                .await
                .map(drop)
                .unwrap();
        })
    })
    .await;
    check("logout", users, &mut |tx| {
        Box::pin(async move {
            tx.delete_tokens_of_session(ada.id, "public")
                .await
                .map(drop)
                .unwrap();
        })
    })
    .await;
    check("out everywhere", users, &mut |tx| {
        Box::pin(async move { tx.delete_sessions_of_user(ada.id).await.map(drop).unwrap() })
    })
    .await;
    check("forget a client", users, &mut |tx| {
        Box::pin(async move {
            tx.delete_tokens_of_client(ada.id, "c")
                .await
                .map(drop)
                .unwrap();
        })
    })
    .await;
    let tokens = [
        Tag::Token(token.id),
        Tag::Token(lyceum_core::ids::TokenId(token.id.0 + 1)),
    ];
    check("token", tokens, &mut |tx| {
        Box::pin(async move { tx.delete_token(token.id).await.map(drop).unwrap() })
    })
    .await;
    let sessions = [
        Tag::Session(session.id),
        Tag::Session(SessionId(session.id.0 + 1)),
    ];
    check("session", sessions, &mut |tx| {
        Box::pin(async move { tx.delete_session(session.id).await.map(drop).unwrap() })
    })
    .await;
    check("longer session", sessions, &mut |tx| {
        Box::pin(async move { tx.touch_session(session.id, at(1), at(2000)).await.unwrap() })
    })
    .await;
    let servers = [Tag::Server(server.id), Tag::Server(other.id)];
    check("start", servers, &mut |tx| {
        Box::pin(async move { tx.record_start(server.id, "m", at(1), None).await.unwrap() })
    })
    .await;
    check("own tokens", servers, &mut |tx| {
        Box::pin(async move {
            tx.delete_tokens_of_server(server.id)
                .await
                .map(drop)
                .unwrap();
        })
    })
    .await;
    let clients = [
        Tag::Client("jupyterhub-user-ada"),
        Tag::Client("jupyterhub-user-bob"),
    ];
    check("client", clients, &mut |tx| {
        Box::pin(async move { client(tx, "jupyterhub-user-ada").await })
    })
    .await;
    check("no client", clients, &mut |tx| {
        Box::pin(async move {
            tx.delete_oauth_client("jupyterhub-user-ada")
                .await
                .map(drop)
                .unwrap();
        })
    })
    .await;
}

type Writing<'a> = std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>;

async fn client(tx: &mut Tx, identifier: &str) {
    let new = NewOAuthClient {
        identifier,
        description: "",
        secret: None,
        redirect_uri: "/",
        allowed_scopes: &[],
        server_id: None,
        service_id: None,
    };
    tx.upsert_oauth_client(new).await.unwrap();
}

async fn what_everybody_depends_on_ends_everything(store: Store) {
    let (ada, bob) = (add_user(&store, "ada").await, add_user(&store, "bob").await);
    let nobody = [Tag::User(UserId(1000)), Tag::User(UserId(1001))];
    let gone = (false, false);
    let role = NewRole {
        name: "teacher",
        description: "",
        scopes: &["admin-ui".to_owned()],
        managed_by_auth: false,
    };
    let told = after(&store, nobody, async |tx: &mut Tx| {
        let role = tx.upsert_role(role).await.unwrap();
        let group = tx.create_group(&group_name("class")).await.unwrap();
        tx.grant_role(role.id, RoleHolder::Group(group.id))
            .await
            .unwrap();
    });
    assert_eq!(told.await, gone);
    let told = after(&store, nobody, async |tx: &mut Tx| {
        let role = tx.get_role("teacher").await.unwrap();
        assert!(tx.delete_role(role.id).await.unwrap());
    });
    assert_eq!(told.await, gone);
    let told = after(&store, nobody, async |tx: &mut Tx| {
        let group = tx.get_group(&group_name("class")).await.unwrap();
        assert!(tx.delete_group(group.id).await.unwrap());
    });
    assert_eq!(told.await, gone);
    let told = after(&store, nobody, async |tx: &mut Tx| {
        tx.rename_user(ada.id, &user_name("eve")).await.unwrap();
    });
    assert_eq!(told.await, gone);
    let told = after(&store, nobody, async |tx: &mut Tx| {
        assert!(tx.delete_user(bob.id).await.unwrap());
    });
    assert_eq!(told.await, gone);
    let remembered = Remembered::new(&store, &[("anything", &[])]);
    add_service(&store, "culler").await;
    assert!(!remembered.has("anything"));
}

/// A class that comes in: none of it makes the others' entries be read again.
async fn what_happens_all_the_time_ends_nothing_of_others(store: Store) {
    let ada = add_user(&store, "ada").await;
    let remembered = Remembered::new(&store, &[("bob", &[Tag::User(UserId(1000))])]);
    add_user(&store, "carl").await;
    let texts = [secret("0123456789abcdef"), secret("123456789abcdef0")];
    let mut tx = store.begin().await.unwrap();
    tx.create_session(new_session(&ada, &texts[0]))
        .await
        .unwrap();
    tx.create_token(new_token(&texts[1], &ada)).await.unwrap();
    let (server, _) = tx
        .ensure_server(ada.id, &server_name(""), at(0))
        .await
        .unwrap();
    tx.record_start(server.id, "m", at(1), None).await.unwrap();
    client(&mut tx, "jupyterhub-user-ada").await;
    tx.set_setting("a", Some("b")).await.unwrap();
    tx.purge_expired(at(0)).await.unwrap();
    let mut batch = lyceum_store::ActivityBatch::default();
    batch.user(ada.id, at(5));
    tx.record_activity(&batch).await.unwrap();
    tx.commit().await.unwrap();
    assert!(remembered.has("bob"));
}

async fn a_transaction_that_is_dropped_ends_nothing(store: Store) {
    let ada = add_user(&store, "ada").await;
    let tag = Tag::User(ada.id);
    let remembered = Remembered::new(&store, &[("ada", std::slice::from_ref(&tag))]);
    let mut tx = store.begin().await.unwrap();
    tx.set_admin(ada.id, true).await.unwrap();
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    tx.set_admin(ada.id, true).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(remembered.has("ada"));
}

/// A writer counts up while readers remember what they find: whoever asks after a write was answered sees it.
async fn no_answered_write_is_ever_hidden_by_what_is_remembered(store: Store) {
    const WRITES: i64 = 300;
    let ada = add_user(&store, "ada").await;
    let cache: Arc<Cache<UserId, i64>> = Arc::new(Cache::new(store.clone(), 10));
    let answered = Arc::new(AtomicI64::new(0));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (store, cache, answered) = (store.clone(), Arc::clone(&cache), Arc::clone(&answered));
        readers.spawn(async move {
            let mut by_heart = 0;
            loop {
                let at_least = answered.load(Ordering::SeqCst);
                let seen = if let Some(known) = cache.get(&ada.id) {
                    by_heart += 1;
                    known
                } else {
                    let moment = store.moment();
                    let user = store.find_user_by_id(ada.id).await.unwrap().unwrap();
                    let info = user.user_info.unwrap_or_default();
                    let seen = info
                        .get("n")
                        .and_then(serde_json::Value::as_i64)
                        .unwrap_or(0);
                    // The longer this takes, the more happens between reading and remembering.
                    tokio::task::yield_now().await;
                    cache.fill(ada.id, seen, moment, [Tag::User(ada.id)]);
                    seen
                };
                assert!(
                    seen >= at_least,
                    "{at_least} was answered, and {seen} is told"
                );
                if at_least == WRITES {
                    return by_heart;
                }
                tokio::task::yield_now().await;
            }
        });
    }
    for n in 1..=WRITES {
        let mut tx = store.begin().await.unwrap();
        let info = object(json!({"n": n}));
        tx.set_user_info(ada.id, Some(&info)).await.unwrap();
        tx.commit().await.unwrap();
        answered.store(n, Ordering::SeqCst);
    }
    let all = tokio::time::timeout(Duration::from_mins(1), readers.join_all());
    let by_heart: i32 = all.await.unwrap().iter().sum();
    assert!(by_heart > 0, "nothing was ever remembered");
}

#[tokio::test]
async fn the_number_of_entries_is_limited_and_what_is_asked_for_stays() {
    let bed = crate::support::Bed::sqlite().await;
    let cache: Cache<i32, i32> = Cache::new(bed.store.clone(), 100);
    for number in 0..10_000 {
        cache.fill(number, number, bed.store.moment(), []);
        assert_eq!(cache.get(&0), Some(0));
    }
    let kept = (0..10_000).filter(|number| cache.get(number).is_some());
    let kept = kept.count();
    assert!((50..=100).contains(&kept), "{kept}");
}

#[test]
fn secrets_of_different_kinds_have_different_places() {
    let one = secret("abc");
    let key = SecretKey::of("token", &one);
    assert_eq!(key, SecretKey::of("token", &secret("abc")));
    assert_ne!(key, SecretKey::of("cookie", &one));
    assert_ne!(
        SecretKey::of_all("x", &["ab", "c"]),
        SecretKey::of_all("x", &["a", "bc"])
    );
    assert_eq!(format!("{key:?}"), "[key of a secret]");
}
