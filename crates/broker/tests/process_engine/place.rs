//! A place of a test's own for the engine: a folder, a group of control groups, numbers of users.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use lyceum_broker::Account;
use lyceum_broker::engine::Engine;
use lyceum_broker::engine::process::ProcessEngine;
use lyceum_broker::plan::Plan;
use tempfile::TempDir;

use crate::cases::Stage;
use crate::plans::{self, is_running};

/// An engine with a folder, a group and users' numbers of its own, so that tests can run side by side.
pub(crate) struct Place {
    pub(crate) engine: ProcessEngine,
    pub(crate) dir: TempDir,
    pub(crate) slice: String,
    pub(crate) uid: u32,
    /// Keeps the numbers from other tests.
    _claim: UnixListener,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests start processes of other users: run them as root"
        );
        // Not in /tmp: servers have one of their own.
        let dir = tempfile::Builder::new()
            .prefix("lyceum-engine-")
            .tempdir_in("/run")
            .unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let slice = format!("lyceum-test-{}-{number}", std::process::id());
        let (uid, claim) = claim_users();
        Self {
            engine: engine(dir.path()),
            dir,
            slice,
            uid,
            _claim: claim,
        }
    }

    pub(crate) fn account(&self, name: &str) -> Account {
        let home = self.dir.path().join(name);
        let uid = if name == "ada" {
            self.uid
        } else {
            self.uid + 1
        };
        fs::create_dir_all(&home).unwrap();
        chown(&home, Some(uid), Some(uid)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        Account {
            name: name.to_owned(),
            uid,
            gid: uid,
            home,
            shell: "/bin/sh".into(),
            groups: vec![name.to_owned()],
            gids: vec![uid, 60_123],
        }
    }

    pub(crate) fn shell(&self, script: &str) -> Plan {
        let account = self.account("ada");
        let unit = format!("lyceum-{}-ada", self.slice);
        plans::shell(&account, &unit, &self.slice, self.dir.path(), script)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("ada")
    }

    pub(crate) fn record(&self, plan: &Plan) -> serde_json::Value {
        let path = format!("processes/{}.json", plan.unit);
        let text = fs::read_to_string(self.dir.path().join(path)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Nothing of the server is left: no process, no group, no file but the log.
    pub(crate) fn assert_nothing_left(&self, plan: &Plan) {
        assert!(!is_running(plan.account.uid, ""), "a process is left");
        for hierarchy in [Path::new("/sys/fs/cgroup")]
            .iter()
            .map(|root| root.to_path_buf())
            .chain(
                fs::read_dir("/sys/fs/cgroup")
                    .unwrap()
                    .flatten()
                    .map(|entry| entry.path()),
            )
        {
            let group = hierarchy.join(&self.slice).join(&plan.unit);
            assert!(!group.exists(), "{} is left", group.display());
        }
        let record = self
            .dir
            .path()
            .join(format!("processes/{}.json", plan.unit));
        assert!(!record.exists(), "{} is left", record.display());
    }
}

/// Two numbers of users that no other test has now, for as long as the claim is kept: tests look for whatever runs under
/// theirs.
fn claim_users() -> (u32, UnixListener) {
    (64_000..65_000)
        .step_by(2)
        .find_map(|uid| {
            let name = format!("lyceum-test-users-{uid}");
            let address = SocketAddr::from_abstract_name(name).unwrap();
            let claim = UnixListener::bind_addr(&address).ok()?;
            // A test that failed may have left something.
            let free = [uid, uid + 1].iter().all(|uid| !is_running(*uid, ""));
            free.then_some((uid, claim))
        })
        .expect("all users for tests are taken")
}

impl Drop for Place {
    fn drop(&mut self) {
        let roots = fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for root in roots.chain(["/sys/fs/cgroup".into()]) {
            let slice = root.join(&self.slice);
            for below in fs::read_dir(&slice).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(below.path());
            }
            let _ = fs::remove_dir(slice);
        }
    }
}

pub(crate) fn engine(dir: &Path) -> ProcessEngine {
    ProcessEngine::with_stage(dir, keeper(), vec!["keep".into()])
}

/// The program that is a keeper, or a broker that starts one server.
pub(crate) fn keeper() -> PathBuf {
    let program = std::env::var_os("LYCEUM_TEST_KEEPER").map_or_else(
        || {
            let exe = std::env::current_exe().unwrap();
            exe.ancestors().nth(2).unwrap().join("examples/keeper")
        },
        PathBuf::from,
    );
    assert!(
        program.exists(),
        "{} is missing: cargo build -p lyceum-broker --example keeper",
        program.display()
    );
    program
}

impl Stage for Place {
    fn engine(&self) -> &dyn Engine {
        &self.engine
    }

    fn another(&self) -> Box<dyn Engine> {
        Box::new(engine(self.dir.path()))
    }

    fn server(&self, user: &str, script: &str) -> Plan {
        let account = self.account(user);
        let unit = format!("lyceum-{}-{user}", self.slice);
        plans::shell(&account, &unit, &self.slice, self.dir.path(), script)
    }

    fn assert_nothing_left(&self, plan: &Plan) {
        self.assert_nothing_left(plan);
    }
}
