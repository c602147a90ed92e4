//! Good requests pass in any pieces; bad ones are cut off at the same byte in any pieces.

use proptest::prelude::*;

use super::*;

/// Feeds bytes in pieces of the given size; gives the place of the first offence.
fn feed(bytes: &[u8], piece: usize) -> (Result<(), (usize, Offence)>, Framing) {
    let mut framing = Framing::new(65_536);
    let mut before = 0;
    for part in bytes.chunks(piece) {
        if let Err((at, offence)) = framing.look(part) {
            return (Err((before + at, offence)), framing);
        }
        before += part.len();
    }
    (Ok(()), framing)
}

fn good(text: &str) {
    for piece in [1, 2, 3, 7, 1000] {
        let (outcome, framing) = feed(text.as_bytes(), piece);
        assert_eq!(outcome, Ok(()), "{text:?}");
        assert!(framing.between_requests(), "{text:?} {framing:?}");
    }
}

fn bad(text: &str, why: &str) {
    for piece in [1, 2, 3, 7, 1000] {
        let (outcome, _) = feed(text.as_bytes(), piece);
        let Err((_, offence)) = outcome else {
            panic!("{text:?} passed");
        };
        assert!(offence.0.contains(why), "{text:?}: {offence:?}");
    }
}

#[test]
fn good_requests_pass() {
    good("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    good("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    good("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\nc");
    good("POST / HTTP/1.1\r\ncontent-length:0\r\n\r\n");
    good(
        "POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\na\nb\nc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    );
    good(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    );
}

#[test]
fn what_two_programs_could_read_differently_is_refused() {
    let post = "POST / HTTP/1.1\r\nHost: x\r\n";
    bad("GET / HTTP/1.1\nHost: x\n\n", "carriage return");
    bad("GET / HTTP/1.1\r\nHost: x\n\r\n", "carriage return");
    bad("GET / HTTP/1.1\r\nHost: x\r\n\n", "carriage return");
    bad("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "folded");
    bad("GET / HTTP/1.1\r\nA b\r\n\r\n", "no colon");
    bad(
        &format!("{post}Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
        "several",
    );
    bad(
        &format!("{post}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
        "several",
    );
    bad(
        &format!("{post}Content-Length: 5, 5\r\n\r\n"),
        "not a number",
    );
    bad(&format!("{post}Content-Length: +5\r\n\r\n"), "not a number");
    bad(&format!("{post}Content-Length:\r\n\r\n"), "not a number");
    bad(
        &format!("{post}Content-Length: 18446744073709551616\r\n\r\n"),
        "not a number",
    );
    bad(
        &format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "both",
    );
    bad(
        &format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
        "both",
    );
    bad(
        &format!("{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "several",
    );
    bad(
        &format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n"),
        "not `chunked`",
    );
    bad(
        &format!("{post}Transfer-Encoding: identity\r\n\r\n"),
        "not `chunked`",
    );
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    bad(
        &format!("{chunked}5\nabcde\r\n0\r\n\r\n"),
        "carriage return",
    );
    bad(&format!("{chunked}\r\nabcde\r\n0\r\n\r\n"), "not a number");
    bad(
        &format!("{chunked}0x5\r\nabcde\r\n0\r\n\r\n"),
        "not a number",
    );
    bad(
        &format!("{chunked}-5\r\nabcde\r\n0\r\n\r\n"),
        "not a number",
    );
    bad(&format!("{chunked}10000000000000000\r\n"), "not a number");
    bad(
        &format!("{chunked}3\r\nabcde\r\n0\r\n\r\n"),
        "longer than its size",
    );
    bad(&format!("{chunked}0\r\nX: y\n\r\n"), "carriage return");
    bad(&format!("{chunked}5;{}\r\n", "x".repeat(5000)), "too long");
}

#[test]
fn after_a_wish_for_another_protocol_nothing_is_looked_at() {
    let (outcome, framing) = feed(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\n\n\n", 4);
    assert_eq!(outcome, Ok(()));
    assert!(framing.is_opaque());
}

#[test]
fn it_is_known_where_a_connection_stands() {
    let at = |text: &str| feed(text.as_bytes(), 1).1;
    assert!(at("").between_requests());
    assert!(at("G").inside_head());
    assert!(at("GET / HTTP/1.1\r\n").inside_head());
    assert!(!at("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").inside_head());
    assert!(at("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").unfinished());
    assert!(!at("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nab").unfinished());
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        bytes in proptest::collection::vec(
            proptest::sample::select(vec![
                "GET / HTTP/1.1\r\n", "\r\n", "\n", "\r", "Content-Length: 3\r\n",
                "Transfer-Encoding: chunked\r\n", "3\r\n", "abc", "0\r\n", "Host: x\r\n", " ",
            ]), 0..20),
        piece in 1_usize..9,
    ) {
        let bytes = bytes.concat().into_bytes();
        let (whole, _) = feed(&bytes, usize::MAX);
        let (pieces, _) = feed(&bytes, piece);
        prop_assert_eq!(whole, pieces);
    }
}
