//! What the broker is allowed to do, from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use lyceum_broker::engine::Engine;
use lyceum_broker::policy::{AccountPolicy, PamPolicy, Policy, Sandbox, ServerPolicy, SocketRule};
use lyceum_config::settings::Config;
use lyceum_core::limits::LimitRules;
use nix::unistd::User;

/// The account that runs `lyceum serve`.
const CLIENT: &str = "lyceum";

/// Where the broker is asked.
pub(crate) fn socket(_: &Config) -> PathBuf {
    "/run/lyceum-broker/broker.sock".into()
}

/// Makes the engine of a policy, if servers are started at all.
pub(crate) fn engine(policy: &Policy) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    match policy.engine {
        None => Ok(None),
        Some(engine) => bail!("servers cannot be started by {engine:?} yet"),
    }
}

/// Makes the broker's rules of the configuration. Looks an account up, which may take a moment.
pub(crate) fn policy(config: &Config) -> anyhow::Result<Policy> {
    let client = User::from_name(CLIENT)
        .with_context(|| format!("could not look up the account `{CLIENT}`"))?
        .with_context(|| {
            format!(
                "there is no account `{CLIENT}` on this machine, which is to run `lyceum serve`"
            )
        })?;
    Ok(Policy {
        client_uid: client.uid.as_raw(),
        client_gid: client.gid.as_raw(),
        engine: None,
        pam: Some(PamPolicy {
            service: "lyceum".to_owned(),
            session: false,
            limit: Duration::from_secs(20),
        }),
        accounts: AccountPolicy {
            name: "{username}".to_owned(),
            uids: 1000..=59_999,
            refused_groups: BTreeSet::new(),
            blocked_users: config.access.blocked_users.0.clone(),
            only: None,
            closed_shells: AccountPolicy::usual_closed_shells(),
            create: None,
            create_home: false,
            home_mode: 0o750,
            skeleton: "/etc/skel".into(),
        },
        server: ServerPolicy {
            command: vec!["jupyterhub-singleuser".to_owned()],
            args: Vec::new(),
            environment: BTreeMap::new(),
            jupyter_paths: BTreeSet::new(),
            path: ["/usr/local/bin", "/usr/bin", "/bin"]
                .map(str::to_owned)
                .into(),
            working_dir: String::new(),
            socket: SocketRule::Auto,
            default_url: String::new(),
            static_files: true,
            sandbox: Sandbox {
                private_tmp: true,
                protect_system: true,
                no_new_privileges: true,
                private_devices: false,
                devices: Vec::new(),
                read_only: Vec::new(),
                hidden: Vec::new(),
                properties: BTreeMap::new(),
            },
            log_limit: 10 * 1024 * 1024,
            open_files: Some(1024),
            slice: "lyceum-servers.slice".to_owned(),
        },
        profiles: BTreeMap::new(),
        limits: LimitRules::default(),
        state_dir: "/run/lyceum-broker".into(),
        servers_dir: "/run/lyceum-servers".into(),
    })
}
