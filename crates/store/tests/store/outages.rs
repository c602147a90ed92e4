//! What happens to answered writes when the process is killed, and to the store when the disk is full.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::Stdio;

use lyceum_store::{OpenError, StoreError, StoreSettings};
use tempfile::TempDir;

use crate::opening::open;
use crate::support::{add_user, at, child, user_name};

/// Creates users, and tells of each after its transaction is committed.
pub(crate) async fn commit_until_killed(path: &Path) {
    let store = open(path).await.unwrap();
    for number in 0.. {
        add_user(&store, &format!("user-{number}")).await;
        println!("committed {number}");
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test]
async fn no_answered_write_is_lost_when_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    for round in 0..5_usize {
        let path = directory.path().join(format!("{round}.sqlite"));
        let mut child = child::command(&[], "commit until killed", &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let answered = tokio::task::spawn_blocking(move || {
            let mut answered = Vec::new();
            for line in output.lines().map_while(Result::ok) {
                let Some(number) = line.strip_prefix("committed ") else {
                    continue;
                };
                answered.push(number.to_owned());
                if answered.len() == 7 * (round + 1) {
                    // At once, while it writes the next one.
                    child.kill().unwrap();
                }
            }
            child.wait().unwrap();
            answered
        })
        .await
        .unwrap();
        let store = open(&path).await.unwrap();
        assert!(answered.len() >= 7);
        for number in answered {
            let name = user_name(&format!("user-{number}"));
            assert!(store.find_user(&name).await.unwrap().is_some(), "{name}");
        }
        store.close().await;
    }
}

/// Runs where nothing but a small file system of its own is mounted at `directory`.
pub(crate) async fn fill_the_disk(directory: &Path) {
    let path = directory.join("lyceum.sqlite");
    let store = open(&path).await.unwrap();
    add_user(&store, "ada").await;

    // Others fill the disk; writes fail with a clear error, and nothing is half done.
    let filler = directory.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 1024]).is_ok() {}
    let big = "x".repeat(20_000);
    let error = loop {
        let mut tx = store.begin().await.unwrap();
        let written = match tx.set_setting("big", Some(&big)).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            break error;
        }
        fs::File::options()
            .append(true)
            .open(&filler)
            .unwrap()
            .write_all(&[0; 512])
            .ok();
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(
        error.to_string().contains("there is no space left"),
        "{error}"
    );
    assert!(error.hint().is_some());
    assert_eq!(store.count_users().await.unwrap(), 1);
    for _ in 0..3 {
        let mut tx = store.begin().await.unwrap();
        let error = match tx.set_setting("other", Some(&big)).await {
            Ok(()) => tx.commit().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    }

    // With space again, everything works without a restart.
    drop(file);
    fs::remove_file(&filler).unwrap();
    add_user(&store, "bob").await;
    assert_eq!(store.count_users().await.unwrap(), 2);
    store.close().await;
    assert_eq!(open(&path).await.unwrap().count_users().await.unwrap(), 2);

    // A new database, and a copy for an upgrade, do not fit.
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    let error = open(&directory.join("other.sqlite")).await.unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    let mut steps = lyceum_store::migrations::MIGRATIONS.to_vec();
    steps.push(lyceum_store::migrations::Migration {
        version: i64::try_from(steps.len()).unwrap() + 1,
        name: "a test's",
        sqlite: "CREATE TABLE extra (id INTEGER)",
        postgres: "",
    });
    let settings = StoreSettings::sqlite(&path);
    let error = lyceum_store::Store::open_with(&settings, at(0), &steps).await;
    let error = error.unwrap_err();
    assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    assert!(!directory.join("lyceum.sqlite.new").exists());
    assert_eq!(open(&path).await.unwrap().count_users().await.unwrap(), 2);
    println!("the full disk was survived");
}

#[tokio::test]
async fn a_full_disk_is_survived_without_a_restart() {
    let directory = TempDir::new().unwrap();
    // A mount that nobody else sees, and that is gone with the process. Without root, a user namespace
    // gives the right to it.
    let mount = "mount -t tmpfs -o size=700k,mode=0777 lyceum-test \"$LYCEUM_STORE_TEST_ARGUMENT\" && exec \"$@\"";
    let mut wrapper = vec!["unshare", "--mount"];
    if !rustix::process::geteuid().is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    wrapper.extend(["sh", "-c", mount, "sh"]);
    let mut command = child::command(&wrapper, "fill the disk", directory.path());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("the full disk was survived"),
        "this test mounts a small file system, as root or in a user namespace (sysctl \
         kernel.unprivileged_userns_clone=1):\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
