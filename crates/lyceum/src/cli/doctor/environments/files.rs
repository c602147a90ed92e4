//! Whether a Python environment is what its requirements and its lock file say.

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;

use crate::cli::doctor::Finding;
use crate::cli::env::python_library;

/// Looks at the files of an environment that has a generation in use; starts nothing and asks no index.
pub(super) fn check(config: &Config, name: &str) -> Option<Finding> {
    let library = python_library(config, Some(name)).ok()?;
    Some(match library.due() {
        Ok(None) => return None,
        Ok(Some(due)) => Finding::bad(
            Verdict::Warning,
            format!(
                "the Python environment `{name}` is not as its files say: {}",
                due.why
            ),
            format!(
                "`lyceum env python build {name}` and then `lyceum env python switch {name}`, or `lyceum env apply` for all"
            ),
        ),
        Err(error) => Finding::bad(
            Verdict::Warning,
            error.to_string(),
            error
                .server_hint()
                .unwrap_or_else(|| format!("see `lyceum env python build {name} --dry-run`")),
        ),
    })
}
