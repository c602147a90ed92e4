//! The audit table: what happened, who did it, and to whom. It does not know what the kinds mean.
//!
//! Rows are only added and, when they are old, thrown away. Names stand in it as text, so that they stay when a user
//! is deleted.

use jiff::Timestamp;
use serde_json::Value as Json;
use sqlx::AssertSqlSafe;

use crate::engine::{Db, Row, Value, values};
use crate::error::StoreError;
use crate::page::{Conditions, Page};
use crate::tx::{Tx, reads};

/// Something that happened, to be written down.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAuditRow {
    /// When.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: &'static str,
    /// Who did it: a user's name, `service:NAME`, or `-`.
    pub actor: String,
    /// The name of the user that it is about.
    pub about: Option<String>,
    /// The server that it is about; empty for the default one.
    pub server: Option<String>,
    /// From where it was done.
    pub client_addr: Option<String>,
    /// What else there is to know; small.
    pub detail: Json,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    /// The number; later rows have higher ones.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What kind of event it is.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// The name of the user that it is about.
    pub about: Option<String>,
    /// The server that it is about; empty for the default one.
    pub server: Option<String>,
    /// From where it was done.
    pub client_addr: Option<String>,
    /// What else there is to know.
    pub detail: Json,
}

/// Which events are wanted; all conditions must hold.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Not before this instant.
    pub since: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Only of these kinds; of all, if there are none.
    pub kinds: Vec<String>,
    /// Only what this user has done, or what is about them.
    pub user: Option<String>,
    /// Only what came from this address.
    pub client_addr: Option<String>,
    /// Only rows with lower numbers.
    pub before: Option<i64>,
    /// Only rows with higher numbers.
    pub after: Option<i64>,
    /// How many rows at most.
    pub limit: u64,
    /// The first of them in the place of the last.
    pub oldest_first: bool,
}

const COLUMNS: usize = 7;
/// How many rows one statement writes at most.
const ROWS: usize = 64;

impl AuditRow {
    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("id")?,
            at: row.get("at")?,
            kind: row.get("kind")?,
            actor: row.get("actor")?,
            about: row.get("about")?,
            server: row.get("server")?,
            client_addr: row.get("client_addr")?,
            detail: row.json("detail")?,
        })
    }
}

reads! {
    /// Lists events, the latest first unless the query says otherwise.
    list_audit(query: &AuditQuery) -> Vec<AuditRow>;
}

async fn list_audit(db: &mut Db<'_>, query: &AuditQuery) -> Result<Vec<AuditRow>, StoreError> {
    let mut conditions = Conditions::default();
    let bounds: [(&str, Option<Value>); 5] = [
        ("at >= ", query.since.map(Value::from)),
        ("at < ", query.until.map(Value::from)),
        ("id < ", query.before.map(Value::from)),
        ("id > ", query.after.map(Value::from)),
        (
            "client_addr = ",
            query.client_addr.as_deref().map(Value::from),
        ),
    ];
    for (text, value) in bounds {
        if let Some(value) = value {
            let mark = conditions.value(value);
            conditions.add(format!("{text}{mark}"));
        }
    }
    if !query.kinds.is_empty() {
        let kinds: Vec<&str> = query.kinds.iter().map(String::as_str).collect();
        let marks: Vec<String> = kinds.iter().map(|kind| conditions.value(*kind)).collect();
        conditions.add(format!("kind IN ({})", marks.join(", ")));
    }
    if let Some(user) = query.user.as_deref() {
        let (about, actor) = (conditions.value(user), conditions.value(user));
        conditions.add(format!("(about = {about} OR actor = {actor})"));
    }
    let page = Page {
        offset: 0,
        limit: query.limit,
    };
    let order = if query.oldest_first { "id" } else { "id DESC" };
    let (rest, all) = conditions.page(order, page);
    let sql =
        format!("SELECT id, at, kind, actor, about, server, client_addr, detail FROM audit{rest}");
    let rows = db
        .all("list what happened", AssertSqlSafe(sql), all)
        .await?;
    rows.iter().map(AuditRow::read).collect()
}

impl Tx {
    /// Writes down what happened, in this order.
    pub async fn append_audit(&mut self, rows: &[NewAuditRow]) -> Result<(), StoreError> {
        for rows in rows.chunks(ROWS) {
            let marks: Vec<String> = (0..rows.len())
                .map(|row| {
                    let marks: Vec<String> = (1..=COLUMNS)
                        .map(|column| format!("${}", row * COLUMNS + column))
                        .collect();
                    format!("({})", marks.join(", "))
                })
                .collect();
            let mut all = Vec::with_capacity(rows.len() * COLUMNS);
            for row in rows {
                all.extend(values![
                    row.at,
                    row.kind,
                    row.actor.as_str(),
                    row.about.as_deref(),
                    row.server.as_deref(),
                    row.client_addr.as_deref(),
                ]);
                all.push(Value::json(&row.detail)?);
            }
            let sql = format!(
                "INSERT INTO audit (at, kind, actor, about, server, client_addr, detail) VALUES {}",
                marks.join(", ")
            );
            // Nothing is remembered of it.
            self.touching([])
                .run("write down what happened", AssertSqlSafe(sql), all)
                .await?;
        }
        Ok(())
    }

    /// Throws away what happened before this instant, and gives the number of rows.
    pub async fn purge_audit(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        let sql = "DELETE FROM audit WHERE at < $1";
        self.touching([])
            .run("throw away old events", sql, values![before])
            .await
    }
}
