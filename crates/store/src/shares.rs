//! Shares: what users and groups may do with other people's servers. Codes for them are in `share_codes.rs`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use lyceum_core::ids::{GroupId, ServerId, ShareId, UserId};
use lyceum_core::names::{GroupName, ServerRef, UserName};
use sqlx::AssertSqlSafe;

use crate::engine::{Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::page::{Page, Paged, total};
use crate::tx::{Tx, reads};

/// A server that is shared with a user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The id.
    pub id: ShareId,
    /// The id of the server.
    pub server_id: ServerId,
    /// The server, by its present name.
    pub server: ServerRef,
    /// With whom it is shared.
    pub with: Receiver,
    /// What they may do: names of scopes, without the filter, which is always the server; sorted.
    pub scopes: Vec<String>,
    /// Since when.
    pub created: Timestamp,
    /// Until when; `None` for no end.
    pub expires_at: Option<Timestamp>,
}

/// With whom a server is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receiver {
    /// With a user.
    User(UserId, UserName),
    /// With the members of a group.
    Group(GroupId, GroupName),
}

impl Receiver {
    /// The receiver's id alone.
    pub fn id(&self) -> ReceiverId {
        match self {
            Self::User(id, _) => ReceiverId::User(*id),
            Self::Group(id, _) => ReceiverId::Group(*id),
        }
    }
}

/// With whom a server is shared, or is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReceiverId {
    /// With a user.
    User(UserId),
    /// With the members of a group.
    Group(GroupId),
}

/// Which shares are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SharesOf {
    /// Those of all servers of a user.
    Owner(UserId),
    /// Those of one server.
    Server(ServerId),
    /// Those that a user has received, also through groups.
    User(UserId),
    /// Those that a group has received.
    Group(GroupId),
}

/// What somebody may do because a server is shared with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedShare {
    /// The server, by its present name.
    pub server: ServerRef,
    /// Whether it is shared with a group that they are in.
    pub by_group: bool,
    /// Names of scopes, without the filter, which is always the server.
    pub scopes: Vec<String>,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

macro_rules! share_tables {
    () => {
        " FROM shares JOIN servers ON servers.id = shares.server_id \
         JOIN users AS owners ON owners.id = servers.user_id \
         LEFT JOIN users AS receivers ON receivers.id = shares.user_id \
         LEFT JOIN groups ON groups.id = shares.group_id"
    };
}

macro_rules! share_columns {
    () => {
        "SELECT shares.id AS share_id, shares.server_id AS share_server_id, \
         owners.name AS share_owner_name, servers.name AS share_server_name, \
         shares.user_id AS share_user_id, receivers.name AS share_user_name, \
         shares.group_id AS share_group_id, groups.name AS share_group_name, \
         shares.scopes AS share_scopes, shares.created AS share_created, \
         shares.expires_at AS share_expires_at"
    };
}

/// A condition that leaves out shares that have ended by `$2`.
macro_rules! valid_shares {
    () => {
        " AND (shares.expires_at IS NULL OR shares.expires_at > $2)"
    };
}

impl Share {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let user = row.get::<Option<UserId>>("share_user_id")?;
        let group = row.get::<Option<GroupId>>("share_group_id")?;
        let with = match (user, group) {
            (Some(id), None) => Receiver::User(id, row.get("share_user_name")?),
            (None, Some(id)) => Receiver::Group(id, row.get("share_group_name")?),
            _ => {
                return Err(StoreError::corrupt(
                    "share_user_id",
                    "a share has one receiver",
                ));
            }
        };
        Ok(Self {
            id: row.get("share_id")?,
            server_id: row.get("share_server_id")?,
            server: read_server(row)?,
            with,
            scopes: row.json("share_scopes")?,
            created: row.get("share_created")?,
            expires_at: row.get("share_expires_at")?,
        })
    }
}

/// Reads the present name of a shared server.
pub(crate) fn read_server(row: &Row) -> Result<ServerRef, StoreError> {
    Ok(ServerRef::new(
        row.get("share_owner_name")?,
        row.get("share_server_name")?,
    ))
}

impl ReceiverId {
    /// The values of the columns `user_id` and `group_id`.
    fn columns(self) -> (Option<UserId>, Option<GroupId>) {
        match self {
            Self::User(id) => (Some(id), None),
            Self::Group(id) => (None, Some(id)),
        }
    }

