//! Users' servers, and what is known of their runs: enough to adopt them after a restart of Lyceum.

use jiff::Timestamp;
use lyceum_core::ids::{ServerId, UserId};
use lyceum_core::lifecycle::Failure;
use lyceum_core::names::{ServerName, UserName};
use lyceum_core::route::Upstream;
use lyceum_core::seams::Handle;
use serde_json::{Map, Value as Json};

use crate::cache::Tag;
use crate::engine::{Column, Db, Row, Value, values};
use crate::error::{Kind, StoreError};
use crate::tx::{Tx, reads};

/// A server of a user, running or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// The id.
    pub id: ServerId,
    /// Whose it is.
    pub user_id: UserId,
    /// Its name; empty for the default server.
    pub name: ServerName,
    /// What pages call it, if that is not its name.
    pub display_name: Option<String>,
    /// What the user chose at the last start; `None` if nothing was ever chosen.
    pub user_options: Option<Map<String, Json>>,
    /// When the record was created.
    pub created: Timestamp,
    /// When the present run was asked for.
    pub started: Option<Timestamp>,
    /// When it was last used, if ever.
    pub last_activity: Option<Timestamp>,
    /// Where it is in its life.
    pub phase: Phase,
    /// The mark that the processes of the present run carry.
    pub marker: Option<String>,
    /// How the spawner knows the present run.
    pub handle: Option<Handle>,
    /// Where the present run answers.
    pub upstream: Option<Upstream>,
    /// Why the last run failed, if it did.
    pub failure: Option<Failure>,
    /// The OAuth client of the present run.
    pub oauth_client_id: Option<String>,
}

/// Where a server is in its life, as far as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does not run.
    Stopped,
    /// A start is under way; there may be a handle.
    Starting,
    /// It runs; there are a handle and an upstream.
    Running,
    /// It is being stopped.
    Stopping,
}

impl Phase {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
        }
    }
}

impl Column for Phase {
    fn read(row: &Row, column: &'static str) -> Result<Self, StoreError> {
        let text: String = row.get(column)?;
        [Self::Stopped, Self::Starting, Self::Running, Self::Stopping]
            .into_iter()
            .find(|phase| phase.as_str() == text)
            .ok_or_else(|| StoreError::corrupt(column, format!("`{text}` is not a phase")))
    }
}

/// How many servers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerCounts {
    /// In phase [`Phase::Stopped`].
    pub stopped: u64,
    /// In phase [`Phase::Starting`].
    pub starting: u64,
    /// In phase [`Phase::Running`].
    pub running: u64,
    /// In phase [`Phase::Stopping`].
    pub stopping: u64,
    /// In any phase, those with a name: all but the default servers.
    pub named: u64,
}

impl ServerCounts {
    /// All that are not stopped.
    pub fn active(&self) -> u64 {
        self.starting + self.running + self.stopping
    }
}

/// The columns of a server, as [`Server::read`] wants them.
macro_rules! server_columns {
    () => {
        "servers.id AS server_id, servers.user_id AS server_user_id, servers.name AS server_name, \
         servers.display_name AS server_display_name, servers.user_options AS server_user_options, \
         servers.created AS server_created, servers.started AS server_started, \
         servers.last_activity AS server_last_activity, servers.phase AS server_phase, \
         servers.marker AS server_marker, servers.handle AS server_handle, \
         servers.upstream AS server_upstream, servers.failure AS server_failure, \
         servers.oauth_client_id AS server_oauth_client_id"
    };
}
pub(crate) use server_columns;

impl Server {
    pub(crate) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.get("server_id")?,
            user_id: row.get("server_user_id")?,
            name: row.get("server_name")?,
            display_name: row.get("server_display_name")?,
            user_options: row.json_or_null("server_user_options")?,
            created: row.get("server_created")?,
            started: row.get("server_started")?,
            last_activity: row.get("server_last_activity")?,
            phase: row.get("server_phase")?,
            marker: row.get("server_marker")?,
            handle: row.json_or_null("server_handle")?,
            upstream: row.json_or_null("server_upstream")?,
            failure: row.json_or_null("server_failure")?,
            oauth_client_id: row.get("server_oauth_client_id")?,
        })
    }
}

reads! {
    /// Finds one of a user's servers by name.
    find_server(user: UserId, name: &ServerName) -> Option<Server>;
    /// Finds a server by id, with its user's name.
    find_server_by_id(id: ServerId) -> Option<(UserName, Server)>;
    /// Lists the servers of a user, running or not, by name: the default server is first.
    servers_of_user(user: UserId) -> Vec<Server>;
    /// Lists all servers that are not stopped, with their users' names: what a restart has to look after.
    list_active_servers() -> Vec<(UserName, Server)>;
    /// Lists all servers that have a name, with their users' names.
    list_named_servers() -> Vec<(UserName, Server)>;
    /// Counts all servers.
    count_servers() -> ServerCounts;
    /// Counts the servers of a user.
    count_servers_of_user(user: UserId) -> ServerCounts;
}

