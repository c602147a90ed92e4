//! The file that is read stays as it is, whatever is beside it; and files that cannot be read are refused.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Stdio;

use lyceum_store::jupyterhub::{self, ReadError};
use lyceum_testkit::jupyterhub::{Made, Version, python};
use lyceum_testkit::{TestHub, within};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Names, bytes and times of a folder and all that is in it.
fn look(folder: &Path) -> BTreeMap<String, (Vec<u8>, i64, i64, u32)> {
    let mut all = BTreeMap::new();
    let data = fs::metadata(folder).unwrap();
    let of_folder = (Vec::new(), data.mtime(), data.mtime_nsec(), data.mode());
    all.insert(".".to_owned(), of_folder);
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        let bytes = fs::read(entry.path()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        all.insert(name, (bytes, data.mtime(), data.mtime_nsec(), data.mode()));
    }
    all
}

async fn made() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::by(Version::V6).await;
    made.write(&folder.path().join("jupyterhub.sqlite"));
    folder
}

/// A program that has a database open and is in the middle of something; ends with the test.
async fn other(program: &str, file: &Path) -> Child {
    let mut child = Command::new(Version::V6.python())
        .args(["-I", "-c"])
        .arg(format!(
            "{program}\nprint('ready', flush=True)\nimport sys; sys.stdin.read()"
        ))
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = within(lines.next_line()).await.unwrap();
    assert_eq!(line.as_deref(), Some("ready"));
    child
}

#[tokio::test]
async fn the_source_and_its_folder_stay_as_they_are() {
    let folder = made().await;
    let before = look(folder.path());
    let file = folder.path().join("jupyterhub.sqlite");
    let database = jupyterhub::read(&file).await.unwrap();
    assert_eq!(database.revision.made_by, "JupyterHub 6");
    assert_eq!(look(folder.path()), before);
}

#[tokio::test]
async fn what_is_still_in_a_journal_is_read_and_the_journal_stays_as_it_is() {
    let folder = made().await;
    let file = folder.path().join("jupyterhub.sqlite");
    let program = "import sqlite3, sys\n\
                   db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                   db.execute('PRAGMA journal_mode=wal')\n\
                   db.execute('PRAGMA wal_autocheckpoint=0')\n\
                   db.execute(\"INSERT INTO users (name, admin, cookie_id) VALUES ('late', 0, 'x')\")";
    let mut writer = other(program, &file).await;
    let before = look(folder.path());
    assert!(before["jupyterhub.sqlite-wal"].0.len() > 1000);
    let database = jupyterhub::read(&file).await.unwrap();
    assert!(database.users.iter().any(|user| user.name == "late"));
    assert_eq!(look(folder.path()), before);
    // The journal is as good after its writer has vanished.
    writer.kill().await.unwrap();
    let before = look(folder.path());
    let database = jupyterhub::read(&file).await.unwrap();
    assert!(database.users.iter().any(|user| user.name == "late"));
    assert_eq!(look(folder.path()), before);
}

