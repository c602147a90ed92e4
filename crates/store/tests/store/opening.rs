//! Opening a database file: places that are fit for it, and places that are not.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use lyceum_store::{OpenError, Store, StoreSettings};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::support::{add_user, at, user_name};

pub(crate) async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(&StoreSettings::sqlite(path), at(0)).await
}

/// Writes to a file behind the store's back, creating it if need be.
pub(crate) async fn execute(path: &Path, sql: &str) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// The names of the files in a directory, sorted.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What is told to the administrator: the error, its causes, and the hint.
fn told(error: &OpenError) -> String {
    let mut parts = vec![error.to_string()];
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        parts.push(error.to_string());
        cause = error.source();
    }
    let hint = error.hint().unwrap_or_default();
    format!("{}; hint: {hint}", parts.join(": "))
}

#[tokio::test]
async fn a_new_database_is_private_and_survives_closing() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;
    for name in files(directory.path()) {
        let mode = fs::metadata(directory.path().join(&name)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600, "{name}");
    }
    store.close().await;
    // One complete file, nothing left of its making.
    assert_eq!(
        files(directory.path()),
        ["lyceum.sqlite", "lyceum.sqlite.lock"]
    );
    let store = open(&path).await.unwrap();
    assert!(store.find_user(&user_name("ada")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_empty_file_becomes_a_database() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    File::create(&path).unwrap();
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;
}

#[tokio::test]
async fn paths_may_have_unusual_characters() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("ü %20 ?mode=ro#x.sqlite");
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;
    store.close().await;
    assert!(path.exists());
}

#[tokio::test]
async fn a_link_to_the_database_stays_a_link() {
    let directory = TempDir::new().unwrap();
    let real = directory.path().join("real.sqlite");
    let link = directory.path().join("link.sqlite");
    open(&real).await.unwrap().close().await;
    symlink(&real, &link).unwrap();
    let store = open(&link).await.unwrap();
    add_user(&store, "ada").await;
    store.close().await;
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let store = open(&real).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
}

#[tokio::test]
async fn two_processes_may_use_one_database() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    // Both find nothing and want to create it.
    let (one, two) = tokio::join!(open(&path), open(&path));
    let (one, two) = (one.unwrap(), two.unwrap());
    add_user(&one, "ada").await;
    add_user(&two, "bob").await;
    assert_eq!(one.count_users().await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    open(&path).await.unwrap().close().await;
    execute(
        &path,
        "INSERT INTO schema_migrations VALUES (1000, 'later', 0)",
    )
    .await;
    let before = fs::read(&path).unwrap();
    let error = open(&path).await.unwrap_err();
    let newest = lyceum_store::migrations::MIGRATIONS.len();
    assert_eq!(
        error.to_string(),
        format!(
            "the database {} is of version 1000, and this program knows versions up to {newest} only",
            path.display()
        )
    );
    assert!(told(&error).contains("install the newer Lyceum again"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("jupyterhub.sqlite");
    execute(
        &path,
        "CREATE TABLE users (id INTEGER); CREATE TABLE spawners (id INTEGER)",
    )
    .await;
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn something_that_is_no_database_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("notes.txt");
    fs::write(&path, "These are my notes, not a database.").unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
    let text = told(&error);
    assert!(
        text.contains("notes.txt is not an SQLite database"),
        "{text}"
    );
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "These are my notes, not a database."
    );

    let error = open(directory.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::NotAFile { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    open(&path).await.unwrap().close().await;
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..4096].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error:?}");
}

#[tokio::test]
async fn a_missing_directory_is_named_with_what_to_do() {
    let error = open(Path::new("/nonexistent/of/lyceum/x.sqlite"))
        .await
        .unwrap_err();
    assert_eq!(
        told(&error),
        "the directory /nonexistent/of/lyceum for the database does not exist; \
         hint: create it: mkdir -p /nonexistent/of/lyceum"
    );
}

#[tokio::test]
async fn an_unwritable_directory_is_named_with_what_to_do() {
    // Not even root may make files there.
    let error = open(Path::new("/sys/lyceum.sqlite")).await.unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
    let text = told(&error);
    assert!(text.starts_with("cannot write to /sys: "), "{text}");
    assert!(text.ends_with("ls -ld /sys"), "{text}");
}

#[tokio::test]
async fn a_journal_without_its_database_is_not_destroyed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    let journal = directory.path().join("lyceum.sqlite-wal");
    fs::write(&journal, "the last writes").unwrap();
    let error = open(&path).await.unwrap_err();
    assert!(
        matches!(error, OpenError::LonelyJournal { .. }),
        "{error:?}"
    );
    assert_eq!(fs::read_to_string(&journal).unwrap(), "the last writes");
    assert!(!path.exists());
}
