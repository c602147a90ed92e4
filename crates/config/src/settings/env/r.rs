//! `[env.r.NAME]`: what is in a library of R, and how it is built.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A library of packages for R. It stands before the distribution's libraries, and behind what users have installed for
/// themselves.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct REnvConfig {
    /// The R for which it is built: a version, such as `4.5` or `4.5.1`, or the path of a program. If it is empty,
    /// `/usr/bin/R`. `lyceum env r versions` lists what there is.
    #[schemars(example = "4.5")]
    pub r: String,

    /// The file with its packages; `docs/r.md` tells how it is written. If it is not set, `/etc/lyceum/r/NAME.toml`.
    #[schemars(example = "/srv/courses/stats-2026/packages.toml", extend("format" = "path"))]
    pub packages: Option<PathBuf>,

    /// Addresses of package repositories like CRAN. Of a package that several have, the newest version is taken; of equal
    /// ones, that of the first repository.
    #[schemars(example = ["https://packagemanager.posit.co/cran/__linux__/bookworm/latest"])]
    pub repositories: Vec<String>,

    /// The address of Bioconductor, or of a mirror. It is asked only if a package comes from there.
    #[schemars(example = "https://mirror.example.org/bioconductor")]
    pub bioconductor: String,

    /// Whether a package of the list that the distribution has ready-made (`r-cran-NAME`) is taken from there: that takes
    /// seconds instead of minutes, and may be an older version. Entries with a version of their own come from the
    /// repository anyhow. Counts for the distribution's R only.
    #[schemars(example = false)]
    pub prefer_apt: bool,

    /// How many older generations `lyceum env r gc` keeps. One that is in use is kept anyhow.
    #[schemars(example = 5)]
    pub keep: u32,

    /// Whether `lyceum env r switch` tells every R of this machine of the default library, by a marked block in its files
    /// `Renviron.site` and `Rprofile.site`. If not, only kernels that name the library have it.
    #[schemars(example = false)]
    pub site_files: bool,

    /// The account that downloads and builds packages when the command runs as root: building runs programs of their
    /// authors. What is finished belongs to root. It must do nothing else: whatever runs under it is ended after each step.
    /// No person's account, none with a shell to log in, and not the one of `lyceum serve`.
    #[schemars(example = &"builder")]
    pub build_as: String,
}

impl Default for REnvConfig {
    fn default() -> Self {
        Self {
            r: String::new(),
            packages: None,
            repositories: vec!["https://cloud.r-project.org".to_owned()],
            bioconductor: "https://bioconductor.org".to_owned(),
            prefer_apt: true,
            keep: 3,
            site_files: true,
            build_as: "lyceum-build".to_owned(),
        }
    }
}
