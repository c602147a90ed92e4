//! The shape of `lyceum.toml`: one struct whose fields are the sections.
//!
//! The structs of the sections live beside what they configure; here are those of the hub itself. They are plain
//! data: what they mean together is checked in `semantic.rs`, and nothing here knows of files or origins.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lyceum_auth::AuthConfig;
use lyceum_certs::TlsConfig;
use lyceum_gateway::GatewayConfig;
use lyceum_store::StoreConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod access;
mod accounts;
mod audit;
mod auth_state;
mod broker;
mod courses;
mod cull;
mod custom_scopes;
mod declared;
mod env;
mod groups;
mod hub;
mod kernels;
mod limits;
mod log;
mod metrics;
mod names;
mod pages;
mod profiles;
mod roles;
mod sandbox;
mod servers;
mod services;
mod shared;
mod sites;
mod throttle;

pub use access::AccessConfig;
pub use accounts::{AccountsConfig, Mode};
pub use audit::AuditConfig;
pub use auth_state::AuthStateConfig;
pub use broker::BrokerConfig;
pub use courses::{CourseLanguage, CoursesConfig, is_timezone};
pub use cull::{
    AlwaysOrDuration, ClassHoursError, CullConfig, CullOverride, OffOrDuration, Percent,
    PercentError, PressureConfig,
};
pub use custom_scopes::CustomScopeConfig;
pub use declared::DeclarationError;
pub(crate) use env::is_environment_name;
pub use env::{EnvConfig, PythonEnvConfig, REnvConfig};
pub use groups::GroupConfig;
pub use hub::{HubConfig, NamedServers};
pub use kernels::KernelConfig;
pub use limits::{LimitsConfig, LimitsEntry, MemoryShare, TotalLimitsConfig};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use lyceum_proxy::{ExternalConfig, ProxyConfig};
pub use lyceum_spawn::{RunAs, SpawnerConfig};
pub use metrics::MetricsConfig;
pub use names::Names;
pub use pages::{Language, Link, PagesConfig};
pub use profiles::ProfileConfig;
pub(crate) use profiles::is_profile_name;
pub use roles::RoleConfig;
pub use sandbox::SandboxConfig;
pub use servers::{OldServerNames, OptionsFromForm, ServersConfig};
pub use services::{SecretText, ServiceConfig};
pub use shared::{SharedConfig, SharedNames, SharedWith, SharedWord};
pub(crate) use shared::{is_link_name, is_place, is_shared_name};
pub use sites::{AccessRule, AccessWord, ServiceAccess, ServiceKind};
pub use throttle::ThrottleConfig;

/// All settings of Lyceum. Every one has a default, so that a file holds only what differs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "lyceum.toml")]
pub struct Config {
    /// Puts everything that Lyceum writes below one folder, instead of `/var/lib/lyceum` and `/run/lyceum`:
    /// data in `data`, sockets in `run`; and what `lyceum data` and `lyceum course` write, instead of `/srv/lyceum`. A folder that is set by its own key stays where that key says.
    #[schemars(example = "/opt/jupyter", extend("format" = "path"))]
    pub root: Option<PathBuf>,

    /// The hub: its place in the URL, its folders, how long things may take.
    pub hub: HubConfig,

    /// The gateway: the addresses that browsers reach, and its limits.
    pub gateway: GatewayConfig,

    /// HTTPS: the names of this server, and where their certificates come from.
    pub tls: TlsConfig,

    /// Which proxy carries people's traffic to their servers: Lyceum itself, or one that runs elsewhere.
    pub proxy: ProxyConfig,

    /// How people prove who they are.
    pub auth: AuthConfig,

    /// Who of those may log in, and who is an administrator. Nobody is admitted by accident: without any entry here,
    /// nobody can log in.
    pub access: AccessConfig,

    /// Brakes on guessing passwords.
    pub throttle: ThrottleConfig,

    /// What login methods may keep for users, such as tokens of other sites: encrypted in the database.
    pub auth_state: AuthStateConfig,

    /// How users' servers are started.
    pub spawner: SpawnerConfig,

    /// Accounts of this machine, under which users' servers run, where they run under their users' own.
    pub accounts: AccountsConfig,

    /// What is closed to users' servers, where they run under their users' own accounts.
    pub sandbox: SandboxConfig,

    /// The privileged helper, which starts servers under their users' accounts and asks PAM.
    pub broker: BrokerConfig,

    /// Users' servers: what people are asked before a start, names, and what happens when too much starts or fails.
    pub servers: ServersConfig,

