//! Opening a database on a PostgreSQL server.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use lyceum_core::secret::Secret;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::engine::{Db, limited};
use crate::error::EngineError;
use crate::migrations::{self, Content, Migration};
use crate::open::OpenError;
use crate::tx::ACQUIRE_LIMIT;

/// How many connections one hub takes.
const MAX_CONNECTIONS: u32 = 10;
/// How long to wait for the server at the start.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// Where the database is, and how to get in.
pub(crate) struct Login<'a> {
    pub(crate) options: &'a PgConnectOptions,
    pub(crate) shown: &'a str,
    pub(crate) password_file: Option<&'a Path>,
}

impl Login<'_> {
    /// What is needed to get in, with the password.
    async fn options(&self) -> Result<PgConnectOptions, OpenError> {
        let options = self.options.clone();
        let Some(path) = self.password_file else {
            return Ok(options);
        };
        let password = read_password(path)
            .await
            .map_err(|source| OpenError::PasswordFile {
                path: path.to_owned(),
                source,
            })?;
        Ok(options.password(password.expose()))
    }
}

/// Opens a database that is there and up to date, to read it.
pub(crate) async fn open_to_read(login: &Login<'_>, newest: i64) -> Result<PgPool, OpenError> {
    let options = login.options().await?;
    let options = options.options([("default_transaction_read_only", "on")]);
    let connect = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options));
    let mut connection = connect
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| connect_error(login.shown, error))?;
    let found = version(&mut connection, login.shown, newest).await?;
    // The work is done; that the server says goodbye is not needed.
    let _ = connection.close().await;
    let database = login.shown.to_owned();
    if found == 0 {
        return Err(OpenError::NotThere { database });
    }
    if found < newest {
        return Err(OpenError::Older {
            database,
            found,
            known: newest,
        });
    }
    Ok(PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .connect_lazy_with(options))
}

/// Opens a database; creates the tables, or brings them up to date, if need be.
pub(crate) async fn open(
    login: &Login<'_>,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<PgPool, OpenError> {
    let options = login.options().await?;
    let connect = tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options));
    let mut connection = connect
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|error| connect_error(login.shown, error))?;
    migrate(&mut connection, login.shown, migrations, now).await?;
    // The work is done; that the server says goodbye is not needed.
    let _ = connection.close().await;
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                // A hub that hangs must not hold others up, nor wait for ever itself.
                let limits = "SET statement_timeout = '25s'; SET lock_timeout = '10s'; \
                              SET idle_in_transaction_session_timeout = '60s'";
                sqlx::raw_sql(limits).execute(connection).await.map(drop)
            })
        })
        .connect_with(options)
        .await
        .map_err(|error| connect_error(login.shown, error))
}

/// Reads the first line of a file that only its owner, or a group, may read.
async fn read_password(path: &Path) -> io::Result<Secret<String>> {
    let mode = tokio::fs::metadata(path).await?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(io::Error::other(format!(
            "everybody on this machine can use it (mode {:03o})",
            mode & 0o777
        )));
    }
    let text = Secret::new(tokio::fs::read_to_string(path).await?);
    match text.expose().lines().next() {
        Some(password) if !password.is_empty() => Ok(Secret::from(password)),
        _ => Err(io::Error::other("its first line is empty")),
    }
}

/// PostgreSQL can undo changes of tables, so that all steps are one transaction.
async fn migrate(
    connection: &mut PgConnection,
    shown: &str,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<(), OpenError> {
    let newest = migrations::newest(migrations);
    if version(connection, shown, newest).await? == newest {
        return Ok(());
    }
    let engine = |source| OpenError::Engine {
        database: shown.to_owned(),
        source: Box::new(source),
    };
    let mut tx = limited("begin a transaction", connection.begin())
        .await
        .map_err(engine)?;
    // The number is ours alone; hubs that start at the same time do this one after the other.
    Db::postgres(&mut tx)
        .script(
            "wait for another hub that brings the database up to date",
            "SET LOCAL lock_timeout = '60s'; SELECT pg_advisory_xact_lock(5501836442001)",
        )
        .await
        .map_err(engine)?;
    let from = version(&mut tx, shown, newest).await?;
    let apply = async {
        migrations::apply(&mut Db::postgres(&mut tx), migrations, from, now).await?;
        limited("commit a transaction", tx.commit()).await
    };
    apply.await.map_err(|source| OpenError::Migration {
        database: shown.to_owned(),
        from,
        to: newest,
        source: Box::new(source),
    })?;
    tracing::info!(database = %shown, from, to = newest, "brought the database up to date");
    Ok(())
}

async fn version(
    connection: &mut PgConnection,
    shown: &str,
    newest: i64,
) -> Result<i64, OpenError> {
    let content = migrations::content(&mut Db::postgres(connection)).await;
    match content.map_err(|source| OpenError::Engine {
        database: shown.to_owned(),
        source: Box::new(source),
    })? {
        Content::Version(found) if found > newest => Err(OpenError::Newer {
            database: shown.to_owned(),
            found,
            known: newest,
        }),
        Content::Version(found) => Ok(found),
        Content::Foreign => Err(OpenError::Foreign {
            database: shown.to_owned(),
        }),
    }
}

fn connect_error(shown: &str, error: sqlx::Error) -> OpenError {
    let code = match &error {
        sqlx::Error::Database(error) => error.code().unwrap_or_default().into_owned(),
        _ => String::new(),
    };
    let hint = match code.as_str() {
        "28P01" => "check the user name in `database` and the password in `password_file`",
        "28000" => "let this user in, in the server's pg_hba.conf, or check the name in `database`",
        "3D000" => "create the database first: createdb --owner=USER DATABASE",
        "53300" => "the server has too many connections already: raise its max_connections",
        "57P03" => "the server is starting or stopping: try again in a moment",
        _ => "check that the database server runs, and that `database` names its host and port",
    };
    OpenError::Connect {
        database: shown.to_owned(),
        hint,
        source: EngineError(error),
    }
}
