//! Services as real processes: environment, account, output, end, and what a crash leaves over.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lyceum_core::ServiceName;
use lyceum_core::service::ServiceCommand;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

fn runner() -> ProcessServices {
    ProcessServices::new(&random::hex(8), vec!["/first/of/all".into()], None).unwrap()
}

fn shell(script: &str) -> ServiceLaunch {
    ServiceLaunch {
        name: ServiceName::parse("forum").unwrap(),
        command: ServiceCommand {
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            user: None,
            cwd: None,
            environment: BTreeMap::from([("TITLE".to_owned(), "Questions".to_owned())]),
        },
        environment: BTreeMap::from([
            ("JUPYTERHUB_API_TOKEN".to_owned(), "secret".to_owned()),
            ("TITLE".to_owned(), "other".to_owned()),
        ]),
    }
}

/// Keeps what a service writes.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn log(&self) -> impl Fn(&str) + Send + Sync + use<> {
        let lines = self.clone();
        move |line: &str| lines.0.lock().unwrap().push(line.to_owned())
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Reads on until a line has come that begins so, and gives the rest of it.
    async fn await_line(&self, process: &mut Box<dyn ServiceProcess>, start: &str) -> String {
        let log = self.log();
        let found = || {
            self.all()
                .iter()
                .find_map(|line| line.strip_prefix(start).map(str::to_owned))
        };
        let search = async {
            loop {
                if let Some(rest) = found() {
                    return rest;
                }
                let step = timeout(Duration::from_millis(20), process.wait(&log)).await;
                assert!(
                    step.is_err() || found().is_some(),
                    "it ended: {:?}",
                    self.all()
                );
            }
        };
        timeout(LIMIT, search).await.unwrap()
    }
}

fn lives(pid: u32) -> bool {
    identity::Stat::read(pid.cast_signed())
        .unwrap()
        .is_some_and(|stat| stat.is_alive())
}

async fn gone(pid: u32) {
    let ended = async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, ended).await.expect("the process lives on");
}

#[tokio::test]
async fn a_service_gets_its_environment_and_nothing_else_of_ours() {
    let runner = runner();
    let mut process = runner.start(shell("env; exit 3")).await.unwrap();
    let lines = Lines::default();
    let exit = timeout(LIMIT, process.wait(&lines.log())).await.unwrap();
    assert_eq!(exit, Exit::Code(3));
    let all = lines.all();
    let get = |name: &str| {
        all.iter()
            .find_map(|line| line.strip_prefix(&format!("{name}=")))
            .unwrap_or_else(|| panic!("{name} is missing in {all:?}"))
    };
    assert_eq!(get("JUPYTERHUB_API_TOKEN"), "secret");
    assert_eq!(get("TITLE"), "Questions");
    assert!(get("PATH").starts_with("/first/of/all:"));
    assert_eq!(get(SERVICES_VARIABLE), runner.instance);
    let expected = [
        &KEPT[..],
        &[
            "JUPYTERHUB_API_TOKEN",
            "TITLE",
            "PATH",
            "PWD",
            "SHLVL",
            "_",
            "OLDPWD",
        ],
        &[SERVER_VARIABLE, SERVICES_VARIABLE],
    ]
    .concat();
    for line in &all {
        let name = line.split('=').next().unwrap();
        assert!(expected.contains(&name), "{line}");
    }
}

#[tokio::test]
async fn what_cannot_be_started_is_told() {
    let runner = runner();
    let mut launch = shell("");
    launch.command.command = vec!["no-such-program-here".to_owned()];
    let error = runner.start(launch).await.unwrap_err().to_string();
    assert!(
        error.contains("no program `no-such-program-here`"),
        "{error}"
    );
    let mut launch = shell("");
    launch.command.cwd = Some("/no/such/folder".into());
    let error = runner.start(launch).await.unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
    let mut launch = shell("");
    launch.command.user = Some("no-such-account-here".to_owned());
    let error = runner.start(launch).await.unwrap_err().to_string();
    assert!(error.contains("no-such-account-here"), "{error}");
}

