//! What the broker is allowed to do, from the configuration.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use lyceum_broker::policy::{
    AccountCreation, AccountPolicy, EngineKind, Policy, Sandbox, ServerPolicy, SocketRule,
};
use lyceum_config::settings::{Config, SandboxConfig, SpawnerConfig};
use lyceum_core::UserName;
use lyceum_core::limits::LimitRules;
use lyceum_spawn::process::SocketKind;
use nix::unistd::User;

/// How many files a server may have open at first, where the configuration says nothing.
const OPEN_FILES: u64 = 1024;

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
    let (engine, server) = server(config)?;
    Ok(Policy {
        client_uid: client.uid.as_raw(),
        client_gid: client.gid.as_raw(),
        engine,
        pam: None,
        accounts: accounts(config),
        server,
        profiles: std::collections::BTreeMap::new(),
        limits: LimitRules::default(),
        state_dir: broker.state_dir.clone(),
        servers_dir: broker.servers_dir.clone(),
    })
}

fn accounts(config: &Config) -> AccountPolicy {
    let accounts = &config.accounts;
    let [lowest, highest] = accounts.uid_range;
    AccountPolicy {
        name: accounts.name.clone(),
        uids: lowest..=highest,
        refused_groups: accounts.refused_groups.iter().cloned().collect(),
        blocked_users: config.access.blocked_users.0.clone(),
        only: only(config),
        closed_shells: AccountPolicy::usual_closed_shells(),
        create: accounts.create.then(|| AccountCreation {
            shell: accounts.shell.clone(),
            groups: accounts.groups.clone(),
            home_root: accounts.home_root.clone(),
        }),
        create_home: accounts.create_home,
        home_mode: accounts.home_mode.bits(),
        skeleton: accounts.skeleton.clone(),
    }
}

/// The users who can be admitted at all, where the configuration alone tells.
fn only(config: &Config) -> Option<BTreeSet<UserName>> {
    let access = &config.access;
    if access.allow_all || access.effective_allow_existing_users() {
        return None;
    }
    let named = access.allowed_users.0.iter();
    Some(named.chain(&access.admin_users.0).cloned().collect())
}

fn server(config: &Config) -> anyhow::Result<(EngineKind, ServerPolicy)> {
    let sandbox = sandbox(&config.sandbox);
    Ok(match &config.spawner {
        SpawnerConfig::Systemd(systemd) => (
            EngineKind::Systemd,
            ServerPolicy {
                command: systemd.command.clone(),
                args: systemd.args.clone(),
                environment: systemd.environment.clone(),
                path: systemd.path.clone(),
                working_dir: systemd.working_dir.clone(),
                socket: socket(systemd.socket),
                jupyter_paths: jupyter_paths(config),
                default_url: systemd.default_url.clone(),
                static_files: systemd.static_files,
                sandbox,
                // The journal has limits of its own.
                log_limit: 0,
                open_files: Some(u64::from(systemd.open_files)),
                slice: systemd.slice.clone(),
            },
        ),
        SpawnerConfig::Process(process) if config.spawner.is_brokered() => (
            EngineKind::Process,
            ServerPolicy {
                command: process.command.clone(),
                args: process.args.clone(),
                environment: process.environment.clone(),
                path: process.path.clone(),
                working_dir: process.working_dir.clone(),
                socket: socket(process.socket),
                jupyter_paths: jupyter_paths(config),
                default_url: process.default_url.clone(),
                static_files: process.static_files,
                sandbox,
                log_limit: u64::from(process.log_limit_mib.max(1)) * 1024 * 1024,
                open_files: Some(OPEN_FILES),
                slice: "lyceum-servers.slice".to_owned(),
            },
        ),
        SpawnerConfig::Process(_) => bail!(
            "the configuration has no work for the broker: servers run under Lyceum's own account; \
             set `spawner.kind = \"systemd\"`, or `spawner.run_as = \"user\"`"
        ),
    })
}

fn socket(kind: SocketKind) -> SocketRule {
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
