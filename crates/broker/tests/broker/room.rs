//! A machine of a test's own: `/etc`, `/home`, `/run` and `/var/log` are copies or empty, in a mount namespace that only
//! this thread and its children see. Accounts that a test makes are gone with it.

use std::collections::HashMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_broker::Broker;
use lyceum_broker::children::Children;
use lyceum_broker::engine::{Engine, Identity, Running};
use lyceum_broker::plan::Plan;
use lyceum_broker::policy::{
    AccountCreation, AccountPolicy, PamPolicy, Policy, Sandbox, ServerPolicy, SocketRule,
};
use lyceum_broker::protocol::{Refusal, RefusalKind, ServerKey, ServerState, StartServer, Usage};
use lyceum_broker::serve::{self, Server};
use lyceum_core::limits::{LimitRules, TotalLimits};
use lyceum_core::seams::Exit;
use lyceum_core::{ServerName, ServerRef, UserName};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Pid, PidfdFlags};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The account that stands for Lyceum's own.
pub(crate) const CLIENT: u32 = 990;
/// What every account's password is.
pub(crate) const PASSWORD: &str = "correct horse battery";
const LIMIT: Duration = Duration::from_mins(1);

/// The running broker, and all that a test looks at.
pub(crate) struct Room {
    pub(crate) dir: PathBuf,
    pub(crate) broker: Broker,
    pub(crate) engine: Arc<TinyEngine>,
    pub(crate) policy: Policy,
    tasks: JoinSet<()>,
    ending: CancellationToken,
    _temporary: tempfile::TempDir,
}

/// Runs a test on a machine of its own.
pub(crate) fn in_room(test: impl AsyncFnOnce(Room)) {
    in_room_with(|_| {}, test);
}

/// The same with another policy.
pub(crate) fn in_room_with(change: impl FnOnce(&mut Policy), test: impl AsyncFnOnce(Room)) {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test has to run as root: the broker does"
    );
    let temporary = own_machine();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut policy = policy();
        change(&mut policy);
        let room = Room::new(policy, temporary);
        tokio::time::timeout(LIMIT, test(room)).await.unwrap();
    });
}

/// Gives this thread a copy of `/etc`, and empty folders where accounts leave traces.
fn own_machine() -> tempfile::TempDir {
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of one's own needs root");
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let etc = temporary.path().join("etc");
    let copied = Command::new("cp").arg("-a").arg("/etc").arg(&etc).status();
    assert!(copied.unwrap().success());
    mount(Some(&etc), "/etc", none, MsFlags::MS_BIND, none).unwrap();
    for empty in ["/home", "/run", "/var/log"] {
        mount(
            Some("tmpfs"),
            empty,
            Some("tmpfs"),
            MsFlags::empty(),
            Some("mode=755"),
        )
        .unwrap();
    }
    let service = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/pam.d/lyceum");
    fs::copy(service, "/etc/pam.d/lyceum").unwrap();
    temporary
}

pub(crate) fn policy() -> Policy {
    let text = |value: &str| value.to_owned();
    Policy {
        client_uid: CLIENT,
        client_gid: CLIENT,
        engine: None,
        pam: Some(PamPolicy {
            service: text("lyceum"),
            session: false,
            check_at_start: true,
            limit: Duration::from_secs(20),
        }),
        links: Vec::new(),
        courses: lyceum_broker::beside::CoursePolicy {
            settings: PathBuf::from("/srv/lyceum/course-settings"),
        },
        accounts: AccountPolicy {
            name: text("{username}"),
            uids: 1000..=59_999,
            refused_groups: [text("sudo")].into(),
            blocked_users: [user("mallory")].into(),
            blocked_patterns: Vec::new(),
            only: None,
            closed_shells: AccountPolicy::usual_closed_shells(),
            create: None,
            create_home: false,
            home_mode: 0o750,
            skeleton: "/etc/skel".into(),
        },
        server: ServerPolicy {
            command: vec![text("/bin/sleep")],
            args: vec![text("600")],
            environment: [].into(),
            jupyter_paths: [].into(),
            path: ["/usr/bin", "/bin"].map(text).into(),
            working_dir: String::new(),
            socket: SocketRule::Tcp,
            default_url: String::new(),
            static_files: false,
            sandbox: Sandbox {
                private_tmp: false,
                protect_system: false,
                no_new_privileges: false,
                private_devices: false,
                devices: Vec::new(),
                read_only: Vec::new(),
                hidden: Vec::new(),
                properties: [].into(),
            },
            log_limit: 1 << 20,
            open_files: None,
            slice: text("lyceum-servers.slice"),
        },
        python: None,
        profiles: [].into(),
        limits: LimitRules::default(),
        state_dir: "/run/lyceum-broker".into(),
        servers_dir: "/run/lyceum-servers".into(),
    }
}

