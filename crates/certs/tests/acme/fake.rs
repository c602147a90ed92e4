//! What Pebble cannot do: an authority with limits, faults and bad certificates, as far as a test needs it.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lyceum_certs::acme::{AcmeClient, AcmeOptions, OrderRequest};
use lyceum_certs::{ChallengeKind, ServerTls, ServerTlsOptions, Trouble, TroubleKind};
use lyceum_core::SystemClock;
use rcgen::CertificateParams;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::pebble::server_certificate;
use crate::world::request;

/// How orders are answered.
type Answer = fn() -> Response<Full<Bytes>>;

#[derive(Debug)]
struct Fake {
    folder: TempDir,
    port: u16,
    _tasks: JoinSet<()>,
}

impl Fake {
    async fn start(answer: Answer, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = server_certificate(change);
        let path = |name: &str| folder.path().join(name);
        fs::write(path("ca.pem"), made.ca).unwrap();
        fs::write(path("server.pem"), made.chain).unwrap();
        fs::write(path("server.key"), made.key).unwrap();
        let tls = ServerTls::from_files(&ServerTlsOptions {
            certificate_file: path("server.pem"),
            key_file: path("server.key"),
            alpn: vec!["http/1.1".to_owned()],
            ..ServerTlsOptions::default()
        })
        .unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(tls.config()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| async move {
                        Ok::<_, Infallible>(respond(&request, port, answer))
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            folder,
            port,
            _tasks: tasks,
        }
    }

    /// The certificate that it shows.
    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.path().join("server.pem")).unwrap()
    }

    async fn trouble(&self) -> Trouble {
        self.trouble_with(&request(&["a.example.org"], &[ChallengeKind::Http01]))
            .await
    }

    async fn trouble_with(&self, order: &OrderRequest) -> Trouble {
        let client = AcmeClient::new(AcmeOptions {
            directory: format!("https://localhost:{}/dir", self.port),
            ca_file: Some(self.folder.path().join("ca.pem")),
            folder: self.folder.path().join("acme"),
            email: None,
            agree_to_terms: true,
            eab: None,
            clock: Arc::new(SystemClock),
        })
        .unwrap();
        client.order(order, &[]).await.unwrap_err()
    }
}

fn respond(request: &Request<Incoming>, port: u16, answer: Answer) -> Response<Full<Bytes>> {
    let url = |path: &str| format!("https://localhost:{port}{path}");
    let mut response = match (request.method(), request.uri().path()) {
        (&Method::GET, "/dir") => {
            let directory = json!({
                "newNonce": url("/nonce"), "newAccount": url("/account"), "newOrder": url("/order"),
                "renewalInfo": url("/renewal"),
            });
            Response::new(Full::from(directory.to_string()))
        }
        (&Method::HEAD, "/nonce") => Response::new(Full::default()),
        (&Method::POST, "/account") => Response::builder()
            .status(StatusCode::CREATED)
            .header("location", url("/account/1"))
            .body(Full::from("{\"status\": \"valid\"}"))
            .unwrap(),
        _ => answer(),
    };
    response
        .headers_mut()
        .insert("replay-nonce", "bm9uY2U".parse().unwrap());
    response
}

fn problem(status: u16, kind: &str, headers: &[(&str, &str)]) -> Response<Full<Bytes>> {
    let body = json!({
        "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "Words of the authority",
    });
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/problem+json");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::from(body.to_string())).unwrap()
}

#[tokio::test]
async fn a_limit_is_told_with_the_time_to_wait() {
    let answer = || problem(429, "rateLimited", &[("retry-after", "7200")]);
    let trouble = Fake::start(answer, |_| {}).await.trouble().await;
    assert_eq!(trouble.kind, TroubleKind::RateLimited);
    assert_eq!(trouble.retry_after, Some(7200));
    assert_eq!(trouble.causes, ["Words of the authority (rateLimited)"]);
    assert!(trouble.hint.contains("letsencrypt-staging"));
}

