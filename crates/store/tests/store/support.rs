//! A store for each test on each engine, and rows to begin with.

pub(crate) mod child;
pub(crate) mod postgres;

use lyceum_core::clock::Timestamp;
use lyceum_core::names::{GroupName, ServerName, ServiceName, UserName};
use lyceum_core::random;
use lyceum_core::secret::Secret;
use lyceum_store::{NewUser, Service, ServiceData, Store, StoreSettings, User};
use serde_json::{Map, Value};
use tempfile::TempDir;

/// A store, and what has to stay as long as it is used.
pub(crate) struct Bed {
    pub(crate) store: Store,
    _directory: Option<TempDir>,
}

impl Bed {
    pub(crate) async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let settings = StoreSettings::sqlite(directory.path().join("lyceum.sqlite"));
        Self {
            store: Store::open(&settings, at(0)).await.unwrap(),
            _directory: Some(directory),
        }
    }

    pub(crate) async fn postgres() -> Self {
        let settings = postgres::fresh_database().await;
        Self {
            store: Store::open(&settings, at(0)).await.unwrap(),
            _directory: None,
        }
    }
}

/// Makes two tests of each function, one for each engine.
macro_rules! on_both_engines {
    ($($case:ident),+ $(,)?) => {$(
        mod $case {
            #[tokio::test]
            async fn sqlite() {
                let bed = $crate::support::Bed::sqlite().await;
                super::$case(bed.store.clone()).await;
                bed.store.close().await;
            }

            #[tokio::test]
            async fn postgres() {
                let bed = $crate::support::Bed::postgres().await;
                super::$case(bed.store.clone()).await;
                bed.store.close().await;
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// An instant, in seconds after some day in 2026.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

pub(crate) fn user_name(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn group_name(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

pub(crate) fn server_name(name: &str) -> ServerName {
    ServerName::parse(name).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret<String> {
    Secret::from(text)
}

pub(crate) fn scopes(list: &[&str]) -> Vec<String> {
    list.iter().map(|scope| (*scope).to_owned()).collect()
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else {
        panic!("not an object: {value}");
    };
    map
}

pub(crate) async fn add_user(store: &Store, name: &str) -> User {
    let mut tx = store.begin().await.unwrap();
    let user = tx
        .create_user(NewUser {
            name: &user_name(name),
            admin: false,
            created: at(0),
            cookie_id: &Secret::new(random::hex(16)),
        })
        .await
        .unwrap();
    tx.commit().await.unwrap();
    user
}

pub(crate) async fn add_service(store: &Store, name: &str) -> Service {
    let mut tx = store.begin().await.unwrap();
    let data = ServiceData {
        name: ServiceName::parse(name).unwrap(),
        admin: false,
        url: Some("http://127.0.0.1:9000".to_owned()),
        info: object(serde_json::json!({"a": 1})),
        display: true,
        oauth_no_confirm: false,
        from_config: true,
        command: Vec::new(),
        oauth_client_allowed_scopes: Vec::new(),
    };
    let service = tx.upsert_service(&data).await.unwrap();
    assert_eq!(service.data, data);
    tx.commit().await.unwrap();
    service
}
