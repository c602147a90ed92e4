//! What an administrator can say about the process spawner. Checked when the spawner is made.

use std::collections::BTreeMap;

use lyceum_core::duration::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Servers as processes of this machine: all under the account that runs Lyceum, or each under its user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessConfig {
    /// Under whose account servers run: `lyceum`, the account that runs Lyceum, which separates no users from each
    /// other; or `user`, each under its user's own account of this machine, which needs the broker
    /// (`lyceum broker`). Then the homes are those of the accounts, and `home` and `env_keep` count no more.
    pub run_as: RunAs,
    /// The program that is a user's server, and its first arguments. A plain name is looked for in `path`.
    pub command: Vec<String>,
    /// Further arguments, put last. Never write a secret here: everybody on the machine can list them.
    pub args: Vec<String>,
    /// Environment variables for every server, over those that Lyceum sets.
    pub environment: BTreeMap<String, String>,
    /// The names of variables that servers get from Lyceum's own environment. Nothing else of it reaches them.
    pub env_keep: Vec<String>,
    /// The folders in which servers find programs, in this order; the folder of Lyceum's own Python
    /// environment, if there is one, comes before them. A `node` found here makes JupyterLab start 0.3 s later.
    pub path: Vec<String>,
    /// The home folder of a user's servers; made, for the owner only, if it is missing. `{username}` stands
    /// for the user's name in a form that is safe in paths. Relative to the data directory.
    pub home: String,
    /// The folder in which a server starts. `{username}` as in `home`; relative to the home folder, empty
    /// for the home folder itself. It has to exist.
    pub working_dir: String,
    /// Where a server listens: on a `unix` socket, which only Lyceum can open, on a `tcp` port of the
    /// loopback address, which every account of this machine can reach, or `auto`: a socket for
    /// `jupyterhub-singleuser` and `jupyter-labhub`, a port for every other program.
    pub socket: SocketKind,
    /// The page that a server opens first, such as `/lab` or `/tree`; empty for the server's own choice.
    /// `{username}` stands for the user's name.
    pub default_url: String,
    /// How long a server is given after each of the two polite signals, before it is killed.
    pub stop_timeout: HumanDuration,
    /// How large a server's log may grow, in MiB. Beyond it the older half is dropped. The log of the start
    /// before is kept beside it.
    pub log_limit_mib: u32,
    /// Whether Lyceum answers requests for JupyterLab's own scripts, fonts and icons from the folder of the Python
    /// environment that `command` belongs to, without the user's server, and compressed. Nothing that a user
    /// or a server can change is among them. The first start compresses them, which takes some twenty seconds
    /// of processor time in the background. See `docs/static-files.md`.
    pub static_files: bool,
    /// Allows this spawner on addresses that others can reach. Whoever logs in then runs programs under Lyceum's own
    /// account, and can read and change all that Lyceum keeps: do it only among people who trust each other.
    pub allow_public: bool,
}

/// Under whose account servers run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunAs {
    /// All under the account that runs Lyceum.
    #[default]
    Lyceum,
    /// Each under its user's account of this machine.
    User,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SocketKind {
    /// A Unix socket if the program is known to take one, else a port.
    #[default]
    Auto,
    /// A Unix socket in a folder that only Lyceum can enter.
    Unix,
    /// A free port of the loopback address.
    Tcp,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        Self {
            run_as: RunAs::Lyceum,
            command: list(&["jupyterhub-singleuser"]),
            args: Vec::new(),
            environment: BTreeMap::new(),
            env_keep: list(&["LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"]),
            path: list(&["/usr/local/bin", "/usr/bin", "/bin"]),
            home: "homes/{username}".to_owned(),
            working_dir: String::new(),
            socket: SocketKind::Auto,
            default_url: String::new(),
            stop_timeout: HumanDuration::from_secs(10),
            log_limit_mib: 10,
            static_files: true,
            allow_public: false,
        }
    }
}
