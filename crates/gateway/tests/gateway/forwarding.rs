//! Requests to upstreams: connections, headers, paths, and what happens when an upstream fails.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use lyceum_core::Upstream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::peer::{Peer, dead};
use crate::support::{
    Client, Setup, TestGateway, full, read_to_end, read_until, request, soon, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    for number in 0..20 {
        let answer = client.get(&format!("/user/ada/{number}")).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_close_is_not_the_upstreams() {
    let peer = Peer::echo().await;
    let gateway = Setup::default().config(|config| config.threads = 1).start();
    gateway.route("/user/ada/", &peer.target).await;
    for _ in 0..5 {
        let answer = gateway
            .raw("GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(
            !answer.contains("\nconnection: close\n"),
            "sent upstream: {answer}"
        );
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn path_query_and_body_arrive_as_they_were_sent() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    for (asked, arrived) in [
        (
            "/user/ada/a%2Fb%20c?x=%41&y=a+b//",
            "/user/ada/a%2Fb%20c?x=%41&y=a+b//",
        ),
        ("/user%2Fada/lab", "/user%2Fada/lab"),
        ("/user/ada?x", "/user/ada?x"),
        (
            "/hub/../user/./ada/%2e%2e/ada/x?a/../b",
            "/user/ada/x?a/../b",
        ),
        ("/user/ada//x/", "/user/ada//x/"),
    ] {
        let answer = client.ask(request("POST", asked, "content")).await;
        let text = answer.text();
        assert!(
            text.starts_with(&format!("POST {arrived}\n")),
            "{asked}: {text}"
        );
        assert!(text.contains("\ncontent\n"), "{text}");
    }
    let escaped = client.get("/user/ada/../../hub/api").await;
    assert_eq!(escaped.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_between_neighbours_go_no_further() {
    let peer = Peer::http(|request| async move {
        let names: Vec<_> = request.headers().keys().map(ToString::to_string).collect();
        Response::builder()
            .header("connection", "keep-alive, x-private")
            .header("x-private", "1")
            .header("keep-alive", "timeout=5")
            .header("x-public", "1")
            .body(full(names.join(" ")))
            .unwrap()
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway
        .raw(
            "GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: close, X-Secret, Host, X-Forwarded-For\r\n\
             X-Secret: 1\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nTE: gzip\r\nCookie: a\r\n\r\n",
        )
        .await;
    let (head, names) = answer.split_once("\r\n\r\n").unwrap();
    let mut names: Vec<&str> = names.split(' ').collect();
    names.sort_unstable();
    let expected = "cookie host x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto \
                    x-request-id";
    assert_eq!(names.join(" "), expected);
    assert!(head.contains("x-public: 1"), "{head}");
    assert!(
        !head.contains("x-private") && !head.contains("keep-alive"),
        "{head}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_headers_are_believed_from_trusted_proxies_only() {
    let peer = Peer::echo().await;
    let ask = |trusted: &'static str| {
        let target = peer.target.clone();
        async move {
            let gateway = Setup::default()
                .config(|config| {
                    config.trusted_proxies = trusted
                        .split_terminator(' ')
                        .map(|n| n.parse().unwrap())
                        .collect();
                })
                .start();
            gateway.route("/user/ada/", &target).await;
            gateway
                .raw(
                    "GET /user/ada/ HTTP/1.1\r\nHost: hub.example\r\nConnection: close\r\n\
                     X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\
                     Remote-User: admin\r\nForwarded: for=1.2.3.4\r\n\r\n",
                )
                .await
        }
    };
    let stranger = ask("").await;
    assert!(
        stranger.contains("x-forwarded-for: 127.0.0.1\n"),
        "{stranger}"
    );
    assert!(stranger.contains("x-forwarded-proto: http\n"), "{stranger}");
    assert!(stranger.contains("x-forwarded-port: 80\n"), "{stranger}");
    assert!(
        stranger.contains("x-forwarded-host: hub.example\n"),
        "{stranger}"
    );
    assert!(
        !stranger.contains("remote-user") && !stranger.contains("\nforwarded"),
        "{stranger}"
    );
    let proxy = ask("127.0.0.0/8").await;
    assert!(
        proxy.contains("x-forwarded-for: 203.0.113.9,127.0.0.1\n"),
        "{proxy}"
    );
    assert!(proxy.contains("x-forwarded-proto: https,http\n"), "{proxy}");
    assert!(proxy.contains("remote-user: admin\n"), "{proxy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_are_served() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        stream.write_all(chunked.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway.raw("GET /user/ada/ HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nabc"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_length_and_no_body() {
    let peer = Peer::http(|_| async { Response::new(full("0123456789")) }).await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        let answer = client.ask(request("HEAD", "/user/ada/", "")).await;
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (200, "10")
        );
        assert!(answer.body.is_empty());
    }
    assert_eq!(peer.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unix_sockets_work_on_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::raw_unix(&folder.path().join("up.sock"), |mut stream, _| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(!head.contains("x-forwarded-for"), "{head}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
    });
    let listen = format!("unix:{}", folder.path().join("in.sock").display());
    let gateway = Setup::default()
        .config(|config| config.listen = vec![listen.parse().unwrap()])
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let stream = soon(UnixStream::connect(folder.path().join("in.sock")))
        .await
        .unwrap();
    let answer = Client::new(stream).await.get("/user/ada/x").await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_another_account_listens_at_gets_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("up.sock");
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = Arc::clone(&heard);
    let _peer = Peer::raw_unix(&path, move |mut stream, _| {
        let hears = Arc::clone(&hears);
        async move {
            // A connection that ends without a request is none.
            let mut byte = [0];
            if stream.read(&mut byte).await.is_ok_and(|read| read > 0) {
                hears.fetch_add(1, Ordering::SeqCst);
                read_until(&mut stream, "\r\n\r\n").await;
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer).await.unwrap();
            }
        }
    });
    let uid = std::fs::metadata(&path).unwrap().uid();
    let owned = |uid| Upstream::Owned {
        path: path.clone(),
        uid,
    };
    let gateway = TestGateway::start();
    gateway.route("/user/ada/", &owned(uid)).await;
    gateway.route("/user/bob/", &owned(uid + 1)).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/user/ada/x").await.status, 200);
    assert_eq!(client.get("/user/bob/x").await.status, 503);
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_at_which_another_account_listens_gets_no_request() {
    let peer = Peer::echo().await;
    let Upstream::Tcp { port, .. } = peer.target else {
        panic!("{:?}", peer.target);
    };
    let uid = std::fs::metadata("/proc/self").unwrap().uid();
    let owned = |uid| Upstream::OwnedTcp { port, uid };
    let gateway = TestGateway::start();
    gateway.route("/user/ada/", &owned(uid)).await;
    gateway.route("/user/bob/", &owned(uid + 1)).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/user/ada/x").await.status, 200);
    assert_eq!(client.get("/user/bob/x").await.status, 503);
    assert_eq!(client.get("/user/ada/y").await.status, 200);
    let last = client.get("/user/ada/z").await;
    let requests = last.text();
    assert!(!requests.contains("/user/bob/"), "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_upstream_gives_503_and_an_event() {
    let gateway = TestGateway::start();
    gateway.route("/user/ada/", &dead().await).await;
    let mut client = gateway.client().await;
    let page = client.get("/user/ada/lab").await;
    assert_eq!(page.status, 503);
    assert_eq!(page.text(), "page UpstreamUnreachable Some(\"/user/ada/\")");
    let api = client.get("/user/ada/api/kernels").await;
    assert_eq!(
        (api.status, api.header("content-type")),
        (503, "application/json")
    );
    assert!(api.text().starts_with(r#"{"message":""#) && api.text().contains(r#""status":503"#));
    assert_eq!(
        *gateway.failed.0.lock().unwrap(),
        ["/user/ada/", "/user/ada/"]
    );
    assert_eq!(
        client.get("/hub/").await.text(),
        "hub",
        "the connection is still good"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_dies_is_noticed_and_one_that_returns_is_used() {
    let mut peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/user/ada/").await.status, 200);
    peer.kill().await;
    assert_eq!(client.get("/user/ada/").await.status, 503);
    let again = Peer::echo().await;
    gateway.route("/user/ada/", &again.target).await;
    assert_eq!(client.get("/user/ada/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_from_an_upstream_gives_502() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"220 smtp ready\r\n\r\n").await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    assert_eq!(gateway.get("/user/ada/").await.status, 502);
}

/// An upstream that answers the first request of its first connection, and closes that connection only
/// when the second request has come, without an answer: a connection that went stale in the pool.
async fn stale(seen: Arc<AtomicUsize>) -> Peer {
    Peer::raw(move |mut stream, number| {
        let seen = Arc::clone(&seen);
        async move {
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            for request in 0.. {
                read_until(&mut stream, "\r\n\r\n").await;
                seen.fetch_add(1, Ordering::SeqCst);
                if number == 0 && request == 1 {
                    return;
                }
                stream.write_all(ok).await.unwrap();
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_stale_connection_is_repeated_once() {
    let seen = Arc::new(AtomicUsize::new(0));
    let peer = stale(Arc::clone(&seen)).await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    for _ in 0..3 {
        let answer = client.get("/user/ada/").await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }
    assert_eq!(seen.load(Ordering::SeqCst), 4);
    assert_eq!(peer.connections(), 2);
    assert!(gateway.failed.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_changes_something_is_not_repeated() {
    let seen = Arc::new(AtomicUsize::new(0));
    let peer = stale(Arc::clone(&seen)).await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    assert_eq!(client.get("/user/ada/").await.status, 200);
    assert_eq!(
        client.ask(request("POST", "/user/ada/", "")).await.status,
        503
    );
    assert_eq!(seen.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_closes_after_each_answer_is_no_trouble() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    for _ in 0..200 {
        assert_eq!(client.get("/user/ada/").await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_request_ends_at_the_upstream_too() {
    let stage = Arc::new(AtomicUsize::new(0));
    let reached = Arc::clone(&stage);
    let peer = Peer::raw(move |mut stream, _| {
        let reached = Arc::clone(&reached);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            reached.store(1, Ordering::SeqCst);
            read_to_end(&mut stream).await;
            reached.store(2, Ordering::SeqCst);
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut stream = gateway.connect().await;
    let ask = b"GET /user/ada/slow HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let at = async |wanted| stage.load(Ordering::SeqCst) == wanted;
    until("the upstream has the request", async || at(1).await).await;
    drop(stream);
    until("the upstream is told", async || at(2).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_health_path_is_answered_by_the_gateway() {
    let answer = TestGateway::start().get("/_chp_healthz").await;
    assert_eq!((answer.status, answer.text()), (200, r#"{"status":"OK"}"#));
}
