//! What a waiting person is told of a start, in order; kept until the next start.

use lyceum_core::lifecycle::Failure;
use serde::Serialize;

/// One event of the progress stream (JupyterHub's fields, and `hint` and `log` of a failure besides).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgressEvent {
    /// How far the start is, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<u8>,
    /// What happens, as plain text.
    pub message: String,
    /// The same as HTML, where it has a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html_message: Option<String>,
    /// The server is ready; the last event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ready: bool,
    /// The start failed; the last event.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The server's URL path, once it is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What to do about a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The last lines of the log of a failed server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

impl ProgressEvent {
    /// Something happens.
    pub fn step(progress: u8, message: impl Into<String>) -> Self {
        Self {
            progress: Some(progress),
            message: message.into(),
            html_message: None,
            ready: false,
            failed: false,
            url: None,
            hint: None,
            log: Vec::new(),
        }
    }

    /// The server is ready at a URL path (already escaped).
    pub fn ready(url: &str) -> Self {
        Self {
            html_message: Some(format!("Server ready at <a href=\"{url}\">{url}</a>")),
            ready: true,
            url: Some(url.to_owned()),
            ..Self::step(100, format!("Server ready at {url}"))
        }
    }

    /// The start failed.
    pub fn failed(failure: &Failure) -> Self {
        Self {
            failed: true,
            hint: Some(failure.hint.clone()),
            log: failure.log.clone(),
            ..Self::step(100, format!("Spawn failed: {}", failure.message))
        }
    }

    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        self.ready || self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_only_the_fields_that_say_something() {
        let step = serde_json::to_string(&ProgressEvent::step(0, "Server requested")).unwrap();
        assert_eq!(step, r#"{"progress":0,"message":"Server requested"}"#);
        let ready = serde_json::to_value(ProgressEvent::ready("/user/ada/")).unwrap();
        assert_eq!(ready.get("url"), Some(&"/user/ada/".into()));
        assert_eq!(ready.get("failed"), None);
    }
}
