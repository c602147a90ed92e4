//! Who may log in, how guessers are slowed, and what is written down of it all.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lyceum_config::settings::{AccessConfig, AuditConfig, Config, ThrottleConfig};
use lyceum_core::random;
use lyceum_hub::{Access, Actor, AuditEvent, AuditKind, AuditSettings, Hub, ThrottleSettings};
use lyceum_store::Store;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Under what the hashes of the settings of the last start are kept.
const LAST: &str = "last_configuration";
/// Under what the key of the hashes is kept.
const KEY: &str = "configuration_key";
/// How many changed keys are named.
const NAMED: usize = 100;
/// How much of the hash of the whole configuration is told, in hexadecimal digits.
const HASH_CHARS: usize = 16;

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

/// What is known of the configuration of this start.
#[derive(Debug)]
pub(super) struct Compared {
    /// A text that is the same as long as no value is another one.
    hash: String,
    /// The keys whose values are others than at the last start; `None` at the first one.
    changed: Option<Vec<String>>,
}

/// Compares the configuration with that of the last start, and keeps its values, as hashes.
pub(super) async fn compare(store: &Store, config: &Config) -> anyhow::Result<Compared> {
    let key = super::kept(store, KEY, || random::hex(32)).await?;
    let now = hashes(&key, &serde_json::to_value(config)?);
    let last: Option<BTreeMap<String, String>> = match store.find_setting(LAST).await? {
        // What cannot be read is of no version that we know; it is written anew.
        Some(text) => serde_json::from_str(&text).ok(),
        None => None,
    };
    let changed = last.as_ref().map(|last| changes(last, &now));
    if changed.as_ref().is_none_or(|changed| !changed.is_empty()) {
        let mut tx = store.begin().await?;
        tx.set_setting(LAST, Some(&serde_json::to_string(&now)?))
            .await?;
        tx.commit().await?;
    }
    let hash = Sha256::digest(serde_json::to_vec(&now)?);
    let mut hash = random::to_hex(&hash);
    hash.truncate(HASH_CHARS);
    Ok(Compared { hash, changed })
}

/// Tells the audit table that Lyceum starts with this configuration. Values are not told: some are secret.
pub(super) fn note_configuration(hub: &Hub, compared: Compared) {
    let Compared { hash, changed } = compared;
    let count = changed.as_ref().map(Vec::len);
    let first = changed.is_none();
    let named: Vec<String> = changed.into_iter().flatten().take(NAMED).collect();
    hub.audit().note(AuditEvent {
        detail: json!({
            "version": env!("CARGO_PKG_VERSION"),
            "hash": hash,
            "first": first,
            "changed": named,
            "count": count,
        }),
        ..AuditEvent::new(AuditKind::Configuration, Actor::Hub, None)
    });
}

fn changes(last: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let other = now
        .iter()
        .filter(|(key, hash)| last.get(*key) != Some(*hash));
    let gone = last.keys().filter(|key| !now.contains_key(*key));
    let mut keys: Vec<String> = other.map(|(key, _)| key).chain(gone).cloned().collect();
    keys.sort();
    keys
}

/// Hashes each value, with a key so that a short one cannot be found by trying.
fn hashes(key: &str, config: &Value) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    leaves(String::new(), config, &mut found);
    for (name, value) in &mut found {
        // A key of any length will do; the value itself is kept in no case.
        let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
        let hash = mac.map(|mac| mac.chain_update(format!("{name}={value}")).finalize());
        *value = hash.map_or_else(|_| String::new(), |hash| random::to_hex(&hash.into_bytes()));
    }
    found
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

    #[test]
    fn keys_that_are_new_other_or_gone_have_changed() {
        let long = "x".repeat(100_000);
        let hashes = |value| hashes("a key", &value);
        let last = hashes(json!({"a": {"same": long, "other": true, "gone": null, "list": [1]}}));
        let now = hashes(json!({"a": {"same": long, "other": false, "list": [1, 2]}, "b": {}}));
        assert_eq!(changes(&last, &now), ["a.gone", "a.list", "a.other", "b"]);
        assert!(!serde_json::to_string(&last).unwrap().contains("true"));
    }
}
