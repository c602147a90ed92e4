//! The system account under which a service runs.

use std::ffi::{CStr, CString};
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use thiserror::Error;

/// An account of this machine, with all that a process of it needs.
#[derive(Debug, Clone)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its home folder.
    pub home: PathBuf,
    /// Its shell; empty if it has none.
    pub shell: PathBuf,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    pub(super) groups: Vec<Gid>,
    /// Whether it is the account of this process already, so that nothing has to be changed.
    pub(super) is_own: bool,
}

/// Why an account cannot be used.
#[derive(Debug, Error)]
pub enum AccountError {
    /// There is no such account.
    #[error("there is no account `{0}` on this machine")]
    Unknown(String),
    /// Only root can run a program under another account.
    #[error("only root can run a program under another account, and this is not root")]
    NotRoot,
    /// The system could not tell.
    #[error("could not look the account up")]
    System(#[source] nix::Error),
}

impl Account {
    /// Looks an account up and checks that programs can be started under it. Blocks, as it may ask a directory server.
    pub fn find(name: &str) -> Result<Self, AccountError> {
        let unknown = || AccountError::Unknown(name.to_owned());
        let user = User::from_name(name)
            .map_err(AccountError::System)?
            .ok_or_else(unknown)?;
        let own = Uid::effective();
        if user.uid != own && !own.is_root() {
            return Err(AccountError::NotRoot);
        }
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let groups = groups_of(&c_name, user.gid).map_err(AccountError::System)?;
        Ok(Self {
            name: user.name,
            home: user.dir,
            shell: user.shell,
            uid: user.uid,
            gid: user.gid,
            groups,
            is_own: user.uid == own,
        })
    }
}

fn groups_of(name: &CStr, gid: Gid) -> nix::Result<Vec<Gid>> {
    getgrouplist(name, gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_does_not_exist_is_told_so() {
        for name in ["no-such-account-here", "", "a\0b"] {
            assert!(
                matches!(
                    Account::find(name),
                    Err(AccountError::Unknown(_) | AccountError::System(_))
                ),
                "{name:?}"
            );
        }
    }

    #[test]
    fn the_own_account_can_always_be_used() {
        let own = User::from_uid(Uid::effective()).unwrap().unwrap();
        let account = Account::find(&own.name).unwrap();
        assert!(account.is_own);
        assert!(account.groups.contains(&own.gid));
    }
}
