//! Tries a generation out before anybody gets it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::settings::Settings;
use super::tools::Tools;
use crate::error::EnvError;

const LIMIT: Duration = Duration::from_mins(5);

/// Imports what has to be importable, and starts the single-user server as far as that goes without a hub.
pub(crate) async fn check(
    tools: &Tools<'_>,
    settings: &Settings,
    prefix: &Path,
    packages: &BTreeMap<String, String>,
) -> Result<(), EnvError> {
    let python = prefix.join("bin/python");
    let code =
        "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n";
    let mut arguments = vec!["-I".into(), "-c".into(), code.into()];
    arguments.extend(settings.smoke.iter().map(Into::into));
    tools
        .run_python(
            "import the modules of `smoke`",
            &python,
            arguments,
            LIMIT,
            &mut |_| {},
        )
        .await?;
    if packages.contains_key("jupyterhub") {
        let program = prefix.join("bin/jupyterhub-singleuser");
        let arguments = vec!["--version".into()];
        tools
            .run_python(
                "start jupyterhub-singleuser",
                &program,
                arguments,
                LIMIT,
                &mut |_| {},
            )
            .await?;
    }
    Ok(())
}
