//! What a server uses of the machine.

use lyceum_core::UserName;
use lyceum_core::seams::{Handle, Spawner as _, StopMode};
use serde_json::json;

use crate::harness::{Room, eventually, exists, pid, start};

#[tokio::test]
async fn a_server_uses_what_all_its_processes_use_and_nothing_of_others() {
    let room = Room::new();
    // Thirty-two megabytes in a child that leads a session of its own, as kernels do.
    let large = "setsid python3 -c 'import time; x = b\"x\" * (32 << 20); time.sleep(1000)' & exec sleep 1000";
    let large = room.shell(large);
    let small = room.shell("exec sleep 1000");
    let ada = start(&large, "ada").await;
    let bob = start(&small, "bob").await;
    let handles = [
        ada.handle.clone(),
        Handle(json!({"kind": "other"})),
        bob.handle.clone(),
    ];
    let megabytes = |usage: Option<lyceum_core::seams::Usage>| usage?.memory.map(|used| used >> 20);
    let mut last = Vec::new();
    for _ in 0..200 {
        last = large.usage_of_all(&handles).await;
        if megabytes(last[0]) >= Some(32) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(megabytes(last[0]) >= Some(32), "{last:?}");
    assert!(last[0].unwrap().tasks >= Some(2), "{last:?}");
    assert_eq!(last[1], None, "not one of ours");
    assert!(megabytes(last[2]) < Some(8), "{last:?}");
    assert_eq!(last[2].unwrap().tasks, Some(1));
    assert_eq!(last[2].unwrap().out_of_memory, 0);

    small.stop(&bob.handle, StopMode::Now).await.unwrap();
    assert_eq!(small.usage(&bob.handle).await, None, "it does not run");
    large.stop(&ada.handle, StopMode::Now).await.unwrap();
    eventually("the server is gone", || !exists(pid(&ada.handle))).await;
}

#[tokio::test]
async fn the_space_of_a_home_is_what_its_file_system_has_left() {
    let room = Room::new();
    let spawner = room.shell("exec sleep 1000");
    let ada = UserName::parse("ada").unwrap();
    assert_eq!(spawner.home_space(&ada).await, None, "there is no home yet");
    let started = start(&spawner, "ada").await;
    let space = spawner.home_space(&ada).await.unwrap();
    assert!(space.free > Some(0), "{space:?}");
    assert_eq!((space.used, space.quota), (None, None), "nobody counts");
    spawner.stop(&started.handle, StopMode::Now).await.unwrap();
}
