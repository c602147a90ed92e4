//! Who may log in, how guessers are slowed, and what is written down of it all.

use std::collections::BTreeMap;

use lyceum_config::settings::{AccessConfig, AuditConfig, Config, ThrottleConfig};
use lyceum_core::token::TokenHash;
use lyceum_hub::{Access, Actor, AuditEvent, AuditKind, AuditSettings, Hub, ThrottleSettings};
use lyceum_store::Store;
use serde_json::{Value, json};

/// Under what the hashes of the settings of the last start are kept.
const LAST: &str = "last_configuration";
/// How many changed keys are named.
const NAMED: usize = 100;

pub(super) fn access(config: &AccessConfig) -> anyhow::Result<Access> {
    let (allowed_patterns, blocked_patterns) = config.patterns()?;
    Ok(Access {
        allow_all: config.allow_all,
        allowed_users: config.allowed_users.0.clone(),
        allow_existing_users: config.effective_allow_existing_users(),
        blocked_users: config.blocked_users.0.clone(),
        admin_users: config.admin_users.0.clone(),
        allowed_groups: config.allowed_groups.clone(),
        admin_groups: config.admin_groups.clone(),
        blocked_groups: config.blocked_groups.clone(),
        allowed_patterns,
        blocked_patterns,
    })
}

pub(super) fn audit(config: &AuditConfig) -> AuditSettings {
    AuditSettings {
        enabled: config.enabled,
        keep: config.keep.get(),
    }
}

pub(super) fn throttle(config: &ThrottleConfig) -> ThrottleSettings {
    ThrottleSettings {
        enabled: config.enabled,
        per_account: config.per_account,
        per_address: config.per_address,
        longest_pause: config.longest_pause.get(),
        exempt: config.exempt.clone(),
    }
}

/// Finds the keys whose values are others than at the last start, and keeps those of this one, as hashes; `None` at
/// the first start.
pub(super) async fn changed_keys(
    store: &Store,
    config: &Config,
) -> anyhow::Result<Option<Vec<String>>> {
    let mut now = BTreeMap::new();
    leaves(String::new(), &serde_json::to_value(config)?, &mut now);
    let last: Option<BTreeMap<String, String>> = match store.find_setting(LAST).await? {
        // What cannot be read is of no version that we know; it is written anew.
        Some(text) => serde_json::from_str(&text).ok(),
        None => None,
    };
    let changed = last.as_ref().map(|last| changes(last, &now));
    if changed.as_ref().is_none_or(|changed| !changed.is_empty()) {
        let hashes: BTreeMap<&String, String> = now
            .iter()
            .map(|(key, value)| (key, TokenHash::of(value).as_str().to_owned()))
            .collect();
        let mut tx = store.begin().await?;
        tx.set_setting(LAST, Some(&serde_json::to_string(&hashes)?))
            .await?;
        tx.commit().await?;
    }
    Ok(changed)
}

/// Tells the audit table that Lyceum starts with this configuration. Values are not told: some are secret.
pub(super) fn note_configuration(hub: &Hub, changed: Option<Vec<String>>) {
    let count = changed.as_ref().map(Vec::len);
    let first = changed.is_none();
    let named: Vec<String> = changed.into_iter().flatten().take(NAMED).collect();
    hub.audit().note(AuditEvent {
        detail: json!({
            "version": env!("CARGO_PKG_VERSION"),
            "first": first,
            "changed": named,
            "count": count,
        }),
        ..AuditEvent::new(AuditKind::Configuration, Actor::Hub, None)
    });
}

fn changes(last: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let same = |key: &String, value: &String| {
        last.get(key)
            .is_some_and(|hash| TokenHash::from_stored(hash.clone()).matches(value))
    };
    let other = now.iter().filter(|(key, value)| !same(key, value));
    let gone = last.keys().filter(|key| !now.contains_key(*key));
    let mut keys: Vec<String> = other.map(|(key, _)| key).chain(gone).cloned().collect();
    keys.sort();
    keys
}

/// Collects the values under their keys; a list is one value.
fn leaves(key: String, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (name, value) in map {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                leaves(key, value, found);
            }
        }
        value => {
            found.insert(key, value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &Value) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        leaves(String::new(), value, &mut found);
        found
    }

    #[test]
    fn keys_that_are_new_other_or_gone_have_changed() {
        let last: BTreeMap<String, String> = of(&json!({
            "a": {"same": 1, "other": true, "gone": null, "list": [1]},
        }))
        .into_iter()
        .map(|(key, value)| (key, TokenHash::of(&value).as_str().to_owned()))
        .collect();
        let now = of(&json!({"a": {"same": 1, "other": false, "list": [1, 2]}, "b": {}}));
        assert_eq!(changes(&last, &now), ["a.gone", "a.list", "a.other", "b"]);
        assert!(!serde_json::to_string(&last).unwrap().contains("true"));
    }
}
