//! What the hub needs to know of its configuration: validated values, no raw text.

mod servers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lyceum_core::declared::Declared;
use lyceum_core::limits::{LimitRules, NamedServerRules};
use lyceum_core::seams::{Pythons, Reporter};
use lyceum_core::{GroupName, NamePattern, UserName, lifecycle};

use crate::{
    AuditSettings, CryptKeys, CullSettings, InternalTls, MetricSettings, Profiles, Reserve,
    ThrottleSettings,
};

pub use self::servers::{FormReading, OptionsForm, ServerSettings};

/// The settings of a hub. Made from the configuration by the program's wiring.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The path below which everything lives; begins and ends with a slash.
    pub base_url: String,
    /// The URL of the REST API as single-user servers reach it, such as `http://127.0.0.1:8081/hub/api`.
    pub api_url: String,
    /// The URL of the REST API as managed services reach it, if it is another one.
    pub services_api_url: Option<String>,
    /// What makes certificates for users' servers and speaks TLS with them; without it, they speak plain HTTP.
    pub internal_tls: Option<Arc<dyn InternalTls>>,
    /// Scheme and host of the hub as browsers see it, if it is configured.
    pub public_url: Option<String>,
    /// How long a login lasts.
    pub cookie_max_age: Duration,
    /// How long an OAuth access token lasts.
    pub oauth_token_lifetime: Duration,
    /// Whether OAuth clients must prove with PKCE that a code is theirs.
    pub oauth_require_pkce: bool,
    /// How long an API token may last at most; what is asked for without an end lasts as long.
    pub token_lifetime_limit: Option<Duration>,
    /// Whether what login methods want to keep for users is kept, and with which keys.
    pub auth_state: Option<CryptKeys>,
    /// Whether the groups that a login method tells of replace those that a user is in.
    pub manage_groups: bool,
    /// How long the spawner may take to start a process.
    pub start_timeout: Duration,
    /// How long a server may take until its first answer.
    pub http_timeout: Duration,
    /// How long a stop may take before it is tried again; see [`HubSettings::limits`].
    pub stop_timeout: Duration,
    /// How long a server is given after each of the two polite signals of a stop.
    pub stop_grace: Duration,
    /// How long a request to start waits for the result before it answers "pending".
    pub slow_spawn_timeout: Duration,
    /// How long a request to stop waits for the result before it answers "pending".
    pub slow_stop_timeout: Duration,
    /// Where `/hub/` leads, if not to the user's server or home page.
    pub default_url: Option<String>,
    /// Whether `/hub/` leads to the user's running server.
    pub redirect_to_server: bool,
    /// Whether users may have named servers.
    pub allow_named_servers: bool,
    /// How many named servers a user may have; 0 for any number.
    pub named_server_limit: u32,
    /// Other rules about named servers, for users and groups; [`HubSettings::allow_named_servers`] must be set if one of
    /// them allows any.
    pub named_server_rules: NamedServerRules,
    /// What users may choose among before a start.
    pub profiles: Profiles,
    /// What is known of the Python environments that servers are started from, if the configuration has any.
    pub pythons: Option<Arc<dyn Pythons>>,
    /// What servers may use, for showing it: the spawner keeps them to it.
    pub limit_rules: LimitRules,
    /// Memory that stays for the system.
    pub reserve: Option<Reserve>,
    /// How many servers may be starting at once; 0 for any number.
    pub concurrent_spawn_limit: u32,
    /// How many servers may run at once; 0 for any number.
    pub active_server_limit: u32,
    /// What else is set about users' servers.
    pub servers: ServerSettings,
    /// When servers that nobody uses are stopped.
    pub cull: CullSettings,
    /// A folder in which Jupyter's programs look first for what belongs to them (`JUPYTER_PATH`), such as the extension
    /// that shows notices.
    pub jupyter_path: Option<PathBuf>,
    /// What is set about metrics.
    pub metrics: MetricSettings,
    /// How long a page of a list is in the REST API, if the client knows of pages and does not say.
    pub api_page_default_limit: u32,
    /// How long it is at most; clients that know of no pages get this much.
    pub api_page_max_limit: u32,
    /// Who may log in, and who is an administrator.
    pub access: Access,
    /// What is set about the audit table.
    pub audit: AuditSettings,
    /// How guessing of passwords is slowed.
    pub throttle: ThrottleSettings,
    /// Custom scopes, roles, groups and services that the configuration declares; see [`crate::Hub::provision`].
    pub declared: Declared,
    /// Parts that tell administrators and Prometheus of themselves.
    pub reporters: Vec<Arc<dyn Reporter>>,
    /// What the token of a user's server may do; `None` for what the role `server` says.
    pub server_token_scopes: Option<Vec<String>>,
    /// The scopes that a user's server may use for whoever opens it in a browser.
    pub server_oauth_scopes: Vec<String>,
}

