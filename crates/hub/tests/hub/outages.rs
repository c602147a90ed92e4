//! A database that fails, and a disk that is full: clear answers, nothing lost, and no restart needed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::Method;
use lyceum_store::Phase;
use lyceum_testkit::fakes::FakeSpawner;
use lyceum_testkit::{TestHub, eventually};

/// Tells a child, which runs this test binary once more, where its small disk is.
const DISK: &str = "LYCEUM_HUB_TEST_DISK";

#[tokio::test]
async fn a_login_without_a_database_is_told_to_come_back() {
    let hub = TestHub::start().await;
    let mut browser = hub.anonymous();
    browser.get("/hub/login").await;
    hub.store().close().await;
    let answer = browser
        .post_form("/hub/login", &[("username", "ada"), ("password", "")])
        .await;
    assert_eq!(answer.status, 503);
    let text = answer.text();
    assert!(text.contains("<form") && text.contains("ada"), "{text}");
    assert_eq!(browser.cookie("jupyterhub-hub-login"), "");
}

#[tokio::test]
async fn a_full_disk_is_survived_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    // A mount that nobody else sees, and that is gone with the process. Without root, a user namespace
    // gives the right to it.
    let script =
        format!("mount -t tmpfs -o size=1500k,mode=0777 lyceum-test \"${DISK}\" && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["outages::child", "--exact", "--nocapture"])
        .env(DISK, directory.path());
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

/// Does the work of the test above; without a disk there is nothing to do.
#[tokio::test]
async fn child() {
    let Some(disk) = std::env::var_os(DISK) else {
        return;
    };
    fill_the_disk(PathBuf::from(disk)).await;
    println!("the full disk was survived");
}

async fn fill_the_disk(disk: PathBuf) {
    let spawner = FakeSpawner::new().await;
    let builder = TestHub::builder().spawner(spawner.clone());
    let hub = builder.start_in(Some(disk.clone())).await;
    let mut ada = hub.user("ada").await;
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let row = hub.server_row("ada", "").await.unwrap();
    let before = hub.store().count_users().await.unwrap();

    // Logins write until there is no space left; the one that does not fit is told so, and nothing of it is kept.
    let filler = disk.join("filler");
    fill(&filler);
    let mut number = 0;
    let refused = loop {
        let name = format!("user{number}");
        let answer = hub.anonymous().log_in(&name, "").await;
        if answer.status != 302 {
            break answer;
        }
        number += 1;
        fill(&filler);
        assert!(number < 1000, "the disk does not get full");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("<form"));
    assert_eq!(ada.get("/hub/home").await.status, 200);
    let users = hub.store().count_users().await.unwrap();
    assert_eq!(users, before + number);

    // A stop works; that it cannot be written down yet is made good as soon as there is space.
    let answer = ada.api(Method::DELETE, "/users/ada/server", None).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert_eq!(spawner.running(), 0);
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    if answer.status != 201 {
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains("disk"), "{}", answer.text());
    }
    ada.api(Method::DELETE, "/users/ada/server", None).await;

    fs::remove_file(&filler).unwrap();
    eventually("the stop is written down", async || {
        hub.server_row("ada", "").await.unwrap().phase == Phase::Stopped
            && hub.token_count("ada", row.id).await == 0
    })
    .await;
    assert_eq!(hub.anonymous().log_in("bob", "").await.status, 302);
    let answer = ada.api(Method::POST, "/users/ada/server", None).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Writes until nothing fits any more.
fn fill(filler: &Path) {
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(filler)
        .unwrap();
    for size in [4096, 512, 64] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}
