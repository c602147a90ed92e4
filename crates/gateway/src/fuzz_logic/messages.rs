//! Heads and chunked bodies: however they come in pieces, they are read as one, or refused as one.

use crate::chunks::{Chunks, Offence};
use crate::head::{BadHead, Facts, Length, Scan, is_token, with_answer, with_request};

/// Most fields of a head that are allowed here.
const MOST_FIELDS: usize = 100;

/// A byte that says in which pieces the others come: the head of a request, or of an answer, and what follows.
///
/// The end of a head is found at the same place in all pieces. What is accepted can be written again without becoming
/// something else, and has one length.
pub fn heads(data: &[u8]) {
    let (piece, bytes) = data.split_first().unwrap_or((&0, &[]));
    let end = scan(bytes, usize::from(*piece));
    assert_eq!(end, scan(bytes, usize::MAX), "in pieces of {piece}");
    if let Ok(Some(end)) = end {
        let (head, _) = bytes.split_at(end);
        let _ = with_request(head, MOST_FIELDS, |head| {
            assert!(head.method.bytes().all(is_token) && !head.method.is_empty());
            assert!(!head.target.is_empty());
            assert!(!head.target.bytes().any(|byte| byte <= b' '));
            assert!(head.fields.len() <= MOST_FIELDS);
            for field in head.fields {
                check_field(field.name, field.value);
            }
            if let Ok(facts) = Facts::of_request(&head) {
                let named = |name: &str| {
                    head.fields
                        .iter()
                        .filter(|field| field.name.eq_ignore_ascii_case(name))
                        .count()
                };
                let lengths = named("content-length");
                let codings = named("transfer-encoding");
                assert!(lengths + codings <= 1, "two lengths are accepted");
                assert!(named("host") <= 1, "two hosts are accepted");
                let is_chunked = matches!(facts.request_length(), Length::Chunked(_));
                assert_eq!(is_chunked, codings == 1);
            }
        });
    }
    let _ = with_answer(bytes, |head, length| {
        assert!(length <= bytes.len());
        assert!((100..1000).contains(&head.status));
        for field in head.fields {
            check_field(field.name, field.value);
        }
        let _ = Facts::of_answer(&head).map(|facts| facts.answer_length(head.status, false));
    });
}

/// A field must be one line when it is written again.
fn check_field(name: &str, value: &[u8]) {
    assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?}");
    let breaks = value
        .iter()
        .any(|byte| matches!(byte, b'\r' | b'\n' | b'\0'));
    assert!(!breaks, "{}", value.escape_ascii());
}

/// Looks for the end of a head that comes in pieces of this size; 0 counts as 1.
fn scan(bytes: &[u8], piece: usize) -> Result<Option<usize>, BadHead> {
    let mut scan = Scan::default();
    let mut known = 0_usize;
    loop {
        known = known.saturating_add(piece.max(1)).min(bytes.len());
        let (come, _) = bytes.split_at(known);
        let end = scan.end(come)?;
        if end.is_some() || known == bytes.len() {
            return Ok(end);
        }
    }
}

/// A byte that says in which pieces the others come: a chunked body, and what follows it.
///
/// Data, trailers and end are the same in all pieces, and so is the refusal.
pub fn chunks(data: &[u8]) {
    let (piece, bytes) = data.split_first().unwrap_or((&0, &[]));
    let whole = read(bytes, usize::MAX);
    assert_eq!(read(bytes, usize::from(*piece)), whole);
    if let Ok(body) = whole
        && body.done
    {
        let (exactly, _) = bytes.split_at(body.consumed);
        assert!(
            exactly.ends_with(b"\r\n"),
            "the body ends amid of something"
        );
        assert!(body.data.len() < body.consumed);
        // Nothing of what follows has been taken, and nothing less would have done.
        let shorter = exactly.split_last().map_or(&[][..], |(_, rest)| rest);
        assert!(read(shorter, usize::MAX).is_ok_and(|body| !body.done));
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Body {
    data: Vec<u8>,
    trailers: Vec<u8>,
    consumed: usize,
    done: bool,
}

/// Reads a chunked body that comes in pieces of this size; 0 counts as 1.
fn read(bytes: &[u8], piece: usize) -> Result<Body, Offence> {
    let mut chunks = Chunks::new();
    let mut data = Vec::new();
    let mut consumed = 0;
    while let Some(rest) = bytes.get(consumed..).filter(|rest| !rest.is_empty()) {
        if chunks.is_done() {
            break;
        }
        let (come, _) = rest.split_at(piece.max(1).min(rest.len()));
        let step = chunks.step(come)?;
        assert!(step.consumed > 0 && step.consumed <= come.len());
        consumed += step.consumed;
        data.extend_from_slice(step.data);
    }
    Ok(Body {
        data,
        trailers: chunks.trailers().to_vec(),
        consumed,
        done: chunks.is_done(),
    })
}
