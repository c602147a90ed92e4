//! Whether servers can be started from the Python environments, and whether shells have what the configuration says.

use std::path::Path;

use lyceum_broker::python;
use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use lyceum_envs::shell;

mod builders;
mod files;

use super::Finding;
use crate::cli::env::shell_settings;
use crate::wire;

/// Looks at all environments as a start does; changes nothing.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let Some(folders) = wire::python::folders(config) else {
        return Vec::new();
    };
    let program = config.spawner.command().first().map_or("", String::as_str);
    let serving = wire::python::serving(config);
    let mut findings = Vec::new();
    for name in &folders.names {
        let serves = serving.contains(name) && python::is_plain(config.spawner.command());
        // What no server starts from has kernels only.
        match folders.find(name, if serves { program } else { "" }) {
            Ok(found) => {
                let what = if serves { "servers" } else { "kernels" };
                findings.push(Finding::fine(format!(
                    "{what} can start from the Python environment `{name}`, generation {}",
                    found.generation
                )));
                findings.extend(files::check(config, name));
            }
            Err(error) => findings.push(Finding::bad(
                if serves {
                    Verdict::Problem
                } else {
                    Verdict::Warning
                },
                error.to_string(),
                error.hint(),
            )),
        }
    }
    findings.extend(builders::check(config));
    findings.extend(shells(config));
    findings
}

/// Whoever has never written anything for shells does not want it.
fn shells(config: &Config) -> Option<Finding> {
    let root = Path::new("/");
    let written = shell::is_written(root);
    let settings = shell_settings(config);
    let changes = written.then(|| shell::changes(root, Some(&settings)))?;
    Some(match changes {
        Ok(changes) if changes.is_empty() => {
            Finding::fine("shells have what the configuration says of environments")
        }
        Ok(_) => Finding::bad(
            Verdict::Warning,
            "shells do not have what the configuration says of environments",
            "`lyceum env shell --write`",
        ),
        Err(error) => Finding::bad(Verdict::Warning, error.to_string(), error.hint()),
    })
}
