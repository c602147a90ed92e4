//! What is taken for a head, and what not.

use proptest::prelude::*;

use super::*;

/// Reads a head that comes in pieces; gives its length and the length of the body.
fn read(bytes: &[u8], piece: usize) -> Result<Option<(usize, Length)>, BadHead> {
    let mut scan = Scan::default();
    for end in (1..=bytes.len()).filter(|end| end % piece == 0 || *end == bytes.len()) {
        if let Some(length) = scan.end(&bytes[..end])? {
            return with_request(&bytes[..length], 100, |head| {
                Facts::of_request(&head).map(|facts| facts.request_length())
            })?
            .map(|body| Some((length, body)));
        }
    }
    Ok(None)
}

#[test]
fn heads_are_read_whatever_the_pieces() {
    let head = b"\r\n\r\nPOST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nbody";
    for piece in 1..head.len() {
        assert_eq!(
            read(head, piece),
            Ok(Some((head.len() - 4, Length::Bytes(12)))),
            "{piece}"
        );
    }
    assert_eq!(read(b"GET / HTTP/1.1\r\nHost: h\r\n", 5), Ok(None));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let post = "POST / HTTP/1.1\r\nHost: h\r\n";
    for bad in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Host: other\r\n",
        "X : y\r\n",
        "X: y\r\n z\r\n",
        "X: a\rb\r\n",
        "X: a\nY: b\r\n",
        "\x0bX: y\r\n",
        ": y\r\n",
        "X\r\n",
        "X: \0\r\n",
    ] {
        let head = format!("{post}{bad}\r\n");
        assert!(read(head.as_bytes(), 7).is_err(), "{bad:?}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(read(old, 9).is_err());
}

#[test]
fn a_field_named_by_connection_is_known_whatever_the_spelling() {
    let head =
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, x-secret\r\nConnection: Host\r\n\r\n";
    with_request(head, 100, |head| {
        let facts = Facts::of_request(&head).unwrap();
        assert!(facts.close && facts.names_others);
        assert!(is_named(head.fields, "X-Secret"));
        assert!(!is_named(head.fields, "Host"));
    })
    .unwrap();
}

#[test]
fn answers_say_how_long_they_are() {
    let check = |head: &str, to_head: bool, expected: Option<Length>| {
        let head = format!("HTTP/1.1 {head}\r\n\r\n");
        let found = with_answer(head.as_bytes(), |head, _| {
            Facts::of_answer(&head).map(|facts| facts.answer_length(head.status, to_head))
        });
        let found = found.and_then(|found| found.unwrap()).ok();
        assert_eq!(found, expected, "{head:?}");
    };
    let chunked = Length::Chunked(Chunks::new());
    check("200 OK", false, Some(Length::UntilClose));
    check("200", false, Some(Length::UntilClose));
    check("200 OK\r\nContent-Length: 3", false, Some(Length::Bytes(3)));
    check("200 OK\r\nContent-Length: 3", true, Some(Length::Bytes(0)));
    check(
        "304 Not Modified\r\nContent-Length: 3",
        false,
        Some(Length::Bytes(0)),
    );
    check(
        "200 OK\r\nContent-Length: 3\r\nContent-Length: 3",
        false,
        Some(Length::Bytes(3)),
    );
    check(
        "200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
        false,
        Some(chunked),
    );
    check(
        "200 OK\r\nContent-Length: 3\r\nContent-Length: 4",
        false,
        None,
    );
    check("200 OK\r\nContent-Length: -1", false, None);
    check("200 OK\r\nTransfer-Encoding: gzip", false, None);
    check("200 OK\r\nX: a\r\n b", false, None);
    check("099 Early", false, None);
    check("000 OK\r\nTransfer-Encoding: chunked", false, None);
}

proptest! {
    #[test]
    fn nothing_makes_it_panic_and_pieces_do_not_matter(bytes in "[A-Za-z:/ .0-9\r\n\t\\x00\\x7f]{0,120}", piece in 1_usize..40) {
        prop_assert_eq!(read(bytes.as_bytes(), piece), read(bytes.as_bytes(), 1000));
    }
}