#[tokio::test]
async fn what_was_half_written_is_left_out() {
    let folder = made().await;
    let file = folder.path().join("jupyterhub.sqlite");
    // With so little memory, the changed pages are in the file before the transaction ends.
    let program = "import sqlite3, sys\n\
                   db = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
                   db.execute('PRAGMA cache_size=1')\n\
                   db.execute('BEGIN EXCLUSIVE')\n\
                   db.execute(\"UPDATE users SET name = 'half-' || name\")\n\
                   db.execute(\"UPDATE api_tokens SET note = hex(randomblob(400))\")\n\
                   db.execute(\"UPDATE users SET user_info = hex(randomblob(400))\")";
    let writer = other(program, &file).await;
    let before = look(folder.path());
    let journal = before.get("jupyterhub.sqlite-journal");
    assert!(journal.is_some_and(|(bytes, ..)| bytes.len() > 1000));
    assert!(
        before["jupyterhub.sqlite"]
            .0
            .windows(5)
            .any(|part| part == b"half-")
    );
    let database = jupyterhub::read(&file).await.unwrap();
    assert!(database.users.iter().any(|user| user.name == "ada"));
    assert_eq!(look(folder.path()), before);
    drop(writer);
}

#[tokio::test]
async fn a_link_leads_to_the_journal_of_the_file_itself() {
    let folder = made().await;
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link.sqlite");
    std::os::unix::fs::symlink(folder.path().join("jupyterhub.sqlite"), &link).unwrap();
    assert!(!jupyterhub::read(&link).await.unwrap().users.is_empty());
}

#[tokio::test]
async fn what_is_no_database_of_jupyterhubs_is_refused_by_name() {
    let folder = made().await;
    let path = |name: &str| folder.path().join(name);
    let whole = fs::read(path("jupyterhub.sqlite")).unwrap();

    let missing = jupyterhub::read(&path("missing")).await.unwrap_err();
    assert!(matches!(missing, ReadError::Missing { .. }), "{missing:?}");
    assert!(missing.hint().unwrap().contains("db_url"));
    let not_a_file = jupyterhub::read(folder.path()).await.unwrap_err();
    assert!(
        matches!(not_a_file, ReadError::NotAFile { .. }),
        "{not_a_file:?}"
    );

    for (name, bytes) in [
        ("empty", &b""[..]),
        ("short", b"SQLite"),
        ("text", b"users:\n- ada\n- bob\n and so on"),
        ("header", &whole[..16]),
    ] {
        fs::write(path(name), bytes).unwrap();
        let error = jupyterhub::read(&path(name)).await.unwrap_err();
        assert!(
            matches!(error, ReadError::NotADatabase { .. }),
            "{name}: {error:?}"
        );
    }

    // Cut off, and overwritten in the middle.
    let mut holed = whole.clone();
    holed[8192..40000].fill(0xa5);
    for (name, bytes) in [("cut", &whole[..whole.len() / 2]), ("holed", &holed)] {
        fs::write(path(name), bytes).unwrap();
        let error = jupyterhub::read(&path(name)).await.unwrap_err();
        let refused = matches!(
            error,
            ReadError::Damaged { .. } | ReadError::NotADatabase { .. }
        );
        assert!(refused, "{name}: {error:?}");
        assert!(error.hint().is_some());
    }

    let other = path("other.sqlite");
    let create = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE books (title TEXT)')";
    python(create, &[other.to_str().unwrap()]).await;
    let error = jupyterhub::read(&other).await.unwrap_err();
    assert!(matches!(error, ReadError::Foreign { .. }), "{error:?}");
}

#[tokio::test]
async fn a_database_of_our_own_is_told_apart() {
    let mut hub = TestHub::start().await;
    hub.end().await;
    let error = jupyterhub::read(&hub.path("lyceum.sqlite"))
        .await
        .unwrap_err();
    assert!(matches!(error, ReadError::Ours { .. }), "{error:?}");
}

/// Changes a file of JupyterHub's with SQL.
async fn change(file: &Path, sql: &str) {
    let program = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2]); db.commit()";
    python(program, &[file.to_str().unwrap(), sql]).await;
}

#[tokio::test]
async fn other_versions_are_refused_with_the_way_out() {
    let folder = made().await;
    let file = folder.path().join("jupyterhub.sqlite");
    for (sql, old) in [
        // JupyterHub 4 and 0.9.
        (
            "UPDATE alembic_version SET version_num = '3c2384c5aae1'",
            true,
        ),
        (
            "UPDATE alembic_version SET version_num = '896818069c98'",
            true,
        ),
        (
            "UPDATE alembic_version SET version_num = '0123456789ab'",
            false,
        ),
        ("DELETE FROM alembic_version", true),
        ("DROP TABLE alembic_version", true),
    ] {
        change(&file, sql).await;
        let error = jupyterhub::read(&file).await.unwrap_err();
        let hint = error.hint().unwrap();
        if old {
            assert!(
                matches!(error, ReadError::TooOld { .. }),
                "{sql}: {error:?}"
            );
            assert!(hint.contains("jupyterhub upgrade-db"), "{hint}");
        } else {
            assert!(
                matches!(error, ReadError::TooNew { .. }),
                "{sql}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn the_way_out_for_old_files_works() {
    // A file of JupyterHub 5.4, brought up to date by JupyterHub 6's own tool, as the hint says.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("jupyterhub.sqlite");
    Made::by(Version::V5).await.write(&file);
    let bin = Version::V6.python().parent().unwrap().to_owned();
    let mut command = Command::new(bin.join("jupyterhub"));
    command
        .args(["upgrade-db", &format!("--db=sqlite:///{}", file.display())])
        .current_dir(folder.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .kill_on_drop(true);
    let output = within(command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let database = jupyterhub::read(&file).await.unwrap();
    assert_eq!(database.revision.made_by, "JupyterHub 6");
}

#[tokio::test]
async fn a_value_that_jupyterhub_never_writes_is_named() {
    for (sql, column) in [
        ("UPDATE users SET created = 'yesterday'", "created"),
        ("UPDATE users SET user_info = '{'", "user_info"),
        ("UPDATE groups SET properties = '[1]'", "properties"),
        ("UPDATE roles SET scopes = '{\"a\": 1}'", "scopes"),
        ("UPDATE users SET admin = 'perhaps'", "flag"),
        ("UPDATE api_tokens SET expires_at = 'never'", "expires_at"),
    ] {
        let folder = made().await;
        let file = folder.path().join("jupyterhub.sqlite");
        change(&file, sql).await;
        let error = jupyterhub::read(&file).await.unwrap_err();
        let ReadError::Damaged { source, .. } = &error else {
            panic!("{sql}: {error:?}");
        };
        assert!(source.to_string().contains(column), "{sql}: {source}");
    }
}
