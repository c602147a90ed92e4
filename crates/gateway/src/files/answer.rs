//! The answer to a request for a file: head, and body from memory or from the disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::runtime::Handle;

use super::conditions::{Validators, Wish};
use super::hot::HotKey;
use super::sets::StaticFile;
use super::stream::FileStream;
use crate::body::Body;
use crate::compress::{Accepted, Coding};

/// A request, as far as files need it.
#[derive(Debug, Clone, Copy)]
pub struct StaticRequest<'a> {
    /// The method; only `GET` and `HEAD` are answered.
    pub method: &'a Method,
    /// The headers as the client sent them.
    pub headers: &'a HeaderMap,
}

impl StaticRequest<'_> {
    pub(super) fn is_read(&self) -> bool {
        *self.method == Method::GET || self.is_head()
    }

    pub(super) fn is_head(&self) -> bool {
        *self.method == Method::HEAD
    }
}

/// What all answers about one file have in common.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) validators: Validators,
    pub(super) size: u64,
    pub(super) content_type: HeaderValue,
    pub(super) cache_control: &'static str,
    pub(super) varies: bool,
}

impl Head {
    fn begin(&self, status: StatusCode, body: Body) -> Response<Body> {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.cache_control));
        if let Some(date) = self.validators.last_modified() {
            headers.insert(LAST_MODIFIED, date);
        }
        if self.varies {
            headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        response
    }

    fn with_content(
        &self,
        status: StatusCode,
        coding: Option<Coding>,
        length: Option<u64>,
        body: Body,
    ) -> Response<Body> {
        let mut response = self.begin(status, body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type.clone());
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(ETAG, self.validators.etag(coding));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        match coding {
            Some(coding) => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            }
            None => {
                headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            }
        }
        response
    }

    /// The whole content, of a known length or not.
    pub(super) fn whole(
        &self,
        coding: Option<Coding>,
        length: Option<u64>,
        body: Body,
    ) -> Response<Body> {
        self.with_content(StatusCode::OK, coding, length, body)
    }

    /// A part of the plain content.
    pub(super) fn part(&self, part: &Range<u64>, body: Body) -> Response<Body> {
        let length = part.end - part.start;
        let mut response = self.with_content(StatusCode::PARTIAL_CONTENT, None, Some(length), body);
        let last = part.end.saturating_sub(1);
        set_content_range(
            &mut response,
            &format!("bytes {}-{last}/{}", part.start, self.size),
        );
        response
    }

    /// The client has it.
    pub(super) fn not_modified(&self, tag: HeaderValue) -> Response<Body> {
        let mut response = self.begin(StatusCode::NOT_MODIFIED, Body::empty());
        response.headers_mut().insert(ETAG, tag);
        response
    }

    /// There is no such part.
    pub(super) fn impossible(&self) -> Response<Body> {
        let mut response = self.begin(StatusCode::RANGE_NOT_SATISFIABLE, Body::empty());
        response
            .headers_mut()
            .insert(CONTENT_LENGTH, HeaderValue::from(0));
        set_content_range(&mut response, &format!("bytes */{}", self.size));
        response
    }
}

fn set_content_range(response: &mut Response<Body>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
}

/// Answers with a file of an environment; `None` if its server has to.
pub(super) async fn respond(
    file: &StaticFile,
    request: StaticRequest<'_>,
    disk: &Handle,
) -> Option<Response<Body>> {
    if !request.is_read() {
        return None;
    }
    let content = &file.entry.content;
    let head = Head {
        validators: Validators {
            tag: content.hash.to_string(),
            modified: file.entry.modified,
            weak_forms: false,
        },
        size: content.size,
        content_type: file.entry.media.plain(),
        cache_control: file.entry.lifetime.cache_control(),
        varies: content.varies(),
    };
    match head.validators.wish(request.headers, content.size) {
        Wish::Nothing(tag) => return Some(head.not_modified(tag)),
        Wish::Impossible => return Some(head.impossible()),
        Wish::Part(part) if !request.is_head() => {
            let body = plain_body(file, part.clone(), disk).await.ok()?;
            return Some(head.part(&part, body));
        }
        Wish::Part(_) | Wish::Whole => {}
    }
    let forms: Vec<(Coding, u64)> = content.forms().collect();
    let chosen = Accepted::of(request.headers).choose(forms.iter().map(|(coding, _)| *coding));
    let form = forms
        .into_iter()
        .find(|(coding, _)| Some(*coding) == chosen);
    if let Some((coding, length)) = form {
        if request.is_head() {
            return Some(head.whole(Some(coding), Some(length), Body::empty()));
        }
        // A form that cannot be read is as good as none.
        if let Ok(bytes) = packed(file, coding, disk).await {
            let length = bytes.len() as u64;
            return Some(head.whole(Some(coding), Some(length), Body::full(bytes)));
        }
        content.drop_form(coding);
    }
    if request.is_head() {
        return Some(head.whole(None, Some(content.size), Body::empty()));
    }
    let body = plain_body(file, 0..content.size, disk).await.ok()?;
    Some(head.whole(None, Some(content.size), body))
}

/// A compressed form, from memory or the disk.
async fn packed(file: &StaticFile, coding: Coding, disk: &Handle) -> io::Result<Bytes> {
    let key = HotKey::Content(file.entry.content.hash, Some(coding));
    if let Some(bytes) = file.shared.hot.find(key) {
        return Ok(bytes);
    }
    let (set, entry) = (Arc::clone(&file.set), Arc::clone(&file.entry));
    let read = move || set.store().read(&entry.content.hash, coding);
    let bytes = file.shared.run(disk, read).await?;
    file.shared.hot.keep(key, bytes.clone());
    Ok(bytes)
}

/// The plain content or a part of it, from memory or the disk, in one or in pieces.
async fn plain_body(file: &StaticFile, part: Range<u64>, disk: &Handle) -> io::Result<Body> {
    let entry = Arc::clone(&file.entry);
    if !entry.content.fits_in_memory() {
        let opened = file.shared.run(disk, move || entry.content.open()).await?;
        let shared = Arc::clone(&file.shared);
        let length = part.end - part.start;
        let stream = FileStream::new(opened, shared, disk.clone(), part.start, length, None);
        return Ok(Body::new(stream));
    }
    let key = HotKey::Content(entry.content.hash, None);
    let bytes = if let Some(bytes) = file.shared.hot.find(key) {
        bytes
    } else {
        let bytes = file.shared.run(disk, move || entry.content.read()).await?;
        file.shared.hot.keep(key, bytes.clone());
        bytes
    };
    let range = usize::try_from(part.start)
        .ok()
        .zip(usize::try_from(part.end).ok());
    match range {
        Some((start, end)) if end <= bytes.len() => Ok(Body::full(bytes.slice(start..end))),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