async fn find_server(
    db: &mut Db<'_>,
    user: UserId,
    name: &ServerName,
) -> Result<Option<Server>, StoreError> {
    let sql = concat!(
        "SELECT ",
        server_columns!(),
        " FROM servers WHERE user_id = $1 AND name = $2"
    );
    let row = db.first("find a server", sql, values![user, name]).await?;
    row.as_ref().map(Server::read).transpose()
}

async fn find_server_by_id(
    db: &mut Db<'_>,
    id: ServerId,
) -> Result<Option<(UserName, Server)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        server_columns!(),
        ", users.name AS user_name FROM servers JOIN users ON users.id = servers.user_id \
         WHERE servers.id = $1"
    );
    let row = db.first("find a server", sql, values![id]).await?;
    row.as_ref().map(read_with_user).transpose()
}

fn read_with_user(row: &Row) -> Result<(UserName, Server), StoreError> {
    Ok((row.get("user_name")?, Server::read(row)?))
}

async fn servers_of_user(db: &mut Db<'_>, user: UserId) -> Result<Vec<Server>, StoreError> {
    let sql = concat!(
        "SELECT ",
        server_columns!(),
        " FROM servers WHERE user_id = $1 ORDER BY name"
    );
    let rows = db
        .all("list the servers of a user", sql, values![user])
        .await?;
    rows.iter().map(Server::read).collect()
}

async fn list_active_servers(db: &mut Db<'_>) -> Result<Vec<(UserName, Server)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        server_columns!(),
        ", users.name AS user_name FROM servers JOIN users ON users.id = servers.user_id \
         WHERE phase <> 'stopped' ORDER BY servers.id"
    );
    let rows = db.all("list the active servers", sql, Vec::new()).await?;
    rows.iter().map(read_with_user).collect()
}

async fn list_named_servers(db: &mut Db<'_>) -> Result<Vec<(UserName, Server)>, StoreError> {
    let sql = concat!(
        "SELECT ",
        server_columns!(),
        ", users.name AS user_name FROM servers JOIN users ON users.id = servers.user_id \
         WHERE servers.name <> '' ORDER BY servers.id"
    );
    let rows = db.all("list the named servers", sql, Vec::new()).await?;
    rows.iter().map(read_with_user).collect()
}

async fn count_servers(db: &mut Db<'_>) -> Result<ServerCounts, StoreError> {
    let sql = "SELECT phase, COUNT(*) AS total, COUNT(NULLIF(name, '')) AS named \
               FROM servers GROUP BY phase";
    counts(&db.all("count the servers", sql, Vec::new()).await?)
}

async fn count_servers_of_user(db: &mut Db<'_>, user: UserId) -> Result<ServerCounts, StoreError> {
    let sql = "SELECT phase, COUNT(*) AS total, COUNT(NULLIF(name, '')) AS named \
               FROM servers WHERE user_id = $1 GROUP BY phase";
    counts(
        &db.all("count the servers of a user", sql, values![user])
            .await?,
    )
}

fn counts(rows: &[Row]) -> Result<ServerCounts, StoreError> {
    let mut counts = ServerCounts::default();
    for row in rows {
        let total = u64::try_from(row.get::<i64>("total")?).unwrap_or_default();
        match row.get("phase")? {
            Phase::Stopped => counts.stopped = total,
            Phase::Starting => counts.starting = total,
            Phase::Running => counts.running = total,
            Phase::Stopping => counts.stopping = total,
        }
        counts.named += u64::try_from(row.get::<i64>("named")?).unwrap_or_default();
    }
    Ok(counts)
}

impl Tx {
    /// Gives one of a user's servers, created first if there is none; the flag says whether it is new.
    pub async fn ensure_server(
        &mut self,
        user: UserId,
        name: &ServerName,
        created: Timestamp,
    ) -> Result<(Server, bool), StoreError> {
        let sql = concat!(
            "INSERT INTO servers (user_id, name, created, phase) VALUES ($1, $2, $3, 'stopped') \
             ON CONFLICT (user_id, name) DO NOTHING RETURNING ",
            server_columns!()
        );
        let all = values![user, name, created];
        let mut db = self.touching([Tag::User(user)]);
        if let Some(row) = db.first("create a server", sql, all).await? {
            return Ok((Server::read(&row)?, true));
        }
        let found = self.find_server(user, name).await?;
        let server = found.ok_or_else(|| StoreError::not_found(Kind::Server, name))?;
        Ok((server, false))
    }

