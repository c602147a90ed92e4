//! What servers may use: from `[limits]` to what the hub shows and counts.

use std::fs;

use lyceum_config::settings::Config;
use lyceum_core::HumanSize;
use lyceum_core::limits::{Cap, LimitRules, NamedServerRules, NamedServers};
use lyceum_hub::Reserve;

/// What the hub is told.
pub(super) struct HubLimits {
    pub(super) rules: LimitRules,
    pub(super) named_servers: NamedServerRules,
    pub(super) reserve: Option<Reserve>,
}

/// Makes the settings; blocks for a moment. Limits that this machine is too small for are told to the log.
pub(super) fn hub(config: &Config) -> HubLimits {
    let limits = &config.limits;
    for Oversized { what, hint } in oversized(config, machine_memory()) {
        tracing::warn!("{what}; {hint}");
    }
    let mut named_servers = limits.named_server_rules();
    // What stands in `[hub]` is for all about whom nothing is said.
    if named_servers != NamedServerRules::default() {
        let usual = NamedServers::from(config.hub.named_servers);
        named_servers.everybody.get_or_insert(usual);
    }
    HubLimits {
        // Nobody is shown a limit that nothing keeps them to.
        rules: if config.applies_limits() {
            limits.rules(machine_memory())
        } else {
            LimitRules::default()
        },
        named_servers,
        reserve: limits
            .reserve
            .map(HumanSize::bytes)
            .map(Reserve::of_machine),
    }
}

/// A limit that cannot be meant for this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Oversized {
    /// What is wrong, with numbers, and what comes of it.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

/// Finds limits that are more than a machine with this much memory has. They are no mistakes of the configuration: it
/// may come from a larger machine, and what works there still has to start here.
pub(crate) fn oversized(config: &Config, machine: u64) -> Vec<Oversized> {
    let limits = &config.limits;
    let has = format!("this machine has {} MiB of memory", machine >> 20);
    if machine == 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    if let Some(reserve) = limits.reserve.filter(|reserve| reserve.bytes() >= machine) {
        all.push(Oversized {
            what: format!(
                "{has}, and `limits.reserve` keeps {reserve} of it for the system: no server can start; those that run are left alone"
            ),
            hint: "set `limits.reserve` to a part of the memory, such as `\"1G\"`, or leave it out".to_owned(),
        });
    }
    let total = limits.total.memory.map(|share| share.of(machine));
    let groups = limits.groups.iter();
    let users = limits.users.iter();
    let profiles = config.profiles.iter();
    let of_servers = [("limits.memory".to_owned(), limits.limits())]
        .into_iter()
        .chain(groups.map(|(name, one)| (format!("limits.groups.{name}.memory"), one.limits())))
        .chain(users.map(|(name, one)| (format!("limits.users.{name}.memory"), one.limits())))
        .chain(profiles.map(|(name, one)| (format!("profiles.{name}.memory"), one.limits())));
    let most = of_servers.filter_map(|(key, limits)| match limits.memory? {
        Cap::At(size) => Some((key, size.bytes())),
        Cap::Unlimited(_) => None,
    });
    let total = total.map(|bytes| ("limits.total.memory".to_owned(), bytes));
    let keys: Vec<String> = most
        .chain(total)
        .filter(|(_, bytes)| *bytes > machine)
        .map(|(key, _)| format!("`{key}`"))
        .collect();
    if !keys.is_empty() {
        all.push(Oversized {
            what: format!(
                "{has}, and these limits are more than that, so that they limit nothing: {}",
                keys.join(", ")
            ),
            hint: "lower them, or the machine's memory is used up before a limit is reached; `limits.reserve` keeps some for the system".to_owned(),
        });
    }
    all
}

/// The memory of this machine, in bytes; 0 if the system does not say.
pub(crate) fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn named(hub_has: &Value, limits: &Value) -> NamedServerRules {
        let config = json!({"hub": {"named_servers": hub_has}, "limits": limits});
        hub(&serde_json::from_value(config).unwrap()).named_servers
    }

    #[test]
    fn named_servers_are_as_in_hub_for_all_about_whom_nothing_is_said() {
        let rules = named(&json!(2), &json!({}));
        assert_eq!(rules, NamedServerRules::default());
        let of_group = json!({"groups": {"a": {"named_servers": true}}});
        let rules = named(&json!(2), &of_group);
        assert_eq!(rules.everybody, Some(NamedServers::UpTo(2)));
        let rules = named(&json!(false), &of_group);
        assert_eq!(rules.everybody, Some(NamedServers::Off));
        assert!(rules.allow_any());
        let rules = named(&json!(2), &json!({"named_servers": false}));
        assert!(!rules.allow_any());
    }

    #[test]
    fn limits_beyond_the_machine_are_told() {
        const MACHINE: u64 = 8 << 30;
        let found = |config: Value| {
            let config = serde_json::from_value(config).unwrap();
            let all = oversized(&config, MACHINE);
            assert_eq!(oversized(&config, 0), [], "nobody knows");
            all.into_iter().map(|one| one.what).collect::<Vec<_>>()
        };
        let fits =
            json!({"limits": {"memory": "8G", "reserve": "7G", "total": {"memory": "100%"}}});
        assert_eq!(found(fits), Vec::<String>::new());
        let [reserve] = &found(json!({"limits": {"reserve": "16G"}}))[..] else {
            panic!("it is told");
        };
        assert!(reserve.contains("has 8192 MiB"), "{reserve}");
        assert!(reserve.contains("`limits.reserve` keeps 16G"), "{reserve}");
        let [others] = &found(json!({
            "limits": {
                "memory": "9G",
                "groups": {"a": {"memory": "unlimited"}, "b": {"memory": "10G"}},
                "users": {"ada": {"memory": "8G"}},
                "total": {"memory": "16G"},
            },
            "profiles": {"large": {"memory": "64G"}},
        }))[..] else {
            panic!("they are told");
        };
        let keys = "`limits.memory`, `limits.groups.b.memory`, `profiles.large.memory`, `limits.total.memory`";
        assert!(others.ends_with(keys), "{others}");
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine_memory() > 1 << 26);
    }
}
