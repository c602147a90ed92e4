//! When a route was last used, by configurable-http-proxy's rule.

use futures_util::SinkExt as _;
use http::Response;
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;

use crate::peer::Peer;
use crate::support::{TestGateway, full, read_until, request, until};
use crate::upgrades::{echo_peer, round_trip, websocket};

const SPEC: &str = "/user/ada/";

#[tokio::test(flavor = "multi_thread")]
async fn successful_answers_count_when_they_end() {
    let peer = Peer::http(|request| async move {
        let status: u16 = request.uri().query().unwrap().parse().unwrap();
        let _ = request.into_body().collect().await;
        Response::builder().status(status).body(full("x")).unwrap()
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    assert_eq!(gateway.last_activity(SPEC).await, None);
    for (second, status, expected) in [
        (10, 404, None),
        (20, 302, None),
        (30, 200, Some(30)),
        (40, 500, Some(30)),
        (50, 204, Some(50)),
    ] {
        gateway.clock.set(second);
        client.get(&format!("/user/ada/?{status}")).await;
        assert_eq!(gateway.last_activity(SPEC).await, expected, "{status}");
    }
    gateway.clock.set(60);
    client.ask(request("HEAD", "/user/ada/?200", "")).await;
    assert_eq!(gateway.last_activity(SPEC).await, Some(60));
    // Data in a request count, whatever the answer.
    gateway.clock.set(70);
    client.ask(request("POST", "/user/ada/?403", "data")).await;
    assert_eq!(gateway.last_activity(SPEC).await, Some(70));
    gateway.clock.set(80);
    client.get("/hub/").await;
    assert_eq!(gateway.last_activity(SPEC).await, Some(70));
    // None of this was a person's doing, as far as anybody can tell.
    assert_eq!(gateway.last_action(SPEC), None);
    for (second, method, path, expected) in [
        (90, "POST", "/user/ada/api/sessions?201", Some(90)),
        (
            100,
            "PUT",
            "/user/ada/lab/api/workspaces/default?204",
            Some(90),
        ),
        (110, "PUT", "/user/ada/api/contents/a.ipynb?200", Some(90)),
        (120, "POST", "/user/ada/api/sessions?403", Some(90)),
        (130, "GET", "/user/ada/api/kernels?200", Some(90)),
        (140, "DELETE", "/user/ada/api/kernels/1?204", Some(140)),
    ] {
        gateway.clock.set(second);
        client.ask(request(method, path, "")).await;
        assert_eq!(gateway.last_action(SPEC), expected, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_from_a_websockets_client_count_and_the_servers_do_not() {
    let peer = echo_peer().await;
    let gateway = TestGateway::to(&peer).await;
    gateway.clock.set(10);
    let mut socket = websocket(&gateway, "/user/ada/ws").await;
    assert_eq!(
        gateway.last_activity(SPEC).await,
        None,
        "opening is not activity"
    );
    gateway.clock.set(20);
    assert_eq!(gateway.last_action(SPEC), None);
    round_trip(&mut socket, Message::text("x")).await;
    assert_eq!(gateway.last_activity(SPEC).await, Some(20));
    assert_eq!(gateway.last_action(SPEC), Some(20));
    // A replaced route keeps its time, and the open socket still counts for it.
    gateway.route(SPEC, &crate::peer::tcp(1)).await;
    gateway.clock.set(30);
    socket.send(Message::Ping(Vec::new().into())).await.unwrap();
    until("a ping counts", async || {
        gateway.last_activity(SPEC).await == Some(30)
    })
    .await;
    assert_eq!(
        gateway.last_action(SPEC),
        Some(20),
        "browsers answer pings by themselves"
    );

    let talker = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\ntalk";
        stream.write_all(answer.as_bytes()).await.unwrap();
        read_until(&mut stream, "never").await;
    })
    .await;
    gateway.route("/user/bob/", &talker.target).await;
    let mut stream = gateway.connect().await;
    let ask = "GET /user/bob/ HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut stream, "talk").await;
    assert_eq!(gateway.last_activity("/user/bob/").await, None);
    drop(stream);
}
