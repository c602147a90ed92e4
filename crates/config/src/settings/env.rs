//! `[env]`: the Python and R environments that users' servers and kernels run from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod python;
mod r;

pub use python::PythonEnvConfig;
pub use r::REnvConfig;

/// The environments that users' servers and kernels run from. Each is built by `lyceum env`, as one generation beside the
/// other; a new one is switched to, and an old one back to, by one rename. See `docs/environments.md`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnvConfig {
    /// Where environments are kept: `python/NAME/NUMBER` and such below it. Everybody has to be able to read it, so it
    /// is no home and nothing that is emptied at boot.
    #[schemars(example = "/srv/lyceum/envs", extend("format" = "path"))]
    pub folder: PathBuf,

    /// The name of the Python environment for whoever has not chosen, and for commands that name none. If it is not set
    /// and there is no `base`, the first one by name.
    #[schemars(example = "stats-2026")]
    pub default: String,

    /// Python environments, each under its name.
    ///
    /// ```toml
    /// [env.python.base]
    /// title = "Python"
    ///
    /// [env.python.stats-2026]
    /// title = "Statistics 2026"
    /// requirements = "/srv/courses/stats-2026/requirements.txt"
    /// python = "3.13"
    /// smoke = ["pandas", "statsmodels"]
    /// ```
    pub python: BTreeMap<String, PythonEnvConfig>,

    /// The name of the R library that every R of this machine gets, and that commands mean if they name none. If it is
    /// not set and there is no `base`, the first one by name.
    #[schemars(example = &"stats")]
    pub default_r: String,

    /// Libraries of packages for R, each under its name; see `docs/r.md`. Each is built for every series of R (such as
    /// 4.2) of its own.
    ///
    /// ```toml
    /// [env.r.base]
    ///
    /// [env.r.stats]
    /// r = "4.5"
    /// packages = "/srv/courses/stats-2026/packages.toml"
    /// ```
    pub r: BTreeMap<String, REnvConfig>,
    /// Variables that servers, kernels, terminals and login shells all have, such as where shared data are. What is
    /// said in `spawner.environment`, in a profile, or by the users themselves comes over them. Login shells have them
    /// after `lyceum env shell --write`. Nothing secret belongs here: everybody can read it.
    #[schemars(example = serde_json::json!({"NLTK_DATA": "/srv/lyceum/data/nltk_data"}))]
    pub variables: BTreeMap<String, String>,
}

impl Default for EnvConfig {
    fn default() -> Self {
        Self {
            folder: "/opt/lyceum/envs".into(),
            default: "base".to_owned(),
            python: BTreeMap::new(),
            default_r: "base".to_owned(),
            r: BTreeMap::new(),
            variables: BTreeMap::new(),
        }
    }
}

impl EnvConfig {
    /// The name of the Python environment for whoever has not chosen; `None` if there are no environments.
    pub fn default_python(&self) -> Option<&str> {
        let named = self.python.get_key_value(&self.default);
        let found = named.or_else(|| self.python.first_key_value());
        found.map(|(name, _)| name.as_str())
    }

    /// The folder of the generations of a Python environment: `1`, `2`, …, and the link `current` to one of them.
    pub fn python_folder(&self, name: &str) -> PathBuf {
        self.folder.join("python").join(name)
    }

    /// The name of the R library that every R of this machine gets; `None` if there is none.
    pub fn default_r(&self) -> Option<&str> {
        let named = self.r.get_key_value(&self.default_r);
        let found = named.or_else(|| self.r.first_key_value());
        found.map(|(name, _)| name.as_str())
    }

    /// The file with the packages of the R library of this name, if it is configured.
    pub fn r_packages(&self, name: &str) -> Option<PathBuf> {
        let library = self.r.get(name)?;
        Some(
            library
                .packages
                .clone()
                .unwrap_or_else(|| Path::new("/etc/lyceum/r").join(format!("{name}.toml"))),
        )
    }

    /// The file with the requirements of the Python environment of this name, if it is configured.
    pub fn python_requirements(&self, name: &str) -> Option<PathBuf> {
        let environment = self.python.get(name)?;
        Some(
            environment
                .requirements
                .clone()
                .unwrap_or_else(|| Path::new("/etc/lyceum/python").join(format!("{name}.txt"))),
        )
    }
}

impl super::Config {
    /// The variables that servers, kernels and shells all have: those of `env.variables`, and over them those that tell
    /// where shared folders are.
    pub fn common_variables(&self) -> BTreeMap<String, String> {
        let mut all = self.env.variables.clone();
        all.extend(self.shared_variables());
        all
    }
}

/// Whether an environment can have this name: it becomes a folder, and stands in links and variables.
pub(crate) fn is_environment_name(name: &str) -> bool {
    super::is_profile_name(name) && name != "current"
}
