//! Downloads a file over HTTP or HTTPS: with time limits, a limit of its size, and going on where it was broken off.
//!
//! Checks nothing of what it gets: that is for whoever knows the checksum.

use std::error::Error as _;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderValue, IF_RANGE, RANGE};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};

use super::DataError;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);
/// How long nothing may come.
const SILENCE_LIMIT: Duration = Duration::from_mins(1);
/// How often a download goes on after it was broken off.
const TRIES: u32 = 3;
/// How many times we are sent elsewhere.
const MAX_REDIRECTS: usize = 5;

/// Reads an address that data can come from.
pub(super) fn parse(text: &str) -> Result<Url, DataError> {
    let bad = |why| DataError::BadSource {
        text: text.split(['@', '?']).next_back().unwrap_or("").to_owned(),
        why,
    };
    let url = Url::parse(text).map_err(|_| bad("it is no address"))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(bad("it begins neither with https:// nor with http://")),
    }
}

/// An address as it may be shown and stored: neither a password nor a query, which may be one.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

/// A file that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) url: &'a Url,
    /// Where it goes; what is there already is its beginning, if its checksum is known.
    pub(super) file: &'a Path,
    /// How large it may be, in bytes.
    pub(super) limit: u64,
    /// Whether the caller can tell by a checksum that it is the right one.
    pub(super) is_known: bool,
}

/// What the last answer has told of the version of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    /// There was no answer yet.
    Unseen,
    /// Nothing by which it can be told from another.
    Untold,
    Tag(HeaderValue),
}

/// Downloads files.
pub(super) struct Fetcher(Client);

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    pub(super) fn new() -> Result<Self, DataError> {
        let client = Client::builder()
            .user_agent(concat!("lyceum/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_LIMIT)
            .read_timeout(SILENCE_LIMIT)
            .redirect(Policy::custom(redirect))
            .build();
        client.map(Self).map_err(|error| DataError::Download {
            url: "anything".to_owned(),
            why: reason(error),
            answered: false,
        })
    }

    /// Downloads into a file, after what is in it already. `seen` is told how many bytes there are.
    ///
    /// Goes on where it was broken off only with the same version, or if there is a checksum to tell whether it was. May be
    /// dropped at any moment; the next one goes on. Whoever finds that the whole is not what it should be removes the file
    /// and asks again.
    pub(super) async fn to_file(
        &self,
        wanted: Wanted<'_>,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, DataError> {
        let mut version = Version::Unseen;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(wanted, &mut version, seen).await {
                Err(DataError::Download {
                    answered: false, ..
                }) if tries < TRIES => {}
                done => return done,
            }
        }
    }

    /// Downloads a short text into memory.
    pub(super) async fn text(&self, url: &Url, limit: u64) -> Result<String, DataError> {
        let failed = |why: String, answered| DataError::Download {
            url: shown(url),
            why,
            answered,
        };
        let broken = |error: reqwest::Error| {
            let answered = error.is_status() || error.is_redirect();
            failed(reason(error), answered)
        };
        let mut answer = self.0.get(url.clone()).send().await.map_err(broken)?;
        if answer.status() != StatusCode::OK {
            return Err(failed(
                format!("the server answered {}", answer.status()),
                true,
            ));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                return Err(DataError::TooLarge {
                    what: shown(url),
                    limit,
                });
            }
        }
        String::from_utf8(bytes).map_err(|_| failed("it is no text".to_owned(), true))
    }

    /// Asks for a file, from `start` on if it is not the beginning.
    async fn ask(&self, url: &Url, start: u64, version: &Version) -> Result<Response, DataError> {
        let mut request = self.0.get(url.clone());
        if start > 0 {
            request = request.header(RANGE, format!("bytes={start}-"));
            if let Version::Tag(tag) = version {
                request = request.header(IF_RANGE, tag);
            }
        }
        request.send().await.map_err(|error| broken(url, error))
    }

    async fn attempt(
        &self,
        wanted: Wanted<'_>,
        version: &mut Version,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, DataError> {
        let Wanted {
            url, file, limit, ..
        } = wanted;
        let mut have = match (&*version, wanted.is_known) {
            (Version::Tag(_), _) | (_, true) => {
                fs::symlink_metadata(file).map_or(0, |data| data.len())
            }
            // Two halves of different files could not be told from a whole one.
            _ => 0,
        };
        let mut answer = self.ask(url, have, version).await?;
        if have > 0 && !goes_on(&answer, have, version) {
            have = 0;
            answer = self.ask(url, have, version).await?;
        }
        // A checksum tells more, and versions may be named otherwise by each of several servers.
        if !wanted.is_known {
            *version = version_of(&answer);
        }
        let mut options = OpenOptions::new();
        let mut count = 0;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if have > 0 => {
                options.append(true);
                count = have;
            }
            // There is nothing behind it.
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => return Ok(have),
            status if status == StatusCode::OK => {
                options.write(true).create(true).truncate(true);
            }
            status => {
                return Err(DataError::Download {
                    url: shown(url),
                    why: format!("the server answered {status}"),
                    answered: true,
                });
            }
        }
        let too_large = || DataError::TooLarge {
            what: shown(url),
            limit,
        };
        if answer
            .content_length()
            .is_some_and(|length| count + length > limit)
        {
            return Err(too_large());
        }
        let mut output = options.open(file).map_err(DataError::io("write", file))?;
        while let Some(piece) = answer.chunk().await.map_err(|error| broken(url, error))? {
            count += piece.len() as u64;
            if count > limit {
                return Err(too_large());
            }
            write(&mut output, &piece, file)?;
            seen(count);
        }
        Ok(count)
    }
}

fn write(output: &mut File, piece: &[u8], file: &Path) -> Result<(), DataError> {
    output
        .write_all(piece)
        .map_err(DataError::io("write", file))
}

fn broken(url: &Url, error: reqwest::Error) -> DataError {
    DataError::Download {
        url: shown(url),
        answered: error.is_status() || error.is_redirect(),
        why: reason(error),
    }
}

/// Whether an answer to a question for the rest goes on exactly where we are; anything but a part does, as it is the whole
/// file, or what is wrong.
fn goes_on(answer: &Response, start: u64, version: &Version) -> bool {
    let range = answer.headers().get(CONTENT_RANGE);
    let range = range.and_then(|range| range.to_str().ok());
    let is = |beginning: &str| range.is_some_and(|range| range.starts_with(beginning));
    match answer.status() {
        // Some servers give a part of whatever they have by now.
        StatusCode::PARTIAL_CONTENT => {
            let now = version_of(answer);
            let is_same = now == *version || *version == Version::Unseen || now == Version::Untold;
            is_same && is(&format!("bytes {start}-"))
        }
        StatusCode::RANGE_NOT_SATISFIABLE => range == Some(&format!("bytes */{start}")),
        _ => true,
    }
}

/// What an answer tells of its version. A weak tag does not tell one byte from another (RFC 9110 §8.8.1).
fn version_of(answer: &Response) -> Version {
    match answer.headers().get(ETAG) {
        Some(tag) if tag.as_bytes().starts_with(b"\"") => Version::Tag(tag.clone()),
        _ => Version::Untold,
    }
}

/// Nobody is led from a protected address to an open one.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if was_secure && attempt.url().scheme() != "https" {
        attempt.error("it leads from https to http")
    } else {
        attempt.follow()
    }
}

/// What happened, without the address, which may hold a secret.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = next.to_string();
        cause = next.source();
    }
    text
}
