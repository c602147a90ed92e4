//! The engine `systemd` with a real systemd: to be run as root inside a host that systemd has booted.
//!
//! It is no test of this machine, which may have no systemd: `cargo test -p lyceum-broker --test systemd_engine --no-run`
//! builds a program that needs nothing else, and that is copied into a test host and run there.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

#[path = "engines/plans.rs"]
mod plans;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use lyceum_broker::Account;
use lyceum_broker::engine::Engine as _;
use lyceum_broker::engine::systemd::SystemdEngine;
use lyceum_broker::plan::Plan;
use lyceum_broker::protocol::RefusalKind;
use lyceum_core::limits::{Cap, Limits, TotalLimits};
use lyceum_core::seams::Exit;
use plans::{
    exit, has_ended, is_running, memory, python, text_of, usage, variables, wait_end, wait_for,
};
use proptest::strategy::{Strategy as _, ValueTree as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::{RwLock, RwLockReadGuard};

const SLICE: &str = "lyceum-servers.slice";
const STATE: &str = "/run/lyceum-engine-test";

/// Held by all tests; one that disturbs the others holds it alone.
static QUIET: RwLock<()> = RwLock::const_new(());

async fn engine() -> (SystemdEngine, RwLockReadGuard<'static, ()>) {
    let quiet = QUIET.read().await;
    (new_engine(), quiet)
}

fn new_engine() -> SystemdEngine {
    assert!(
        Path::new("/run/systemd/private").exists(),
        "these tests need a systemd as process 1: boot a test host, copy this program in, and run it there"
    );
    fs::create_dir_all(STATE).unwrap();
    SystemdEngine::new(Path::new(STATE))
}

/// The account of a user that is there, or is made.
fn account(name: &str) -> Account {
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

fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// A plan for a script, with the account's own names, so that tests can run side by side.
fn shell(account: &Account, script: &str) -> Plan {
    let unit = format!("lyceum-{}", account.name);
    plans::shell(account, &unit, SLICE, Path::new(STATE), script)
}

fn service(plan: &Plan) -> String {
    format!("{}.service", plan.unit)
}

fn property(unit: &str, name: &str) -> String {
    run("systemctl", &["show", "--value", "-p", name, unit])
        .1
        .trim()
        .to_owned()
}

/// Where the environment of a unit is while it starts.
fn environment_of(unit: &str) -> PathBuf {
    let name: String = Sha256::digest(unit)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Path::new(STATE).join(format!("environments/{name}.env"))
}

/// Nothing of a unit is left: the manager does not know it, and no file of the engine's is there.
fn assert_nothing_left(plan: &Plan) {
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

#[tokio::test]
async fn a_server_runs_as_its_user_and_sees_neither_others_nor_their_folders() {
    let (engine, _quiet) = engine().await;
    let (ada, other) = (account("ada"), account("other"));
    let stranger = plans::plan(
        &other,
        "lyceum-other",
        SLICE,
        Path::new(STATE),
        &["/bin/sleep", "4711"],
    );
    let strangers = engine.start(&stranger).await.unwrap();
    fs::write("/tmp/of-the-machine", "x").unwrap();
    fs::create_dir_all("/srv/exams").unwrap();
    fs::write("/srv/exams/solution", "42").unwrap();
    fs::create_dir_all("/srv/data").unwrap();
    run("chmod", &["0777", "/srv/data"]);
    let mut plan = shell(
        &ada,
        "{ id; pwd; umask; ps -e -o args 2>&1 || cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls /tmp; \
         ls /srv/exams; touch /srv/data/x; touch /etc/x; ls -l /dev; grep NoNewPrivs /proc/self/status; \
         ulimit -Sn; cat /proc/self/cgroup; } > out 2>&1; echo done > ready; exec sleep 600",
    );
    plan.sandbox.hidden = vec!["/srv/exams".into(), "/not/there".into()];
    plan.sandbox.read_only = vec!["/srv/data".into()];
    plan.sandbox.devices = vec!["/dev/fus*".to_owned(), "/dev/not-there".to_owned()];
    plan.open_files = Some(1234);
    let running = engine.start(&plan).await.unwrap();
    text_of(&ada.home.join("ready")).await;
    let seen = fs::read_to_string(ada.home.join("out")).unwrap();
    let uid = format!("uid={}(ada) gid={}(ada) groups={0}(ada)", ada.uid, ada.gid);
    assert!(seen.contains(&uid), "{seen}");
    assert!(seen.contains("/home/ada\n0022\n"), "{seen}");
    assert!(
        !seen.contains("4711") && !seen.contains("systemd-journal"),
        "{seen}"
    );
    assert!(
        !seen.contains("of-the-machine") && !seen.contains("solution"),
        "{seen}"
    );
    assert!(seen.contains("cannot touch '/srv/data/x'"), "{seen}");
    assert!(seen.contains("cannot touch '/etc/x'"), "{seen}");
    assert!(
        !seen.contains(" kmsg") && seen.contains(" urandom"),
        "{seen}"
    );
    assert!(
        seen.contains("NoNewPrivs:\t1") && seen.contains("\n1234\n"),
        "{seen}"
    );
    assert!(
        seen.contains("/lyceum.slice/lyceum-servers.slice/lyceum-ada.service"),
        "{seen}"
    );

    // The token is in no property, and the file with it is gone.
    let shown = run("systemctl", &["show", &service(&plan)]).1;
    assert!(
        shown.contains("Description=Jupyter server of ada") && !shown.contains("geheim"),
        "{shown}"
    );
    assert!(Path::new(STATE).join("environments").exists());
    assert!(!environment_of(&plan.unit).exists());

    let use_now = usage(&engine, &plan, &running.identity).await;
    assert!(use_now.memory.is_some_and(|bytes| bytes > 0), "{use_now:?}");
    assert!(use_now.tasks.is_some_and(|tasks| tasks >= 1), "{use_now:?}");
    // With control groups of version 1 it depends on how the controllers are mounted.
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert!(use_now.cpu_micros.is_some(), "{use_now:?}");
    }
    let names: Vec<String> = engine
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(
        names.contains(&"lyceum-ada".to_owned()) && names.contains(&"lyceum-other".to_owned()),
        "{names:?}"
    );

    // Another start of the same server is refused, and leaves this one alone.
    let twice = engine.start(&plan).await.unwrap_err();
    assert_eq!(twice.kind, RefusalKind::Exists, "{twice:?}");
    assert!(!has_ended(&running.pidfd));

    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    engine
        .stop(&stranger.unit, Some(&strangers.identity), None)
        .await
        .unwrap();
    assert!(has_ended(&running.pidfd) && has_ended(&strangers.pidfd));
    assert_nothing_left(&plan);
}

#[tokio::test]
async fn units_of_others_are_neither_listed_nor_stopped() {
    let (engine, _quiet) = engine().await;
    run("systemd-run", &["--unit=lyceum-stranger", "sleep", "600"]);
    engine.stop("lyceum-stranger", None, None).await.unwrap();
    assert_eq!(property("lyceum-stranger", "ActiveState"), "active");
    let names = engine.list().await.unwrap();
    assert!(
        names.iter().all(|(name, _)| name != "lyceum-stranger"),
        "{names:?}"
    );
    for name in ["dbus", "lyceum-../x", "lyceum-a b", "lyceum-*"] {
        engine.stop(name, None, None).await.unwrap_err();
    }
    run("systemctl", &["stop", "lyceum-stranger"]);
}

#[tokio::test]
async fn any_environment_arrives_as_it_was() {
    let (engine, _quiet) = engine().await;
    let user = account("envy");
    let value = proptest::string::string_regex(
        "([a-z \"'\\\\$`#;=%{}\\n\\t]|[äß€😀]|\\\\n|\\$\\{HOME\\}|%i|\\$\\$){0,40}",
    )
    .unwrap();
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut all = BTreeMap::new();
    for number in 0..300 {
        let value = value.new_tree(&mut runner).unwrap().current();
        all.insert(format!("V{number}"), value);
    }
    for (name, value) in [
        ("EMPTY", ""),
        ("SPACES", "  a  "),
        ("END", "a\\"),
        ("LINES", "\n\na\n"),
        ("QUOTES", "'\"'\""),
        ("COMMENT", "# not one"),
        ("HOME", "/somewhere else"),
        ("LONG", &"x".repeat(60_000)),
    ] {
        all.insert(name.to_owned(), value.to_owned());
    }
    let mut plan = shell(
        &user,
        "cat /proc/self/environ > environ; echo done > ready; exec sleep 600",
    );
    plan.environment = lyceum_broker::Variables(all.clone());
    plan.environment
        .0
        .insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let running = engine.start(&plan).await.unwrap();
    text_of(&user.home.join("ready")).await;
    let environ = fs::read(user.home.join("environ")).unwrap();
    let arrived: BTreeMap<String, String> = environ
        .split(|byte| *byte == 0)
        .filter_map(|pair| String::from_utf8(pair.to_vec()).ok())
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    for (name, value) in &all {
        assert_eq!(arrived.get(name), Some(value), "{name}");
    }
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn names_and_paths_that_are_patterns_elsewhere_fit_themselves_alone() {
    let (_, _quiet) = engine().await;
    let user = account("patterns");
    // Another user's environment must not be taken for this one, were it there at the same time.
    let state = format!("{STATE}/o\\x64d [a]*?{{b,c}} %n $HOME");
    fs::create_dir_all(format!("{state}/environments")).unwrap();
    let engine = SystemdEngine::new(Path::new(&state));
    fs::write(
        format!("{state}/environments/lyceum-patternsx2dlab.env"),
        "WHOSE=another's\n",
    )
    .unwrap();
    let folder = user.home.join("a [b]*?{c,d} %n $HOME \\x2d");
    fs::create_dir_all(folder.join("closed")).unwrap();
    std::os::unix::fs::chown(&folder, Some(user.uid), Some(user.gid)).unwrap();
    run("chmod", &["-R", "0777", folder.to_str().unwrap()]);
    fs::copy("/bin/sh", folder.join("sh $$ %%")).unwrap();
    let unit = r"lyceum-patterns\x2dlab-one\x2a";
    let script =
        "echo \"$WHOSE|$1\" > out; touch closed/x 2>> out; echo done > ready; exec sleep 600";
    let mut plan = plans::shell(&user, unit, SLICE, Path::new(STATE), script);
    plan.argv[0] = folder.join("sh $$ %%").to_str().unwrap().to_owned();
    plan.argv
        .extend(["name", "%n $HOME ${HOME} * \\x2d"].map(str::to_owned));
    plan.environment
        .0
        .insert("WHOSE".to_owned(), "mine".to_owned());
    plan.working_dir = folder.clone();
    plan.sandbox.read_only = vec![folder.join("closed")];
    let running = engine.start(&plan).await.unwrap();
    text_of(&folder.join("ready")).await;
    let seen = fs::read_to_string(folder.join("out")).unwrap();
    assert!(
        seen.starts_with("mine|%n $HOME ${HOME} * \\x2d\n"),
        "{seen}"
    );
    assert!(seen.contains("cannot touch 'closed/x'"), "{seen}");
    usage(&engine, &plan, &running.identity).await;
    let names = engine.list().await.unwrap();
    assert!(names.iter().any(|(name, _)| name == unit), "{names:?}");
    engine
        .stop(unit, Some(&running.identity), None)
        .await
        .unwrap();
    assert!(has_ended(&running.pidfd));
    assert_nothing_left(&plan);
    // The other one's file alone.
    assert_eq!(
        fs::read_dir(format!("{state}/environments"))
            .unwrap()
            .count(),
        1
    );
}

#[tokio::test]
async fn a_child_that_uses_up_the_memory_ends_and_the_server_goes_on() {
    let (engine, _quiet) = engine().await;
    let user = account("hungry");
    let eater = format!(
        "{} -c 'x = bytearray(500 << 20)'; echo \"child: $?\" > out; exec sleep 600",
        python().display()
    );
    let mut plan = shell(&user, &eater);
    plan.limits = memory(100);
    let running = engine.start(&plan).await.unwrap();
    assert_eq!(text_of(&user.home.join("out")).await, "child: 137\n");
    let used = usage(&engine, &plan, &running.identity).await;
    assert_eq!(
        (used.memory_limit, used.out_of_memory),
        (Some(100 << 20), 1)
    );
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    assert_nothing_left(&plan);
}

#[tokio::test]
async fn limits_become_properties_of_the_unit() {
    let (engine, _quiet) = engine().await;
    let user = account("limited");
    let mut plan = shell(&user, "exec sleep 600");
    plan.limits = Limits {
        cpu: Some(Cap::At(1.5)),
        cpu_weight: Some(50),
        io_weight: Some(70),
        tasks: Some(Cap::At(33)),
        memory_high: Some(Cap::At("90M".parse().unwrap())),
        ..memory(100)
    };
    plan.sandbox.properties = [
        ("PrivateNetwork", "yes"),
        ("MemorySwapMax", "10M"),
        ("LimitNOFILE", "100:200"),
        ("SystemCallFilter", "~@reboot @swap"),
        ("RestrictAddressFamilies", "AF_UNIX AF_INET"),
        ("ReadWritePaths", "-/srv/a -/srv/b"),
        ("RuntimeMaxSec", "8h"),
        ("Nice", "5"),
        ("ProtectHostname", "yes"),
        ("IOReadBandwidthMax", "/ 10M"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let running = engine.start(&plan).await.unwrap();
    for (name, value) in [
        ("MemoryMax", "104857600"),
        ("MemoryHigh", "94371840"),
        ("MemorySwapMax", "10485760"),
        ("CPUQuotaPerSecUSec", "1.500000s"),
        ("CPUWeight", "50"),
        ("IOWeight", "70"),
        ("TasksMax", "33"),
        ("OOMPolicy", "continue"),
        ("PrivateNetwork", "yes"),
        ("LimitNOFILE", "200"),
        ("LimitNOFILESoft", "100"),
        ("RuntimeMaxUSec", "8h"),
        ("Nice", "5"),
        ("ProtectProc", "invisible"),
        ("ProtectHostname", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_UNIX"),
        ("ReadWritePaths", "-/srv/a -/srv/b"),
        ("IOReadBandwidthMax", "/ 10485760"),
    ] {
        assert_eq!(property(&service(&plan), name), value, "{name}");
    }
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_unit_and_is_stopped() {
    let (engine, _quiet) = engine().await;
    let user = account("bomber");
    let mut plan = shell(
        &user,
        "sh -c 'while :; do sleep 600 & done'; exec sleep 600",
    );
    plan.limits.tasks = Some(Cap::At(50));
    let running = engine.start(&plan).await.unwrap();
    wait_for("the limit", async || {
        let used = engine.inspect(&plan.unit, &running.identity).await.unwrap();
        matches!(used.0, lyceum_broker::protocol::ServerState::Running(used) if used.tasks >= Some(40)).then_some(())
    })
    .await;
    let used = usage(&engine, &plan, &running.identity).await;
    assert!(used.tasks <= Some(50), "{used:?}");
    engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_millis(200)),
        )
        .await
        .unwrap();
    assert_nothing_left(&plan);
}

#[tokio::test]
async fn what_cannot_start_is_explained_and_leaves_nothing() {
    let (engine, _quiet) = engine().await;
    let user = account("unlucky");
    let fresh = || shell(&user, "exec sleep 600");
    let mut no_program = fresh();
    no_program.argv = vec!["/opt/not/there".to_owned()];
    let mut no_folder = fresh();
    no_folder.working_dir = user.home.join("gone");
    let mut others_folder = fresh();
    others_folder.working_dir = "/root".into();
    let mut no_session = fresh();
    fs::write(
        "/etc/pam.d/lyceum-refuses",
        "session required pam_deny.so\naccount required pam_permit.so\n",
    )
    .unwrap();
    no_session.session = Some("lyceum-refuses".to_owned());
    let mut bad_value = fresh();
    bad_value.sandbox.properties = [("ProtectHome".to_owned(), "perhaps".to_owned())].into();
    let mut control = fresh();
    control.environment = variables(&[("A", "\x1b")]);
    for (plan, kind, words) in [
        (&no_program, RefusalKind::CommandMissing, "/opt/not/there"),
        (&no_folder, RefusalKind::System, "/home/unlucky/gone"),
        (&others_folder, RefusalKind::System, "/root"),
        (&no_session, RefusalKind::AccountClosed, "unlucky"),
        (&bad_value, RefusalKind::Policy, "ProtectHome"),
        (&control, RefusalKind::Policy, "\"A\""),
    ] {
        let refusal = engine.start(plan).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        assert!(refusal.message.contains(words), "{refusal:?}");
        assert_nothing_left(plan);
    }
    // And then it starts.
    let running = engine.start(&fresh()).await.unwrap();
    engine
        .stop(&fresh().unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_even_if_it_hangs() {
    let (engine, _quiet) = engine().await;
    let user = account("hasty");
    fs::write(
        "/etc/pam.d/lyceum-slow",
        "session required pam_exec.so /bin/sleep 600\naccount required pam_permit.so\n",
    )
    .unwrap();
    let mut plan = shell(&user, "exec sleep 600");
    plan.session = Some("lyceum-slow".to_owned());
    let until = Duration::from_millis(700);
    tokio::time::timeout(until, engine.start(&plan))
        .await
        .unwrap_err();
    // What the broker does then; it waits for the clean-up.
    engine.stop(&plan.unit, None, None).await.unwrap();
    assert_nothing_left(&plan);
    for millis in [0, 1, 2, 5, 10, 20, 40, 80] {
        let plan = shell(&user, "exec sleep 600");
        let until = Duration::from_millis(millis);
        drop(tokio::time::timeout(until, engine.start(&plan)).await);
        engine.stop(&plan.unit, None, None).await.unwrap();
        assert_nothing_left(&plan);
    }
    engine.finish().await;
}

#[tokio::test]
async fn ends_are_told_apart() {
    let (engine, _quiet) = engine().await;
    let user = account("mortal");
    for (script, expected) in [
        ("sleep 1; exit 0", Exit::Code(0)),
        ("sleep 1; exit 3", Exit::Code(3)),
        ("sleep 1; kill -9 $$", Exit::Signal(9)),
        ("sleep 1; kill -6 $$", Exit::Signal(6)),
    ] {
        let plan = shell(&user, script);
        let running = engine.start(&plan).await.unwrap();
        assert_eq!(exit(&engine, &plan, &running).await, expected, "{script}");
        // Forgotten only when that was said: then nothing is in `systemctl --failed` either.
        engine
            .stop(&plan.unit, Some(&running.identity), None)
            .await
            .unwrap();
        assert_nothing_left(&plan);
        assert!(!run("systemctl", &["--failed"]).1.contains("mortal"));
    }
    // A later start is another one.
    let plan = shell(&user, "exec sleep 600");
    let one = engine.start(&plan).await.unwrap();
    engine
        .stop(&plan.unit, Some(&one.identity), None)
        .await
        .unwrap();
    let two = engine.start(&plan).await.unwrap();
    assert_eq!(exit(&engine, &plan, &one).await, Exit::Unknown);
    engine
        .stop(&plan.unit, Some(&one.identity), None)
        .await
        .unwrap();
    assert!(
        !has_ended(&two.pidfd),
        "the stop of an ended start has hit the next one"
    );
    engine.signal(&plan.unit, &one.identity, 15).await.unwrap();
    assert!(!has_ended(&two.pidfd));
    engine
        .signal(&plan.unit, &two.identity, 19)
        .await
        .unwrap_err();
    engine.signal(&plan.unit, &two.identity, 15).await.unwrap();
    wait_end(&two.pidfd).await;
}

#[tokio::test]
async fn a_stop_asks_the_main_process_first_and_ends_what_ignores_it() {
    let (engine, _quiet) = engine().await;
    let user = account("stubborn");
    let plan = shell(
        &user,
        "(trap '' TERM INT HUP; while :; do sleep 0.1; done) & setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & \
         trap 'echo asked >> out; exit 0' TERM; echo up > ready; while :; do sleep 0.1; done",
    );
    let running = engine.start(&plan).await.unwrap();
    text_of(&user.home.join("ready")).await;
    engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_secs(2)),
        )
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(user.home.join("out")).unwrap(),
        "asked\n"
    );
    assert_nothing_left(&plan);
    // Nothing to stop is no error.
    engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_secs(2)),
        )
        .await
        .unwrap();
    engine.stop(&plan.unit, None, None).await.unwrap();
}

#[tokio::test]
async fn a_log_has_the_servers_own_lines_only_and_stays_after_its_end() {
    let (engine, _quiet) = engine().await;
    let (one, two) = (account("writer"), account("forger"));
    let forged = plans::shell(
        &two,
        "lyceum-forger",
        SLICE,
        Path::new(STATE),
        "logger -t lyceum-writer forged; printf 'forged\\n' | systemd-cat -t lyceum-writer; sleep 0.5",
    );
    let running = engine.start(&forged).await.unwrap();
    exit(&engine, &forged, &running).await;
    let plan = shell(
        &one,
        "echo first; echo \"$JUPYTERHUB_API_TOKEN\" >/dev/null; printf '\\033[1mbold\\033[0m\\n'; echo last >&2",
    );
    let running = engine.start(&plan).await;
    drop(running);
    let lines = wait_for("the lines", async || {
        let lines = engine.log(&plan.unit, 10).await.unwrap();
        lines.iter().any(|line| line == "last").then_some(lines)
    })
    .await;
    assert_eq!(lines, ["first", "bold", "last"]);
    assert_eq!(engine.log(&plan.unit, 1).await.unwrap(), ["last"]);
    assert_eq!(
        engine.log("lyceum-nobody", 1).await.unwrap(),
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn all_servers_together_are_limited() {
    let (engine, _quiet) = engine().await;
    let total = TotalLimits {
        memory: Some(3 << 30),
        cpu: Some(1.5),
        tasks: Some(4000),
    };
    engine
        .limit_all("lyceum-total.slice", &total)
        .await
        .unwrap();
    let user = account("member");
    let mut plan = shell(&user, "exec sleep 600");
    plan.slice = "lyceum-total.slice".to_owned();
    let running = engine.start(&plan).await.unwrap();
    let of = |name: &str| property("lyceum-total.slice", name);
    assert_eq!(
        (of("MemoryMax"), of("TasksMax")),
        ((3_u64 << 30).to_string(), "4000".to_owned())
    );
    assert_eq!(of("CPUQuotaPerSecUSec"), "1.500000s");
    engine
        .limit_all("lyceum-total.slice", &TotalLimits::default())
        .await
        .unwrap();
    assert_eq!(
        (of("MemoryMax"), of("TasksMax")),
        ("infinity".to_owned(), "infinity".to_owned())
    );
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_session_is_opened_but_must_not_move_the_server_out_of_its_unit() {
    let (engine, _quiet) = engine().await;
    let user = account("sitter");
    fs::write("/etc/pam.d/lyceum-session", "account required pam_permit.so\nsession required pam_env.so envfile=/etc/lyceum-session-env user_readenv=0\nsession required pam_limits.so\n").unwrap();
    fs::write("/etc/lyceum-session-env", "FROM_PAM=yes\n").unwrap();
    let mut plan = shell(&user, "echo \"$FROM_PAM\" > out; exec sleep 600");
    plan.session = Some("lyceum-session".to_owned());
    let running = engine.start(&plan).await.unwrap();
    assert_eq!(text_of(&user.home.join("out")).await, "yes\n");
    engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_secs(5)),
        )
        .await
        .unwrap();
    assert_nothing_left(&plan);

    fs::write(
        "/etc/pam.d/lyceum-moves",
        "account required pam_permit.so\nsession required pam_systemd.so\n",
    )
    .unwrap();
    plan.session = Some("lyceum-moves".to_owned());
    let refusal = engine.start(&plan).await.unwrap_err();
    assert!(refusal.message.contains("out of its unit"), "{refusal:?}");
    assert_nothing_left(&plan);
    assert!(
        !is_running(user.uid, "sleep"),
        "the server that was moved out still runs"
    );
}

#[tokio::test]
async fn restarts_of_the_bus_and_of_the_manager_are_survived() {
    let _alone = QUIET.write().await;
    let engine = new_engine();
    let user = account("steady");
    let plan = shell(&user, "exec sleep 600");
    let running = engine.start(&plan).await.unwrap();
    let commands = std::thread::spawn(|| {
        for _ in 0..3 {
            for arguments in [
                &["restart", "dbus"][..],
                &["daemon-reexec"],
                &["daemon-reload"],
            ] {
                Command::new("systemctl").args(arguments).status().unwrap();
            }
        }
    });
    let mut rounds = 0;
    while !commands.is_finished() || rounds < 3 {
        usage(&engine, &plan, &running.identity).await;
        let other = plans::shell(
            &user,
            "lyceum-steady-two",
            SLICE,
            Path::new(STATE),
            "exec sleep 600",
        );
        let started = engine.start(&other).await.unwrap();
        engine
            .stop(
                &other.unit,
                Some(&started.identity),
                Some(Duration::from_secs(5)),
            )
            .await
            .unwrap();
        assert!(has_ended(&started.pidfd));
        rounds += 1;
    }
    commands.join().unwrap();
    assert!(!has_ended(&running.pidfd));
    engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_missing_is_said_in_sentences() {
    let missing = new_engine().missing(&TotalLimits::default()).await;
    println!("{missing:#?}");
    let v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    assert_eq!(missing.is_empty(), v2, "{missing:?}");
    assert!(
        missing.iter().all(|line| line.ends_with('.')),
        "{missing:?}"
    );
}
