//! Profiles: from `[profiles]` to what the hub offers, and what the spawner `process` starts.

use std::collections::BTreeMap;

use lyceum_config::settings::{Config, ProfileConfig};
use lyceum_core::limits::Limits;
use lyceum_hub::Profiles;

use super::python;

/// What the hub offers, in the order in which it is shown.
pub(super) fn hub(config: &Config) -> Profiles {
    let mut sorted: Vec<(&String, &ProfileConfig)> = config.profiles.iter().collect();
    sorted.sort_by_key(|(name, profile)| (profile.order, profile.title(name).to_lowercase()));
    let offer = |(name, profile): (&String, &ProfileConfig)| lyceum_hub::Profile {
        name: name.clone(),
        title: profile.title(name).to_owned(),
        description: profile.description.trim().to_owned(),
        groups: profile.group_names().map(Iterator::collect),
        python: profile
            .python
            .as_deref()
            .map(|name| python::title(config, name)),
        default: profile.default,
        // Nobody is shown a limit that nothing keeps them to.
        limits: if config.applies_limits() {
            profile.limits()
        } else {
            Limits::default()
        },
    };
    Profiles::new(sorted.into_iter().map(offer).collect())
}

/// What the spawner `process` starts under Lyceum's own account.
pub(super) fn spawner(config: &Config) -> BTreeMap<String, lyceum_spawn::Profile> {
    let profiles = config.profiles.iter();
    profiles
        .map(|(name, profile)| {
            let profile = lyceum_spawn::Profile {
                command: profile.command.clone(),
                environment: profile.environment.clone(),
                path: profile.path.clone(),
                python: profile.python.clone(),
                default_url: profile.default_url.clone(),
            };
            (name.clone(), profile)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use lyceum_core::GroupName;
    use serde_json::json;

    use super::*;

    #[test]
    fn profiles_are_offered_by_their_number_then_by_their_title() {
        let config: Config = serde_json::from_value(json!({"profiles": {
            "a": {"title": "Zoology"},
            "b": {"title": "algebra"},
            "c": {"order": -1, "groups": ["class"]},
        }}))
        .unwrap();
        let profiles = hub(&config);
        assert_eq!(profiles.names().collect::<Vec<_>>(), ["c", "b", "a"]);
        let groups = profiles.find("c").and_then(|one| one.groups.clone());
        assert_eq!(groups, Some([GroupName::parse("class").unwrap()].into()));
        assert_eq!(spawner(&config).len(), 3);
    }
}
