//! What both engines promise in the same words, as cases that either of them is put through.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lyceum_broker::engine::{Engine, Running};
use lyceum_broker::plan::Plan;
use lyceum_broker::protocol::{RefusalKind, ServerState};
use lyceum_core::limits::Cap;
use lyceum_core::seams::Exit;

use crate::plans::{
    exit, has_ended, is_running, memory, python, text_of, usage, wait_end, wait_for,
};

/// Where an engine is tried.
pub(crate) trait Stage {
    /// The engine.
    fn engine(&self) -> &dyn Engine;

    /// The same engine, as a broker makes it that is started anew.
    fn another(&self) -> Box<dyn Engine>;

    /// A server of this user that runs a script of the shell; each user has one.
    fn server(&self, user: &str, script: &str) -> Plan;

    /// Nothing of a server is left: no process, no unit or group, no file but the log.
    fn assert_nothing_left(&self, plan: &Plan);
}

async fn stop(stage: &impl Stage, plan: &Plan, running: &Running) {
    let identity = Some(&running.identity);
    let stopped = stage.engine().stop(&plan.unit, identity, None).await;
    stopped.unwrap();
}

pub(crate) async fn a_child_that_uses_up_the_memory_ends_and_the_server_goes_on(
    stage: &impl Stage,
) {
    let script = format!(
        "{} -c 'x = bytearray(500 << 20)'; echo \"child: $?\" > out; exec sleep 600",
        python().display()
    );
    let mut plan = stage.server("hungry", &script);
    plan.limits = memory(100);
    let running = stage.engine().start(&plan).await.unwrap();
    let out = plan.account.home.join("out");
    assert_eq!(text_of(&out).await, "child: 137\n");
    let used = usage(stage.engine(), &plan, &running.identity).await;
    assert_eq!(
        (used.memory_limit, used.out_of_memory),
        (Some(100 << 20), 1)
    );
    stop(stage, &plan, &running).await;
    stage.assert_nothing_left(&plan);
}

pub(crate) async fn a_fork_bomb_stays_with_its_server_and_is_stopped(stage: &impl Stage) {
    let mut plan = stage.server(
        "bomber",
        "sh -c 'while :; do sleep 600 & done' & sleep 1; exec sleep 600",
    );
    plan.limits.tasks = Some(Cap::At(50));
    let running = stage.engine().start(&plan).await.unwrap();
    wait_for("the limit", async || {
        let looked = stage.engine().inspect(&plan.unit, &running.identity).await;
        let (state, _) = looked.unwrap();
        matches!(state, ServerState::Running(used) if used.tasks >= Some(40)).then_some(())
    })
    .await;
    let used = usage(stage.engine(), &plan, &running.identity).await;
    assert!(used.tasks <= Some(50), "{used:?}");
    let grace = Some(Duration::from_millis(200));
    let identity = Some(&running.identity);
    let stopped = stage.engine().stop(&plan.unit, identity, grace).await;
    stopped.unwrap();
    stage.assert_nothing_left(&plan);
}

/// `more` are starts of the same user that one of the engines alone refuses.
pub(crate) async fn what_cannot_start_is_explained_and_leaves_nothing(
    stage: &impl Stage,
    more: Vec<(Plan, RefusalKind, &str)>,
) {
    let fresh = || stage.server("unlucky", "exec sleep 600");
    let gone = fresh().account.home.join("gone");
    let named = gone.display().to_string();
    let no_program = Plan {
        argv: vec!["/opt/not/there".to_owned()],
        ..fresh()
    };
    let no_folder = Plan {
        working_dir: gone,
        ..fresh()
    };
    let others_folder = Plan {
        working_dir: PathBuf::from("/root"),
        ..fresh()
    };
    let mut all = vec![
        (no_program, RefusalKind::CommandMissing, "/opt/not/there"),
        (no_folder, RefusalKind::System, named.as_str()),
        (others_folder, RefusalKind::System, "/root"),
    ];
    all.extend(more);
    for (plan, kind, words) in &all {
        let refusal = stage.engine().start(plan).await.unwrap_err();
        assert_eq!(refusal.kind, *kind, "{refusal:?}");
        assert!(refusal.message.contains(words), "{refusal:?}");
        // By its proper account: one of them wanted root's.
        stage.assert_nothing_left(&fresh());
    }
    // And then it starts.
    let running = stage.engine().start(&fresh()).await.unwrap();
    stop(stage, &fresh(), &running).await;
}