#[tokio::test]
async fn an_authority_that_has_lost_what_is_replaced_is_asked_without_that() {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let answer = || match ASKED.fetch_add(1, Ordering::Relaxed) {
        0 => problem(500, "serverInternal", &[]),
        _ => problem(429, "rateLimited", &[]),
    };
    let identified =
        |params: &mut CertificateParams| params.use_authority_key_identifier_extension = true;
    let fake = Fake::start(answer, identified).await;
    let mut order = request(&["a.example.org"], &[ChallengeKind::Http01]);
    order.replaces = Some(fake.certificate());
    let trouble = fake.trouble_with(&order).await;
    assert_eq!(trouble.kind, TroubleKind::RateLimited, "{trouble:?}");
    assert_eq!(ASKED.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_busy_authority_is_told_with_the_time_to_wait() {
    let answer = || {
        Response::builder()
            .status(503)
            .header("retry-after", "90")
            .body(Full::from("<html>Come back later</html>"))
            .unwrap()
    };
    let trouble = Fake::start(answer, |_| {}).await.trouble().await;
    assert_eq!(trouble.kind, TroubleKind::Unreachable);
    assert_eq!(trouble.retry_after, Some(90));
    assert!(trouble.causes[0].contains("503"), "{trouble:?}");
}

#[tokio::test]
async fn nonces_that_never_fit_are_told_and_not_tried_for_ever() {
    let answer = || problem(400, "badNonce", &[]);
    let trouble = Fake::start(answer, |_| {}).await.trouble().await;
    assert_eq!(trouble.kind, TroubleKind::Unreachable);
    assert!(trouble.causes[0].contains("badNonce"), "{trouble:?}");
}

#[tokio::test]
async fn new_terms_are_told_with_their_address() {
    let answer = || {
        let link = "<https://ca.example/terms>;rel=\"terms-of-service\"";
        problem(403, "userActionRequired", &[("link", link)])
    };
    let trouble = Fake::start(answer, |_| {}).await.trouble().await;
    assert_eq!(trouble.kind, TroubleKind::Account);
    assert!(
        trouble.hint.contains("https://ca.example/terms"),
        "{trouble:?}"
    );
}

#[tokio::test]
async fn answers_that_make_no_sense_are_told() {
    let empty = || Response::new(Full::default());
    let huge = || Response::new(Full::from(vec![b' '; 2 * 1024 * 1024]));
    let page = || {
        Response::builder()
            .status(302)
            .header("location", "https://login.example/")
            .body(Full::default())
            .unwrap()
    };
    for (answer, kind) in [
        (empty as Answer, TroubleKind::Unreachable),
        (huge, TroubleKind::Unreachable),
        (page, TroubleKind::Configuration),
    ] {
        let trouble = Fake::start(answer, |_| {}).await.trouble().await;
        assert_eq!(trouble.kind, kind, "{trouble:?}");
    }
}

#[tokio::test]
async fn a_certificate_of_another_time_points_to_the_clock() {
    let answer = || Response::new(Full::default());
    for (from, to) in [(2000, 2001), (2090, 2091)] {
        let fake = Fake::start(answer, |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
        .await;
        let trouble = fake.trouble().await;
        assert_eq!(trouble.kind, TroubleKind::Clock, "{trouble:?}");
        assert!(trouble.hint.contains("timedatectl"), "{trouble:?}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_is_told() {
    let answer = || Response::new(Full::default());
    let fake = Fake::start(answer, |params| {
        params.subject_alt_names.clear();
        params
            .subject_alt_names
            .push(rcgen::SanType::DnsName("other.example".try_into().unwrap()));
    })
    .await;
    let trouble = fake.trouble().await;
    assert_eq!(trouble.kind, TroubleKind::Unreachable);
    assert!(trouble.hint.contains("for another"), "{trouble:?}");
}
