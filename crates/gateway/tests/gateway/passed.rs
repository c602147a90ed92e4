//! Sockets that systemd passes, which a small script plays: it opens them, and becomes a gateway that gets them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use lyceum_gateway::{Gateway, GatewayConfig, GatewayError, ListenAddress};
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Client, Setup, soon};

/// What the gateway of the child listens on, with commas; there is no child without it.
const LISTEN: &str = "LYCEUM_TEST_LISTEN";

/// Opens sockets, written as `NAME=KIND`, and becomes the program of the last arguments, which gets them.
const SYSTEMD: &str = r#"
import fcntl, os, socket, sys

def opened(kind):
    if kind == "tcp4":
        one = socket.create_server(("127.0.0.1", 0))
    elif kind == "tcp6":
        one = socket.create_server(("::1", 0), family=socket.AF_INET6)
    elif kind == "everywhere":
        one = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    elif kind == "udp":
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    elif kind == "datagrams":
        one = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    elif kind == "idle":
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    elif kind == "pipe":
        return os.pipe()[0]
    elif kind == "abstract":
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind("\0lyceum-test-%d" % os.getpid())
        one.listen()
    else:
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind(kind)
        one.listen()
    return one.detach()

names, kinds = zip(*(word.split("=") for word in sys.argv[1].split()))
# Out of the way of the numbers that they are passed under.
found = [fcntl.fcntl(opened(kind), fcntl.F_DUPFD_CLOEXEC, 100) for kind in kinds]
for number, one in enumerate(found):
    os.dup2(one, 3 + number, inheritable=True)
os.environ["LISTEN_PID"] = str(os.getpid())
os.environ["LISTEN_FDS"] = str(len(found))
if any(names):
    os.environ["LISTEN_FDNAMES"] = ":".join(names)
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// A gateway in another process; it ends when it is dropped.
struct Passing {
    child: Child,
    stdin: Option<ChildStdin>,
    /// Where it listens, or why it does not.
    said: String,
}

impl Passing {
    /// Starts a gateway that listens on `listen` and is passed `sockets`.
    async fn start(sockets: &str, listen: &str) -> Self {
        let mut command = Command::new("python3");
        command
            .args(["-c", SYSTEMD, sockets])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "passed::child", "--nocapture"])
            .env(LISTEN, listen)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let started = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let said = lines
                .by_ref()
                .map_while(Result::ok)
                .find(|line| line.starts_with("listens") || line.starts_with("refused"));
            // What else it says goes nowhere, and must not be in its way.
            std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
            Self {
                stdin: child.stdin.take(),
                child,
                said: said.expect("the child says something"),
            }
        });
        soon(started).await.unwrap()
    }

    /// The addresses on which it listens.
    fn addresses(&self) -> Vec<ListenAddress> {
        let words = self.said.strip_prefix("listens ").expect(&self.said);
        words.split(' ').map(|word| word.parse().unwrap()).collect()
    }

    fn tcp(&self) -> Vec<SocketAddr> {
        self.addresses()
            .into_iter()
            .filter_map(|address| match address {
                ListenAddress::Tcp(address) => Some(address),
                ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
            })
            .collect()
    }

    /// Ends the gateway in an orderly way.
    async fn end(mut self) {
        drop(self.stdin.take());
        let ended = tokio::task::spawn_blocking(move || self.child.wait().unwrap().success());
        assert!(soon(ended).await.unwrap());
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn check_served(address: SocketAddr) {
    let stream = soon(TcpStream::connect(address)).await.unwrap();
    assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
}

async fn check_refused(sockets: &str, listen: &str, expected: &str) {
    let gateway = Passing::start(sockets, listen).await;
    assert_eq!(gateway.said, format!("refused {expected}"));
}

/// Becomes the gateway of the tests below; without sockets there is nothing to do.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(listen) = std::env::var(LISTEN) else {
        return;
    };
    let config = GatewayConfig {
        listen: listen
            .split(',')
            .map(|address| address.parse().unwrap())
            .collect(),
        threads: 4,
        ..GatewayConfig::default()
    };
    if let Err(error) = Gateway::bind(config.clone()) {
        println!("\nrefused {error}; {}", error.hint().unwrap());
        return;
    }
    let gateway = Setup::default()
        .config(|of_test| *of_test = config)
        .hub(|request| async move {
            let inherited = Command::new("sh")
                .args(["-c", "ls -l /proc/self/fd; echo $LISTEN_FDS$LISTEN_PID"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            match request.uri().path() {
                "/inherited" => http::Response::new(bytes::Bytes::from(inherited.stdout).into()),
                _ => http::Response::new("hub".into()),
            }
        })
        .start();
    let addresses: Vec<String> = gateway.addresses.iter().map(ToString::to_string).collect();
    println!("\nlistens {}", addresses.join(" "));
    let mut ended = String::new();
    let waited = tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut ended));
    let _ = waited.await;
    gateway.shutdown.cancel();
    soon(gateway.serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sockets_that_are_passed_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let sockets = format!("a=tcp4 a=tcp6 b={}", path.display());
    let gateway = Passing::start(&sockets, "systemd").await;
    let [v4, v6] = gateway.tcp()[..] else {
        panic!("{}", gateway.said);
    };
    assert!(v4.is_ipv4() && v6.is_ipv6());
    check_served(v4).await;
    check_served(v6).await;
    assert_eq!(gateway.addresses()[2], ListenAddress::Unix(path.clone()));
    check_unix(&path).await;
    gateway.end().await;
    assert!(path.exists(), "the socket's file is systemd's");
}

