//! Bringing a database file from one version to the next: on a copy, with a backup, whatever happens.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lyceum_store::migrations::{MIGRATIONS, Migration};
use lyceum_store::{OpenError, Store, StoreSettings};
use tempfile::TempDir;

use crate::opening::{execute, files, open};
use crate::support::{add_user, at, child};

/// The real migrations, and one more.
fn with_step(sqlite: &'static str) -> Vec<Migration> {
    let mut steps = MIGRATIONS.to_vec();
    steps.push(Migration {
        version: i64::try_from(steps.len()).unwrap() + 1,
        name: "a test's",
        sqlite,
        postgres: "",
    });
    steps
}

const GOOD_STEP: &str = "ALTER TABLE settings ADD COLUMN changed BIGINT; \
                         CREATE TABLE extra (id INTEGER PRIMARY KEY); INSERT INTO extra VALUES (7)";

async fn upgrade(path: &Path, step: &'static str) -> Result<Store, OpenError> {
    Store::open_with(&StoreSettings::sqlite(path), at(5), &with_step(step)).await
}

/// A directory with a database of the present version, with one user in it.
async fn database() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;
    store.close().await;
    (directory, path)
}

fn backups(directory: &Path) -> Vec<PathBuf> {
    let names = files(directory).into_iter();
    names
        .filter(|name| name.starts_with("lyceum.sqlite.backup-v"))
        .map(|name| directory.join(name))
        .collect()
}

#[tokio::test]
async fn an_upgrade_keeps_the_old_database_as_a_backup() {
    let (directory, path) = database().await;
    let before = fs::read(&path).unwrap();
    let store = upgrade(&path, GOOD_STEP).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
    add_user(&store, "bob").await;
    store.close().await;

    let version = MIGRATIONS.len();
    let backup = directory
        .path()
        .join(format!("lyceum.sqlite.backup-v{version}-20260921T141325Z"));
    assert_eq!(backups(directory.path()), std::slice::from_ref(&backup));
    assert_eq!(fs::read(&backup).unwrap(), before);
    for file in [&backup, &path] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // The older program refuses the new file, and works with the backup.
    assert!(matches!(open(&path).await, Err(OpenError::Newer { .. })));
    let store = open(&backup).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_only_in_the_journal_is_upgraded_too() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("lyceum.sqlite");
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;
    // As after `kill -9`: the files as they are now, with the journal that was not taken back.
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in ["lyceum.sqlite", "lyceum.sqlite-wal"] {
        fs::copy(directory.path().join(name), copy.join(name)).unwrap();
    }
    assert!(fs::metadata(copy.join("lyceum.sqlite-wal")).unwrap().len() > 0);
    let store = upgrade(&copy.join("lyceum.sqlite"), GOOD_STEP)
        .await
        .unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
    store.close().await;
    let backup = backups(&copy).pop().unwrap();
    let store = open(&backup).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
}

#[tokio::test]
async fn a_failing_upgrade_leaves_the_database_untouched() {
    let (directory, path) = database().await;
    let before = fs::read(&path).unwrap();
    for step in [
        "CREATE TABLE extra (id INTEGER PRIMARY KEY); DELETE FROM users; SELECT nonsense",
        // Valid statements that leave a row without its owner.
        "INSERT INTO user_groups (user_id, group_id) VALUES (99, 99)",
    ] {
        let error = upgrade(&path, step).await.unwrap_err();
        assert!(matches!(error, OpenError::Migration { .. }), "{error:?}");
        assert!(error.to_string().ends_with("; it is unchanged"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(
            files(directory.path()),
            ["lyceum.sqlite", "lyceum.sqlite.lock"]
        );
    }
    let store = open(&path).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
}

#[tokio::test]
async fn the_older_program_clears_a_given_up_upgrade_away() {
    let (directory, path) = database().await;
    fs::write(directory.path().join("lyceum.sqlite.new"), "half").unwrap();
    open(&path).await.unwrap().close().await;
    assert_eq!(
        files(directory.path()),
        ["lyceum.sqlite", "lyceum.sqlite.lock"]
    );
}

#[tokio::test]
async fn a_database_in_use_is_not_upgraded() {
    let (directory, path) = database().await;
    let user = open(&path).await.unwrap();
    let error = upgrade(&path, GOOD_STEP).await.unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(backups(directory.path()).is_empty());
    add_user(&user, "bob").await;
    user.close().await;
    drop(user);
    let store = upgrade(&path, GOOD_STEP).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 2);
}

#[tokio::test]
async fn what_an_interrupted_upgrade_left_is_cleared_away() {
    let (directory, path) = database().await;
    // Killed while the copy was made, and once more between the backup and the exchange.
    for name in ["lyceum.sqlite.new", "lyceum.sqlite.new-journal"] {
        fs::write(directory.path().join(name), "half a database").unwrap();
    }
    let unfinished = directory.path().join("lyceum.sqlite.backup-v1-earlier");
    fs::hard_link(&path, &unfinished).unwrap();
    let kept = directory.path().join("lyceum.sqlite.backup-v0-long-ago");
    fs::write(&kept, "a real backup").unwrap();

    let store = upgrade(&path, GOOD_STEP).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
    store.close().await;
    assert!(!unfinished.exists() && kept.exists());
    assert!(!directory.path().join("lyceum.sqlite.new").exists());
    let real = backups(directory.path());
    assert_eq!(real.len(), 2);
    assert_eq!(fs::metadata(&real[1]).unwrap().nlink(), 1);
}

/// A step that takes a second or two, so that a kill meets it.
const SLOW_STEP: &str = "CREATE TABLE extra (id INTEGER PRIMARY KEY, filler TEXT); \
     WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 150000) \
     INSERT INTO extra SELECT i, hex(zeroblob(50)) FROM n; \
     DELETE FROM extra WHERE id <> 7";

pub(crate) async fn upgrade_until_killed(path: &Path) {
    println!("ready");
    let store = upgrade(path, SLOW_STEP).await.unwrap();
    println!("done");
    store.close().await;
}

#[tokio::test]
async fn an_upgrade_killed_at_any_moment_is_done_by_the_next_start() {
    let (directory, path) = database().await;
    let mut survived = 0;
    for round in 0..8_u64 {
        let mut child = child::command(&[], "upgrade until killed", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let delay = std::time::Duration::from_millis(20 * round * round);
        let done = tokio::task::spawn_blocking(move || {
            let mut lines = lines.map_while(Result::ok);
            lines.find(|line| line.contains("ready")).unwrap();
            lines
        })
        .await
        .unwrap();
        tokio::time::sleep(delay).await;
        child.kill().unwrap();
        child.wait().unwrap();
        drop(done);
        // Whichever of the two is there, it is whole.
        match open(&path).await {
            Ok(store) => {
                assert_eq!(store.count_users().await.unwrap(), 1);
                store.close().await;
                survived += 1;
            }
            Err(OpenError::Newer { .. }) => break,
            Err(error) => panic!("after {delay:?}: {error:?}"),
        }
    }
    assert!(survived > 0, "no kill came before the end of the upgrade");
    let store = upgrade(&path, SLOW_STEP).await.unwrap();
    assert_eq!(store.count_users().await.unwrap(), 1);
    store.close().await;
    assert!(!directory.path().join("lyceum.sqlite.new").exists());
    assert_eq!(backups(directory.path()).len(), 1);
    execute(&path, "INSERT INTO extra (id) VALUES (8)").await;
}
