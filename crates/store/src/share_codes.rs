//! Share codes: whoever shows one may have a server shared with them. The code itself is not stored.

use jiff::Timestamp;
use lyceum_core::ids::{ServerId, ShareCodeId, UserId};
use lyceum_core::names::ServerRef;
use lyceum_core::secret::Secret;
use lyceum_core::token::{self, TokenHash};
use sqlx::AssertSqlSafe;

use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::page::{Page, Paged, total};
use crate::shares::read_server;
use crate::tx::{Tx, reads};

/// A code that can be exchanged for a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareCode {
    /// The id; the API writes it as `sc_<number>`.
    pub id: ShareCodeId,
    /// The id of the server.
    pub server_id: ServerId,
    /// The server's owner.
    pub owner_id: UserId,
    /// The server, by its present name.
    pub server: ServerRef,
    /// What the share will permit: names of scopes, without the filter, which is always the server; sorted.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// How often it was exchanged.
    pub exchange_count: u64,
    /// When it was exchanged last.
    pub last_exchanged_at: Option<Timestamp>,
}

/// A code to be created.
#[derive(Debug, Clone)]
pub struct NewShareCode<'a> {
    /// The code; stored only as a hash.
    pub code: &'a Secret<String>,
    /// The server.
    pub server: ServerId,
    /// What the share will permit, as in [`ShareCode::scopes`].
    pub scopes: &'a [String],
    /// Now.
    pub created: Timestamp,
    /// When it stops working; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// Which codes are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShareCodesOf {
    /// Those of all servers of a user.
    Owner(UserId),
    /// Those of one server.
    Server(ServerId),
}

macro_rules! code_tables {
    () => {
        " FROM share_codes JOIN servers ON servers.id = share_codes.server_id \
         JOIN users AS owners ON owners.id = servers.user_id"
    };
}

macro_rules! code_columns {
    () => {
        "SELECT share_codes.id AS code_id, share_codes.server_id AS code_server_id, \
         owners.id AS code_owner_id, owners.name AS share_owner_name, \
         servers.name AS share_server_name, share_codes.scopes AS code_scopes, \
         share_codes.created AS code_created, share_codes.expires_at AS code_expires_at, \
         share_codes.exchange_count AS code_exchange_count, \
         share_codes.last_exchanged_at AS code_last_exchanged_at"
    };
}

/// A condition that leaves out codes that have ended by `$2`.
macro_rules! valid_codes {
    () => {
        " AND (share_codes.expires_at IS NULL OR share_codes.expires_at > $2)"
    };
}

impl ShareCode {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let exchange_count: i64 = row.get("code_exchange_count")?;
        Ok(Self {
            id: row.get("code_id")?,
            server_id: row.get("code_server_id")?,
            owner_id: row.get("code_owner_id")?,
            server: read_server(row)?,
            scopes: row.json("code_scopes")?,
            created: row.get("code_created")?,
            expires_at: row.get("code_expires_at")?,
            exchange_count: u64::try_from(exchange_count).unwrap_or_default(),
            last_exchanged_at: row.get("code_last_exchanged_at")?,
        })
    }
}

reads! {
    /// Finds the code that somebody shows, unless it has ended.
    find_share_code(presented: &Secret<String>, now: Timestamp) -> Option<ShareCode>;
    /// Finds a code by its id, ended or not.
    find_share_code_by_id(id: ShareCodeId) -> Option<ShareCode>;
    /// Lists codes that have not ended, the oldest first.
    list_share_codes(of: ShareCodesOf, page: Page, now: Timestamp) -> Paged<ShareCode>;
}

async fn find_share_code(
    db: &mut Db<'_>,
    presented: &Secret<String>,
    now: Timestamp,
) -> Result<Option<ShareCode>, StoreError> {
    let Some(prefix) = token::prefix(presented.expose()) else {
        return Ok(None);
    };
    let sql = concat!(
        code_columns!(),
        ", share_codes.hashed AS code_hash",
        code_tables!(),
        " WHERE share_codes.prefix = $1",
        valid_codes!()
    );
    let rows = db
        .all("find a share code", sql, values![prefix, now])
        .await?;
    for row in rows {
        let hash: TokenHash = row.get("code_hash")?;
        if hash.matches(presented.expose()) {
            return ShareCode::read(&row).map(Some);
        }
    }
    Ok(None)
}

