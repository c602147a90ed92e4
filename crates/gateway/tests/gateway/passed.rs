//! Sockets that systemd passes, which a small script plays: it opens them, and becomes a gateway that gets them.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use lyceum_certs::{ClientTls, LiveCertificates};
use lyceum_gateway::{Gateway, GatewayConfig, GatewayError, ListenAddress};
use tokio::net::{TcpStream, UnixStream};

use crate::authority::{Authority, TestClient, show, tls};
use crate::support::{Client, Setup, soon};

/// What the gateway of the child listens on, with commas; there is no child without it.
const LISTEN: &str = "LYCEUM_TEST_LISTEN";

/// The same for TLS.
const LISTEN_TLS: &str = "LYCEUM_TEST_LISTEN_TLS";
/// With it, the child's kernel seems to know no IPv6.
const NO_IPV6: &str = "LYCEUM_TEST_NO_IPV6";

/// Opens sockets, written as `NAME=KIND`, and becomes the program of the last arguments, which gets them.
const SYSTEMD: &str = r#"
import ctypes, errno, fcntl, os, platform, socket, struct, sys

def refuse_ipv6():
    # A filter of system calls: socket(AF_INET6, ...) fails, as where the kernel has no IPv6.
    number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
    load, equal, end = 0x20, 0x15, 0x06
    program = [
        (load, 0, 0, 0), (equal, 0, 3, number),
        (load, 0, 0, 16), (equal, 0, 1, socket.AF_INET6),
        (end, 0, 0, 0x00050000 | errno.EAFNOSUPPORT), (end, 0, 0, 0x7FFF0000),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in program))
    filter = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in [(38, 1, 0, 0, 0), (22, 2, ctypes.create_string_buffer(filter), 0, 0)]:
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

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

words = [word.split("=") for word in sys.argv[1].split()]
names, kinds = [name for name, _ in words], [kind for _, kind in words]
# Out of the way of the numbers that they are passed under.
found = [fcntl.fcntl(opened(kind), fcntl.F_DUPFD_CLOEXEC, 100) for kind in kinds]
for number, one in enumerate(found):
    os.dup2(one, 3 + number, inheritable=True)
if "LYCEUM_TEST_NO_IPV6" in os.environ:
    refuse_ipv6()
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
        Self::start_with(sockets, &[(LISTEN, listen)]).await
    }

    async fn start_with(sockets: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new("python3");
        command
            .args(["-c", SYSTEMD, sockets])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "passed::child", "--nocapture"])
            .envs(variables.iter().copied())
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
    let parse = |texts: String| {
        let texts = texts.split(',');
        texts.map(|address| address.parse().unwrap()).collect()
    };
    let config = GatewayConfig {
        listen: parse(listen),
        listen_tls: std::env::var(LISTEN_TLS).map(parse).unwrap_or_default(),
        threads: 4,
        ..GatewayConfig::default()
    };
    if let Err(error) = Gateway::bind(config.clone()) {
        println!("\nrefused {error}; {}", error.hint().unwrap_or_default());
        return;
    }
    let live = LiveCertificates::default();
    let issued = Authority::new().issue(&["hub.test"]);
    show(&live, "hub", &["hub.test"], &issued);
    let gateway = Setup::default()
        .tls_listener(tls(&live))
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
async fn the_name_of_a_socket_decides_whether_it_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let sockets = format!("https=tcp4 http=tcp4 http={} https=tcp6", path.display());
    let variables = [(LISTEN, "systemd:http"), (LISTEN_TLS, "systemd:https")];
    let gateway = Passing::start_with(&sockets, &variables).await;
    let [plain, first, second] = gateway.tcp()[..] else {
        panic!("{}", gateway.said);
    };
    check_served(plain).await;
    check_unix(&path).await;
    let blind = TestClient(ClientTls::insecure().unwrap().config().clone());
    for address in [first, second] {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        let stream = blind.begin(stream, "hub.test").await.unwrap();
        assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
    }
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ipv6_every_address_is_every_ipv4_address() {
    let variables = [(LISTEN, "[::]:0"), (LISTEN_TLS, "[::]:0"), (NO_IPV6, "1")];
    let gateway = Passing::start_with("", &variables).await;
    let [plain, secure] = gateway.tcp()[..] else {
        panic!("{}", gateway.said);
    };
    for address in [plain, secure] {
        assert!(
            address.is_ipv4() && address.ip().is_unspecified(),
            "{address}"
        );
    }
    check_served(([127, 0, 0, 1], plain.port()).into()).await;
    gateway.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_ipv6_listed_ipv4_addresses_stay_the_only_ones() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let listen = format!("[::]:{port},127.0.0.1:{port}");
    let variables = [(LISTEN, listen.as_str()), (NO_IPV6, "1")];
    let gateway = Passing::start_with("", &variables).await;
    assert_eq!(gateway.tcp(), [([127, 0, 0, 1], port).into()]);
    gateway.end().await;
    let variables = [(LISTEN, "[::1]:0"), (NO_IPV6, "1")];
    let error = Passing::start_with("", &variables).await;
    assert!(
        error
            .said
            .contains("could not listen on [::1]:0; this machine has no IPv6"),
        "{}",
        error.said
    );
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
