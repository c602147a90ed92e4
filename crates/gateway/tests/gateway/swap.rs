//! New certificates while people work: nothing is dropped.

use futures_util::{SinkExt as _, StreamExt as _};
use lyceum_certs::LiveCertificates;
use rustls::HandshakeKind;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::authority::{Authority, TestClient, show, tls};
use crate::support::{Client, Setup, TestGateway, soon};
use crate::upgrades::echo_peer;

type Socket = WebSocketStream<TlsStream<TcpStream>>;

async fn open(client: &TestClient, gateway: &TestGateway) -> Socket {
    let request = "wss://hub.test/user/ada/ws".into_client_request().unwrap();
    let stream = client.connect(gateway, "hub.test").await;
    let opening = tokio_tungstenite::client_async(request, stream);
    soon(Box::pin(opening)).await.unwrap().0
}

async fn echo(sockets: &mut [Socket], text: &str) {
    for socket in &mut *sockets {
        soon(socket.send(Message::text(text.to_owned())))
            .await
            .unwrap();
    }
    for socket in sockets {
        let answer = soon(socket.next()).await.unwrap().unwrap();
        assert_eq!(answer, Message::text(text.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_websockets_outlive_their_certificate() {
    const OPEN: usize = 200;
    let authority = Authority::new();
    let live = LiveCertificates::default();
    show(&live, "hub", &["hub.test"], &authority.issue(&["hub.test"]));
    let gateway = Setup::default().tls_listener(tls(&live)).start();
    let peer = echo_peer().await;
    gateway.route("/user/ada/", &peer.target).await;
    let mut sockets = Vec::with_capacity(OPEN);
    for _ in 0..OPEN {
        sockets.push(open(&authority.client(None), &gateway).await);
    }
    let returning = authority.client(None);
    let stream = returning.connect(&gateway, "hub.test").await;
    Client::new(stream).await.get("/hub/").await;
    for round in 0..20 {
        let issued = authority.issue(&["hub.test"]);
        show(&live, "hub", &["hub.test"], &issued);
        echo(&mut sockets, &format!("round {round}")).await;
        let newcomer = authority.client(None);
        let stream = newcomer.connect(&gateway, "hub.test").await;
        let session = stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.peer_certificates().unwrap()[0].to_vec(), issued.der);
        assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
        let stream = returning.connect(&gateway, "hub.test").await;
        let kind = stream.get_ref().1.handshake_kind();
        assert_eq!(kind, Some(HandshakeKind::Resumed));
        assert_eq!(Client::new(stream).await.get("/hub/").await.text(), "hub");
    }
    assert_eq!(peer.connections(), OPEN);
}
