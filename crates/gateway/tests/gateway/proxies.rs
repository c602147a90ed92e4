//! Load balancers that name the client by the PROXY protocol.

use http::{Request, Response};
use lyceum_gateway::{Body, ClientInfo};
use tokio::io::AsyncWriteExt as _;

use crate::support::{Setup, TestGateway, millis, read_to_end, read_until, soon};

const REQUEST: &str = "GET /hub/ HTTP/1.1\r\nhost: h\r\nx-forwarded-for: 10.9.9.9\r\n\r\n";

/// A gateway that tells who asks; connections from these must begin with a header.
fn from(proxies: &[&str]) -> Setup {
    Setup::default()
        .config(|config| {
            config.proxy_protocol_from = proxies.iter().map(|one| one.parse().unwrap()).collect();
        })
        .hub(|request: Request<Body>| async move {
            let client = request.extensions().get::<ClientInfo>().unwrap();
            let forwarded = request.headers()["x-forwarded-for"].to_str().unwrap();
            let told = client.addr.map(|addr| addr.to_string());
            Response::new(format!("{} {forwarded}|", told.unwrap_or_default()).into())
        })
}

/// Sends a header and a request at once, and gives what the hub was told.
async fn told(gateway: &TestGateway, header: &[u8]) -> String {
    let mut stream = gateway.connect().await;
    let bytes = [header, REQUEST.as_bytes()].concat();
    stream.write_all(&bytes).await.unwrap();
    let answer = read_until(&mut stream, "|").await;
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        block,
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_that_a_load_balancer_names_is_the_one_that_asks() {
    let gateway = from(&["127.0.0.0/8"]).start();
    let text = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
    assert_eq!(told(&gateway, text).await, "203.0.113.9 203.0.113.9|");
    let text = b"PROXY TCP6 2001:db8::9 2001:db8::1 51234 443\r\n";
    assert_eq!(told(&gateway, text).await, "2001:db8::9 2001:db8::9|");
    let v4 = binary(0x21, 0x11, &[203, 0, 113, 9, 192, 0, 2, 1, 200, 34, 1, 187]);
    assert_eq!(told(&gateway, &v4).await, "203.0.113.9 203.0.113.9|");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_speaks_for_itself_is_the_one_that_asks() {
    let gateway = from(&["127.0.0.1"]).start();
    let own = binary(0x20, 0, &[]);
    assert_eq!(told(&gateway, &own).await, "127.0.0.1 127.0.0.1|");
    let unknown = b"PROXY UNKNOWN\r\n";
    assert_eq!(told(&gateway, unknown).await, "127.0.0.1 127.0.0.1|");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_named_client_claims_is_believed_if_it_is_a_trusted_proxy_itself() {
    let gateway = from(&["127.0.0.1"])
        .config(|config| config.trusted_proxies = vec!["203.0.113.0/24".parse().unwrap()])
        .start();
    let trusted = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
    assert_eq!(
        told(&gateway, trusted).await,
        "10.9.9.9 10.9.9.9,203.0.113.9|"
    );
    let stranger = b"PROXY TCP4 198.51.100.7 192.0.2.1 51234 443\r\n";
    assert_eq!(told(&gateway, stranger).await, "198.51.100.7 198.51.100.7|");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_come_byte_by_byte() {
    let gateway = from(&["127.0.0.1"]).start();
    let mut stream = gateway.connect().await;
    stream.set_nodelay(true).unwrap();
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
    for byte in [header, REQUEST.as_bytes()].concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = read_until(&mut stream, "|").await;
    assert!(answer.ends_with("203.0.113.9 203.0.113.9|"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_peer_without_a_header_gets_no_answer() {
    let gateway = from(&["127.0.0.1"]).start();
    for bytes in [
        REQUEST.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03and 32 bytes at random",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\nGET / HTTP/1.1\r\n\r\n",
    ] {
        assert_eq!(gateway.raw(bytes).await, "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_does_not_come_is_not_waited_for_without_end() {
    let gateway = from(&["127.0.0.1"])
        .config(|config| config.header_timeout = millis(100))
        .start();
    let mut stream = gateway.connect().await;
    stream.write_all(b"PROXY TCP4 ").await.unwrap();
    assert_eq!(soon(read_to_end(&mut stream)).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_others_a_header_is_no_request() {
    let gateway = from(&["192.0.2.1", "unix"]).start();
    let header = "PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
    let answer = gateway.raw(format!("{header}{REQUEST}")).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(told(&gateway, b"").await, "127.0.0.1 127.0.0.1|");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_behind_a_load_balancer_has_the_share_of_one() {
    let gateway = from(&["127.0.0.1"])
        .config(|config| config.max_connections_per_address = 1)
        .start();
    let header = b"PROXY TCP4 203.0.113.9 192.0.2.1 51234 443\r\n";
    let mut first = gateway.connect().await;
    first
        .write_all(&[header, REQUEST.as_bytes()].concat())
        .await
        .unwrap();
    read_until(&mut first, "|").await;
    let second = gateway.raw([header, REQUEST.as_bytes()].concat()).await;
    assert!(!second.contains("203.0.113.9"), "{second}");
    let other = b"PROXY TCP4 203.0.113.10 192.0.2.1 51234 443\r\n";
    assert_eq!(told(&gateway, other).await, "203.0.113.10 203.0.113.10|");
}
