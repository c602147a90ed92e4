//! How an authority is spoken to: by HTTPS, with limits. Knows nothing of accounts and orders.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, HeaderMap, HeaderValue, LINK, RETRY_AFTER, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use jiff::SignedDuration;
use lyceum_core::{Clock, Timestamp};
use thiserror::Error;
use tokio::time::{Instant, timeout};

use super::problem::Said;
use crate::client::ClientTls;
use crate::trouble::{Trouble, TroubleKind};

/// How long a request may take, with its answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a connection may take, so that there is time for another address of the same name.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How large an answer may be; a chain of certificates has some kilobytes.
const SIZE_LIMIT: usize = 1024 * 1024;
/// The longest pause that an authority can have us make.
const LONGEST_PAUSE: Duration = Duration::from_hours(7 * 24);
/// How long a connection is kept without use.
const IDLE_LIMIT: Duration = Duration::from_mins(1);
/// By how much the machine's clock and the time that has passed may differ until the clock was set meanwhile.
const CLOCK_SET: Duration = Duration::from_mins(1);
/// Who asks.
const AGENT: &str = concat!("lyceum/", env!("CARGO_PKG_VERSION"));

/// Speaks to one authority; cheap to clone, all clones are one.
#[derive(Clone)]
pub(super) struct Http(Arc<Inner>);

struct Inner {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    clock: Arc<dyn Clock>,
    seen: Mutex<Option<Seen>>,
}

/// What an answer has told of the time.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// The authority's clock minus ours.
    difference: SignedDuration,
    /// What our clock said then.
    by_clock: Timestamp,
    /// When that was, by a clock that nobody can set.
    at: Instant,
}

/// What came back, if it is no failure.
pub(super) struct Answer {
    pub(super) parts: http::response::Parts,
    pub(super) body: Bytes,
}

/// Why there is no answer that helps.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// The authority, or something before it, has said no.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// Nothing came in time.
    #[error("no answer within {} seconds", LIMIT.as_secs())]
    Late,
    /// The answer is larger than any that makes sense.
    #[error("the answer is larger than {} KiB", SIZE_LIMIT / 1024)]
    Large,
    /// The connection could not be made, or broke.
    #[error("the connection failed")]
    Connection(#[source] hyper_util::client::legacy::Error),
    /// It broke in the middle of the answer.
    #[error("the answer broke off")]
    Body(#[source] Box<dyn StdError + Send + Sync>),
    /// The URL cannot be asked.
    #[error("the URL cannot be asked for")]
    Url(#[source] http::Error),
}

/// A no, with what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What the authority itself says; `None` if it was not the authority that has answered.
    pub(super) said: Option<Said>,
    pub(super) retry_after: Option<Duration>,
    /// Where the terms of service are, if they are what it is about.
    pub(super) terms: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Some(said) => said.fmt(f),
            None => write!(f, "the answer was {}", self.status),
        }
    }
}

impl StdError for Refusal {}

impl Http {
    /// Makes one that believes the authorities in a file, or else those that the machine knows.
    pub(super) fn new(
        ca_file: Option<&std::path::Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Trouble> {
        let tls = ClientTls::new(ca_file, None).map_err(|error| {
            Trouble::new(
                TroubleKind::Configuration,
                "could not read whom to believe to be the authority",
                "check `tls.acme.ca_file`: a PEM file that Lyceum may read",
            )
            .caused_by(&error)
        })?;
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        connector.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.config().as_ref().clone())
            .https_only()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .build(connector);
        Ok(Self(Arc::new(Inner {
            client,
            clock,
            seen: Mutex::new(None),
        })))
    }

    /// The authority's clock minus ours, as last seen. `None` if ours was set since: perhaps it is right now.
    pub(super) fn clock_difference(&self) -> Option<SignedDuration> {
        let seen = (*self.0.seen.lock().unwrap_or_else(PoisonError::into_inner))?;
        let by_clock = seen.by_clock.duration_until(self.0.clock.now());
        let passed = SignedDuration::try_from(seen.at.elapsed()).unwrap_or(SignedDuration::MAX);
        let set = by_clock.saturating_sub(passed).unsigned_abs() > CLOCK_SET;
        (!set).then_some(seen.difference)
    }

