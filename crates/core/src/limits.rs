//! What servers may use of the machine: the rules by which limits of everybody, groups, users and profiles become one.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::{GroupName, UserName};
use crate::size::HumanSize;

/// What one server may use. What is not set is decided by the rule below, and in the end not limited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most memory. When it is used up, the system ends the process that uses the most of it, mostly a kernel; the
    /// server itself goes on.
    #[schemars(example = &"2G")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Cap<HumanSize>>,

    /// The memory beyond which a server is slowed down, and its memory taken back, before the limit is reached. Needs
    /// control groups of version 2.
    #[schemars(example = &"1800M")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<Cap<HumanSize>>,

    /// The most processor time, in processors: `1.5` is all of one and half of another.
    #[schemars(example = 2.0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cap<f64>>,

    /// The share of processor time when there is too little for all, 1 to 10000; the usual one is 100.
    #[schemars(example = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u16>,

    /// The share of the disks when there is too little for all, 1 to 10000; the usual one is 100.
    #[schemars(example = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u16>,

    /// The most processes and threads.
    #[schemars(example = 512)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Cap<u64>>,
}

/// A limit, or the word that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Cap<T> {
    /// The word `unlimited`.
    Unlimited(Unlimited),
    /// At most this.
    At(T),
}

/// The word that there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unlimited {
    /// No limit.
    Unlimited,
}

impl<T: Copy + PartialOrd> Cap<T> {
    /// The limit, if there is one.
    pub fn at(self) -> Option<T> {
        match self {
            Self::Unlimited(_) => None,
            Self::At(value) => Some(value),
        }
    }

    /// The one that allows more.
    fn larger(self, other: Self) -> Self {
        match (self, other) {
            (Self::At(one), Self::At(two)) => Self::At(if two > one { two } else { one }),
            _ => Self::Unlimited(Unlimited::Unlimited),
        }
    }
}

/// What all servers together may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TotalLimits {
    /// The most memory, in bytes.
    pub memory: Option<u64>,
    /// The most processor time, in processors.
    pub cpu: Option<f64>,
    /// The most processes and threads.
    pub tasks: Option<u64>,
}

/// All rules about limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitRules {
    /// Those of everybody.
    pub everybody: Limits,
    /// Those of groups.
    pub groups: BTreeMap<GroupName, Limits>,
    /// Those of users.
    pub users: BTreeMap<UserName, Limits>,
    /// Those of all servers together.
    pub total: TotalLimits,
}

impl LimitRules {
    /// The limits of a user's server: the profile's, else the user's own, else the most generous one of the user's
    /// groups, else everybody's; each limit for itself.
    pub fn of<'a>(
        &self,
        user: &UserName,
        groups: impl IntoIterator<Item = &'a GroupName>,
        profile: Option<&Limits>,
    ) -> Limits {
        let mut of_groups = Limits::default();
        for limits in groups
            .into_iter()
            .filter_map(|group| self.groups.get(group))
        {
            of_groups = of_groups.or_more(limits);
        }
        let mut all = self.everybody.clone();
        all = of_groups.over(&all);
        if let Some(own) = self.users.get(user) {
            all = own.over(&all);
        }
        match profile {
            Some(profile) => profile.over(&all),
            None => all,
        }
    }
}

impl Limits {
    /// These, and where one is not set, those below.
    #[must_use]
    pub fn over(&self, below: &Self) -> Self {
        Self {
            memory: self.memory.or(below.memory),
            memory_high: self.memory_high.or(below.memory_high),
            cpu: self.cpu.or(below.cpu),
            cpu_weight: self.cpu_weight.or(below.cpu_weight),
            io_weight: self.io_weight.or(below.io_weight),
            tasks: self.tasks.or(below.tasks),
        }
    }

    /// The more generous of each.
    fn or_more(&self, other: &Self) -> Self {
        fn cap<T: Copy + PartialOrd>(one: Option<Cap<T>>, two: Option<Cap<T>>) -> Option<Cap<T>> {
            match (one, two) {
                (Some(one), Some(two)) => Some(one.larger(two)),
                (one, two) => one.or(two),
            }
        }
        Self {
            memory: cap(self.memory, other.memory),
            memory_high: cap(self.memory_high, other.memory_high),
            cpu: cap(self.cpu, other.cpu),
            cpu_weight: self.cpu_weight.max(other.cpu_weight),
            io_weight: self.io_weight.max(other.io_weight),
            tasks: cap(self.tasks, other.tasks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(text: &str) -> Limits {
        let memory = match text {
            "unlimited" => Cap::Unlimited(Unlimited::Unlimited),
            size => Cap::At(size.parse().unwrap()),
        };
        Limits {
            memory: Some(memory),
            ..Limits::default()
        }
    }

    fn rules() -> LimitRules {
        LimitRules {
            everybody: Limits {
                tasks: Some(Cap::At(100)),
                ..memory("1G")
            },
            groups: [
                (GroupName::parse("class").unwrap(), memory("2G")),
                (GroupName::parse("research").unwrap(), memory("8G")),
                (GroupName::parse("free").unwrap(), memory("unlimited")),
            ]
            .into(),
            users: [(UserName::parse("ada").unwrap(), memory("512M"))].into(),
            total: TotalLimits::default(),
        }
    }

    #[test]
    fn the_profile_wins_over_the_user_the_user_over_groups_and_groups_over_everybody() {
        let of = |user: &str, groups: &[&str], profile: Option<&Limits>| {
            let groups: Vec<_> = groups
                .iter()
                .map(|name| GroupName::parse(name).unwrap())
                .collect();
            rules().of(&UserName::parse(user).unwrap(), &groups, profile)
        };
        assert_eq!(of("bob", &[], None).memory, memory("1G").memory);
        assert_eq!(of("bob", &["class"], None).memory, memory("2G").memory);
        assert_eq!(
            of("bob", &["research", "class", "other"], None).memory,
            memory("8G").memory
        );
        assert_eq!(
            of("bob", &["free", "research"], None).memory,
            memory("unlimited").memory
        );
        assert_eq!(of("ada", &["research"], None).memory, memory("512M").memory);
        assert_eq!(
            of("ada", &["research"], Some(&memory("4G"))).memory,
            memory("4G").memory
        );
        // Each limit for itself.
        assert_eq!(of("ada", &["research"], None).tasks, Some(Cap::At(100)));
    }
}
