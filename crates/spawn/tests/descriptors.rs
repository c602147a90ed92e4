//! Many starts and stops leave no open file behind. In a program of its own, as other tests open files too.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use lyceum_core::names::{ServerName, ServerRef, UserName};
use lyceum_core::random;
use lyceum_core::seams::{Handle, Spawner as _, StartProgress, StartRequest, StopMode};
use lyceum_spawn::process::{Places, ProcessConfig, ProcessSpawner};

struct Nobody;

impl StartProgress for Nobody {
    fn handle(&self, _: &Handle) {}
    fn say(&self, _: u8, _: &str) {}
}

#[tokio::test]
async fn starting_and_stopping_leaves_no_open_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = ProcessConfig {
        command: vec!["sleep".to_owned(), "1000".to_owned()],
        ..ProcessConfig::default()
    };
    let places = Places {
        data_dir: dir.path().join("data"),
        runtime_dir: dir.path().join("run"),
        programs: Vec::new(),
        open_files: None,
    };
    let spawner = ProcessSpawner::new(config, places, &random::hex(8)).unwrap();
    let cycle = async || {
        let server = ServerRef::new(
            UserName::parse("ada").unwrap(),
            ServerName::default_server(),
        );
        let request = StartRequest {
            service_prefix: server.url_path("/"),
            server,
            marker: random::hex(16),
            environment: BTreeMap::new(),
            user_options: serde_json::Map::new(),
            groups: Vec::new(),
            tls: None,
        };
        let started = spawner.start(request, &Nobody).await.unwrap();
        spawner.stop(&started.handle, StopMode::Now).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), spawner.wait(&started.handle))
            .await
            .unwrap()
            .unwrap();
    };
    cycle().await;
    let before = open_files();
    for _ in 0..10 {
        cycle().await;
    }
    assert_eq!(open_files(), before);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
