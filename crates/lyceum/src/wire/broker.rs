//! What the broker is allowed to do, from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use lyceum_auth::AuthConfig;
use lyceum_broker::Broker;
use lyceum_broker::engine::Engine;
use lyceum_broker::engine::process::ProcessEngine;
use lyceum_broker::engine::systemd::SystemdEngine;
use lyceum_broker::policy::{
    AccountCreation, AccountPolicy, Admitted, EngineKind, PamPolicy, Policy, ProfilePolicy,
    Sandbox, ServerPolicy, SocketRule,
};
use lyceum_config::settings::{Config, SandboxConfig, SpawnerConfig};
use lyceum_core::NamePattern;
use lyceum_spawn::SystemdConfig;
use lyceum_spawn::process::SocketKind;
use nix::unistd::User;

use super::{beside, limits, python};

/// How many files a server may have open at first, where the configuration says nothing.
const OPEN_FILES: u64 = 1024;

/// A client of the configured broker.
pub(crate) fn client(config: &Config) -> Broker {
    Broker::new(config.broker.socket.clone())
}

/// Where the broker is asked.
pub(crate) fn socket(config: &Config) -> PathBuf {
    config.broker.socket.clone()
}

/// Where the broker puts what users' servers show people at their pages; everybody may read it.
pub(crate) fn jupyter_path(config: &Config) -> PathBuf {
    config.broker.servers_dir.join(".jupyter")
}

/// Makes the engine of a policy, if servers are started at all.
pub(crate) fn engine(policy: &Policy) -> Option<Arc<dyn Engine>> {
    policy.engine.map(|kind| of_kind(kind, &policy.state_dir))
}

fn of_kind(kind: EngineKind, state_dir: &Path) -> Arc<dyn Engine> {
    match kind {
        EngineKind::Systemd => Arc::new(SystemdEngine::new(state_dir)),
        EngineKind::Process => Arc::new(ProcessEngine::new(state_dir)),
    }
}

/// Makes the broker's rules of the configuration. Looks an account up, which may take a moment.
pub(crate) fn policy(config: &Config) -> anyhow::Result<Policy> {
    let broker = &config.broker;
    let client = User::from_name(&broker.client)
        .with_context(|| format!("could not look up the account `{}`", broker.client))?
        .with_context(|| {
            format!(
                "there is no account `{}` on this machine, which is to run `lyceum serve` (`broker.client`)",
                broker.client
            )
        })?;
    let (engine, server) = server(config);
    if engine == Some(EngineKind::Systemd) {
        SystemdEngine::check_properties(&server.sandbox.properties)
            .context("`sandbox.properties` cannot be used")?;
    }
    Ok(Policy {
        client_uid: client.uid.as_raw(),
        client_gid: client.gid.as_raw(),
        engine,
        pam: match &config.auth {
            AuthConfig::Pam(pam) => Some(PamPolicy {
                service: pam.service.clone(),
                session: pam.session,
                check_at_start: pam.check_at_start,
                limit: pam.limit.get(),
            }),
            AuthConfig::SharedPassword(_) | AuthConfig::Dummy(_) => None,
        },
        accounts: accounts(config)?,
        server,
        python: python::folders(config),
        links: beside::links(config),
        courses: beside::courses(config),
        profiles: profiles(config),
        limits: config.limits.rules(limits::machine_memory()),
        state_dir: broker.state_dir.clone(),
        servers_dir: broker.servers_dir.clone(),
    })
}

fn accounts(config: &Config) -> anyhow::Result<AccountPolicy> {
    let accounts = &config.accounts;
    let access = &config.access;
    let [lowest, highest] = accounts.uid_range;
    let (allowed, blocked) = access
        .patterns()
        .context("a pattern of names in `access` is none")?;
    Ok(AccountPolicy {
        name: accounts.name.clone(),
        uids: lowest..=highest,
        refused_groups: accounts
            .refused_groups
            .iter()
            .cloned()
            .chain(access.blocked_groups.iter().map(ToString::to_string))
            .collect(),
        blocked_users: access.blocked_users.0.clone(),
        blocked_patterns: blocked,
        only: only(config, allowed),
        closed_shells: AccountPolicy::usual_closed_shells(),
        create: accounts.create.then(|| AccountCreation {
            shell: accounts.shell.clone(),
            groups: accounts.groups.clone(),
            home_root: accounts.home_root.clone(),
        }),
        create_home: accounts.create_home,
        home_mode: accounts.home_mode.bits(),
        skeleton: accounts.skeleton.clone(),
    })
}

/// The users who can be admitted at all, where configuration and machine alone tell. Groups are the machine's only if
/// those that PAM tells replace the hub's, and the configuration makes none of the same name.
fn only(config: &Config, patterns: Vec<NamePattern>) -> Option<Admitted> {
    let access = &config.access;
    let groups = &access.allowed_groups;
    let of_machine = matches!(config.auth, AuthConfig::Pam(_))
        && access.manage_groups
        && !config
            .groups
            .keys()
            .any(|made| groups.iter().any(|group| group.as_str() == made));
    let others = access.allow_all
        || access.effective_allow_existing_users()
        || !groups.is_empty() && !of_machine;
    let named = access.allowed_users.0.iter().chain(&access.admin_users.0);
    (!others).then(|| Admitted {
        users: named.cloned().collect(),
        patterns,
        groups: groups.clone(),
    })
}

