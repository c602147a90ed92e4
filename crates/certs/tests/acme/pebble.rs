//! Starts the real Pebble, an authority for tests, with its name server, each on ports of its own.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use lyceum_certs::ClientTls;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the programs are, if not on `PATH`.
const FOLDER: &str = "LYCEUM_TEST_PEBBLE";

/// How a Pebble behaves.
#[derive(Debug, Clone)]
pub(crate) struct PebbleOptions {
    /// The port at which it asks for answers to http-01.
    pub(crate) http_port: u16,
    /// The port at which it asks for answers to tls-alpn-01.
    pub(crate) tls_port: u16,
    /// How many of a hundred good nonces it refuses.
    pub(crate) nonce_reject: u8,
    /// How many of a hundred proofs it does not want to see again. With 0 it is still one, as Pebble counts.
    pub(crate) authorization_reuse: u8,
    /// The id and the key (base64url) of an account to which new ones have to be bound.
    pub(crate) eab: Option<(String, String)>,
    /// Names that it does not issue for.
    pub(crate) blocked: Vec<String>,
    /// Profiles beside the usual ones, with the seconds that their certificates are valid for.
    pub(crate) profiles: Vec<(String, u64)>,
}

impl Default for PebbleOptions {
    fn default() -> Self {
        Self {
            http_port: 1,
            tls_port: 1,
            nonce_reject: 0,
            authorization_reuse: 0,
            eab: None,
            blocked: Vec::new(),
            profiles: Vec::new(),
        }
    }
}

/// A Pebble that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Pebble {
    options: PebbleOptions,
    folder: TempDir,
    port: u16,
    management_port: u16,
    dns_api_port: u16,
    /// The name server first: it is there when Pebble asks.
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Pebble {
    /// Starts one, and waits until it answers.
    pub(crate) async fn start(options: PebbleOptions) -> Self {
        let mut folder = tempfile::tempdir().unwrap();
        make_server_certificate(folder.path());
        // Between the choice of free ports and their use others may take them.
        for _ in 0..3 {
            let [port, management_port, dns_port, dns_api_port] = free_ports();
            let mut pebble = Self {
                options: options.clone(),
                folder,
                port,
                management_port,
                dns_api_port,
                running: Vec::new(),
            };
            pebble.configure();
            pebble.run_names(dns_port);
            pebble.run_pebble(dns_port);
            if pebble.answers().await {
                return pebble;
            }
            folder = pebble.into_folder();
        }
        panic!("Pebble did not start: {}", log_of(folder.path()));
    }

    fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Ends it and starts it again: it forgets all accounts, orders and its own key.
    pub(crate) async fn restart(&mut self) {
        let dns_port = fs::read_to_string(self.folder.path().join("dns-port")).unwrap();
        self.stop();
        self.run_pebble(dns_port.parse().unwrap());
        assert!(self.answers().await, "{}", self.log());
    }

    /// Ends it; its name server stays.
    pub(crate) fn stop(&mut self) {
        self.running.truncate(1);
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The file with the authority that its own certificate comes from.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it has logged since its first start.
    pub(crate) fn log(&self) -> String {
        log_of(self.folder.path())
    }

    /// How many orders were made since its first start.
    pub(crate) fn orders(&self) -> usize {
        self.log().matches("Added order ").count()
    }

    /// How many accounts were made since its first start.
    pub(crate) fn accounts(&self) -> usize {
        let log = self.log();
        log.lines()
            .filter(|line| line.contains("There are now") && line.contains("accounts"))
            .count()
    }

    /// What it knows of a certificate, by its serial number in hexadecimal.
    pub(crate) async fn status(&self, serial: &str) -> String {
        let url = format!(
            "https://localhost:{}/cert-status-by-serial/{serial}",
            self.management_port
        );
        let answer: Value = serde_json::from_slice(&self.get(&url).await.unwrap()).unwrap();
        answer["Status"].as_str().unwrap().to_owned()
    }

    /// Changes the DNS: `set-txt`, `clear-txt` and the like of its name server.
    pub(crate) async fn change_dns(&self, what: &str, body: Value) {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = http::Request::post(format!("http://127.0.0.1:{}/{what}", self.dns_api_port))
            .body(Full::from(body.to_string()))
            .unwrap();
        let response = client.request(request).await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
    }

    /// The port of the name server's changes.
    pub(crate) fn dns_api_port(&self) -> u16 {
        self.dns_api_port
    }

    fn configure(&self) {
        let path = |name: &str| self.folder.path().join(name);
        let mac_keys: serde_json::Map<String, Value> = self
            .options
            .eab
            .iter()
            .map(|(id, key)| (id.clone(), json!(key)))
            .collect();
        let mut profiles = serde_json::Map::new();
        let usual = [
            ("default".to_owned(), 7_776_000),
            ("shortlived".to_owned(), 518_400),
        ];
        for (name, seconds) in usual.iter().chain(&self.options.profiles) {
            let profile = json!({"description": format!("{seconds} s"), "validityPeriod": seconds});
            profiles.insert(name.clone(), profile);
        }
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.port),
            "managementListenAddress": format!("127.0.0.1:{}", self.management_port),
            "certificate": path("server.pem"),
            "privateKey": path("server.key"),
            "httpPort": self.options.http_port,
            "tlsPort": self.options.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": self.options.eab.is_some(),
            "externalAccountMACKeys": mac_keys,
            "domainBlocklist": self.options.blocked,
            "retryAfter": {"authz": 1, "order": 1},
            "keyAlgorithm": "ecdsa",
            "profiles": profiles,
        }});
        fs::write(path("config.json"), config.to_string()).unwrap();
    }

    fn run_names(&mut self, dns_port: u16) {
        fs::write(self.folder.path().join("dns-port"), dns_port.to_string()).unwrap();
        let mut command = Command::new(program("pebble-challtestsrv"));
        command
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""])
            .arg("-dnsserver")
            .arg(format!("127.0.0.1:{dns_port}"))
            .arg("-management")
            .arg(format!("127.0.0.1:{}", self.dns_api_port));
        self.run(command, "names.log");
    }

    fn run_pebble(&mut self, dns_port: u16) {
        let mut command = Command::new(program("pebble"));
        command
            .arg("-config")
            .arg(self.folder.path().join("config.json"))
            .arg("-dnsserver")
            .arg(format!("127.0.0.1:{dns_port}"))
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                self.options.nonce_reject.to_string(),
            )
            .env(
                "PEBBLE_AUTHZREUSE",
                self.options.authorization_reuse.to_string(),
            );
        self.run(command, "pebble.log");
    }

    fn run(&mut self, mut command: Command, log: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(log))
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.push(Running(child));
    }

    /// Waits until it answers; false if one of the two has ended.
    async fn answers(&mut self) -> bool {
        for _ in 0..600 {
            for Running(child) in &mut self.running {
                if child.try_wait().unwrap().is_some() {
                    return false;
                }
            }
            if self.get(&self.directory()).await.is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        false
    }

    async fn get(&self, url: &str) -> Option<Bytes> {
        let tls = ClientTls::new(Some(&self.ca_file()), None).unwrap();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.config().as_ref().clone())
            .https_only()
            .enable_http1()
            .build();
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let response = client.get(url.parse().unwrap()).await.ok()?;
        let body = response.into_body().collect().await.ok()?;
        Some(body.to_bytes())
    }
}

