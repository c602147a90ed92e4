//! `[limits]`: what servers may use of the machine, for everybody, for groups, for users, and all together.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use lyceum_core::limits::{self, Cap, LimitRules, Limits, NamedServerRules, TotalLimits};
use lyceum_core::{GroupName, HumanSize, UserName};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Config, NamedServers};

/// Makes a section with the keys of [`Limits`] among its own. (Serde's way to put one struct into another accepts
/// unknown keys.)
macro_rules! with_limits {
    ($(#[$meta:meta])* pub struct $name:ident { $($own:tt)* }) => {
        $(#[$meta])*
        pub struct $name {
            /// The most memory of one server. When it is used up, the system ends the process that uses the most of it,
            /// mostly a kernel; the server itself goes on. `"unlimited"` for no limit.
            #[schemars(example = &"2G")]
            pub memory: Option<Cap<HumanSize>>,

            /// The memory beyond which a server is slowed down, and memory taken back from it, before its limit is
            /// reached. Needs control groups of version 2.
            #[schemars(example = &"1800M")]
            pub memory_high: Option<Cap<HumanSize>>,

            /// The most processor time of one server, in processors: `1.5` is all of one and half of another.
            #[schemars(example = 2.0)]
            pub cpu: Option<Cap<f64>>,

            /// The server's share of processor time when there is too little for all, 1 to 10000; the usual one is 100.
            #[schemars(example = 100, range(min = 1, max = 10000))]
            pub cpu_weight: Option<u16>,

            /// The server's share of the disks when there is too little for all, 1 to 10000; the usual one is 100.
            #[schemars(example = 100, range(min = 1, max = 10000))]
            pub io_weight: Option<u16>,

            /// The most processes and threads of one server.
            #[schemars(example = 512)]
            pub tasks: Option<Cap<u64>>,

            $($own)*
        }

        impl $name {
            /// Those of the keys that are limits of a server.
            pub fn limits(&self) -> Limits {
                Limits {
                    memory: self.memory,
                    memory_high: self.memory_high,
                    cpu: self.cpu,
                    cpu_weight: self.cpu_weight,
                    io_weight: self.io_weight,
                    tasks: self.tasks,
                }
            }
        }
    };
}
pub(super) use with_limits;

with_limits! {
    /// What servers may use of the machine. Of each limit, the one of the profile counts, else that of the user, else
    /// the most generous one of the user's groups, else that of everybody.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct LimitsConfig {
        /// How many named servers each user may have, in place of `hub.named_servers`: a number, `true` for as many as
        /// they like, `false` for none.
        #[schemars(example = 3)]
        pub named_servers: Option<NamedServers>,

        /// Memory that stays for the system: while less than this is available, no server is started, and people are
        /// asked to try again later. Servers that run are left alone. Without `limits.total.memory`, it is also kept
        /// from all servers together.
        #[schemars(example = &"1G")]
        pub reserve: Option<HumanSize>,

        /// What all servers together may use.
        pub total: TotalLimitsConfig,

        /// Other limits for members of groups, under the group's name: groups of the hub, or groups that the login
        /// method tells of, such as Unix groups. Who is in several has the most generous one.
        ///
        /// ```toml
        /// [limits.groups.research]
        /// memory = "16G"
        /// cpu = "unlimited"
        /// ```
        pub groups: BTreeMap<String, LimitsEntry>,

        /// Other limits for single users, under the user's name.
        ///
        /// ```toml
        /// [limits.users.ada]
        /// memory = "4G"
        /// named_servers = 5
        /// ```
        pub users: BTreeMap<String, LimitsEntry>,
    }
}

with_limits! {
    /// Limits of a group's members, or of a user. What is not set is as for everybody.
    #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    pub struct LimitsEntry {
        /// How many named servers each of them may have: a number, `true` for as many as they like, `false` for none.
        #[schemars(example = 3)]
        pub named_servers: Option<NamedServers>,
    }
}

/// What all servers together may use.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TotalLimitsConfig {
    /// The most memory of all servers together: a size, or a part of the machine's memory, such as `"85%"`. If it is
    /// not set: all of it but `limits.reserve`, if that is set.
    #[schemars(example = &"85%")]
    pub memory: Option<MemoryShare>,

    /// The most processor time of all servers together, in processors.
    #[schemars(example = 6.0)]
    pub cpu: Option<f64>,

    /// The most processes and threads of all servers together.
    #[schemars(example = 20000)]
    pub tasks: Option<u64>,
}

/// An amount of memory: a size, or a part of the machine's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryShare {
    /// This much.
    Size(HumanSize),
    /// So many hundredths of the machine's memory, 1 to 100.
    Percent(u8),
}

impl MemoryShare {
    /// The amount in bytes, on a machine with this much memory.
    pub fn of(self, machine_memory: u64) -> u64 {
        match self {
            Self::Size(size) => size.bytes(),
            Self::Percent(percent) => machine_memory / 100 * u64::from(percent),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let Some(number) = text.trim().strip_suffix('%') else {
            return HumanSize::parse(text).map(Self::Size).map_err(|error| {
                format!("{error}; or a part of the machine's memory, such as `85%`")
            });
        };
        number
            .trim_end()
            .parse()
            .ok()
            .filter(|percent| (1..=100).contains(percent))
            .map(Self::Percent)
            .ok_or_else(|| format!("`{text}` is not a part of the memory: write `1%` to `100%`"))
    }
}

impl fmt::Display for MemoryShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for MemoryShare {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemoryShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for MemoryShare {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MemoryShare".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "human-size",
            "pattern": r"^\s*\d+\s*(%|B|[KMGT](iB)?|[kKMGT]B)\s*$",
        })
    }
}