/// Lets missing accounts be made.
pub(crate) fn create(policy: &mut Policy) {
    policy.accounts.create = Some(AccountCreation {
        shell: "/bin/bash".into(),
        groups: vec!["users".to_owned()],
        home_root: "/home".into(),
    });
}

impl Room {
    fn new(policy: Policy, temporary: tempfile::TempDir) -> Self {
        let path = policy.state_dir.join("broker.sock");
        let mut room = Self {
            dir: temporary.path().to_owned(),
            broker: Broker::new(&path),
            engine: Arc::default(),
            policy,
            tasks: JoinSet::new(),
            ending: CancellationToken::new(),
            _temporary: temporary,
        };
        room.run();
        room
    }

    /// Runs a broker, as after a start.
    pub(crate) fn run(&mut self) {
        let program = env!("CARGO_BIN_EXE_lyceum-broker-child");
        let engine: Arc<dyn Engine> = Arc::<TinyEngine>::clone(&self.engine);
        let children = Children::new(program, []);
        let server = Server::new(self.policy.clone(), None, Some(engine), children).unwrap();
        let listener = serve::bind(self.broker.path(), CLIENT).unwrap();
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        self.ending = CancellationToken::new();
        self.tasks
            .spawn(Arc::new(server).run(listener, self.ending.clone(), None));
    }

    /// Takes the broker away as `kill -9` does: in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Ends the broker in order.
    pub(crate) async fn end(&mut self) {
        self.ending.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    pub(crate) fn folders(&self) -> Vec<String> {
        names(&self.policy.servers_dir)
    }

    pub(crate) fn records(&self) -> Vec<String> {
        names(&self.policy.state_dir.join("servers"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    entries.map(|entry| name(entry).unwrap()).collect()
}

impl Drop for Room {
    fn drop(&mut self) {
        self.engine.end_all();
    }
}

/// Waits for something that comes by itself.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn user(name: &str) -> UserName {
    UserName::parse(name).unwrap()
}

pub(crate) fn key(name: &str, marker: &str) -> ServerKey {
    ServerKey {
        user: user(name),
        server: ServerName::default(),
        marker: marker.to_owned(),
    }
}

pub(crate) fn start(name: &str, marker: &str) -> StartServer {
    let key = key(name, marker);
    let server = ServerRef::new(key.user.clone(), key.server.clone());
    StartServer {
        service_prefix: server.url_path("/"),
        key,
        environment: lyceum_broker::Variables::default(),
        profile: None,
        groups: Vec::new(),
        tls: None,
    }
}

/// Makes an account with the usual password, a shell and a home.
pub(crate) fn make_account(name: &str, more: &[&str]) {
    run(
        "useradd",
        &[
            &["--create-home", "--shell", "/bin/bash"],
            more,
            &["--", name],
        ]
        .concat(),
    );
    set_password(name);
}

pub(crate) fn set_password(name: &str) {
    let mut child = Command::new("chpasswd")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(
        child.stdin.as_mut().unwrap(),
        format!("{name}:{PASSWORD}\n").as_bytes(),
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
}

pub(crate) fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it takes what `unwrap_err` gives"
)]
pub(crate) fn refusal(error: lyceum_broker::client::BrokerError) -> RefusalKind {
    error.refusal().unwrap_or_else(|| panic!("{error}")).kind
}

/// An engine for tests of everything around engines: runs programs under their accounts, and nothing more.
#[derive(Debug, Default)]
pub(crate) struct TinyEngine {
    running: Mutex<HashMap<String, i32>>,
    /// Starts wait for a permit here while there is such a gate.
    pub(crate) gate: Mutex<Option<Arc<Semaphore>>>,
    pub(crate) plans: Mutex<Vec<Plan>>,
    /// Whether starts fail.
    pub(crate) broken: std::sync::atomic::AtomicBool,
    /// Whether stops fail.
    pub(crate) stuck: std::sync::atomic::AtomicBool,
    /// Units that are listed besides those that run.
    pub(crate) listed: Mutex<Vec<String>>,
}

impl TinyEngine {
    pub(crate) fn count(&self) -> usize {
        self.running.lock().unwrap().len()
    }

    pub(crate) fn pid(&self, unit: &str) -> i32 {
        self.running.lock().unwrap()[unit]
    }

    pub(crate) fn end_all(&self) {
        for (_, pid) in self.running.lock().unwrap().drain() {
            end(pid);
        }
    }
}

fn end(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    let _ = nix::sys::wait::waitpid(pid, None);
}

fn open(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

#[async_trait]
impl Engine for TinyEngine {
    fn kind(&self) -> &'static str {
        "tiny"
    }

    async fn missing(&self, _: &TotalLimits) -> Vec<String> {
        vec!["nothing is limited".to_owned()]
    }

    async fn try_sandbox(&self, sandbox: &Sandbox) -> Result<(), Refusal> {
        if sandbox.properties.is_empty() {
            return Ok(());
        }
        Err(Refusal::new(
            RefusalKind::Configuration,
            "There are no properties.",
            "",
        ))
    }

    async fn start(&self, plan: &Plan) -> Result<Running, Refusal> {
        self.plans.lock().unwrap().push(plan.clone());
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        if self.broken.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Refusal::new(
                RefusalKind::System,
                "The engine is broken.",
                "",
            ));
        }
        #[expect(clippy::zombie_processes, reason = "`inspect` and `stop` wait for it")]
        let child = Command::new(&plan.argv[0])
            .args(&plan.argv[1..])
            .env_clear()
            .envs(&plan.environment.0)
            .uid(plan.account.uid)
            .gid(plan.account.gid)
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        self.running.lock().unwrap().insert(plan.unit.clone(), pid);
        Ok(Running {
            identity: Identity(pid.into()),
            pidfd: open(pid).unwrap(),
        })
    }

