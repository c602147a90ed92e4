//! Which answers are compressed, and what becomes of their heads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};
use http::{Method, StatusCode};

use super::{Accepted, Coding, CompressMode, Encoder, Kind, kind};

/// Shorter answers gain nothing that is worth the work: they fit into one packet anyway.
const MIN_LENGTH: u64 = 1024;
/// How many answers may be compressed at the same time. An encoder takes one to two megabytes for as long as its
/// client takes for the answer, and whoever opens many connections and reads slowly must not fill the memory.
const MOST_ENCODERS: usize = 128;

/// Decides which answers are compressed, and counts the encoders at work; a clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Compression {
    mode: CompressMode,
    at_work: Arc<AtomicUsize>,
}

/// What is to be done with one answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    coding: Option<Coding>,
    /// The answer depends on `Accept-Encoding`, be it compressed this time or not.
    varies: bool,
}

/// The right to have an encoder; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Compression {
    /// Makes one of the configuration.
    pub fn new(mode: CompressMode) -> Self {
        Self {
            mode,
            at_work: Arc::default(),
        }
    }

    /// Decides about one answer; reads headers only, and costs next to nothing if the answer is not to be
    /// compressed. `request` are the headers as the client sent them.
    pub fn plan(
        &self,
        method: &Method,
        request: &HeaderMap,
        status: StatusCode,
        answer: &HeaderMap,
    ) -> Plan {
        let leave = Plan {
            coding: None,
            varies: false,
        };
        if !self.covers(answer) || has_no_body_to_change(status) || is_fixed(request, answer) {
            return leave;
        }
        // From here on the answer depends on what the client accepts.
        let left_plain = *method == Method::HEAD
            || length(answer).is_some_and(|length| length < MIN_LENGTH)
            || comes_from_elsewhere(request);
        let coding = (!left_plain)
            .then(|| Accepted::of(request).choose(Coding::BY_COST))
            .flatten();
        Plan {
            coding,
            varies: true,
        }
    }

    fn covers(&self, answer: &HeaderMap) -> bool {
        let kind = text(answer, &CONTENT_TYPE).map_or(Kind::Leave, kind);
        match self.mode {
            CompressMode::Off => false,
            CompressMode::Data => kind == Kind::Data,
            CompressMode::All => kind != Kind::Leave,
        }
    }

    pub(super) fn take_slot(&self) -> Option<Slot> {
        let before = self.at_work.fetch_add(1, Ordering::Relaxed);
        let slot = Slot(Arc::clone(&self.at_work));
        (before < MOST_ENCODERS).then_some(slot)
    }
}

impl Plan {
    /// The coding that is meant, if the answer is to be compressed.
    pub fn coding(&self) -> Option<Coding> {
        self.coding
    }

    /// Rewrites the head of the answer, and gives the encoder for its body; `None` if the body stays as it is.
    pub fn begin(&self, compression: &Compression, answer: &mut HeaderMap) -> Option<Encoder> {
        if self.varies {
            add_vary(answer);
        }
        let coding = self.coding?;
        let encoder = Encoder::new(coding, compression.take_slot()?)?;
        answer.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
        answer.remove(CONTENT_LENGTH);
        // Ranges of the plain content are not those of what is sent.
        answer.remove(ACCEPT_RANGES);
        weaken_etag(answer);
        Some(encoder)
    }
}

fn has_no_body_to_change(status: StatusCode) -> bool {
    status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        )
}

/// Whether somebody has said that the content is to stay as it is.
fn is_fixed(request: &HeaderMap, answer: &HeaderMap) -> bool {
    const DIGESTS: [HeaderName; 3] = [
        HeaderName::from_static("content-digest"),
        HeaderName::from_static("content-md5"),
        HeaderName::from_static("digest"),
    ];
    let encoded = answer
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    encoded
        || answer.contains_key(CONTENT_RANGE)
        || DIGESTS.iter().any(|name| answer.contains_key(name))
        || lists(answer, &CACHE_CONTROL, "no-transform")
        || lists(request, &CACHE_CONTROL, "no-transform")
}

/// Whether another site made the browser ask.
///
/// Whoever can make a browser ask often, with words of their choice in the answer, and sees the length of
/// what comes back, can guess what else is in it (BREACH). Browsers say who makes them ask, where it matters:
/// by TLS. The sites of one machine name trust one another anyway: they can read these answers.
fn comes_from_elsewhere(request: &HeaderMap) -> bool {
    const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    request
        .get(SITE)
        .is_some_and(|site| site != "same-origin" && site != "none")
}

fn length(headers: &HeaderMap) -> Option<u64> {
    text(headers, &CONTENT_LENGTH)?.parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a list header has this word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// Says that the answer depends on `Accept-Encoding`, once.
fn add_vary(answer: &mut HeaderMap) {
    if !lists(answer, &VARY, "accept-encoding") && !lists(answer, &VARY, "*") {
        answer.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// What is compressed on its way has the same meaning, but not the same bytes.
fn weaken_etag(answer: &mut HeaderMap) {
    let Some(strong) = answer
        .get(ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"))
    else {
        return;
    };
    let weak = [b"W/", strong.as_bytes()].concat();
    match HeaderValue::from_bytes(&weak) {
        Ok(weak) => answer.insert(ETAG, weak),
        Err(_) => answer.remove(ETAG),
    };
}
