//! Creating a database file, and bringing one up to date: on a copy that takes its place when all went well.
//!
//! Whatever interrupts this, the file at the database's own path is whole: the old one or the new one.
//! What is left of an interrupted attempt is removed by the next. The old file stays beside the new one as a
//! backup.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::SqliteJournalMode;
use sqlx::{Connection as _, SqliteConnection};

use super::place::{Place, blocking};
use super::{connect_one, options, store_error};
use crate::engine::{Db, values};
use crate::error::StoreError;
use crate::migrations::{self, Migration};
use crate::open::OpenError;

/// What is added to the database's path while its successor is being made.
const WORK: &str = ".new";
/// What is added to the database's path for a backup, before version and time.
const BACKUP: &str = ".backup-v";

/// Makes a new database with all tables.
pub(super) async fn create(
    place: &Place,
    migrations: &[Migration],
    now: Timestamp,
) -> Result<(), OpenError> {
    let work = begin(place).await?;
    let made = async {
        migrate(place, &work, migrations, 0, now).await?;
        let place = place.clone();
        let work = work.clone();
        blocking(move || {
            sync(&work).map_err(|source| place.failed("write", source))?;
            replace(&place, &work)
        })
        .await
    };
    let made = made.await;
    if made.is_err() {
        tidy(place).await?;
    }
    made
}

/// Brings a database from a version to the newest, and keeps it as it was as a backup.
pub(super) async fn upgrade(
    place: &Place,
    migrations: &[Migration],
    from: i64,
    now: Timestamp,
) -> Result<(), OpenError> {
    let work = begin(place).await?;
    let done = upgrade_copy(place, &work, migrations, from, now).await;
    match &done {
        Ok(backup) => tracing::info!(
            database = %place.file().display(),
            from,
            to = migrations::newest(migrations),
            backup = %backup.display(),
            "brought the database up to date; the old one is kept as a backup"
        ),
        Err(_) => tidy(place).await?,
    }
    done.map(drop)
}

async fn upgrade_copy(
    place: &Place,
    work: &Path,
    migrations: &[Migration],
    from: i64,
    now: Timestamp,
) -> Result<PathBuf, OpenError> {
    let failed = |error| store_error(place, error);
    // Our own processes are kept away by the lock; this keeps others from writing meanwhile, such as the
    // `sqlite3` program.
    let mut guard = connect_one(place, options(place.file())).await?;
    Db::sqlite(&mut guard)
        .script("reserve the database", "BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    let mut source = connect_one(place, options(place.file())).await?;
    // Unlike a copy of the file, this contains what is in the journal, and fails if the file is damaged.
    let copied = Db::sqlite(&mut source)
        .unlimited(
            "copy the database",
            "VACUUM INTO $1",
            values![work.to_string_lossy().into_owned()],
        )
        .await;
    close(source).await.map_err(failed)?;
    copied.map_err(failed)?;
    migrate(place, work, migrations, from, now).await?;
    Db::sqlite(&mut guard)
        .script("release the database", "ROLLBACK")
        .await
        .map_err(failed)?;
    // The last connection takes the journal back into the file.
    close(guard).await.map_err(failed)?;
    let place = place.clone();
    let work = work.to_owned();
    blocking(move || {
        if fs::metadata(place.beside("-wal")).is_ok_and(|found| found.len() > 0) {
            // Somebody else has it open, and could still write to it.
            return Err(OpenError::InUse {
                path: place.file().to_owned(),
            });
        }
        let kept = keep(&place, from, now).and_then(|backup| {
            sync(&work)?;
            sync(place.directory())?;
            Ok(backup)
        });
        let backup = kept.map_err(|source| place.failed("keep a backup of", source))?;
        replace(&place, &work)?;
        Ok(backup)
    })
    .await
}

/// Applies the migrations to a file that nobody else knows.
async fn migrate(
    place: &Place,
    work: &Path,
    migrations: &[Migration],
    from: i64,
    now: Timestamp,
) -> Result<(), OpenError> {
    let options = options(work)
        .journal_mode(SqliteJournalMode::Delete)
        .foreign_keys(false);
    let mut connection = connect_one(place, options).await?;
    let applied = apply(&mut connection, migrations, from, now).await;
    let closed = close(connection).await;
    applied.and(closed).map_err(|source| {
        if matches!(source, StoreError::Full { .. }) {
            return store_error(place, source);
        }
        OpenError::Migration {
            database: place.file().display().to_string(),
            from,
            to: migrations::newest(migrations),
            source: Box::new(source),
        }
    })
}

async fn apply(
    connection: &mut SqliteConnection,
    migrations: &[Migration],
    from: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut db = Db::sqlite(connection);
    let doing = "bring the database up to date";
    db.script(doing, "BEGIN IMMEDIATE").await?;
    migrations::apply(&mut db, migrations, from, now).await?;
    let orphans = "SELECT \"table\" AS orphan FROM pragma_foreign_key_check LIMIT 1";
    if let Some(row) = db.first(doing, orphans, Vec::new()).await? {
        let table: String = row.get("orphan")?;
        let what = format!("a row of table `{table}` refers to one that does not exist");
        return Err(StoreError::corrupt("foreign_key_check", what));
    }
    db.script(doing, "COMMIT").await
}

async fn close(connection: SqliteConnection) -> Result<(), StoreError> {
    connection
        .close()
        .await
        .map_err(|error| StoreError::from_engine("close the database", error))
}

/// Removes what an earlier attempt has left, and makes an empty file that only we can read.
async fn begin(place: &Place) -> Result<PathBuf, OpenError> {
    tidy(place).await?;
    let place = place.clone();
    blocking(move || {
        let work = place.beside(WORK);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&work)
            .map_err(|source| place.not_writable(work.clone(), source))?;
        Ok(work)
    })
    .await
}

