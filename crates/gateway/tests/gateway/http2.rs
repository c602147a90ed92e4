//! HTTP/2 from clients: requests, bodies both ways, trailers, WebSockets (RFC 8441), and abuse.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lyceum_gateway::Body;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::peer::{Peer, dead};
use crate::support::{Answer, AnyBody, Setup, TestGateway, collect, full, read_until, soon, until};
use crate::upgrades::echo_peer;

/// A connection on which many requests can be open.
pub(crate) struct Client2 {
    sender: SendRequest<AnyBody>,
    _driver: JoinSet<()>,
}

impl Client2 {
    pub(crate) async fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) =
            soon(http2::handshake(TokioExecutor::new(), TokioIo::new(stream)))
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

    pub(crate) async fn ask(&mut self, request: Request<AnyBody>) -> Answer {
        soon(self.sender.ready()).await.unwrap();
        collect(soon(self.sender.send_request(request)).await.unwrap()).await
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask(request("GET", path, "")).await
    }
}

fn request(method: &str, path: &str, body: impl Into<Bytes>) -> Request<AnyBody> {
    Request::builder()
        .method(method)
        .uri(format!("http://hub.example:8000{path}"))
        .body(full(body))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_by_http2_reach_upstreams_and_hub_as_by_http1() {
    let peer = Peer::echo().await;
    let gateway = Setup::default()
        .hub(|request: Request<Body>| async move {
            let uri = request.uri().to_string();
            let host = request.headers()["host"].to_str().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Body::from(format!("hub {uri} {host} {body:?}")))
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut client = Client2::new(gateway.connect().await).await;
    let mut sent = request("POST", "/user/ada/a%2Fb?x=%41", "content");
    sent.headers_mut()
        .append("cookie", HeaderValue::from_static("a=1"));
    sent.headers_mut()
        .append("cookie", HeaderValue::from_static("b=2"));
    sent.headers_mut()
        .insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
    let answer = client.ask(sent).await;
    let text = answer.text();
    assert!(text.starts_with("POST /user/ada/a%2Fb?x=%41\n"), "{text}");
    for line in [
        "\nhost: hub.example:8000\n",
        "\ncookie: a=1; b=2\n",
        "\nx-forwarded-for: 127.0.0.1\n",
        "\nx-forwarded-port: 8000\n",
        "\ncontent-length: 7\n",
        "\ncontent\n",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    let answer = client.ask(request("POST", "/hub/login?x", "form")).await;
    assert_eq!(answer.text(), "hub /hub/login?x hub.example:8000 b\"form\"");
    let answer = client.get("/_chp_healthz").await;
    assert_eq!(answer.text(), r#"{"status":"OK"}"#);
    let answer = client.ask(request("HEAD", "/user/ada/", "")).await;
    assert!(answer.body.is_empty() && !answer.header("content-length").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_are_served_at_once() {
    let peer = Peer::http(|request| async move {
        let size: usize = request.uri().query().unwrap().parse().unwrap();
        Response::new(full(vec![7; size]))
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let client = Client2::new(gateway.connect().await).await;
    let asking = (0..60_usize).map(|number| {
        let mut sender = client.sender.clone();
        async move {
            let size = number * 5_000;
            sender.ready().await.unwrap();
            let path = format!("/user/ada/?{size}");
            let response = sender
                .send_request(request("GET", &path, ""))
                .await
                .unwrap();
            assert_eq!(collect(response).await.body.len(), size);
        }
    });
    soon(futures_util::future::join_all(asking)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_a_length_and_trailers_pass_both_ways() {
    let peer = Peer::http(|request| async move {
        assert_eq!(request.headers()["transfer-encoding"], "chunked");
        let collected = request.into_body().collect().await.unwrap();
        let sum = collected.trailers().unwrap()["x-sum"].clone();
        let frames = [
            Ok(Frame::data(collected.to_bytes())),
            Ok(Frame::trailers(HeaderMap::from_iter([(
                http::HeaderName::from_static("x-sum"),
                sum,
            )]))),
        ];
        Response::builder()
            .header("trailer", "x-sum")
            .body(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
            .unwrap()
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    let frames = [
        Ok(Frame::data(Bytes::from("one "))),
        Ok(Frame::data(Bytes::from("two"))),
        Ok(Frame::trailers(trailers)),
    ];
    let body = StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync();
    let sent = Request::post("http://h/user/ada/")
        .header("te", "trailers")
        .body(body)
        .unwrap();
    let answer = Client2::new(gateway.connect().await).await.ask(sent).await;
    assert_eq!(answer.text(), "one two");
    assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_resets_its_stream_and_no_other() {
    let peer = Peer::raw(|mut stream, _| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let answer = if head.contains("/broken") {
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
        } else {
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = Client2::new(gateway.connect().await).await;
    soon(client.sender.ready()).await.unwrap();
    let broken = client
        .sender
        .send_request(request("GET", "/user/ada/broken", ""));
    // The end may overtake the head.
    if let Ok(broken) = soon(broken).await {
        assert!(soon(broken.into_body().collect()).await.is_err());
    }
    assert_eq!(client.get("/user/ada/good").await.text(), "whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_pass_over_http2() {
    let peer = echo_peer().await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = Client2::new(gateway.connect().await).await;
    // The extension is known when the settings of the gateway have come.
    assert_eq!(client.get("/hub/").await.text(), "hub");
    let mut asked = request("CONNECT", "/user/ada/api/kernels/1/channels", "");
    asked
        .headers_mut()
        .insert("sec-websocket-version", HeaderValue::from_static("13"));
    asked
        .extensions_mut()
        .insert(hyper::ext::Protocol::from_static("websocket"));
    soon(client.sender.ready()).await.unwrap();
    let response = soon(client.sender.send_request(asked)).await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(!response.headers().contains_key("upgrade"));
    let upgraded = soon(hyper::upgrade::on(response)).await.unwrap();
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await;
    for size in [0, 1, 100, 65_536, 1_000_000] {
        let message = Message::binary(vec![7; size]);
        soon(socket.send(message.clone())).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap(), message);
    }
    // Others of the same connection go on.
    assert_eq!(client.get("/hub/").await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_connect_and_a_second_host_are_refused() {
    let gateway = TestGateway::start();
    let mut client = Client2::new(gateway.connect().await).await;
    let connect = Request::builder()
        .method(Method::CONNECT)
        .uri("other.example:25")
        .body(full(""))
        .unwrap();
    assert_eq!(client.ask(connect).await.status, 405);
    let mut two = request("GET", "/hub/", "");
    two.headers_mut()
        .insert("host", HeaderValue::from_static("evil.example"));
    assert_eq!(client.ask(two).await.status, 400);
    gateway.route("/user/ada/", &dead().await).await;
    assert_eq!(client.get("/user/ada/").await.status, 503);
    assert_eq!(client.get("/hub/").await.text(), "hub");
}

/// A frame: length, type, flags, stream.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `GET http://h/user/ada/slow`, without indexing.
fn get_head() -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x04, 14];
    block.extend(b"/user/ada/slow");
    block.extend([0x01, 1]);
    block.extend(b"h");
    block
}

/// Sends frames until the gateway closes the connection, and tells how many it took.
async fn flood(gateway: &TestGateway, mut next: impl FnMut(u32) -> Vec<u8>) -> u32 {
    let mut stream = gateway.connect().await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let reading = async {
        let mut scratch = vec![0; 65_536];
        while matches!(read.read(&mut scratch).await, Ok(count) if count > 0) {}
    };
    let mut sent = 0;
    let writing = async {
        for number in 0..200_000 {
            if write.write_all(&next(number)).await.is_err() {
                break;
            }
            sent = number;
        }
    };
    soon(async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    })
    .await;
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_resets_and_continuations_end_their_connection_only() {
    let peer = Peer::http(|_| async {
        std::future::pending::<()>().await;
        Response::new(full(""))
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut neighbour = Client2::new(gateway.connect().await).await;
    let resets = flood(&gateway, |number| {
        let stream = 2 * number + 1;
        let mut both = frame(1, 0b101, stream, &get_head());
        both.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        both
    })
    .await;
    assert!(resets < 100_000, "{resets} resets");
    let continuations = flood(&gateway, |number| match number {
        0 => frame(1, 0b1, 1, &get_head()),
        _ => frame(9, 0, 1, &[0x00, 1, b'a', 1, b'b']),
    })
    .await;
    assert!(continuations < 100_000, "{continuations} continuations");
    assert_eq!(neighbour.get("/hub/").await.text(), "hub");
    until("what was reset has ended upstream", async || {
        peer.connections() < 2_000
    })
    .await;
}

/// Asks for another protocol by HTTP/2, and gives the status.
async fn connect(client: &mut Client2, protocol: &'static str) -> u16 {
    let mut asked = request("CONNECT", "/user/ada/ws", "");
    asked
        .extensions_mut()
        .insert(hyper::ext::Protocol::from_static(protocol));
    soon(client.sender.ready()).await.unwrap();
    let response = soon(client.sender.send_request(asked)).await.unwrap();
    response.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_protocol_is_a_name_and_no_line_of_a_head() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = Client2::new(gateway.connect().await).await;
    assert_eq!(client.get("/hub/").await.text(), "hub");
    for bad in [
        "x\r\nX-Forwarded-User: admin\r\n\r\nDELETE /secret HTTP/1.1\r\nHost: h",
        "x y",
        "x\0",
        "",
    ] {
        assert_eq!(connect(&mut client, bad).await, 400, "{bad:?}");
    }
    assert_eq!(peer.connections(), 0);
    // HTTP/2 in HTTP/1.1 would reach past the routes.
    assert_eq!(connect(&mut client, "h2c").await, 501);
    // The upstream answers with 200, which by HTTP/2 would mean that the protocol has begun.
    assert_eq!(connect(&mut client, "websocket").await, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asks_for_nothing_is_ended() {
    let gateway = Setup::default()
        .config(|config| {
            config.header_timeout = crate::support::millis(200);
            config.idle_timeout = crate::support::millis(300);
            config.send_timeout = crate::support::millis(200);
        })
        .start();
    // The preface is begun and not ended.
    let mut silent = gateway.connect().await;
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let _ = soon(silent.read_to_end(&mut bytes)).await;
    // Nothing is asked for after the first request.
    let mut client = Client2::new(gateway.connect().await).await;
    assert_eq!(client.get("/hub/").await.text(), "hub");
    until("the idle connection is ended", async || {
        client.sender.is_closed()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_its_client_does_not_take_lets_the_upstream_go() {
    let (told, mut ended) = tokio::sync::mpsc::channel(1);
    let peer = Peer::raw(move |mut stream, _| {
        let told = told.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let piece = vec![0; 65_536];
            while stream.write_all(&piece).await.is_ok() {}
            told.send(()).await.unwrap();
        }
    })
    .await;
    let gateway = Setup::default()
        .config(|config| config.send_timeout = crate::support::millis(300))
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut client = Client2::new(gateway.connect().await).await;
    soon(client.sender.ready()).await.unwrap();
    let response = soon(client.sender.send_request(request("GET", "/user/ada/", ""))).await;
    // The head is taken, and nothing else.
    let _response = response.unwrap();
    soon(ended.recv()).await.unwrap();
    assert_eq!(client.get("/hub/").await.text(), "hub");
}
