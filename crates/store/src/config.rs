//! Configuration of the store, and the checked settings that come of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;

/// The file in the data directory that holds the database, unless another place is configured.
const DEFAULT_FILE: &str = "lyceum.sqlite";

/// Where users, servers, tokens and all that Lyceum has to remember are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The database: `sqlite:PATH` for a file, or `postgres://USER@HOST/DATABASE` for a PostgreSQL server.
    ///
    /// Without it, Lyceum keeps a file `lyceum.sqlite` in its data directory, which is right for one machine:
    /// nothing else has to be installed. A relative PATH counts from the data directory. The file must be on
    /// a local disk, not on NFS or a Windows share. For PostgreSQL on the same machine, write
    /// `postgres:///DATABASE?host=/run/postgresql`. The connection is not encrypted: a server on another machine
    /// has to be reached through a private network. A password does not belong here: see `password_file`.
    pub database: Option<DatabaseUrl>,
    /// A file with the password for PostgreSQL, in its first line. Others must not be able to read it.
    pub password_file: Option<PathBuf>,
}

/// The address of a database; printed without the password that may be in it.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// Takes an address as it is; it is checked by [`StoreConfig::settings`].
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The address without password and options, fit to be shown.
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else {
            // Not an address of a server; then there is no password, unless something is mistyped.
            return match self.0.split_once('@') {
                Some(_) if !self.0.starts_with("sqlite:") => "[not shown]".to_owned(),
                _ => self.0.clone(),
            };
        };
        if scheme == "sqlite" {
            return self.0.clone();
        }
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((login, place)) => {
                let user = login.split(':').next().unwrap_or_default();
                format!("{scheme}://{user}@{place}")
            }
            None => format!("{scheme}://{rest}"),
        }
    }

    fn has_password(&self) -> bool {
        let Some((_, rest)) = self.0.split_once("://") else {
            return false;
        };
        let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
        place
            .rsplit_once('@')
            .is_some_and(|(login, _)| login.contains(':'))
            || options
                .split('&')
                .any(|option| option.starts_with("password="))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.redacted(), f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.redacted())
    }
}

/// What is wrong with the configuration of the store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreConfigError {
    /// It is the address of no engine that we know.
    #[error("`database` is neither `sqlite:PATH` nor `postgres://USER@HOST/DATABASE`, but `{0}`")]
    UnknownEngine(DatabaseUrl),
    /// There is no path after `sqlite:`.
    #[error("`database` names no file: write `sqlite:PATH`")]
    NoPath,
    /// The database would be gone at each restart.
    #[error("`database` cannot be in memory, because all would be lost with each restart")]
    InMemory,
    /// Options after the path, as other programs have them.
    #[error("`database` is a file and takes no options: leave out what follows the question mark")]
    Options,
    /// It is not an address of PostgreSQL.
    #[error("`database` is not an address of PostgreSQL such as `postgres://USER@HOST/DATABASE`")]
    BadUrl,
    /// There are two passwords.
    #[error(
        "there is a password both in `database` and in `password_file`: leave the first one out"
    )]
    TwoPasswords,
    /// A password for a file.
    #[error("`password_file` is for PostgreSQL; a database file has no password")]
    NeedlessPassword,
}

/// Checked settings: what [`Store::open`](crate::Store::open) takes.
#[derive(Clone)]
pub struct StoreSettings(pub(crate) Target);

#[derive(Clone)]
pub(crate) enum Target {
    Sqlite(PathBuf),
    Postgres {
        options: Box<PgConnectOptions>,
        /// The address without password, for messages.
        shown: String,
        password_file: Option<PathBuf>,
    },
}

impl fmt::Debug for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreSettings({self})")
    }
}

impl fmt::Display for StoreSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Target::Sqlite(path) => path.display().fmt(f),
            Target::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

impl StoreSettings {
    /// The settings of a database file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self(Target::Sqlite(path.into()))
    }

    /// The database file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Target::Sqlite(path) => Some(path),
            Target::Postgres { .. } => None,
        }
    }
}