fn profiles(config: &Config) -> BTreeMap<String, ProfilePolicy> {
    let of = |(name, profile): (&String, &lyceum_config::settings::ProfileConfig)| {
        let policy = ProfilePolicy {
            groups: profile.group_names().map(Iterator::collect),
            command: profile.command.clone(),
            environment: profile.environment.clone(),
            path: profile.path.clone(),
            python: profile.python.clone(),
            default_url: profile.default_url.clone(),
            limits: profile.limits(),
        };
        (name.clone(), policy)
    };
    config.profiles.iter().map(of).collect()
}

fn server(config: &Config) -> (Option<EngineKind>, ServerPolicy) {
    let common = match &config.spawner {
        SpawnerConfig::Systemd(systemd) => {
            return (Some(EngineKind::Systemd), units(config, systemd));
        }
        SpawnerConfig::Process(process) => process,
    };
    let engine = config.spawner.is_brokered().then_some(EngineKind::Process);
    let policy = ServerPolicy {
        command: common.command.clone(),
        args: common.args.clone(),
        environment: python::variables(config, &common.environment),
        jupyter_paths: jupyter_paths(config),
        path: common.path.clone(),
        working_dir: common.working_dir.clone(),
        socket: socket_rule(common.socket),
        default_url: common.default_url.clone(),
        static_files: common.static_files,
        sandbox: sandbox(&config.sandbox),
        log_limit: u64::from(common.log_limit_mib.max(1)) * 1024 * 1024,
        open_files: Some(OPEN_FILES),
        slice: SystemdConfig::default().slice,
    };
    (engine, policy)
}

fn units(config: &Config, systemd: &SystemdConfig) -> ServerPolicy {
    ServerPolicy {
        command: systemd.command.clone(),
        args: systemd.args.clone(),
        environment: python::variables(config, &systemd.environment),
        jupyter_paths: jupyter_paths(config),
        path: systemd.path.clone(),
        working_dir: systemd.working_dir.clone(),
        socket: socket_rule(systemd.socket),
        default_url: systemd.default_url.clone(),
        static_files: systemd.static_files,
        sandbox: sandbox(&config.sandbox),
        // The journal has limits of its own.
        log_limit: 0,
        open_files: Some(u64::from(systemd.open_files)),
        slice: systemd.slice.clone(),
    }
}

/// What the hub may tell servers as `JUPYTER_PATH`: the broker's own folder, and nothing that others could write to.
fn jupyter_paths(config: &Config) -> BTreeSet<String> {
    BTreeSet::from([jupyter_path(config).display().to_string()])
}

fn socket_rule(kind: SocketKind) -> SocketRule {
    match kind {
        SocketKind::Auto => SocketRule::Auto,
        SocketKind::Unix => SocketRule::Unix,
        SocketKind::Tcp => SocketRule::Tcp,
    }
}

fn sandbox(config: &SandboxConfig) -> Sandbox {
    Sandbox {
        private_tmp: config.private_tmp,
        protect_system: config.protect_system,
        no_new_privileges: config.no_new_privileges,
        private_devices: config.private_devices,
        devices: config.devices.clone(),
        read_only: config.read_only.clone(),
        hidden: config.hidden.clone(),
        properties: config.properties.clone(),
    }
}

#[cfg(test)]
mod tests {
    use lyceum_core::{GroupName, UserName};

    use super::*;

    fn admitted(change: impl FnOnce(&mut Config)) -> Option<Admitted> {
        let mut config = Config {
            auth: AuthConfig::Pam(lyceum_auth::PamConfig::default()),
            ..Config::default()
        };
        config.access.manage_groups = true;
        change(&mut config);
        accounts(&config).unwrap().only
    }

    #[test]
    fn the_broker_tells_itself_who_is_admitted_where_it_can() {
        let students = || BTreeSet::from([GroupName::parse("students").unwrap()]);
        let of_groups = admitted(|config| {
            config.access.allowed_groups = students();
            config.access.allowed_patterns = vec!["s[0-9]+".to_owned()];
        })
        .unwrap();
        assert_eq!(of_groups.groups, students());
        assert!(of_groups.by_name(&UserName::parse("s1").unwrap()));
        assert!(!of_groups.by_name(&UserName::parse("ada").unwrap()));
        let of_hub = admitted(|config| {
            config.access.allowed_groups = students();
            config.access.manage_groups = false;
        });
        assert!(of_hub.is_none(), "groups may be the hub's");
        let made = admitted(|config| {
            config.access.allowed_groups = students();
            config.groups.insert(
                "students".to_owned(),
                lyceum_config::settings::GroupConfig::default(),
            );
        });
        assert!(made.is_none(), "the configuration makes the group");
        assert!(admitted(|config| config.access.allow_all = true).is_none());
    }
}