    /// The column that is not NULL, and its value.
    fn column(self) -> (&'static str, Value) {
        match self {
            Self::User(id) => ("user_id", id.into()),
            Self::Group(id) => ("group_id", id.into()),
        }
    }
}

reads! {
    /// Lists what a user may do by shares, of their own and of their groups, that have not ended.
    received_shares(user: UserId, now: Timestamp) -> Vec<ReceivedShare>;
    /// Lists shares that have not ended, the oldest first.
    list_shares(of: SharesOf, page: Page, now: Timestamp) -> Paged<Share>;
    /// Finds the share of a server with a user or group, unless it has ended.
    find_share(server: ServerId, with: ReceiverId, now: Timestamp) -> Option<Share>;
}

async fn received_shares(
    db: &mut Db<'_>,
    user: UserId,
    now: Timestamp,
) -> Result<Vec<ReceivedShare>, StoreError> {
    // Asked at each request, so it is one statement, and each half finds its rows by an index.
    let sql = "SELECT owners.name AS share_owner_name, servers.name AS share_server_name, \
         received.by_group AS by_group, received.scopes AS share_scopes, \
         received.expires_at AS share_expires_at FROM (\
         SELECT server_id, FALSE AS by_group, scopes, expires_at FROM shares WHERE user_id = $1 \
         UNION ALL \
         SELECT server_id, TRUE AS by_group, scopes, expires_at FROM shares \
         JOIN user_groups ON user_groups.group_id = shares.group_id \
         WHERE user_groups.user_id = $1) AS received \
         JOIN servers ON servers.id = received.server_id \
         JOIN users AS owners ON owners.id = servers.user_id \
         WHERE received.expires_at IS NULL OR received.expires_at > $2";
    let rows = db
        .all("list a user's shares", sql, values![user, now])
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ReceivedShare {
                server: read_server(row)?,
                by_group: row.get("by_group")?,
                scopes: row.json("share_scopes")?,
                expires_at: row.get("share_expires_at")?,
            })
        })
        .collect()
}

async fn list_shares(
    db: &mut Db<'_>,
    of: SharesOf,
    page: Page,
    now: Timestamp,
) -> Result<Paged<Share>, StoreError> {
    let (condition, id) = match of {
        SharesOf::Owner(id) => ("servers.user_id = $1", Value::from(id)),
        SharesOf::Server(id) => ("shares.server_id = $1", id.into()),
        SharesOf::User(id) => (
            "(shares.user_id = $1 OR shares.group_id IN \
             (SELECT group_id FROM user_groups WHERE user_groups.user_id = $1))",
            id.into(),
        ),
        SharesOf::Group(id) => ("shares.group_id = $1", id.into()),
    };
    let from = concat!(share_tables!(), " WHERE ");
    let valid = valid_shares!();
    let sql = format!(
        "{}, COUNT(*) OVER () AS total{from}{condition}{valid} ORDER BY shares.id LIMIT $3 OFFSET $4",
        share_columns!()
    );
    let count = format!("SELECT COUNT(*) AS total{from}{condition}{valid}");
    let few = vec![id.clone(), now.into()];
    let all = vec![
        id,
        now.into(),
        page.sql_limit().into(),
        page.sql_offset().into(),
    ];
    let rows = db.all("list shares", AssertSqlSafe(sql), all).await?;
    let total = total(db, &rows, AssertSqlSafe(count), few).await?;
    Ok(Paged {
        items: rows.iter().map(Share::read).collect::<Result<_, _>>()?,
        total,
    })
}

async fn find_share(
    db: &mut Db<'_>,
    server: ServerId,
    with: ReceiverId,
    now: Timestamp,
) -> Result<Option<Share>, StoreError> {
    let (column, id) = with.column();
    let sql = format!(
        "{}{} WHERE shares.server_id = $1{} AND shares.{column} = $3",
        share_columns!(),
        share_tables!(),
        valid_shares!()
    );
    let all = vec![server.into(), now.into(), id];
    let row = db.first("find a share", AssertSqlSafe(sql), all).await?;
    row.as_ref().map(Share::read).transpose()
}

