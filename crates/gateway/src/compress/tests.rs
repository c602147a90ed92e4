//! Which answers are compressed, what becomes of their heads, and whether what comes out can be read again.

use std::io::Read as _;

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};
use http::{Method, StatusCode};
use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
        .collect()
}

fn asked(extra: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut all = headers(&[(ACCEPT_ENCODING, "gzip, br, zstd")]);
    all.extend(headers(extra));
    all
}

fn json(extra: &[(HeaderName, &'static str)]) -> HeaderMap {
    let mut all = headers(&[(CONTENT_TYPE, "application/json")]);
    all.extend(headers(extra));
    all
}

fn plan(request: &HeaderMap, status: u16, answer: &HeaderMap) -> Plan {
    let status = StatusCode::from_u16(status).unwrap();
    Compression::new(CompressMode::Data).plan(&Method::GET, request, status, answer)
}

#[track_caller]
fn check(request: &HeaderMap, status: u16, answer: &HeaderMap, expected: Option<Coding>) {
    assert_eq!(plan(request, status, answer).coding(), expected);
}

#[test]
fn json_of_unknown_or_some_length_is_compressed() {
    check(&asked(&[]), 200, &json(&[]), Some(Coding::Zstd));
    let long = json(&[(CONTENT_LENGTH, "1024")]);
    check(&asked(&[]), 200, &long, Some(Coding::Zstd));
    check(&asked(&[]), 404, &long, Some(Coding::Zstd));
    let only_gzip = headers(&[(ACCEPT_ENCODING, "gzip, deflate")]);
    check(&only_gzip, 200, &long, Some(Coding::Gzip));
    check(&HeaderMap::new(), 200, &long, None);
    check(&asked(&[]), 200, &json(&[(CONTENT_LENGTH, "1023")]), None);
}

#[test]
fn what_has_no_body_or_a_fixed_one_is_left() {
    for status in [101, 204, 205, 206, 304] {
        check(&asked(&[]), status, &json(&[]), None);
    }
    let no_transform = (CACHE_CONTROL, "private, No-Transform");
    check(
        &asked(std::slice::from_ref(&no_transform)),
        200,
        &json(&[]),
        None,
    );
    for fixed in [
        no_transform,
        (CONTENT_ENCODING, "gzip"),
        (CONTENT_ENCODING, "aws-chunked"),
        (HeaderName::from_static("content-digest"), "sha-256=:x:"),
        (http::header::CONTENT_RANGE, "bytes 0-1/2"),
    ] {
        check(&asked(&[]), 200, &json(&[fixed]), None);
    }
    let plain = json(&[(CONTENT_ENCODING, "identity")]);
    check(&asked(&[]), 200, &plain, Some(Coding::Zstd));
    let head = Compression::default().plan(&Method::HEAD, &asked(&[]), StatusCode::OK, &json(&[]));
    assert_eq!(head.coding(), None);
}

#[test]
fn events_and_packed_content_are_left() {
    for left in ["text/event-stream", "image/png", "application/zip"] {
        check(&asked(&[]), 200, &headers(&[(CONTENT_TYPE, left)]), None);
    }
    check(&asked(&[]), 200, &HeaderMap::new(), None);
}

#[test]
fn pages_are_compressed_only_if_everything_shall_be() {
    let page = headers(&[(CONTENT_TYPE, "text/html; charset=utf-8")]);
    let coding = |mode| {
        let compression = Compression::new(mode);
        let plan = compression.plan(&Method::GET, &asked(&[]), StatusCode::OK, &page);
        plan.coding()
    };
    assert_eq!(coding(CompressMode::Off), None);
    assert_eq!(coding(CompressMode::Data), None);
    assert_eq!(coding(CompressMode::All), Some(Coding::Zstd));
}

#[test]
fn what_another_site_asks_for_is_left_and_says_that_it_varies() {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    for (site, expected) in [
        ("same-origin", Some(Coding::Zstd)),
        ("none", Some(Coding::Zstd)),
        ("same-site", None),
        ("cross-site", None),
        ("something new", None),
    ] {
        let request = asked(&[(SITE, site)]);
        check(&request, 200, &json(&[]), expected);
        let mut answer = json(&[]);
        let compression = Compression::default();
        let _ = plan(&request, 200, &answer).begin(&compression, &mut answer);
        assert_eq!(answer[VARY], "Accept-Encoding");
    }
}

#[test]
fn the_head_says_what_the_body_has_become() {
    let mut answer = json(&[
        (CONTENT_LENGTH, "5000"),
        (ETAG, "\"abc\""),
        (VARY, "Cookie"),
        (ACCEPT_RANGES, "bytes"),
    ]);
    let compression = Compression::default();
    let encoder = plan(&asked(&[]), 200, &answer).begin(&compression, &mut answer);
    assert_eq!(encoder.unwrap().coding(), Coding::Zstd);
    assert_eq!(answer[CONTENT_ENCODING], "zstd");
    assert_eq!(answer[ETAG], "W/\"abc\"");
    assert!(!answer.contains_key(CONTENT_LENGTH) && !answer.contains_key(ACCEPT_RANGES));
    let vary: Vec<_> = answer.get_all(VARY).iter().collect();
    assert_eq!(vary, ["Cookie", "Accept-Encoding"]);

    let mut answer = json(&[(ETAG, "W/\"abc\""), (VARY, "cookie, accept-encoding")]);
    let _ = plan(&asked(&[]), 200, &answer).begin(&compression, &mut answer);
    assert_eq!(answer[ETAG], "W/\"abc\"");
    assert_eq!(answer.get_all(VARY).iter().count(), 1);

    let mut untouched = headers(&[(CONTENT_TYPE, "image/png"), (CONTENT_LENGTH, "5000")]);
    let before = untouched.clone();
    assert!(
        plan(&asked(&[]), 200, &untouched)
            .begin(&compression, &mut untouched)
            .is_none()
    );
    assert_eq!(untouched, before);
}

#[test]
fn encoders_are_bounded_and_given_back() {
    let compression = Compression::default();
    let begin = || {
        let mut answer = json(&[(CONTENT_LENGTH, "5000")]);
        let encoder = plan(&asked(&[]), 200, &answer).begin(&compression, &mut answer);
        assert_eq!(answer.contains_key(CONTENT_LENGTH), encoder.is_none());
        encoder
    };
    let mut held: Vec<_> = std::iter::from_fn(begin).take(1000).collect();
    assert_eq!(held.len(), 128);
    assert!(begin().is_none());
    held.pop();
    assert!(begin().is_some());
}

fn decode(coding: Coding, data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    match coding {
        Coding::Gzip => flate2::read::GzDecoder::new(data).read_to_end(&mut plain)?,
        Coding::Zstd => zstd::stream::read::Decoder::new(data)?.read_to_end(&mut plain)?,
        Coding::Brotli => brotli::Decompressor::new(data, 4096).read_to_end(&mut plain)?,
    };
    Ok(plain)
}

/// Decodes what a reader has so far, of a body that has not ended.
fn decode_so_far(coding: Coding, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut read = |reader: &mut dyn std::io::Read| {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            plain.extend_from_slice(&buffer[..count]);
        }
    };
    match coding {
        Coding::Gzip => read(&mut flate2::read::GzDecoder::new(data)),
        Coding::Zstd => read(&mut zstd::stream::read::Decoder::new(data).unwrap()),
        Coding::Brotli => read(&mut brotli::Decompressor::new(data, 4096)),
    }
    plain
}

#[test]
fn a_flush_holds_nothing_back() {
    for coding in Coding::BY_SIZE {
        let mut encoder = Encoder::uncounted(coding).unwrap();
        let mut out = Vec::new();
        let mut sent = Vec::new();
        for piece in ["one ", "two ", "three "] {
            encoder.push(piece.as_bytes(), &mut out).unwrap();
            encoder.flush(&mut out).unwrap();
            sent.extend_from_slice(piece.as_bytes());
            assert_eq!(decode_so_far(coding, &out), sent, "{coding:?}");
        }
    }
}

#[test]
fn a_body_without_its_end_is_seen_as_broken_and_an_end_comes_once() {
    for coding in Coding::BY_SIZE {
        let mut encoder = Encoder::uncounted(coding).unwrap();
        let mut out = Vec::new();
        encoder.push(b"half of it", &mut out).unwrap();
        encoder.flush(&mut out).unwrap();
        assert!(decode(coding, &out).is_err(), "{coding:?}");
        encoder.finish(&mut out).unwrap();
        assert_eq!(decode(coding, &out).unwrap(), b"half of it");
        assert!(encoder.finish(&mut out).is_err() && encoder.push(b"", &mut out).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_goes_in_comes_out_again(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..5000), any::<bool>()), 0..8),
        repeat in 1_usize..40,
    ) {
        for coding in Coding::BY_SIZE {
            let mut encoder = Encoder::uncounted(coding).unwrap();
            let (mut out, mut plain) = (Vec::new(), Vec::new());
            for (piece, flush) in &pieces {
                let piece = piece.repeat(repeat);
                encoder.push(&piece, &mut out).unwrap();
                if *flush {
                    encoder.flush(&mut out).unwrap();
                }
                plain.extend_from_slice(&piece);
            }
            encoder.finish(&mut out).unwrap();
            prop_assert_eq!(&decode(coding, &out).unwrap(), &plain);
        }
    }
}