impl LimitsConfig {
    /// The rules, on a machine with this much memory.
    ///
    /// Names that can be nobody's are left out; the check of the configuration has refused them.
    pub fn rules(&self, machine_memory: u64) -> LimitRules {
        let reserve = self.reserve.map(HumanSize::bytes);
        // Where nothing is left, nothing is started; what runs is not ended for it.
        let rest = || {
            let rest = machine_memory.checked_sub(reserve?)?;
            Some(rest).filter(|rest| *rest > 0)
        };
        LimitRules {
            everybody: self.limits(),
            groups: groups(&self.groups, |entry| Some(entry.limits())),
            users: users(&self.users, |entry| Some(entry.limits())),
            total: TotalLimits {
                memory: self
                    .total
                    .memory
                    .map(|share| share.of(machine_memory))
                    // A part of what nobody knows is no limit.
                    .filter(|most| *most > 0 || machine_memory > 0)
                    .or_else(rest),
                cpu: self.total.cpu,
                tasks: self.total.tasks,
            },
        }
    }

    /// The rules about named servers.
    pub fn named_server_rules(&self) -> NamedServerRules {
        let read = |entry: &LimitsEntry| entry.named_servers.map(limits::NamedServers::from);
        NamedServerRules {
            everybody: self.named_servers.map(limits::NamedServers::from),
            groups: groups(&self.groups, read),
            users: users(&self.users, read),
        }
    }
}

fn groups<T>(
    entries: &BTreeMap<String, LimitsEntry>,
    read: impl Fn(&LimitsEntry) -> Option<T>,
) -> BTreeMap<GroupName, T> {
    let read = |(name, entry): (&String, _)| Some((GroupName::parse(name).ok()?, read(entry)?));
    entries.iter().filter_map(read).collect()
}

fn users<T>(
    entries: &BTreeMap<String, LimitsEntry>,
    read: impl Fn(&LimitsEntry) -> Option<T>,
) -> BTreeMap<UserName, T> {
    let read = |(name, entry): (&String, _)| Some((UserName::normalize(name).ok()?, read(entry)?));
    entries.iter().filter_map(read).collect()
}

impl From<NamedServers> for limits::NamedServers {
    fn from(allowed: NamedServers) -> Self {
        match allowed {
            NamedServers::Off => Self::Off,
            NamedServers::UpTo(count) => Self::UpTo(count),
            NamedServers::Unlimited => Self::Unlimited,
        }
    }
}

impl Config {
    /// Whether the spawner keeps servers to their limits. Where it does not, they are promised to nobody either.
    pub fn applies_limits(&self) -> bool {
        // Under Lyceum's own account, a process can be kept from nothing.
        self.spawner.is_brokered()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: u64 = 1 << 30;

    fn read(text: &str) -> LimitsConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_total_is_a_size_a_part_of_the_machine_or_what_the_reserve_leaves() {
        let total = |text: &str| read(text).rules(100 * G).total.memory;
        assert_eq!(total(""), None);
        assert_eq!(total("total.memory = '10G'"), Some(10 * G));
        assert_eq!(total("total.memory = '85 %'\nreserve = '1G'"), Some(85 * G));
        assert_eq!(total("reserve = '4G'"), Some(96 * G));
        assert_eq!(total("reserve = '400G'"), None);
        assert_eq!(total("reserve = '100G'"), None);
        let unknown = read("total.memory = '85%'\nreserve = '1G'").rules(0);
        assert_eq!(unknown.total.memory, None);
        for bad in ["101%", "0%", "-1%", "%", "8.5%", "lots", "10"] {
            let text = format!("total.memory = '{bad}'");
            assert!(toml::from_str::<LimitsConfig>(&text).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rules_are_those_of_the_file() {
        let config = read(
            "memory = '2G'\ncpu = 'unlimited'\nnamed_servers = 1\n\
             [groups.class]\nmemory = '4G'\nnamed_servers = true\n\
             [users.' Ada']\ntasks = 100\nnamed_servers = false\n",
        );
        let (ada, class) = (
            UserName::parse("ada").unwrap(),
            GroupName::parse("class").unwrap(),
        );
        let of_ada = config.rules(G).of(&ada, [&class], None);
        assert_eq!(of_ada.memory, Some(Cap::At("4G".parse().unwrap())));
        assert_eq!(of_ada.tasks, Some(Cap::At(100)));
        assert_eq!(of_ada.cpu.and_then(Cap::at), None);
        let named = config.named_server_rules();
        assert_eq!(named.of(&ada, [&class]), Some(limits::NamedServers::Off));
        let bob = UserName::parse("bob").unwrap();
        assert_eq!(
            named.of(&bob, [&class]),
            Some(limits::NamedServers::Unlimited)
        );
        assert_eq!(named.of(&bob, []), Some(limits::NamedServers::UpTo(1)));
        assert!(named.allow_any());
    }
}
