//! The Python environment that a server runs from, where its static files may be answered for it.
//!
//! Knows nothing of what is in them; that is the gateway's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What makes a server take JupyterLab, or static files, from elsewhere than its environment.
const VARIABLES: &[&str] = &["JUPYTERLAB_DIR"];
/// The same among arguments, hyphens and underscores being the same.
const ARGUMENTS: &[&str] = &[
    "app_dir",
    "core_mode",
    "custom_dir",
    "dev_mode",
    "labextensions",
    "static_dir",
    "static_path",
];

/// The environment of a program that is started so, if the server takes its files from there as far as can be seen
/// from outside. Blocks for moments.
pub fn environment_of(
    program: &Path,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
) -> Option<PathBuf> {
    keeps_to_it(arguments, variables)
        .then(|| find(program))
        .flatten()
}

/// Finds the environment that a program belongs to: for `/opt/jupyter/bin/jupyterhub-singleuser`, be it reached
/// over links, `/opt/jupyter`. `None` if there is no JupyterLab beside it.
fn find(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let bin = program.parent()?;
    let prefix = bin.parent()?;
    let has_lab = prefix.join("share/jupyter/lab/static").is_dir();
    (bin.ends_with("bin") && has_lab).then(|| prefix.to_owned())
}

/// Whether a server takes its files from its environment, as far as can be seen from outside.
fn keeps_to_it(arguments: &[String], environment: &BTreeMap<String, String>) -> bool {
    let elsewhere = |argument: &String| {
        let argument = argument.replace('-', "_");
        ARGUMENTS.iter().any(|word| argument.contains(word))
    };
    !VARIABLES.iter().any(|name| environment.contains_key(*name))
        && !arguments.iter().any(elsewhere)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_programs_environment_is_found_over_links() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let prefix = base.join("env");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/jupyterhub-singleuser"), "").unwrap();
        symlink(prefix.join("bin/jupyterhub-singleuser"), base.join("link")).unwrap();
        assert_eq!(find(&base.join("link")), None);
        fs::create_dir_all(prefix.join("share/jupyter/lab/static")).unwrap();
        assert_eq!(find(&base.join("link")), Some(prefix.clone()));
        assert_eq!(find(&base.join("missing")), None);
        fs::write(prefix.join("wrapper"), "").unwrap();
        assert_eq!(find(&prefix.join("wrapper")), None);
    }

    #[test]
    fn a_server_that_takes_its_files_from_elsewhere_is_left_alone() {
        let check = |arguments: &[&str], variables: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|one| (*one).to_owned()).collect();
            let variables = variables
                .iter()
                .map(|name| ((*name).to_owned(), String::new()));
            keeps_to_it(&arguments, &variables.collect())
        };
        assert!(check(&["--ServerApp.sock=/run/x", "--debug"], &["HOME"]));
        assert!(!check(&[], &["JUPYTERLAB_DIR"]));
        for argument in [
            "--LabApp.app_dir=/home/x",
            "--app-dir",
            "--dev-mode",
            "--LabServerApp.static_dir=/x",
            "--ServerApp.extra_static_paths=['/x']",
            "--LabApp.extra_labextensions_path=/x",
        ] {
            assert!(!check(&[argument], &[]), "{argument}");
        }
    }
}
