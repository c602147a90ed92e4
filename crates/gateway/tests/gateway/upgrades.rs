//! WebSockets and other protocols that begin with an upgrade.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::peer::{AnyStream, Peer, dead, tcp};
use crate::support::{TestGateway, read_to_end, read_until, request, soon};

/// Echoes messages until the client closes.
pub(crate) async fn echo(stream: AnyStream) {
    let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}

pub(crate) async fn echo_peer() -> Peer {
    Peer::raw(|stream, _| echo(stream)).await
}

pub(crate) async fn websocket(gateway: &TestGateway, path: &str) -> WebSocketStream<TcpStream> {
    let request = format!("ws://127.0.0.1:{}{path}", gateway.port());
    let request = request.into_client_request().unwrap();
    let stream = gateway.connect().await;
    let (socket, _) = soon(tokio_tungstenite::client_async(request, stream))
        .await
        .unwrap();
    socket
}

pub(crate) async fn round_trip(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    soon(socket.send(message.clone())).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass_to_tcp_upstreams() {
    let peer = echo_peer().await;
    let gateway = TestGateway::to(&peer).await;
    let mut socket = websocket(&gateway, "/user/ada/api/kernels/1/channels?session_id=2").await;
    for size in [0, 1, 100, 65_536, 3_000_000] {
        round_trip(&mut socket, Message::binary(vec![7; size])).await;
    }
    soon(socket.close(None)).await.unwrap();
    while let Some(message) = soon(socket.next()).await {
        assert!(message.unwrap().is_close());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass_to_unix_upstreams() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::raw_unix(&folder.path().join("ws.sock"), |stream, _| echo(stream));
    let gateway = TestGateway::to(&peer).await;
    let mut socket = websocket(&gateway, "/user/ada/ws").await;
    round_trip(&mut socket, Message::text("hello")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_stays_open_over_a_thousand_changes_of_routes() {
    let peer = echo_peer().await;
    let gateway = TestGateway::to(&peer).await;
    let mut socket = websocket(&gateway, "/user/ada/ws").await;
    for number in 0..1000 {
        gateway.route(&format!("/user/u{number}/"), &tcp(1)).await;
        gateway.route("/user/ada/", &tcp(number % 2 + 1)).await;
        if number % 100 == 0 {
            round_trip(&mut socket, Message::text(number.to_string())).await;
        }
    }
    round_trip(&mut socket, Message::text("still here")).await;
    assert_eq!(peer.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_websockets_talk_at_once() {
    let peer = echo_peer().await;
    let gateway = TestGateway::to(&peer).await;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(websocket(&gateway, "/user/ada/ws").await);
    }
    for round in 0..10 {
        let talks = sockets
            .iter_mut()
            .map(|socket| round_trip(socket, Message::text(round.to_string())));
        futures_util::future::join_all(talks).await;
    }
}

const UPGRADE: &str = "GET /user/ada/x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: lines/1\r\nX-Forwarded-Proto: wss\r\n\r\n";

/// Speaks a protocol of lines after the upgrade, beginning at once.
async fn lines(mut stream: AnyStream) {
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("connection: Upgrade\r\n"), "{head}");
    assert!(head.contains("upgrade: lines/1\r\n"), "{head}");
    assert!(head.contains("x-forwarded-proto: ws\r\n"), "{head}");
    assert!(!head.contains("x-forwarded-host"), "{head}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines/1\r\n\r\nwelcome\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    let line = read_until(&mut stream, "\n").await;
    stream
        .write_all(line.to_uppercase().as_bytes())
        .await
        .unwrap();
    // The client has ended its side; ours goes on.
    assert_eq!(read_to_end(&mut stream).await, "");
    stream.write_all(b"good bye\n").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_pass_from_the_first_byte_to_the_last() {
    let peer = Peer::raw(|stream, _| lines(stream)).await;
    let gateway = TestGateway::to(&peer).await;
    let mut stream = gateway.connect().await;
    // The first line comes with the request, before the answer, and is no HTTP at all.
    stream
        .write_all(format!("{UPGRADE}bare\n").as_bytes())
        .await
        .unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("upgrade: lines/1\r\n"), "{head}");
    assert_eq!(read_until(&mut stream, "\n").await, "welcome\n");
    assert_eq!(read_until(&mut stream, "\n").await, "BARE\n");
    stream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "good bye\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_an_ordinary_answer() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway.raw(UPGRADE).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(
        answer.contains("connection: close") && answer.ends_with("\r\n\r\nno"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_to_a_dead_upstream_gets_a_bare_503() {
    let gateway = TestGateway::start();
    gateway.route("/user/ada/", &dead().await).await;
    let answer = gateway.raw(UPGRADE).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    assert_eq!(*gateway.failed.0.lock().unwrap(), ["/user/ada/"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_in_clear_text_is_not_tunnelled() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway
        .raw(
            "GET /user/ada/ HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        !answer.contains("upgrade") && !answer.contains("http2-settings"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_nobody_asked_for_is_an_error() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway
        .client()
        .await
        .ask(request("GET", "/user/ada/", ""))
        .await;
    assert_eq!(answer.status, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_upstream_ends_the_client_is_told() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nbye";
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway.raw(UPGRADE).await;
    assert!(answer.ends_with("\r\n\r\nbye"), "{answer}");
}
