//! The audit table: who did what to whom, kept for administrators. What is told here is no secret, ever.
//!
//! An event that goes with a change is written in the transaction of the change ([`Audit::write`]): both happened, or
//! neither. The others wait in a queue ([`Audit::note`]) and are written many at once, so that nobody waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lyceum_core::{Clock, ServerName, ServiceName, UserName};
use lyceum_store::{NewAuditRow, Store, StoreError, Tx};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{Hub, Owner, Principal, Via};

/// How many events may wait to be written; beyond, they are lost and the log says how many.
const QUEUE: usize = 4096;
/// How many are written at once.
const BATCH: usize = 256;
/// How long writing may take.
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// The pauses before what could not be written is tried again; then it is lost.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// The longest detail, in bytes of its JSON text.
const MAX_DETAIL: usize = 4096;
/// How much of a text that somebody typed is kept, in characters.
const MAX_TYPED: usize = 64;

/// What is set about the audit table.
#[derive(Debug, Clone)]
pub struct AuditSettings {
    /// Whether anything is written down.
    pub enabled: bool,
    /// How long it is kept.
    pub keep: Duration,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self {
            enabled: true,
            keep: Duration::from_hours(365 * 24),
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What kind of event it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum AuditKind {$(
            $(#[$doc])*
            $name,
        )+}

        impl AuditKind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The name, as it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$name => $text,)+}
            }
        }
    };
}

kinds! {
    /// Somebody logged in.
    Login = "login",
    /// Somebody tried to log in, and was refused.
    LoginFailed = "login-failed",
    /// Somebody tried to log in too often, and has to wait; the password was not looked at.
    LoginSlowed = "login-slowed",
    /// Somebody logged out.
    Logout = "logout",
    /// Somebody asked for the start of a server.
    ServerStart = "server-start",
    /// A server is ready.
    ServerStarted = "server-started",
    /// A start failed, or a server ended without being asked to.
    ServerFailed = "server-failed",
    /// Somebody asked for the stop of a server.
    ServerStop = "server-stop",
    /// A named server was made without being started.
    ServerCreated = "server-created",
    /// A server got another name, or somebody changed what it is shown as or starts with.
    ServerChanged = "server-changed",
    /// A server was deleted, with what was kept for it.
    ServerDeleted = "server-deleted",
    /// A server is shared with somebody, or not any more; or a code for that was made, used or deleted.
    ShareChanged = "share-changed",
    /// The hub stopped a server that nobody used, or that ran too long.
    Cull = "cull",
    /// Somebody opened a server that is not theirs, or read what is kept for somebody else.
    AdminAccess = "admin-access",
    /// A user was created.
    UserCreated = "user-created",
    /// A user was deleted.
    UserDeleted = "user-deleted",
    /// A user got another name, or became an administrator, or is none any more.
    UserChanged = "user-changed",
    /// An account of the machine, or a home folder, was made for a user.
    AccountCreated = "account-created",
    /// An API token was made.
    TokenCreated = "token-created",
    /// An API token was revoked.
    TokenRevoked = "token-revoked",
    /// A group was created, deleted or changed.
    GroupChanged = "group-changed",
    /// The configuration made, changed or deleted a role.
    RoleChanged = "role-changed",
    /// A service was made or deleted by the API.
    ServiceChanged = "service-changed",
    /// Users, groups and the rest were taken over from a JupyterHub.
    Import = "import",
    /// Lyceum started, with this configuration.
    Configuration = "configuration",
    /// Lyceum ended.
    Shutdown = "shutdown",
}

impl std::fmt::Display for AuditKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who did something.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// The hub, by itself.
    Hub,
    /// Somebody who has not shown who they are.
    Unknown,
    /// A user.
    User(&'a UserName),
    /// A service.
    Service(&'a ServiceName),
    /// Whoever asked for it.
    Caller(&'a Principal),
}

impl Actor<'_> {
    /// The text in the table: a user's name, `service:NAME`, or `-`.
    fn to_text(self) -> String {
        let service = |name: &ServiceName| format!("service:{name}");
        match self {
            Self::Hub | Self::Unknown => "-".to_owned(),
            Self::User(name) => name.to_string(),
            Self::Service(name) => service(name),
            Self::Caller(caller) => match caller.owner() {
                Owner::User(user) => user.name.to_string(),
                Owner::Service(found) => service(&found.data.name),
            },
        }
    }
}

/// Something that has happened.
#[derive(Debug)]
pub struct AuditEvent<'a> {
    /// What kind of event it is.
    pub kind: AuditKind,
    /// Who did it.
    pub actor: Actor<'a>,
    /// The user that it is about.
    pub about: Option<&'a UserName>,
    /// The server that it is about, one of that user's.
    pub server: Option<&'a ServerName>,
    /// From where it was done; empty as well as `None` for unknown.
    pub client_addr: Option<&'a str>,
    /// What else there is to know: small, and no secret. Which token the caller has shown is added to it.
    pub detail: Value,
}

impl<'a> AuditEvent<'a> {
    /// An event without server, address and detail.
    pub fn new(kind: AuditKind, actor: Actor<'a>, about: Option<&'a UserName>) -> Self {
        Self {
            kind,
            actor,
            about,
            server: None,
            client_addr: None,
            detail: json!({}),
        }
    }
}