async fn check_unix(path: &Path) {
    let stream = soon(UnixStream::connect(path)).await.unwrap();
    assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_chosen_by_name_beside_addresses_of_our_own() {
    let gateway = Passing::start(
        "web=tcp4 other=tcp4 web=tcp6",
        "127.0.0.1:0,systemd:web,[::1]:0",
    )
    .await;
    let tcp = gateway.tcp();
    assert_eq!(tcp.len(), 4, "{}", gateway.said);
    assert!(tcp[1].is_ipv4() && tcp[2].is_ipv6());
    for address in tcp {
        check_served(address).await;
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_passed_listener_serves_many_at_the_same_time() {
    let gateway = Passing::start("web=everywhere", "systemd:web").await;
    let port = gateway.tcp()[0].port();
    let mut clients = Vec::new();
    for number in 0..40 {
        let address: SocketAddr = if number % 2 == 0 {
            ([127, 0, 0, 1], port).into()
        } else {
            ([0, 0, 0, 0, 0, 0, 0, 1], port).into()
        };
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        clients.push(Client::new(stream).await);
    }
    for client in &mut clients {
        assert_eq!(client.get("/hub/").await.text(), "hub");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_without_names_are_all_meant_by_systemd() {
    let gateway = Passing::start("=tcp4 =abstract", "systemd").await;
    check_served(gateway.tcp()[0]).await;
    assert_eq!(gateway.addresses()[1], ListenAddress::Systemd(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_are_started_inherit_nothing_of_it() {
    let gateway = Passing::start("web=tcp4 other=tcp4 more=udp", "systemd:web").await;
    let stream = soon(TcpStream::connect(gateway.tcp()[0])).await.unwrap();
    let answer = Client::new(stream).await.get("/inherited").await;
    let inherited = answer.text();
    assert!(!inherited.contains("socket:"), "{inherited}");
    assert!(inherited.ends_with("\n\n"), "{inherited}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_passed_is_refused_with_those_that_are() {
    check_refused(
        "web=tcp4 other=tcp6",
        "systemd:wbe",
        "could not listen on systemd:wbe: systemd has passed no socket of this name; write one of \
         these names, or set `FileDescriptorName=` in the socket's unit: web, other",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_take_no_connections_are_refused() {
    for kind in ["udp", "datagrams", "pipe"] {
        check_refused(
            &format!("web={kind}"),
            "systemd",
            "could not listen on systemd: the socket `web` that systemd has passed is not one for \
             connections; let the socket's unit have `ListenStream=` with an address, a port or a path",
        )
        .await;
    }
    check_refused(
        "web=idle",
        "systemd:web",
        "could not listen on systemd:web: the socket `web` that systemd has passed does not listen; \
         let the socket's unit have `Accept=no`",
    )
    .await;
}

#[test]
fn without_systemd_its_sockets_are_refused() {
    let config = |listen: &str| GatewayConfig {
        listen: vec![listen.parse().unwrap()],
        ..GatewayConfig::default()
    };
    for listen in ["systemd", "systemd:web"] {
        let error = Gateway::bind(config(listen)).unwrap_err();
        assert!(
            matches!(&error, GatewayError::NotPassed { passed, .. } if passed.is_empty()),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("lyceum.socket"));
    }
}
