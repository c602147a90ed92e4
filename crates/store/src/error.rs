//! What can go wrong when the store is used; opening it has its own errors in [`crate::OpenError`].

use std::fmt;

use lyceum_core::token::{MAX_TOKEN_CHARS, MIN_TOKEN_CHARS};
use thiserror::Error;

/// What kind of thing a row is, for error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A role.
    Role,
    /// A user's server.
    Server,
    /// A service.
    Service,
    /// A browser session.
    Session,
    /// An API token.
    Token,
    /// An OAuth client.
    OAuthClient,
    /// A share of a server.
    Share,
    /// A code that can be exchanged for a share.
    ShareCode,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Role => "role",
            Self::Server => "server",
            Self::Service => "service",
            Self::Session => "session",
            Self::Token => "token",
            Self::OAuthClient => "OAuth client",
            Self::Share => "share",
            Self::ShareCode => "share code",
        })
    }
}

/// Why the store could not do what it was asked.
///
/// After any of these from a [`Tx`](crate::Tx), drop it: PostgreSQL accepts nothing more in a transaction
/// that had an error, except after [`Exists`](Self::Exists) and [`NotFound`](Self::NotFound).
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is already one of that name.
    #[error("{kind} `{name}` exists already")]
    Exists {
        /// What.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// There is none of that name or id.
    #[error("there is no {kind} `{name}`")]
    NotFound {
        /// What.
        kind: Kind,
        /// Its name, or its id as text.
        name: String,
    },
    /// A row that the new one refers to does not exist; most likely it was deleted a moment ago.
    #[error("could not {doing}: something that it belongs to does not exist any more")]
    Orphan {
        /// What was being done.
        doing: &'static str,
        /// The engine's answer.
        #[source]
        source: EngineError,
    },
    /// The disk is full. Nothing was written.
    #[error("could not {doing}: there is no space left for the database")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// The engine's answer.
        #[source]
        source: EngineError,
    },
    /// Others hold what is needed; the same again may work.
    #[error("could not {doing}: the database is busy")]
    Busy {
        /// What was being done.
        doing: &'static str,
        /// The engine's answer.
        #[source]
        source: EngineError,
    },
    /// The database did not answer within the time limit.
    #[error("could not {doing}: the database did not answer in time")]
    Timeout {
        /// What was being done.
        doing: &'static str,
    },
    /// The connection to the database was lost, or cannot be made.
    #[error("could not {doing}: the database cannot be reached")]
    Unreachable {
        /// What was being done.
        doing: &'static str,
        /// The engine's answer.
        #[source]
        source: EngineError,
    },
    /// What is stored cannot be what we wrote.
    #[error("the value in column `{column}` of the database makes no sense")]
    Corrupt {
        /// The column, as the query calls it: `user_name` is the name of a user.
        column: String,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A token's text is too short or too long to be found again.
    #[error("a token has {MIN_TOKEN_CHARS} to {MAX_TOKEN_CHARS} characters")]
    TokenLength,
    /// A value cannot be written as JSON text.
    #[error("could not write a value as JSON")]
    Encode(#[source] serde_json::Error),
    /// Anything else that the engine refuses.
    #[error("could not {doing}")]
    Query {
        /// What was being done.
        doing: &'static str,
        /// The engine's answer.
        #[source]
        source: EngineError,
    },
}

impl StoreError {
    pub(crate) fn exists(kind: Kind, name: impl fmt::Display) -> Self {
        Self::Exists {
            kind,
            name: name.to_string(),
        }
    }

    pub(crate) fn not_found(kind: Kind, name: impl fmt::Display) -> Self {
        Self::NotFound {
            kind,
            name: name.to_string(),
        }
    }

    pub(crate) fn corrupt(
        column: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Corrupt {
            column: column.to_owned(),
            source: source.into(),
        }
    }

    /// Sorts an engine's error into the kinds above.
    pub(crate) fn from_engine(doing: &'static str, error: sqlx::Error) -> Self {
        let trouble = Trouble::of(&error);
        let source = EngineError(error);
        match trouble {
            Trouble::ForeignKey => Self::Orphan { doing, source },
            Trouble::Full => Self::Full { doing, source },
            Trouble::Busy => Self::Busy { doing, source },
            Trouble::Unreachable => Self::Unreachable { doing, source },
            Trouble::Timeout => Self::Timeout { doing },
            Trouble::Unique | Trouble::NotADatabase | Trouble::ReadOnly | Trouble::Other => {
                Self::Query { doing, source }
            }
        }
    }

    /// Whether the engine refused a second row with the same unique value.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self, Self::Query { source, .. } if Trouble::of(&source.0) == Trouble::Unique)
    }

    /// Whether the same transaction, done again from its beginning, may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Timeout { .. } | Self::Unreachable { .. }
        )
    }

    /// What an administrator can do about it, if we know.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => Some(
                "free some space on the file system of the database; what was answered is safe, and no restart is needed",
            ),
            Self::Unreachable { .. } => Some("check that the database server runs"),
            Self::Corrupt { .. } => Some(
                "the database was changed by something else; restore a backup, or correct the value",
            ),
            _ => None,
        }
    }
}

/// An error of the database engine, as it came.
#[derive(Error)]
#[error("{0}")]
pub struct EngineError(pub(crate) sqlx::Error);

impl fmt::Debug for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The derived form of sqlx's errors would quote the values of a row that violates a constraint.
        write!(f, "EngineError({})", self.0)
    }
}

/// The kinds of an engine's errors that we treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Unique,
    ForeignKey,
    Full,
    Busy,
    Timeout,
    ReadOnly,
    NotADatabase,
    Unreachable,
    Other,
}

impl Trouble {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => {
                let code = error.code().unwrap_or_default();
                if error.is_unique_violation() {
                    Self::Unique
                } else if error.is_foreign_key_violation() {
                    Self::ForeignKey
                } else if code.len() == 5 {
                    Self::of_postgres(&code)
                } else {
                    Self::of_sqlite(code.parse().unwrap_or_default())
                }
            }
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// The result codes of SQLite; the low byte is the primary one (<https://sqlite.org/rescode.html>).
    fn of_sqlite(code: i32) -> Self {
        // SQLITE_IOERR_SHMSIZE: no room for the index of the journal.
        if code == 4874 {
            return Self::Full;
        }
        match code & 0xff {
            5 | 6 => Self::Busy,
            8 => Self::ReadOnly,
            11 | 26 => Self::NotADatabase,
            13 => Self::Full,
            14 => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// The SQLSTATEs of PostgreSQL (appendix A of its manual).
    fn of_postgres(code: &str) -> Self {
        match code {
            // serialization failure, deadlock, lock not available, too many connections
            "40001" | "40P01" | "55P03" | "53300" => Self::Busy,
            "53100" => Self::Full,
            "57014" => Self::Timeout,
            "25006" => Self::ReadOnly,
            code if code.starts_with("08") || code.starts_with("57P") => Self::Unreachable,
            _ => Self::Other,
        }
    }
}
