//! Look-ups, answered by BIND and, oddly, by pebble-challtestsrv.

use std::fmt::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use lyceum_certs::dns::{LookupError, Resolver};

use crate::bind::{Bind, free_loopback};
use crate::challtestsrv::Challtestsrv;

#[tokio::test]
async fn addresses_are_found_through_aliases() {
    let bind = Bind::start();
    let resolver = bind.resolver();
    let found = async |name: &str| -> Vec<String> {
        let addresses = resolver.addresses(name).await.unwrap();
        addresses.iter().map(ToString::to_string).collect()
    };
    assert_eq!(found("hub.example.test").await, ["127.0.0.1", "::1"]);
    assert_eq!(found("WWW.example.test.").await, ["127.0.0.1", "::1"]);
    assert_eq!(found("example.test").await, ["127.0.0.1"]);
    assert_eq!(found("far.example.test").await, ["192.0.2.7"]);
}

#[tokio::test]
async fn reasons_for_nothing_are_told_apart() {
    let bind = Bind::start();
    let resolver = bind.resolver();
    let error = async |name: &str| resolver.addresses(name).await.unwrap_err();
    let missing = |name: &str| LookupError::NoSuchName(name.to_owned());
    assert_eq!(
        error("missing.example.test").await,
        missing("missing.example.test")
    );
    assert_eq!(
        error("nowhere.example.test").await,
        missing("missing.example.test")
    );
    let endless = error("loop1.example.test").await;
    assert!(
        matches!(endless, LookupError::TooManyAliases(_)),
        "{endless}"
    );
    assert!(matches!(
        error("other.org").await,
        LookupError::Refused { .. }
    ));
    assert!(matches!(error("a..b").await, LookupError::BadName(_)));
    assert!(matches!(error("").await, LookupError::BadName(_)));
    let LookupError::NoSuchRecord { kind, .. } = error("texts.example.test").await else {
        panic!("it has texts alone");
    };
    assert_eq!(kind, "A or AAAA");
}

#[tokio::test]
async fn texts_in_pieces_are_put_together() {
    let bind = Bind::start();
    assert_eq!(
        bind.texts("texts.example.test").await,
        ["oneand more", "two"]
    );
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_fetched_over_tcp() {
    let mut zone =
        "$TTL 60\n@ SOA ns. admin. 1 2 2 600 1\n@ NS ns.big.test.\nns A 127.0.0.1\n".to_owned();
    for number in 0..50 {
        let rest = "x".repeat(100);
        writeln!(zone, "many TXT \"text number {number:02} {rest}\"").unwrap();
    }
    let bind = Bind::start_with(&crate::bind::Options {
        address: free_loopback(),
        zones: "zone \"big.test\" { type primary; file \"{folder}/big.test\"; };",
        files: &[("big.test", &zone)],
        more: "",
    });
    let texts = bind.texts("many.big.test").await;
    assert_eq!(texts.len(), 50);
    assert!(texts[49].starts_with("text number 49"));
}

#[tokio::test]
async fn authorities_are_looked_for_from_the_name_upwards() {
    let bind = Bind::start();
    let resolver = bind.resolver();
    for (name, at, value) in [
        ("example.test", "example.test", "letsencrypt.org"),
        ("hub.example.test", "example.test", "letsencrypt.org"),
        ("a.b.c.hub.example.test", "example.test", "letsencrypt.org"),
        ("closed.example.test", "closed.example.test", ";"),
        ("below.closed.example.test", "closed.example.test", ";"),
        // The alias is followed, and its parents are those of the name.
        ("aliased.example.test", "aliased.example.test", ";"),
        ("far.example.test", "example.test", "letsencrypt.org"),
    ] {
        let set = resolver.caa(name).await.unwrap().unwrap();
        assert_eq!(
            (set.at.as_str(), set.records[0].value.as_str()),
            (at, value),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_zone_is_found_with_its_name_servers() {
    let bind = Bind::start();
    let resolver = bind.resolver();
    for (name, apex) in [
        ("example.test", "example.test"),
        ("a.b.hub.example.test", "example.test"),
        ("www.example.test", "example.test"),
        ("closed.test", "closed.test"),
        ("far.example.test", "example.test"),
    ] {
        let zone = resolver.zone_of(name).await.unwrap();
        assert_eq!(zone.apex, apex, "{name}");
        assert_eq!(zone.servers, ["ns1.example.test"], "{name}");
    }
    assert!(resolver.zone_of("elsewhere.org").await.is_err());
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_silent() {
    let bind = Bind::start();
    let nobody = free_loopback();
    let resolver = Resolver::new(vec![nobody, bind.address]);
    assert!(resolver.addresses("hub.example.test").await.is_ok());
    let alone = Resolver::new(vec![nobody]);
    let error = alone.txt("hub.example.test").await.unwrap_err();
    assert!(matches!(error, LookupError::Unreachable { .. }), "{error}");
    let silent = UdpSocket::bind(nobody).unwrap();
    let error = alone.txt("hub.example.test").await.unwrap_err();
    assert!(matches!(error, LookupError::Timeout { .. }), "{error}");
    // Who has answered is asked first from then on.
    let both = Resolver::new(vec![nobody, bind.address]);
    both.txt("texts.example.test").await.unwrap();
    let before = Instant::now();
    both.txt("texts.example.test").await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1));
    drop(silent);
    let error = Resolver::new(Vec::new()).txt("a.org").await.unwrap_err();
    assert_eq!(error, LookupError::NoServers);
}

#[tokio::test]
async fn a_server_that_fails_is_told() {
    let server = Challtestsrv::start().await;
    server
        .post("set-servfail", r#"{"host":"broken.example.org"}"#)
        .await;
    let resolver = server.resolver();
    let error = resolver.addresses("broken.example.org").await.unwrap_err();
    assert!(
        matches!(error, LookupError::ServerFailure { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("DNSSEC"));
    let error = resolver.caa("broken.example.org").await.unwrap_err();
    assert!(
        matches!(error, LookupError::ServerFailure { .. }),
        "{error}"
    );
    let caa = r#"{"host":"example.org","policies":[{"tag":"issue","value":"ca.example.net"}]}"#;
    server.post("add-caa", caa).await;
    let set = resolver.caa("a.example.org").await.unwrap().unwrap();
    assert_eq!(
        (set.at.as_str(), set.records[0].value.as_str()),
        ("example.org", "ca.example.net")
    );
    let set = resolver.caa("other.net").await.unwrap();
    assert_eq!(set, None);
}

#[tokio::test]
async fn answers_from_elsewhere_and_to_other_questions_are_not_taken() {
    let bind = Bind::start();
    // Answers everything with garbage, and with an answer that has another number.
    let liar = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = liar.local_addr().unwrap();
    let resolver = Resolver::new(vec![address, bind.address]);
    let lying = async {
        let mut buffer = [0; 1500];
        loop {
            let (length, from) = liar.recv_from(&mut buffer).await.unwrap();
            let mut wrong = buffer[..length].to_vec();
            wrong[0] ^= 0xff;
            wrong[2] |= 0x80;
            liar.send_to(&wrong, from).await.unwrap();
            liar.send_to(b"garbage", from).await.unwrap();
            liar.send_to(&[], from).await.unwrap();
        }
    };
    let found = tokio::select! {
        found = resolver.addresses("hub.example.test") => found.unwrap(),
        () = lying => unreachable!(),
    };
    assert_eq!(found[0].to_string(), "127.0.0.1");
}