impl StoreConfig {
    /// Checks the configuration. `data_dir` is where the file is, if nothing else is said.
    pub fn settings(&self, data_dir: &Path) -> Result<StoreSettings, StoreConfigError> {
        let Some(url) = &self.database else {
            return match &self.password_file {
                Some(_) => Err(StoreConfigError::NeedlessPassword),
                None => Ok(StoreSettings::sqlite(data_dir.join(DEFAULT_FILE))),
            };
        };
        if let Some(path) = url.0.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if self.password_file.is_some() {
                return Err(StoreConfigError::NeedlessPassword);
            }
            if path.is_empty() {
                return Err(StoreConfigError::NoPath);
            }
            if path.starts_with(":memory:") {
                return Err(StoreConfigError::InMemory);
            }
            if path.contains('?') {
                return Err(StoreConfigError::Options);
            }
            return Ok(StoreSettings::sqlite(data_dir.join(path)));
        }
        if !url.0.starts_with("postgres://") && !url.0.starts_with("postgresql://") {
            return Err(StoreConfigError::UnknownEngine(url.clone()));
        }
        if self.password_file.is_some() && url.has_password() {
            return Err(StoreConfigError::TwoPasswords);
        }
        let options = PgConnectOptions::from_str(&url.0).map_err(|_| StoreConfigError::BadUrl)?;
        Ok(StoreSettings(Target::Postgres {
            options: Box::new(
                options
                    .application_name("lyceum")
                    .disable_statement_logging(),
            ),
            shown: url.redacted(),
            password_file: self.password_file.as_ref().map(|file| data_dir.join(file)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> Result<String, StoreConfigError> {
        let config = StoreConfig {
            database: Some(DatabaseUrl::new(url)),
            password_file: None,
        };
        let settings = config.settings(Path::new("/data"))?;
        Ok(settings.to_string())
    }

    #[test]
    fn addresses_are_read_strictly() {
        assert_eq!(settings("sqlite:x.db").unwrap(), "/data/x.db");
        assert_eq!(settings("sqlite:/var/x.db").unwrap(), "/var/x.db");
        assert_eq!(settings("sqlite:///var/x.db").unwrap(), "/var/x.db");
        assert_eq!(settings("sqlite:"), Err(StoreConfigError::NoPath));
        assert_eq!(settings("sqlite::memory:"), Err(StoreConfigError::InMemory));
        assert_eq!(
            settings("sqlite:x?mode=rwc"),
            Err(StoreConfigError::Options)
        );
        assert_eq!(settings("postgres://["), Err(StoreConfigError::BadUrl));
        assert!(matches!(
            settings("mysql://x/y"),
            Err(StoreConfigError::UnknownEngine(_))
        ));
        let none = StoreConfig::default().settings(Path::new("/data")).unwrap();
        assert_eq!(none.to_string(), "/data/lyceum.sqlite");
    }

    #[test]
    fn passwords_are_never_printed() {
        for url in [
            "postgres://ada:hunter2@db.example.org/lyceum",
            "postgres://ada:hun@ter2@db.example.org/lyceum",
            "postgres://ada@db.example.org/lyceum?password=hunter2",
            "postgres:ada:hunter2@db.example.org/lyceum",
            "mysql://ada:hunter2@db.example.org/lyceum",
        ] {
            let config = StoreConfig {
                database: Some(DatabaseUrl::new(url)),
                password_file: None,
            };
            let settings = config.settings(Path::new("/data"));
            let mut shown = format!("{config:?} {settings:?}");
            shown += &serde_json::to_string(&config).unwrap();
            match settings {
                Ok(settings) => shown += &settings.to_string(),
                Err(error) => shown += &error.to_string(),
            }
            assert!(!shown.contains("ter2"), "{shown}");
        }
    }

    #[test]
    fn a_password_is_given_once_and_where_it_is_needed() {
        let check = |url: Option<&str>, expected| {
            let config = StoreConfig {
                database: url.map(DatabaseUrl::new),
                password_file: Some("pw".into()),
            };
            assert_eq!(
                config.settings(Path::new("/data")).err(),
                expected,
                "{url:?}"
            );
        };
        check(None, Some(StoreConfigError::NeedlessPassword));
        check(Some("sqlite:x"), Some(StoreConfigError::NeedlessPassword));
        check(
            Some("postgres://ada:x@h/d"),
            Some(StoreConfigError::TwoPasswords),
        );
        check(Some("postgres://ada@h/d"), None);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let result: Result<StoreConfig, _> = serde_json::from_str(r#"{"databse": "x"}"#);
        assert!(result.unwrap_err().to_string().contains("databse"));
    }
}
