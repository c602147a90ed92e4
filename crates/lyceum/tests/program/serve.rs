//! `lyceum serve`: what it needs, what it refuses, and what survives its end.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use crate::support::{Site, alive, lyceum, mode, output, pause, text, value};

#[test]
fn a_port_in_use_is_told_with_the_process_that_holds_it() {
    let site = Site::new();
    let holder = TcpListener::bind(("127.0.0.1", site.port)).unwrap();
    let answer = output(&["serve", "--config", &site.file_text()]);
    drop(holder);
    let errors = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(&format!("127.0.0.1:{}", site.port)),
        "{errors}"
    );
    assert!(
        errors.contains(&format!("process {}", std::process::id())),
        "{errors}"
    );
    assert!(errors.contains("hint:"), "{errors}");
}

#[test]
fn a_data_folder_that_cannot_be_written_to_is_told() {
    let site = Site::new();
    let text_of = |set: &str| {
        let answer = output(&["serve", "--config", &site.file_text(), "--set", set]);
        assert_eq!(answer.status.code(), Some(1), "{}", text(&answer.stderr));
        text(&answer.stderr)
    };
    // Not even root can make a folder there.
    let errors = text_of("hub.data_dir=/proc/lyceum");
    assert!(
        errors.contains("/proc/lyceum") && errors.contains("hint:"),
        "{errors}"
    );
    let file = site.dir.path().join("file");
    fs::write(&file, "x").unwrap();
    let errors = text_of(&format!("hub.data_dir={}", file.display()));
    assert!(
        errors.contains(&file.display().to_string()) && errors.contains("hint:"),
        "{errors}"
    );
}

#[test]
fn auth_state_without_a_key_is_refused() {
    let site = Site::new();
    let keys = site.dir.path().join("keys");
    let key_file = format!("auth_state.crypt_key_file={}", keys.display());
    let refused = |sets: &[&str], variable: Option<&str>| {
        let file = site.file_text();
        let mut command = lyceum(&["serve", "--config", &file]);
        command.args(["--set", "auth_state.enabled=true"]);
        for set in sets {
            command.args(["--set", set]);
        }
        if let Some(value) = variable {
            command.env("JUPYTERHUB_CRYPT_KEY", value);
        }
        let answer = command.output().unwrap();
        let errors = text(&answer.stderr);
        assert_ne!(answer.status.code(), Some(0), "{errors}");
        assert!(!errors.contains("hunter2"), "{errors}");
        errors
    };
    let errors = refused(&[], None);
    assert!(
        errors.contains("there is no key") && errors.contains("hint:"),
        "{errors}"
    );
    let errors = refused(&[], Some("hunter2"));
    assert!(errors.contains("JUPYTERHUB_CRYPT_KEY"), "{errors}");
    fs::write(&keys, "hunter2\n").unwrap();
    fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let errors = refused(&[&key_file], None);
    assert!(errors.contains(&keys.display().to_string()), "{errors}");
    // A file that everybody can read is no place for a key.
    fs::write(&keys, "0123456789abcdef0123456789abcdef\n").unwrap();
    fs::set_permissions(&keys, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let errors = refused(&[&key_file], None);
    assert!(errors.contains("chmod o="), "{errors}");
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left_half_made() {
    let site = Site::new();
    let data = site.dir.path().join("full");
    fs::create_dir(&data).unwrap();
    // A mount that nobody else sees, and that is gone with the process.
    let script = "mount -t tmpfs -o size=16k,mode=0700 lyceum-test \"$DATA\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let data_dir = format!("hub.data_dir={}", data.display());
    command
        .args([
            "sh",
            "-c",
            script,
            "sh",
            env!("CARGO_BIN_EXE_lyceum"),
            "serve",
            "--config",
            &site.file_text(),
        ])
        .args(["--set", &data_dir])
        .env("DATA", &data);
    let answer = command.output().unwrap();
    let errors = text(&answer.stderr);
    assert_eq!(
        answer.status.code(),
        Some(1),
        "this test needs the right to mount a small file system:\n{errors}"
    );
    assert!(errors.contains("space"), "{errors}");
    assert!(errors.contains("hint:"), "{errors}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let site = Site::new();
    let data = site.dir.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(
        data.join("lyceum.sqlite"),
        "this is not a database, but a long enough text to look at twice",
    )
    .unwrap();
    let answer = output(&["serve", "--config", &site.file_text()]);
    let errors = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("lyceum.sqlite") && errors.contains("hint:"),
        "{errors}"
    );
}

#[test]
fn the_dummy_login_is_refused_on_a_public_address() {
    let site = Site::new();
    let answer = lyceum(&["serve", "--config", &site.file_text()])
        .args(["--set", "gateway.listen=[\"0.0.0.0:0\"]"])
        .output()
        .unwrap();
    assert_eq!(answer.status.code(), Some(78), "{}", text(&answer.stderr));
    assert!(
        text(&answer.stderr).contains("allow_public"),
        "{}",
        text(&answer.stderr)
    );
}

#[tokio::test]
async fn servers_and_logins_survive_kill_9() {
    let site = Site::new();
    let mut first = site.serve().await;
    let cookies = first.log_in("ada").await;
    let started = first.get("/hub/spawn", &cookies).await;
    assert_eq!(started.status(), 302);
    let pid = first.await_server("ada").await;
    first.signal("-KILL");
    first.wait();
    assert!(alive(pid), "the server ended with the hub");

    let mut second = site.serve().await;
    // Served again at once: the route is there before the listener is.
    assert_eq!(second.get("/user/ada/api", "").await.status(), 200);
    assert_eq!(second.await_server("ada").await, pid);
    assert_eq!(
        second.get("/hub/home", &cookies).await.status(),
        200,
        "the login was lost"
    );
    stop(&second, &cookies, "ada").await;
    await_death(pid).await;
    second.signal("-TERM");
    assert_eq!(second.wait().code(), Some(0), "{}", second.log());
}

#[tokio::test]
async fn an_orderly_end_leaves_servers_running() {
    let site = Site::new();
    let mut first = site.serve().await;
    let cookies = first.log_in("bob").await;
    first.get("/hub/spawn", &cookies).await;
    let pid = first.await_server("bob").await;
    first.signal("-TERM");
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());
    assert!(alive(pid), "the server ended with the hub");

    let second = site.serve().await;
    assert_eq!(second.await_server("bob").await, pid);
    stop(&second, &cookies, "bob").await;
    await_death(pid).await;
}

#[tokio::test]
async fn only_the_owner_can_read_what_is_kept() {
    let site = Site::new();
    let running = site.serve().await;
    running.log_in("ada").await;
    running
        .get("/hub/spawn", &running.log_in("ada").await)
        .await;
    running.await_server("ada").await;
    let mut folders = vec![site.dir.path().join("data"), site.dir.path().join("run")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder) & 0o077, 0, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            seen += 1;
            // What is below a closed folder of a user's is the user's affair.
            match (
                entry.file_type().unwrap().is_dir(),
                folder.ends_with("homes"),
            ) {
                (true, false) => folders.push(entry.path()),
                _ => assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display()),
            }
        }
    }
    assert!(seen > 5, "only {seen} files were looked at");
    stop_of(&running, "ada").await;
}

