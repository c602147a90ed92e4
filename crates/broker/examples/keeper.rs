//! The keeper of servers as a program of its own, for tests. In the product it is `lyceum broker-child run-server`.
//!
//! As `keeper broker FOLDER UNIT SLICE UID` it starts one server and does nothing more: something to kill.

#![expect(
    clippy::unwrap_used,
    reason = "a tool of tests fails as the test itself does"
)]

#[path = "../tests/engines/plans.rs"]
mod plans;

use std::path::PathBuf;
use std::process::ExitCode;

use lyceum_broker::Account;
use lyceum_broker::engine::Engine as _;
use lyceum_broker::engine::process::{ProcessEngine, child_main};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, folder, unit, slice, uid] = arguments.as_slice() else {
        return child_main();
    };
    assert_eq!(mode, "broker");
    let (folder, uid) = (PathBuf::from(folder), uid.parse().unwrap());
    let account = Account {
        name: "ada".to_owned(),
        uid,
        gid: uid,
        home: folder.join("ada"),
        shell: "/bin/sh".into(),
        groups: vec!["ada".to_owned()],
        gids: vec![uid],
    };
    let plan = plans::shell(&account, unit, slice, &folder, "exec sleep 600");
    let own = std::env::current_exe().unwrap();
    let engine = ProcessEngine::with_stage(&folder, own, vec!["keep".into()]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let running = engine.start(&plan).await.unwrap();
        std::future::pending::<()>().await;
        drop(running);
    });
    ExitCode::SUCCESS
}
