//! A manager with the listeners that an authority and visitors look at, and a Pebble.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use lyceum_certs::{
    Authority, CertificateStatus, Challenges, LiveTlsOptions, Manager, ManagerOptions, Ports,
    ServerTls, TlsConfig,
};
use lyceum_core::{Clock, SystemClock, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::pebble::{Pebble, PebbleOptions};

/// How long anything may take before a test gives up.
const LIMIT: Duration = Duration::from_mins(1);

/// All but the manager, which comes and goes.
pub(crate) struct World {
    pub(crate) pebble: Pebble,
    pub(crate) folder: TempDir,
    pub(crate) clock: Arc<SetClock>,
    http: SocketAddr,
    tls: SocketAddr,
    answering: Answering,
    /// The listeners; they end with it.
    _listeners: JoinSet<()>,
}

/// What the listeners answer with: that of the manager that runs.
type Answering = Arc<Mutex<Option<(Challenges, TlsAcceptor)>>>;

/// A clock that is wrong by some seconds.
#[derive(Debug, Default)]
pub(crate) struct SetClock(AtomicI64);

impl SetClock {
    /// Sets it to be ahead by so much, or behind if less than nothing.
    pub(crate) fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        let wrong = jiff::SignedDuration::from_secs(self.0.load(Ordering::SeqCst));
        SystemClock.now().checked_add(wrong).unwrap()
    }
}

/// A manager that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) manager: Manager,
    running: JoinSet<()>,
    ended: CancellationToken,
}

impl Site {
    pub(crate) fn status(&self, id: &str) -> CertificateStatus {
        let status = self.manager.status();
        let found = status.certificates.into_iter().find(|one| one.id == id);
        found.unwrap_or_else(|| panic!("no {id}"))
    }

    /// Waits until a certificate has come from the authority, with its advice on renewal; gives its number.
    pub(crate) async fn issued(&self, id: &str) -> String {
        until("a certificate is there", || {
            let status = self.status(id);
            status.issuer.contains("Pebble") && status.renewal_by_authority
        })
        .await;
        self.status(id).serial
    }

    /// Waits until another than this one is shown; gives its number.
    pub(crate) async fn other_than(&self, id: &str, serial: &str) -> String {
        until("another certificate is there", || {
            self.status(id).serial != serial
        })
        .await;
        self.status(id).serial
    }

