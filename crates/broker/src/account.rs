//! Accounts of the machine.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An account of the machine, as its name service knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its number.
    pub uid: u32,
    /// The number of its first group.
    pub gid: u32,
    /// Its home folder.
    pub home: PathBuf,
    /// Its shell.
    pub shell: PathBuf,
    /// The names of all its groups, the first one among them.
    pub groups: Vec<String>,
    /// The numbers of all its groups, the first one among them.
    pub gids: Vec<u32>,
}

impl Account {
    /// Lists the groups in which others can be, too: not the one of the account's own name, which is made with the
    /// account and tells nothing. Whoever calls themselves like a group must not get what its members get.
    pub fn shared_groups(&self) -> impl Iterator<Item = &str> {
        let all = self.groups.iter().map(String::as_str);
        all.filter(|group| *group != self.name)
    }
}
