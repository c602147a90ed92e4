//! A server's life through client, protocol and server, with an engine that is there for this alone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lyceum_broker::policy::SocketRule;
use lyceum_broker::protocol::{RefusalKind, ServerState};
use lyceum_core::ServerName;
use lyceum_core::route::Upstream;
use lyceum_core::seams::Exit;
use nix::mount::{MsFlags, mount};
use serde_json::json;
use tokio::sync::Semaphore;

use super::room::{Room, in_room, in_room_with, key, make_account, refusal, start, until, user};

const ONE: &str = "1111111111";
const TWO: &str = "2222222222";

#[test]
fn a_server_is_started_seen_and_stopped() {
    in_room(async |room| {
        make_account("ada", &[]);
        let (started, process) = room.broker.start(start("ada", ONE)).await.unwrap();
        assert_eq!(started.unit, "lyceum-ada");
        let (state, again) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(state, ServerState::Running(_)) && again.is_some());
        let running = room.broker.list().await.unwrap();
        assert_eq!(running.len(), 1);
        assert_eq!(running[0].key, key("ada", ONE));
        let again = room.broker.start(start("ada", TWO)).await.unwrap_err();
        assert_eq!(refusal(again), RefusalKind::Exists);
        let forgotten = room
            .broker
            .forget(&user("ada"), &ServerName::default())
            .await;
        assert_eq!(refusal(forgotten.unwrap_err()), RefusalKind::Exists);
        let log = room
            .broker
            .log(&user("ada"), &ServerName::default(), 5000)
            .await
            .unwrap();
        assert!(log.len() > 10 && log.last().unwrap().contains("lyceum-ada 999"));
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        let ended = rustix::event::poll(
            &mut [rustix::event::PollFd::new(
                &process,
                rustix::event::PollFlags::IN,
            )],
            Some(&rustix::event::Timespec::default()),
        );
        assert_eq!(ended.unwrap(), 1, "the descriptor tells the end");
        assert!(room.folders().is_empty());
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        let (state, _) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(state, ServerState::Ended { .. }));
        room.broker
            .forget(&user("ada"), &ServerName::default())
            .await
            .unwrap();
        assert!(room.records().is_empty());
    });
}

#[test]
fn how_a_server_ended_can_be_asked_until_its_next_start_also_of_another_broker() {
    in_room(async |mut room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        room.broker.signal(&key("ada", ONE), 9).await.unwrap();
        let exit = async |room: &Room| match room.broker.inspect(&key("ada", ONE)).await.unwrap().0
        {
            ServerState::Ended { exit } => Some(exit),
            ServerState::Running(_) => None,
        };
        let mut seen = None;
        while seen.is_none() {
            seen = exit(&room).await;
        }
        assert_eq!(seen, Some(Exit::Signal(9)));
        assert!(room.folders().is_empty());
        room.kill().await;
        room.run();
        assert_eq!(exit(&room).await, Some(Exit::Signal(9)));
        room.broker.start(start("ada", TWO)).await.unwrap();
        assert_eq!(exit(&room).await, Some(Exit::Unknown));
    });
}

#[test]
fn a_client_that_goes_away_during_a_start_leaves_nothing() {
    in_room(async |room| {
        make_account("ada", &[]);
        let gate = Arc::new(Semaphore::new(0));
        *room.engine.gate.lock().unwrap() = Some(Arc::clone(&gate));
        {
            let mut starting = std::pin::pin!(room.broker.start(start("ada", ONE)));
            let begun = async { until(|| !room.engine.plans.lock().unwrap().is_empty()).await };
            tokio::select! {
                started = &mut starting => panic!("{started:?}"),
                () = begun => {}
            }
            assert_eq!(room.folders(), ["lyceum-ada"]);
        }
        until(|| room.folders().is_empty() && room.records().is_empty()).await;
        assert_eq!(room.engine.count(), 0);
        gate.add_permits(5);
        room.broker.start(start("ada", TWO)).await.unwrap();
        assert_eq!(room.engine.count(), 1);
    });
}