/// Stops a server in a browser of its own.
async fn stop_of(running: &crate::support::Running, user: &str) {
    let cookies = running.log_in(user).await;
    stop(running, &cookies, user).await;
}

#[tokio::test]
async fn no_secret_reaches_the_log_or_the_list_of_processes() {
    let site = Site::new();
    site.add("[log]\nlevel = \"trace\"\n");
    let mut running = site.serve().await;
    let cookies = running.log_in("ada").await;
    running.get("/hub/spawn", &cookies).await;
    let pid = running.await_server("ada").await;
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let token = environment
        .split('\0')
        .find_map(|pair| pair.strip_prefix("JUPYTERHUB_API_TOKEN="))
        .unwrap();
    let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!arguments.contains(token));
    stop(&running, &cookies, "ada").await;
    running.signal("-TERM");
    running.wait();
    let log = running.log();
    for secret in [
        token,
        value(&cookies, "jupyterhub-hub-login"),
        value(&cookies, "_xsrf"),
        crate::support::PASSWORD,
    ] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    assert!(log.contains("logged in"), "{log}");
}

async fn stop(running: &crate::support::Running, cookies: &str, user: &str) {
    let xsrf = value(cookies, "_xsrf");
    let answer = running
        .post(
            &format!("/hub/stop/{user}"),
            cookies,
            &format!("_xsrf={xsrf}"),
        )
        .await;
    assert_eq!(answer.status(), 302, "{}", text(answer.body()));
}

async fn await_death(pid: u64) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while alive(pid) {
            tokio::task::spawn_blocking(pause)
                .await
                .expect("a pause ends");
        }
    })
    .await
    .expect("the server does not end");
}

#[tokio::test]
async fn a_data_folder_is_for_one_lyceum_at_a_time() {
    let site = Site::new();
    let mut running = site.serve().await;
    let other_port = format!(
        "gateway.listen=[\"127.0.0.1:{}\"]",
        crate::support::free_port()
    );
    let answer = output(&["serve", "--config", &site.file_text(), "--set", &other_port]);
    let errors = text(&answer.stderr);
    assert_eq!(answer.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains(&format!("process {}", running.child.id())),
        "{errors}"
    );
    assert!(errors.contains("hint:"), "{errors}");
    running.signal("-TERM");
    running.wait();
}

#[test]
fn root_is_refused_where_others_could_log_in() {
    let site = Site::new();
    // In a user namespace, everybody can be root.
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            env!("CARGO_BIN_EXE_lyceum"),
            "serve",
            "--config",
        ])
        .arg(site.file())
        .args([
            "--set",
            "gateway.listen=[\"0.0.0.0:0\"]",
            "--set",
            "auth.allow_public=true",
            "--set",
            "spawner.allow_public=true",
        ])
        .output()
        .unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    assert!(errors.contains("root"), "{errors}");
}

#[tokio::test]
async fn many_files_may_be_open_here_and_as_many_as_before_in_servers() {
    let site = Site::new();
    let soft = |pid: u64| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"))
            .unwrap()
            .to_owned();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words[3].clone(), words[4].clone())
    };
    let running = site.serve().await;
    let cookies = running.log_in("ada").await;
    running.get("/hub/spawn", &cookies).await;
    let server = running.await_server("ada").await;
    let (ours, hard) = soft(running.child.id().into());
    assert_eq!(ours, hard);
    assert_eq!(soft(server).0, soft(std::process::id().into()).0);
    stop(&running, &cookies, "ada").await;
}

#[tokio::test]
async fn a_name_that_cannot_be_one_is_said_to_be_the_reason() {
    let site = Site::new();
    let running = site.serve().await;
    let page = running.get("/hub/login", "").await;
    let cookies = crate::support::cookies(&page, "");
    let xsrf = value(&cookies, "_xsrf");
    for name in ["..", "a%2Fb", "a%E2%80%8Bda"] {
        let form = format!("_xsrf={xsrf}&username={name}&password=x");
        let answer = running.post("/hub/login", &cookies, &form).await;
        assert_eq!(answer.status(), 403, "{name}");
        assert!(
            text(answer.body()).contains("cannot be a user name"),
            "{name}"
        );
    }
}
