//! The Python environments of `[env]`: where servers find them, and what they all have in their environment.

use std::collections::{BTreeMap, BTreeSet};
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

/// The environments that servers are started from: the default one, if servers are started from any without a word, and
/// those of profiles.
pub(crate) fn serving(config: &Config) -> BTreeSet<String> {
    let usual = python::is_plain(config.spawner.command()).then(|| config.env.default_python());
    let mut names: BTreeSet<String> = usual.flatten().map(str::to_owned).into_iter().collect();
    let profiles = config.profiles.values();
    names.extend(profiles.filter_map(|profile| profile.python.clone()));
    names
}

/// Whether servers that are started from this environment are Jupyter's, so that it has to have them.
pub(crate) fn starts_jupyter(config: &Config, name: &str) -> bool {
    let program = config.spawner.command().first();
    program.is_some_and(|program| python::JUPYTER_PROGRAMS.contains(&program.as_str()))
        && serving(config).contains(name)
}

/// Watches those that servers are started from.
pub(super) async fn watched(config: &Config) -> Option<Arc<WatchedPythons>> {
    let mut folders = folders(config)?;
    let serving = serving(config);
    folders.names.retain(|name| serving.contains(name));
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
