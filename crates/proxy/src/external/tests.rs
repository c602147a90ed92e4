//! The client beside our own side of the API, over real sockets.

use std::sync::Arc;

use lyceum_core::SystemClock;
use lyceum_gateway::{
    Challenges, ClosedGate, Gateway, GatewayConfig, ListenAddress, Parts, PlainErrorPages,
    RouteTable, UpstreamEvents,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{RestApi, RouteBook};

struct NoEvents;

impl UpstreamEvents for NoEvents {
    fn upstream_failed(&self, _: &RouteSpec) {}
}

/// A proxy with our own side of the API, on a socket.
struct Elsewhere {
    book: RouteBook,
    url: String,
    shutdown: CancellationToken,
    served: JoinSet<Result<(), lyceum_gateway::GatewayError>>,
}

impl Elsewhere {
    fn start(listen: &str, token: Option<&str>, host_routing: bool) -> Self {
        let book = RouteBook::new(RouteTable::new(), host_routing, Arc::new(SystemClock));
        let config = GatewayConfig {
            listen: vec![listen.parse().unwrap()],
            threads: 1,
            ..GatewayConfig::default()
        };
        let gateway = Gateway::bind(config).unwrap();
        let url = match &gateway.local_addrs()[0] {
            ListenAddress::Tcp(address) => format!("http://{address}"),
            ListenAddress::Systemd(_) => panic!("nothing was passed"),
            ListenAddress::Unix(path) => format!(
                "http+unix://{}",
                escape::path_segment(path.to_str().unwrap())
            ),
        };
        let parts = Parts {
            table: RouteTable::new(),
            hub: Arc::new(RestApi::new(
                book.clone(),
                token.map(Secret::from),
                Arc::default(),
            )),
            hub_runtime: tokio::runtime::Handle::current(),
            error_pages: Arc::new(PlainErrorPages),
            events: Arc::new(NoEvents),
            clock: Arc::new(SystemClock),
            gate: Arc::new(ClosedGate),
            options: Arc::default(),
            counts: Arc::default(),
            maintenance: lyceum_gateway::MaintenanceSwitch::new(),
            statics: lyceum_gateway::StaticSets::new(),
            challenges: Challenges::default(),
        };
        let shutdown = CancellationToken::new();
        let mut served = JoinSet::new();
        served.spawn(gateway.serve(parts, shutdown.clone()));
        Self {
            book,
            url,
            shutdown,
            served,
        }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        while self.served.join_next().await.is_some() {}
    }
}

fn client(url: &str, token: Option<&str>) -> ExternalProxy {
    let hub = hub_route("/", "http://127.0.0.1:8000".parse().unwrap());
    let token = token.map(Secret::from);
    ExternalProxy::new(
        HttpClient::default(),
        url.parse().unwrap(),
        token.as_ref(),
        hub,
    )
}

fn route(spec: &str, target: &str) -> Route {
    let target: Target = target.parse().unwrap();
    Route {
        spec: RouteSpec::parse(spec).unwrap(),
        target: target.upstream,
        target_path: target.path,
        data: Map::from_iter([("user".to_owned(), Value::String("ada".to_owned()))]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_back_from_the_other_side_as_they_were_put() {
    let other = Elsewhere::start("127.0.0.1:0", Some("sesame"), false);
    let proxy = client(&other.url, Some("sesame"));
    let routes = [
        route("/services/x/", "http://127.0.0.1:9/base"),
        route("/user/a b/ü/", "https://node-3:8888"),
        route("/user/a@b.cz/", "http+unix://%2Frun%2Fa%20b.sock"),
    ];
    for route in &routes {
        proxy.put(route.clone()).await.unwrap();
    }
    let listed = proxy.list().await.unwrap();
    let mut found: Vec<Route> = listed.iter().map(|status| status.route.clone()).collect();
    found.sort_by(|a, b| a.spec.cmp(&b.spec));
    assert_eq!(found, routes);
    assert!(listed.iter().all(|status| status.last_activity.is_some()));
    for route in &routes {
        proxy.remove(&route.spec).await.unwrap();
        proxy.remove(&route.spec).await.unwrap();
    }
    assert!(proxy.list().await.unwrap().is_empty());
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_to_the_hub_is_missed_and_those_of_others_are_left_alone() {
    let other = Elsewhere::start("127.0.0.1:0", None, false);
    let proxy = client(&other.url, None);
    other.book.put_target("/elsewhere", "http://h:1").unwrap();
    let has = async || proxy.has_hub_route().await.unwrap();
    assert!(!has().await, "the proxy has just begun");
    proxy.put_hub_route().await.unwrap();
    assert!(has().await);
    assert!(proxy.list().await.unwrap().is_empty());
    other.book.put_target("/", "http://h:1").unwrap();
    assert!(!has().await, "it leads elsewhere");
    proxy.put_hub_route().await.unwrap();
    let hub = other.book.get("/").unwrap();
    assert_eq!(hub.text("target"), Some("http://127.0.0.1:8000"));
    assert_eq!(other.book.count(), 2);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_the_first_segment_on_the_other_side() {
    let other = Elsewhere::start("127.0.0.1:0", None, true);
    let proxy = client(&other.url, None);
    let route = route("ada.example.org/user/ada/", "http://127.0.0.1:9");
    proxy.put(route.clone()).await.unwrap();
    assert!(other.book.get("/ada.example.org/user/ada").is_some());
    assert_eq!(proxy.list().await.unwrap()[0].route, route);
    proxy.remove(&route.spec).await.unwrap();
    assert_eq!(proxy.list().await.unwrap(), []);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_on_a_unix_socket_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.sock");
    let other = Elsewhere::start(&format!("unix:{}", path.display()), None, false);
    let proxy = client(&other.url, None);
    proxy
        .put(route("/user/ada/", "http://127.0.0.1:9"))
        .await
        .unwrap();
    assert_eq!(other.book.count(), 1);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_named_and_not_tried_again() {
    let other = Elsewhere::start("127.0.0.1:0", Some("sesame"), false);
    let begun = Instant::now();
    let error = client(&other.url, Some("wrong")).list().await.unwrap_err();
    assert!(error.to_string().contains("auth_token_file"), "{error}");
    let error = client(&other.url, None)
        .put(route("/a/", "http://h:1"))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("auth_token_file"), "{error}");
    assert!(begun.elapsed() < PATIENCE);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_waits_for_a_proxy_that_starts_anew() {
    let other = Elsewhere::start("127.0.0.1:0", None, false);
    let url = other.url.clone();
    let proxy = client(&url, None);
    proxy.put_hub_route().await.unwrap();
    other.stop().await;
    let listen = url.strip_prefix("http://").unwrap();
    let (put, other) = tokio::join!(
        proxy.put(route("/user/ada/", "http://127.0.0.1:9")),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Elsewhere::start(listen, None, false)
        }
    );
    put.unwrap();
    assert_eq!(other.book.count(), 1);
    other.stop().await;
}

#[tokio::test]
async fn while_the_proxy_is_silent_only_the_first_change_waits() {
    let mut proxy = client("http+unix://%2Fnowhere%2Fapi.sock", None);
    proxy.patience = Duration::from_secs(1);
    let begun = Instant::now();
    let error = proxy.list().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("http+unix://%2Fnowhere%2Fapi.sock"),
        "{error}"
    );
    assert!(begun.elapsed() >= proxy.patience, "{:?}", begun.elapsed());
    let begun = Instant::now();
    proxy.list().await.unwrap_err();
    assert!(begun.elapsed() < proxy.patience, "{:?}", begun.elapsed());
}

#[test]
fn paths_are_escaped_segment_by_segment() {
    let check = |spec: &str, expected: &str| {
        assert_eq!(
            path_of(&RouteSpec::parse(spec).unwrap()),
            expected,
            "{spec}"
        );
    };
    check("/", "/");
    check("/user/a@b.cz/", "/user/a@b.cz");
    check("/user/a b/ü~/", "/user/a%20b/%C3%BC~");
    check("hub.example.org/", "/hub.example.org");
    check("hub.example.org/user/ada/", "/hub.example.org/user/ada");
}
