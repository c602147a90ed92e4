//! What the configuration allows, in the broker's own words. Made by the program from the files of `lyceum.toml`, after
//! it has seen that root alone can write them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::NamePattern;
use lyceum_core::limits::{LimitRules, Limits};
use lyceum_core::names::{GroupName, UserName};

use crate::beside::{CoursePolicy, HomeLink};
use crate::python::PythonFolders;

/// Everything that is allowed.
///
/// The broker's own folders and engine are those of its start; everything else may change while it runs.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The number of the account that may ask (`lyceum`); root always may.
    pub client_uid: u32,
    /// The number of the group that gets into servers' sockets: the client's.
    pub client_gid: u32,
    /// With what servers are started; `None` if the broker starts none, and is there for PAM alone.
    pub engine: Option<EngineKind>,
    /// How PAM is asked; `None` if nobody logs in by it.
    pub pam: Option<PamPolicy>,
    /// Which accounts may be used, and how missing ones are made.
    pub accounts: AccountPolicy,
    /// How servers are run.
    pub server: ServerPolicy,
    /// The Python environments that servers are started from; `None` if there are none of the configuration's.
    pub python: Option<PythonFolders>,
    /// Folders that are shown in homes when servers start.
    pub links: Vec<HomeLink>,
    /// Where courses are written down.
    pub courses: CoursePolicy,
    /// What users may choose among, by name.
    pub profiles: BTreeMap<String, ProfilePolicy>,
    /// What servers may use.
    pub limits: LimitRules,
    /// Where the broker keeps what it needs until the next boot; root's alone.
    pub state_dir: PathBuf,
    /// Where the folders with servers' sockets are; root's, everybody may pass.
    pub servers_dir: PathBuf,
}

/// With what servers are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// As transient units of systemd.
    Systemd,
    /// As processes in control groups of their own.
    Process,
}

/// How PAM is asked.
#[derive(Debug, Clone)]
pub struct PamPolicy {
    /// The service's name, a file in `/etc/pam.d`.
    pub service: String,
    /// Whether a session is opened for each server (limits, mounts, keyrings).
    pub session: bool,
    /// Whether the account part is asked before each start, too.
    pub check_at_start: bool,
    /// How long PAM may take.
    pub limit: Duration,
}

/// Which accounts may be used.
#[derive(Debug, Clone)]
pub struct AccountPolicy {
    /// The account's name, in which `{username}` stands for the user's.
    pub name: String,
    /// The numbers that accounts may have. 0 never is among them, whatever is written here.
    pub uids: RangeInclusive<u32>,
    /// Accounts in one of these groups are refused: they are as good as root's.
    pub refused_groups: BTreeSet<String>,
    /// These users are refused, whatever else is said.
    pub blocked_users: BTreeSet<UserName>,
    /// So are users whose whole name matches one of these.
    pub blocked_patterns: Vec<NamePattern>,
    /// If set, these users and no others are accepted (where configuration and machine alone decide who may log in).
    pub only: Option<Admitted>,
    /// Accounts with one of these shells are closed, as `/usr/sbin/nologin` says; may be empty.
    pub closed_shells: BTreeSet<PathBuf>,
    /// How a missing account is made; `None` makes none.
    pub create: Option<AccountCreation>,
    /// Whether a missing home folder of an existing account is made, below a folder that root alone can write to.
    pub create_home: bool,
    /// The mode of a home folder that is made.
    pub home_mode: u32,
    /// What a home folder that is made begins with.
    pub skeleton: PathBuf,
}

/// Who is accepted: whoever is one of these users, or matches one of the patterns, or is in one of the groups.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    /// Users.
    pub users: BTreeSet<UserName>,
    /// Patterns of whole names.
    pub patterns: Vec<NamePattern>,
    /// Groups, as the machine knows their members; what the hub says of groups does not count here.
    pub groups: BTreeSet<GroupName>,
}

impl Admitted {
    /// Tells whether the name alone is enough.
    pub fn by_name(&self, user: &UserName) -> bool {
        self.users.contains(user) || matches(&self.patterns, user)
    }

