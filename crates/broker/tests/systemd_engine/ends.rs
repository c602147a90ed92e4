//! Sessions, logs, starts that hang, and restarts of what all this rests on.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lyceum_broker::engine::Engine as _;
use lyceum_core::seams::Exit;

use crate::host::{
    QUIET, SLICE, STATE, account, assert_nothing_left, engine, new_engine, run, service, shell,
};
use crate::plans::{self, exit, has_ended, is_running, text_of, usage, wait_for};

#[tokio::test]
async fn a_start_that_hangs_and_is_given_up_leaves_nothing() {
    let (engine, _quiet) = engine().await;
    let user = account("waiter");
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
    engine.finish().await;
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
async fn an_administrators_stop_is_told_from_an_end_by_itself() {
    let (engine, _quiet) = engine().await;
    let (one, two) = (account("halted"), account("quitter"));
    let stopped = shell(
        &one,
        "trap 'sleep 0.3; exit 0' TERM; sleep 600 & wait; wait",
    );
    let running = engine.start(&stopped).await.unwrap();
    let unit = service(&stopped);
    assert!(run("systemctl", &["stop", &unit]).0);
    assert_eq!(
        exit(&engine, &stopped, &running).await,
        Exit::StoppedFromOutside
    );
    // It is kept, as it does not end in order.
    let failing = shell(
        &one,
        "trap 'sleep 0.3; exit 3' TERM; sleep 600 & wait; wait",
    );
    let running = engine.start(&failing).await.unwrap();
    assert!(run("systemctl", &["stop", &unit]).0);
    assert_eq!(
        exit(&engine, &failing, &running).await,
        Exit::StoppedFromOutside
    );
    let ended = shell(&two, "sleep 1");
    let running = engine.start(&ended).await.unwrap();
    assert_eq!(exit(&engine, &ended, &running).await, Exit::Code(0));
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
