//! The DNS server of Pebble's tests, which gives any answer that it is told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lyceum_certs::dns::Resolver;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::bind::{free_loopback, program};

/// A running one; it ends with this.
pub(crate) struct Challtestsrv {
    dns: SocketAddr,
    management: SocketAddr,
    server: Child,
}

impl Challtestsrv {
    pub(crate) async fn start() -> Self {
        let dns = free_loopback();
        let management = free_loopback();
        let server = Command::new(path())
            .args([
                "-dnsserver",
                &dns.to_string(),
                "-management",
                &management.to_string(),
            ])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self {
            dns,
            management,
            server,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(management).await.is_err()
            || TcpStream::connect(dns).await.is_err()
        {
            let ended = started.server.try_wait().unwrap();
            assert!(ended.is_none(), "pebble-challtestsrv ended: {ended:?}");
            assert!(
                Instant::now() < until,
                "pebble-challtestsrv does not answer"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started
    }

    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::new(vec![self.dns]).with_authoritative_port(self.dns.port())
    }

    /// Tells it what to answer.
    pub(crate) async fn post(&self, what: &str, body: &str) {
        let mut stream = TcpStream::connect(self.management).await.unwrap();
        let request = format!(
            "POST /{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
    }
}

impl Drop for Challtestsrv {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn path() -> PathBuf {
    let name = "pebble-challtestsrv";
    match std::env::var_os("LYCEUM_TEST_PEBBLE") {
        Some(folder) => {
            let path = PathBuf::from(folder).join(name);
            assert!(
                path.is_file(),
                "LYCEUM_TEST_PEBBLE names no folder with {name}"
            );
            path
        }
        None => program(name, "pebble"),
    }
}
