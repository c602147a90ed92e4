//! `lyceum serve` on a socket that systemd passes; a small script plays systemd.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use lyceum_testkit::http::send;

use crate::support::{LIMIT, Site, pause, text};

/// Becomes the program of the arguments, which gets what this has as its standard input.
const SYSTEMD: &str = r#"
import os, sys
os.dup2(0, 3, inheritable=True)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="lyceum.socket")
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Prepares the program with a socket that systemd passes, and what it is told of where to listen.
fn serve(site: &Site, listener: TcpListener, listen: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-c", SYSTEMD])
        .arg(env!("CARGO_BIN_EXE_lyceum"))
        .args(["serve", "--config", &site.file_text()])
        .args(["--set", &format!("gateway.listen={listen}")])
        .stdin(OwnedFd::from(listener))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[tokio::test]
async fn a_socket_that_systemd_passes_is_served() {
    is_served(|_| "systemd".to_owned()).await;
}

#[tokio::test]
async fn a_socket_that_systemd_has_opened_at_an_address_of_the_configuration_is_served() {
    is_served(|address| address.to_string()).await;
}

async fn is_served(listen: impl Fn(SocketAddr) -> String) {
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listen(listener.local_addr().unwrap());
    let url = format!("http://{}/hub/health", listener.local_addr().unwrap());
    let mut child = serve(&site, listener, &listen).spawn().unwrap();
    let request = Request::get(url).body(Bytes::new()).unwrap();
    // The socket listens before the program does: this waits for it.
    let answer = tokio::time::timeout(LIMIT, send(request)).await;
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    let answer = answer.unwrap();
    assert!(
        answer.is_ok_and(|answer| answer.status() == 200),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_socket_that_others_can_reach_is_refused_as_such_an_address_is() {
    let site = Site::new();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut child = serve(&site, listener, "systemd").spawn().unwrap();
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        pause();
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{errors}");
    let expected = format!("error: others can reach {address}, which systemd has passed");
    assert!(errors.contains(&expected), "{errors}");
    assert!(errors.contains("spawner.allow_public"), "{errors}");
}
