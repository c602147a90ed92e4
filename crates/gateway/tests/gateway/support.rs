//! A gateway on a free port, and clients that read every byte themselves.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::peer::Peer;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lyceum_certs::ServerTls;
use lyceum_core::clock::{Clock, Timestamp};
use lyceum_core::seams::Routes as _;
use lyceum_core::{HumanDuration, Route, RouteSpec, Upstream};
use lyceum_gateway::{
    Body, Challenges, ClosedGate, Counts, ErrorContext, ErrorPage, ErrorPages, ForwardOptions,
    Gateway, GatewayConfig, GatewayError, HubService, ListenAddress, MaintenanceSwitch, Parts,
    RouteTable, StaticSets, UpstreamEvents,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// Longer than anything should take, shorter than patience.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, what)
        .await
        .expect("it should have happened long ago")
}

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, holds)
        .await
        .unwrap_or_else(|_| panic!("not within the time limit: {what}"));
}

// --- The gateway -------------------------------------------------------------------------------

/// A running gateway.
pub(crate) struct TestGateway {
    pub(crate) addresses: Vec<ListenAddress>,
    pub(crate) table: RouteTable,
    pub(crate) failed: Arc<Failed>,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<Result<(), GatewayError>>,
    _tasks: JoinSet<()>,
}

/// A clock that is moved by hand.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    pub(crate) fn set(&self, second: i64) {
        self.0.store(second, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

/// The routes whose upstreams failed.
#[derive(Default)]
pub(crate) struct Failed(pub(crate) Mutex<Vec<String>>);

impl UpstreamEvents for Failed {
    fn upstream_failed(&self, spec: &RouteSpec) {
        self.0.lock().unwrap().push(spec.to_string());
    }
}

/// A hub that is a closure.
struct ClosureHub<F>(F);

pub(crate) type HubAnswer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

#[async_trait]
impl<F> HubService for ClosureHub<F>
where
    F: Fn(Request<Body>) -> HubAnswer + Send + Sync + 'static,
{
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        (self.0)(request).await
    }
}

/// Pages that show what they were told.
struct TestPages;

#[async_trait]
impl ErrorPages for TestPages {
    async fn render(&self, context: &ErrorContext) -> Option<ErrorPage> {
        let route = context.route.as_ref().map(ToString::to_string);
        // Requests without cookies have the same page each time.
        let told = match context.cookies.as_str() {
            "" => String::new(),
            cookies => format!(" {} {cookies}", context.request_id),
        };
        Some(ErrorPage {
            content_type: http::HeaderValue::from_static("text/html"),
            body: format!("page {:?} {route:?}{told}", context.reason).into(),
        })
    }
}

pub(crate) struct Setup {
    pub(crate) config: GatewayConfig,
    hub: Arc<dyn HubService>,
    hub_runtime: Handle,
    pub(crate) options: ForwardOptions,
    tls: Option<ServerTls>,
    tls_listeners: Option<ServerTls>,
    challenges: Challenges,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: GatewayConfig {
                listen: vec!["127.0.0.1:0".parse().unwrap()],
                threads: 2,
                ..GatewayConfig::default()
            },
            hub: Arc::new(ClosureHub(|_| -> HubAnswer {
                Box::pin(async { Response::new(Body::from("hub")) })
            })),
            hub_runtime: Handle::current(),
            options: ForwardOptions::default(),
            tls: None,
            tls_listeners: None,
            challenges: Challenges::default(),
        }
    }
}

impl Setup {
    pub(crate) fn config(mut self, edit: impl FnOnce(&mut GatewayConfig)) -> Self {
        edit(&mut self.config);
        self
    }

    pub(crate) fn hub<F, A>(mut self, hub: F) -> Self
    where
        F: Fn(Request<Body>) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        self.hub = Arc::new(ClosureHub(move |request| -> HubAnswer {
            Box::pin(hub(request))
        }));
        self
    }

    pub(crate) fn hub_runtime(mut self, runtime: Handle) -> Self {
        self.hub_runtime = runtime;
        self
    }

    pub(crate) fn options(mut self, edit: impl FnOnce(&mut ForwardOptions)) -> Self {
        edit(&mut self.options);
        self
    }

    pub(crate) fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Listens with TLS, too, at the second address.
    pub(crate) fn tls_listener(mut self, tls: ServerTls) -> Self {
        self.config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
        self.tls_listeners = Some(tls);
        self
    }

    pub(crate) fn challenges(mut self, challenges: &Challenges) -> Self {
        self.challenges = challenges.clone();
        self
    }

    pub(crate) fn start(self) -> TestGateway {
        let mut bound = Gateway::bind(self.config).unwrap();
        if let Some(tls) = self.tls {
            bound = bound.with_tls(tls);
        }
        if let Some(tls) = self.tls_listeners {
            bound = bound.with_tls_listeners(tls);
        }
        let addresses = bound.local_addrs().to_vec();
        let table = RouteTable::new();
        let failed = Arc::new(Failed::default());
        let clock = Arc::new(HandClock::default());
        let counts = Arc::<Counts>::default();
        let shutdown = CancellationToken::new();
        let parts = Parts {
            table: table.clone(),
            hub: self.hub,
            hub_runtime: self.hub_runtime,
            error_pages: Arc::new(TestPages),
            events: Arc::clone(&failed) as Arc<dyn UpstreamEvents>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            gate: Arc::new(ClosedGate),
            options: Arc::new(self.options),
            counts: Arc::clone(&counts),
            maintenance: MaintenanceSwitch::new(),
            statics: StaticSets::new(),
            challenges: self.challenges,
        };
        let mut tasks = JoinSet::new();
        let (sender, serving) = tokio::sync::oneshot::channel();
        let token = shutdown.clone();
        tasks.spawn(async move {
            let _ = sender.send(bound.serve(parts, token).await);
        });
        let serving = Handle::current().spawn(async move { serving.await.unwrap() });
        TestGateway {
            addresses,
            table,
            failed,
            clock,
            counts,
            shutdown,
            serving,
            _tasks: tasks,
        }
    }
}

