//! What fuzzing runs: functions that take any bytes, and panic if something does not hold that always must.
//!
//! The targets in `fuzz/` call them, and so do the tests beside them. Nothing else does: they are no part of the
//! broker's interface.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_core::limits::LimitRules;

use crate::account::Account;
use crate::decide::{self, Decision, Findings};
use crate::policy::{
    AccountPolicy, EngineKind, PamPolicy, Policy, ProfilePolicy, Sandbox, ServerPolicy, SocketRule,
};
use crate::protocol::{Request, StartServer, frame};
use crate::python;

/// Any bytes as a question: it is refused, or what is decided of it is within the policy.
pub fn question(data: &[u8]) {
    let Ok(request) = frame::decode_question(data) else {
        return;
    };
    if let Request::Start(start) = request {
        let policy = policy();
        let findings = Findings {
            port: Some(40_000),
            python: None,
            config_path: Some("/srv/settings/student".to_owned()),
        };
        for account in accounts(&start) {
            if let Ok(decision) = decide::decide(&policy, &start, account, &findings) {
                check(&policy, &start, &decision);
            }
        }
    }
}

/// What holds for every start that is not refused.
pub(crate) fn check(policy: &Policy, start: &StartServer, decision: &Decision) {
    let plan = &decision.plan;
    let account = &plan.account;
    assert!(account.uid != 0 && account.gid != 0 && !account.gids.contains(&0));
    assert!(policy.accounts.uids.contains(&account.uid));
    assert!(account.uid != policy.client_uid && !account.gids.contains(&policy.client_gid));
    assert_eq!(account.name, start.key.user.as_str());
    assert!(!account.name.starts_with(['-', '+', '.']) && account.name.len() <= 32);
    assert!(!policy.accounts.blocked_users.contains(&start.key.user));
    // The command is the configuration's, word for word, but for the socket in the server's own folder.
    let socket = format!(
        "--ServerApp.sock={}",
        plan.folder.join("server.sock").display()
    );
    let own = |argument: &String| *argument == socket || argument == "--ServerApp.sock_mode=0660";
    // A plain program's place is that in the environment which the broker has found.
    let mut argv = plan.argv.clone();
    if let (Some(program), Some(prefix)) =
        (argv.first_mut(), plan.environment.0.get(python::VARIABLE))
        && let Some(name) = program.strip_prefix(&format!("{prefix}/bin/"))
    {
        *program = name.to_owned();
    }
    let words: Vec<&String> = argv.iter().filter(|argument| !own(argument)).collect();
    let commands = policy
        .profiles
        .values()
        .filter_map(|profile| profile.command.as_ref())
        .chain([&policy.server.command]);
    let mut commands = commands.map(|command| command.iter().chain(&policy.server.args).collect());
    assert!(
        commands.any(|command: Vec<&String>| command == words),
        "{words:?}"
    );
    // Folders and units are below the places for them.
    assert_eq!(plan.folder.parent(), Some(policy.servers_dir.as_path()));
    assert!(plan.log.starts_with(policy.state_dir.join("logs")));
    assert!(!plan.unit.contains(['/', '\n', '\0']) && plan.unit.starts_with("lyceum-"));
    assert_ne!(plan.unit, "lyceum-broker");
    assert!(plan.unit.len() <= 200);
    // What finds programs and code is not the hub's.
    for (name, value) in &plan.environment.0 {
        assert!(
            !name.contains(['=', '\0', '\n']) && !value.contains(['\0', '\n']),
            "{name}"
        );
    }
    let get = |name: &str| plan.environment.0.get(name).map(String::as_str);
    assert_eq!(get("PATH"), Some(decision.search.join(":").as_str()));
    assert_eq!(get("HOME"), account.home.to_str());
    assert_eq!(get("LYCEUM_SERVER"), Some(start.key.marker.as_str()));
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONSTARTUP",
        "BASH_ENV",
        "JUPYTER_CONFIG_DIR",
    ] {
        assert_eq!(get(name), None, "{name}");
    }
    assert!(get("JUPYTER_PATH").is_none_or(|path| policy.server.jupyter_paths.contains(path)));
}

