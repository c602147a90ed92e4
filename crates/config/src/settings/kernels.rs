//! `[kernels.NAME]`: kernels that servers offer besides the one of their own environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kernel that users' servers offer besides the one of the environment that they run from. Says what it runs by exactly
/// one of `python`, `r`, `path` and `argv`. Placed by `lyceum env kernels write`; see `docs/kernels.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KernelConfig {
    /// What people see of it in JupyterLab. If it is not set, such as `Python 3.13 (stats-2026)`, `R 4.4`, or the kernel's
    /// own title. Where two would be the same, the kernel's name is added.
    pub title: Option<String>,

    /// The name of a Python environment, which needs `ipykernel`. Each kernel runs from the generation that is current when
    /// it starts, and keeps that one.
    ///
    /// ```toml
    /// [env.python.stats-2026]
    ///
    /// [kernels.stats]
    /// title = "Statistics"
    /// python = "stats-2026"
    /// environment = { OMP_NUM_THREADS = "2" }
    /// ```
    pub python: Option<String>,

    /// The name of an R environment, or `system` for the R of this machine with its own packages. R needs the package
    /// IRkernel.
    ///
    /// ```toml
    /// [kernels.r]
    /// r = "system"
    /// ```
    pub r: Option<String>,

    /// A folder with a `kernel.json`, as kernels bring it or `jupyter kernelspec list` names it.
    ///
    /// ```toml
    /// [kernels.julia]
    /// path = "/opt/julia/share/jupyter/kernels/julia"
    /// ```
    #[schemars(extend("format" = "path"))]
    pub path: Option<PathBuf>,

    /// The command that starts the kernel, by whole path; `{connection_file}` stands for the file that it is given.
    ///
    /// ```toml
    /// [kernels.bash]
    /// argv = ["/usr/local/bin/bash-kernel", "-f", "{connection_file}"]
    /// language = "bash"
    /// ```
    pub argv: Vec<String>,

    /// The language of a kernel that is given by `argv`, as notebooks name it.
    pub language: Option<String>,

    /// Variables that the kernel gets in addition.
    pub environment: BTreeMap<String, String>,
}
