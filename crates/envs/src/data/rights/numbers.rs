//! Rights with numbers in the place of names: who is who, and who gets what of several wishes.

use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Group, User, getgrouplist};
use rustix::io::Errno;

use super::list::Entries;
use super::{Audience, DataError, Rights};

/// Rights with numbers in the place of names.
#[derive(Debug)]
pub(super) struct Numbers {
    /// The group that owns the folder.
    pub(super) group: u32,
    /// What that group may.
    of_group: Bits,
    of_others: Bits,
    users: Vec<(u32, Bits)>,
    groups: Vec<(u32, Bits)>,
    everybody_writes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bits {
    None,
    Read,
    Write,
}

impl Bits {
    fn number(self, runs: bool) -> u32 {
        let run = u32::from(runs);
        match self {
            Self::None => 0,
            Self::Read => 4 | run,
            Self::Write => 6 | run,
        }
    }
}

impl Numbers {
    /// Looks names up.
    pub(super) fn find(rights: &Rights) -> Result<Self, DataError> {
        let mut users: Vec<(u32, Bits)> = Vec::new();
        let mut groups: Vec<(u32, Bits)> = Vec::new();
        let mut found = Vec::new();
        let (mut no_users, mut no_groups) = (Vec::new(), Vec::new());
        let unreadable = |error: Errno| DataError::io("look up", Path::new("names"))(error.into());
        let unreadable = |error: nix::Error| unreadable(Errno::from_raw_os_error(error as i32));
        // Those who write come first: whoever is named twice gets more.
        for (audience, bits) in [(&rights.write, Bits::Write), (&rights.read, Bits::Read)] {
            let Audience::Some {
                users: by_user,
                groups: by_group,
            } = audience
            else {
                continue;
            };
            for name in by_user {
                match User::from_name(name).map_err(unreadable)? {
                    Some(user) => {
                        put(&mut users, user.uid.as_raw(), bits);
                        found.push(user);
                    }
                    None => no_users.push(name.clone()),
                }
            }
            for name in by_group {
                match Group::from_name(name).map_err(unreadable)? {
                    Some(group) => put(&mut groups, group.gid.as_raw(), bits),
                    None => no_groups.push(name.clone()),
                }
            }
        }
        for (what, names) in [("account", no_users), ("group", no_groups)] {
            if !names.is_empty() {
                return Err(DataError::Unknown { what, names });
            }
        }
        let everybody = |audience: &Audience| *audience == Audience::Everybody;
        if everybody(&rights.write) {
            // An entry of their own would give those who are named less than everybody else.
            users.clear();
            groups.clear();
        }
        // An entry of one's own counts more than those of one's groups. Without it, a reader whose group writes writes; and
        // if the group loses him, he may do too little until rights are given again, and never too much.
        for user in found {
            let id = (user.uid.as_raw(), Bits::Read);
            if users.contains(&id) && is_writer(&user, &groups).map_err(unreadable)? {
                users.retain(|one| *one != id);
            }
        }
        let of_others = if everybody(&rights.write) {
            Bits::Write
        } else if everybody(&rights.read) {
            Bits::Read
        } else {
            Bits::None
        };
        // The first group owns the folder, so that `ls -l` tells most of it.
        let (group, of_group) = if groups.is_empty() {
            (rustix::process::getegid().as_raw(), of_others)
        } else {
            groups.remove(0)
        };
        users.sort_unstable();
        groups.sort_unstable();
        Ok(Self {
            group,
            of_group: of_group.max(of_others),
            of_others,
            users,
            groups,
            everybody_writes: everybody(&rights.write),
        })
    }

    /// Whether anybody but root writes there.
    pub(super) fn is_shared(&self) -> bool {
        let writes = |(_, bits): &(u32, Bits)| *bits == Bits::Write;
        self.of_group == Bits::Write
            || self.of_others == Bits::Write
            || self.users.iter().chain(&self.groups).any(writes)
    }

    /// The setgid bit for what is shared, and the sticky bit where everybody could remove everything.
    pub(super) fn bits(&self, is_folder: bool) -> u32 {
        match (is_folder && self.is_shared(), self.everybody_writes) {
            (false, _) => 0,
            (true, false) => 0o2000,
            (true, true) => 0o3000,
        }
    }

    pub(super) fn entries(&self, runs: bool) -> Entries {
        let number = |bits: Bits| bits.number(runs);
        let named = |all: &[(u32, Bits)]| {
            let all = all.iter().map(|(id, bits)| (*id, number(*bits)));
            all.collect()
        };
        Entries {
            owner: Bits::Write.number(runs),
            group: number(self.of_group),
            others: number(self.of_others),
            users: named(&self.users),
            groups: named(&self.groups),
        }
    }
}

/// Whether one of an account's groups may write.
fn is_writer(user: &User, groups: &[(u32, Bits)]) -> Result<bool, nix::Error> {
    let name = CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
    let own = getgrouplist(&name, user.gid)?;
    let writes = |gid: &nix::unistd::Gid| groups.contains(&(gid.as_raw(), Bits::Write));
    Ok(own.iter().any(writes))
}

fn put(all: &mut Vec<(u32, Bits)>, id: u32, bits: Bits) {
    if !all.iter().any(|(known, _)| *known == id) {
        all.push((id, bits));
    }
}
