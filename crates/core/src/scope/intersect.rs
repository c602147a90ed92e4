//! Intersection: what two sets of permissions have in common.
//!
//! A token may do what it was given *and* its owner may. The two sides may speak of the same thing in
//! different words: a server here and its user there, a user here and a group there.

use std::collections::BTreeSet;

use super::set::{Filters, Reach, ScopeSet};
use crate::names::{GroupName, UserName};

/// Knows who is in which group.
pub trait Membership {
    /// Whether the user is in the group; an unknown user or group: no.
    fn is_member(&self, user: &str, group: &str) -> bool;
}

impl<F: Fn(&str, &str) -> bool> Membership for F {
    fn is_member(&self, user: &str, group: &str) -> bool {
        self(user, group)
    }
}

/// Memberships that were looked up before; who is not listed is no member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownMembers(BTreeSet<(String, String)>);

impl KnownMembers {
    /// Remembers that a user is in a group.
    pub fn insert(&mut self, user: &UserName, group: &GroupName) {
        self.0
            .insert((group.as_str().to_owned(), user.as_str().to_owned()));
    }
}

impl FromIterator<(UserName, GroupName)> for KnownMembers {
    fn from_iter<I: IntoIterator<Item = (UserName, GroupName)>>(pairs: I) -> Self {
        let mut known = Self::default();
        for (user, group) in pairs {
            known.insert(&user, &group);
        }
        known
    }
}

impl Membership for KnownMembers {
    fn is_member(&self, user: &str, group: &str) -> bool {
        self.0.contains(&(group.to_owned(), user.to_owned()))
    }
}

impl ScopeSet {
    /// What this set and another permit both (JupyterHub `scopes._intersect_expanded_scopes`).
    ///
    /// The answer is as old as `membership`: where [`ScopeSet::groups_mentioned`] is not empty on either
    /// side, it must not be kept beyond a change of groups.
    #[must_use]
    pub fn intersect(&self, other: &Self, membership: &dyn Membership) -> Self {
        let mut common = Self::new();
        for (name, ours) in self.iter() {
            let Some(theirs) = other.reach_of(name) else {
                continue;
            };
            let reach = match (ours, theirs) {
                (Reach::All, reach) | (reach, Reach::All) => reach.clone(),
                (Reach::Some(ours), Reach::Some(theirs)) => {
                    Reach::Some(common_filters(ours, theirs, membership))
                }
            };
            common.set_reach(name.clone(), reach);
        }
        common
    }

    /// What this set permits beyond `allowed`, as sorted texts; empty if it is within it.
    ///
    /// Compares what is left after an intersection: `allowed` is meant to be `self.intersect(…)`.
    pub fn beyond(&self, allowed: &Self) -> Vec<String> {
        let allowed: BTreeSet<String> = allowed.to_strings().into_iter().collect();
        self.to_strings()
            .into_iter()
            .filter(|text| !allowed.contains(text))
            .collect()
    }
}

fn common_filters(a: &Filters, b: &Filters, membership: &dyn Membership) -> Filters {
    let mut common = Filters {
        users: a.users.intersection(&b.users).cloned().collect(),
        servers: a.servers.intersection(&b.servers).cloned().collect(),
        groups: a.groups.intersection(&b.groups).cloned().collect(),
        services: a.services.intersection(&b.services).cloned().collect(),
    };
    let in_any = |user: &UserName, groups: &BTreeSet<GroupName>| {
        groups
            .iter()
            .any(|group| membership.is_member(user.as_str(), group.as_str()))
    };
    for (a, b) in [(a, b), (b, a)] {
        let covered = a
            .servers
            .iter()
            .filter(|server| b.users.contains(&server.user) || in_any(&server.user, &b.groups));
        common.servers.extend(covered.cloned());
        let members = a.users.iter().filter(|user| in_any(user, &b.groups));
        common.users.extend(members.cloned());
    }
    common
}
