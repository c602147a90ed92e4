//! The folder of a site, answered with files, ranges and compression on the way; never with anything outside.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_LENGTH, LOCATION};
use http::{HeaderValue, Response, StatusCode, Uri};
use tokio::runtime::Handle;

use super::answer::{Head, StaticRequest};
use super::beneath::{FileId, Found, Links, Root};
use super::conditions::{Validators, Wish};
use super::disk::Shared;
use super::hot::HotKey;
use super::media::Media;
use super::sets::StaticSets;
use super::stream::FileStream;
use crate::body::Body;
use crate::compress::{Accepted, Coding, Encoder};
use crate::path;

/// What stands for a folder.
const INDEX: &str = "index.html";
/// Files up to this size are read, compressed and kept whole.
const WHOLE: u64 = 1024 * 1024;
/// Shorter files are sent as they are.
const MIN_PACKED: u64 = 1024;
/// A folder may change at any time, so browsers ask each time whether it has.
const CACHE_CONTROL: &str = "no-cache";

/// A folder whose files are answered; cheap to make, nothing is opened before a request.
#[derive(Debug, Clone)]
pub struct FileFolder<'a> {
    folder: &'a Path,
    shared: Arc<Shared>,
}

/// What is at a path.
enum At {
    File(Opened),
    /// A folder without a slash at the end of the path: links in its page would lead elsewhere.
    NeedsSlash,
}

struct Opened {
    file: File,
    id: FileId,
    media: Media,
}

impl<'a> FileFolder<'a> {
    /// Makes one that shares memory and threads with the sets.
    pub fn new(folder: &'a Path, sets: &StaticSets) -> Self {
        Self {
            folder,
            shared: Arc::clone(sets.shared()),
        }
    }

    /// Answers a request for a path below the folder; `None` if there is no such file, and somebody should say
    /// so with status 404.
    ///
    /// `below` is the path after the site's prefix, decoded or not; `uri` is the whole, for redirects.
    /// May be dropped at any await.
    pub async fn respond(
        &self,
        below: &str,
        uri: &Uri,
        request: StaticRequest<'_>,
        disk: &Handle,
    ) -> Option<Response<Body>> {
        let below = path::decode(below).into_owned();
        if !is_plain(&below) {
            return None;
        }
        if !request.is_read() {
            return Some(method_not_allowed());
        }
        let folder: PathBuf = self.folder.to_owned();
        // Without the slash the site itself was meant, or a folder in it.
        let slash = uri.path().ends_with('/');
        let found = self.shared.run(disk, move || find(&folder, &below, slash));
        match found.await.ok()? {
            At::NeedsSlash => redirect(uri),
            At::File(opened) => self.answer(opened, request, disk).await,
        }
    }

    async fn answer(
        &self,
        opened: Opened,
        request: StaticRequest<'_>,
        disk: &Handle,
    ) -> Option<Response<Body>> {
        let Opened { file, id, media } = opened;
        let packs = media.gains() && id.size >= MIN_PACKED;
        let head = Head {
            validators: Validators {
                tag: id.tag(),
                modified: id.modified.0,
                weak_forms: true,
            },
            size: id.size,
            content_type: media.with_charset(),
            cache_control: CACHE_CONTROL,
            varies: packs,
        };
        let part = match head.validators.wish(request.headers, id.size) {
            Wish::Nothing(tag) => return Some(head.not_modified(tag)),
            Wish::Impossible => return Some(head.impossible()),
            Wish::Part(part) => Some(part),
            Wish::Whole => None,
        };
        if request.is_head() {
            return Some(head.whole(None, Some(id.size), Body::empty()));
        }
        if let Some(part) = part {
            let length = part.end - part.start;
            let body = self.stream(file, part.start, length, None, disk);
            return Some(head.part(&part, body));
        }
        let coding = packs
            .then(|| Accepted::of(request.headers).choose(Coding::BY_COST))
            .flatten();
        if id.size <= WHOLE {
            let bytes = self.whole(file, id, coding, disk).await.ok()?;
            let length = bytes.len() as u64;
            return Some(head.whole(coding, Some(length), Body::full(bytes)));
        }
        let encoder = coding.and_then(Encoder::of_file);
        let coding = encoder.as_ref().and(coding);
        let length = coding.is_none().then_some(id.size);
        let body = self.stream(file, 0, id.size, encoder, disk);
        Some(head.whole(coding, length, body))
    }

    fn stream(
        &self,
        file: File,
        from: u64,
        length: u64,
        encoder: Option<Encoder>,
        disk: &Handle,
    ) -> Body {
        let shared = Arc::clone(&self.shared);
        Body::new(FileStream::new(
            file,
            shared,
            disk.clone(),
            from,
            length,
            encoder,
        ))
    }

    /// A small file, compressed or not, from memory if it was asked for in this state before.
    async fn whole(
        &self,
        file: File,
        id: FileId,
        coding: Option<Coding>,
        disk: &Handle,
    ) -> io::Result<Bytes> {
        let key = HotKey::File(id, coding);
        if let Some(bytes) = self.shared.hot.find(key) {
            return Ok(bytes);
        }
        let read = move || read_whole(file, id.size, coding);
        let bytes = self.shared.run(disk, read).await?;
        self.shared.hot.keep(key, bytes.clone());
        Ok(bytes)
    }
}

/// Whether a path can be that of a file which may be seen: nothing hidden, and no empty names.
fn is_plain(below: &str) -> bool {
    let inner = below.strip_suffix('/').unwrap_or(below);
    !below.starts_with('/')
        && !below.contains('\0')
        && (inner.is_empty()
            || inner
                .split('/')
                .all(|name| !name.is_empty() && !name.starts_with('.')))
}

fn find(folder: &Path, below: &str, slash: bool) -> io::Result<At> {
    let root = Root::open(folder)?;
    let inner = below.strip_suffix('/').unwrap_or(below);
    let opened = |path: &str, file, id| {
        Ok(At::File(Opened {
            file,
            id,
            media: Media::of(path),
        }))
    };
    match root.find(inner, Links::Inside)? {
        // A slash after a file's name names nothing.
        Found::File(..) if slash => Err(io::ErrorKind::NotFound.into()),
        Found::File(file, id) => opened(inner, file, id),
        Found::Folder(_) => {
            let index = if inner.is_empty() {
                INDEX.to_owned()
            } else {
                format!("{inner}/{INDEX}")
            };
            match root.find(&index, Links::Inside)? {
                Found::File(..) if !slash => Ok(At::NeedsSlash),
                Found::File(file, id) => opened(INDEX, file, id),
                Found::Folder(_) => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }
}

fn read_whole(file: File, size: u64, coding: Option<Coding>) -> io::Result<Bytes> {
    let mut plain = Vec::new();
    file.take(size).read_to_end(&mut plain)?;
    if plain.len() as u64 != size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let Some(coding) = coding else {
        return Ok(Bytes::from(plain));
    };
    let mut encoder = Encoder::uncounted(coding)?;
    let mut packed = Vec::new();
    encoder.push(&plain, &mut packed)?;
    encoder.finish(&mut packed)?;
    Ok(Bytes::from(packed))
}

fn redirect(uri: &Uri) -> Option<Response<Body>> {
    let path = uri.path();
    // Two slashes at the start would name a host.
    if path.starts_with("//") {
        return None;
    }
    let to = match uri.query() {
        Some(query) => format!("{path}/?{query}"),
        None => format!("{path}/"),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_str(&to).ok()?);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    Some(response)
}

fn method_not_allowed() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
    response
}
