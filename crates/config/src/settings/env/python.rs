//! `[env.python.NAME]`: what is in a Python environment, and how it is built.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Python environment. Users' servers and kernels run from it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PythonEnvConfig {
    /// What people see of it. If it is not set, its name.
    #[schemars(example = "Statistics 2026")]
    pub title: Option<String>,

    /// The file with its packages, in the format of pip's requirements files; see `docs/environments.md`. If it is not
    /// set, `/etc/lyceum/python/NAME.txt`. The exact versions are written beside it, to `NAME.lock`.
    #[schemars(example = "/srv/courses/stats-2026/requirements.txt", extend("format" = "path"))]
    pub requirements: Option<PathBuf>,

    /// The Python that it runs on: a version, such as `3.13`, or the path of an interpreter. If it is empty, the one that
    /// the newest generation runs on, and for the first generation the best of this machine. `lyceum env python versions`
    /// lists what there is.
    #[schemars(example = "3.13")]
    pub python: String,

    /// How many older generations `lyceum env python gc` keeps. One that is in use is kept anyhow.
    #[schemars(example = 5)]
    pub keep: u32,

    /// Modules that have to be importable before a generation is good, besides those of the requirements.
    #[schemars(example = ["pandas", "sklearn.linear_model"])]
    pub smoke: Vec<String>,

    /// Whether users see the packages that they have installed for themselves, in `~/.local`.
    #[schemars(example = false)]
    pub user_packages: bool,

    /// A folder of wheels that are looked into besides the package index.
    #[schemars(example = "/srv/wheels", extend("format" = "path"))]
    pub wheels: Option<PathBuf>,

    /// The account that downloads and builds packages when the command runs as root: building runs programs of their
    /// authors. What is finished belongs to root. It must do nothing else: whatever runs under it is ended after each step.
    /// No person's account, none with a shell to log in, and not the one of `lyceum serve`.
    #[schemars(example = &"builder")]
    pub build_as: String,
}

impl Default for PythonEnvConfig {
    fn default() -> Self {
        Self {
            title: None,
            requirements: None,
            python: String::new(),
            keep: 3,
            smoke: Vec::new(),
            user_packages: true,
            wheels: None,
            build_as: "lyceum-build".to_owned(),
        }
    }
}

impl PythonEnvConfig {
    /// What people see of the environment of this name.
    pub fn title<'a>(&'a self, name: &'a str) -> &'a str {
        self.title.as_deref().unwrap_or(name)
    }
}
