//! Checks of a name by an authority, which come before everything else. What is answered comes from elsewhere.

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use lyceum_certs::HTTP_CHALLENGE_PATH;

use super::{FileWanted, Known, Verdict};
use crate::body::Body;
use crate::files::ChallengeFile;
use crate::plan::Asked;
use crate::serve::Core;

/// Answers an authority that checks a name (RFC 8555 §8.3). What it asks for comes before everything else, as it
/// may come by any name, and must not be sent elsewhere; `None` if there is no answer here.
pub(super) fn verdict(core: &Core, asked: &Asked<'_>, known: &Known) -> Option<Verdict> {
    let to_head = match asked.head.method {
        "GET" => false,
        "HEAD" => true,
        _ => return None,
    };
    if let Some(text) = core.parts.challenges.http(&asked.path) {
        let answer = answer(text.into(), to_head);
        return Some(Verdict::Answer(Box::new(answer)));
    }
    if known.no_file {
        return None;
    }
    let folder = core.parts.options.challenge_folder.as_ref()?;
    let token = asked.path.strip_prefix(HTTP_CHALLENGE_PATH)?;
    let file = ChallengeFile::new(folder, token, to_head)?;
    Some(Verdict::File(Box::new(FileWanted::Challenge(file))))
}

pub(super) fn answer(text: Bytes, to_head: bool) -> Response<Body> {
    let length = HeaderValue::from(text.len());
    let body = if to_head {
        Body::empty()
    } else {
        Body::full(text)
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