    /// Ends it in the usual way.
    pub(crate) async fn end(mut self) {
        self.ended.cancel();
        while self.running.join_next().await.is_some() {}
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PebbleOptions::default()).await
    }

    pub(crate) async fn with(options: PebbleOptions) -> Self {
        log();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&http, &tls].map(|listener| listener.local_addr().unwrap());
        let options = PebbleOptions {
            http_port: addresses[0].port(),
            tls_port: addresses[1].port(),
            ..options
        };
        let answering = Answering::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(answer_http(http, Arc::clone(&answering)));
        tasks.spawn(answer_tls(tls, Arc::clone(&answering)));
        Self {
            pebble: Pebble::start(options).await,
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
            http: addresses[0],
            tls: addresses[1],
            answering,
            _listeners: tasks,
        }
    }

    /// A second authority that looks at the same listeners.
    pub(crate) async fn second_pebble(&self) -> Pebble {
        Pebble::start(PebbleOptions {
            http_port: self.http.port(),
            tls_port: self.tls.port(),
            ..PebbleOptions::default()
        })
        .await
    }

    /// The settings for some names, each with a certificate of its own.
    pub(crate) fn config(&self, names: &[&str]) -> TlsConfig {
        let mut config = TlsConfig {
            domains: names.iter().map(|name| name.parse().unwrap()).collect(),
            ..TlsConfig::default()
        };
        config.acme.agree_to_terms = true;
        config.acme.directory = Authority::Url(self.pebble.directory());
        config.acme.ca_file = Some(self.pebble.ca_file());
        config
    }

    /// The folder for certificates.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.path().join("certificates")
    }

    pub(crate) fn options(&self, config: TlsConfig) -> ManagerOptions {
        ManagerOptions {
            config,
            folder: self.certificates(),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            ports: Ports::default(),
            look_every: Some(Duration::from_millis(250)),
        }
    }

    /// Starts a manager. Not one step of it runs before the first await.
    pub(crate) fn open(&self, config: TlsConfig) -> Site {
        let manager = Manager::open(self.options(config)).unwrap();
        let tls = ServerTls::live(manager.live(), &LiveTlsOptions::default()).unwrap();
        let answer = (
            manager.live().challenges().clone(),
            TlsAcceptor::from(Arc::clone(tls.config())),
        );
        *self.answering.lock().unwrap() = Some(answer);
        let ended = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(manager.clone().run(ended.clone()));
        Site {
            manager,
            running,
            ended,
        }
    }

    /// The number of the certificate that a visitor is shown. The handshake fails if its key does not fit.
    pub(crate) async fn shown(&self, name: &str) -> String {
        let connector = TlsConnector::from(Arc::new(
            ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody(aws_lc_rs::default_provider())))
                .with_no_client_auth(),
        ));
        let stream = TcpStream::connect(self.tls).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = connector.connect(name, stream).await.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        serial(&chain[0])
    }

    /// Changes what is kept of what has happened.
    pub(crate) fn change_history(&self, id: &str, change: impl FnOnce(&mut Value)) {
        let path = self.certificates().join(format!("{id}.json"));
        let mut history: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut history);
        fs::write(&path, history.to_string()).unwrap();
    }

    /// Makes it so that the authority wants a certificate to be renewed now, as far as is known here.
    pub(crate) fn want_renewal(&self, id: &str) {
        self.change_history(id, |history| {
            history["window"] =
                serde_json::json!({"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"});
        });
    }

    /// The content of all files in the folder for certificates.
    pub(crate) fn content(&self) -> HashMap<PathBuf, Vec<u8>> {
        files(&self.certificates())
            .into_iter()
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

/// All files and folders below one, with itself.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut at = 0;
    while at < found.len() {
        if found[at].is_dir() {
            let entries = fs::read_dir(&found[at]).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
        }
        at += 1;
    }
    found
}

pub(crate) fn serial(leaf: &CertificateDer<'_>) -> String {
    use x509_parser::prelude::*;
    let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
    certificate.raw_serial_as_string().replace(':', "")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LIMIT, "not in time: {what}\n{}", logged());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sees that something does not come to be for some seconds, in which the manager looks at everything at least once.
pub(crate) async fn never(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(8) {
        assert!(!is_so(), "{what}\n{}", logged());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has everything logged from now on.
fn log() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        tracing_subscriber::fmt()
            .with_env_filter("info,lyceum_certs=trace,rustls=debug,hyper=debug,instant_acme=trace")
            .with_ansi(false)
            .with_writer(|| LogWriter)
            .init();
    });
}

/// What was logged since the start, by all tests.
pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&LOG.lock().unwrap()).into_owned()
}

/// Lines that would tell a key that stands in a PEM or JSON text.
pub(crate) fn secrets_of(text: &str) -> Vec<String> {
    let text = text.replace("\\n", "\n");
    let keys = text.split("-----BEGIN PRIVATE KEY-----").skip(1);
    keys.filter_map(|rest| rest.split("-----END").next())
        .flat_map(str::lines)
        .filter(|line| line.len() > 20)
        .map(str::to_owned)
        .collect()
}

/// A text that is different for bytes that are.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

async fn answer_http(listener: TcpListener, answering: Answering) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let Some((challenges, _)) = answering.lock().unwrap().clone() else {
            continue;
        };
        connections.spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            let _ = stream.read_line(&mut line).await;
            let path = line.split(' ').nth(1).unwrap_or_default();
            let (status, body) = match challenges.http(path) {
                Some(text) => ("200 OK", text),
                None => ("404 Not Found", String::new()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        });
    }
}

async fn answer_tls(listener: TcpListener, answering: Answering) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let Some((_, acceptor)) = answering.lock().unwrap().clone() else {
            continue;
        };
        connections.spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.shutdown().await;
            }
        });
    }
}

/// Believes any chain, but looks whether the key fits it.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, leaf, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, leaf, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