    async fn inspect(
        &self,
        unit: &str,
        identity: &Identity,
    ) -> Result<(ServerState, Option<OwnedFd>), Refusal> {
        let pid = self.running.lock().unwrap().get(unit).copied();
        let pid = pid.filter(|pid| identity.0 == *pid);
        let ended = |exit| Ok((ServerState::Ended { exit }, None));
        let Some(pid) = pid else {
            return ended(Exit::Unknown);
        };
        let flags = nix::sys::wait::WaitPidFlag::WNOHANG;
        match nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(flags)) {
            Ok(nix::sys::wait::WaitStatus::StillAlive) => {
                Ok((ServerState::Running(Usage::default()), open(pid)))
            }
            Ok(nix::sys::wait::WaitStatus::Signaled(_, signal, _)) => {
                self.running.lock().unwrap().remove(unit);
                ended(Exit::Signal(signal as i32))
            }
            _ => ended(Exit::Unknown),
        }
    }

    async fn stop(
        &self,
        unit: &str,
        _: Option<&Identity>,
        _: Option<Duration>,
    ) -> Result<(), Refusal> {
        if self.stuck.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Refusal::new(RefusalKind::Slow, "It does not end.", ""));
        }
        if let Some(pid) = self.running.lock().unwrap().remove(unit) {
            end(pid);
        }
        Ok(())
    }

    async fn signal(&self, unit: &str, _: &Identity, signal: i32) -> Result<(), Refusal> {
        let signal = nix::sys::signal::Signal::try_from(signal).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid(unit)), signal).unwrap();
        Ok(())
    }

    async fn log(&self, unit: &str, lines: u32) -> Result<Vec<String>, Refusal> {
        Ok((0..lines)
            .map(|line| format!("{unit} {line} {}", "x".repeat(3000)))
            .collect())
    }

    async fn list(&self) -> Result<Vec<(String, Usage)>, Refusal> {
        let running = self.running.lock().unwrap();
        let listed = self.listed.lock().unwrap();
        let units = running.keys().chain(listed.iter()).cloned();
        Ok(units.map(|unit| (unit, Usage::default())).collect())
    }

    async fn limit_all(&self, _: &str, _: &TotalLimits) -> Result<(), Refusal> {
        Ok(())
    }
}