/// Removes what an attempt has left: the unfinished file, and backups that are not finished either.
pub(super) async fn tidy(place: &Place) -> Result<(), OpenError> {
    let place = place.clone();
    blocking(move || {
        for addition in ["", "-journal", "-wal", "-shm"] {
            let path = place.beside(&format!("{WORK}{addition}"));
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(place.not_writable(path, error));
                }
                _ => {}
            }
        }
        remove_unfinished_backups(&place).map_err(|source| place.failed("look at", source))
    })
    .await
}

/// Between keeping the backup and replacing the file, both names are of one file: no backup yet.
fn remove_unfinished_backups(place: &Place) -> io::Result<()> {
    let Ok(database) = fs::metadata(place.file()) else {
        return Ok(());
    };
    let backups = place.beside(BACKUP);
    for entry in fs::read_dir(place.directory())? {
        let path = entry?.path();
        let is_backup = path
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(backups.as_os_str().as_encoded_bytes());
        if is_backup
            && let Ok(found) = fs::symlink_metadata(&path)
            && (found.dev(), found.ino()) == (database.dev(), database.ino())
        {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Gives the old file a second name, which stays when the first one is taken away.
fn keep(place: &Place, version: i64, now: Timestamp) -> io::Result<PathBuf> {
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let name = format!("{BACKUP}{version}-{time}");
    for attempt in 0..100 {
        let backup = match attempt {
            0 => place.beside(&name),
            n => place.beside(&format!("{name}-{n}")),
        };
        match fs::hard_link(place.file(), &backup) {
            Ok(()) => return Ok(backup),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => {
                // A file system without second names.
                let mut from = File::open(place.file())?;
                let mut to = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&backup)?;
                let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
                if let Err(error) = copied {
                    let _ = fs::remove_file(&backup);
                    return Err(error);
                }
                return Ok(backup);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Puts the finished file in the database's place, so that it is there after a power cut, too.
fn replace(place: &Place, work: &Path) -> Result<(), OpenError> {
    fs::rename(work, place.file())
        .and_then(|()| sync(place.directory()))
        .map_err(|source| place.failed("replace", source))
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}
