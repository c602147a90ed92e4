//! The audit table, and the places from which users have logged in.

use lyceum_store::migrations::MIGRATIONS;
use lyceum_store::{AuditQuery, AuditRow, NewAuditRow, OpenError, Store, StoreSettings};
use serde_json::json;

use crate::support::{add_user, at, on_both_engines, postgres, user_name};

on_both_engines!(
    events_are_listed_the_latest_first_and_by_all_conditions,
    many_events_are_written_at_once_and_in_order,
    an_event_outlives_the_user_that_it_is_about,
    old_events_are_thrown_away,
    an_event_of_a_transaction_that_is_undone_did_not_happen,
    a_place_is_known_after_a_login_until_it_is_forgotten,
);

fn event(seconds: i64, kind: &'static str, actor: &str, about: Option<&str>) -> NewAuditRow {
    NewAuditRow {
        at: at(seconds),
        kind,
        actor: actor.to_owned(),
        about: about.map(str::to_owned),
        server: None,
        client_addr: (kind == "login").then(|| "192.0.2.7".to_owned()),
        detail: json!({"n": seconds}),
    }
}

async fn append(store: &Store, rows: &[NewAuditRow]) {
    let mut tx = store.begin().await.unwrap();
    tx.append_audit(rows).await.unwrap();
    tx.commit().await.unwrap();
}

async fn list(store: &Store, query: AuditQuery) -> Vec<AuditRow> {
    store.list_audit(&query).await.unwrap()
}

async fn seconds(store: &Store, query: AuditQuery) -> Vec<i64> {
    let rows = list(store, query).await;
    rows.iter()
        .map(|row| row.detail["n"].as_i64().unwrap())
        .collect()
}

fn all() -> AuditQuery {
    AuditQuery {
        limit: 100,
        ..AuditQuery::default()
    }
}

async fn events_are_listed_the_latest_first_and_by_all_conditions(store: Store) {
    append(&store, &[]).await;
    append(
        &store,
        &[
            event(0, "login", "ada", Some("ada")),
            event(10, "server-stop", "ada", Some("bob")),
            event(20, "login", "bob", Some("bob")),
            event(30, "logout", "bob", Some("bob")),
        ],
    )
    .await;
    let rows = list(&store, all()).await;
    assert_eq!(rows.len(), 4);
    assert_eq!(rows[3].kind, "login");
    assert_eq!(rows[3].about.as_deref(), Some("ada"));
    assert_eq!(rows[3].client_addr.as_deref(), Some("192.0.2.7"));
    assert_eq!((rows[0].at, rows[0].server.as_deref()), (at(30), None));
    let middle = rows[1].id;
    let text = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (all(), vec![30, 20, 10, 0]),
        (
            AuditQuery {
                oldest_first: true,
                ..all()
            },
            vec![0, 10, 20, 30],
        ),
        (AuditQuery { limit: 2, ..all() }, vec![30, 20]),
        (
            AuditQuery {
                since: Some(at(10)),
                until: Some(at(30)),
                ..all()
            },
            vec![20, 10],
        ),
        (
            AuditQuery {
                user: text("ada"),
                ..all()
            },
            vec![10, 0],
        ),
        (
            AuditQuery {
                user: text("bob"),
                ..all()
            },
            vec![30, 20, 10],
        ),
        (
            AuditQuery {
                kinds: vec!["login".into()],
                ..all()
            },
            vec![20, 0],
        ),
        (
            AuditQuery {
                kinds: vec!["login".into(), "logout".into(), "cull".into()],
                user: text("bob"),
                ..all()
            },
            vec![30, 20],
        ),
        (
            AuditQuery {
                client_addr: text("192.0.2.7"),
                ..all()
            },
            vec![20, 0],
        ),
        (
            AuditQuery {
                before: Some(middle),
                ..all()
            },
            vec![10, 0],
        ),
        (
            AuditQuery {
                after: Some(middle),
                oldest_first: true,
                ..all()
            },
            vec![30],
        ),
        (
            AuditQuery {
                user: text("' OR 1=1 --"),
                ..all()
            },
            vec![],
        ),
    ] {
        assert_eq!(seconds(&store, query.clone()).await, expected, "{query:?}");
    }
}

async fn many_events_are_written_at_once_and_in_order(store: Store) {
    let rows: Vec<_> = (0..150)
        .map(|second| event(second, "login", "ada", Some("ada")))
        .collect();
    append(&store, &rows).await;
    let query = AuditQuery {
        oldest_first: true,
        limit: 1000,
        ..all()
    };
    assert_eq!(seconds(&store, query).await, (0..150).collect::<Vec<i64>>());
}

