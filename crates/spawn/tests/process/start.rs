//! Starting: what a process gets and does not get, and what a person is told when it cannot start.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::route::Upstream;
use lyceum_core::seams::{Exit, Liveness, Spawner as _, StopMode};
use lyceum_spawn::process::{Places, ProcessConfig, ProcessSpawner, SetupError, SocketKind};

use crate::harness::{
    Room, Told, carriers, environment, eventually, exists, pid, request, server, start, try_start,
    variables, within, words,
};

#[tokio::test]
async fn the_environment_is_computed_and_nothing_of_ours_is_in_it() {
    let room = Room::new();
    let spawner = room.spawner(|config| {
        config.command = words(&["sleep", "1000"]);
        config.env_keep = words(&["CARGO_PKG_NAME", "NOT_SET_ANYWHERE"]);
        config.path = words(&["/usr/bin", "/bin"]);
        config.default_url = "/lab/{username}".to_owned();
        config.environment = BTreeMap::from([
            ("COLOUR".to_owned(), "blue".to_owned()),
            ("LYCEUM_SERVER".to_owned(), "forged".to_owned()),
        ]);
    });
    let mut request = request("ada b");
    request
        .environment
        .insert("JUPYTERHUB_API_TOKEN".to_owned(), "abc".to_owned());
    let marker = request.marker.clone();
    let started = try_start(&spawner, request).await.unwrap();

    let Upstream::Tcp { host, port } = &started.upstream else {
        panic!("{:?}", started.upstream);
    };
    assert_eq!(host, "127.0.0.1");
    let home = room.home("ada~20b");
    let mut found = environment(pid(&started.handle)).await;
    found.sort();
    let mut expected = vec![
        "CARGO_PKG_NAME=lyceum-spawn".to_owned(),
        "COLOUR=blue".to_owned(),
        format!("HOME={}", home.display()),
        "JUPYTERHUB_API_TOKEN=abc".to_owned(),
        "JUPYTERHUB_DEFAULT_URL=/lab/ada%20b".to_owned(),
        format!("JUPYTERHUB_SERVICE_URL=http://127.0.0.1:{port}/user/ada%20b/"),
        "JUPYTERHUB_USER=ada b".to_owned(),
        "LANG=C.UTF-8".to_owned(),
        "LOGNAME=ada b".to_owned(),
        format!("LYCEUM_INSTANCE={}", room.instance),
        format!("LYCEUM_SERVER={marker}"),
        "PATH=/usr/bin:/bin".to_owned(),
        "SHELL=/bin/bash".to_owned(),
        "USER=ada b".to_owned(),
    ];
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(fs::metadata(&home).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn the_hubs_folder_for_jupyter_comes_before_those_that_are_configured() {
    let room = Room::new();
    for (configured, expected) in [(None, "/hub"), (Some("/a:/b"), "/hub:/a:/b")] {
        let spawner = room.spawner(|config| {
            config.command = words(&["sleep", "1000"]);
            let configured = configured.map(|path| ("JUPYTER_PATH".to_owned(), path.to_owned()));
            config.environment.extend(configured);
        });
        let mut request = request("ada");
        request
            .environment
            .insert("JUPYTER_PATH".to_owned(), "/hub".to_owned());
        let started = try_start(&spawner, request).await.unwrap();
        let found = variables(pid(&started.handle));
        assert!(
            found.contains(&format!("JUPYTER_PATH={expected}")),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn a_process_leads_its_own_session_and_has_no_file_of_ours() {
    let room = Room::new();
    // A file that would be inherited: nobody has asked for it to be closed on exec.
    let inherited = fs::File::open("/dev/zero").unwrap();
    let leaky = rustix::io::dup(&inherited).unwrap();
    assert!(
        !rustix::io::fcntl_getfd(&leaky)
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    );
    let spawner = room.spawner(|config| config.command = words(&["sleep", "1000"]));
    let started = start(&spawner, "ada").await;

    let pid = pid(&started.handle);
    let files = || -> HashSet<String> {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    // While it starts, a program has its libraries open.
    let expected = ["0", "1", "2"].map(str::to_owned).into();
    eventually("only three files are open", || files() == expected).await;
    let target = |file: &str| fs::read_link(format!("/proc/{pid}/fd/{file}")).unwrap();
    let log = room.path("data/logs/servers/ada.log");
    assert_eq!(target("0").to_str(), Some("/dev/null"));
    assert_eq!((target("1"), target("2")), (log.clone(), log.clone()));
    assert_eq!(fs::metadata(&log).unwrap().mode() & 0o777, 0o600);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.split_whitespace().collect();
    assert_eq!(
        [fields[4], fields[5]],
        [pid.to_string(), pid.to_string()],
        "group and session: {stat}"
    );
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd, room.home("ada"));
}

#[tokio::test]
async fn two_users_have_two_processes_homes_and_ports() {
    let room = Room::new();
    let spawner = room.spawner(|config| config.command = words(&["sleep", "1000"]));
    let ada = start(&spawner, "ada").await;
    let bob = start(&spawner, "bob").await;
    assert_ne!(pid(&ada.handle), pid(&bob.handle));
    assert_ne!(ada.upstream, bob.upstream);
    within(spawner.stop(&ada.handle, StopMode::Now))
        .await
        .unwrap();
    assert_eq!(spawner.poll(&bob.handle).await.unwrap(), Liveness::Running);
    assert!(room.home("ada").exists() && room.home("bob").exists());
}

#[tokio::test]
async fn an_exit_is_told_with_its_status_and_leaves_no_zombie() {
    let room = Room::new();
    let check = async |script: &str, expected: Exit| {
        let spawner = room.shell(script);
        let started = start(&spawner, "ada").await;
        assert_eq!(
            within(spawner.wait(&started.handle)).await.unwrap(),
            expected
        );
        assert_eq!(
            within(spawner.poll(&started.handle)).await.unwrap(),
            Liveness::Exited(expected)
        );
        assert_eq!(
            within(spawner.wait(&started.handle)).await.unwrap(),
            expected
        );
        assert!(!exists(pid(&started.handle)));
    };
    check("exit 7", Exit::Code(7)).await;
    check("exit 0", Exit::Code(0)).await;
    check("kill -9 $$", Exit::Signal(9)).await;
}

#[tokio::test]
async fn nobody_has_to_wait_for_a_process_to_be_buried() {
    let room = Room::new();
    let spawner = room.shell("exit 3");
    let started = start(&spawner, "ada").await;
    let pid = pid(&started.handle);
    eventually("the process is reaped", || !exists(pid)).await;
    assert_eq!(
        within(spawner.poll(&started.handle)).await.unwrap(),
        Liveness::Exited(Exit::Code(3))
    );
}

#[test]
fn a_start_that_is_given_up_leaves_no_process() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let room = Room::new();
    let spawner = room.spawner(|config| config.command = words(&["sleep", "1000"]));
    let request = request("ada");
    let marker = request.marker.clone();
    let told = Told::default();
    let log = room.path("data/logs/servers/ada.log");
    runtime.block_on(async {
        let mut starting = spawner.start(request, &told);
        let once = std::future::poll_fn(|context| {
            std::task::Poll::Ready(starting.as_mut().poll(context).is_pending())
        });
        assert!(once.await, "the start was over before it could be given up");
        drop(starting);
        eventually("the start goes on in its thread", || log.exists()).await;
    });
    // This waits for the thread, which makes the process and finds that nobody wants it any more.
    drop(runtime);
    assert!(carriers("LYCEUM_SERVER", &marker).is_empty());
    assert!(told.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_keeps_a_server_from_starting_is_said_in_plain_words() {
    let room = Room::new();
    let check = async |edit: &dyn Fn(&mut ProcessConfig), cause: Cause, parts: &[&str]| {
        let failure = fail(&room, edit).await;
        assert_eq!(failure.cause, cause, "{failure:?}");
        let text = format!("{} {}", failure.message, failure.hint);
        for part in parts {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    };
    let file = |name: &str, text: &str, mode: u32| {
        let path = room.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let locked = file("locked", "#!/bin/sh\n", 0o644);
    let moved = file("moved", "#!/no/such/python\n", 0o755);

    check(
        &|config| {
            config.command = words(&["jupyterhub-singleuser"]);
            config.path = words(&["/nowhere", "/opt/none"]);
        },
        Cause::CommandMissing,
        &[
            "`jupyterhub-singleuser`",
            "/nowhere, /opt/none",
            "pip install jupyterhub jupyterlab",
        ],
    )
    .await;
    check(
        &|config| config.command = words(&["/opt/none/lab"]),
        Cause::CommandMissing,
        &["/opt/none/lab does not exist"],
    )
    .await;
    check(
        &|config| config.command = vec![locked.clone()],
        Cause::CommandMissing,
        &["may not be run", "chmod a+rx"],
    )
    .await;
    check(
        &|config| config.command = vec![moved.clone()],
        Cause::CommandMissing,
        &["interpreter in its first line", "Install the package again"],
    )
    .await;
    check(
        &|config| config.working_dir = "/no/such/dir".to_owned(),
        Cause::System,
        &["/no/such/dir", "does not exist", "`working_dir`"],
    )
    .await;
    check(
        &|config| config.home = format!("{locked}/{{username}}"),
        Cause::System,
        &["the home folder", "locked/ada"],
    )
    .await;
}

async fn fail(room: &Room, edit: impl FnOnce(&mut ProcessConfig)) -> Failure {
    let spawner = room.spawner(|config| {
        config.command = words(&["true"]);
        edit(config);
    });
    let request = request("ada");
    let marker = request.marker.clone();
    let failure = try_start(&spawner, request).await.unwrap_err();
    assert!(carriers("LYCEUM_SERVER", &marker).is_empty());
    failure
}

#[test]
fn what_cannot_work_is_refused_when_the_spawner_is_made() {
    let room = Room::new();
    let make = |edit: &dyn Fn(&mut ProcessConfig, &mut Places)| {
        let (mut config, mut places) = (ProcessConfig::default(), room.places());
        edit(&mut config, &mut places);
        ProcessSpawner::new(config, places, &room.instance).unwrap_err()
    };
    assert!(matches!(
        make(&|config, _| config.command.clear()),
        SetupError::NoCommand
    ));
    assert!(matches!(
        make(&|config, _| config.command = words(&["bin/lab"])),
        SetupError::RelativeCommand(_)
    ));
    assert!(matches!(
        make(&|config, _| {
            config.environment.insert("A=B".to_owned(), String::new());
        }),
        SetupError::BadVariable(_)
    ));
    assert!(matches!(
        make(&|_, places| places.data_dir = "data".into()),
        SetupError::RelativePath(_)
    ));
    for dir in ["bin", "", "/usr/bin:/bin"] {
        assert!(matches!(
            make(&|config, _| config.path = words(&[dir])),
            SetupError::BadSearchPath(_)
        ));
    }
    assert!(matches!(
        make(&|config, _| config.home = "homes/{user}".to_owned()),
        SetupError::UnknownPlaceholder { key: "home", .. }
    ));
    let long = format!("/{}", "x".repeat(90));
    assert!(matches!(
        make(&|_, places| places.runtime_dir = long.clone().into()),
        SetupError::LongRuntimeDir { excess: 11, .. }
    ));
    assert!(ProcessSpawner::new(ProcessConfig::default(), room.places(), "a b").is_err());
}

#[tokio::test]
async fn a_server_on_a_socket_is_told_where_and_only_we_may_enter() {
    let room = Room::new();
    let spawner = room.spawner(|config| {
        config.socket = SocketKind::Unix;
        config.command = words(&["/bin/sh", "-c", "echo \"$@\"; exec sleep 1000", "sh", "one"]);
        config.args = words(&["two"]);
    });
    let started = start(&spawner, "ada").await;
    let Upstream::Unix(socket) = &started.upstream else {
        panic!("{:?}", started.upstream);
    };
    assert_eq!(socket.parent(), Some(room.path("run").as_path()));
    assert_eq!(
        fs::metadata(room.path("run")).unwrap().mode() & 0o777,
        0o700
    );
    let service_url = "JUPYTERHUB_SERVICE_URL=http://127.0.0.1:8888/user/ada/".to_owned();
    assert!(
        environment(pid(&started.handle))
            .await
            .contains(&service_url)
    );
    let log = room.path("data/logs/servers/ada.log");
    eventually("the arguments are written", || {
        fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n'))
    })
    .await;
    assert_eq!(
        spawner.log_tail(&server("ada"), 9).await,
        [format!(
            "one --ServerApp.sock={} --ServerApp.sock_mode=0600 two",
            socket.display()
        )]
    );
    let again = start(&spawner, "bob").await;
    assert_ne!(again.upstream, started.upstream);
}

#[tokio::test]
async fn a_server_on_a_port_answers_there() {
    let room = Room::new();
    let script = "from http.server import *; import os, urllib.parse as u\n\
        port = u.urlparse(os.environ['JUPYTERHUB_SERVICE_URL']).port\n\
        HTTPServer(('127.0.0.1', port), SimpleHTTPRequestHandler).serve_forever()";
    let spawner = room.spawner(|config| config.command = words(&["python3", "-c", script]));
    let started = start(&spawner, "ada").await;
    let Upstream::Tcp { host, port } = started.upstream else {
        panic!("{:?}", started.upstream);
    };
    eventually("the server listens", || {
        std::net::TcpStream::connect((host.as_str(), port)).is_ok()
    })
    .await;
}

#[tokio::test]
async fn the_log_shows_the_last_lines_without_tokens_and_can_be_forgotten() {
    let room = Room::new();
    let spawner = room.shell(
        "for n in 1 2 3; do echo line $n; done; echo $JUPYTERHUB_API_TOKEN >&2; \
         printf '\\033[31mred\\033[0m\\377\\n'; echo done > $HOME/done",
    );
    let mut request = request("ada");
    let token = lyceum_core::token::new_token();
    request
        .environment
        .insert("JUPYTERHUB_API_TOKEN".to_owned(), token.expose().clone());
    let started = try_start(&spawner, request).await.unwrap();
    within(spawner.wait(&started.handle)).await.unwrap();
    let ada = server("ada");
    assert_eq!(
        spawner.log_tail(&ada, 4).await,
        ["line 2", "line 3", "[secret]", "red\u{fffd}"]
    );
    assert_eq!(
        spawner.log_tail(&server("bob"), 4).await,
        Vec::<String>::new()
    );
    assert!(!started.handle.0.to_string().contains(token.expose()));
    spawner.forget(&ada).await.unwrap();
    spawner.forget(&ada).await.unwrap();
    assert_eq!(spawner.log_tail(&ada, 4).await, Vec::<String>::new());
    assert!(
        room.home("ada").join("done").exists(),
        "a home is never removed"
    );
}

#[tokio::test]
async fn a_server_gets_the_limit_of_open_files_that_it_is_meant_to_have() {
    let room = Room::new();
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = own.maximum.unwrap_or(u64::MAX);
    for (user, wanted, expected) in [
        ("ada", Some(100), Some(100)),
        ("bob", Some(u64::MAX), Some(most)),
        ("ada", None, own.current),
    ] {
        let places = Places {
            open_files: wanted,
            ..room.places()
        };
        let config = ProcessConfig {
            command: words(&["sleep", "1000"]),
            ..ProcessConfig::default()
        };
        let spawner = ProcessSpawner::new(config, places, &room.instance).unwrap();
        let started = start(&spawner, user).await;
        let text = fs::read_to_string(format!("/proc/{}/limits", pid(&started.handle))).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let soft = line.unwrap().split_whitespace().next().unwrap();
        assert_eq!(soft.parse().ok(), expected, "{text}");
    }
}

#[tokio::test]
async fn the_log_of_a_server_that_writes_without_end_is_kept_short() {
    let room = Room::new();
    let spawner = room.spawner(|config| {
        config.command = words(&["sh", "-c", "head -c 40000000 /dev/zero | tr '\\0' '\\n'"]);
        config.log_limit_mib = 1;
    });
    let started = start(&spawner, "ada").await;
    within(spawner.wait(&started.handle)).await.unwrap();
    let log = started.handle.0.get("log").unwrap().as_str().unwrap();
    eventually("the log is within its limit", || {
        fs::metadata(log).unwrap().len() <= 1024 * 1024
    })
    .await;
}
