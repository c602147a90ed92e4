//! The engine `process` with real processes, users' numbers, control groups and mounts. Needs root.

#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail as the test itself does"
)]

#[path = "engines/plans.rs"]
mod plans;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lyceum_broker::Account;
use lyceum_broker::engine::Engine as _;
use lyceum_broker::engine::process::ProcessEngine;
use lyceum_broker::plan::Plan;
use lyceum_broker::protocol::{RefusalKind, ServerState};
use lyceum_core::limits::{Cap, TotalLimits};
use lyceum_core::seams::Exit;
use plans::{
    exit, has_ended, is_running, memory, pid_of, python, text_of, usage, wait_end, wait_for,
};
use rustix::process::Resource;
use tempfile::TempDir;

/// An engine with a folder, a group and users' numbers of its own, so that tests can run side by side.
struct Place {
    engine: ProcessEngine,
    dir: TempDir,
    slice: String,
    uid: u32,
}

impl Place {
    fn new() -> Self {
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
        Self {
            engine: engine(dir.path()),
            dir,
            slice,
            uid: 64_000 + (std::process::id() % 100) * 10 + number * 2,
        }
    }

    fn account(&self, name: &str) -> Account {
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

    fn shell(&self, script: &str) -> Plan {
        let account = self.account("ada");
        let unit = format!("lyceum-{}-ada", self.slice);
        plans::shell(&account, &unit, &self.slice, self.dir.path(), script)
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("ada")
    }

    fn record(&self, plan: &Plan) -> serde_json::Value {
        let path = format!("processes/{}.json", plan.unit);
        let text = fs::read_to_string(self.dir.path().join(path)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Nothing of the server is left: no process, no group, no file but the log.
    fn assert_nothing_left(&self, plan: &Plan) {
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

fn engine(dir: &Path) -> ProcessEngine {
    ProcessEngine::with_stage(dir, keeper(), vec!["keep".into()])
}

/// The program that is a keeper, or a broker that starts one server.
fn keeper() -> PathBuf {
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

#[tokio::test]
async fn a_server_runs_as_its_user_and_sees_neither_others_nor_their_folders() {
    let place = Place::new();
    let other = place.account("other");
    let other_unit = format!("lyceum-{}-other", place.slice);
    let stranger = plans::plan(
        &other,
        &other_unit,
        &place.slice,
        place.dir.path(),
        &["/bin/sleep", "4711"],
    );
    let strangers = place.engine.start(&stranger).await.unwrap();
    let (data, exams) = (
        place.dir.path().join("data"),
        place.dir.path().join("exams"),
    );
    for folder in [&data, &exams] {
        fs::create_dir(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(exams.join("solution"), "42").unwrap();
    let marker = format!("/tmp/{}", place.slice);
    fs::write(&marker, "x").unwrap();
    let mut plan = place.shell(&format!(
        "{{ id; pwd; umask; cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -a /tmp; touch /tmp/mine && echo own-tmp; \
         ls {exams}; touch {data}/x; ls /dev; cat /proc/self/status; ulimit -Sn; cat /proc/self/environ | tr '\\0' '\\n'; \
         cat /proc/self/mountinfo; ls -l /proc/self/fd; }} > out 2>&1; echo done > ready; exec sleep 600",
        exams = exams.display(),
        data = data.display()
    ));
    plan.sandbox.hidden = vec![exams.clone(), "/not/there".into()];
    plan.sandbox.read_only = vec![data.clone()];
    plan.sandbox.devices = vec!["/dev/fus*".to_owned()];
    plan.open_files = Some(1234);
    let running = place.engine.start(&plan).await.unwrap();
    text_of(&place.home().join("ready")).await;
    fs::remove_file(&marker).unwrap();
    let seen = fs::read_to_string(place.home().join("out")).unwrap();
    let uid = place.uid;
    assert!(
        seen.contains(&format!("uid={uid} gid={uid} groups={uid},60123")),
        "{seen}"
    );
    assert!(
        seen.contains(&format!("{}\n0022\n", place.home().display())),
        "{seen}"
    );
    assert!(!seen.contains("4711"), "others' processes: {seen}");
    assert!(
        !seen.contains(&format!("\n{}\n", place.slice)) && seen.contains("own-tmp"),
        "{seen}"
    );
    assert!(!seen.contains("solution"), "{seen}");
    assert!(
        seen.contains(&format!("cannot touch '{}/x'", data.display())),
        "{seen}"
    );
    assert!(
        !seen.contains("\nkmsg\n") && seen.contains("\nurandom\n"),
        "{seen}"
    );
    assert!(
        seen.contains("NoNewPrivs:\t1") && seen.contains("\n1234\n"),
        "{seen}"
    );
    assert!(
        seen.contains("JUPYTERHUB_API_TOKEN=geheim") && !seen.contains("CARGO"),
        "{seen}"
    );
    assert!(seen.contains("CapEff:\t0000000000000000"), "{seen}");
    // /usr cannot be written to, whatever its mode.
    let usr = seen.lines().find(|line| line.contains(" /usr ")).unwrap();
    assert!(usr.contains(" ro,"), "{usr}");
    // Nothing of the keeper's is open in it: standard input, output, errors, and what `ls` reads itself.
    assert!(!seen.contains("socket:"), "{seen}");
    let token = fs::read_to_string(format!("/proc/{}/cmdline", pid_of(&running.pidfd))).unwrap();
    assert!(!token.contains("geheim"));

    let used = usage(&place.engine, &plan, &running.identity).await;
    assert!(
        used.memory.is_some() && used.tasks >= Some(1) && used.cpu_micros.is_some(),
        "{used:?}"
    );
    let mut names: Vec<String> = place
        .engine
        .list()
        .await
        .unwrap()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    assert_eq!(names, [plan.unit.clone(), stranger.unit.clone()]);
    let twice = place.engine.start(&plan).await.unwrap_err();
    assert_eq!(twice.kind, RefusalKind::Exists, "{twice:?}");
    assert!(!has_ended(&running.pidfd));
    for (plan, running) in [(&plan, &running), (&stranger, &strangers)] {
        place
            .engine
            .stop(&plan.unit, Some(&running.identity), None)
            .await
            .unwrap();
        assert!(has_ended(&running.pidfd));
        place.assert_nothing_left(plan);
    }
}

#[tokio::test]
async fn a_child_that_uses_up_the_memory_ends_and_the_server_goes_on() {
    let place = Place::new();
    let mut plan = place.shell(&format!(
        "{} -c 'x = bytearray(500 << 20)'; echo \"child: $?\" > out; exec sleep 600",
        python().display()
    ));
    plan.limits = memory(100);
    let running = place.engine.start(&plan).await.unwrap();
    assert_eq!(text_of(&place.home().join("out")).await, "child: 137\n");
    let used = usage(&place.engine, &plan, &running.identity).await;
    assert_eq!(
        (used.memory_limit, used.out_of_memory),
        (Some(100 << 20), 1)
    );
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    place.assert_nothing_left(&plan);

    // And if it is the server itself, that is said.
    let eater = format!("exec {} -c 'x = bytearray(500 << 20)'", python().display());
    let plan = Plan {
        limits: memory(100),
        ..place.shell(&eater)
    };
    let running = place.engine.start(&plan).await.unwrap();
    assert_eq!(
        exit(&place.engine, &plan, &running).await,
        Exit::OutOfMemory
    );
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_fork_bomb_stays_in_its_group_and_is_stopped() {
    let place = Place::new();
    let mut plan = place.shell("sh -c 'while :; do sleep 600 & done' & sleep 1; exec sleep 600");
    plan.limits.tasks = Some(Cap::At(50));
    let running = place.engine.start(&plan).await.unwrap();
    wait_for("the limit", async || {
        let state = place
            .engine
            .inspect(&plan.unit, &running.identity)
            .await
            .unwrap()
            .0;
        matches!(state, ServerState::Running(used) if used.tasks >= Some(45)).then_some(())
    })
    .await;
    let used = usage(&place.engine, &plan, &running.identity).await;
    assert!(used.tasks <= Some(50), "{used:?}");
    place
        .engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_millis(200)),
        )
        .await
        .unwrap();
    place.assert_nothing_left(&plan);
}

#[tokio::test]
async fn processor_time_is_limited() {
    let place = Place::new();
    let mut plan = place.shell("while :; do :; done");
    plan.limits.cpu = Some(Cap::At(0.2));
    let running = place.engine.start(&plan).await.unwrap();
    let micros = async || {
        usage(&place.engine, &plan, &running.identity)
            .await
            .cpu_micros
            .unwrap()
    };
    let (before, since) = (micros().await, std::time::Instant::now());
    wait_for("two seconds", async || {
        (since.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    let used = micros().await - before;
    let most = u64::try_from(since.elapsed().as_micros()).unwrap() * 3 / 10;
    assert!(used < most, "{used} of {most}");
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_cannot_start_is_explained_and_leaves_nothing() {
    let place = Place::new();
    let fresh = || place.shell("exec sleep 600");
    let mut no_program = fresh();
    no_program.argv = vec!["/opt/not/there".to_owned()];
    let mut no_folder = fresh();
    no_folder.working_dir = place.home().join("gone");
    let mut closed_folder = fresh();
    closed_folder.working_dir = "/root/.".into();
    fs::set_permissions("/root", fs::Permissions::from_mode(0o700)).unwrap();
    let mut root = fresh();
    root.account.uid = 0;
    let mut group = fresh();
    group.account.gids = vec![0];
    let mut relative = fresh();
    relative.argv = vec!["sh".to_owned()];
    for (plan, kind, words) in [
        (&no_program, RefusalKind::CommandMissing, "/opt/not/there"),
        (&relative, RefusalKind::CommandMissing, "sh"),
        (&no_folder, RefusalKind::System, "/ada/gone"),
        (&closed_folder, RefusalKind::System, "Permission denied"),
        (&root, RefusalKind::System, "become the account"),
        (&group, RefusalKind::System, "become the account"),
    ] {
        let refusal = place.engine.start(plan).await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal:?}");
        assert!(refusal.message.contains(words), "{refusal:?}");
        place.assert_nothing_left(&fresh());
    }
    let running = place.engine.start(&fresh()).await.unwrap();
    place
        .engine
        .stop(&fresh().unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_start_that_is_given_up_leaves_nothing_even_if_it_hangs() {
    let place = Place::new();
    for millis in [0, 1, 2, 4, 8, 16, 32, 64, 128] {
        let plan = place.shell("exec sleep 600");
        let until = Duration::from_millis(millis);
        drop(tokio::time::timeout(until, place.engine.start(&plan)).await);
        // What the broker does then; it waits for the clean-up.
        place.engine.stop(&plan.unit, None, None).await.unwrap();
        place.assert_nothing_left(&plan);
    }
    place.engine.finish().await;
}

/// A folder in which every look-up waits for ever, as on a network home that does not answer: a file system in user
/// space that nobody serves. It ends when it is dropped.
struct Stalled {
    device: Option<fs::File>,
    path: PathBuf,
}

impl Stalled {
    fn mount(path: &Path) -> Self {
        use std::os::fd::AsRawFd as _;
        let device = fs::File::options().read(true).write(true).open("/dev/fuse");
        let device = device.expect("this test needs /dev/fuse: load the kernel's module fuse");
        fs::create_dir_all(path).unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("stalled", path, "fuse", flags, Some(options.as_c_str())).unwrap();
        Self {
            device: Some(device),
            path: path.to_owned(),
        }
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.device = None;
        let _ = rustix::mount::unmount(&self.path, rustix::mount::UnmountFlags::DETACH);
    }
}

#[tokio::test]
async fn a_home_that_does_not_answer_delays_its_own_user_only() {
    let place = Place::new();
    let plan = place.shell("exec sleep 600");
    let stalled = Stalled::mount(&place.home());
    let mut start = Box::pin(place.engine.start(&plan));
    tokio::time::timeout(Duration::from_millis(500), &mut start)
        .await
        .unwrap_err();
    // Another one's server starts and ends meanwhile.
    let other = place.account("other");
    let unit = format!("lyceum-{}-other", place.slice);
    let others = plans::shell(
        &other,
        &unit,
        &place.slice,
        place.dir.path(),
        "exec sleep 600",
    );
    let running = place.engine.start(&others).await.unwrap();
    place
        .engine
        .stop(&others.unit, Some(&running.identity), None)
        .await
        .unwrap();
    // Given up, the one that hangs is gone, too.
    drop(start);
    place.engine.stop(&plan.unit, None, None).await.unwrap();
    place.assert_nothing_left(&plan);
    drop(stalled);
}

#[tokio::test]
async fn a_broker_that_is_killed_leaves_servers_that_run_and_none_that_half_run() {
    const LONGEST: u64 = 400;
    let place = Place::new();
    let mut kept = 0;
    for millis in [0, 5, 10, 15, 20, 30, 40, 60, 80, 120, 200, LONGEST] {
        let plan = place.shell("exec sleep 600");
        let mut broker = std::process::Command::new(keeper())
            .args([
                "broker",
                place.dir.path().to_str().unwrap(),
                &plan.unit,
                &place.slice,
            ])
            .args([place.uid.to_string()])
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        if millis == LONGEST {
            wait_for("a server", async || {
                is_running(place.uid, "sleep").then_some(())
            })
            .await;
            tokio::time::sleep(Duration::from_millis(millis)).await;
        }
        broker.kill().unwrap();
        broker.wait().unwrap();
        // A keeper that has lost its broker ends; one that was told to go on goes on.
        let record = place
            .dir
            .path()
            .join(format!("processes/{}.json", plan.unit));
        let lists = async || {
            place
                .engine
                .list()
                .await
                .unwrap()
                .iter()
                .any(|(name, _)| *name == plan.unit)
        };
        wait_for("an end of all or nothing", async || {
            let keepers = is_running(0, &format!("{} keep", keeper().display()));
            (lists().await && record.exists() || !keepers && !is_running(place.uid, "sleep"))
                .then_some(())
        })
        .await;
        kept += u32::from(lists().await);
        place.engine.stop(&plan.unit, None, None).await.unwrap();
        wait_for("nothing left", async || {
            (!is_running(place.uid, "sleep")).then_some(())
        })
        .await;
    }
    assert!(kept > 0, "no start was quick enough to be kept");
}

#[tokio::test]
async fn ends_are_told_apart_even_by_another_broker() {
    let place = Place::new();
    for (script, expected) in [
        ("exit 0", Exit::Code(0)),
        ("sleep 0.2; exit 3", Exit::Code(3)),
        ("kill -9 $$", Exit::Signal(9)),
    ] {
        let plan = place.shell(script);
        let running = place.engine.start(&plan).await.unwrap();
        wait_end(&running.pidfd).await;
        let other = engine(place.dir.path());
        assert_eq!(exit(&other, &plan, &running).await, expected, "{script}");
        other
            .stop(&plan.unit, Some(&running.identity), None)
            .await
            .unwrap();
        place.assert_nothing_left(&plan);
    }
    // A later start is another one.
    let plan = place.shell("exec sleep 600");
    let one = place.engine.start(&plan).await.unwrap();
    place
        .engine
        .stop(&plan.unit, Some(&one.identity), None)
        .await
        .unwrap();
    let two = place.engine.start(&plan).await.unwrap();
    assert_eq!(exit(&place.engine, &plan, &one).await, Exit::Unknown);
    place
        .engine
        .stop(&plan.unit, Some(&one.identity), None)
        .await
        .unwrap();
    place
        .engine
        .signal(&plan.unit, &one.identity, 15)
        .await
        .unwrap();
    assert!(
        !has_ended(&two.pidfd),
        "what was for an ended start has hit the next one"
    );
    place
        .engine
        .signal(&plan.unit, &two.identity, 19)
        .await
        .unwrap_err();
    place
        .engine
        .signal(&plan.unit, &two.identity, 15)
        .await
        .unwrap();
    assert_eq!(exit(&place.engine, &plan, &two).await, Exit::Signal(15));
    place.engine.stop(&plan.unit, None, None).await.unwrap();
}

#[tokio::test]
async fn a_stop_asks_the_main_process_first_and_ends_what_ignores_it() {
    let place = Place::new();
    let plan = place.shell(
        "(trap '' TERM INT HUP; while :; do sleep 0.1; done) & setsid sh -c 'trap \"\" TERM; exec env -i sh -c \"while :; do sleep 0.1; done\"' & \
         trap 'echo asked >> out; exit 0' TERM; echo up > ready; while :; do sleep 0.1; done",
    );
    let running = place.engine.start(&plan).await.unwrap();
    text_of(&place.home().join("ready")).await;
    place
        .engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_secs(1)),
        )
        .await
        .unwrap();
    assert_eq!(
        fs::read_to_string(place.home().join("out")).unwrap(),
        "asked\n"
    );
    place.assert_nothing_left(&plan);
    place
        .engine
        .stop(
            &plan.unit,
            Some(&running.identity),
            Some(Duration::from_secs(1)),
        )
        .await
        .unwrap();
    place.engine.stop(&plan.unit, None, None).await.unwrap();
}

#[tokio::test]
async fn what_a_server_leaves_at_its_own_end_goes_with_it() {
    let place = Place::new();
    let plan = place.shell("setsid sleep 600 & echo $! > left; sleep 0.3; exit 7");
    let running = place.engine.start(&plan).await.unwrap();
    assert_eq!(exit(&place.engine, &plan, &running).await, Exit::Code(7));
    wait_for("the end of what was left", async || {
        (!is_running(place.uid, "sleep")).then_some(())
    })
    .await;
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    place.assert_nothing_left(&plan);
}

#[tokio::test]
async fn the_log_is_bounded_and_stays_after_the_end() {
    let place = Place::new();
    let mut plan = place.shell("echo first; i=0; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done; printf '\\033[1mbold\\033[0m\\n'; echo last >&2");
    plan.log_limit = 50_000;
    let running = place.engine.start(&plan).await.unwrap();
    wait_end(&running.pidfd).await;
    let lines = wait_for("the last line", async || {
        let lines = place.engine.log(&plan.unit, 3).await.unwrap();
        lines.iter().any(|line| line == "last").then_some(lines)
    })
    .await;
    assert_eq!(lines, ["line 19999", "bold", "last"]);
    let size: u64 = [plan.log.clone(), plan.log.with_added_extension("1")]
        .iter()
        .map(|path| fs::metadata(path).unwrap().len())
        .sum();
    assert!(size <= 50_000, "{size}");
    assert_eq!(
        fs::metadata(&plan.log).unwrap().permissions().mode() & 0o777,
        0o600
    );
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_killed_keeper_costs_the_exit_status_and_nothing_else() {
    let place = Place::new();
    let plan = place.shell("trap '' PIPE; sleep 601 & exec sleep 600");
    let running = place.engine.start(&plan).await.unwrap();
    let record = place.record(&plan);
    let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
    let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    usage(&place.engine, &plan, &running.identity).await;
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
    assert!(has_ended(&running.pidfd));
    place.assert_nothing_left(&plan);
    for folder in record["folders"].as_array().unwrap() {
        assert!(
            !Path::new(folder.as_str().unwrap()).exists(),
            "{folder} is left"
        );
    }
    assert_eq!(exit(&place.engine, &plan, &running).await, Exit::Unknown);
}

#[tokio::test]
async fn no_depth_of_temporary_folders_is_too_much_for_keeper_or_broker() {
    // As many open files as most machines allow, here and in the keeper.
    let mut files = rustix::process::getrlimit(Resource::Nofile);
    files.current = files.current.map(|most| most.min(1024));
    rustix::process::setrlimit(Resource::Nofile, files).unwrap();
    for keeper_is_killed in [false, true] {
        let place = Place::new();
        let plan = place.shell(&format!(
            "{} -c \"import os; os.chdir('/tmp'); [(os.mkdir('d'), os.chdir('d')) for _ in range(3_000)]\"; \
             echo done > ready; exec sleep 600",
            python().display()
        ));
        let running = place.engine.start(&plan).await.unwrap();
        text_of(&place.home().join("ready")).await;
        let record = place.record(&plan);
        if keeper_is_killed {
            let keeper = i32::try_from(record["keeper"]["pid"].as_i64().unwrap()).unwrap();
            let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
            rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
        }
        place
            .engine
            .stop(&plan.unit, Some(&running.identity), None)
            .await
            .unwrap();
        place.assert_nothing_left(&plan);
        for folder in record["folders"].as_array().unwrap() {
            let folder = Path::new(folder.as_str().unwrap());
            wait_for("the end of the folders", async || {
                (!folder.exists()).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test]
async fn all_servers_together_are_limited() {
    let place = Place::new();
    let total = TotalLimits {
        memory: Some(60 << 20),
        cpu: Some(1.5),
        tasks: Some(400),
    };
    place.engine.limit_all(&place.slice, &total).await.unwrap();
    let plan = place.shell(&format!(
        "{} -c 'x = bytearray(200 << 20)'; echo \"child: $?\" > out; exec sleep 600",
        python().display()
    ));
    let running = place.engine.start(&plan).await.unwrap();
    assert_eq!(text_of(&place.home().join("out")).await, "child: 137\n");
    place
        .engine
        .limit_all(&place.slice, &TotalLimits::default())
        .await
        .unwrap();
    place
        .engine
        .stop(&plan.unit, Some(&running.identity), None)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_is_missing_is_said_in_sentences() {
    let place = Place::new();
    let missing = place.engine.missing(&TotalLimits::default()).await;
    println!("{missing:#?}");
    assert!(
        missing.iter().any(|line| line.contains("PAM")),
        "{missing:?}"
    );
    assert!(
        missing.iter().all(|line| line.ends_with('.')),
        "{missing:?}"
    );
    assert!(
        !missing.iter().any(|line| line.contains("tried")),
        "{missing:?}"
    );
}
