//! The Python environments of the tests, each with a JupyterHub of another version: found, or made by the very code
//! that `lyceum demo` uses. Tests find them by variables; another version is another row of the table.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Result, bail};
use lyceum_envs::{EnvError, Phase, Progress, PythonEnvironment, PythonSpec, Report};

use super::needs::Installing;

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

/// Prepares these environments, and says where they are.
pub(super) fn prepare(
    root: &Path,
    environments: &[Environment],
    installing: Installing,
) -> Result<Vec<Ready>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut all = Vec::new();
    for environment in environments {
        let folder = root.join("target").join(environment.folder);
        if installing == Installing::Forbidden && !folder.join("python/base/current").exists() {
            bail!("the Python environment in {} is missing", folder.display());
        }
        let spec = PythonSpec {
            packages: environment
                .packages
                .iter()
                .map(|&one| one.to_owned())
                .collect(),
            ..PythonSpec::default()
        };
        let lines = Lines::new(environment.folder);
        let made = runtime.block_on(PythonEnvironment::ensure(&folder, &spec, &lines));
        let prefix = made.map_err(explained)?.prefix;
        println!("    {}={}", environment.variable, prefix.display());
        all.push(Ready {
            variable: environment.variable,
            prefix,
        });
    }
    Ok(all)
}

fn explained(error: EnvError) -> anyhow::Error {
    let mut text = String::from("could not prepare the Python environment of the tests");
    if let Some(details) = error.details() {
        text.push('\n');
        text.push_str(details);
    }
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(&hint);
    }
    anyhow::Error::new(error).context(text)
}

/// Prints a line per phase of preparing an environment.
#[derive(Debug)]
struct Lines {
    name: &'static str,
    last: Mutex<Option<Phase>>,
}

impl Lines {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            last: Mutex::new(None),
        }
    }
}

impl Progress for Lines {
    fn report(&self, report: &Report) {
        if let Ok(mut last) = self.last.lock()
            && last.replace(report.phase) != Some(report.phase)
        {
            println!("    Python environment {}: {}", self.name, report.text);
        }
    }
}