#[test]
fn a_start_that_fails_leaves_nothing() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.engine.broken.store(true, Ordering::Relaxed);
        let error = room.broker.start(start("ada", ONE)).await.unwrap_err();
        assert_eq!(refusal(error), RefusalKind::System);
        assert!(room.folders().is_empty() && room.records().is_empty());
    });
}

#[test]
fn a_broker_killed_in_the_middle_of_a_start_is_no_obstacle_to_the_next_one() {
    in_room(async |mut room| {
        make_account("ada", &[]);
        *room.engine.gate.lock().unwrap() = Some(Arc::new(Semaphore::new(0)));
        let broker = room.broker.clone();
        {
            let mut starting = std::pin::pin!(broker.start(start("ada", ONE)));
            tokio::select! {
                started = &mut starting => panic!("{started:?}"),
                () = until(|| !room.engine.plans.lock().unwrap().is_empty()) => {}
            }
            room.kill().await;
            assert!(starting.await.is_err());
        }
        *room.engine.gate.lock().unwrap() = None;
        room.run();
        let (state, _) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(state, ServerState::Ended { .. }));
        // Also under its own mark: whoever has lost the broker asks again.
        room.broker.start(start("ada", ONE)).await.unwrap();
        assert_eq!(room.folders(), ["lyceum-ada"]);
        assert_eq!(room.engine.count(), 1);
        let again = room.broker.start(start("ada", ONE)).await.unwrap_err();
        assert_eq!(refusal(again), RefusalKind::Exists);
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        room.broker.start(start("ada", TWO)).await.unwrap();
        assert_eq!(room.folders(), ["lyceum-ada"]);
    });
}

#[test]
fn servers_outlive_the_broker_and_another_one_knows_them() {
    in_room(async |mut room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        room.end().await;
        assert!(
            room.broker
                .status()
                .await
                .unwrap_err()
                .to_string()
                .contains("lyceum-broker.socket")
        );
        room.run();
        assert_eq!(room.folders(), ["lyceum-ada"]);
        let (state, _) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(state, ServerState::Running(_)));
        room.broker
            .stop(&key("ada", ONE), Some(Duration::from_secs(1)))
            .await
            .unwrap();
        assert_eq!(room.engine.count(), 0);
    });
}

#[test]
fn a_stop_succeeds_when_there_is_no_space_to_write_it_down() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        let small = Some("size=1M,mode=755");
        let none: Option<&str> = None;
        mount(none, "/run", none, MsFlags::MS_REMOUNT, small).unwrap();
        let full = fs::write("/run/filler", vec![0; 2 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        assert_eq!(room.engine.count(), 0);
        assert!(room.folders().is_empty());
        fs::remove_file("/run/filler").unwrap();
        let (state, _) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(state, ServerState::Ended { .. }));
        room.broker.start(start("ada", TWO)).await.unwrap();
    });
}

#[test]
fn a_server_that_another_engine_has_started_can_be_seen_and_stopped() {
    in_room(async |mut room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        let pid = room.engine.pid("lyceum-ada");
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start_time = stat.rsplit(") ").next().unwrap().split(' ').nth(19);
        let start_time: u64 = start_time.unwrap().parse().unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let key_of = json!({ "pid": pid, "start_time": start_time, "boot": boot.trim() });
        change_record(&room, "process", key_of);
        let state = async |room: &Room| {
            let looked = room.broker.inspect(&key("ada", ONE)).await.unwrap();
            matches!(looked.0, ServerState::Running(_))
        };
        assert!(state(&room).await);
        let again = room.broker.start(start("ada", TWO)).await.unwrap_err();
        assert_eq!(refusal(again), RefusalKind::Exists);
        // As the configuration names another engine from now on.
        room.kill().await;
        room.run();
        assert!(state(&room).await);
        // As an administrator ends it.
        room.engine.end_all();
        assert!(!state(&room).await);
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        room.broker.start(start("ada", TWO)).await.unwrap();
        room.broker.stop(&key("ada", TWO), None).await.unwrap();
    });
}

