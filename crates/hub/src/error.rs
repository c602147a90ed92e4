//! Why an operation of the hub was not done.

use lyceum_core::lifecycle::{Failure, Refusal};
use lyceum_core::names::NameError;
use lyceum_core::seams::{AuthError, ClosedAccount};
use lyceum_store::StoreError;
use thiserror::Error;

use crate::profiles::NoSuchProfile;

/// The caller may not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Denied {
    /// The caller holds none of the scopes that are needed.
    #[error("not permitted")]
    Forbidden,
    /// The caller holds a scope, but not for this object; whether it exists is not for them to know.
    #[error("not found")]
    NotFound,
}

/// Why the hub could not do what was asked, when nobody but itself or its store is to blame.
#[derive(Debug, Error)]
pub enum HubError {
    /// The caller may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// Why nobody was logged in.
#[derive(Debug, Error)]
pub enum LoginError {
    /// Name and password do not belong together, or the name cannot be one.
    #[error("invalid username or password")]
    Credentials,
    /// What was typed can be nobody's name.
    #[error("the user name cannot be one: {0}")]
    Name(NameError),
    /// Name and password are right, but the account cannot be used.
    #[error("the account cannot be used: {}", closed(*.0))]
    Closed(ClosedAccount),
    /// The person is known, but not admitted here.
    #[error("not admitted by the rules in [access]")]
    NotAdmitted,
    /// There were too many wrong passwords; this one was not looked at.
    #[error("too many wrong passwords for this {reason}; this one was not looked at")]
    Slowed {
        /// After how many seconds another try is looked at.
        seconds: u64,
        /// For what there were too many.
        reason: &'static str,
        /// Whether it is the first that is told of this pause.
        first: bool,
    },
    /// What checks passwords did not answer.
    #[error("the login method is not available")]
    Unavailable(#[source] AuthError),
    /// What checks passwords did not answer in time.
    #[error("the login method did not answer in time")]
    TooSlow,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

impl LoginError {
    /// Whether it says nothing about the person who tried: with us, something does not work.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::TooSlow | Self::Store(_))
    }
}

fn closed(why: ClosedAccount) -> &'static str {
    match why {
        ClosedAccount::PasswordExpired => "its password has to be changed first",
        ClosedAccount::NotUsable => "it has expired, is locked, or is closed at this hour",
    }
}

/// Why a server was not removed.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// It could not be stopped.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It did not end in time.
    #[error("it has not stopped in time")]
    Runs,
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

/// Why a server was not started.
#[derive(Debug, Error)]
pub enum StartError {
    /// It runs, or is busy with something else.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Its name cannot be one.
    #[error("{0}")]
    Name(NameError),
    /// Named servers are switched off.
    #[error("named servers are not enabled here")]
    NamedServersOff,
    /// The user has as many named servers as are allowed.
    #[error("the limit of {0} named servers is reached; delete one first")]
    TooManyNamed(u32),
    /// Too many servers are starting just now.
    #[error("too many servers are starting just now; try again in about {0} seconds")]
    Busy(u64),
    /// As many servers run as are allowed.
    #[error("as many servers are running as this hub allows; try again when others have stopped")]
    Full,
    /// The machine's memory is too short.
    #[error(
        "the memory of this machine is used up just now; try again when others have stopped their servers"
    )]
    NoMemory,
    /// The profile cannot be had.
    #[error(transparent)]
    Profile(#[from] NoSuchProfile),
    /// The start went wrong.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The store failed.
    #[error("the hub's database did not do its part")]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_work_with_us_is_no_failed_login() {
        assert!(LoginError::TooSlow.is_ours());
        assert!(!LoginError::Credentials.is_ours());
        assert!(!LoginError::NotAdmitted.is_ours());
        assert!(!LoginError::Closed(ClosedAccount::NotUsable).is_ours());
    }
}
