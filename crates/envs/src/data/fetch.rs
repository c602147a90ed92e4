//! Downloads a file over HTTP or HTTPS: with time limits, a limit of its size, and going on where it was broken off.
//!
//! Checks nothing of what it gets: that is for whoever knows the checksum.

use std::error::Error as _;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, RANGE};
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
    /// May be dropped at any moment; the next one goes on. Whoever finds that the whole is not what it should be removes
    /// the file and asks again.
    pub(super) async fn to_file(
        &self,
        url: &Url,
        file: &Path,
        limit: u64,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, DataError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.attempt(url, file, limit, seen).await {
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

    async fn attempt(
        &self,
        url: &Url,
        file: &Path,
        limit: u64,
        seen: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64, DataError> {
        let failed = |error: reqwest::Error| DataError::Download {
            url: shown(url),
            answered: error.is_status() || error.is_redirect(),
            why: reason(error),
        };
        let have = fs::symlink_metadata(file).map_or(0, |data| data.len());
        let mut request = self.0.get(url.clone());
        if have > 0 {
            request = request.header(RANGE, format!("bytes={have}-"));
        }
        let mut answer = request.send().await.map_err(failed)?;
        let mut options = OpenOptions::new();
        let mut count = 0;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(&answer, have) => {
                options.append(true);
                count = have;
            }
            // There is nothing behind it: it is complete, or another one. The checksum will tell.
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
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
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

/// Whether an answer goes on exactly where we are.
fn begins_at(answer: &Response, start: u64) -> bool {
    let range = answer.headers().get(CONTENT_RANGE);
    range
        .and_then(|range| range.to_str().ok())
        .is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
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
