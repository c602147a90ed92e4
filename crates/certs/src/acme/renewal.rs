//! When an authority wants its certificates renewed (RFC 9773).

use std::time::Duration;

use instant_acme::CertificateIdentifier;
use lyceum_core::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Deserialize;

use super::http::{Failure, Http, Refusal};
use super::{directory, problem};
use crate::trouble::Trouble;

/// When to ask again, if the authority does not say (RFC 9773 §4.3.2 leaves that to us).
const ASK_AGAIN: Duration = Duration::from_hours(6);
/// What it may say at least and at most (RFC 9773 §4.3.2).
const ASK_AGAIN_LEAST: Duration = Duration::from_mins(1);
const ASK_AGAIN_MOST: Duration = Duration::from_hours(24);

/// When the authority wants a certificate renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalAdvice {
    /// The begin of the time for it; in the past if it has to be done at once.
    pub start: Timestamp,
    /// The end of it, after the begin.
    pub end: Timestamp,
    /// Where people can read why, if there is a reason.
    pub explanation_url: Option<String>,
    /// After which time to ask again: a minute to a day.
    pub ask_again: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    suggested_window: Window,
    #[serde(rename = "explanationURL")]
    explanation_url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Window {
    start: Timestamp,
    end: Timestamp,
}

/// The name of a certificate towards its authority (RFC 9773 §4.1); `None` if it does not say whose it is.
pub(super) fn identifier<'a>(leaf: &'a CertificateDer<'_>) -> Option<CertificateIdentifier<'a>> {
    CertificateIdentifier::try_from(leaf).ok()
}

/// Asks for the advice for a certificate; `None` if the authority gives none, or does not know the certificate.
pub(super) async fn ask(
    http: &Http,
    directory_url: &str,
    leaf: &CertificateDer<'_>,
) -> Result<Option<RenewalAdvice>, Trouble> {
    let directory = directory::fetch(http, directory_url).await?;
    let (Some(url), Some(identifier)) = (directory.renewal_info, identifier(leaf)) else {
        return Ok(None);
    };
    let url = format!("{}/{identifier}", url.trim_end_matches('/'));
    let answer = match http.get(&url).await {
        Ok(answer) => answer,
        // Of another authority, or of one that has a new key since.
        Err(Failure::Refused(refusal)) if is_unknown(&refusal) => return Ok(None),
        Err(failure) => return Err(problem::failed(&failure)),
    };
    let pause = http.retry_after(&answer.parts.headers);
    read(&answer.body, pause).map(Some)
}

fn is_unknown(refusal: &Refusal) -> bool {
    let said = refusal.said.as_ref();
    refusal.status == http::StatusCode::NOT_FOUND
        || said.is_some_and(|said| matches!(said.kind(), "malformed" | "notFound"))
}

fn read(body: &[u8], pause: Option<Duration>) -> Result<RenewalAdvice, Trouble> {
    let sent: Sent = serde_json::from_slice(body)
        .map_err(|error| problem::not_understood().because(error.to_string()))?;
    let Window { start, end } = sent.suggested_window;
    if end <= start {
        return Err(problem::not_understood().because(format!(
            "the time to renew ends before it begins: {start} to {end}"
        )));
    }
    Ok(RenewalAdvice {
        start,
        end,
        explanation_url: sent.explanation_url,
        ask_again: pause
            .unwrap_or(ASK_AGAIN)
            .clamp(ASK_AGAIN_LEAST, ASK_AGAIN_MOST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_has_a_window_and_a_time_to_ask_again() {
        let body = br#"{"suggestedWindow": {"start": "2026-01-02T04:00:00Z", "end": "2026-01-03T04:00:00Z"},
                        "explanationURL": "https://ca.example/why"}"#;
        let advice = read(body, Some(Duration::from_secs(1))).unwrap();
        assert_eq!(advice.start, "2026-01-02T04:00:00Z".parse().unwrap());
        assert_eq!(
            advice.explanation_url.as_deref(),
            Some("https://ca.example/why")
        );
        assert_eq!(advice.ask_again, ASK_AGAIN_LEAST);
        assert_eq!(read(body, None).unwrap().ask_again, ASK_AGAIN);
        for body in [
            "{}",
            "",
            r#"{"suggestedWindow": {"start": "2026-01-02T04:00:00Z", "end": "2026-01-02T04:00:00Z"}}"#,
        ] {
            assert!(read(body.as_bytes(), None).is_err(), "{body}");
        }
    }
}