fn log_of(folder: &Path) -> String {
    ["names.log", "pebble.log"]
        .map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default())
        .concat()
}

/// Finds a program, or says where to get it.
fn program(name: &str) -> PathBuf {
    let found = match std::env::var_os(FOLDER) {
        Some(folder) => Some(PathBuf::from(folder).join(name)),
        None => std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path)
                .map(|folder| folder.join(name))
                .find(|path| path.is_file())
        }),
    };
    match found {
        Some(path) if path.is_file() => path,
        _ => panic!(
            "this test needs {name}: `cargo xtask test` fetches it, or install Pebble 2.10 or newer (`apt install \
             pebble`), or name its folder in {FOLDER}"
        ),
    }
}

/// Ports that nobody uses. They lie below those that the system gives to whoever asks for any, and processes that run at
/// the same time look in different places.
fn free_ports<const N: usize>() -> [u16; N] {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    [(); N].map(|()| {
        loop {
            let number = TAKEN.fetch_add(1, Ordering::Relaxed);
            let place = std::process::id().wrapping_mul(64).wrapping_add(number) % 20_000;
            let port = u16::try_from(10_000 + place).unwrap();
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
    })
}

fn make_server_certificate(folder: &Path) {
    let made = server_certificate(|_| {});
    fs::write(folder.join("ca.pem"), made.ca).unwrap();
    fs::write(folder.join("server.pem"), made.chain).unwrap();
    fs::write(folder.join("server.key"), made.key).unwrap();
}

/// A certificate for `localhost` with its authority, in PEM.
#[derive(Debug)]
pub(crate) struct ServerCertificate {
    pub(crate) ca: String,
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Makes a certificate for `localhost`, with an authority of its own.
pub(crate) fn server_certificate(change: impl FnOnce(&mut CertificateParams)) -> ServerCertificate {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name
        .push(DnType::CommonName, "Authority for tests");
    let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let mut params =
        CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    change(&mut params);
    let own = params
        .signed_by(&key, &Issuer::new(ca, ca_key))
        .unwrap()
        .pem();
    ServerCertificate {
        chain: format!("{own}{ca_pem}"),
        ca: ca_pem,
        key: key.serialize_pem(),
    }
}
