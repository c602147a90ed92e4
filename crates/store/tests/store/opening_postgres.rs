//! Opening a database on a PostgreSQL server; and whether both engines have the same tables.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use lyceum_store::migrations::{MIGRATIONS, Migration};
use lyceum_store::{DatabaseUrl, OpenError, Store, StoreConfig};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _};
use tempfile::TempDir;

use crate::support::{add_user, at, postgres};

#[tokio::test]
async fn hubs_that_start_together_make_the_tables_once() {
    let settings = postgres::fresh_database().await;
    let (one, two) = tokio::join!(Store::open(&settings, at(0)), Store::open(&settings, at(0)));
    let (one, two) = (one.unwrap(), two.unwrap());
    add_user(&one, "ada").await;
    assert_eq!(two.count_users().await.unwrap(), 1);
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused() {
    let name = postgres::fresh_name().await;
    let settings = postgres::settings("lyceum", &name);
    Store::open(&settings, at(0)).await.unwrap().close().await;
    postgres::execute(
        &name,
        "INSERT INTO schema_migrations VALUES (1000, 'later', 0)",
    )
    .await;
    let error = Store::open(&settings, at(0)).await.unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 1000, .. }),
        "{error:?}"
    );

    let name = postgres::fresh_name().await;
    postgres::execute(&name, "CREATE TABLE spawners (id INTEGER)").await;
    let error = Store::open(&postgres::settings("lyceum", &name), at(0))
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn failing_steps_leave_the_database_as_it_was() {
    let settings = postgres::fresh_database().await;
    let store = Store::open(&settings, at(0)).await.unwrap();
    add_user(&store, "ada").await;
    store.close().await;
    let mut steps = MIGRATIONS.to_vec();
    let next = i64::try_from(steps.len()).unwrap() + 1;
    for (offset, postgres) in [(0, "DROP TABLE settings"), (1, "SELECT nonsense")] {
        steps.push(Migration {
            version: next + offset,
            name: "a test's",
            sqlite: "",
            postgres,
        });
    }
    let error = Store::open_with(&settings, at(0), &steps)
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::Migration { .. }), "{error:?}");
    let store = Store::open(&settings, at(0)).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
    assert_eq!(store.find_setting("x").await.unwrap(), None);
}

