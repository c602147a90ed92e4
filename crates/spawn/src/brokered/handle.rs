//! What is stored of a server that the broker has started.

use std::fmt;
use std::path::PathBuf;

use lyceum_broker::protocol::{ServerKey, StartedServer};
use lyceum_core::seams::{Handle, PythonInUse, SpawnError};
use serde::{Deserialize, Serialize};

/// The key by which the broker knows a start; the rest is for people who read the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BrokeredHandle {
    kind: String,
    #[serde(flatten)]
    key: ServerKeyParts,
    /// The name of its unit or control group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    /// The account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    /// The Python environment whose static files may be answered for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) environment: Option<PathBuf>,
    /// The Python environment of the configuration that it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) python: Option<PythonInUse>,
}

/// As [`ServerKey`], which knows no other fields beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ServerKeyParts {
    user: lyceum_core::UserName,
    server: lyceum_core::ServerName,
    marker: String,
}

impl BrokeredHandle {
    /// Describes a start that is about to be asked for.
    pub(super) fn new(kind: &str, key: &ServerKey) -> Self {
        Self {
            kind: kind.to_owned(),
            key: ServerKeyParts {
                user: key.user.clone(),
                server: key.server.clone(),
                marker: key.marker.clone(),
            },
            unit: None,
            uid: None,
            environment: None,
            python: None,
        }
    }

    /// The same with what is known after the start.
    pub(super) fn with(self, started: &StartedServer) -> Self {
        Self {
            unit: Some(started.unit.clone()),
            uid: Some(started.uid),
            environment: started.environment.clone(),
            python: started.python.clone(),
            ..self
        }
    }

    /// Reads a stored handle. One of another kind is refused.
    pub(super) fn decode(handle: &Handle, kind: &'static str) -> Result<Self, SpawnError> {
        Self::deserialize(&handle.0)
            .ok()
            .filter(|decoded| decoded.kind == kind && !decoded.key.marker.is_empty())
            .ok_or(SpawnError::ForeignHandle { kind })
    }

    /// Gives the form that is stored.
    pub(super) fn encode(&self) -> Handle {
        Handle(serde_json::to_value(self).unwrap_or_default())
    }

    /// By what the broker knows it.
    pub(super) fn key(&self) -> ServerKey {
        ServerKey {
            user: self.key.user.clone(),
            server: self.key.server.clone(),
            marker: self.key.marker.clone(),
        }
    }
}

impl fmt::Display for BrokeredHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.user, self.key.server)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lyceum_broker::protocol::Made;
    use lyceum_core::route::Upstream;
    use lyceum_core::{ServerName, UserName};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_handle_comes_back_as_it_was_and_others_are_refused() {
        let key = ServerKey {
            user: UserName::parse("ada").unwrap(),
            server: ServerName::parse("lab").unwrap(),
            marker: "0123456789".to_owned(),
        };
        let early = BrokeredHandle::new("systemd", &key);
        let full = early.clone().with(&StartedServer {
            upstream: Upstream::Unix("/run/x".into()),
            uid: 1000,
            unit: "lyceum-ada-lab".to_owned(),
            environment: Some("/opt/env".into()),
            python: Some(PythonInUse {
                name: "base".to_owned(),
                generation: 3,
                prefix: "/opt/env".into(),
            }),
            made: Made::default(),
        });
        for handle in [&early, &full] {
            let decoded = BrokeredHandle::decode(&handle.encode(), "systemd").unwrap();
            assert_eq!(&decoded, handle);
            assert_eq!(decoded.key(), key);
        }
        assert_eq!(full.environment.as_deref(), Some(Path::new("/opt/env")));
        assert_eq!(full.to_string(), "ada/lab");
        assert!(BrokeredHandle::decode(&early.encode(), "process-user").is_err());
        for other in [
            json!(null),
            json!({"kind": "systemd"}),
            json!({"kind": "systemd", "user": "ada", "server": "", "marker": ""}),
            json!({"kind": "systemd", "user": "a/b", "server": "", "marker": "0123456789"}),
        ] {
            assert!(BrokeredHandle::decode(&Handle(other), "systemd").is_err());
        }
    }
}