#[test]
fn a_record_of_an_engine_that_is_not_here_is_no_obstacle() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        room.engine.end_all();
        // There is no systemd here, so that nothing can run under it.
        change_record(&room, "systemd", json!({ "invocation": "x", "boot": "y" }));
        let (state, _) = room.broker.inspect(&key("ada", ONE)).await.unwrap();
        assert!(matches!(
            state,
            ServerState::Ended {
                exit: Exit::Unknown
            }
        ));
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        room.broker.start(start("ada", TWO)).await.unwrap();
        room.engine.end_all();
        change_record(&room, "of-tomorrow", json!({}));
        let error = room.broker.stop(&key("ada", TWO), None).await.unwrap_err();
        let advice = "remove /run/lyceum-broker/servers/lyceum-ada.json";
        assert!(error.refusal().unwrap().hint.contains(advice), "{error}");
    });
}

/// Makes the record of ada's server one that another engine has made.
fn change_record(room: &Room, engine: &str, identity: serde_json::Value) {
    let path = room.policy.state_dir.join("servers/lyceum-ada.json");
    let mut record: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(record["engine"], "tiny");
    record["engine"] = engine.into();
    record["identity"] = identity;
    fs::write(path, record.to_string()).unwrap();
}

#[test]
fn a_server_whose_record_is_damaged_is_no_ended_one_and_can_be_stopped_all_the_same() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        let path = room.policy.state_dir.join("servers/lyceum-ada.json");
        for damaged in ["{".to_owned(), "x".repeat(100_000)] {
            fs::write(&path, damaged).unwrap();
            let error = room.broker.inspect(&key("ada", ONE)).await.unwrap_err();
            let refused = error.refusal().unwrap();
            assert_eq!(refused.kind, RefusalKind::System);
            assert!(
                refused.hint.contains("/servers/lyceum-ada.json"),
                "{refused:?}"
            );
            assert!(room.broker.signal(&key("ada", ONE), 15).await.is_err());
        }
        // What cannot be ended keeps its folder, and the record that says that there is something.
        room.engine.stuck.store(true, Ordering::Relaxed);
        let error = room.broker.stop(&key("ada", ONE), None).await.unwrap_err();
        assert!(error.refusal().unwrap().hint.contains("remove"), "{error}");
        assert_eq!(room.engine.count(), 1);
        assert_eq!(room.folders(), ["lyceum-ada"]);
        assert!(path.exists());
        room.engine.stuck.store(false, Ordering::Relaxed);
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        assert_eq!(room.engine.count(), 0);
        assert!(room.folders().is_empty() && room.records().is_empty());
        room.broker.start(start("ada", TWO)).await.unwrap();
    });
}

#[test]
fn thousands_of_servers_are_listed() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        let records = room.policy.state_dir.join("servers");
        let record = fs::read_to_string(records.join("lyceum-ada.json")).unwrap();
        for number in 0..2_500 {
            let name = format!("a-student-with-an-ordinary-name-{number}");
            let unit = format!("lyceum-{name}");
            let other = record
                .replace("\"lyceum-ada\"", &format!("\"{unit}\""))
                .replace("\"ada\"", &format!("\"{name}\""));
            fs::write(records.join(format!("{unit}.json")), other).unwrap();
            room.engine.listed.lock().unwrap().push(unit);
        }
        let listed = room.broker.list().await.unwrap();
        let units: std::collections::BTreeSet<&str> =
            listed.iter().map(|one| one.unit.as_str()).collect();
        assert_eq!((listed.len(), units.len()), (2_501, 2_501));
    });
}