/// Accounts with the user's name: an ordinary one, and some that must not be used.
fn accounts(start: &StartServer) -> Vec<Account> {
    let ordinary = account(start.key.user.as_str());
    let changed = |change: &dyn Fn(&mut Account)| {
        let mut account = ordinary.clone();
        change(&mut account);
        account
    };
    vec![
        changed(&|account| account.uid = 0),
        changed(&|account| account.gid = 0),
        changed(&|account| account.gids.push(0)),
        changed(&|account| "root".clone_into(&mut account.name)),
        changed(&|account| account.uid = 2),
        ordinary,
    ]
}

/// An ordinary account.
pub(crate) fn account(name: &str) -> Account {
    Account {
        name: name.to_owned(),
        uid: 1001,
        gid: 1001,
        home: Path::new("/home").join(name),
        shell: PathBuf::from("/bin/bash"),
        groups: vec![name.to_owned(), "class".to_owned()],
        gids: vec![1001, 2000],
    }
}

/// A policy as a classroom has it.
pub(crate) fn policy() -> Policy {
    let text = |value: &str| value.to_owned();
    Policy {
        client_uid: 990,
        client_gid: 990,
        engine: Some(EngineKind::Systemd),
        pam: Some(PamPolicy {
            service: text("lyceum"),
            session: false,
            check_at_start: true,
            limit: Duration::from_secs(15),
        }),
        links: Vec::new(),
        courses: crate::beside::CoursePolicy {
            settings: PathBuf::from("/srv/lyceum/course-settings"),
        },
        accounts: AccountPolicy {
            name: text("{username}"),
            uids: 0..=60_000,
            refused_groups: ["sudo", "docker"].map(text).into(),
            blocked_users: ["mallory"]
                .iter()
                .filter_map(|name| lyceum_core::UserName::parse(name).ok())
                .collect(),
            blocked_patterns: Vec::new(),
            only: None,
            closed_shells: AccountPolicy::usual_closed_shells(),
            create: None,
            create_home: false,
            home_mode: 0o750,
            skeleton: PathBuf::from("/etc/skel"),
        },
        server: ServerPolicy {
            command: vec![text("jupyterhub-singleuser")],
            args: vec![text("--debug")],
            environment: BTreeMap::from([(text("TZ"), text("Europe/Prague"))]),
            jupyter_paths: ["/usr/share/lyceum/jupyter"].map(text).into(),
            path: ["/opt/lyceum/bin", "/usr/bin", "/bin"].map(text).into(),
            working_dir: String::new(),
            socket: SocketRule::Auto,
            default_url: String::new(),
            static_files: false,
            sandbox: Sandbox {
                private_tmp: true,
                protect_system: true,
                no_new_privileges: true,
                private_devices: true,
                devices: Vec::new(),
                read_only: Vec::new(),
                hidden: Vec::new(),
                properties: BTreeMap::new(),
            },
            log_limit: 10 << 20,
            open_files: Some(1024),
            slice: text("lyceum-servers.slice"),
        },
        python: None,
        profiles: BTreeMap::from([
            (
                text("big"),
                ProfilePolicy {
                    command: Some(vec![text("/opt/big/bin/jupyter-labhub"), text("--big")]),
                    groups: lyceum_core::GroupName::parse("research")
                        .ok()
                        .map(|group| BTreeSet::from([group])),
                    ..ProfilePolicy::default()
                },
            ),
            (text("plain"), ProfilePolicy::default()),
        ]),
        limits: LimitRules::default(),
        state_dir: PathBuf::from("/run/lyceum-broker"),
        servers_dir: PathBuf::from("/run/lyceum-servers"),
    }
}

#[cfg(test)]
mod tests;
