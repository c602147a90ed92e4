//! Servers that run: what they see, what they may use, what is known of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use lyceum_broker::engine::Engine as _;
use lyceum_broker::plan::Plan;
use lyceum_broker::protocol::RefusalKind;
use lyceum_core::limits::{Cap, TotalLimits};
use lyceum_core::seams::Exit;

use crate::place::Place;
use crate::plans::{
    self, exit, has_ended, memory, pid_of, python, text_of, usage, wait_end, wait_for,
};

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
async fn a_server_that_uses_up_the_memory_itself_is_said_to_have_done_so() {
    let place = Place::new();
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
