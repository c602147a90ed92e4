//! `[access]`: who may log in, and who is an administrator.

use std::collections::BTreeSet;

use lyceum_core::{GroupName, NamePattern, PatternError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Names;

/// Who may log in, and who is an administrator.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessConfig {
    /// Admits everybody who can prove who they are. With a shared password or the dummy login, that is everybody who
    /// can reach the login page and knows the password.
    #[schemars(example = true)]
    pub allow_all: bool,

    /// Admits these users. Upper and lower case are the same.
    #[schemars(example = ["ada", "bob"])]
    pub allowed_users: Names,

    /// Makes these users administrators, and admits them. Taking a name out of the list does not take the right away
    /// again: do that on the admin page.
    #[schemars(example = ["ada"])]
    pub admin_users: Names,

    /// Keeps these users out, whatever else admits them.
    #[schemars(example = ["bob"])]
    pub blocked_users: Names,

    /// Admits the members of these groups: groups that the login method tells of, such as Unix groups, or groups of
    /// the hub.
    #[schemars(with = "BTreeSet<String>", example = ["students"])]
    pub allowed_groups: BTreeSet<GroupName>,

    /// Makes the members of these groups administrators at each login, and those who are no members any more ordinary
    /// users again, unless `admin_users` names them. Counts only with a login method that tells of groups. Members
    /// are not admitted by that alone.
    #[schemars(with = "BTreeSet<String>", example = ["staff"])]
    pub admin_groups: BTreeSet<GroupName>,

    /// Keeps the members of these groups out, whatever else admits them: groups that the login method tells of, or
    /// groups of the hub. Looked at when somebody logs in.
    #[schemars(with = "BTreeSet<String>", example = ["graduates"])]
    pub blocked_groups: BTreeSet<GroupName>,

    /// Admits users whose whole name matches one of these regular expressions.
    #[schemars(example = ["s[0-9]{6}"])]
    pub allowed_patterns: Vec<String>,

    /// Keeps users out whose whole name matches one of these regular expressions, whatever else admits them.
    #[schemars(example = ["guest.*"])]
    pub blocked_patterns: Vec<String>,

    /// Admits everybody who has an account in the hub already, for instance because an administrator has added them.
    /// If it is not set: yes, as soon as `allowed_users` names somebody.
    #[schemars(example = true)]
    pub allow_existing_users: Option<bool>,

    /// Whether the groups that the login method tells of are those of the hub: at each login, the user is put into
    /// them and taken out of all others, so that roles and shares of groups are theirs. Without this, they count beside
    /// those of the hub for what the configuration gives to groups: who may log in, profiles, limits, culling. With a
    /// login method that tells nothing of groups, nothing changes.
    #[schemars(example = true)]
    pub manage_groups: bool,
}

impl AccessConfig {
    /// Whether people with an account in the hub are admitted: as set, or else if `allowed_users` names somebody.
    pub fn effective_allow_existing_users(&self) -> bool {
        self.allow_existing_users
            .unwrap_or(!self.allowed_users.is_empty())
    }

    /// Whether there is anybody who could be admitted.
    pub fn admits_somebody(&self) -> bool {
        self.allow_all
            || self.effective_allow_existing_users()
            || !self.allowed_users.is_empty()
            || !self.admin_users.is_empty()
            || !self.allowed_groups.is_empty()
            || !self.allowed_patterns.is_empty()
    }

    /// The patterns of those who are admitted, and of those who are kept out.
    pub fn patterns(&self) -> Result<(Vec<NamePattern>, Vec<NamePattern>), PatternError> {
        let read = |texts: &[String]| -> Result<Vec<_>, _> {
            texts.iter().map(|text| NamePattern::parse(text)).collect()
        };
        Ok((read(&self.allowed_patterns)?, read(&self.blocked_patterns)?))
    }
}
