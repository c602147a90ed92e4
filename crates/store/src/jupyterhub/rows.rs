//! Rows of JupyterHub's tables, read strictly: what is not as JupyterHub writes it is an error that names the place.
//!
//! SQLite lets any value into any column. So texts are cast to text, and what has a form (times, JSON) is parsed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::data::{
    Database, Group, OAuthClient, Role, Server, Service, Share, ShareCode, ShareReceiver, Token,
    TokenOwner, User,
};
use super::revision::Revision;
use crate::engine::{Db, Row};
use crate::error::StoreError;

/// Checks that the file is whole.
pub(super) async fn check_integrity(db: &mut Db<'_>) -> Result<(), StoreError> {
    let sql = "PRAGMA quick_check(1)";
    let rows = db.all("check the database", sql, Vec::new()).await?;
    for row in rows {
        let verdict: String = row.get("quick_check")?;
        if verdict != "ok" {
            return Err(StoreError::corrupt("(the whole file)", verdict));
        }
    }
    Ok(())
}

/// The names of all tables.
pub(super) async fn tables(db: &mut Db<'_>) -> Result<BTreeSet<String>, StoreError> {
    let sql = "SELECT CAST(name AS TEXT) AS name FROM sqlite_master WHERE type = 'table'";
    let rows = db.all("list the tables", sql, Vec::new()).await?;
    rows.iter().map(|row| row.get("name")).collect()
}

/// Reads everything.
pub(super) async fn read(
    db: &mut Db<'_>,
    revision: &'static Revision,
) -> Result<Database, StoreError> {
    Ok(Database {
        revision,
        users: users(db, revision).await?,
        groups: groups(db).await?,
        roles: roles(db).await?,
        services: services(db).await?,
        servers: servers(db, revision).await?,
        clients: clients(db).await?,
        tokens: tokens(db).await?,
        shares: shares(db).await?,
        share_codes: share_codes(db).await?,
        oauth_codes: oauth_codes(db).await?,
    })
}

async fn users(db: &mut Db<'_>, revision: &Revision) -> Result<Vec<User>, StoreError> {
    let sql = if revision.user_info {
        "SELECT id, CAST(name AS TEXT) AS name, COALESCE(admin, 0) AS flag, \
         CAST(created AS TEXT) AS created, CAST(last_activity AS TEXT) AS last_activity, \
         CAST(user_info AS TEXT) AS user_info, CAST(encrypted_auth_state AS BLOB) AS auth_state \
         FROM users ORDER BY id"
    } else {
        "SELECT id, CAST(name AS TEXT) AS name, COALESCE(admin, 0) AS flag, \
         CAST(created AS TEXT) AS created, CAST(last_activity AS TEXT) AS last_activity, \
         CAST(NULL AS TEXT) AS user_info, CAST(encrypted_auth_state AS BLOB) AS auth_state \
         FROM users ORDER BY id"
    };
    let rows = db.all("read the users", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            Ok(User {
                id: row.get("id")?,
                name: text(row, "name")?,
                admin: flag(row, "flag")?,
                created: time(row, "created")?,
                last_activity: time(row, "last_activity")?,
                user_info: json(row, "user_info")?,
                auth_state: row.get("auth_state")?,
            })
        })
        .collect()
}

async fn groups(db: &mut Db<'_>) -> Result<Vec<Group>, StoreError> {
    let sql = "SELECT user_id AS member, group_id AS holder FROM user_group_map ORDER BY 1";
    let mut members = pairs(db, "read the members of groups", sql).await?;
    let sql = "SELECT id, CAST(name AS TEXT) AS name, CAST(properties AS TEXT) AS properties \
               FROM groups ORDER BY id";
    let rows = db.all("read the groups", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let id = row.get("id")?;
            Ok(Group {
                id,
                name: text(row, "name")?,
                properties: json::<Map<String, Json>>(row, "properties")?.unwrap_or_default(),
                users: members.remove(&id).unwrap_or_default(),
            })
        })
        .collect()
}

async fn roles(db: &mut Db<'_>) -> Result<Vec<Role>, StoreError> {
    let doing = "read who holds roles";
    let sql = "SELECT user_id AS member, role_id AS holder FROM user_role_map ORDER BY 1";
    let mut users = pairs(db, doing, sql).await?;
    let sql = "SELECT group_id AS member, role_id AS holder FROM group_role_map ORDER BY 1";
    let mut groups = pairs(db, doing, sql).await?;
    let sql = "SELECT service_id AS member, role_id AS holder FROM service_role_map ORDER BY 1";
    let mut services = pairs(db, doing, sql).await?;
    let sql = "SELECT id, CAST(name AS TEXT) AS name, \
               CAST(COALESCE(description, '') AS TEXT) AS description, \
               CAST(scopes AS TEXT) AS scopes, COALESCE(managed_by_auth, 0) AS flag \
               FROM roles ORDER BY id";
    let rows = db.all("read the roles", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let id: i64 = row.get("id")?;
            Ok(Role {
                name: text(row, "name")?,
                description: text(row, "description")?,
                scopes: list(row, "scopes")?,
                managed_by_auth: flag(row, "flag")?,
                users: users.remove(&id).unwrap_or_default(),
                groups: groups.remove(&id).unwrap_or_default(),
                services: services.remove(&id).unwrap_or_default(),
            })
        })
        .collect()
}

