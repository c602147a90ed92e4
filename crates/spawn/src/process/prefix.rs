//! The Python environment that a server runs from, where its static files may be answered for it.
//!
//! Knows nothing of what is in them; that is the gateway's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lyceum_broker::static_files;

use super::Settings;
use super::launch::find_program;

/// The environment of the configured command, if static files are wanted.
pub(super) fn of_command(settings: &Settings) -> Option<PathBuf> {
    let program = find_program(&settings.config.command, &settings.search_path()).ok()?;
    let arguments: Vec<String> = [&settings.config.command, &settings.config.args]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    of_start(settings, &program, &arguments, &settings.config.environment)
}

/// The environment of a server that is being started.
pub(super) fn of_start(
    settings: &Settings,
    program: &Path,
    arguments: &[String],
    environment: &BTreeMap<String, String>,
) -> Option<PathBuf> {
    let wanted = settings.config.static_files;
    wanted
        .then(|| static_files::environment_of(program, arguments, environment))
        .flatten()
}
