//! What has happened to a server that runs, in words for its user.

use std::fmt;

use lyceum_core::Timestamp;
use lyceum_core::size::about;

/// Something that a server's user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerNotice {
    /// When it was seen.
    pub at: Timestamp,
    /// What it was.
    pub what: Happening,
}

/// What has happened to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The system has ended programs of the server, as its memory was used up.
    OutOfMemory {
        /// How much it may use, in bytes, if that is known.
        limit: Option<u64>,
        /// How many programs were ended.
        times: u64,
    },
}

impl fmt::Display for ServerNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::OutOfMemory { limit, times } = self;
        let (programs, were) = match times {
            0 | 1 => ("A program".to_owned(), "was"),
            _ => (format!("{times} programs"), "were"),
        };
        write!(
            f,
            "{programs} of your server {were} ended because the server's memory limit"
        )?;
        match limit {
            Some(limit) => write!(f, " of {} was reached.", about(*limit)),
            None => f.write_str(" was reached."),
        }
    }
}