async fn services(db: &mut Db<'_>) -> Result<Vec<Service>, StoreError> {
    let sql = "SELECT id, CAST(name AS TEXT) AS name, COALESCE(admin, 0) AS admin_flag, \
               CAST(url AS TEXT) AS url, \
               CAST(oauth_client_allowed_scopes AS TEXT) AS allowed_scopes, \
               CAST(info AS TEXT) AS info, COALESCE(display, 1) AS display_flag, \
               COALESCE(oauth_no_confirm, 0) AS no_confirm_flag, CAST(command AS TEXT) AS command, \
               CAST(cwd AS TEXT) AS cwd, CAST(environment AS TEXT) AS environment, \
               CAST(user AS TEXT) AS account, COALESCE(from_config, 1) AS from_config_flag, \
               CAST(oauth_client_id AS TEXT) AS client_id FROM services ORDER BY id";
    let rows = db.all("read the services", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let environment = json::<Map<String, Json>>(row, "environment")?;
            Ok(Service {
                id: row.get("id")?,
                name: text(row, "name")?,
                admin: flag(row, "admin_flag")?,
                url: row.get("url")?,
                allowed_scopes: list(row, "allowed_scopes")?,
                info: json::<Map<String, Json>>(row, "info")?.unwrap_or_default(),
                display: flag(row, "display_flag")?,
                oauth_no_confirm: flag(row, "no_confirm_flag")?,
                command: list(row, "command")?,
                cwd: row.get("cwd")?,
                environment: environment
                    .unwrap_or_default()
                    .into_iter()
                    .map(|(name, _)| name)
                    .collect(),
                user: row.get("account")?,
                from_config: flag(row, "from_config_flag")?,
                client_id: row.get("client_id")?,
            })
        })
        .collect()
}

async fn servers(db: &mut Db<'_>, revision: &Revision) -> Result<Vec<Server>, StoreError> {
    let sql = if revision.display_names {
        "SELECT id, user_id, CAST(name AS TEXT) AS name, \
         CAST(display_name AS TEXT) AS display_name, server_id IS NOT NULL AS running, \
         CAST(started AS TEXT) AS started, CAST(last_activity AS TEXT) AS last_activity, \
         CAST(user_options AS TEXT) AS user_options FROM spawners \
         WHERE user_id IS NOT NULL ORDER BY id"
    } else {
        "SELECT id, user_id, CAST(name AS TEXT) AS name, \
         CAST(NULL AS TEXT) AS display_name, server_id IS NOT NULL AS running, \
         CAST(started AS TEXT) AS started, CAST(last_activity AS TEXT) AS last_activity, \
         CAST(user_options AS TEXT) AS user_options FROM spawners \
         WHERE user_id IS NOT NULL ORDER BY id"
    };
    let rows = db.all("read the servers", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            Ok(Server {
                id: row.get("id")?,
                user: row.get("user_id")?,
                name: row.get::<Option<String>>("name")?.unwrap_or_default(),
                display_name: row.get("display_name")?,
                running: flag(row, "running")?,
                started: time(row, "started")?,
                last_activity: time(row, "last_activity")?,
                user_options: json(row, "user_options")?,
            })
        })
        .collect()
}

async fn clients(db: &mut Db<'_>) -> Result<Vec<OAuthClient>, StoreError> {
    let sql = "SELECT CAST(identifier AS TEXT) AS identifier, \
               CAST(COALESCE(description, '') AS TEXT) AS description, \
               CAST(COALESCE(secret, '') AS TEXT) AS secret, \
               CAST(COALESCE(redirect_uri, '') AS TEXT) AS redirect_uri, \
               CAST(allowed_scopes AS TEXT) AS allowed_scopes FROM oauth_clients ORDER BY id";
    let rows = db.all("read the OAuth clients", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            Ok(OAuthClient {
                identifier: text(row, "identifier")?,
                description: text(row, "description")?,
                secret: text(row, "secret")?,
                redirect_uri: text(row, "redirect_uri")?,
                allowed_scopes: list(row, "allowed_scopes")?,
            })
        })
        .collect()
}

async fn tokens(db: &mut Db<'_>) -> Result<Vec<Token>, StoreError> {
    let sql = "SELECT id, user_id, service_id, CAST(COALESCE(hashed, '') AS TEXT) AS hashed, \
               CAST(COALESCE(prefix, '') AS TEXT) AS prefix, CAST(client_id AS TEXT) AS client_id, \
               CAST(created AS TEXT) AS created, CAST(expires_at AS TEXT) AS expires_at, \
               CAST(last_activity AS TEXT) AS last_activity, \
               CAST(COALESCE(note, '') AS TEXT) AS note, CAST(scopes AS TEXT) AS scopes \
               FROM api_tokens ORDER BY id";
    let rows = db.all("read the tokens", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            Ok(Token {
                id: row.get("id")?,
                owner: match (row.get("user_id")?, row.get("service_id")?) {
                    (Some(user), None) => Some(TokenOwner::User(user)),
                    (None, Some(service)) => Some(TokenOwner::Service(service)),
                    _ => None,
                },
                hashed: text(row, "hashed")?,
                prefix: text(row, "prefix")?,
                client_id: row.get("client_id")?,
                created: time(row, "created")?,
                expires_at: time(row, "expires_at")?,
                last_activity: time(row, "last_activity")?,
                note: text(row, "note")?,
                scopes: list(row, "scopes")?,
            })
        })
        .collect()
}

