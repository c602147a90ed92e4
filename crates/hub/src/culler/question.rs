//! Asks a user's server what it computes: its kernels and terminals, as Jupyter Server tells of them.
//!
//! The question is marked so that the server does not take it for use of itself (`no_track_activity`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use lyceum_core::{Secret, Timestamp, Upstream};
use serde::Deserialize;
use tokio::time::timeout;

use crate::internal_tls::InternalTls;
use crate::servers::reach::{Stream, connect};

/// How long both questions together may take. A server that computes in its own thread answers late or never.
const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer; a kernel takes some 200 bytes.
const LONGEST: usize = 1024 * 1024;

/// What a server says of its kernels and terminals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// A kernel computes, or starts.
    pub(super) busy: bool,
    /// When one of them last did something; as the server says, so perhaps in the future.
    pub(super) last: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    execution_state: String,
    #[serde(default)]
    last_activity: String,
}

/// Asks a server; `None` if it does not answer as Jupyter Server does.
pub(super) async fn ask(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
    prefix: &str,
    token: &Secret<String>,
) -> Option<Answer> {
    let asked = async {
        let kernels = get(upstream, internal, &format!("{prefix}api/kernels"), token).await?;
        let mut answer = Answer::default();
        answer.add(&kernels)?;
        // Terminals can be switched off.
        let terminals = get(upstream, internal, &format!("{prefix}api/terminals"), token).await;
        if let Some(terminals) = terminals {
            let _ = answer.add(&terminals);
        }
        Some(answer)
    };
    timeout(LIMIT, asked).await.ok().flatten()
}

impl Answer {
    /// Adds a list of kernels or of terminals; `None` if it is none.
    fn add(&mut self, body: &[u8]) -> Option<()> {
        let items: Vec<Item> = serde_json::from_slice(body).ok()?;
        for item in items {
            self.busy |= matches!(item.execution_state.as_str(), "busy" | "starting");
            self.last = self.last.max(item.last_activity.parse().ok());
        }
        Some(())
    }
}

/// Gets the body of a good answer.
async fn get(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
    path: &str,
    token: &Secret<String>,
) -> Option<Bytes> {
    let request = Request::get(format!("{path}?no_track_activity=1"))
        .header(header::HOST, "127.0.0.1")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .header(header::AUTHORIZATION, format!("token {}", token.expose()))
        .body(Empty::<Bytes>::new())
        .ok()?;
    let stream = connect(upstream, internal).await.ok()?;
    exchange(stream, request).await
}

async fn exchange(stream: Box<dyn Stream>, request: Request<Empty<Bytes>>) -> Option<Bytes> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.ok()?;
    let answer = async {
        let response = sender.send_request(request).await.ok()?;
        if response.status() != http::StatusCode::OK {
            return None;
        }
        let body = Limited::new(response.into_body(), LONGEST);
        Some(body.collect().await.ok()?.to_bytes())
    };
    // The connection is driven here, beside the request, so that no task outlives the question.
    let connection = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = connection => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<(bool, Option<&str>)>) {
        let mut answer = Answer::default();
        let found = answer.add(body.as_bytes()).map(|()| answer);
        let expected = expected.map(|(busy, last)| Answer {
            busy,
            last: last.map(|last| last.parse().unwrap()),
        });
        assert_eq!(found, expected, "{body}");
    }

    #[test]
    fn kernels_and_terminals_are_understood_and_nothing_else() {
        check("[]", Some((false, None)));
        check(
            r#"[{"id": "x", "name": "python3", "last_activity": "2026-11-26T12:00:00.123456Z", "execution_state": "busy", "connections": 1},
                {"id": "y", "last_activity": "2026-11-26T13:00:00Z", "execution_state": "idle"}]"#,
            Some((true, Some("2026-11-26T13:00:00Z"))),
        );
        check(
            r#"[{"name": "1", "last_activity": "2026-11-26T12:00:00Z"}]"#,
            Some((false, Some("2026-11-26T12:00:00Z"))),
        );
        check(
            r#"[{"last_activity": "yesterday", "execution_state": "dead"}]"#,
            Some((false, None)),
        );
        check(r#"{"message": "Forbidden"}"#, None);
        check("<html>", None);
        check(r#"[{"execution_state": 7}]"#, None);
    }
}
