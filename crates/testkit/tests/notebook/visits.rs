//! What visitors see: logins, WebSockets, event streams.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode, header};
use lyceum_testkit::http::send_to;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::stub::{LIMIT, PREFIX, StubHub, Tiny, Visitor};

fn json_of(body: &Bytes) -> Value {
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn a_visitor_is_logged_in_by_the_hub_and_seen_as_who_they_are() {
    let hub = StubHub::start().await;
    let server = Tiny::start(&hub, "").ready().await;
    let mut ada = Visitor::new("ada", &hub, &server);

    let answer = ada.visit(&format!("{PREFIX}whoami?a=b")).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(json_of(answer.body())["name"], "ada");
    assert_eq!(answer.headers()["x-jupyterhub-version"], "6.1.1");
    // The login is remembered, and leaves nothing else behind.
    assert!(!ada.cookie_header().contains("oauth-state"));
    assert_eq!(
        ada.get(&format!("{PREFIX}whoami")).await.status(),
        StatusCode::OK
    );
    let page = ada.get(&format!("{PREFIX}lab/tree/x")).await;
    assert!(String::from_utf8_lossy(page.body()).contains("Hello ada"));

    // When the hub forgets the token, the login starts again by itself.
    hub.revoke_all();
    assert_eq!(
        ada.get(&format!("{PREFIX}whoami")).await.status(),
        StatusCode::FOUND
    );
    assert_eq!(
        ada.visit(&format!("{PREFIX}whoami")).await.status(),
        StatusCode::OK
    );
}

#[tokio::test]
async fn strangers_scripts_and_forged_logins_are_turned_away() {
    let hub = StubHub::start().await;
    let server = Tiny::start(&hub, "").ready().await;
    let mut bob = Visitor::new("bob", &hub, &server);

    assert_eq!(
        bob.visit(&format!("{PREFIX}whoami")).await.status(),
        StatusCode::FORBIDDEN
    );
    bob.forget("jupyterhub");
    for path in ["api/contents", "api/kernels/x"] {
        let answer = bob.get(&format!("{PREFIX}{path}")).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    }
    let post = bob.send(Method::POST, &format!("{PREFIX}whoami")).await;
    assert_eq!(post.status(), StatusCode::FORBIDDEN);

    // Another browser's login cannot be finished here, and none twice.
    let begun = bob.get(&format!("{PREFIX}whoami")).await;
    let to_hub = begun.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(to_hub.contains("code_challenge_method=S256"), "{to_hub}");
    let back = bob.get(&to_hub).await;
    let back = back.headers()[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned();
    let mut eve = Visitor::new("eve", &hub, &server);
    assert_eq!(eve.get(&back).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(bob.get(&back).await.status(), StatusCode::FOUND);
    assert_eq!(bob.get(&back).await.status(), StatusCode::FORBIDDEN);
    for query in ["", "?code=x", "?state=x", "?error=access_denied"] {
        let answer = bob.get(&format!("{PREFIX}oauth_callback{query}")).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
    }
}

#[tokio::test]
async fn requests_are_shown_as_they_arrive() {
    let hub = StubHub::start().await;
    let server = Tiny::start(&hub, "").ready().await;
    let mut ada = Visitor::new("ada", &hub, &server);
    ada.visit(&format!("{PREFIX}whoami")).await;
    let request = Request::put(format!("{PREFIX}request?x=%2F"))
        .header(header::COOKIE, ada.cookie_header())
        .header("x-forwarded-proto", "https")
        .body(Bytes::from_static(b"four"))
        .unwrap();
    let answer = send_to(&server.target, request).await.unwrap();
    let seen = json_of(answer.body());
    assert_eq!(seen["method"], "PUT");
    assert_eq!(seen["uri"], format!("{PREFIX}request?x=%2F"));
    assert_eq!(seen["body_length"], 4);
    let headers = seen["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-forwarded-proto", "https"])));
    // Without the slash, and elsewhere.
    let bare = ada.get(PREFIX.trim_end_matches('/')).await;
    assert_eq!(bare.headers()[header::LOCATION], PREFIX);
    assert_eq!(ada.get("/user/eve/").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_websocket_sends_back_what_it_gets_but_not_to_strangers() {
    let hub = StubHub::start().await;
    let server = Tiny::start(&hub, "").ready().await;
    let mut ada = Visitor::new("ada", &hub, &server);
    ada.visit(&format!("{PREFIX}whoami")).await;
    let connect = async |cookie: &str| {
        let mut request = format!("ws://localhost{PREFIX}echo")
            .into_client_request()
            .unwrap();
        request
            .headers_mut()
            .insert(header::COOKIE, cookie.parse().unwrap());
        let stream = server.connect().await;
        timeout(LIMIT, client_async(request, stream)).await.unwrap()
    };

    let (mut socket, _) = connect(&ada.cookie_header()).await.unwrap();
    for message in [Message::text("hello"), Message::binary(vec![0; 200_000])] {
        socket.send(message.clone()).await.unwrap();
        let back = timeout(LIMIT, socket.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert_eq!(back, message);
    }
    socket.close(None).await.unwrap();

    match connect("x=y").await {
        Err(Error::Http(answer)) => assert_eq!(answer.status(), StatusCode::FORBIDDEN),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_stream_has_as_many_events_as_asked_for() {
    let hub = StubHub::start().await;
    let server = Tiny::start(&hub, "").ready().await;
    let mut ada = Visitor::new("ada", &hub, &server);
    let answer = ada
        .visit(&format!("{PREFIX}events?count=3&interval_ms=1"))
        .await;
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(
        String::from_utf8_lossy(answer.body()),
        "data: {\"n\": 1}\n\ndata: {\"n\": 2}\n\ndata: {\"n\": 3}\n\n"
    );
}