/// Who may log in, and who is an administrator.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Everybody whom the authenticator knows may log in.
    pub allow_all: bool,
    /// These may log in.
    pub allowed_users: BTreeSet<UserName>,
    /// Everybody who has an account in the hub may log in.
    pub allow_existing_users: bool,
    /// These may never log in, and no login or token that they have counts.
    pub blocked_users: BTreeSet<UserName>,
    /// These are administrators, and may log in.
    pub admin_users: BTreeSet<UserName>,
    /// Members of these groups may log in: of groups that the login method tells of, or of the hub.
    pub allowed_groups: BTreeSet<GroupName>,
    /// Members of these groups are administrators, as long as the login method says that they are members.
    pub admin_groups: BTreeSet<GroupName>,
    /// Members of these groups may not log in: of groups that the login method tells of, or of the hub.
    pub blocked_groups: BTreeSet<GroupName>,
    /// Whose whole name matches one of these may log in.
    pub allowed_patterns: Vec<NamePattern>,
    /// Whose whole name matches one of these may never log in, as with `blocked_users`.
    pub blocked_patterns: Vec<NamePattern>,
}

impl Access {
    /// Whether this user is kept out, whatever else admits them.
    pub fn is_blocked(&self, name: &UserName) -> bool {
        self.blocked_users.contains(name) || matches(&self.blocked_patterns, name)
    }

    /// Decides who may log in (JupyterHub `Authenticator.check_allowed`): blocking wins over everything. `exists`
    /// says that there is an account in the hub, `groups` are those that count here.
    pub fn admits(&self, name: &UserName, exists: bool, groups: &BTreeSet<GroupName>) -> bool {
        if self.is_blocked(name) || !self.blocked_groups.is_disjoint(groups) {
            return false;
        }
        self.allow_all
            || self.allowed_users.contains(name)
            || self.admin_users.contains(name)
            || (self.allow_existing_users && exists)
            || matches(&self.allowed_patterns, name)
            || !self.allowed_groups.is_disjoint(groups)
    }

    /// Whether somebody is an administrator from now on; `None` leaves it as it is. `groups` are those that the login
    /// method tells of, if it tells of any.
    ///
    /// `admin_users` grants and never revokes; `admin_groups` does both, but for those whom `admin_users` names
    /// (JupyterHub `PAMAuthenticator.is_admin`).
    pub fn makes_admin(&self, name: &UserName, groups: Option<&[GroupName]>) -> Option<bool> {
        if self.admin_users.contains(name) {
            return Some(true);
        }
        let groups = groups.filter(|_| !self.admin_groups.is_empty())?;
        Some(groups.iter().any(|group| self.admin_groups.contains(group)))
    }
}

fn matches(patterns: &[NamePattern], name: &UserName) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.matches(name.as_str()))
}

impl HubSettings {
    /// The time limits of a server's life. A job's own limit comes first; these catch what hangs.
    ///
    /// A stop is tried again no sooner than the spawner can be done with it: two polite signals, then what
    /// it takes to kill what is left.
    pub fn limits(&self) -> lifecycle::Limits {
        let grace = Duration::from_secs(5);
        let killing = Duration::from_secs(20);
        lifecycle::Limits {
            start: self.start_timeout.saturating_add(grace),
            http: self.http_timeout.saturating_add(grace),
            stop: self
                .stop_timeout
                .max(self.stop_grace.saturating_mul(2).saturating_add(killing)),
        }
    }

    /// The path below which the hub's own pages live, such as `/hub/`.
    pub fn hub_url(&self) -> String {
        format!("{}hub/", self.base_url)
    }
}

impl Default for HubSettings {
    /// JupyterHub's defaults.
    fn default() -> Self {
        let fortnight = Duration::from_hours(14 * 24);
        Self {
            base_url: "/".to_owned(),
            api_url: "http://127.0.0.1:8081/hub/api".to_owned(),
            services_api_url: None,
            internal_tls: None,
            public_url: None,
            cookie_max_age: fortnight,
            oauth_token_lifetime: fortnight,
            oauth_require_pkce: false,
            token_lifetime_limit: None,
            auth_state: None,
            manage_groups: false,
            start_timeout: Duration::from_mins(1),
            http_timeout: Duration::from_secs(30),
            stop_timeout: Duration::from_secs(75),
            stop_grace: Duration::from_secs(10),
            slow_spawn_timeout: Duration::from_secs(10),
            slow_stop_timeout: Duration::from_secs(10),
            default_url: None,
            redirect_to_server: true,
            allow_named_servers: false,
            named_server_limit: 0,
            named_server_rules: NamedServerRules::default(),
            profiles: Profiles::default(),
            pythons: None,
            limit_rules: LimitRules::default(),
            reserve: None,
            concurrent_spawn_limit: 100,
            active_server_limit: 0,
            servers: ServerSettings::default(),
            cull: CullSettings::default(),
            jupyter_path: None,
            metrics: MetricSettings::default(),
            api_page_default_limit: 50,
            api_page_max_limit: 200,
            access: Access::default(),
            audit: AuditSettings::default(),
            throttle: ThrottleSettings::default(),
            declared: Declared::default(),
            reporters: Vec::new(),
            server_token_scopes: None,
            server_oauth_scopes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_not_tried_again_while_the_spawner_is_still_polite() {
        let settings = |timeout, grace| HubSettings {
            stop_timeout: Duration::from_secs(timeout),
            stop_grace: Duration::from_secs(grace),
            ..HubSettings::default()
        };
        assert_eq!(settings(75, 10).limits().stop, Duration::from_secs(75));
        assert_eq!(settings(5, 60).limits().stop, Duration::from_secs(140));
    }
}
