//! Stopping: politely first, then surely, and with everything that a server has started.

use std::time::{Duration, Instant};

use lyceum_core::seams::{Exit, Handle, Liveness, SpawnError, Spawner as _, StopMode};
use rustix::process::Signal;

use crate::harness::{
    Room, eventually, exists, family, kill, number_in, pid, server, start, within,
};

const POLITE: StopMode = StopMode::Graceful(Duration::from_secs(10));
const IMPATIENT: StopMode = StopMode::Graceful(Duration::from_millis(200));

#[tokio::test]
async fn a_server_is_asked_to_end_before_it_is_made_to() {
    let room = Room::new();
    let spawner = room
        .shell("trap 'echo bye; exit 0' TERM; echo $$ > $HOME/pid; while :; do sleep 0.05; done");
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("pid")).await;
    within(spawner.stop(&started.handle, POLITE)).await.unwrap();
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(0)
    );
    assert_eq!(spawner.log_tail(&server("ada"), 1).await, ["bye"]);
}

#[tokio::test]
async fn the_second_polite_signal_is_an_interrupt() {
    let room = Room::new();
    let spawner = room.shell(
        "trap '' TERM; trap 'echo bye; exit 4' INT; echo $$ > $HOME/pid; while :; do sleep 0.05; done",
    );
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("pid")).await;
    within(spawner.stop(&started.handle, IMPATIENT))
        .await
        .unwrap();
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(4)
    );
}

#[tokio::test]
async fn a_server_that_ignores_every_polite_signal_is_killed() {
    let room = Room::new();
    let spawner = room.shell("trap '' TERM INT; echo $$ > $HOME/pid; while :; do sleep 0.05; done");
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("pid")).await;
    let begun = Instant::now();
    within(spawner.stop(&started.handle, IMPATIENT))
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Signal(9)
    );
    assert!(family(&started.handle).is_empty());
}

#[tokio::test]
async fn everything_that_a_server_started_ends_with_it() {
    let room = Room::new();
    // A kernel (own session), one that has cleared its environment, one that has lost its parent,
    // and one that is stubborn.
    let spawner = room.shell(
        "setsid sleep 1000 & echo $! > $HOME/kernel
         env -i setsid sleep 1000 & echo $! > $HOME/bare
         (setsid sh -c 'echo $$ > $HOME/orphan; exec sleep 1000' &)
         setsid sh -c 'trap \"\" TERM; echo $$ > $HOME/stubborn; while :; do sleep 1; done' &
         echo $$ > $HOME/main; wait",
    );
    let started = start(&spawner, "ada").await;
    let mut pids = Vec::new();
    for name in ["kernel", "bare", "orphan", "stubborn", "main"] {
        let pid = number_in(room.home("ada").join(name)).await;
        assert!(exists(pid), "{name}");
        pids.push(pid);
    }
    within(spawner.stop(&started.handle, IMPATIENT))
        .await
        .unwrap();
    assert!(family(&started.handle).is_empty());
    for pid in pids {
        // Those whose parent has ended are buried by the machine's first process.
        eventually("the process is gone", || !exists(pid) || is_zombie(pid)).await;
    }
}

#[tokio::test]
async fn what_a_dead_server_left_behind_is_ended_too() {
    let room = Room::new();
    let spawner = room.shell("setsid sh -c 'echo $$ > $HOME/kernel; exec sleep 1000' & exit 1");
    let started = start(&spawner, "ada").await;
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(1)
    );
    let kernel = number_in(room.home("ada").join("kernel")).await;
    eventually("the kernel is found by its mark", || {
        family(&started.handle).contains(&kernel)
    })
    .await;
    within(spawner.stop(&started.handle, IMPATIENT))
        .await
        .unwrap();
    assert!(family(&started.handle).is_empty());
}

#[tokio::test]
async fn a_wrapper_and_the_program_in_it_both_hear_the_signal() {
    let room = Room::new();
    let spawner = room.shell(
        "trap 'wait; exit 5' TERM
         sh -c 'trap \"echo inner; exit 0\" TERM; echo $$ > $HOME/inner; while :; do sleep 0.05; done'",
    );
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("inner")).await;
    within(spawner.stop(&started.handle, POLITE)).await.unwrap();
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(5)
    );
    assert_eq!(spawner.log_tail(&server("ada"), 1).await, ["inner"]);
}

#[tokio::test]
async fn a_halted_server_wakes_up_to_end() {
    let room = Room::new();
    let spawner =
        room.shell("trap 'exit 0' TERM; echo $$ > $HOME/pid; while :; do sleep 0.05; done");
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("pid")).await;
    kill(pid(&started.handle), Signal::STOP);
    within(spawner.stop(&started.handle, POLITE)).await.unwrap();
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(0)
    );
}

#[tokio::test]
async fn a_stop_without_patience_takes_no_time() {
    let room = Room::new();
    let spawner = room.shell("trap '' TERM; echo $$ > $HOME/pid; while :; do sleep 0.05; done");
    let started = start(&spawner, "ada").await;
    number_in(room.home("ada").join("pid")).await;
    let begun = Instant::now();
    within(spawner.stop(&started.handle, StopMode::Now))
        .await
        .unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(
        within(spawner.poll(&started.handle)).await.unwrap(),
        Liveness::Exited(Exit::Signal(9))
    );
    within(spawner.stop(&started.handle, POLITE)).await.unwrap();
}

#[tokio::test]
async fn a_handle_of_another_spawner_is_refused() {
    let room = Room::new();
    let spawner = room.shell("exit 0");
    let handle = Handle(serde_json::json!({"kind": "systemd", "unit": "ada.service"}));
    assert!(matches!(
        spawner.stop(&handle, StopMode::Now).await,
        Err(SpawnError::ForeignHandle { kind: "process" })
    ));
    assert!(spawner.poll(&handle).await.is_err());
    assert!(spawner.wait(&handle).await.is_err());
}

fn is_zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