    /// Tells whether one of these groups is enough.
    pub fn by_group<'a>(&self, mut groups: impl Iterator<Item = &'a str>) -> bool {
        let admits = |group: &str| {
            self.groups
                .iter()
                .any(|admitted| admitted.as_str() == group)
        };
        groups.any(admits)
    }
}

/// Tells whether the whole name matches one of the patterns.
pub(crate) fn matches(patterns: &[NamePattern], user: &UserName) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.matches(user.as_str()))
}

/// How a missing account is made.
#[derive(Debug, Clone)]
pub struct AccountCreation {
    /// Its shell.
    pub shell: PathBuf,
    /// The groups that it is put into besides its own; they have to exist.
    pub groups: Vec<String>,
    /// The folder in which its home is made.
    pub home_root: PathBuf,
}

/// How servers are run.
#[derive(Debug, Clone)]
pub struct ServerPolicy {
    /// Program and its first arguments. A plain name is looked for in `path`.
    pub command: Vec<String>,
    /// Further arguments, after Lyceum's own.
    pub args: Vec<String>,
    /// Variables for every server, over those that the hub sets.
    pub environment: BTreeMap<String, String>,
    /// What the hub may set `JUPYTER_PATH` to; nothing else is accepted.
    pub jupyter_paths: BTreeSet<String>,
    /// Folders of programs, in order.
    pub path: Vec<String>,
    /// The folder in which a server starts, relative to the home. `{username}` stands for the user's name.
    pub working_dir: String,
    /// Where servers listen.
    pub socket: SocketRule,
    /// The page that a server opens first; empty for its own choice.
    pub default_url: String,
    /// The static files of its environment may be answered without it.
    pub static_files: bool,
    /// What is closed to servers.
    pub sandbox: Sandbox,
    /// How large the log of a server may grow, in bytes, where the broker writes it.
    pub log_limit: u64,
    /// How many files a server may have open at first.
    pub open_files: Option<u64>,
    /// The slice (or parent control group) of all servers.
    pub slice: String,
}

/// Where servers listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketRule {
    /// On a Unix socket if the program is known to take one, else on a port.
    Auto,
    /// On a Unix socket.
    Unix,
    /// On a free port of the loopback address.
    Tcp,
}

/// What is closed to servers, besides other users' processes, which always are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    /// Each server has `/tmp` and `/var/tmp` of its own.
    pub private_tmp: bool,
    /// The system's folders cannot be written to, whatever their modes say.
    pub protect_system: bool,
    /// No program that a server starts gets more rights than it has (`sudo`, setuid).
    pub no_new_privileges: bool,
    /// Only the devices that every program needs, and `devices`.
    pub private_devices: bool,
    /// Devices that servers may use, such as `/dev/nvidia0`, or with a `*` at the end.
    pub devices: Vec<String>,
    /// Folders that servers can only read.
    pub read_only: Vec<PathBuf>,
    /// Folders that servers cannot see.
    pub hidden: Vec<PathBuf>,
    /// Further properties of the unit, as `systemctl set-property` and unit files spell them; systemd only.
    pub properties: BTreeMap<String, String>,
}

/// What a user may choose.
#[derive(Debug, Clone, Default)]
pub struct ProfilePolicy {
    /// Who may choose it: members of one of these groups (the hub's or the machine's); everybody if it is `None`.
    pub groups: Option<BTreeSet<GroupName>>,
    /// Another program with its arguments, instead of the usual one.
    pub command: Option<Vec<String>>,
    /// Further variables, over the usual ones.
    pub environment: BTreeMap<String, String>,
    /// Folders of programs that come first.
    pub path: Vec<String>,
    /// The Python environment, instead of the default one.
    pub python: Option<String>,
    /// The page that a server opens first.
    pub default_url: Option<String>,
    /// What servers may use, over everything else.
    pub limits: Limits,
}

impl AccountPolicy {
    /// The shells that close an account on the systems that we know.
    pub fn usual_closed_shells() -> BTreeSet<PathBuf> {
        [
            "/usr/sbin/nologin",
            "/sbin/nologin",
            "/bin/false",
            "/usr/bin/false",
        ]
        .map(PathBuf::from)
        .into()
    }
}