    /// Sets what pages call a server; `None` for its name.
    pub async fn set_display_name(
        &mut self,
        id: ServerId,
        display_name: Option<&str>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET display_name = $2 WHERE id = $1";
        self.change_server(id, sql, values![id, display_name]).await
    }

    /// Replaces the options of a server.
    pub async fn set_user_options(
        &mut self,
        id: ServerId,
        user_options: Option<&Map<String, Json>>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET user_options = $2 WHERE id = $1";
        let all = vec![id.into(), Value::json_or_null(user_options)?];
        self.change_server(id, sql, all).await
    }

    /// Gives a server another name; fails with [`StoreError::Exists`] if its user has one of that name.
    pub async fn rename_server(
        &mut self,
        id: ServerId,
        name: &ServerName,
    ) -> Result<(), StoreError> {
        let taken = "SELECT 1 FROM servers AS other JOIN servers ON servers.user_id = other.user_id \
                     WHERE servers.id = $1 AND other.name = $2 AND other.id <> $1";
        let doing = "rename a server";
        if self
            .db()
            .first(doing, taken, values![id, name])
            .await?
            .is_some()
        {
            return Err(StoreError::exists(Kind::Server, name));
        }
        let sql = "UPDATE servers SET name = $2 WHERE id = $1";
        match self.db().run(doing, sql, values![id, name]).await {
            Ok(0) => Err(StoreError::not_found(Kind::Server, id)),
            Ok(_) => Ok(()),
            Err(error) if error.is_duplicate() => Err(StoreError::exists(Kind::Server, name)),
            Err(error) => Err(error),
        }
    }

    /// Writes a start down, before anything is started: phase, mark, time, and the options if there are new ones.
    pub async fn record_start(
        &mut self,
        id: ServerId,
        marker: &str,
        started: Timestamp,
        user_options: Option<&Map<String, Json>>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET phase = 'starting', marker = $2, started = $3, \
                   user_options = COALESCE($4, user_options), \
                   last_activity = CASE WHEN last_activity > $3 THEN last_activity ELSE $3 END, \
                   handle = NULL, upstream = NULL, failure = NULL WHERE id = $1";
        let mut all = values![id, marker, started];
        all.push(Value::json_or_null(user_options)?);
        self.change_server(id, sql, all).await
    }

    /// Writes down what there is to stop, in a start that is not finished.
    pub async fn record_handle(&mut self, id: ServerId, handle: &Handle) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET handle = $2 WHERE id = $1";
        let all = vec![id.into(), Value::json(handle)?];
        self.change_server(id, sql, all).await
    }

    /// Writes down that a server runs, and where it answers.
    pub async fn record_running(
        &mut self,
        id: ServerId,
        handle: &Handle,
        upstream: &Upstream,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET phase = 'running', handle = $2, upstream = $3, \
                   failure = NULL WHERE id = $1";
        let all = vec![id.into(), Value::json(handle)?, Value::json(upstream)?];
        self.change_server(id, sql, all).await
    }

    /// Writes down that a server is being stopped; what is known of its run stays until it has stopped.
    pub async fn record_stopping(&mut self, id: ServerId) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET phase = 'stopping' WHERE id = $1";
        self.change_server(id, sql, values![id]).await
    }

    /// Writes down that nothing of a server runs, and why, if that was not on purpose.
    pub async fn record_stopped(
        &mut self,
        id: ServerId,
        failure: Option<&Failure>,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE servers SET phase = 'stopped', marker = NULL, handle = NULL, \
                   upstream = NULL, started = NULL, failure = $2 WHERE id = $1";
        let all = vec![id.into(), Value::json_or_null(failure)?];
        self.change_server(id, sql, all).await
    }

    /// Deletes a server's record with its tokens and OAuth client; says whether there was one.
    pub async fn delete_server(&mut self, id: ServerId) -> Result<bool, StoreError> {
        let sql = "DELETE FROM servers WHERE id = $1";
        let count = self.db().run("delete a server", sql, values![id]).await?;
        Ok(count > 0)
    }

    async fn change_server(
        &mut self,
        id: ServerId,
        sql: &'static str,
        all: Vec<Value>,
    ) -> Result<(), StoreError> {
        let mut db = self.touching([Tag::Server(id)]);
        match db.run("change a server", sql, all).await? {
            0 => Err(StoreError::not_found(Kind::Server, id)),
            _ => Ok(()),
        }
    }
}
