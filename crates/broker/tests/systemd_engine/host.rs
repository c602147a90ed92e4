//! The booted host that these tests run in: its accounts, its units, its `systemctl`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lyceum_broker::Account;
use lyceum_broker::engine::Engine;
use lyceum_broker::engine::systemd::SystemdEngine;
use lyceum_broker::plan::Plan;
use sha2::{Digest as _, Sha256};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::cases::Stage;
use crate::plans::{self, is_running};

pub(crate) const SLICE: &str = "lyceum-servers.slice";
pub(crate) const STATE: &str = "/run/lyceum-engine-test";

/// Held by all tests; one that disturbs the others holds it alone.
pub(crate) static QUIET: RwLock<()> = RwLock::const_new(());

pub(crate) async fn engine() -> (SystemdEngine, RwLockReadGuard<'static, ()>) {
    let quiet = QUIET.read().await;
    (new_engine(), quiet)
}

pub(crate) fn new_engine() -> SystemdEngine {
    assert!(
        Path::new("/run/systemd/private").exists(),
        "these tests need a systemd as process 1: boot a test host, copy this program in, and run it there"
    );
    fs::create_dir_all(STATE).unwrap();
    SystemdEngine::new(Path::new(STATE))
}

/// The account of a user that is there, or is made.
pub(crate) fn account(name: &str) -> Account {
    static MAKING: OnceLock<std::sync::Mutex<()>> = OnceLock::new();
    let _one = MAKING
        .get_or_init(std::sync::Mutex::default)
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !run("id", &["-u", name]).0 {
        let made = run("useradd", &["--create-home", "--shell", "/bin/bash", name]);
        assert!(made.0, "{}", made.1);
    }
    let number = |flag: &str| -> u32 { run("id", &[flag, name]).1.trim().parse().unwrap() };
    let home = PathBuf::from(format!("/home/{name}"));
    run("chmod", &["0750", home.to_str().unwrap()]);
    Account {
        name: name.to_owned(),
        uid: number("-u"),
        gid: number("-g"),
        home,
        shell: "/bin/bash".into(),
        groups: vec![name.to_owned()],
        gids: vec![number("-g")],
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A plan for a script, with the account's own names, so that tests can run side by side.
pub(crate) fn shell(account: &Account, script: &str) -> Plan {
    let unit = format!("lyceum-{}", account.name);
    plans::shell(account, &unit, SLICE, Path::new(STATE), script)
}

pub(crate) fn service(plan: &Plan) -> String {
    format!("{}.service", plan.unit)
}

pub(crate) fn property(unit: &str, name: &str) -> String {
    run("systemctl", &["show", "--value", "-p", name, unit])
        .1
        .trim()
        .to_owned()
}

/// Where the environment of a unit is while it starts.
pub(crate) fn environment_of(unit: &str) -> PathBuf {
    let mut name = String::new();
    for byte in Sha256::digest(unit) {
        write!(name, "{byte:02x}").unwrap();
    }
    Path::new(STATE).join(format!("environments/{name}.env"))
}

/// Nothing of a unit is left: the manager does not know it, and no file of the engine's is there.
pub(crate) fn assert_nothing_left(plan: &Plan) {
    let state = property(&service(plan), "LoadState");
    assert_eq!(
        state,
        "not-found",
        "{}",
        run("systemctl", &["status", &service(plan)]).1
    );
    let file = environment_of(&plan.unit);
    assert!(!file.exists(), "{} is left", file.display());
    assert!(
        !is_running(plan.account.uid, "/bin/sh"),
        "a process is left"
    );
}

/// The host as a stage for cases of both engines.
pub(crate) struct Host {
    engine: SystemdEngine,
    _quiet: RwLockReadGuard<'static, ()>,
}

impl Host {
    pub(crate) async fn new() -> Self {
        let (engine, quiet) = engine().await;
        Self {
            engine,
            _quiet: quiet,
        }
    }
}

impl Stage for Host {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn another(&self) -> Box<dyn Engine> {
        Box::new(new_engine())
    }

    fn server(&self, user: &str, script: &str) -> Plan {
        shell(&account(user), script)
    }

    fn assert_nothing_left(&self, plan: &Plan) {
        assert_nothing_left(plan);
        // What has failed is not kept for administrators to wonder about.
        let failed = run("systemctl", &["--failed"]).1;
        assert!(!failed.contains(&service(plan)), "{failed}");
    }
}
