//! Accounts as the machine's name service knows them: files, a directory server, whatever is configured.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Group, User, getgrouplist};

use crate::account::Account;

/// Finds an account with all its groups.
pub(super) fn find(name: &str) -> io::Result<Option<Account>> {
    let Some(user) = User::from_name(name)? else {
        return Ok(None);
    };
    let own = CString::new(user.name.as_str())?;
    let mut gids = getgrouplist(&own, user.gid)?;
    if !gids.contains(&user.gid) {
        gids.insert(0, user.gid);
    }
    let mut groups = Vec::with_capacity(gids.len());
    for gid in &gids {
        // A number without a name is a group all the same.
        if let Some(group) = Group::from_gid(*gid)? {
            groups.push(group.name);
        }
    }
    Ok(Some(Account {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir,
        shell: user.shell,
        groups,
        gids: gids.into_iter().map(Gid::as_raw).collect(),
    }))
}
