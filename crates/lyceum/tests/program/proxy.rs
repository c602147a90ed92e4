//! `lyceum proxy`: alone, and with our own hub behind it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{LIMIT, Running, Site, free_port, lyceum, output, text};

const TOKEN: &str = "pRx7-not-to-be-seen-either";

/// Starts a proxy and waits until it answers; gives it and the port of its API.
async fn proxy(more: &[&str]) -> (Running, u16) {
    let (port, api_port) = (free_port(), free_port());
    proxy_at(port, api_port, more).await
}

async fn proxy_at(port: u16, api_port: u16, more: &[&str]) -> (Running, u16) {
    let mut child = lyceum(&["proxy", "--ip", "127.0.0.1", "--api-ip", "127.0.0.1"])
        .args([
            "--port",
            &port.to_string(),
            "--api-port",
            &api_port.to_string(),
        ])
        .args(["--log-level", "debug"])
        .args(more)
        .env("CONFIGPROXY_AUTH_TOKEN", TOKEN)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let stderr = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        BufReader::new(stderr)
            .lines()
            .map_while(Result::ok)
            .collect()
    });
    let mut running = Running::new(child, port, log);
    let deadline = Instant::now() + LIMIT;
    while running.try_get("/_chp_healthz").await.is_none() {
        if let Some(status) = running.child.try_wait().unwrap() {
            panic!("the proxy has ended with {status}:\n{}", running.log());
        }
        assert!(Instant::now() < deadline, "the proxy does not answer");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (running, api_port)
}

#[tokio::test]
async fn a_proxy_ends_in_good_order_and_tells_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let (mut proxy, _) = proxy(&["--pid-file", pid_file.to_str().unwrap()]).await;
    let deadline = Instant::now() + LIMIT;
    while !pid_file.exists() {
        assert!(
            Instant::now() < deadline,
            "there is no file with its number"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let pid = proxy.child.id();
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    assert_eq!(proxy.get("/nothing", "").await.status(), 404);
    let command_line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!command_line.contains(TOKEN), "{command_line}");
    proxy.signal("-TERM");
    assert_eq!(proxy.wait().code(), Some(0));
    assert!(!pid_file.exists());
    let log = proxy.log();
    assert!(log.contains("SIGTERM") && !log.contains(TOKEN), "{log}");
}

#[test]
fn options_that_would_lose_something_are_refused_with_what_helps() {
    for (options, expected) in [
        (&["--storage-backend", "x"][..], "--storage-backend"),
        (&["--ssl-protocol", "TLSv1"], "TLS 1.2"),
        (&["--redirect-port", "8080"], "--ssl-key"),
    ] {
        let arguments: Vec<&str> = [&["proxy"], options].concat();
        let answer = output(&arguments);
        let errors = text(&answer.stderr);
        assert_eq!(answer.status.code(), Some(1), "{errors}");
        assert!(errors.contains(expected), "{errors}");
        assert!(errors.contains("hint:"), "{errors}");
    }
}

#[tokio::test]
async fn a_hub_keeps_its_routes_in_a_proxy_that_runs_elsewhere() {
    let (first, api_port) = proxy(&[]).await;
    let site = Site::new();
    let token = site.dir.path().join("token");
    fs::write(&token, TOKEN).unwrap();
    fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    site.add(&format!(
        "[proxy]\nkind = \"configurable-http-proxy\"\napi_url = \"http://127.0.0.1:{api_port}\"\n\
         auth_token_file = \"{}\"\n",
        token.display()
    ));
    let hub = site.serve().await;
    let deadline = Instant::now() + LIMIT;
    while first.get("/hub/health", "").await.status() != 200 {
        assert!(
            Instant::now() < deadline,
            "the proxy has no route to the hub"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let cookies = first.log_in("ada").await;
    first.get("/hub/spawn", &cookies).await;
    let server = first.await_server("ada").await;
    assert_ne!(
        hub.get("/user/ada/api", "").await.status(),
        200,
        "the hub has no routes of its own"
    );

    // A proxy that starts anew has no routes until the hub notices.
    let port = first.port();
    drop(first);
    let (second, _) = proxy_at(port, api_port, &[]).await;
    let deadline = Instant::now() + LIMIT;
    while second.get("/user/ada/api", "").await.status() != 200 {
        assert!(
            Instant::now() < deadline,
            "the route of the server has not come back"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(second.await_server("ada").await, server);

    // The hub may go, and nobody who works notices.
    drop(hub);
    assert_eq!(second.await_server("ada").await, server);
    let pid = i32::try_from(server).unwrap();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(pid),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
}
