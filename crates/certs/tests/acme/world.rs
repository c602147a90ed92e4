//! A client, the listeners that authorities look at, and a Pebble.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lyceum_certs::acme::{AcmeClient, AcmeOptions, Issued, OrderRequest};
use lyceum_certs::{
    CertificateName, ChallengeKind, Challenges, HttpSolver, KeyType, LiveCertificates,
    LiveTlsOptions, Proof, ServerTls, Shown, Solver, TlsSolver, Trouble,
};
use lyceum_core::{Clock, SystemClock};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::pebble::{Pebble, PebbleOptions};

/// All that an order needs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) pebble: Pebble,
    pub(crate) folder: TempDir,
    pub(crate) live: LiveCertificates,
    /// How many records are shown in the DNS.
    pub(crate) records: Arc<AtomicUsize>,
    /// The listeners; they end with it.
    _listeners: JoinSet<()>,
}

/// Which listeners there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listeners {
    Both,
    TlsOnly,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PebbleOptions::default(), Listeners::Both).await
    }

    pub(crate) async fn with(options: PebbleOptions, listeners: Listeners) -> Self {
        let live = LiveCertificates::default();
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let options = PebbleOptions {
            http_port: http.local_addr().unwrap().port(),
            tls_port: tls.local_addr().unwrap().port(),
            ..options
        };
        let mut tasks = JoinSet::new();
        if listeners == Listeners::Both {
            tasks.spawn(answer_http(http, live.challenges().clone()));
        }
        let config = ServerTls::live(&live, &LiveTlsOptions::default()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(config.config()));
        tasks.spawn(answer_tls(tls, acceptor));
        Self {
            pebble: Pebble::start(options).await,
            folder: tempfile::tempdir().unwrap(),
            live,
            records: Arc::default(),
            _listeners: tasks,
        }
    }

    pub(crate) fn options(&self) -> AcmeOptions {
        AcmeOptions {
            directory: self.pebble.directory(),
            ca_file: Some(self.pebble.ca_file()),
            folder: self.folder.path().join("pebble"),
            email: Some("admin@example.org".to_owned()),
            agree_to_terms: true,
            eab: None,
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn client(&self) -> AcmeClient {
        AcmeClient::new(self.options()).unwrap()
    }

    pub(crate) fn solvers(&self) -> Vec<Arc<dyn Solver>> {
        let challenges = self.live.challenges().clone();
        vec![
            Arc::new(HttpSolver(challenges.clone())),
            Arc::new(TlsSolver(challenges)),
            Arc::new(DnsApiSolver {
                port: self.pebble.dns_api_port(),
                records: Arc::clone(&self.records),
            }),
        ]
    }

    /// Gets a certificate, and takes it for stored.
    pub(crate) async fn issue(
        &self,
        client: &AcmeClient,
        request: &OrderRequest,
    ) -> Result<Issued, Trouble> {
        let issued = client.order(request, &self.solvers()).await?;
        client.finish(&request.id).await?;
        Ok(issued)
    }

    pub(crate) fn account_file(&self) -> PathBuf {
        self.folder.path().join("pebble/account.json")
    }

    pub(crate) fn account(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.account_file()).unwrap()).unwrap()
    }

    /// The file of an order that is not done.
    pub(crate) fn order_file(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("pebble/orders/{id}.json"))
    }
}

/// An order for names, each to be proven in the same ways.
pub(crate) fn request(names: &[&str], kinds: &[ChallengeKind]) -> OrderRequest {
    let names: Vec<CertificateName> = names.iter().map(|name| name.parse().unwrap()).collect();
    OrderRequest {
        id: names[0].file_name(),
        key_type: KeyType::Ecdsa,
        profile: None,
        replaces: None,
        challenges: names
            .iter()
            .map(|name| (name.clone(), kinds.to_vec()))
            .collect::<HashMap<_, _>>(),
        names,
    }
}

/// The certificate itself.
pub(crate) fn leaf(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()
}

/// What is read from a certificate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) names: Vec<String>,
    pub(crate) serial: String,
    pub(crate) days: i64,
    pub(crate) key_bits: usize,
}

/// Reads a certificate.
pub(crate) fn facts(issued: &Issued) -> Facts {
    use x509_parser::prelude::*;
    let leaf = leaf(issued);
    let (_, certificate) = X509Certificate::from_der(&leaf).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    let mut names: Vec<_> = names
        .value
        .general_names
        .iter()
        .map(|name| match name {
            GeneralName::DNSName(name) => (*name).to_owned(),
            GeneralName::IPAddress(bytes) => {
                let bytes: [u8; 4] = (*bytes).try_into().unwrap();
                std::net::Ipv4Addr::from(bytes).to_string()
            }
            other => panic!("{other}"),
        })
        .collect();
    names.sort();
    let validity = certificate.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    let key = certificate.public_key().parsed().unwrap();
    Facts {
        names,
        serial: certificate.raw_serial_as_string().replace(':', ""),
        days: (seconds + 1) / 86_400,
        key_bits: key.key_size(),
    }
}

/// Waits until something is so.
pub(crate) async fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("what was waited for did not come to be in half a minute");
}

/// Whether a certificate is for its key.
pub(crate) fn fits_its_key(issued: &Issued) -> bool {
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(issued.key_pem.expose().as_bytes())
        .unwrap();
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    rustls::sign::CertifiedKey::new(vec![leaf(issued)], key)
        .keys_match()
        .is_ok()
}

async fn answer_http(listener: TcpListener, challenges: Challenges) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let challenges = challenges.clone();
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

async fn answer_tls(listener: TcpListener, acceptor: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.shutdown().await;
            }
        });
    }
}

/// Proves by records in Pebble's name server.
#[derive(Debug)]
struct DnsApiSolver {
    port: u16,
    records: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Record {
    port: u16,
    records: Arc<AtomicUsize>,
    name: String,
}

async fn change_dns(port: u16, what: &str, body: Value) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /{what} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    assert!(line.contains(" 200 "), "{line}");
}

#[async_trait]
impl Solver for DnsApiSolver {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    async fn show(&self, proof: Proof<'_>) -> Result<Box<dyn Shown>, Trouble> {
        let record = Record {
            port: self.port,
            records: Arc::clone(&self.records),
            name: format!("_acme-challenge.{}.", proof.name),
        };
        let body = json!({"host": record.name, "value": proof.dns_value});
        change_dns(record.port, "set-txt", body).await;
        record.records.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(record))
    }
}

#[async_trait]
impl Shown for Record {
    async fn clean_up(self: Box<Self>) -> Result<(), Trouble> {
        change_dns(self.port, "clear-txt", json!({"host": self.name})).await;
        self.records.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A clock that is wrong by some seconds.
#[derive(Debug)]
pub(crate) struct WrongClock(pub i64);

impl Clock for WrongClock {
    fn now(&self) -> lyceum_core::Timestamp {
        let right = SystemClock.now();
        lyceum_core::Timestamp::from_second(right.as_second() + self.0).unwrap()
    }
}