async fn find_share_code_by_id(
    db: &mut Db<'_>,
    id: ShareCodeId,
) -> Result<Option<ShareCode>, StoreError> {
    let sql = concat!(
        code_columns!(),
        code_tables!(),
        " WHERE share_codes.id = $1"
    );
    let row = db.first("find a share code", sql, values![id]).await?;
    row.as_ref().map(ShareCode::read).transpose()
}

async fn list_share_codes(
    db: &mut Db<'_>,
    of: ShareCodesOf,
    page: Page,
    now: Timestamp,
) -> Result<Paged<ShareCode>, StoreError> {
    let (condition, id) = match of {
        ShareCodesOf::Owner(id) => ("servers.user_id = $1", Value::from(id)),
        ShareCodesOf::Server(id) => ("share_codes.server_id = $1", id.into()),
    };
    let from = concat!(code_tables!(), " WHERE ");
    let valid = valid_codes!();
    let sql = format!(
        "{}, COUNT(*) OVER () AS total{from}{condition}{valid} \
         ORDER BY share_codes.id LIMIT $3 OFFSET $4",
        code_columns!()
    );
    let count = format!("SELECT COUNT(*) AS total{from}{condition}{valid}");
    let few = vec![id.clone(), now.into()];
    let all = vec![
        id,
        now.into(),
        page.sql_limit().into(),
        page.sql_offset().into(),
    ];
    let rows = db.all("list share codes", AssertSqlSafe(sql), all).await?;
    let total = total(db, &rows, AssertSqlSafe(count), few).await?;
    Ok(Paged {
        items: rows.iter().map(ShareCode::read).collect::<Result<_, _>>()?,
        total,
    })
}

impl Tx {
    /// Stores a code; fails with [`StoreError::TokenLength`] if its text could never be found again.
    pub async fn create_share_code(
        &mut self,
        new: NewShareCode<'_>,
    ) -> Result<ShareCode, StoreError> {
        let code = new.code.expose();
        let prefix = token::prefix(code).ok_or(StoreError::TokenLength)?;
        let sql = "INSERT INTO share_codes (server_id, prefix, hashed, created, expires_at, \
                   exchange_count, scopes) VALUES ($1, $2, $3, $4, $5, 0, $6) RETURNING id";
        let hash = TokenHash::of(code);
        let mut all = values![new.server, prefix, &hash, new.created, new.expires_at];
        all.push(Value::json(&new.scopes)?);
        let row = self.db().first("create a share code", sql, all).await?;
        let id: ShareCodeId = row
            .ok_or_else(|| StoreError::not_found(Kind::ShareCode, new.server))?
            .get("id")?;
        self.find_share_code_by_id(id)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::ShareCode, id))
    }

    /// Counts an exchange of a code; says whether it still works.
    pub async fn count_exchange(
        &mut self,
        id: ShareCodeId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let sql = concat!(
            "UPDATE share_codes SET exchange_count = exchange_count + 1, last_exchanged_at = $2 \
             WHERE id = $1",
            valid_codes!()
        );
        let count = self
            .db()
            .run("count an exchange of a code", sql, values![id, now])
            .await?;
        Ok(count > 0)
    }

    /// Deletes a code; says whether there was one.
    pub async fn delete_share_code(&mut self, id: ShareCodeId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM share_codes WHERE id = $1";
        let count = self
            .db()
            .run("delete a share code", sql, values![id])
            .await?;
        Ok(count > 0)
    }

    /// Deletes all codes of a server, and gives their number.
    pub async fn delete_share_codes_of_server(
        &mut self,
        server: ServerId,
    ) -> Result<u64, StoreError> {
        let sql = "DELETE FROM share_codes WHERE server_id = $1";
        self.db()
            .run("delete the share codes of a server", sql, values![server])
            .await
    }
}
