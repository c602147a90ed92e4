//! The end: what is running may finish, what is idle goes at once, and nothing stays.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::Peer;
use crate::support::{Setup, TestGateway, millis, read_to_end, read_until, soon, until};
use crate::upgrades::{echo_peer, round_trip, websocket};

#[tokio::test(flavor = "multi_thread")]
async fn running_requests_are_finished_and_idle_connections_closed() {
    let (release, held) = tokio::sync::watch::channel(false);
    let peer = Peer::raw(move |mut stream, _| {
        let mut held = held.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            held.wait_for(|released| *released).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
                .await
                .unwrap();
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut idle = gateway.connect().await;
    idle.write_all(b"GET /hub/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "hub").await;
    let mut running = gateway.connect().await;
    running
        .write_all(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    until("the upstream works", async || peer.connections() == 1).await;

    gateway.shutdown.cancel();
    assert_eq!(
        read_to_end(&mut idle).await,
        "",
        "the idle connection is closed"
    );
    let port = gateway.port();
    until("nobody listens", async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
    assert!(!gateway.serving.is_finished());
    release.send(true).unwrap();
    let answer = read_to_end(&mut running).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"),
        "{answer}"
    );
    soon(gateway.serving).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_stay_until_the_limit_and_are_cut_off_then() {
    let peer = echo_peer().await;
    let gateway = Setup::default()
        .config(|config| config.drain_timeout = millis(600))
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut socket = websocket(&gateway, "/user/ada/ws").await;
    let begun = Instant::now();
    gateway.shutdown.cancel();
    let port = gateway.port();
    until("nobody listens", async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
    round_trip(&mut socket, Message::text("still here")).await;
    soon(gateway.serving).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(600));
    assert!(!matches!(soon(socket.next()).await, Some(Ok(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_connections_the_end_comes_at_once() {
    let gateway = TestGateway::start();
    gateway.get("/hub/").await;
    let begun = Instant::now();
    gateway.shutdown.cancel();
    soon(gateway.serving).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(3));
}
