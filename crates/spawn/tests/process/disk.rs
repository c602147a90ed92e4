//! A disk without room, as it really is: a small file system of the test's own.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use lyceum_core::lifecycle::Cause;
use lyceum_spawn::process::{Places, ProcessConfig, ProcessSpawner};

use crate::harness::{Room, request, start, try_start, within, words};

/// Set, with the folder of the small file system, in the process that sees it.
const DISK: &str = "LYCEUM_TEST_SMALL_DISK";
/// Set, with the id of the hub, beside it.
const INSTANCE: &str = "LYCEUM_TEST_INSTANCE";
const TEST: &str = "disk::a_start_on_a_full_disk_says_so_and_succeeds_when_there_is_room";
const SURVIVED: &str = "the full disk was survived";

#[tokio::test]
async fn a_start_on_a_full_disk_says_so_and_succeeds_when_there_is_room() {
    if let Some(disk) = std::env::var_os(DISK) {
        return on_the_small_disk(Path::new(&disk)).await;
    }
    let room = Room::new();
    let disk = room.path("disk");
    fs::create_dir(&disk).unwrap();
    // A mount that nobody else sees, and that is gone with the process. Without root, a user namespace
    // gives the right to it.
    let mount =
        "mount -t tmpfs -o size=256k,nr_inodes=64,mode=0700 lyceum-test \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
        .args(["sh", "-c", mount])
        .arg(&disk)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(DISK, &disk)
        .env(INSTANCE, &room.instance);
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = within(running).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains(SURVIVED),
        "this test mounts a small file system, as root or in a user namespace (sysctl \
         kernel.unprivileged_userns_clone=1):\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[expect(
    clippy::print_stdout,
    reason = "it tells the process that waits for this one that it came to its end"
)]
async fn on_the_small_disk(disk: &Path) {
    let config = ProcessConfig {
        command: words(&["sleep", "1000"]),
        ..ProcessConfig::default()
    };
    let places = Places {
        data_dir: disk.join("data"),
        runtime_dir: disk.join("run"),
        programs: Vec::new(),
        open_files: None,
    };
    let instance = std::env::var(INSTANCE).unwrap();
    let spawner = ProcessSpawner::new(config, places, &instance).unwrap();
    fill(disk);
    // First there is no home, then there is one, but no room for the log.
    for what in ["the home folder", "the server's log"] {
        let failure = try_start(&spawner, request("ada")).await.unwrap_err();
        assert_eq!(failure.cause, Cause::System);
        let expected = format!("There is no space left for {what}");
        assert!(failure.message.starts_with(&expected), "{failure}");
        assert!(failure.hint.contains("Free some space"), "{failure}");
        empty(disk);
        fs::create_dir_all(disk.join("data/homes/ada")).unwrap();
        fill(disk);
    }
    empty(disk);
    start(&spawner, "ada").await;
    println!("{SURVIVED}");
}

/// Takes all bytes, and all files, that the file system has.
fn fill(disk: &Path) {
    let mut filler = fs::File::create(disk.join("filler")).unwrap();
    let full = loop {
        if let Err(error) = filler.write_all(&[0; 512]) {
            break error;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let full = (0..1_000).find_map(|number| {
        let file = fs::File::create(disk.join(format!("filler-{number}")));
        file.err().map(|error| error.kind())
    });
    assert_eq!(full, Some(io::ErrorKind::StorageFull));
}

fn empty(disk: &Path) {
    for entry in fs::read_dir(disk).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
}
