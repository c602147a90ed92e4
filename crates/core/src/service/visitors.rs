//! Who may come to a service that logs nobody in itself: the gateway's door is closed until the hub says so.

use std::collections::BTreeSet;

use crate::names::{GroupName, UserName};
use crate::scope::RoleName;

/// The last part of the path to which browsers return from the hub with a code, below the prefix of the service.
pub const ENTRY: &str = "lyceum-enter";

/// Who may come to a service that logs nobody in itself.
///
/// Whoever holds the scope `access:services!service=NAME`, administrators among them, may come in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visitors {
    /// Everybody, without a login.
    Everybody,
    /// Every user of the hub.
    Users,
    /// Users who are named, are in one of the groups, or hold one of the roles.
    Some(Chosen),
}

/// Users who may come: one match is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Users.
    pub users: BTreeSet<UserName>,
    /// Groups, whose members may come.
    pub groups: BTreeSet<GroupName>,
    /// Roles, whose holders may come.
    pub roles: BTreeSet<RoleName>,
}

impl Visitors {
    /// Whether somebody has to log in first.
    pub fn need_login(&self) -> bool {
        !matches!(self, Self::Everybody)
    }

    /// Whether a user may come, without regard to scopes.
    pub fn admit<'a>(
        &self,
        user: &UserName,
        groups: &[GroupName],
        roles: impl IntoIterator<Item = &'a str>,
    ) -> bool {
        match self {
            Self::Everybody | Self::Users => true,
            Self::Some(chosen) => {
                chosen.users.contains(user)
                    || groups.iter().any(|group| chosen.groups.contains(group))
                    || roles
                        .into_iter()
                        .any(|role| chosen.roles.iter().any(|wanted| wanted.as_str() == role))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_match_is_enough_and_no_match_is_not() {
        let chosen = Chosen {
            users: [UserName::parse("ada").unwrap()].into(),
            groups: [GroupName::parse("class").unwrap()].into(),
            roles: [RoleName::parse("teacher").unwrap()].into(),
        };
        let visitors = Visitors::Some(chosen);
        let admits = |user: &str, groups: &[&str], roles: &[&str]| {
            let groups: Vec<GroupName> = groups
                .iter()
                .map(|name| GroupName::parse(name).unwrap())
                .collect();
            visitors.admit(
                &UserName::parse(user).unwrap(),
                &groups,
                roles.iter().copied(),
            )
        };
        assert!(admits("ada", &[], &[]));
        assert!(admits("bob", &["other", "class"], &[]));
        assert!(admits("bob", &[], &["teacher"]));
        assert!(!admits("bob", &["teacher"], &["class", "user"]));
        assert!(!Visitors::Some(Chosen::default()).admit(
            &UserName::parse("ada").unwrap(),
            &[],
            ["user"]
        ));
    }
}