/// Where events are told; if the audit table is switched off, nothing comes of it.
#[derive(Debug)]
pub struct Audit {
    queue: Option<mpsc::Sender<NewAuditRow>>,
    clock: Arc<dyn Clock>,
    lost: Arc<AtomicU64>,
}

/// Writes what is told to its [`Audit`].
#[derive(Debug)]
pub(crate) struct AuditWriter {
    store: Store,
    rows: mpsc::Receiver<NewAuditRow>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Makes one, and what has to run so that events are written.
    pub(crate) fn new(
        settings: &AuditSettings,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> (Self, Option<AuditWriter>) {
        let lost = Arc::<AtomicU64>::default();
        let (queue, writer) = if settings.enabled {
            let (queue, rows) = mpsc::channel(QUEUE);
            let writer = AuditWriter {
                store,
                rows,
                lost: Arc::clone(&lost),
            };
            (Some(queue), Some(writer))
        } else {
            (None, None)
        };
        (Self { queue, clock, lost }, writer)
    }

    /// Tells that something has happened; does not wait.
    pub fn note(&self, event: AuditEvent<'_>) {
        let Some(queue) = &self.queue else { return };
        if queue.try_send(self.row(event)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes down something that happens with the changes of this transaction, if it is committed.
    pub async fn write(&self, tx: &mut Tx, event: AuditEvent<'_>) -> Result<(), StoreError> {
        if self.queue.is_none() {
            return Ok(());
        }
        tx.append_audit(&[self.row(event)]).await
    }

    fn row(&self, event: AuditEvent<'_>) -> NewAuditRow {
        let mut detail = event.detail;
        if let (Actor::Caller(caller), Value::Object(detail)) = (event.actor, &mut detail)
            && let Via::Token { id, .. } = caller.via()
        {
            detail.insert("token".to_owned(), json!(format!("a{id}")));
        }
        let detail = match detail {
            detail if detail.to_string().len() <= MAX_DETAIL => detail,
            _ => json!({"cut": true}),
        };
        let addr = event.client_addr.filter(|addr| !addr.is_empty());
        NewAuditRow {
            at: self.clock.now(),
            kind: event.kind.as_str(),
            actor: event.actor.to_text(),
            about: event.about.map(UserName::to_string),
            server: event.server.map(ServerName::to_string),
            client_addr: addr.map(str::to_owned),
            detail,
        }
    }
}

impl AuditWriter {
    /// Writes until it shall stop; what was told before that is written, too.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            tokio::select! {
                biased;
                count = self.rows.recv_many(&mut batch, BATCH) => if count == 0 { return },
                () = stop.cancelled() => return,
            }
            if !self.write_or_try_again(&batch).await {
                let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::error!(
                    lost,
                    "{lost} events are missing in the audit table: the database did not take them in time"
                );
            }
        }
    }

    async fn write_or_try_again(&self, batch: &[NewAuditRow]) -> bool {
        let mut pauses = AGAIN.into_iter();
        loop {
            let error = match timeout(WRITE_LIMIT, self.write(batch)).await {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => error.to_string(),
                Err(elapsed) => elapsed.to_string(),
            };
            tracing::warn!(error, "could not write {} events", batch.len());
            let Some(pause) = pauses.next() else {
                return false;
            };
            sleep(pause).await;
        }
    }

    async fn write(&self, batch: &[NewAuditRow]) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        tx.append_audit(batch).await?;
        tx.commit().await
    }
}

/// What is kept of a name that somebody typed: nothing, unless it can be a user's name. People type passwords into
/// the wrong field, and what cannot be a name tells nothing.
pub(crate) fn typed_name(typed: &str) -> Option<String> {
    let name = UserName::normalize(typed).ok()?;
    Some(printable(name.as_str()))
}

/// Makes a text fit for one line: cut, and without characters that do something.
fn printable(text: &str) -> String {
    let cut = text.chars().take(MAX_TYPED);
    cut.flat_map(|c| {
        let escaped = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        let plain = (!escaped).then_some(c);
        let code = escaped.then(|| c.escape_unicode());
        plain.into_iter().chain(code.into_iter().flatten())
    })
    .collect()
}

impl Hub {
    /// Where events are told that administrators look for later.
    pub fn audit(&self) -> &Audit {
        &self.shared().audit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> =
            AuditKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(names.len(), AuditKind::ALL.len());
    }

    #[test]
    fn a_typed_name_is_kept_only_if_it_can_be_one_and_cannot_break_a_line() {
        for (typed, kept) in [
            ("ada", Some("ada")),
            (" Ada ", Some("ada")),
            ("ada\nFAILED login for root", None),
            ("a/b", None),
            ("", None),
            ("..", None),
        ] {
            assert_eq!(typed_name(typed).as_deref(), kept, "{typed:?}");
        }
        let long = typed_name(&"x".repeat(200)).unwrap();
        assert_eq!(long.len(), MAX_TYPED);
        assert_eq!(
            printable("a\nb\u{2028}c\u{7f}"),
            "a\\u{a}b\\u{2028}c\\u{7f}"
        );
    }
}
