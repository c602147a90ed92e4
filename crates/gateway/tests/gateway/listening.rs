//! Taking addresses, and saying well why that failed.

use std::os::unix::fs::PermissionsExt as _;

use lyceum_gateway::{BoundGateway, Gateway, GatewayConfig, GatewayError, ListenAddress};

use crate::support::{Client, Setup, TestGateway, soon};

fn config(listen: &str) -> GatewayConfig {
    GatewayConfig {
        listen: vec![listen.parse().unwrap()],
        ..GatewayConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_and_its_holder_named() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let error = Gateway::bind(config(&address)).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, GatewayError::InUse { .. }), "{text}");
    let expected = format!(
        "could not listen on {address}: it is in use by process {} (",
        std::process::id()
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(error.hint().unwrap().contains("another port"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let gateway = TestGateway::start();
    let address = format!("127.0.0.1:{}", gateway.port());
    assert!(matches!(
        Gateway::bind(config(&address)),
        Err(GatewayError::InUse { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_can_be_taken_again_right_after_the_end() {
    let gateway = TestGateway::start();
    let address = format!("127.0.0.1:{}", gateway.port());
    assert_eq!(gateway.get("/hub/").await.status, 200);
    gateway.shutdown.cancel();
    soon(gateway.serving).await.unwrap().unwrap();
    assert!(Gateway::bind(config(&address)).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_ours_are_refused() {
    let error = Gateway::bind(config("192.0.2.1:0")).unwrap_err();
    assert!(error.to_string().contains("192.0.2.1:0"));
    assert!(error.hint().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_addresses_are_served_at_once() {
    let gateway = Setup::default()
        .config(|config| {
            config.listen = ["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"]
                .map(|text| text.parse().unwrap())
                .to_vec();
        })
        .start();
    for address in &gateway.addresses {
        let stream = soon(tokio::net::TcpStream::connect(address.to_string()))
            .await
            .unwrap();
        assert_eq!(Client::new(stream).await.get("/hub/").await.status, 200);
    }
}

/// Binds a port on these addresses that is free on all of them.
fn bind_one_port(addresses: [&str; 2]) -> (u16, BoundGateway) {
    // Another program may take the port in between.
    for _ in 0..20 {
        let free = std::net::TcpListener::bind("[::]:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let bound = Gateway::bind(GatewayConfig {
            listen: addresses
                .map(|address| format!("{address}:{port}").parse().unwrap())
                .to_vec(),
            threads: 2,
            ..GatewayConfig::default()
        });
        if let Ok(bound) = bound {
            return (port, bound);
        }
    }
    panic!("no port is free on {addresses:?}");
}

fn can_connect(address: &str, port: u16) -> bool {
    std::net::TcpStream::connect(format!("{address}:{port}")).is_ok()
}

#[test]
fn every_address_of_both_families_can_be_listed_with_one_port() {
    for addresses in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        let (port, bound) = bind_one_port(addresses);
        let listed = bound.local_addrs().to_vec();
        assert_eq!(
            listed.iter().map(ToString::to_string).collect::<Vec<_>>(),
            addresses.map(|address| format!("{address}:{port}"))
        );
    }
}

#[test]
fn every_ipv6_address_is_every_address_unless_an_ipv4_address_is_listed() {
    let gateway = Gateway::bind(config("[::]:0")).unwrap();
    let ListenAddress::Tcp(address) = &gateway.local_addrs()[0] else {
        panic!("{:?}", gateway.local_addrs());
    };
    assert!(can_connect("[::1]", address.port()));
    assert!(can_connect("127.0.0.1", address.port()));

    let (port, _gateway) = bind_one_port(["127.0.0.2", "[::]"]);
    assert!(can_connect("[::1]", port));
    assert!(can_connect("127.0.0.2", port));
    assert!(!can_connect("127.0.0.1", port), "it was not asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_left_over_socket_is_replaced_and_anything_else_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let listen = format!("unix:{}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let gateway = Setup::default()
        .config(|config| config.listen = vec![listen.parse().unwrap()])
        .start();
    assert!(matches!(
        Gateway::bind(config(&listen)),
        Err(GatewayError::InUse { .. })
    ));
    gateway.shutdown.cancel();
    soon(gateway.serving).await.unwrap().unwrap();
    assert!(!path.exists(), "the socket is removed at the end");
    std::fs::write(&path, "precious").unwrap();
    assert!(matches!(
        Gateway::bind(config(&listen)),
        Err(GatewayError::NotASocket(_))
    ));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_cannot_be_asked_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    // Alive, but of a kind that takes no connections: as little can be found out as without the right to.
    let _other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let error = Gateway::bind(config(&format!("unix:{}", path.display()))).unwrap_err();
    assert!(matches!(error, GatewayError::Bind { .. }), "{error}");
    assert!(path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sockets_file_is_for_owner_and_group_and_a_successors_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sock");
    let listen = format!("unix:{}", path.display());
    let first = Gateway::bind(config(&listen)).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    std::fs::remove_file(&path).unwrap();
    let second = Gateway::bind(config(&listen)).unwrap();
    drop(first);
    assert!(path.exists(), "the successor's socket stays");
    drop(second);
    assert!(!path.exists());
}
