//! After a restart of Lyceum: servers of the one before are known again, and only they.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lyceum_core::seams::{Exit, Handle, Liveness, Spawner as _, StopMode};
use lyceum_spawn::process::{Places, ProcessConfig, ProcessSpawner};
use rustix::process::Signal;

use crate::harness::{Room, eventually, exists, family, kill, pid, start, within, words};

/// Set, with a folder, in the process that plays the Lyceum before the restart.
const BEFORE: &str = "LYCEUM_TEST_BEFORE_RESTART";
/// Set, with the id of the hub, beside it.
const INSTANCE: &str = "LYCEUM_TEST_INSTANCE";
const TEST: &str = "adopt::a_server_outlives_lyceum_and_is_watched_and_stopped_by_the_next_one";
const SCRIPT: &str = "setsid sleep 1000 & trap 'exit 0' TERM; while :; do sleep 0.05; done";
/// How soon an exit has to be noticed. It takes about a millisecond; a busy machine needs more.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_server_outlives_lyceum_and_is_watched_and_stopped_by_the_next_one() {
    if let Some(dir) = std::env::var_os(BEFORE) {
        return before_the_restart(Path::new(&dir)).await;
    }
    let room = Room::new();
    let spawner = room.shell(SCRIPT);
    for stop in [false, true] {
        let handle = start_in_another_process(&room);
        assert_eq!(
            within(spawner.poll(&handle)).await.unwrap(),
            Liveness::Running
        );
        assert_eq!(ignored_signals(pid(&handle)), 0);
        let waiting = spawner.wait(&handle);
        let killing = async {
            eventually("the server is up", || family(&handle).len() > 1).await;
            let begun = Instant::now();
            if stop {
                let polite = StopMode::Graceful(Duration::from_secs(10));
                spawner.stop(&handle, polite).await.unwrap();
            } else {
                kill(pid(&handle), Signal::KILL);
            }
            begun
        };
        let ended = async { (waiting.await.unwrap(), Instant::now()) };
        let ((exit, noticed), begun) = within(async { tokio::join!(ended, killing) }).await;
        assert_eq!(exit, Exit::Unknown);
        if !stop {
            assert!(noticed - begun < AT_ONCE, "{:?}", noticed - begun);
            within(spawner.stop(&handle, StopMode::Now)).await.unwrap();
        }
        assert!(family(&handle).is_empty());
        assert_eq!(
            within(spawner.poll(&handle)).await.unwrap(),
            Liveness::Exited(Exit::Unknown)
        );
    }
}

/// Runs this very test in a process of its own, which starts a server and ends; gives the server's handle.
///
/// It ignores interrupts, as everything does that a script starts in its background.
fn start_in_another_process(room: &Room) -> Handle {
    let output = Command::new("/bin/sh")
        .args(["-c", "trap '' INT QUIT; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture"])
        .env(BEFORE, room.path("data"))
        .env(INSTANCE, &room.instance)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let text = std::fs::read(room.path("data/handle")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The ordinary signals (1 to 31) that a process ignores, as a bit mask.
fn ignored_signals(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.unwrap().trim(), 16).unwrap() & 0x7fff_ffff
}

async fn before_the_restart(dir: &Path) {
    let config = ProcessConfig {
        command: words(&["/bin/sh", "-c", SCRIPT]),
        ..ProcessConfig::default()
    };
    let places = Places {
        data_dir: dir.to_owned(),
        runtime_dir: dir.join("run"),
        programs: Vec::new(),
        open_files: None,
    };
    let instance = std::env::var(INSTANCE).unwrap();
    let spawner = ProcessSpawner::new(config, places, &instance).unwrap();
    let started = start(&spawner, "ada").await;
    let text = serde_json::to_vec(&started.handle).unwrap();
    std::fs::write(dir.join("handle"), text).unwrap();
}

#[tokio::test]
async fn the_exit_of_a_child_is_noticed_at_once() {
    let room = Room::new();
    let spawner = room.spawner(|config| config.command = words(&["sleep", "1000"]));
    let started = start(&spawner, "ada").await;
    let begun = Instant::now();
    kill(pid(&started.handle), Signal::KILL);
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Signal(9)
    );
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn another_process_with_the_same_number_is_left_alone() {
    let room = Room::new();
    let spawner = room.spawner(|config| config.command = words(&["sleep", "1000"]));
    let started = start(&spawner, "ada").await;
    let forge = |key: &str, value: serde_json::Value| {
        let mut forged = started.handle.clone();
        forged.0[key] = value;
        forged.0["marker"] = "another".into();
        forged
    };
    let start_time = started.handle.0["start_time"].as_u64().unwrap();
    for forged in [
        forge("start_time", (start_time - 1).into()),
        forge("boot_id", "00000000-0000-0000-0000-000000000000".into()),
    ] {
        let ended = Liveness::Exited(Exit::Unknown);
        assert_eq!(within(spawner.poll(&forged)).await.unwrap(), ended);
        assert_eq!(within(spawner.wait(&forged)).await.unwrap(), Exit::Unknown);
        within(spawner.stop(&forged, StopMode::Now)).await.unwrap();
        assert_eq!(
            spawner.poll(&started.handle).await.unwrap(),
            Liveness::Running
        );
    }
}

#[tokio::test]
async fn a_sweep_ends_what_nobody_knows_and_nothing_else() {
    let room = Room::new();
    let other_hub = Room::new();
    let script = "setsid sleep 1000 & exec sleep 1000";
    let before = room.shell(script);
    let known = start(&before, "ada").await;
    let unknown = start(&before, "bob").await;
    let foreign_spawner = other_hub.shell(script);
    let foreign = start(&foreign_spawner, "ada").await;

    let now = room.shell(script);
    let own = start(&now, "ada").await;
    let deserted = room.path("run/s-abcdefghijkl.sock");
    std::fs::create_dir_all(room.path("run")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&deserted).unwrap());
    let swept = within(now.sweep(std::slice::from_ref(&known.handle)))
        .await
        .unwrap();

    assert_eq!(swept, 1);
    assert!(family(&unknown.handle).is_empty());
    assert!(!deserted.exists());
    for (spawner, alive) in [
        (&before, &known),
        (&foreign_spawner, &foreign),
        (&now, &own),
    ] {
        assert!(exists(pid(&alive.handle)));
        assert_eq!(
            spawner.poll(&alive.handle).await.unwrap(),
            Liveness::Running
        );
    }
    assert_eq!(within(now.sweep(&[known.handle])).await.unwrap(), 0);
}
