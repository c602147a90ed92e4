//! Servers that run: what they see, and what arrives of what was said.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lyceum_broker::engine::Engine as _;
use lyceum_broker::engine::systemd::SystemdEngine;
use lyceum_broker::protocol::RefusalKind;
use proptest::strategy::{Strategy as _, ValueTree as _};

use crate::host::{
    SLICE, STATE, account, assert_nothing_left, engine, environment_of, run, service, shell,
};
use crate::plans::{self, has_ended, text_of, usage};

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
