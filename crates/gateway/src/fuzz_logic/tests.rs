//! The fuzz bodies on stable: with what the targets begin with, and with bytes made up of what matters to them.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Runs a body on every seed of its target; a case that once failed is one of them.
fn run_seeds(target: &str, body: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let mut count = 0;
    for seed in fs::read_dir(folder).unwrap() {
        body(&fs::read(seed.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 0, "{target} has no seeds");
}

#[test]
fn every_seed_holds() {
    run_seeds("proxy_protocol", proxy_protocol);
    run_seeds("routes", routes);
    run_seeds("forwarded", forwarded);
    run_seeds("heads", heads);
    run_seeds("chunks", chunks);
    run_seeds("rewrite", rewrite_answer);
}

/// Bytes made of some of these pieces, and of any others between them.
fn made_of(pieces: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_proxy_protocol_stands_any_bytes(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", " ", "1.2.3.4 ", "::1 ", "80 ", "443", "\r\n", "\r",
            "\r\n\r\n\0\r\nQUIT\n", "\x20", "\x21", "\x11", "\0\x0c", "\0\0", "\x03\0\x04", "\0",
        ]),
    ]) {
        proxy_protocol(&data);
    }

    #[test]
    fn rewriting_stands_any_bytes(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "/", "//", "r", "/r/", "\n", "\n/r/", "%2f", "%2F", "%72", "..", "\\", "?", "#", ";", "=", "http://",
            "https://", "127.0.0.1", "localhost", ":8787", "hub.example.org", "Path=", "Domain=", "Secure", "url=",
            "'", "\"", " ", "\r\n", "\0", "é",
        ]),
    ]) {
        rewrite_answer(&data);
    }

    #[test]
    fn the_table_stands_any_bytes(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "/", "//", "a", "b", "/a", "/a/b", "A", "h", "h:", ":80", ".", "..", "/..", "%2e", "%2E", "%2f",
            "%61", "%", "%ff", " ", "?", "\n", "\n/", "\n-", "\n/a/", "\nh/a/", "\n-/a/",
        ]),
    ]) {
        routes(&data);
    }

    #[test]
    fn forwarded_headers_stand_any_bytes(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "\0", "\x01", "\x02", "\x03", "\x0d", "h", "hub.example:8000", "\n", "\nX-Forwarded-For: ",
            "\nx-forwarded-proto: ", "\nx-forwarded-host: ", "\nx_forwarded_for: ", "\nx-forwarded-port: ",
            "\nforwarded: ", "\ncookie: ", "10.0.0.2", "203.0.113.9", "[::1]:80", "fd00::2", ",", ", ", " ",
            "https", "wss", "\u{e9}", "\t",
        ]),
    ]) {
        forwarded(&data);
    }

    #[test]
    fn heads_stand_any_bytes_in_any_pieces(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "\0", "\x01", "\x07", "GET ", "POST ", "/", "*", " HTTP/1.1", " HTTP/1.0", "HTTP/1.1 200 OK", "\r\n",
            "\r\n\r\n", "\n", "\r", ":", ": ", "\r\nHost: h", "\r\nContent-Length: 5", "\r\ncontent-length: 05",
            "\r\nTransfer-Encoding: chunked", "\r\nConnection: upgrade, x", "\r\nUpgrade: websocket", "\r\n ", "\t",
        ]),
    ]) {
        heads(&data);
    }

    #[test]
    fn chunked_bodies_stand_any_bytes_in_any_pieces(data in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        made_of(&[
            "\0", "\x01", "\x03", "1\r\n", "5\r\nhello\r\n", "0\r\n", "0\r\n\r\n", "a;x=y\r\n", "0123456789", "\r\n",
            "\r", "\n", "fffffffffffffff", "X-Trailer: x\r\n", "Host: h\r\n", ":", ";", " ",
        ]),
    ]) {
        chunks(&data);
    }
}
