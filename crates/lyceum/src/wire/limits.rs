//! What servers may use: from `[limits]` to what the hub shows and counts.

use std::fs;

use lyceum_config::settings::Config;
use lyceum_core::HumanSize;
use lyceum_core::limits::{LimitRules, NamedServerRules, NamedServers};
use lyceum_hub::Reserve;

/// What the hub is told.
pub(super) struct HubLimits {
    pub(super) rules: LimitRules,
    pub(super) named_servers: NamedServerRules,
    pub(super) reserve: Option<Reserve>,
}

/// Makes the settings; blocks for a moment.
pub(super) fn hub(config: &Config) -> HubLimits {
    let limits = &config.limits;
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
    fn this_machine_has_memory() {
        assert!(machine_memory() > 1 << 26);
    }
}
