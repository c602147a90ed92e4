//! The life of the process: starting, listening, reporting, ending, and failing in all its ways.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use lyceum_testkit::http::{HttpError, Target, send_to};
use lyceum_testkit::notebook;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::stub::{LIMIT, PREFIX, StubHub, Tiny, command};

async fn get(server: &Tiny, path: &str) -> Result<http::Response<Bytes>, HttpError> {
    let request = Request::get(format!("{PREFIX}{path}"))
        .body(Bytes::new())
        .unwrap();
    send_to(&server.target, request).await
}

#[tokio::test]
async fn it_answers_the_hubs_probe_and_reports_activity() {
    let hub = StubHub::start().await;
    let server = Tiny::start_on_port(&hub).await;
    let answer = get(&server, "api").await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.body().as_ref(), br#"{"version":"2.0"}"#);
    assert_eq!(answer.headers()["x-jupyterhub-version"], notebook::VERSION);
    let report = hub.reported().await;
    assert!(report["last_activity"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        report["servers"][""]["last_activity"],
        report["last_activity"]
    );
}

#[tokio::test]
async fn it_listens_on_a_socket_that_is_gone_after_the_end() {
    let hub = StubHub::start().await;
    let mut server = Tiny::start(&hub, "normal").ready().await;
    let Target::Unix(socket) = server.target.clone() else {
        panic!("started on a socket");
    };
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.signal(Signal::TERM);
    let (status, said) = server.end().await;
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("received SIGTERM"), "{said}");
    assert!(!socket.exists());
}

#[tokio::test]
async fn it_ends_with_the_status_that_it_is_told() {
    let hub = StubHub::start().await;
    let mut server = Tiny::start(&hub, "").ready().await;
    // The answer may be cut off by the end.
    let _ = get(&server, "exit?code=42").await;
    assert_eq!(server.end().await.0.code(), Some(42));
}

#[tokio::test]
async fn without_a_hub_or_its_variables_it_ends_with_a_message() {
    let hub = StubHub::start().await;
    let lonely = command("127.0.0.1:1", "127.0.0.1:0", "").output();
    let lonely = timeout(LIMIT, lonely).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&lonely.stderr);
    assert_eq!(lonely.status.code(), Some(1));
    assert!(said.contains("could not reach the hub"), "{said}");

    let unnamed = command(&hub.address, "127.0.0.1:0", "")
        .env_remove("JUPYTERHUB_USER")
        .output();
    let unnamed = timeout(LIMIT, unnamed).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&unnamed.stderr);
    assert_eq!(unnamed.status.code(), Some(1));
    assert!(said.contains("JUPYTERHUB_USER is not set"), "{said}");
}

#[tokio::test]
async fn it_can_exit_at_once() {
    let hub = StubHub::start().await;
    let mut server = Tiny::start(&hub, "exit-at-once");
    let (status, said) = server.end().await;
    assert_eq!(status.code(), Some(3));
    assert!(said.contains("something is missing"), "{said}");
}

#[tokio::test]
async fn it_can_run_without_listening_or_answering() {
    let hub = StubHub::start().await;
    let mut silent = Tiny::start(&hub, "never-answer");
    let mut stream = silent.connect().await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let read = timeout(Duration::from_millis(300), stream.read_u8()).await;
    assert!(read.is_err(), "it said something: {read:?}");

    let mut deaf = Tiny::start(&hub, "never-listen");
    deaf.says("never-listen").await;
    assert!(matches!(
        get(&deaf, "api").await,
        Err(HttpError::Connect { .. })
    ));
    for server in [&mut silent, &mut deaf] {
        assert_eq!(server.process.try_wait().unwrap(), None);
    }
}

#[tokio::test]
async fn it_can_answer_garbage_and_errors() {
    let hub = StubHub::start().await;
    let garbage = Tiny::start(&hub, "garbage");
    drop(garbage.connect().await);
    let answer = get(&garbage, "api").await;
    assert!(
        matches!(answer, Err(HttpError::Exchange { .. })),
        "{answer:?}"
    );

    let broken = Tiny::start(&hub, "http-500").ready().await;
    let answer = get(&broken, "api").await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn it_can_be_slow_and_take_no_notice_of_signals() {
    let hub = StubHub::start().await;
    let started = std::time::Instant::now();
    let _slow = Tiny::start(&hub, "slow=1").ready().await;
    assert!(started.elapsed() >= Duration::from_secs(1));

    let mut stubborn = Tiny::start(&hub, "ignore-sigterm").ready().await;
    for (signal, said) in [
        (Signal::INT, "received SIGINT"),
        (Signal::TERM, "received SIGTERM"),
    ] {
        stubborn.signal(signal);
        stubborn.says(said).await;
    }
    assert_eq!(
        get(&stubborn, "api").await.unwrap().status(),
        StatusCode::OK
    );
    assert_eq!(stubborn.process.try_wait().unwrap(), None);
    stubborn.signal(Signal::KILL);
    assert_eq!(stubborn.end().await.0.code(), None);
}

#[tokio::test]
async fn it_can_start_a_child_in_a_session_of_its_own() {
    let hub = StubHub::start().await;
    let mut server = Tiny::start(&hub, "spawn-child").ready().await;
    let answer = get(&server, "process").await.unwrap();
    let ids: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(ids["pid"], server.pid());
    let child = i32::try_from(ids["child"].as_i64().unwrap()).unwrap();
    let pid = Pid::from_raw(child).unwrap();
    let _guard = KillLater(pid);
    let in_session = async {
        while rustix::process::getsid(Some(pid)).unwrap() != pid {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, in_session).await.unwrap();
    server.process.kill().await.unwrap();
    test_kill_process(pid).expect("the child outlives the server");
}

/// Ends a process that nobody else ends, also when the test fails.
struct KillLater(Pid);

impl Drop for KillLater {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn the_program_can_be_found_or_built_by_other_tests() {
    let program = notebook::program().unwrap();
    assert!(program.ends_with("tiny-notebook") && program.exists());
}
