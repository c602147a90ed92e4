//! R: its versions on this machine, and site libraries of packages, each as generations for one series of R.
//!
//! ```text
//! r/base/
//!   library.R              what R runs when it starts, so that it finds the library
//!   cache/                 archives that have been downloaded; belongs to the account that builds
//!   4.2/
//!     1/library/           a generation: packages for R 4.2
//!     1.logs/              what the programs printed, a file for each package
//!     1.left               since when it is no longer the current one
//!     current -> 1
//! ```
//!
//! The distribution's own libraries are looked into, and never changed but by apt; users' own are not touched.

mod apt;
mod build;
mod choose;
mod diagnosis;
mod error;
mod exact;
mod import;
mod install;
mod interpreter;
mod inventory;
mod kernel;
mod library;
mod list;
mod lock;
mod own;
mod plan;
mod room;
mod site;
mod sources;
#[cfg(test)]
mod tests;
mod tree;
mod usage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use crate::command::Account;
pub use error::RError;
pub use import::{Imported, import, import_text};
pub use interpreter::{Interpreter, RVersion, find, find_all};
pub use inventory::{Collected, Difference, GenerationInfo};
pub use kernel::RKernel;
pub use library::{ListLock, RLibrary};
pub use list::{Editor, Entry, Method, PackageList};
pub use lock::RLock;
pub use own::{OwnPackage, OwnReport, find_own, reinstall_own};
pub use site::{SiteFiles, write_file};
pub use usage::User;

/// The repository that everybody uses, if no other is configured.
pub const CRAN: &str = "https://cloud.r-project.org";
/// Where packages for biology are.
pub const BIOCONDUCTOR: &str = "https://bioconductor.org";

/// What a library is made of.
#[derive(Debug, Clone)]
pub struct RSpec {
    /// The R for which it is.
    pub interpreter: Interpreter,
    /// Its packages.
    pub list: PackageList,
    /// Addresses of repositories like CRAN; of equal versions, the first one's.
    pub repositories: Vec<String>,
    /// The address of Bioconductor or of a mirror.
    pub bioconductor: String,
    /// Whether the distribution's ready-made packages are taken where it has them.
    pub prefer_apt: bool,
    /// Exactly the packages of a lock file, instead of what the repositories have.
    pub lock: Option<RLock>,
    /// Who downloads and builds; `None` for ourselves.
    pub account: Option<Account>,
    /// How many packages are built at once.
    pub jobs: usize,
}

/// Which packages are got anew, though the generation before has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// None.
    #[default]
    Nothing,
    /// Those that are named.
    Named(Vec<String>),
    /// All.
    All,
}

/// How it went with one package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum State {
    /// It would be installed now.
    Planned,
    /// It was installed now.
    Installed,
    /// It is the one of the generation before.
    Kept,
    /// It is the distribution's, or the machine's.
    Here,
    /// It is not there.
    Failed(Failure),
    /// It was not tried.
    Skipped {
        /// Why.
        because: String,
    },
}

impl State {
    /// Whether the package is there.
    pub fn is_good(&self) -> bool {
        !matches!(self, Self::Failed(_) | Self::Skipped { .. })
    }
}

/// Why a package is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The likely cause.
    pub cause: String,
    /// What to do.
    pub advice: String,
    /// Where all of the output is; empty if there is none.
    pub log: PathBuf,
    /// The last lines of output.
    pub excerpt: String,
}

/// One package in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageReport {
    /// Its name.
    pub name: String,
    /// Its version, if known.
    pub version: Option<String>,
    /// How it went.
    pub state: State,
    /// Whether it stands in the list, or is only needed by others.
    pub listed: bool,
    /// Whether the library is of no use without it.
    pub required: bool,
}

/// What came of a build.
#[derive(Debug, Clone, Serialize)]
pub struct BuildReport {
    /// The series of R, such as `4.2`.
    pub series: String,
    /// The new generation; `None` if nothing would change, or if it was only asked what would.
    pub generation: Option<u32>,
    /// Whether all that is required is in it, so that it can be switched to.
    pub complete: bool,
    /// All packages, by name.
    pub packages: Vec<PackageReport>,
    /// Packages that apt has installed, or would.
    pub apt: Vec<String>,
    /// Why apt could not install something that it has; what it has otherwise, a repository may have given.
    pub apt_failed: Option<Failure>,
    /// Repositories that did not answer, with the reason.
    pub offline: Vec<(String, String)>,
    /// Where the logs are.
    pub logs: PathBuf,
}

impl BuildReport {
    /// The packages that are not there.
    pub fn failed(&self) -> impl Iterator<Item = &PackageReport> {
        self.packages.iter().filter(|one| !one.state.is_good())
    }
}

/// What a generation says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    format: u32,
    /// The version of R that built it.
    r: String,
    /// Packages in the library.
    packages: BTreeMap<String, Locked>,
    /// Packages of the list that are the distribution's, with their versions.
    here: BTreeMap<String, String>,
    /// Packages of the list that are not there, with the reason.
    failed: BTreeMap<String, String>,
    /// Those of them that are required.
    lacking: Vec<String>,
    /// How long it took, in seconds.
    seconds: u64,
}

/// One package of a library, exactly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Locked {
    version: String,
    method: String,
    /// Where it came from: an address, or the locator of its entry.
    source: String,
    /// The SHA-256 of the archive, or the commit; empty if there is no such thing.
    identity: String,
    /// What it was compiled with: names and versions.
    linking: BTreeMap<String, String>,
    /// Whether its files mention their own place, so that they cannot be shared with another generation.
    bound: bool,
}
