//! The Python environments of the tests, each with a JupyterHub of another version: found, or made by the very code
//! that `lyceum demo` uses. Tests find them by variables; another version is another row of the table.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::needs::Installing;
use crate::shell::{self, cargo, command};

/// An environment for tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Environment {
    /// The variable by which tests find it.
    pub(super) variable: &'static str,
    /// Its folder below `target`.
    folder: &'static str,
    /// What is in it, in pip's notation.
    packages: &'static [&'static str],
}

/// All environments; those of older versions show that their servers and databases work with ours.
pub(super) const ENVIRONMENTS: [Environment; 4] = [
    Environment {
        variable: "LYCEUM_TEST_PYENV",
        folder: "test-env",
        packages: &[
            "jupyterhub>=6,<7",
            "jupyterlab>=4.4,<5",
            "jupyterhub-idle-culler>=2,<3",
            "uv",
        ],
    },
    Environment {
        variable: "LYCEUM_TEST_PYENV_54",
        folder: "test-env-5.4",
        packages: &["jupyterhub==5.4.*", "jupyterlab>=4.4,<5"],
    },
    Environment {
        variable: "LYCEUM_TEST_PYENV_41",
        folder: "test-env-4.1",
        packages: &["jupyterhub==4.1.*", "jupyterlab>=4.4,<5"],
    },
    // Beside the others, as its extensions would be loaded by every server.
    Environment {
        variable: "LYCEUM_TEST_PYENV_NBGRADER",
        folder: "test-env-nbgrader",
        packages: &[
            "jupyterhub>=6,<7",
            "jupyterlab>=4.4,<5",
            "nbgrader==0.9.*",
            "nltk>=3.9,<4",
        ],
    },
];

/// An environment that is ready.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    /// The variable by which tests find it.
    pub(super) variable: &'static str,
    /// Where it is.
    pub(super) prefix: PathBuf,
}

/// The program that prepares an environment, below the root; the part build makes it.
const PREPARE: &str = "target/debug/examples/prepare";

/// Compiles what prepares environments, alone.
pub(super) fn build(root: &Path) -> Result<()> {
    let arguments = [
        "build",
        "--locked",
        "--package=lyceum-envs",
        "--example=prepare",
    ];
    shell::run(&mut cargo(root, &arguments))
}

/// Prepares these environments, and says where they are.
pub(super) fn prepare(
    root: &Path,
    environments: &[Environment],
    installing: Installing,
) -> Result<Vec<Ready>> {
    let program = root.join(PREPARE);
    if !program.is_file() {
        build(root)?;
    }
    let mut all = Vec::new();
    for environment in environments {
        let folder = root.join("target").join(environment.folder);
        if installing == Installing::Forbidden && !folder.join("python/base/current").exists() {
            bail!("the Python environment in {} is missing", folder.display());
        }
        let mut prepare = command(root, &program, &[]);
        prepare.arg(&folder).args(environment.packages);
        let printed = shell::output(&mut prepare)
            .context("could not prepare the Python environment of the tests")?;
        let prefix = PathBuf::from(printed.trim_end());
        println!("    {}={}", environment.variable, prefix.display());
        all.push(Ready {
            variable: environment.variable,
            prefix,
        });
    }
    Ok(all)
}