#[tokio::test]
async fn the_password_comes_from_a_private_file() {
    let name = postgres::fresh_name().await;
    postgres::execute(
        "postgres",
        &format!(
            "CREATE ROLE locked LOGIN PASSWORD 'hunter2'; ALTER DATABASE {name} OWNER TO locked"
        ),
    )
    .await;
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("password");
    fs::write(&file, "hunter2\n").unwrap();
    let config = |password_file| StoreConfig {
        database: Some(DatabaseUrl::new(postgres::url("locked", &name))),
        password_file,
    };
    let open = async |config: StoreConfig| {
        let settings = config.settings(directory.path()).unwrap();
        Store::open(&settings, at(0)).await
    };
    let set_mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();

    set_mode(0o644);
    let error = open(config(Some("password".into()))).await.unwrap_err();
    assert!(matches!(error, OpenError::PasswordFile { .. }), "{error:?}");
    set_mode(0o600);
    let store = open(config(Some("password".into()))).await.unwrap();
    add_user(&store, "ada").await;
    store.close().await;

    fs::write(&file, "wrong\n").unwrap();
    let error = open(config(Some("password".into()))).await.unwrap_err();
    assert!(error.hint().unwrap().contains("password_file"), "{error:?}");
    assert!(!format!("{error:?}").contains("wrong"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let error = Store::open(&postgres::settings("lyceum", "no_such_database"), at(0))
        .await
        .unwrap_err();
    assert!(error.hint().unwrap().contains("createdb"), "{error:?}");

    let config = StoreConfig {
        database: Some(DatabaseUrl::new(
            "postgres://ada:hunter2@127.0.0.1:1/lyceum",
        )),
        password_file: None,
    };
    let settings = config.settings("/nonexistent".as_ref()).unwrap();
    let error = Store::open(&settings, at(0)).await.unwrap_err();
    let text = format!("{error} {error:?} {}", error.hint().unwrap());
    assert!(
        text.starts_with("cannot connect to the database postgres://ada@127.0.0.1:1/lyceum"),
        "{text}"
    );
    assert!(text.contains("check that the database server runs"));
    assert!(!text.contains("hunter2"));
}

/// Each column as `table.column type nullable`, and each foreign key and unique constraint.
#[tokio::test]
async fn both_engines_have_the_same_tables() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    crate::opening::open(&path).await.unwrap().close().await;
    let name = postgres::fresh_name().await;
    let settings = postgres::settings("lyceum", &name);
    Store::open(&settings, at(0)).await.unwrap().close().await;

    let mut sqlite = SqliteConnectOptions::new()
        .filename(&path)
        .connect()
        .await
        .unwrap();
    let mut server = postgres::connect(&name).await;
    for (what, of_sqlite, of_postgres) in COMPARED {
        let rows = sqlx::query(*of_sqlite)
            .fetch_all(&mut sqlite)
            .await
            .unwrap();
        let ours: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        let rows = sqlx::query(*of_postgres)
            .fetch_all(&mut server)
            .await
            .unwrap();
        let theirs: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(ours.len() > 5, "{what}: {ours:?}");
        let only_sqlite: Vec<_> = ours.difference(&theirs).collect();
        let only_postgres: Vec<_> = theirs.difference(&ours).collect();
        assert!(
            only_sqlite.is_empty() && only_postgres.is_empty(),
            "{what}: only SQLite {only_sqlite:?}, only PostgreSQL {only_postgres:?}"
        );
    }
}

/// What is compared, and the statements that list it on SQLite and on PostgreSQL in the same words.
const COMPARED: &[(&str, &str, &str)] = &[
    (
        "columns",
        "SELECT m.name || '.' || c.name || ' ' || \
           CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE lower(c.type) END \
           || CASE WHEN c.\"notnull\" OR c.pk THEN '' ELSE ' null' END \
         FROM sqlite_master m, pragma_table_info(m.name) c \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'",
        "SELECT table_name || '.' || column_name || ' ' || data_type \
           || CASE is_nullable WHEN 'YES' THEN ' null' ELSE '' END \
         FROM information_schema.columns WHERE table_schema = 'public'",
    ),
    (
        "foreign keys",
        "SELECT m.name || '.' || f.\"from\" || ' -> ' || f.\"table\" || '.' || f.\"to\" || ' ' || f.on_delete \
         FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
        "SELECT k.table_name || '.' || k.column_name || ' -> ' || u.table_name || '.' || u.column_name \
           || ' ' || r.delete_rule \
         FROM information_schema.referential_constraints r \
         JOIN information_schema.key_column_usage k USING (constraint_name) \
         JOIN information_schema.constraint_column_usage u USING (constraint_name)",
    ),
    (
        "indexes, with their columns",
        "SELECT m.name || CASE i.\"unique\" WHEN 1 THEN ' unique ' ELSE ' ' END || CASE i.partial WHEN 1 THEN 'partial ' ELSE '' END || \
           (SELECT group_concat(x.name, ',') FROM pragma_index_info(i.name) x) \
         FROM sqlite_master m, pragma_index_list(m.name) i \
         WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%' \
         UNION SELECT m.name || ' unique id' FROM sqlite_master m \
         WHERE m.type = 'table' AND m.sql LIKE '%PRIMARY KEY AUTOINCREMENT%'",
        "SELECT t.relname || CASE WHEN i.indisunique THEN ' unique ' ELSE ' ' END || CASE WHEN i.indpred IS NULL THEN '' ELSE 'partial ' END || \
           (SELECT string_agg(a.attname, ',' ORDER BY k.position) \
            FROM unnest(i.indkey) WITH ORDINALITY k(number, position) \
            JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number) \
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
         WHERE t.relnamespace = 'public'::regnamespace",
    ),
];