impl Tx {
    /// Shares a server with a user or group; if it is already, what they may do is widened.
    pub async fn grant_share(
        &mut self,
        server: ServerId,
        with: ReceiverId,
        scopes: &[String],
        now: Timestamp,
    ) -> Result<Share, StoreError> {
        let doing = "share a server";
        let (user, group) = with.columns();
        let (column, _) = with.column();
        // The upsert holds the row until the commit, so that of two grants at once neither is lost. A share that
        // has ended but was not yet purged begins anew.
        let sql = format!(
            "INSERT INTO shares (server_id, user_id, group_id, created, scopes) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (server_id, {column}) DO UPDATE SET \
             scopes = CASE WHEN shares.expires_at <= $4 THEN excluded.scopes ELSE shares.scopes END, \
             created = CASE WHEN shares.expires_at <= $4 THEN $4 ELSE shares.created END, \
             expires_at = CASE WHEN shares.expires_at <= $4 THEN NULL ELSE shares.expires_at END \
             RETURNING id, scopes"
        );
        let asked: BTreeSet<&String> = scopes.iter().collect();
        let mut all = values![server, user, group, now];
        all.push(Value::json(&asked)?);
        let row = self.db().first(doing, AssertSqlSafe(sql), all).await?;
        let row = row.ok_or_else(|| StoreError::not_found(Kind::Share, server))?;
        let (id, held): (ShareId, BTreeSet<String>) = (row.get("id")?, row.json("scopes")?);
        if !asked.iter().all(|scope| held.contains(*scope)) {
            let wider: BTreeSet<&String> = held.iter().chain(asked).collect();
            let sql = "UPDATE shares SET scopes = $2 WHERE id = $1";
            let all = vec![id.into(), Value::json(&wider)?];
            self.db().run(doing, sql, all).await?;
        }
        self.find_share(server, with, now)
            .await?
            .ok_or_else(|| StoreError::not_found(Kind::Share, id))
    }

    /// Takes scopes from a share, or all of it with `None`; gives what is left of it.
    pub async fn revoke_share(
        &mut self,
        server: ServerId,
        with: ReceiverId,
        scopes: Option<&BTreeSet<String>>,
        now: Timestamp,
    ) -> Result<Option<Share>, StoreError> {
        let doing = "revoke a share";
        let (column, id) = with.column();
        // Writes nothing new: it holds the row until the commit, so that a grant meanwhile is not lost.
        let sql = format!(
            "UPDATE shares SET server_id = server_id WHERE server_id = $1 AND {column} = $2"
        );
        let all = vec![server.into(), id];
        self.db().run(doing, AssertSqlSafe(sql), all).await?;
        let Some(mut share) = self.find_share(server, with, now).await? else {
            return Ok(None);
        };
        match scopes {
            None => share.scopes.clear(),
            Some(scopes) => share.scopes.retain(|scope| !scopes.contains(scope)),
        }
        if share.scopes.is_empty() {
            self.delete_share(share.id).await?;
            return Ok(None);
        }
        let sql = "UPDATE shares SET scopes = $2 WHERE id = $1";
        let all = vec![share.id.into(), Value::json(&share.scopes)?];
        self.db().run(doing, sql, all).await?;
        Ok(Some(share))
    }

    /// Sets when a share ends; `None` for never. For shares that come from elsewhere: those made here have no end.
    pub async fn end_share_at(
        &mut self,
        server: ServerId,
        with: ReceiverId,
        expires_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (column, id) = with.column();
        let sql =
            format!("UPDATE shares SET expires_at = $3 WHERE server_id = $1 AND {column} = $2");
        let all = vec![server.into(), id, expires_at.into()];
        let doing = "set when a share ends";
        match self.db().run(doing, AssertSqlSafe(sql), all).await? {
            0 => Err(StoreError::not_found(Kind::Share, server)),
            _ => Ok(()),
        }
    }

    /// Deletes a share; says whether there was one.
    pub async fn delete_share(&mut self, id: ShareId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM shares WHERE id = $1";
        let count = self.db().run("delete a share", sql, values![id]).await?;
        Ok(count > 0)
    }

    /// Deletes all shares of a server, and gives their number.
    pub async fn delete_shares_of_server(&mut self, server: ServerId) -> Result<u64, StoreError> {
        let sql = "DELETE FROM shares WHERE server_id = $1";
        self.db()
            .run("delete the shares of a server", sql, values![server])
            .await
    }
}
