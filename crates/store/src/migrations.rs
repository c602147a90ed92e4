//! The versions of the database's layout, and how one becomes the next.
//!
//! A program knows all versions up to its own; it brings older databases up to date and refuses newer ones.
//! sqlx's migrator is not used, because it commits each step by itself: we want all steps or none.

use jiff::Timestamp;

use crate::engine::{Db, values};
use crate::error::StoreError;

/// A step from one version to the next, for each engine.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// The version after it; they count up from 1 without gaps.
    pub version: i64,
    /// What it is about.
    pub name: &'static str,
    /// The statements for SQLite; foreign keys are checked after all steps, not during them.
    pub sqlite: &'static str,
    /// The statements for PostgreSQL.
    pub postgres: &'static str,
}

macro_rules! migration {
    ($version:literal, $file:literal) => {
        Migration {
            version: $version,
            name: $file,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $file, ".sql")),
        }
    };
}

/// All migrations. Once released, a migration is never changed: a further one is added.
pub const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_people_and_servers"),
    migration!(2, "0002_shares"),
    migration!(3, "0003_services"),
    migration!(4, "0004_audit"),
    migration!(5, "0005_told_groups"),
];

/// The version after all of these migrations.
pub(crate) fn newest(migrations: &[Migration]) -> i64 {
    migrations.last().map_or(0, |last| last.version)
}

/// What is in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Ours, of this version; 0 if it is empty.
    Version(i64),
    /// Tables of another program.
    Foreign,
}

/// Finds out what is in a database, without changing it.
pub(crate) async fn content(db: &mut Db<'_>) -> Result<Content, StoreError> {
    let doing = "read the version of the database";
    // The catalogues are where the engines differ.
    let sql = if db.is_sqlite() {
        "SELECT COUNT(*) AS tables, COUNT(CASE WHEN name = 'schema_migrations' THEN 1 END) AS ours \
             FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    } else {
        "SELECT COUNT(*) AS tables, COUNT(CASE WHEN relname = 'schema_migrations' THEN 1 END) AS ours \
             FROM pg_class WHERE relkind IN ('r', 'p') \
             AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = current_schema())"
    };
    let row = db.first(doing, sql, Vec::new()).await?;
    let (tables, ours): (i64, i64) = match row {
        Some(row) => (row.get("tables")?, row.get("ours")?),
        None => (0, 0),
    };
    if ours == 0 {
        return Ok(if tables == 0 {
            Content::Version(0)
        } else {
            Content::Foreign
        });
    }
    let sql = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_migrations";
    let row = db.first(doing, sql, Vec::new()).await?;
    row.map_or(Ok(0), |row| row.get("version"))
        .map(Content::Version)
}

/// Brings a database from a version to the newest. The caller has begun a transaction, and commits it.
pub(crate) async fn apply(
    db: &mut Db<'_>,
    migrations: &[Migration],
    from: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let doing = "bring the database up to date";
    db.script(
        doing,
        "CREATE TABLE IF NOT EXISTS schema_migrations \
         (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied BIGINT NOT NULL)",
    )
    .await?;
    for migration in migrations.iter().filter(|m| m.version > from) {
        let script = if db.is_sqlite() {
            migration.sqlite
        } else {
            migration.postgres
        };
        db.script(doing, script).await?;
        let sql = "INSERT INTO schema_migrations (version, name, applied) VALUES ($1, $2, $3)";
        let all = values![migration.version, migration.name, now];
        db.run(doing, sql, all).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_without_gaps_and_files_carry_them() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, i64::try_from(index).unwrap() + 1);
            assert!(
                migration
                    .name
                    .starts_with(&format!("{:04}_", migration.version))
            );
        }
    }
}
