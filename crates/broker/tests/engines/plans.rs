//! Plans for servers that are small programs, and what the tests of both engines ask about them.
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each of the two tests that take this module uses a part of it"
)]
#![expect(
    clippy::panic,
    reason = "the helpers of a test fail as the test itself does"
)]

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lyceum_broker::engine::{Engine, Identity, Running};
use lyceum_broker::plan::Plan;
use lyceum_broker::policy::Sandbox;
use lyceum_broker::protocol::{ServerKey, ServerState, Usage};
use lyceum_broker::{Account, Variables};
use lyceum_core::limits::{Cap, Limits};
use lyceum_core::names::{ServerName, UserName};
use lyceum_core::seams::Exit;

/// How long anything may take that should happen at once.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// A sandbox as the configuration has it when nothing is said.
pub(crate) fn sandbox() -> Sandbox {
    Sandbox {
        private_tmp: true,
        protect_system: true,
        no_new_privileges: true,
        private_devices: true,
        devices: Vec::new(),
        read_only: Vec::new(),
        hidden: Vec::new(),
        properties: BTreeMap::new(),
    }
}

/// A plan for a server of this account with this program.
pub(crate) fn plan(account: &Account, unit: &str, slice: &str, dir: &Path, argv: &[&str]) -> Plan {
    Plan {
        key: ServerKey {
            user: UserName::parse(&account.name).unwrap(),
            server: ServerName::default_server(),
            marker: "0123456789abcdef".to_owned(),
        },
        unit: unit.to_owned(),
        account: account.clone(),
        argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
        environment: variables(&[
            ("PATH", "/usr/bin:/bin"),
            ("JUPYTERHUB_API_TOKEN", "geheim"),
        ]),
        working_dir: account.home.clone(),
        folder: dir.join("folder"),
        limits: Limits::default(),
        sandbox: sandbox(),
        session: None,
        slice: slice.to_owned(),
        open_files: None,
        log: dir.join(format!("{unit}.log")),
        log_limit: 1024 * 1024,
    }
}

/// A plan for a script of the shell.
pub(crate) fn shell(account: &Account, unit: &str, slice: &str, dir: &Path, script: &str) -> Plan {
    plan(account, unit, slice, dir, &["/bin/sh", "-c", script])
}

/// Variables by name.
pub(crate) fn variables(pairs: &[(&str, &str)]) -> Variables {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Variables(pairs.iter().map(pair).collect())
}

/// A limit of memory in MiB.
pub(crate) fn memory(mib: u64) -> Limits {
    Limits {
        memory: Some(Cap::At(format!("{mib}M").parse().unwrap())),
        ..Limits::default()
    }
}

/// Asks again until there is an answer.
pub(crate) async fn wait_for<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + LIMIT;
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a file has text that ends with a newline, and gives it.
pub(crate) async fn text_of(path: &Path) -> String {
    wait_for(&format!("text in {}", path.display()), async || {
        let text = fs::read_to_string(path).ok()?;
        text.ends_with('\n').then_some(text)
    })
    .await
}

/// Waits until the process of a descriptor has ended.
pub(crate) async fn wait_end(pidfd: &OwnedFd) {
    wait_for("the end of a process", async || {
        has_ended(pidfd).then_some(())
    })
    .await;
}

/// Whether the process of a descriptor has ended.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).unwrap() > 0
}

/// The number of the process of a descriptor.
pub(crate) fn pid_of(pidfd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd as _;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let line = info.lines().find(|line| line.starts_with("Pid:")).unwrap();
    line.trim_start_matches("Pid:").trim().parse().unwrap()
}

/// What a running server uses; panics if it does not run.
pub(crate) async fn usage(engine: &dyn Engine, plan: &Plan, identity: &Identity) -> Usage {
    match engine.inspect(&plan.unit, identity).await.unwrap() {
        (ServerState::Running(usage), Some(_)) => usage,
        other => panic!("it does not run: {other:?}"),
    }
}

/// Waits until a server has ended, and tells how.
pub(crate) async fn exit(engine: &dyn Engine, plan: &Plan, running: &Running) -> Exit {
    wait_end(&running.pidfd).await;
    wait_for("the end of a unit", async || {
        match engine.inspect(&plan.unit, &running.identity).await.unwrap() {
            (ServerState::Ended { exit }, _) => Some(exit),
            _ => None,
        }
    })
    .await
}

/// Whether a process of this account has this text among its arguments.
pub(crate) fn is_running(uid: u32, text: &str) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        entry.metadata().is_ok_and(|data| data.uid() == uid)
            && fs::read(entry.path().join("cmdline"))
                .is_ok_and(|line| !line.is_empty() && String::from_utf8_lossy(&line).contains(text))
    })
}

/// A python of the machine.
pub(crate) fn python() -> PathBuf {
    let path = PathBuf::from("/usr/bin/python3");
    assert!(
        path.exists(),
        "this test needs /usr/bin/python3: apt-get install python3-minimal"
    );
    path
}