#[test]
fn a_sandbox_that_the_machine_does_not_take_is_told_before_and_at_the_first_start() {
    let bad = |policy: &mut lyceum_broker::Policy| {
        let property = ("PrivateNetwork".to_owned(), "yes".to_owned());
        policy.server.sandbox.properties = [property].into();
    };
    in_room_with(bad, async |room| {
        make_account("ada", &[]);
        let missing = room.broker.status().await.unwrap().missing;
        assert_eq!(missing[0], "There are no properties.");
        let error = room.broker.start(start("ada", ONE)).await.unwrap_err();
        let refused = error.refusal().unwrap();
        assert_eq!(refused.message, "There are no properties.");
        assert!(room.folders().is_empty() && room.records().is_empty());
    });
}

#[test]
fn a_folder_of_sockets_without_a_file_system_of_its_own_is_told() {
    in_room(async |mut room| {
        let told = async |room: &Room| {
            let missing = room.broker.status().await.unwrap().missing;
            missing.iter().any(|line| line.contains("Users can fill"))
        };
        assert!(told(&room).await);
        room.kill().await;
        let (none, tmpfs): (Option<&str>, _) = (None, Some("tmpfs"));
        let options = Some("size=1M,nr_inodes=100,mode=711");
        let at = "/run/lyceum-servers";
        mount(none, at, tmpfs, MsFlags::empty(), options).unwrap();
        room.run();
        assert!(!told(&room).await);
        make_account("ada", &[]);
        room.broker.start(start("ada", ONE)).await.unwrap();
        // A user fills it: others' starts are refused with the reason, and the rest of /run is as it was.
        let own = room.folders();
        let filled = fs::write(
            format!("/run/lyceum-servers/{}/filler", own[0]),
            vec![0; 2 << 20],
        );
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        fs::write("/run/elsewhere", "x").unwrap();
        room.broker.stop(&key("ada", ONE), None).await.unwrap();
        room.broker.start(start("ada", TWO)).await.unwrap();
    });
}

#[test]
fn twenty_users_start_at_once() {
    in_room(async |room| {
        let names: Vec<String> = (0..20).map(|number| format!("student{number}")).collect();
        for name in &names {
            super::room::run("useradd", &["-m", "-s", "/bin/bash", name]);
        }
        let mut starts = tokio::task::JoinSet::new();
        for name in &names {
            let (broker, start) = (room.broker.clone(), start(name, ONE));
            starts.spawn(async move { broker.start(start).await.map(|(started, _)| started.uid) });
        }
        let mut uids = std::collections::BTreeSet::new();
        while let Some(started) = starts.join_next().await {
            uids.insert(started.unwrap().unwrap());
        }
        assert_eq!(uids.len(), 20);
        assert_eq!(room.engine.count(), 20);
    });
}

#[test]
fn a_real_jupyter_server_listens_where_lyceums_group_alone_gets_in() {
    let environment = std::env::var("LYCEUM_TEST_PYENV").expect(
        "set LYCEUM_TEST_PYENV to a Python environment with JupyterLab; `cargo xtask test` makes one",
    );
    let real = |policy: &mut lyceum_broker::Policy| {
        policy.server.command = [
            &format!("{environment}/bin/python3"),
            "-m",
            "jupyter_server",
        ]
        .map(|word| (*word).to_owned())
        .into();
        policy.server.args = vec!["--no-browser".to_owned()];
        policy.server.socket = SocketRule::Unix;
    };
    in_room_with(real, async |room| {
        make_account("ada", &[]);
        let (started, _) = room.broker.start(start("ada", ONE)).await.unwrap();
        let Upstream::Owned { path, uid } = started.upstream else {
            panic!("{:?}", started.upstream);
        };
        until(|| fs::metadata(&path).is_ok_and(|socket| socket.mode() & 0o777 == 0o660)).await;
        let socket = fs::metadata(&path).unwrap();
        assert_eq!((socket.uid(), socket.gid()), (uid, super::room::CLIENT));
        let folder = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.mode() & 0o7777, 0o2710);
        let runtime = fs::metadata(path.with_file_name("jupyter")).unwrap();
        assert_eq!((runtime.mode() & 0o777, runtime.uid()), (0o700, uid));
    });
}