    /// Asks for something that everybody may see.
    pub(super) async fn get(&self, url: &str) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(url)
            .body(BodyWrapper::default())
            .map_err(Failure::Url)?;
        let answer = self.send(request).await?;
        if answer.parts.status.is_success() {
            return Ok(answer);
        }
        Err(Failure::Refused(Box::new(self.refusal(&answer))))
    }

    /// Sends a request, and reads the whole answer. Answers of 400 come back as they are: the library above looks into
    /// them for worn-out nonces.
    async fn send(&self, mut request: Request<BodyWrapper<Bytes>>) -> Result<Answer, Failure> {
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let exchange = async {
            let response = self
                .0
                .client
                .request(request)
                .await
                .map_err(Failure::Connection)?;
            let (mut parts, body) = response.into_parts();
            self.limit_pause(&mut parts.headers);
            let body = Limited::new(body, SIZE_LIMIT)
                .collect()
                .await
                .map_err(|error| match error.downcast::<LengthLimitError>() {
                    Ok(_) => Failure::Large,
                    Err(error) => Failure::Body(error),
                })?;
            Ok(Answer {
                parts,
                body: body.to_bytes(),
            })
        };
        let answer = timeout(LIMIT, exchange)
            .await
            .unwrap_or(Err(Failure::Late))?;
        if let Some(theirs) = date(&answer.parts.headers) {
            let ours = self.0.clock.now();
            let seen = Seen {
                difference: SignedDuration::from_secs(theirs.as_second() - ours.as_second()),
                by_clock: ours,
                at: Instant::now(),
            };
            *self.0.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }
        let status = answer.parts.status;
        let for_the_library =
            status == StatusCode::BAD_REQUEST && Said::read(&answer.body).is_some();
        if status.is_client_error() || status.is_server_error() {
            if !for_the_library {
                return Err(Failure::Refused(Box::new(self.refusal(&answer))));
            }
        } else if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            // ACME has no redirects: it is a page of something else.
            return Err(Failure::Refused(Box::new(self.refusal(&answer))));
        }
        Ok(answer)
    }

    fn refusal(&self, answer: &Answer) -> Refusal {
        Refusal {
            status: answer.parts.status,
            said: Said::read(&answer.body),
            retry_after: self.retry_after(&answer.parts.headers),
            terms: terms(&answer.parts.headers),
        }
    }

    /// How long we are asked to wait. A date is compared with the authority's own clock: ours may be wrong.
    pub(super) fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
        }
        let until = http_date(text)?;
        let now = date(headers).unwrap_or_else(|| self.0.clock.now());
        let seconds = u64::try_from(until.as_second() - now.as_second()).unwrap_or(0);
        Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
    }

    /// Has a wish for an absurd pause be one for the longest: the library above adds it to the time as it is.
    fn limit_pause(&self, headers: &mut HeaderMap) {
        let Some(pause) = self.retry_after(headers) else {
            headers.remove(RETRY_AFTER);
            return;
        };
        headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs()));
    }
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

/// The link to the terms of service (RFC 8555 §7.3.3).
fn terms(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().find_map(|value| {
        let text = value.to_str().ok()?;
        let (url, relation) = text.strip_prefix('<')?.split_once('>')?;
        relation
            .contains("terms-of-service")
            .then(|| url.to_owned())
    })
}

/// The same for one piece of work: remembers how long its last answer asked to wait.
#[derive(Clone)]
pub(super) struct Session {
    http: Http,
    pause: Arc<Mutex<Option<Duration>>>,
}

impl Session {
    /// Begins one.
    pub(super) fn new(http: Http) -> Self {
        Self {
            http,
            pause: Arc::default(),
        }
    }

    /// How long the last answer asked to wait.
    pub(super) fn pause(&self) -> Option<Duration> {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpClient for Session {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let session = self.clone();
        Box::pin(async move {
            let answer = session
                .http
                .send(request)
                .await
                .map_err(|failure| instant_acme::Error::Other(Box::new(failure)))?;
            let pause = session.http.retry_after(&answer.parts.headers);
            *session.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
            Ok(BytesResponse {
                parts: answer.parts,
                body: Box::new(answer.body),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::SystemClock;

    use super::*;

    #[test]
    fn a_pause_is_told_in_seconds_or_by_the_authoritys_own_clock() {
        let http = Http::new(None, Arc::new(SystemClock)).unwrap();
        let pause = |headers: &[(http::HeaderName, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
                .collect();
            http.retry_after(&headers).map(|pause| pause.as_secs())
        };
        assert_eq!(pause(&[]), None);
        assert_eq!(pause(&[(RETRY_AFTER, "120")]), Some(120));
        assert_eq!(pause(&[(RETRY_AFTER, "soon")]), None);
        let then = (RETRY_AFTER, "Sun, 06 Nov 1994 08:50:37 GMT");
        let now = (DATE, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(pause(&[then.clone(), now]), Some(60));
        assert_eq!(pause(&[then]), Some(0));
    }

    #[test]
    fn an_absurd_pause_is_the_longest_one_and_one_without_sense_is_none() {
        let http = Http::new(None, Arc::new(SystemClock)).unwrap();
        let limited = |value: &'static str| {
            let mut headers =
                HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            http.limit_pause(&mut headers);
            let left = headers.get(RETRY_AFTER)?;
            left.to_str().unwrap().parse::<u64>().ok()
        };
        // The library adds it to the time as it is, which would be the end of the program.
        assert_eq!(limited("18446744073709551615"), Some(7 * 24 * 3600));
        assert_eq!(
            limited("Thu, 31 Dec 9998 23:59:59 GMT"),
            Some(7 * 24 * 3600)
        );
        assert_eq!(limited("120"), Some(120));
        assert_eq!(limited("soon"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_authority_that_never_answers_is_not_waited_for() {
        // Connections are taken by the kernel, and by nobody else.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let http = Http::new(None, Arc::new(SystemClock)).unwrap();
        let begin = Instant::now();
        let Err(failure) = http.get(&url).await else {
            panic!("there was an answer");
        };
        assert!(begin.elapsed() <= LIMIT + Duration::from_secs(1));
        let trouble = crate::acme::problem::failed(&failure);
        assert_eq!(trouble.kind, TroubleKind::Unreachable, "{trouble:?}");
    }

    #[test]
    fn terms_are_found_among_links() {
        let mut headers = HeaderMap::new();
        headers.append(
            LINK,
            HeaderValue::from_static("<https://ca/dir>;rel=\"index\""),
        );
        assert_eq!(terms(&headers), None);
        headers.append(
            LINK,
            HeaderValue::from_static("<https://ca/tos>;rel=\"terms-of-service\""),
        );
        assert_eq!(terms(&headers).as_deref(), Some("https://ca/tos"));
    }
}