    /// What servers may use of the machine. Of each limit, the one of the profile counts, else that of the user, else
    /// the most generous one of the user's groups, else that of everybody. What is not set is not limited.
    ///
    /// ```toml
    /// [limits]
    /// memory = "2G"
    /// cpu = 2
    /// reserve = "1G"
    ///
    /// [limits.groups.research]
    /// memory = "16G"
    /// ```
    pub limits: LimitsConfig,

    /// What users may choose among before a start, each under its name: other limits, another program, other variables.
    /// With one that a user may choose, that one is taken; with several, the user is asked, and the choice is remembered
    /// for each server. See `docs/limits-and-profiles.md`.
    ///
    /// ```toml
    /// [profiles.small]
    /// title = "For exercises"
    /// memory = "1G"
    /// default = true
    ///
    /// [profiles.large]
    /// title = "For large data"
    /// memory = "16G"
    /// groups = ["research"]
    /// ```
    pub profiles: BTreeMap<String, ProfileConfig>,

    /// The environments that users' servers and kernels run from, built by `lyceum env`.
    pub env: EnvConfig,

    /// Folders that many use, each under its name: data, teaching material, a place to give things to each other. See
    /// `docs/shared-data.md`.
    ///
    /// ```toml
    /// [shared.nltk]
    /// variable = "NLTK_DATA"
    ///
    /// [shared.edu]
    /// path = "/srv/edu"
    /// write = { groups = ["teachers"] }
    /// link = "edu"
    /// ```
    pub shared: BTreeMap<String, SharedConfig>,

    /// Courses with nbgrader: where they are, and what new ones begin with.
    pub courses: CoursesConfig,
    /// Kernels that servers offer besides the one of their own environment, each under its name.
    ///
    /// ```toml
    /// [env.python.stats-2026]
    ///
    /// [kernels.stats]
    /// python = "stats-2026"
    ///
    /// [kernels.julia]
    /// title = "Julia 1.11"
    /// path = "/opt/julia/share/jupyter/kernels/julia"
    /// ```
    pub kernels: BTreeMap<String, KernelConfig>,

    /// When servers that nobody uses are stopped.
    pub cull: CullConfig,

    /// The database.
    pub store: StoreConfig,

    /// How the pages look, and what they say.
    pub pages: PagesConfig,

    /// What is logged, and how.
    pub log: LogConfig,

    /// Who did what, written down in the database; shown by `lyceum audit`.
    pub audit: AuditConfig,

    /// What is measured for Prometheus, at `/hub/metrics`.
    pub metrics: MetricsConfig,

    /// Programs beside the users' servers that ask the hub about users, or act on it. One with a `command` is started by
    /// Lyceum, and again whenever it ends; any other is started by you. Entries of all files are taken together, so that
    /// a service can have a file of its own in `lyceum.d`.
    ///
    /// ```toml
    /// [[services]]
    /// name = "culler"
    /// command = ["python3", "-m", "jupyterhub_idle_culler", "--timeout=3600"]
    /// scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    ///
    /// [[services]]
    /// name = "forum"
    /// url = "http://127.0.0.1:10101"
    /// command = ["/opt/forum/bin/forum"]
    /// environment = { FORUM_TITLE = "Questions" }
    ///
    /// [[services]]
    /// name = "shiny"
    /// prefix = "/shiny/"
    /// url = "http://127.0.0.1:3838"
    /// kind = "shiny"
    /// access = "users"
    /// ```
    pub services: Vec<ServiceConfig>,

    /// What people, groups and services may do beyond what everybody may. There are four roles from the beginning:
    /// `user` for every user, `admin` for administrators, `server` for users' servers, `token` for tokens that may do all
    /// that their owner may. An entry of one of these names changes it, but for what `admin` may do. Entries of all
    /// files are taken together. A role that is taken out of the configuration is deleted at the next start.
    ///
    /// ```toml
    /// [[roles]]
    /// name = "teacher"
    /// scopes = ["list:users!group=class", "access:servers!group=class"]
    /// groups = ["teachers"]
    /// ```
    pub roles: Vec<RoleConfig>,

    /// Groups of users that exist from the start, each under its name. What stands here is added at each start; nobody is
    /// removed from a group, and no group is deleted, because it stands here no more.
    pub groups: BTreeMap<String, GroupConfig>,

    /// Scopes that services agree on among themselves, each under its name, which begins with `custom:`. Roles, tokens and
    /// services can have them, and the hub tells who has them, but never checks them.
    ///
    /// ```toml
    /// [custom_scopes."custom:forum:read"]
    /// description = "Read the forum."
    ///
    /// [custom_scopes."custom:forum:write"]
    /// description = "Write in the forum."
    /// subscopes = ["custom:forum:read"]
    /// ```
    pub custom_scopes: BTreeMap<String, CustomScopeConfig>,
}
