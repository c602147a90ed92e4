//! Takes what another hub has stored over into ours.
//!
//! One walk does it all, inside one transaction, and notes what it does: the caller commits for an import and rolls
//! back for a rehearsal, so that a report never differs from what would happen. What is here already stays: things of
//! the same name are merged, nothing is overwritten and nothing is deleted. A second import changes nothing.
//!
//! Nobody is asked for scopes: whoever can read both databases can do all this by hand. What may be imported, and
//! when (no hub runs meanwhile), is for the program to see to.

mod groups;
mod people;
mod report;
mod roles;
mod servers;
mod services;
mod shares;
mod snippet;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use lyceum_core::ids::{GroupId, ServerId, ServiceId, UserId};
use lyceum_core::scope::Catalogue;
use lyceum_core::{GroupName, ServerRef, ServiceName, Timestamp, UserName};
use lyceum_store::jupyterhub::Database;
use lyceum_store::{ActivityBatch, NewAuditRow, StoreError, Tx};
use serde_json::{Value, json};

pub use report::{Item, Kind, Outcome, Report, Totals};

use snippet::Snippet;

use crate::{AuditKind, CryptKeys};

/// What an import needs to know of this hub.
#[derive(Debug, Clone)]
pub struct ImportOptions<'a> {
    /// The current instant.
    pub now: Timestamp,
    /// All scopes that exist here.
    pub catalogue: &'a Catalogue,
    /// Whether users may have named servers here.
    pub named_servers: bool,
    /// The names of the roles that the configuration defines.
    pub configured_roles: &'a BTreeSet<String>,
    /// The names of the services that the configuration defines.
    pub configured_services: &'a BTreeSet<String>,
    /// The keys that open what login methods keep for users; without any, that is not taken.
    pub keys: Option<&'a CryptKeys>,
    /// Whether this hub keeps such things.
    pub keeps_auth_state: bool,
}

/// Takes over what is in a database of JupyterHub's, and tells what was done. The caller commits, or rolls back.
pub async fn import(
    tx: &mut Tx,
    source: &Database,
    options: ImportOptions<'_>,
) -> Result<Report, StoreError> {
    let now = options.now;
    let mut import = Import {
        tx,
        source,
        options,
        report: Report::default(),
        snippet: Snippet::default(),
        users: BTreeMap::new(),
        groups: BTreeMap::new(),
        services: BTreeMap::new(),
        servers: BTreeMap::new(),
        user_names: source
            .users
            .iter()
            .map(|user| (user.id, user.name.as_str()))
            .collect(),
        activity: ActivityBatch::default(),
    };
    Box::pin(import.walk()).await?;
    let (tx, report) = import.conclude();
    if report.changes() > 0 {
        tx.append_audit(&[event(now, &report)]).await?;
    }
    Ok(report)
}

/// What the audit table is told of an import. No hub runs meanwhile that would tell it.
fn event(at: Timestamp, report: &Report) -> NewAuditRow {
    let count = |totals: &Totals| {
        let counts = totals.iter();
        let counts = counts.map(|(outcome, count)| (outcome.as_str().to_owned(), json!(count)));
        Value::Object(counts.collect())
    };
    let totals = report.totals();
    let totals = totals.iter();
    let totals = totals.map(|(kind, totals)| (kind.plural().to_owned(), count(totals)));
    NewAuditRow {
        at,
        kind: AuditKind::Import.as_str(),
        actor: "-".to_owned(),
        about: None,
        server: None,
        client_addr: None,
        detail: Value::Object(totals.collect()),
    }
}

/// An import under way. The maps lead from the ids of the other hub's rows to what they are here; what was not taken
/// is not in them.
struct Import<'a> {
    tx: &'a mut Tx,
    source: &'a Database,
    options: ImportOptions<'a>,
    report: Report,
    snippet: Snippet,
    users: BTreeMap<i64, (UserId, UserName)>,
    groups: BTreeMap<i64, (GroupId, GroupName)>,
    services: BTreeMap<i64, (ServiceId, ServiceName)>,
    servers: BTreeMap<i64, (ServerId, ServerRef)>,
    /// The names of all users there, taken or not.
    user_names: BTreeMap<i64, &'a str>,
    activity: ActivityBatch,
}

impl<'a> Import<'a> {
    async fn walk(&mut self) -> Result<(), StoreError> {
        self.import_users().await?;
        self.import_groups().await?;
        self.import_services().await?;
        self.import_roles().await?;
        self.import_servers().await?;
        self.import_tokens().await?;
        self.import_shares().await?;
        self.import_share_codes().await?;
        self.tx.record_activity(&self.activity).await
    }

    fn conclude(mut self) -> (&'a mut Tx, Report) {
        if self.source.oauth_codes > 0 {
            self.report
                .note("logins that were just under way at servers and services are not taken");
        }
        if !self.source.users.is_empty() {
            self.report
                .note("logins in browsers are not taken: everybody logs in once more");
        }
        self.report.configuration = self.snippet.text();
        (self.tx, self.report)
    }

    fn has_ended(&self, expires_at: Option<Timestamp>) -> bool {
        expires_at.is_some_and(|at| at <= self.options.now)
    }

    /// The scopes among these that do not exist here.
    fn unknown_scopes(&self, scopes: &[String]) -> Vec<String> {
        let known = |scope: &&String| self.options.catalogue.parse(scope).is_err();
        scopes.iter().filter(known).cloned().collect()
    }

    /// Notes which scopes do not exist here, and what custom ones need.
    fn tell_unknown(&mut self, item: &mut Item, scopes: &[String]) {
        let (custom, other): (Vec<_>, Vec<_>) = self
            .unknown_scopes(scopes)
            .into_iter()
            .partition(|scope| scope.starts_with("custom:"));
        for scope in &custom {
            self.snippet.custom_scope(scope);
        }
        if !custom.is_empty() {
            item.note(format!(
                "{} grants nothing until [custom_scopes] has it",
                listed(&custom)
            ));
        }
        if !other.is_empty() {
            item.note(format!(
                "{} is not a scope here, and grants nothing",
                listed(&other)
            ));
        }
    }

    fn user_name(&self, id: i64) -> &'a str {
        self.user_names.get(&id).copied().unwrap_or("(no user)")
    }

    fn group_name(&self, id: i64) -> &'a str {
        let found = self.source.groups.iter().find(|group| group.id == id);
        found.map_or("(no group)", |group| group.name.as_str())
    }
}

/// Some names as a text for people; of many, the first few and the number of the others.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const FEW: usize = 10;
    let mut text = names
        .iter()
        .take(FEW)
        .map(AsRef::as_ref)
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > FEW {
        let _ = write!(text, " and {} more", names.len() - FEW);
    }
    text
}
