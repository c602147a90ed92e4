//! Proofs by a program of the administrator, which is a script here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lyceum_certs::dns::{CommandSolver, Resolver};
use lyceum_certs::{DnsCommandConfig, Solver as _};
use tempfile::TempDir;

use crate::bind::{Bind, program};
use crate::{proof, refused, shown};

/// A folder with a script in it.
struct Script {
    folder: TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hook");
        let text = format!("#!/bin/sh\ncd '{}'\n{text}\n", folder.path().display());
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn config(&self) -> DnsCommandConfig {
        DnsCommandConfig {
            command: vec![self.path("hook").display().to_string(), "--mine".to_owned()],
            timeout: "20s".parse().unwrap(),
            propagation_timeout: "0s".parse().unwrap(),
        }
    }

    fn solver(&self) -> CommandSolver {
        CommandSolver::new(&self.config(), &Resolver::new(Vec::new()))
    }
}

#[tokio::test]
async fn a_program_is_told_what_to_add_and_to_remove() {
    let script = Script::new(
        r#"echo "$@ $LYCEUM_DNS_ACTION $LYCEUM_DNS_NAME $LYCEUM_DNS_VALUE" >> calls; env > environment"#,
    );
    let held = shown(&script.solver(), "hub.example.test", "-value").await;
    held.clean_up().await.unwrap();
    let expected = ["present", "cleanup"].map(|action| {
        let said = format!("{action} _acme-challenge.hub.example.test -value");
        format!("--mine {said} {said}\n")
    });
    assert_eq!(script.read("calls"), expected.concat());
    let environment = script.read("environment");
    for line in environment.lines() {
        let (name, _) = line.split_once('=').unwrap();
        let given = ["PATH", "HOME", "LANG"].contains(&name) || name.starts_with("LYCEUM_DNS_");
        // The last three are the shell's own.
        assert!(
            given || ["PWD", "OLDPWD", "SHLVL", "_"].contains(&name),
            "{line}"
        );
    }
    assert!(environment.contains("PATH="));
}

#[tokio::test]
async fn a_failure_is_told_with_the_last_lines_and_cleaned_up() {
    let script = Script::new(
        r#"echo $1 $2 >> calls; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo "line $n"; done
[ "$2" = cleanup ] && exit 0
echo "no such zone" >&2; exit 3"#,
    );
    let trouble = refused(&script.solver(), "example.test").await;
    assert!(
        trouble.what.contains("failed with exit status: 3"),
        "{trouble}"
    );
    assert!(
        trouble.causes.ends_with(&[
            "it printed: line 12".to_owned(),
            "it printed: no such zone".to_owned()
        ]),
        "{trouble}"
    );
    let first = "it printed: line 1".to_owned();
    assert!(!trouble.causes.contains(&first), "{trouble}");
    assert_eq!(script.read("calls"), "--mine present\n--mine cleanup\n");
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_ended_with_its_children() {
    let script = Script::new(
        r#"[ "$2" = cleanup ] && { echo cleaned > cleaned; exit 0; }
echo "waiting for the provider"
sleep 300 & echo $! > child
wait"#,
    );
    let mut config = script.config();
    config.timeout = "1s".parse().unwrap();
    let solver = CommandSolver::new(&config, &Resolver::new(Vec::new()));
    let before = Instant::now();
    let trouble = refused(&solver, "example.test").await;
    assert!(before.elapsed() < Duration::from_secs(10));
    assert!(trouble.what.contains("took longer than 1s"), "{trouble}");
    assert!(
        trouble.causes[0].contains("waiting for the provider"),
        "{trouble}"
    );
    assert_eq!(script.read("cleaned"), "cleaned\n");
    wait_until_gone(script.read("child").trim()).await;
}

#[tokio::test]
async fn a_program_whose_caller_goes_away_is_ended() {
    let script = Script::new("sleep 300 & echo $! > child; wait");
    let solver = script.solver();
    let showing = solver.show(proof("example.test", "value"));
    let started = async {
        while !script.read("child").ends_with('\n') {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        _ = showing => panic!("it waits"),
        () = started => {}
    }
    wait_until_gone(script.read("child").trim()).await;
}

/// Waits until a process has ended; one that nobody has asked for yet counts as ended.
async fn wait_until_gone(pid: &str) {
    let path = Path::new("/proc").join(pid).join("stat");
    let until = Instant::now() + Duration::from_secs(10);
    while let Ok(text) = fs::read_to_string(&path)
        && !text.contains(") Z ")
    {
        assert!(Instant::now() < until, "{pid} still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_program_may_leave_something_behind_that_holds_its_output() {
    let script = Script::new("sleep 20 & echo $! > child; echo done");
    let before = Instant::now();
    let held = shown(&script.solver(), "example.test", "value").await;
    assert!(before.elapsed() < Duration::from_secs(10));
    drop(held);
    let pid = script.read("child").trim().parse().unwrap();
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
}

#[tokio::test]
async fn a_program_that_prints_without_end_is_not_held_up() {
    let script = Script::new("head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end");
    shown(&script.solver(), "example.test", "value").await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told() {
    let script = Script::new("");
    let mut config = script.config();
    config.command[0].push_str("-missing");
    let solver = CommandSolver::new(&config, &Resolver::new(Vec::new()));
    let trouble = refused(&solver, "example.test").await;
    assert!(
        trouble.what.contains("could not start the DNS command"),
        "{trouble}"
    );
    assert!(trouble.hint.contains("#!"));
    fs::set_permissions(script.path("hook"), fs::Permissions::from_mode(0o644)).unwrap();
    let trouble = refused(&script.solver(), "example.test").await;
    assert!(trouble.hint.contains("chmod +x"), "{}", trouble.hint);
}

#[tokio::test]
async fn the_work_of_a_program_is_waited_for() {
    let bind = Bind::start();
    let nsupdate = program("nsupdate", "bind9-dnsutils");
    let script = Script::new(&format!(
        r#"verb=add; [ "$2" = cleanup ] && verb=delete
printf 'server {} {}\nupdate %s %s 60 TXT %s\nsend\n' $verb "$LYCEUM_DNS_NAME" "$LYCEUM_DNS_VALUE" | {} -k '{}'"#,
        bind.address.ip(),
        bind.address.port(),
        nsupdate.display(),
        bind.key_file().display(),
    ));
    let mut config = script.config();
    config.propagation_timeout = "20s".parse().unwrap();
    let solver = CommandSolver::new(&config, &bind.resolver());
    let held = shown(&solver, "example.test", "by-hand").await;
    assert_eq!(
        bind.texts("_acme-challenge.example.test").await,
        ["by-hand"]
    );
    held.clean_up().await.unwrap();
    assert!(bind.texts("_acme-challenge.example.test").await.is_empty());
    // One that does nothing is found out.
    let idle = Script::new("exit 0");
    config.command = idle.config().command;
    config.propagation_timeout = "2s".parse().unwrap();
    let trouble = refused(
        &CommandSolver::new(&config, &bind.resolver()),
        "example.test",
    )
    .await;
    assert!(trouble.causes[0].contains("ns1.example.test"), "{trouble}");
}
