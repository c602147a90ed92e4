//! Opening the store, and everything that can be wrong with a place for a database.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use crate::cache::Changes;
use crate::config::{StoreSettings, Target};
use crate::error::{EngineError, StoreError};
use crate::migrations::{MIGRATIONS, Migration};
use crate::tx::{Engine, Store};
use crate::{postgres, sqlite};

impl Store {
    /// Opens the database; creates it, or brings it up to date, if need be.
    ///
    /// `now` dates what is created, and the backup of a file that is brought up to date. May be dropped at
    /// any time, or killed: the next call finds either the old database or the new one, whole.
    pub async fn open(settings: &StoreSettings, now: Timestamp) -> Result<Self, OpenError> {
        Self::open_with(settings, now, MIGRATIONS).await
    }

    /// As [`Store::open`], with other migrations: for tests of the way from one version to the next.
    pub async fn open_with(
        settings: &StoreSettings,
        now: Timestamp,
        migrations: &[Migration],
    ) -> Result<Self, OpenError> {
        let engine = match &settings.0 {
            Target::Sqlite(path) => {
                Engine::Sqlite(Arc::new(sqlite::open(path, migrations, now).await?))
            }
            Target::Postgres {
                options,
                shown,
                password_file,
            } => {
                let login = postgres::Login {
                    options,
                    shown,
                    password_file: password_file.as_deref(),
                };
                Engine::Postgres(postgres::open(&login, migrations, now).await?)
            }
        };
        Ok(Self {
            engine,
            changes: Changes::new(),
        })
    }
}

/// Why the store cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A newer program has used this database.
    #[error(
        "the database {database} is of version {found}, and this program knows versions up to {known} only"
    )]
    Newer {
        /// Which database.
        database: String,
        /// Its version.
        found: i64,
        /// The newest that we know.
        known: i64,
    },
    /// It is not brought up to date yet, and whoever asks may not do that.
    #[error(
        "the database {database} is of version {found}, and this program needs version {known}"
    )]
    Older {
        /// Which database.
        database: String,
        /// Its version.
        found: i64,
        /// The version that is needed.
        known: i64,
    },
    /// There is none, and whoever asks may not create one.
    #[error("there is no database {database} yet")]
    NotThere {
        /// Which database.
        database: String,
    },
    /// There are tables, but not ours.
    #[error("the database {database} belongs to another program")]
    Foreign {
        /// Which database.
        database: String,
    },
    /// The file is something else.
    #[error("{} is not an SQLite database, or is damaged", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// There is a directory, a device or the like in the file's place.
    #[error("{} is not a file", path.display())]
    NotAFile {
        /// What is not a file.
        path: PathBuf,
    },
    /// The directory for the file does not exist.
    #[error("the directory {} for the database does not exist", directory.display())]
    NoDirectory {
        /// The directory.
        directory: PathBuf,
    },
    /// We may not write there.
    #[error("cannot write to {}", path.display())]
    NotWritable {
        /// The directory or the file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// SQLite's files cannot be on a file system of another machine.
    #[error(
        "the directory {} is on a network file system ({kind}), where a database file would be damaged sooner or later",
        directory.display()
    )]
    NetworkFileSystem {
        /// The directory.
        directory: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// There is no room for the database, or for the copy on which it is brought up to date.
    #[error("there is no space left for the database in {}", directory.display())]
    Full {
        /// The directory.
        directory: PathBuf,
    },
    /// Another process uses the file, which has to be created or brought up to date.
    #[error("the database {} is in use by another process", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The database file is gone, and what was last written to it is still there.
    #[error("the database {} is missing, but its journal {} is there", path.display(), journal.display())]
    LonelyJournal {
        /// The missing file.
        path: PathBuf,
        /// The file with the last writes.
        journal: PathBuf,
    },
    /// Bringing the database up to date failed; it is as it was before.
    #[error("could not bring the database {database} from version {from} to {to}; it is unchanged")]
    Migration {
        /// Which database.
        database: String,
        /// Its version.
        from: i64,
        /// The version that it was to have.
        to: i64,
        /// What went wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// The file with the password cannot be used.
    #[error("cannot use the password file {}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database server does not let us in, or is not there.
    #[error("cannot connect to the database {database}")]
    Connect {
        /// Which database.
        database: String,
        /// What to do about it.
        hint: &'static str,
        /// What went wrong.
        #[source]
        source: EngineError,
    },
    /// Anything else that the engine refuses while the database is opened.
    #[error("cannot open the database {database}")]
    Engine {
        /// Which database.
        database: String,
        /// What went wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// Anything else that the system refuses.
    #[error("could not {doing} {}", path.display())]
    File {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// What an administrator can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Newer { .. } => {
                "install the newer Lyceum again, or restore the backup that it made beside the database when it first started (`…backup-v<version>-<time>`)"
            }
            Self::Older { .. } => {
                "start Lyceum of this version once: it brings its database up to date"
            }
            Self::NotThere { .. } => {
                "Lyceum makes it at its first start; check `database`, and which configuration is used"
            }
            Self::Foreign { .. } => {
                "give Lyceum a database of its own: an empty one, or a file that does not exist yet"
            }
            Self::NotADatabase { .. } => {
                "check the path in `database`; if it is right, restore a backup of the file"
            }
            Self::NotAFile { .. } => "check the path in `database`; it names a file",
            Self::NoDirectory { directory } => {
                return Some(format!("create it: mkdir -p {}", directory.display()));
            }
            Self::NotWritable { path, .. } => {
                return Some(format!(
                    "let the user that runs Lyceum write there, or choose another place; see: ls -ld {}",
                    path.display()
                ));
            }
            Self::NetworkFileSystem { .. } => {
                "set `database` to a file on a local disk, or to a PostgreSQL server"
            }
            Self::Full { directory } => {
                return Some(format!(
                    "free some space, at least twice the size of the database; see: df {}",
                    directory.display()
                ));
            }
            Self::InUse { .. } => "stop the other Lyceum that uses it, then start again",
            Self::LonelyJournal { .. } => {
                "put the database file back beside its journal; if you want to begin anew, move the journal away"
            }
            Self::PasswordFile { .. } => {
                "write the password into its first line, and let only the user that runs Lyceum read it (chmod 600)"
            }
            Self::Connect { hint, .. } => hint,
            Self::Migration { source, .. } | Self::Engine { source, .. } => {
                return source.hint().map(str::to_owned);
            }
            Self::File { .. } => return None,
        };
        Some(text.to_owned())
    }
}
