//! Clients that take places and give nothing: too many of them, halted uploads, answers that nobody reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use http_body_util::BodyExt as _;
use lyceum_gateway::Body;
use tokio::io::AsyncWriteExt as _;

use crate::peer::Peer;
use crate::support::{Setup, millis, read_to_end, read_until, soon, until};

const HEAD: &[u8] = b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_refused_and_places_given_back() {
    let gateway = Setup::default()
        .config(|config| config.max_connections = 2)
        .start();
    let mut first = gateway.client().await;
    let mut second = gateway.client().await;
    assert_eq!(first.get("/hub/").await.status, 200);
    assert_eq!(second.get("/hub/").await.status, 200);
    let answer = read_to_end(&mut gateway.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(first.get("/hub/").await.status, 200);
    drop(second);
    until("there is a place again", async || {
        let answer = gateway.raw("GET /hub/ HTTP/1.0\r\n\r\n").await;
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_keeps_its_place() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // Silent for longer than any limit that is set below, and still there.
        tokio::time::sleep(Duration::from_millis(700)).await;
        stream.write_all(b"hello").await.unwrap();
        read_to_end(&mut stream).await;
    })
    .await;
    let gateway = Setup::default()
        .config(|config| {
            config.max_connections = 1;
            config.header_timeout = millis(200);
            config.idle_timeout = millis(200);
            config.body_timeout = millis(200);
            config.send_timeout = millis(200);
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut stream = gateway.connect().await;
    let head = b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    stream.write_all(head).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    let answer = read_to_end(&mut gateway.connect().await).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(read_until(&mut stream, "hello").await, "hello");
    drop(stream);
    until("there is a place again", async || {
        let answer = gateway.raw("GET /hub/ HTTP/1.0\r\n\r\n").await;
        answer.contains(" 200 ")
    })
    .await;
}

/// A gateway whose limit for halted uploads is short, and all others long.
fn short_body_timeout() -> Setup {
    Setup::default().config(|config| config.body_timeout = millis(300))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_halts_is_given_up() {
    let peer = Peer::echo().await;
    let gateway = short_body_timeout()
        .hub(|request| async move {
            match request.into_body().collect().await {
                Ok(_) => Response::new(Body::from("whole")),
                Err(_) => Response::new(Body::from("broken off")),
            }
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    for (path, framing, expected) in [
        ("/user/ada/", "Content-Length: 1000000000\r\n\r\n", " 408 "),
        (
            "/user/ada/",
            "Content-Length: 1000000000\r\n\r\nabc",
            " 408 ",
        ),
        (
            "/user/ada/",
            "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
            " 408 ",
        ),
        // A wish for another protocol lifts no limit.
        (
            "/user/ada/",
            "Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 9\r\n\r\n",
            " 408 ",
        ),
        ("/hub/", "Content-Length: 9\r\n\r\nabc", "broken off"),
    ] {
        let begun = Instant::now();
        let answer = gateway
            .raw(format!("POST {path} HTTP/1.1\r\nHost: h\r\n{framing}"))
            .await;
        assert!(answer.contains(expected), "{framing}: {answer}");
        assert!(begun.elapsed() >= Duration::from_millis(300));
    }
    assert!(gateway.failed.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_upload_may_take_longer_than_the_limit_and_so_may_its_reader() {
    let peer = Peer::http(|request| async move {
        // Nobody waits for the body meanwhile.
        tokio::time::sleep(Duration::from_millis(600)).await;
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(crate::support::full(body))
    })
    .await;
    let gateway = short_body_timeout().start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut stream = gateway.connect().await;
    let head =
        b"POST /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";
    stream.write_all(head).await.unwrap();
    for byte in b"abcdefghijkl" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.ends_with("abcdefghijkl"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_takes_is_given_up() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let peer = Peer::raw(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let piece = vec![0; 64 * 1024];
            while stream.write_all(&piece).await.is_ok() {}
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let gateway = Setup::default()
        .config(|config| config.send_timeout = millis(300))
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut stream = gateway.connect().await;
    stream.write_all(HEAD).await.unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    until("the upstream's side is closed too", async || {
        ended.load(Ordering::SeqCst) == 1
    })
    .await;
    // What the system had taken already comes, and then the end.
    soon(read_to_end(&mut stream)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_answer_is_not_given_up() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
        stream.write_all(head).await.unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
        stream.write_all(b"data: late\n\n").await.unwrap();
    })
    .await;
    let gateway = Setup::default()
        .config(|config| {
            config.header_timeout = millis(200);
            config.idle_timeout = millis(200);
            config.body_timeout = millis(200);
            config.send_timeout = millis(200);
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut stream = gateway.connect().await;
    stream.write_all(HEAD).await.unwrap();
    read_until(&mut stream, "data: late\n\n").await;
}