impl TestGateway {
    pub(crate) fn start() -> Self {
        Setup::default().start()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port_of(0)
    }

    /// The port of the listener with TLS, which is the second.
    pub(crate) fn tls_port(&self) -> u16 {
        self.port_of(1)
    }

    fn port_of(&self, number: usize) -> u16 {
        match &self.addresses[number] {
            ListenAddress::Tcp(address) => address.port(),
            other => panic!("an address is {other}"),
        }
    }

    /// Adds a route.
    pub(crate) async fn route(&self, spec: &str, target: &Upstream) {
        let route = Route {
            spec: RouteSpec::parse(spec).unwrap(),
            target: target.clone(),
            target_path: String::new(),
            data: serde_json::Map::default(),
        };
        self.table.put(route).await.unwrap();
    }

    /// A gateway with one route, `/user/ada/`, to this upstream.
    pub(crate) async fn to(peer: &Peer) -> Self {
        let gateway = Self::start();
        gateway.route("/user/ada/", &peer.target).await;
        gateway
    }

    pub(crate) async fn last_activity(&self, spec: &str) -> Option<i64> {
        let all = self.table.list().await.unwrap();
        all.iter()
            .find(|status| status.route.spec.to_string() == spec)
            .unwrap()
            .last_activity
            .map(Timestamp::as_second)
    }

    pub(crate) fn last_action(&self, spec: &str) -> Option<i64> {
        let status = self.table.get(&RouteSpec::path(spec)).unwrap();
        status.last_action.map(Timestamp::as_second)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        soon(TcpStream::connect(("127.0.0.1", self.port())))
            .await
            .unwrap()
    }

    /// Opens a connection for whole requests.
    pub(crate) async fn client(&self) -> Client {
        Client::new(self.connect().await).await
    }

    /// Asks for one path on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.client().await.get(path).await
    }

    /// Sends bytes, and reads until the gateway closes.
    pub(crate) async fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        read_to_end(&mut stream).await
    }
}

pub(crate) fn seconds(seconds: u64) -> HumanDuration {
    HumanDuration::from_secs(seconds)
}

pub(crate) fn millis(millis: u64) -> HumanDuration {
    HumanDuration::from_millis(millis)
}

// --- Clients -----------------------------------------------------------------------------------

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A connection to the gateway on which requests follow one another.
pub(crate) struct Client {
    sender: hyper::client::conn::http1::SendRequest<AnyBody>,
    _driver: JoinSet<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<http::HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) =
            soon(hyper::client::conn::http1::handshake(TokioIo::new(stream)))
                .await
                .unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Self {
            sender,
            _driver: driver,
        }
    }

    /// Sends a request and gives the answer as soon as its head is there.
    pub(crate) async fn send(&mut self, request: Request<AnyBody>) -> Response<Incoming> {
        soon(self.sender.ready()).await.unwrap();
        soon(self.sender.send_request(request)).await.unwrap()
    }

    pub(crate) async fn ask(&mut self, request: Request<AnyBody>) -> Answer {
        collect(self.send(request).await).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request("GET", path, "")).await
    }
}

pub(crate) async fn collect(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let collected = soon(body.collect()).await.unwrap();
    let trailers = collected.trailers().cloned();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: collected.to_bytes(),
        trailers,
    }
}

pub(crate) fn request(method: &str, path: &str, body: &'static str) -> Request<AnyBody> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("host", "hub.example:8000")
        .body(full(body))
        .unwrap()
}

pub(crate) fn full(body: impl Into<Bytes>) -> AnyBody {
    Full::new(body.into()).map_err(Into::into).boxed_unsync()
}

pub(crate) async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until the text read so far ends with `end`.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    soon(async {
        while !text.ends_with(end) {
            let byte = stream
                .read_u8()
                .await
                .unwrap_or_else(|_| panic!("the connection ended before {end:?}, after {text:?}"));
            text.push(char::from(byte));
        }
    })
    .await;
    text
}