#[tokio::test]
async fn a_stop_ends_all_of_it_and_what_ignores_the_signal_is_killed() {
    let runner = runner();
    let script = "trap '' TERM INT; setsid sh -c 'echo inner $$; sleep 1000' & echo ready; while :; do sleep 1000; done";
    let mut process = runner.start(shell(script)).await.unwrap();
    let lines = Lines::default();
    let inner: u32 = lines
        .await_line(&mut process, "inner ")
        .await
        .parse()
        .unwrap();
    lines.await_line(&mut process, "ready").await;
    let pid = process.pid();
    assert!(lives(pid) && lives(inner));
    let log = lines.log();
    let stopping = process.stop(Duration::from_millis(100), &log);
    timeout(LIMIT, stopping).await.unwrap().unwrap();
    gone(pid).await;
    gone(inner).await;
}

#[tokio::test]
async fn a_polite_service_may_say_its_last_words() {
    let runner = runner();
    let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut process = runner.start(shell(script)).await.unwrap();
    let lines = Lines::default();
    lines.await_line(&mut process, "ready").await;
    let log = lines.log();
    timeout(LIMIT, process.stop(LIMIT, &log))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(lines.all().last().unwrap(), "bye");
}

#[tokio::test]
async fn what_a_service_leaves_behind_ends_with_it() {
    let runner = runner();
    let script = "setsid sh -c 'echo inner $$; sleep 1000' & sleep 0.3; exit 0";
    let mut process = runner.start(shell(script)).await.unwrap();
    let lines = Lines::default();
    let exit = timeout(LIMIT, process.wait(&lines.log())).await.unwrap();
    assert_eq!(exit, Exit::Code(0));
    let inner = lines.all()[0]
        .strip_prefix("inner ")
        .unwrap()
        .parse()
        .unwrap();
    gone(inner).await;
}

#[tokio::test]
async fn a_service_that_nobody_holds_any_more_ends() {
    let runner = runner();
    let process = runner.start(shell("sleep 1000")).await.unwrap();
    let pid = process.pid();
    drop(process);
    gone(pid).await;
}

#[tokio::test]
async fn a_sweep_ends_left_overs_of_this_hub_and_of_no_other() {
    let (runner, other) = (runner(), runner());
    let left = runner.start(shell("sleep 1000")).await.unwrap();
    let stays = other.start(shell("sleep 1000")).await.unwrap();
    let (left_pid, other_pid) = (left.pid(), stays.pid());
    // As after a crash: nobody holds it.
    let count = timeout(LIMIT, runner.sweep()).await.unwrap().unwrap();
    assert_eq!(count, 1);
    gone(left_pid).await;
    assert!(lives(other_pid));
    drop((left, stays));
}

#[tokio::test]
async fn a_service_ends_with_the_thread_that_has_started_it() {
    let runner = runner();
    let process = runner.start(shell("sleep 1000")).await.unwrap();
    let pid = process.pid();
    // Its end is what the kernel tells, here as at the end of the whole process.
    drop(runner);
    gone(pid).await;
    drop(process);
}

#[tokio::test]
async fn another_account_is_used_whole() {
    if !rustix::process::geteuid().is_root() {
        let mut launch = shell("id");
        launch.command.user = Some("nobody".to_owned());
        let error = runner().start(launch).await.unwrap_err().to_string();
        assert!(error.contains("only root"), "{error}");
        return;
    }
    let mut launch = shell("id -u; id -G; echo home $HOME; echo user $USER; pwd; sleep 1000");
    launch.command.user = Some("nobody".to_owned());
    launch.command.cwd = Some("/".into());
    let runner = runner();
    let mut process = runner.start(launch).await.unwrap();
    let lines = Lines::default();
    lines.await_line(&mut process, "/").await;
    let all = lines.all();
    let nobody = Account::find("nobody").unwrap();
    let groups: Vec<String> = nobody.groups.iter().map(ToString::to_string).collect();
    assert_eq!(all[0], nobody.uid.to_string());
    let mut found: Vec<&str> = all[1].split(' ').collect();
    found.sort_unstable();
    let mut expected: Vec<&str> = groups.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(
        Path::new(all[2].strip_prefix("home ").unwrap()),
        nobody.home
    );
    assert_eq!(all[3], "user nobody");
    // The change of account has not lost the tie to our life.
    let pid = process.pid();
    drop(runner);
    gone(pid).await;
}
