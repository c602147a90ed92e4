//! BIND 9 as tests start it: on a free port, in a folder of its own, with zones and a key that are made here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lyceum_certs::dns::Resolver;
use tempfile::TempDir;

/// The secret of the key `lyceum`.
pub(crate) const SECRET: &str = "c2VjcmV0IG9mIHRoZSB0ZXN0cywgbm90IG9mIGFueWJvZHk=";

/// A running name server; it ends with this.
pub(crate) struct Bind {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    server: Child,
}

/// How one is started.
pub(crate) struct Options<'a> {
    pub(crate) address: SocketAddr,
    /// Statements of zones; `{folder}` is where their files are.
    pub(crate) zones: &'a str,
    /// Files of zones, by name.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// What is added to the statement `options`.
    pub(crate) more: &'a str,
}

/// A zone that the key may change at `_acme-challenge` names, one that it may not change, and one below a third.
const ZONES: &str = r#"
zone "example.test" {
    type primary; file "{folder}/example.test";
    update-policy {
        grant lyceum name _acme-challenge.example.test. TXT;
        grant lyceum name _acme-challenge.deep.hub.example.test. TXT;
        grant lyceum name _acme-challenge.slow.example.test. TXT;
    };
};
zone "closed.test" { type primary; file "{folder}/closed.test"; };
zone "validation.test" { type primary; file "{folder}/validation.test"; allow-update { key lyceum; }; };
"#;

/// The zone that most tests use. Its name server is the test's own, at whatever port that listens.
const EXAMPLE: &str = r#"$TTL 60
@ SOA ns1.example.test. admin.example.test. 1 2 2 600 1
@ NS ns1.example.test.
ns1 A 127.0.0.1
@ A 127.0.0.1
hub A 127.0.0.1
hub AAAA ::1
www CNAME hub
far CNAME out.closed.test.
nowhere CNAME missing.example.test.
loop1 CNAME loop2
loop2 CNAME loop1
_acme-challenge.moved CNAME moved.validation.test.
texts TXT "one" "and more" 
texts TXT "two"
@ CAA 0 issue "letsencrypt.org"
closed CAA 0 issue ";"
aliased CNAME closed
sub NS ns.elsewhere.test.
private A 10.1.2.3
site A 127.0.0.1
stray A 127.0.0.1
stray AAAA 2001:db8::9
"#;

/// A zone with nothing of interest.
const PLAIN: &str = "$TTL 60
@ SOA ns1.example.test. admin.example.test. 1 2 2 600 1
@ NS ns1.example.test.
out A 192.0.2.7
";

impl Bind {
    /// Starts one with the usual zones.
    pub(crate) fn start() -> Self {
        let address = free_loopback();
        Self::start_with(&Options {
            address,
            zones: ZONES,
            files: &[
                ("example.test", EXAMPLE),
                ("closed.test", PLAIN),
                ("validation.test", PLAIN),
            ],
            more: "",
        })
    }

    pub(crate) fn start_with(options: &Options<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shown = folder.path().display().to_string();
        for (name, text) in options.files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let key =
            format!("key \"lyceum\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{SECRET}\";\n}};\n");
        fs::write(folder.path().join("lyceum.key"), &key).unwrap();
        let (ip, port) = (options.address.ip(), options.address.port());
        let listen = match ip {
            IpAddr::V4(_) => {
                format!("listen-on port {port} {{ {ip}; }}; listen-on-v6 {{ none; }};")
            }
            IpAddr::V6(_) => {
                format!("listen-on {{ none; }}; listen-on-v6 port {port} {{ {ip}; }};")
            }
        };
        let config = format!(
            "options {{ directory \"{shown}\"; pid-file none; session-keyfile none; {listen}\n\
             recursion no; dnssec-validation no; minimal-responses no; {} }};\n\
             controls {{ }};\n{key}{}",
            options.more,
            options.zones.replace("{folder}", &shown)
        );
        let config_file = folder.path().join("named.conf");
        fs::write(&config_file, config).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let server = Command::new(program("named", "bind9"))
            .args(["-g", "-n", "1", "-c"])
            .arg(&config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut bind = Self {
            address: options.address,
            folder,
            server,
        };
        bind.wait();
        bind
    }

    /// Waits until it answers.
    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(20);
        let log = self.folder.path().join("log");
        while Instant::now() < until {
            let ended = self.server.try_wait().unwrap();
            assert!(ended.is_none(), "named ended:\n{}", read(&log));
            if read(&log).contains("running\n") {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("named does not run:\n{}", read(&log));
    }

    /// The file with its key, as `tsig-keygen` writes it.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.path().join("lyceum.key")
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }

    /// Writes another file beside it.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Asks it, and takes it for the server of every zone.
    pub(crate) fn resolver(&self) -> Resolver {
        Resolver::new(vec![self.address]).with_authoritative_port(self.address.port())
    }

    /// The texts of a name, sorted; none if there is no such name.
    pub(crate) async fn texts(&self, name: &str) -> Vec<String> {
        let mut texts = match self.resolver().txt(name).await {
            Ok(texts) => texts,
            Err(error) if error.is_absent() => Vec::new(),
            Err(error) => panic!("{name}: {error}"),
        };
        texts.sort();
        texts
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Finds a port that is free for UDP and TCP at all these addresses, and gives it with the first.
///
/// It lies below those that the system gives to whoever asks for any, and processes that run at the same time look in
/// different places.
pub(crate) fn free_address(addresses: &[IpAddr]) -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        let place = std::process::id().wrapping_mul(64).wrapping_add(number) % 20_000;
        let port = u16::try_from(10_000 + place).unwrap();
        let is_free = |ip: &IpAddr| {
            UdpSocket::bind((*ip, port)).is_ok() && TcpListener::bind((*ip, port)).is_ok()
        };
        if addresses.iter().all(is_free) {
            return (addresses[0], port).into();
        }
    }
}

/// Finds a port that is free for UDP and TCP at the usual address.
pub(crate) fn free_loopback() -> SocketAddr {
    free_address(&[Ipv4Addr::LOCALHOST.into()])
}

/// Finds a program that the tests need.
pub(crate) fn program(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    for folder in folders {
        if folder.join(name).is_file() {
            return folder.join(name);
        }
    }
    panic!("`{name}` is needed by this test: apt install {package}");
}
