//! Opening a database file, so that it is ours alone, private, and up to date.
//!
//! How a file is created and brought up to date is in `sqlite/upgrade.rs`, what is known about the place in
//! `sqlite/place.rs`.

mod place;
mod upgrade;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::time::Instant;

use crate::engine::{Db, values};
use crate::error::{StoreError, Trouble};
use crate::migrations::{self, Content, Migration};
use crate::open::OpenError;
use crate::tx::{ACQUIRE_LIMIT, SqliteStore};
use place::{Lock, Place};

/// How many reads run at once; each has a thread of its own.
const READERS: u32 = 4;
/// How many rows of an answer are read ahead: as many as a page of a list may have, and some more.
const ROWS: usize = 512;
/// How long to wait for another process that writes to the file, such as a backup or the `sqlite3` program.
const BUSY_LIMIT: Duration = Duration::from_secs(10);
/// The journal is cut to this size after it has grown, in bytes.
const JOURNAL_SIZE: &str = "16777216";

/// How long to wait for a process that is just ending, or that brings the file up to date.
const OTHERS_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// What is found at the place of the database.
enum Found {
    Nothing,
    Older(i64),
    Current,
}

/// Opens a database file; creates it, or brings it up to date, if need be.
pub(crate) async fn open(
    path: &Path,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<SqliteStore, OpenError> {
    let place = Place::check(path).await?;
    let newest = migrations::newest(migrations);
    let deadline = Instant::now() + OTHERS_LIMIT;
    loop {
        let shared = place.try_lock(Lock::Shared).await?;
        if let Some(lock) = shared {
            if matches!(look(&place, newest).await?, Found::Current) {
                place.warn_if_public().await;
                // An attempt of a newer program may have been given up.
                upgrade::tidy(&place).await?;
                return connect(&place, lock).await;
            }
            drop(lock);
            if let Some(_alone) = place.try_lock(Lock::Alone).await? {
                // It may have been done between the two locks.
                match look(&place, newest).await? {
                    Found::Nothing => upgrade::create(&place, migrations, now).await?,
                    Found::Older(from) => upgrade::upgrade(&place, migrations, from, now).await?,
                    Found::Current => {}
                }
                continue;
            }
        }
        // Somebody else creates it or brings it up to date just now, or uses it as it is.
        if Instant::now() > deadline {
            return Err(OpenError::InUse {
                path: place.file().to_owned(),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Opens a database file that is there and up to date, to read it.
pub(crate) async fn open_to_read(path: &Path, newest: i64) -> Result<SqliteStore, OpenError> {
    let place = match Place::check(path).await {
        Err(OpenError::NoDirectory { .. }) => {
            return Err(OpenError::NotThere {
                database: path.display().to_string(),
            });
        }
        place => place?,
    };
    let database = || place.file().display().to_string();
    // Before the lock, whose file would be new beside no database.
    match look(&place, newest).await? {
        Found::Nothing => {
            return Err(OpenError::NotThere {
                database: database(),
            });
        }
        Found::Older(found) => {
            return Err(OpenError::Older {
                database: database(),
                found,
                known: newest,
            });
        }
        Found::Current => {}
    }
    let lock = place.try_lock(Lock::Shared).await?;
    let lock = lock.ok_or_else(|| OpenError::InUse {
        path: place.file().to_owned(),
    })?;
    let reading = options(place.file()).pragma("query_only", "ON");
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT);
    Ok(SqliteStore {
        writer: pool.clone().connect_lazy_with(reading.clone()),
        readers: pool.connect_lazy_with(reading),
        lock,
    })
}

/// Writes a copy of a database file to another path, where nothing is yet; none if there is no database.
pub(crate) async fn copy(path: &Path, to: &Path) -> Result<(), OpenError> {
    let place = match Place::check(path).await {
        Err(OpenError::NoDirectory { .. }) => return Ok(()),
        place => place?,
    };
    // What cannot be opened is refused under its own name, not under that of the copy.
    if matches!(look(&place, i64::MAX).await?, Found::Nothing) {
        return Ok(());
    }
    let mut source = connect_one(&place, options(place.file())).await?;
    let all = values![to.to_string_lossy().into_owned()];
    let copied = Db::sqlite(&mut source)
        .unlimited("copy the database", "VACUUM INTO $1", all)
        .await;
    let closed = source.close().await;
    copied.map_err(|error| store_error(&place, error))?;
    closed.map_err(|error| engine_error(&place, error))
}

/// Looks what is there, without changing it.
async fn look(place: &Place, newest: i64) -> Result<Found, OpenError> {
    if !place.has_database().await? {
        return Ok(Found::Nothing);
    }
    let mut connection = connect_one(place, options(place.file())).await?;
    let content = migrations::content(&mut Db::sqlite(&mut connection)).await;
    let closed = connection.close().await;
    let database = || place.file().display().to_string();
    match content.map_err(|error| store_error(place, error))? {
        Content::Foreign => Err(OpenError::Foreign {
            database: database(),
        }),
        Content::Version(found) if found > newest => Err(OpenError::Newer {
            database: database(),
            found,
            known: newest,
        }),
        Content::Version(found) => {
            closed.map_err(|error| engine_error(place, error))?;
            Ok(if found == newest {
                Found::Current
            } else {
                Found::Older(found)
            })
        }
    }
}

/// What all our connections have in common.
fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .foreign_keys(true)
        .busy_timeout(BUSY_LIMIT)
        // In WAL mode, NORMAL would survive `kill -9`, but not a power cut. FULL costs one fsync for each
        // transaction that writes; those are logins, starts and batches of activity, so few in a second.
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(200)
        // A page of a list in one go: otherwise the reading thread waits in between for whoever takes the rows.
        .row_buffer_size(ROWS)
        .thread_name(|number| format!("sqlite-{number}"))
        .disable_statement_logging()
}

async fn connect(place: &Place, lock: std::fs::File) -> Result<SqliteStore, OpenError> {
    let writing = options(place.file())
        .journal_mode(SqliteJournalMode::Wal)
        .pragma("journal_size_limit", JOURNAL_SIZE);
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        // After a full disk, SQLite has ended the transaction by itself, and sqlx still counts it as open:
        // such a connection is replaced. The ping before this check waits for a rollback under way.
        .test_before_acquire(true)
        .before_acquire(|connection, _| {
            let usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(usable) })
        })
        .connect_with(writing)
        .await
        .map_err(|error| engine_error(place, error))?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE_LIMIT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options(place.file()).pragma("query_only", "ON"))
        .await
        .map_err(|error| engine_error(place, error))?;
    Ok(SqliteStore {
        writer,
        readers,
        lock,
    })
}

async fn connect_one(
    place: &Place,
    options: SqliteConnectOptions,
) -> Result<SqliteConnection, OpenError> {
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|error| engine_error(place, error))
}

fn engine_error(place: &Place, error: sqlx::Error) -> OpenError {
    store_error(
        place,
        StoreError::from_engine("use the database file", error),
    )
}

/// Says in the words of a place what the engine did not like.
fn store_error(place: &Place, error: StoreError) -> OpenError {
    let trouble = match &error {
        StoreError::Full { .. } => Trouble::Full,
        StoreError::Busy { .. } => Trouble::Busy,
        StoreError::Query { source, .. } => Trouble::of(&source.0),
        _ => Trouble::Other,
    };
    match trouble {
        Trouble::Full => OpenError::Full {
            directory: place.directory().to_owned(),
        },
        Trouble::Busy => OpenError::InUse {
            path: place.file().to_owned(),
        },
        Trouble::NotADatabase => OpenError::NotADatabase {
            path: place.file().to_owned(),
        },
        Trouble::ReadOnly => OpenError::NotWritable {
            path: place.file().to_owned(),
            source: std::io::ErrorKind::PermissionDenied.into(),
        },
        _ => OpenError::Engine {
            database: place.file().display().to_string(),
            source: Box::new(error),
        },
    }
}