async fn shares(db: &mut Db<'_>) -> Result<Vec<Share>, StoreError> {
    let sql = "SELECT id, spawner_id, user_id, group_id, CAST(scopes AS TEXT) AS scopes, \
               CAST(created_at AS TEXT) AS created, CAST(expires_at AS TEXT) AS expires_at \
               FROM shares WHERE spawner_id IS NOT NULL ORDER BY id";
    let rows = db.all("read the shares", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            Ok(Share {
                id: row.get("id")?,
                server: row.get("spawner_id")?,
                with: match (row.get("user_id")?, row.get("group_id")?) {
                    (Some(user), None) => Some(ShareReceiver::User(user)),
                    (None, Some(group)) => Some(ShareReceiver::Group(group)),
                    _ => None,
                },
                scopes: list(row, "scopes")?,
                created: time(row, "created")?,
                expires_at: time(row, "expires_at")?,
            })
        })
        .collect()
}

async fn share_codes(db: &mut Db<'_>) -> Result<Vec<ShareCode>, StoreError> {
    let sql = "SELECT id, spawner_id, CAST(COALESCE(hashed, '') AS TEXT) AS hashed, \
               CAST(COALESCE(prefix, '') AS TEXT) AS prefix, CAST(scopes AS TEXT) AS scopes, \
               CAST(created_at AS TEXT) AS created, CAST(expires_at AS TEXT) AS expires_at, \
               COALESCE(exchange_count, 0) AS exchange_count, \
               CAST(last_exchanged_at AS TEXT) AS last_exchanged_at \
               FROM share_codes WHERE spawner_id IS NOT NULL ORDER BY id";
    let rows = db.all("read the share codes", sql, Vec::new()).await?;
    rows.iter()
        .map(|row| {
            let count: i64 = row.get("exchange_count")?;
            Ok(ShareCode {
                id: row.get("id")?,
                server: row.get("spawner_id")?,
                hashed: text(row, "hashed")?,
                prefix: text(row, "prefix")?,
                scopes: list(row, "scopes")?,
                created: time(row, "created")?,
                expires_at: time(row, "expires_at")?,
                exchange_count: u64::try_from(count).unwrap_or_default(),
                last_exchanged_at: time(row, "last_exchanged_at")?,
            })
        })
        .collect()
}

async fn oauth_codes(db: &mut Db<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT COUNT(*) AS total FROM oauth_codes";
    let row = db.first("count the OAuth codes", sql, Vec::new()).await?;
    let total: i64 = row.map_or(Ok(0), |row| row.get("total"))?;
    Ok(u64::try_from(total).unwrap_or_default())
}

/// Reads a table of two ids: for each `holder` its `member`s.
async fn pairs(
    db: &mut Db<'_>,
    doing: &'static str,
    sql: &'static str,
) -> Result<BTreeMap<i64, Vec<i64>>, StoreError> {
    let mut all: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in db.all(doing, sql, Vec::new()).await? {
        all.entry(row.get("holder")?)
            .or_default()
            .push(row.get("member")?);
    }
    Ok(all)
}

fn text(row: &Row, column: &'static str) -> Result<String, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.ok_or_else(|| StoreError::corrupt(column, "it is empty"))
}

fn flag(row: &Row, column: &'static str) -> Result<bool, StoreError> {
    row.get::<i64>(column).map(|flag| flag != 0)
}

/// Reads a time: `2026-11-23 23:53:50.033461`, UTC without saying so.
fn time(row: &Row, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse_time(&text))
        .transpose()
        .map_err(|error| StoreError::corrupt(column, error))
}

fn parse_time(text: &str) -> Result<Timestamp, jiff::Error> {
    let time: DateTime = text.parse()?;
    TimeZone::UTC.to_timestamp(time)
}

/// Reads JSON; both NULL and JSON's `null` are `None`.
fn json<T: DeserializeOwned>(row: &Row, column: &'static str) -> Result<Option<T>, StoreError> {
    row.json_or_null::<Option<T>>(column).map(Option::flatten)
}

fn list(row: &Row, column: &'static str) -> Result<Vec<String>, StoreError> {
    json(row, column).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_or_without_a_fraction() {
        let check = |text: &str, expected: Option<&str>| {
            let found = parse_time(text).ok().map(|time| time.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check(
            "2026-11-23 23:53:50.033461",
            Some("2026-11-23T23:53:50.033461Z"),
        );
        check("2026-11-23 23:53:50", Some("2026-11-23T23:53:50Z"));
        check("yesterday", None);
        check("", None);
        check("1700000000", None);
    }
}
