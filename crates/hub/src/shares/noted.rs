//! What is written down of changes of shares: in the audit table, and in the log.

use lyceum_core::ServerRef;
use lyceum_store::{Receiver, Share, StoreError, Tx};
use serde_json::json;

use super::With;
use crate::{Actor, AuditEvent, AuditKind, Hub};

impl Hub {
    /// Writes down that something about the shares of a server was changed.
    pub(crate) async fn write_share(
        &self,
        tx: &mut Tx,
        actor: Actor<'_>,
        event: ShareEvent<'_>,
    ) -> Result<(), StoreError> {
        let (user, group) = match event.with {
            Some(With::User(name)) => (Some(name), None),
            Some(With::Group(name)) => (None, Some(name)),
            None => (None, None),
        };
        let detail = json!({
            "change": event.change,
            "user": user,
            "group": group,
            "scopes": event.scopes,
        });
        let server = event.server;
        let event = AuditEvent {
            server: Some(&server.server),
            detail,
            ..AuditEvent::new(AuditKind::ShareChanged, actor, Some(&server.user))
        };
        self.audit().write(tx, event).await
    }
}

/// What was changed of the shares of a server, for the audit table.
pub(crate) struct ShareEvent<'a> {
    change: &'static str,
    server: &'a ServerRef,
    with: Option<With>,
    /// What the share permits then; nothing if it has ended.
    scopes: Option<Vec<String>>,
}

impl<'a> ShareEvent<'a> {
    pub(crate) fn new(change: &'static str, server: &'a ServerRef) -> Self {
        Self {
            change,
            server,
            with: None,
            scopes: None,
        }
    }

    /// The same, with what is permitted then.
    pub(crate) fn permitting(self, scopes: &[String]) -> Self {
        Self {
            scopes: Some(scopes.to_vec()),
            ..self
        }
    }

    /// The same, with what is left of what somebody may do; with nothing, nothing is.
    pub(super) fn leaving(self, with: &With, left: Option<&Share>) -> Self {
        Self {
            with: Some(with.clone()),
            scopes: left.map(|left| left.scopes.clone()),
            ..self
        }
    }

    /// The same, of this share.
    pub(crate) fn of(self, share: &Share) -> Self {
        let with = match &share.with {
            Receiver::User(_, name) => With::User(name.to_string()),
            Receiver::Group(_, name) => With::Group(name.to_string()),
        };
        Self {
            with: Some(with),
            scopes: Some(share.scopes.clone()),
            ..self
        }
    }
}

pub(crate) fn log_change(what: &str, share: &Share) {
    let (kind, name) = match &share.with {
        Receiver::User(_, name) => ("user", name.as_str()),
        Receiver::Group(_, name) => ("group", name.as_str()),
    };
    tracing::info!(server.name = %share.server, scopes = ?share.scopes, receiver = name, "{what} server {} with {kind} {name}", share.server);
}
