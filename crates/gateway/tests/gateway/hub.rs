//! The hub in process: what it is told, what it may stream, and that its troubles are its own.

use std::sync::{Arc, Mutex, mpsc as blocking};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use lyceum_gateway::{Body, ClientInfo, RequestId};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::{self, Peer};
use crate::support::{Setup, TestGateway, read_to_end, read_until, request, soon, until};
use crate::upgrades::{echo_peer, round_trip, websocket};

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_gets_what_no_route_covers_and_knows_the_client() {
    let gateway = Setup::default()
        .config(|config| config.trusted_proxies = vec!["127.0.0.1".parse().unwrap()])
        .hub(|request: Request<Body>| async move {
            let client = request.extensions().get::<ClientInfo>().unwrap().clone();
            let addr = client.addr.unwrap();
            let uri = request.uri().clone();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let text = format!("{uri} {addr} {} {} {body:?}", client.scheme, client.host);
            Response::new(Body::from(text))
        })
        .start();
    gateway.route("/user/ada/", &peer::dead().await).await;
    let mut sent = request("POST", "/user/bob/lab?x=%2F", "form");
    let headers = sent.headers_mut();
    headers.insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
    headers.insert("x-forwarded-proto", "https".parse().unwrap());
    let answer = gateway.client().await.ask(sent).await;
    assert_eq!(
        answer.text(),
        "/user/bob/lab?x=%2F 203.0.113.9 https hub.example:8000 b\"form\""
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hub_streams_both_ways() {
    let gateway = Setup::default()
        .hub(|request: Request<Body>| async move {
            // The answer is the request, piece by piece.
            Response::new(Body::new(request.into_body()))
        })
        .start();
    let (feed, pieces) = mpsc::channel(1);
    let frames = ReceiverStream::new(pieces).map(|text: &str| Ok(Frame::data(Bytes::from(text))));
    let sent = Request::post("/hub/echo")
        .header("host", "h")
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap();
    let mut client = gateway.client().await;
    let mut response = client.send(sent).await;
    for piece in ["one", "two", "three"] {
        feed.send(piece).await.unwrap();
        let frame = soon(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(feed);
    assert!(soon(response.body_mut().frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_hub_is_an_answer_with_status_500() {
    let gateway = Setup::default()
        .hub(|request: Request<Body>| async move {
            assert!(request.uri().path() != "/hub/panic", "as the test wants it");
            Response::new(Body::from("well"))
        })
        .start();
    let mut client = gateway.client().await;
    let answer = client.get("/hub/panic").await;
    assert_eq!((answer.status, answer.text()), (500, "page HubFailed None"));
    assert_eq!(client.get("/hub/home").await.text(), "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_the_middle_of_an_answer_does_not_look_like_its_end() {
    let (go_on, wait) = tokio::sync::watch::channel(false);
    let gateway = Setup::default()
        .hub(move |_| {
            let wait = wait.clone();
            async move {
                let pieces = futures_util::stream::unfold(0, move |number| {
                    let mut wait = wait.clone();
                    async move {
                        if number > 0 {
                            wait.wait_for(|go_on| *go_on).await.unwrap();
                            panic!("as the test wants it");
                        }
                        let frame = Frame::data(Bytes::from("part"));
                        Some((Ok::<_, std::io::Error>(frame), number + 1))
                    }
                });
                Response::new(Body::new(StreamBody::new(pieces)))
            }
        })
        .start();
    let mut stream = gateway.connect().await;
    let ask = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, ask)
        .await
        .unwrap();
    read_until(&mut stream, "part\r\n").await;
    go_on.send(true).unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_its_call() {
    struct OnDrop(mpsc::UnboundedSender<()>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (told, mut dropped) = mpsc::unbounded_channel();
    let (began, mut begun) = mpsc::unbounded_channel();
    let gateway = Setup::default()
        .hub(move |request: Request<Body>| {
            let guard = OnDrop(told.clone());
            began.send(()).unwrap();
            async move {
                if request.uri().path() == "/hub/wait" {
                    std::future::pending::<()>().await;
                }
                let endless = futures_util::stream::pending().map(move |()| {
                    let _kept = &guard;
                    Ok::<_, std::io::Error>(Frame::data(Bytes::new()))
                });
                Response::new(Body::new(StreamBody::new(endless)))
            }
        })
        .start();
    for path in ["/hub/wait", "/hub/events"] {
        let mut stream = gateway.connect().await;
        let text = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes())
            .await
            .unwrap();
        soon(begun.recv()).await.unwrap();
        drop(stream);
        soon(dropped.recv()).await.unwrap();
    }
}

/// A hub that blocks its only thread does not delay WebSockets, other servers, or the way out.
#[test]
fn a_blocked_hub_blocks_nobody_else() {
    let hub_runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (release, held) = blocking::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (began, begun) = blocking::channel();
    let test = async {
        let peer = echo_peer().await;
        let gateway = Setup::default()
            .config(|config| config.threads = 1)
            .hub_runtime(hub_runtime.handle().clone())
            .hub(move |_| {
                let held = Arc::clone(&held);
                let began = began.clone();
                async move {
                    began.send(()).unwrap();
                    let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(30));
                    Response::new(Body::from("at last"))
                }
            })
            .start();
        gateway.route("/user/ada/", &peer.target).await;
        let mut socket = websocket(&gateway, "/user/ada/ws").await;
        let mut client = gateway.client().await;
        let asking = client.get("/hub/home");
        let talking = async {
            until("the hub is blocked", async || begun.try_recv().is_ok()).await;
            for number in 0..50 {
                round_trip(&mut socket, Message::text(number.to_string())).await;
            }
            assert_eq!(gateway.get("/_chp_healthz").await.status, 200);
            // The page of a dead server cannot be rendered now; the plain one is sent in its place.
            gateway.route("/user/bob/", &peer::dead().await).await;
            let page = gateway.get("/user/bob/lab").await;
            assert_eq!(page.status, 503);
            assert!(page.text().contains("does not answer"), "{}", page.text());
            release.send(()).unwrap();
        };
        let (answer, ()) = tokio::join!(asking, talking);
        assert_eq!(answer.text(), "at last");
    };
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
    hub_runtime.shutdown_background();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_has_ended_is_an_answer_with_status_503() {
    let hub_runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let gateway = Setup::default()
        .hub_runtime(hub_runtime.handle().clone())
        .start();
    assert_eq!(gateway.get("/hub/").await.status, 200);
    hub_runtime.shutdown_background();
    assert_eq!(gateway.get("/hub/").await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_own_headers_arrive() {
    let gateway = Setup::default()
        .hub(|_| async {
            Response::builder()
                .status(302)
                .header("location", "/hub/login")
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .body(Body::empty())
                .unwrap()
        })
        .start();
    let answer = TestGateway::get(&gateway, "/").await;
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, "/hub/login")
    );
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert_eq!(answer.header("content-length"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_one_id_for_all_and_a_clients_own_is_not_believed() {
    let gateway = Setup::default()
        .hub(|request| async move {
            assert!(request.uri().path() != "/hub/panic", "as the test wants it");
            let id = request.extensions().get::<RequestId>().unwrap().to_string();
            assert_eq!(request.headers()["x-request-id"], id);
            Response::new(Body::from(id))
        })
        .start();
    gateway.route("/user/ada/", &peer::dead().await).await;
    let echo = Peer::echo().await;
    gateway.route("/user/bob/", &echo.target).await;
    let mut client = gateway.client().await;
    let mut ask = async |path: &str| {
        let mut request = request("GET", path, "");
        let headers = request.headers_mut();
        headers.insert("x-request-id", "chosen".parse().unwrap());
        headers.insert("cookie", "lang=fr".parse().unwrap());
        client.ask(request).await
    };
    let to_hub = ask("/hub/").await;
    let again = ask("/hub/").await;
    assert_eq!(to_hub.text().len(), 16);
    assert_ne!(to_hub.text(), again.text());
    let upstream = ask("/user/bob/").await;
    assert!(upstream.text().contains("x-request-id: "));
    assert!(!upstream.text().contains("chosen"), "{}", upstream.text());
    for path in ["/user/ada/", "/hub/panic"] {
        let failed = ask(path).await;
        let id = failed.header("x-request-id");
        assert_eq!(id.len(), 16, "{path}");
        assert!(failed.text().contains(id), "{}", failed.text());
        assert!(failed.text().ends_with("lang=fr"), "{}", failed.text());
    }
}