pub(crate) async fn a_start_that_is_given_up_leaves_nothing(stage: &impl Stage) {
    for millis in [0, 1, 2, 4, 8, 16, 32, 64, 128] {
        let plan = stage.server("hasty", "exec sleep 600");
        let until = Duration::from_millis(millis);
        drop(tokio::time::timeout(until, stage.engine().start(&plan)).await);
        // What the broker does then; it waits for the clean-up.
        let stopped = stage.engine().stop(&plan.unit, None, None).await;
        stopped.unwrap();
        stage.assert_nothing_left(&plan);
    }
    stage.engine().finish().await;
}

pub(crate) async fn ends_are_told_apart_even_by_another_broker(stage: &impl Stage) {
    for (script, expected) in [
        ("sleep 0.5; exit 0", Exit::Code(0)),
        ("sleep 0.5; exit 3", Exit::Code(3)),
        ("sleep 0.5; kill -9 $$", Exit::Signal(9)),
        ("sleep 0.5; kill -6 $$", Exit::Signal(6)),
    ] {
        let plan = stage.server("mortal", script);
        let running = stage.engine().start(&plan).await.unwrap();
        wait_end(&running.pidfd).await;
        let other = stage.another();
        assert_eq!(exit(&*other, &plan, &running).await, expected, "{script}");
        // Forgotten only when that was said.
        let stopped = other.stop(&plan.unit, Some(&running.identity), None).await;
        stopped.unwrap();
        stage.assert_nothing_left(&plan);
    }
}

pub(crate) async fn what_is_for_an_ended_start_never_reaches_the_next_one(stage: &impl Stage) {
    let engine = stage.engine();
    let plan = stage.server("again", "exec sleep 600");
    let one = engine.start(&plan).await.unwrap();
    stop(stage, &plan, &one).await;
    let two = engine.start(&plan).await.unwrap();
    assert_eq!(exit(engine, &plan, &one).await, Exit::Unknown);
    stop(stage, &plan, &one).await;
    engine.signal(&plan.unit, &one.identity, 15).await.unwrap();
    assert!(
        !has_ended(&two.pidfd),
        "what was for an ended start has hit the next one"
    );
    let unusual = engine.signal(&plan.unit, &two.identity, 19).await;
    unusual.unwrap_err();
    engine.signal(&plan.unit, &two.identity, 15).await.unwrap();
    wait_end(&two.pidfd).await;
    engine.stop(&plan.unit, None, None).await.unwrap();
}

pub(crate) async fn a_stop_asks_the_main_process_first_and_ends_what_ignores_it(
    stage: &impl Stage,
) {
    let plan = stage.server(
        "stubborn",
        "(trap '' TERM INT HUP; while :; do sleep 0.1; done) & \
         setsid sh -c 'trap \"\" TERM; exec env -i sh -c \"while :; do sleep 0.1; done\"' & \
         trap 'echo asked >> out; exit 0' TERM; echo up > ready; while :; do sleep 0.1; done",
    );
    let home = &plan.account.home;
    let running = stage.engine().start(&plan).await.unwrap();
    text_of(&home.join("ready")).await;
    // Nothing to stop is no error.
    for _ in 0..2 {
        let grace = Some(Duration::from_secs(1));
        let identity = Some(&running.identity);
        let stopped = stage.engine().stop(&plan.unit, identity, grace).await;
        stopped.unwrap();
        stage.assert_nothing_left(&plan);
    }
    assert_eq!(fs::read_to_string(home.join("out")).unwrap(), "asked\n");
    let stopped = stage.engine().stop(&plan.unit, None, None).await;
    stopped.unwrap();
}

pub(crate) async fn what_a_server_leaves_at_its_own_end_goes_with_it(stage: &impl Stage) {
    let plan = stage.server("untidy", "setsid sleep 600 & sleep 0.5; exit 7");
    let running = stage.engine().start(&plan).await.unwrap();
    assert_eq!(exit(stage.engine(), &plan, &running).await, Exit::Code(7));
    wait_for("the end of what was left", async || {
        (!is_running(plan.account.uid, "sleep")).then_some(())
    })
    .await;
    stop(stage, &plan, &running).await;
    stage.assert_nothing_left(&plan);
}