async fn an_event_outlives_the_user_that_it_is_about(store: Store) {
    let ada = add_user(&store, "ada").await;
    append(&store, &[event(0, "login", "ada", Some("ada"))]).await;
    let mut tx = store.begin().await.unwrap();
    tx.delete_user(ada.id).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(list(&store, all()).await.len(), 1);
}

async fn old_events_are_thrown_away(store: Store) {
    let rows: Vec<_> = (0..5)
        .map(|second| event(second, "login", "ada", None))
        .collect();
    append(&store, &rows).await;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.purge_audit(at(3)).await.unwrap(), 3);
    tx.commit().await.unwrap();
    assert_eq!(seconds(&store, all()).await, [4, 3]);
    // The numbers of what is gone are not given again, so that whoever follows misses nothing.
    let highest = list(&store, all()).await[0].id;
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.purge_audit(at(100)).await.unwrap(), 2);
    tx.commit().await.unwrap();
    append(&store, &[event(200, "login", "ada", None)]).await;
    assert!(list(&store, all()).await[0].id > highest);
}

async fn an_event_of_a_transaction_that_is_undone_did_not_happen(store: Store) {
    let mut tx = store.begin().await.unwrap();
    tx.append_audit(&[event(0, "login", "ada", None)])
        .await
        .unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(list(&store, all()).await, []);
}

#[tokio::test]
async fn who_only_looks_sees_what_is_written_meanwhile_and_cannot_write_sqlite() {
    let directory = tempfile::TempDir::new().unwrap();
    let settings = StoreSettings::sqlite(directory.path().join("lyceum.sqlite"));
    let missing = Store::open_to_read(&settings).await;
    assert!(matches!(missing, Err(OpenError::NotThere { .. })));
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    look(&settings).await;
}

#[tokio::test]
async fn who_only_looks_sees_what_is_written_meanwhile_and_cannot_write_postgres() {
    let settings = postgres::fresh_database().await;
    let missing = Store::open_to_read(&settings).await;
    assert!(matches!(missing, Err(OpenError::NotThere { .. })));
    look(&settings).await;
}

async fn look(settings: &StoreSettings) {
    let store = Store::open_with(settings, at(0), &MIGRATIONS[..3])
        .await
        .unwrap();
    store.close().await;
    let older = Store::open_to_read(settings).await;
    assert!(matches!(older, Err(OpenError::Older { found: 3, .. })));
    let store = Store::open(settings, at(0)).await.unwrap();
    let reader = Store::open_to_read(settings).await.unwrap();
    append(&store, &[event(1, "login", "ada", None)]).await;
    assert_eq!(seconds(&reader, all()).await, [1]);
    append(&store, &[event(2, "login", "ada", None)]).await;
    assert_eq!(seconds(&reader, all()).await, [2, 1]);
    let write = async {
        let mut tx = reader.begin().await?;
        tx.append_audit(&[event(3, "login", "ada", None)]).await?;
        tx.commit().await
    };
    write.await.unwrap_err();
    store.close().await;
    assert_eq!(
        seconds(&reader, all()).await,
        [2, 1],
        "also when Lyceum has ended"
    );
    reader.close().await;
}

async fn a_place_is_known_after_a_login_until_it_is_forgotten(store: Store) {
    let ada = add_user(&store, "ada").await;
    add_user(&store, "bob").await;
    let mut tx = store.begin().await.unwrap();
    tx.note_login_place(ada.id, b"here", at(0)).await.unwrap();
    tx.note_login_place(ada.id, b"there", at(0)).await.unwrap();
    tx.note_login_place(ada.id, b"here", at(50)).await.unwrap();
    tx.commit().await.unwrap();
    for (name, place, since, known) in [
        ("ada", b"here".as_slice(), 0, true),
        ("ada", b"here", 50, true),
        ("ada", b"here", 51, false),
        ("ada", b"there", 0, true),
        ("ada", b"there", 1, false),
        ("ada", b"", 0, false),
        ("bob", b"here", 0, false),
        ("nobody", b"here", 0, false),
    ] {
        let found = store
            .has_logged_in_from(&user_name(name), place, at(since))
            .await
            .unwrap();
        assert_eq!(found, known, "{name} {place:?} {since}");
    }
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.purge_login_places(at(50)).await.unwrap(), 1);
    tx.delete_user(ada.id).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.purge_login_places(at(1000)).await.unwrap(), 0);
}
