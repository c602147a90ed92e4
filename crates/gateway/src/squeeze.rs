//! Compression of upstreams' answers on their way: which, and what becomes of head and body.

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::answer::{self, Manner, write_status};
use crate::compress::{CompressMode, Encoder, Kind, kind};
use crate::head::{AnswerHead, Facts, Field, Length, find, with_answer, with_request};
use crate::plan::{Plan, push};
use crate::pool::Link;
use crate::serve::Core;

/// An answer that is compressed.
pub(crate) struct Squeezed {
    pub(crate) headers: HeaderMap,
    pub(crate) encoder: Encoder,
}

/// Decides about an answer whose head is at the front of the link's inbox; `None` if it stays as it is. Costs next to
/// nothing if it does.
pub(crate) fn plan(
    core: &Core,
    plan: &Plan,
    link: &Link,
    head: usize,
    length: &Length,
) -> Option<Squeezed> {
    let mode = core.config.compress;
    if !plan.accepts_coding || plan.to_head || mode == CompressMode::Off || length.is_empty() {
        return None;
    }
    let bytes = link.inbox.data().get(..head)?;
    with_answer(bytes, |head, _| squeezed(core, plan, &head)).ok()??
}

fn squeezed(core: &Core, plan: &Plan, head: &AnswerHead<'_>) -> Option<Squeezed> {
    let content_type = std::str::from_utf8(find(head.fields, "content-type")?).ok()?;
    if kind(content_type) == Kind::Leave {
        return None;
    }
    let facts = Facts::of_answer(head).ok()?;
    let mut headers = HeaderMap::with_capacity(head.fields.len() + 2);
    answer::passed_on(plan, head, &facts, |name, value| {
        append(&mut headers, name, &value);
    });
    if let Some(length) = answer::told_length(head) {
        append(&mut headers, "content-length", length);
    }
    let request = asked(plan)?;
    let status = StatusCode::from_u16(head.status).ok()?;
    let decided = core
        .compression
        .plan(&Method::GET, &request, status, &headers);
    let encoder = decided.begin(&core.compression, &mut headers)?;
    Some(Squeezed { headers, encoder })
}

/// What of the request plays a part.
fn asked(plan: &Plan) -> Option<HeaderMap> {
    const MOST_FIELDS: usize = 4096;
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    with_request(&plan.head.0, MOST_FIELDS, |head| {
        let mut map = HeaderMap::new();
        for Field { name, value } in head.fields.iter().copied() {
            if [ACCEPT_ENCODING, CACHE_CONTROL, SITE]
                .iter()
                .any(|wanted| name.eq_ignore_ascii_case(wanted.as_str()))
            {
                append(&mut map, name, value);
            }
        }
        map
    })
    .ok()
}

fn append(map: &mut HeaderMap, name: &str, value: &[u8]) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value),
    ) {
        map.append(name, value);
    }
}

impl Squeezed {
    /// Writes the head for an HTTP/1 client.
    pub(crate) fn write_head(
        &self,
        out: &mut Vec<u8>,
        head: &AnswerHead<'_>,
        manner: Manner,
        connection: &[u8],
    ) {
        write_status(out, head.status, head.reason);
        for (name, value) in &self.headers {
            push(out, name.as_str(), value.as_bytes());
        }
        if manner == Manner::Chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        }
        out.extend_from_slice(connection);
        out.extend_from_slice(b"\r\n");
    }
}
