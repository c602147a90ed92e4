//! The Python environments of `[env]`: where servers find them, and what they all have in their environment.

use std::collections::BTreeMap;
use std::sync::Arc;

use lyceum_broker::{PythonFolders, python};
use lyceum_config::settings::Config;

use crate::pythons::WatchedPythons;

/// Where the environments are; `None` if there are none.
pub(crate) fn folders(config: &Config) -> Option<PythonFolders> {
    let default = config.env.default_python()?.to_owned();
    Some(PythonFolders {
        folder: config.env.folder.clone(),
        default,
        names: config.env.python.keys().cloned().collect(),
    })
}

/// Watches those that servers are started from.
pub(super) async fn watched(config: &Config) -> Option<Arc<WatchedPythons>> {
    let mut folders = folders(config)?;
    let named = |name: &String| {
        let mut profiles = config.profiles.values();
        profiles.any(|profile| profile.python.as_ref() == Some(name))
    };
    let usual = python::is_plain(config.spawner.command()).then(|| folders.default.clone());
    folders
        .names
        .retain(|name| named(name) || usual.as_ref() == Some(name));
    let title = |name: &String| (name.clone(), title(config, name));
    let titles = folders.names.iter().map(title).collect();
    Some(WatchedPythons::new(folders, titles).await)
}

/// What people see of the environment of this name.
pub(super) fn title(config: &Config, name: &str) -> String {
    let known = config.env.python.get(name);
    known.map_or(name, |known| known.title(name)).to_owned()
}

/// The variables of every server: those that shells have, too, and over them those of `[spawner]`.
pub(super) fn variables(
    config: &Config,
    spawner: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = config.common_variables();
    all.extend(spawner.clone());
    all
}
