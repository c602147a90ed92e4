//! Requests that are malformed, oversized, slow or endless.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::peer::Peer;
use crate::support::{Setup, TestGateway, millis, read_to_end, read_until, seconds, soon, until};

const HOST: &str = "Host: h\r\n";

/// Sends a request, and a second one after it, and expects one answer of the given status.
async fn check(gateway: &TestGateway, status: u16, bad: &str) {
    let sent = format!("{bad}GET /user/ada/smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
    let answer = gateway.raw(&sent).await;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}")),
        "{bad:?}: {answer:?}"
    );
    assert_eq!(
        answer.matches("HTTP/1.1 ").count(),
        1,
        "{bad:?}: {answer:?}"
    );
    assert!(!answer.contains("smuggled"), "{bad:?}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_programs_could_read_differently_is_refused() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let post = format!("POST /user/ada/ HTTP/1.1\r\n{HOST}");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    for bad in [
        format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde"),
        format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"),
        format!("{post}Content-Length: 5,5\r\n\r\nabcde"),
        format!("{post}Content-Length: +5\r\n\r\nabcde"),
        format!("{post}Content-Length: 0x5\r\n\r\nabcde"),
        format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Content-Length : 5\r\n\r\nabcde"),
        format!("{post} Content-Length: 5\r\n\r\nabcde"),
        format!("{post}X: a\r\n Content-Length: 5\r\n\r\nabcde"),
        format!("{post}X: a\rContent-Length: 5\r\n\r\nabcde"),
        format!("{post}X: a\0b\r\n\r\n"),
        format!("{post}X\r\n\r\n"),
        format!("{post}X: a\n\r\n"),
        format!("GET /user/ada/ HTTP/1.1\n{HOST}\r\n"),
        format!("GET /user/ada/ HTTP/1.1\r\n{HOST}\n"),
        format!("GET  /user/ada/ HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /user/ada/ x HTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /user/ada/\tHTTP/1.1\r\n{HOST}\r\n"),
        format!("GET /user/ada/ HTTP/1.2\r\n{HOST}\r\n"),
        format!("GET /user/ada/\r\n{HOST}\r\n"),
        format!("GET user/ada/ HTTP/1.1\r\n{HOST}\r\n"),
        format!("G@T /user/ada/ HTTP/1.1\r\n{HOST}\r\n"),
        "GET /user/ada/ HTTP/1.1\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.1\r\nHost: u@a\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET /user/ada/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("OPTIONS * HTTP/1.1\r\n{HOST}\r\n"),
        format!("{chunked}5\nabcde\r\n0\r\n\r\n"),
        format!("{chunked}5 x\r\nabcde\r\n0\r\n\r\n"),
        format!("{chunked}ffffffffffffffff1\r\nabcde\r\n0\r\n\r\n"),
        format!("{chunked}3\r\nabcde\r\n0\r\n\r\n"),
        format!("{chunked}5\r\nabcde0\r\n\r\n"),
        format!("{chunked}0\r\nX: y\n\r\n"),
    ] {
        check(&gateway, 400, &bad).await;
    }
    let connect = format!("CONNECT h:80 HTTP/1.1\r\n{HOST}\r\n");
    let answer = gateway.raw(connect).await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    let answer = gateway
        .raw(format!(
            "TRACE / HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_a_row_are_answered_in_order_up_to_the_bad_one() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let good = |number: usize| format!("GET /user/ada/{number} HTTP/1.1\r\n{HOST}\r\n");
    let answer = gateway
        .raw(format!(
            "{}{}GET / HTTP/1.1\n\n{}",
            good(1),
            good(2),
            good(3)
        ))
        .await;
    let mut rest = answer.as_str();
    for expected in [
        "HTTP/1.1 200 OK",
        "GET /user/ada/1",
        "HTTP/1.1 200 OK",
        "GET /user/ada/2",
        "HTTP/1.1 400 Bad Request",
    ] {
        let (_, after) = rest
            .split_once(expected)
            .unwrap_or_else(|| panic!("no {expected} in {rest}"));
        rest = after;
    }
    assert!(!rest.contains("HTTP/1.1"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_url_in_the_first_line_means_its_host() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::start();
    gateway.route("a.example/user/ada/", &peer.target).await;
    let answer = gateway
        .raw(
            "GET http://a.example/user/ada/../ada/x?y HTTP/1.1\r\nHost: b.example\r\n\
             Connection: close\r\n\r\n",
        )
        .await;
    assert!(answer.contains("GET /user/ada/x?y\n"), "{answer}");
    assert!(answer.contains("\nhost: a.example\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_of_header_are_refused_in_little_memory() {
    let gateway = TestGateway::start();
    let bomb = async |start: &str, piece: Vec<u8>| {
        let stream = gateway.connect().await;
        let (mut read, mut write) = stream.into_split();
        let send = async {
            let mut sent = write.write_all(start.as_bytes()).await;
            for _ in 0..100 {
                if sent.is_err() {
                    break;
                }
                sent = write.write_all(&piece).await;
            }
        };
        let (answer, ()) = soon(async { tokio::join!(read_to_end(&mut read), send) }).await;
        answer
    };
    let one_header = bomb("GET / HTTP/1.1\r\nHost: h\r\nX: ", vec![b'x'; 1 << 20]).await;
    assert!(one_header.starts_with("HTTP/1.1 431"), "{one_header}");
    let many = b"A: b\r\n".repeat(170_000);
    let many_headers = bomb("GET / HTTP/1.1\r\nHost: h\r\n", many).await;
    assert!(many_headers.starts_with("HTTP/1.1 431"), "{many_headers}");
    let first_line = bomb("GET /", vec![b'x'; 1 << 20]).await;
    assert!(first_line.starts_with("HTTP/1.1 4"), "{first_line}");
    assert_eq!(gateway.get("/hub/").await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_head_are_those_of_the_configuration() {
    let gateway = Setup::default()
        .config(|config| {
            config.max_header_bytes = 8192;
            config.max_headers = 30;
        })
        .start();
    let ask = async |headers: String| {
        let answer = gateway
            .raw(format!(
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n"
            ))
            .await;
        answer.get(9..12).unwrap().to_owned()
    };
    assert_eq!(ask("A: b\r\n".repeat(28)).await, "200");
    assert_eq!(ask("A: b\r\n".repeat(29)).await, "431");
    assert_eq!(ask(format!("A: {}\r\n", "x".repeat(8000))).await, "200");
    assert_eq!(ask(format!("A: {}\r\n", "x".repeat(8192))).await, "431");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_given_up() {
    let gateway = Setup::default()
        .config(|config| config.header_timeout = millis(300))
        .start();
    let begun = Instant::now();
    let mut stream = gateway.connect().await;
    let drip = async {
        for byte in b"GET / HTTP/1.1\r\nHost: hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh" {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        read_to_end(&mut stream).await
    };
    let answer = soon(drip).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 408"),
        "{answer}"
    );
    assert!(begun.elapsed() >= Duration::from_millis(300));

    let mut stream = gateway.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    let silent = gateway.raw("").await;
    assert_eq!(silent, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_waiting_one_is_not() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(900)).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
            .await
            .unwrap();
    })
    .await;
    let gateway = Setup::default()
        .config(|config| {
            config.header_timeout = millis(200);
            config.idle_timeout = millis(300);
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut stream = gateway.connect().await;
    stream
        .write_all(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    assert!(
        read_until(&mut stream, "slow")
            .await
            .starts_with("HTTP/1.1 200")
    );
    let begun = Instant::now();
    assert_eq!(read_to_end(&mut stream).await, "");
    let idle = begun.elapsed();
    assert!(
        idle >= Duration::from_millis(250) && idle < Duration::from_secs(5),
        "{idle:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_holds_nothing_but_its_own_connection() {
    let peer = Peer::echo().await;
    let gateway = Setup::default()
        .config(|config| {
            config.threads = 1;
            config.drain_timeout = seconds(1);
        })
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut endless = Vec::new();
    for _ in 0..50 {
        let mut stream = gateway.connect().await;
        let head = "POST /user/ada/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        endless.push(stream);
    }
    until("all are with the upstream", async || {
        peer.connections() == 50
    })
    .await;
    for stream in &mut endless {
        stream.write_all(b"5\r\nabcde\r\n").await.unwrap();
    }
    assert_eq!(gateway.get("/user/ada/").await.status, 200);
    assert_eq!(gateway.get("/hub/").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_still_gets_its_answer() {
    let gateway = TestGateway::start();
    gateway
        .route("/user/ada/", &crate::peer::dead().await)
        .await;
    let stream = gateway.connect().await;
    let (mut read, mut write) = stream.into_split();
    let send = async {
        let head = format!("POST /user/ada/ HTTP/1.1\r\n{HOST}Content-Length: 50000000\r\n\r\n");
        let mut sent = write.write_all(head.as_bytes()).await;
        let piece = vec![0; 1 << 20];
        for _ in 0..47 {
            if sent.is_err() {
                break;
            }
            sent = write.write_all(&piece).await;
        }
    };
    let mut answer = Vec::new();
    let read = async { read.read_to_end(&mut answer).await };
    let _ = soon(async { tokio::join!(read, send) }).await;
    assert!(
        answer.starts_with(b"HTTP/1.1 503"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
