//! Bodies that are long, slow or endless pass piece by piece, in constant memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::peer::Peer;
use crate::support::{
    AnyBody, TestGateway, collect, full, read_to_end, read_until, request, soon, until,
};

/// A body that is fed by hand.
fn channel() -> (mpsc::Sender<&'static str>, AnyBody) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = ReceiverStream::new(receiver).map(|text: &str| Ok(Frame::data(Bytes::from(text))));
    (sender, StreamBody::new(frames).boxed_unsync())
}

async fn next(body: &mut hyper::body::Incoming) -> String {
    let frame = soon(body.frame()).await.unwrap().unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answers_pieces_arrive_before_the_next_is_sent() {
    let (feeds, mut fed) = mpsc::channel(1);
    let peer = Peer::http(move |_| {
        let feeds = feeds.clone();
        async move {
            let (sender, body) = channel();
            feeds.send(sender).await.unwrap();
            Response::builder()
                .header("content-type", "text/event-stream")
                .body(body)
                .unwrap()
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    // The head comes before anything of the body.
    let mut response = client.send(request("GET", "/user/ada/events", "")).await;
    let feed = soon(fed.recv()).await.unwrap();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        feed.send(event).await.unwrap();
        assert_eq!(next(response.body_mut()).await, event);
    }
    drop(feed);
    assert!(soon(response.body_mut().frame()).await.is_none());
    drop(response);
    assert_eq!(gateway.get("/hub/").await.text(), "hub");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploads_pieces_arrive_before_the_next_is_sent() {
    let (pieces, mut arrived) = mpsc::channel(10);
    let peer = Peer::http(move |request| {
        let pieces = pieces.clone();
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                pieces.send(frame.into_data().unwrap()).await.unwrap();
            }
            Response::new(full("done"))
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    let (feed, body) = channel();
    let request = Request::put("/user/ada/f")
        .header("host", "h")
        .body(body)
        .unwrap();
    let feeding = async {
        for piece in ["one", "two", "three"] {
            feed.send(piece).await.unwrap();
            assert_eq!(soon(arrived.recv()).await.unwrap(), piece);
        }
        drop(feed);
    };
    let (answer, ()) = tokio::join!(client.ask(request), feeding);
    assert_eq!(answer.text(), "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_told_to_continue_when_its_body_is_wanted() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    let mut stream = gateway.connect().await;
    let head = "POST /user/ada/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
                Expect: 100-continue\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"hello").await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("\nhello\n") && !answer.contains("expect"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_to_continue_to_a_dead_upstream() {
    let gateway = TestGateway::start();
    gateway
        .route("/user/ada/", &crate::peer::dead().await)
        .await;
    let answer = gateway
        .raw(
            "POST /user/ada/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let peer = Peer::http(|request| async move {
        let trailers = request
            .into_body()
            .collect()
            .await
            .unwrap()
            .trailers()
            .cloned();
        let sum = trailers.unwrap()["x-sum"].clone();
        let mut answer = http::HeaderMap::new();
        answer.insert("x-sum", sum);
        let frames = [
            Ok(Frame::data(Bytes::from("data"))),
            Ok(Frame::trailers(answer)),
        ];
        Response::builder()
            .header("trailer", "x-sum")
            .body(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
            .unwrap()
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("42"));
    let frames = [
        Ok(Frame::data(Bytes::from("data"))),
        Ok(Frame::trailers(trailers)),
    ];
    let request = Request::post("/user/ada/")
        .header("host", "h")
        .header("te", "trailers")
        .header("trailer", "x-sum")
        .body(StreamBody::new(futures_util::stream::iter(frames)).boxed_unsync())
        .unwrap();
    let answer = gateway.client().await.ask(request).await;
    assert_eq!(answer.text(), "data");
    assert_eq!(answer.trailers.unwrap()["x-sum"], "42");
}

/// The memory of this process that is in use now, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn big_uploads_and_downloads_need_no_memory() {
    const PIECE: usize = 1024 * 1024;
    const PIECES: usize = 200;
    let peer = Peer::http(|request| async move {
        let mut body = request.into_body();
        let mut received = 0;
        while let Some(Ok(frame)) = body.frame().await {
            received += frame.data_ref().unwrap().len();
        }
        let piece = Bytes::from(vec![1; PIECE]);
        let frames =
            futures_util::stream::iter((0..PIECES).map(move |_| Ok(Frame::data(piece.clone()))));
        Response::builder()
            .header("x-received", received)
            .body(StreamBody::new(frames).boxed_unsync())
            .unwrap()
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut client = gateway.client().await;
    let before = memory();
    let mut most = before;
    let piece = Bytes::from(vec![0; PIECE]);
    let frames =
        futures_util::stream::iter((0..PIECES).map(move |_| Ok(Frame::data(piece.clone()))));
    let request = Request::post("/user/ada/upload")
        .header("host", "h")
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap();
    let mut response = client.send(request).await;
    assert_eq!(
        response.headers()["x-received"],
        (PIECE * PIECES).to_string()
    );
    let mut received = 0;
    while let Some(frame) = soon(response.body_mut().frame()).await {
        received += frame.unwrap().data_ref().unwrap().len();
        most = most.max(memory());
    }
    assert_eq!(received, PIECE * PIECES);
    assert!(
        most < before + 64,
        "memory grew from {before} to {most} MiB"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_its_upstream_back() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let peer = Peer::raw(move |mut stream, _| {
        let count = Arc::clone(&count);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\n\r\n";
            stream.write_all(head).await.unwrap();
            let piece = vec![0; 64 * 1024];
            while stream.write_all(&piece).await.is_ok() {
                count.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut stream = gateway.connect().await;
    stream
        .write_all(b"GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut stream, "\r\n\r\n").await;
    // The sockets' own buffers fill, and then nothing moves.
    until("the upstream is held back", async || {
        let before = written.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
        written.load(Ordering::SeqCst) == before
    })
    .await;
    assert!(written.load(Ordering::SeqCst) < 64 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_the_upload_arrives() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let answer =
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let (_feed, body) = channel();
    let request = Request::post("/user/ada/")
        .header("host", "h")
        .body(body)
        .unwrap();
    let answer = collect(gateway.client().await.send(request).await).await;
    assert_eq!((answer.status, answer.text()), (413, "big"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_not_passed_on_as_whole() {
    let peer = Peer::raw(|mut stream, _| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let part = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
        stream.write_all(part.as_bytes()).await.unwrap();
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let answer = gateway
        .raw("GET /user/ada/ HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    assert!(answer.contains("part"), "{answer}");
    assert!(!answer.contains("\r\n0\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_goes_wrong_after_the_answer_has_begun_ends_both() {
    let (told, mut ended) = mpsc::channel(1);
    let peer = Peer::raw(move |mut stream, _| {
        let told = told.clone();
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n";
            stream.write_all(head).await.unwrap();
            read_to_end(&mut stream).await;
            told.send(()).await.unwrap();
        }
    })
    .await;
    let gateway = TestGateway::to(&peer).await;
    let mut stream = gateway.connect().await;
    let head =
        b"POST /user/ada/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
    stream.write_all(head).await.unwrap();
    read_until(&mut stream, "ok\r\n").await;
    stream.write_all(b"zz\r\n").await.unwrap();
    soon(ended.recv()).await.unwrap();
    read_to_end(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_on_which_a_head_was_cut_off_is_not_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let peer = Peer::raw_unix(&folder.path().join("up.sock"), |mut stream, _| async move {
        let mut begun = [0; 100];
        stream.read_exact(&mut begun).await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly";
        stream.write_all(answer).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
    });
    let gateway = crate::support::Setup::default()
        .config(|config| config.max_header_bytes = 1_000_000)
        .start();
    gateway.route("/user/ada/", &peer.target).await;
    let mut client = gateway.client().await;
    let mut big = request("GET", "/user/ada/", "");
    let value = "x".repeat(900_000).parse().unwrap();
    big.headers_mut().insert("x-big", value);
    assert_eq!(client.ask(big).await.text(), "early");
    for _ in 0..3 {
        assert_eq!(client.get("/user/ada/").await.text(), "early");
    }
    assert!(peer.connections() > 1, "the first was used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_do_not_say_who_somebody_is() {
    let peer = Peer::echo().await;
    let gateway = TestGateway::to(&peer).await;
    for name in ["X-Forwarded-User", "remote_user", "X-Real-IP", "Set-Cookie"] {
        let answer = gateway
            .raw(format!(
                "POST /user/ada/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 0\r\n{name}: admin\r\n\r\n"
            ))
            .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
    }
}
