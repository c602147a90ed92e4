//! What is allowed, and what never is.

use lyceum_core::limits::{Cap, LimitRules, Limits};
use lyceum_core::{GroupName, NamePattern, Secret, ServerName, UserName};

use super::*;
use crate::fuzz_logic;
use crate::policy::Admitted;
use crate::protocol::RefusalKind;
use crate::python::PythonFolders;

fn start(user: &str, server: &str) -> StartServer {
    let key = ServerKey {
        user: UserName::parse(user).unwrap(),
        server: ServerName::parse(server).unwrap(),
        marker: "0123456789abcdef".to_owned(),
    };
    let prefix = ServerRef::new(key.user.clone(), key.server.clone()).url_path("/base/");
    StartServer {
        environment: Variables(BTreeMap::from([
            ("JUPYTERHUB_USER".to_owned(), user.to_owned()),
            ("JUPYTERHUB_API_TOKEN".to_owned(), "token".to_owned()),
        ])),
        key,
        service_prefix: prefix,
        profile: None,
        groups: Vec::new(),
        tls: None,
    }
}

fn decided(policy: &Policy, start: &StartServer, account: Account) -> Result<Decision, Refusal> {
    let python = wanted_python(policy, start).map(|(name, _)| PythonInUse {
        name: name.to_owned(),
        generation: 3,
        prefix: Path::new("/opt/envs/python").join(name).join("3"),
    });
    let findings = Findings {
        port: Some(40_000),
        python,
        config_path: Some("/srv/settings/teacher:/srv/settings/common".to_owned()),
    };
    let decision = decide(policy, start, account, &findings);
    if let Ok(decision) = &decision {
        fuzz_logic::check(policy, start, decision);
    }
    decision
}

fn policy() -> Policy {
    let mut policy = fuzz_logic::policy();
    policy.accounts.uids = 1000..=60_000;
    policy
}

fn ada() -> Account {
    fuzz_logic::account("ada")
}

#[test]
fn a_usual_start_has_the_command_account_socket_and_environment_of_the_configuration() {
    let decision = decided(&policy(), &start("ada", "lab"), ada()).unwrap();
    let plan = &decision.plan;
    assert_eq!(plan.unit, "lyceum-ada-lab");
    assert_eq!(
        plan.argv,
        [
            "jupyterhub-singleuser",
            "--ServerApp.sock=/run/lyceum-servers/lyceum-ada-lab/server.sock",
            "--ServerApp.sock_mode=0660",
            "--debug"
        ]
    );
    let get = |name: &str| plan.environment.0.get(name).map(String::as_str);
    assert_eq!(get("HOME"), Some("/home/ada"));
    assert_eq!(get("SHELL"), Some("/bin/bash"));
    assert_eq!(get("TZ"), Some("Europe/Prague"));
    assert_eq!(
        get("JUPYTER_CONFIG_PATH"),
        Some("/srv/settings/teacher:/srv/settings/common")
    );
    assert_eq!(
        get("JUPYTERHUB_SERVICE_URL"),
        Some("http://127.0.0.1:8888/base/user/ada/lab/")
    );
    assert_eq!(
        get("JUPYTER_RUNTIME_DIR"),
        Some("/run/lyceum-servers/lyceum-ada-lab/jupyter")
    );
    assert_eq!(
        decision.upstream,
        Upstream::Owned {
            path: "/run/lyceum-servers/lyceum-ada-lab/server.sock".into(),
            uid: 1001
        }
    );
    assert_eq!(plan.working_dir, Path::new("/home/ada"));
    assert_eq!(plan.session, None);
}

#[test]
fn accounts_of_root_of_the_system_and_of_lyceum_are_never_used() {
    let refused = |change: &dyn Fn(&mut Account)| {
        let mut account = ada();
        change(&mut account);
        let refusal = decided(&policy(), &start("ada", ""), account).unwrap_err();
        assert_eq!(refusal.kind, RefusalKind::Policy);
        assert!(!refusal.message.is_empty() && !refusal.hint.is_empty());
    };
    refused(&|account| account.uid = 0);
    refused(&|account| account.gid = 0);
    refused(&|account| account.gids.push(0));
    refused(&|account| account.groups.push("root".to_owned()));
    refused(&|account| "root".clone_into(&mut account.name));
    refused(&|account| "Ada".clone_into(&mut account.name));
    refused(&|account| account.uid = 33);
    refused(&|account| account.uid = 65_534);
    refused(&|account| account.uid = u32::MAX);
    refused(&|account| account.uid = 990);
    refused(&|account| account.gids.push(990));
    refused(&|account| account.groups.push("sudo".to_owned()));
    refused(&|account| account.groups.push("docker".to_owned()));
    refused(&|account| account.shell = "/usr/sbin/nologin".into());
    refused(&|account| account.shell = "/bin/false".into());
    refused(&|account| account.home = "/".into());
    refused(&|account| account.home = "/nonexistent".into());
    refused(&|account| account.home = "home/ada".into());
    refused(&|account| account.home = "/home/../etc".into());
    decided(&policy(), &start("ada", ""), ada()).unwrap();
}

#[test]
fn names_that_a_tool_could_take_for_something_else_are_refused() {
    for name in [
        "root",
        "-rf",
        "--help",
        "-u0",
        "+ada",
        ".ada",
        "0",
        "1000",
        "0x3e8",
        "1e3",
        "10.5",
        "ada:x",
        "ada lovelace",
        "ada,bob",
        "a=b",
        "ada$x",
        "$ada",
        "a\\b",
        "%i",
        "~ada",
        "ädä",
        "a\u{301}da",
        "ada*",
        "a;b",
        "$(id)",
        "`id`",
        "{username}",
        "abcdefghijklmnopqrstuvwxyz0123456",
    ] {
        let user = UserName::parse(name).unwrap();
        let refusal = account_name(&policy().accounts, &user).expect_err(name);
        assert_eq!(refusal.kind, RefusalKind::Policy, "{name}");
    }
    for (name, portable) in [
        ("ada", true),
        ("_ada-2", true),
        ("ada_lovelace", true),
        ("Ada", false),
        ("a.lovelace", false),
        ("ada@example.org", false),
        ("1ada", false),
        ("pc$", false),
    ] {
        let user = UserName::parse(name).unwrap();
        assert_eq!(account_name(&policy().accounts, &user).unwrap(), name);
        assert_eq!(is_portable(name), portable, "{name}");
    }
}

#[test]
fn the_accounts_name_follows_the_configuration() {
    let mut accounts = policy().accounts;
    accounts.name = "jupyter-{username}".to_owned();
    let of = |name: &str| account_name(&accounts, &UserName::parse(name).unwrap());
    assert_eq!(of("ada").unwrap(), "jupyter-ada");
    assert_eq!(of("0").unwrap(), "jupyter-0");
    assert!(of("a:b").is_err());
    accounts.name = "{username}".to_owned();
    assert!(account_name(&accounts, &UserName::parse("root").unwrap()).is_err());
}

#[test]
fn blocked_and_unlisted_users_are_refused() {
    let mut policy = policy();
    let check = |policy: &Policy, name: &str| check_user(policy, &UserName::parse(name).unwrap());
    assert!(check(&policy, "mallory").is_err());
    assert!(check(&policy, "ada").is_ok());
    policy.accounts.blocked_patterns = vec![NamePattern::parse("guest.*").unwrap()];
    assert!(check(&policy, "guest7").is_err());
    policy.accounts.only = Some(Admitted {
        users: [UserName::parse("bob").unwrap()].into(),
        patterns: vec![NamePattern::parse("[gs].*[0-9]+").unwrap()],
        ..Admitted::default()
    });
    assert!(check(&policy, "ada").is_err());
    assert!(check(&policy, "bob").is_ok());
    assert!(check(&policy, "s42").is_ok());
    assert!(check(&policy, "guest7").is_err(), "blocking wins");
}

#[test]
fn members_of_admitted_groups_are_told_by_the_machine_and_not_by_the_hub() {
    let mut policy = policy();
    policy.accounts.only = Some(Admitted {
        groups: ["students", "ada"]
            .map(|name| GroupName::parse(name).unwrap())
            .into(),
        ..Admitted::default()
    });
    let mut start = start("ada", "");
    start.groups = vec![GroupName::parse("students").unwrap()];
    let mut account = ada();
    account.groups = vec!["ada".to_owned()];
    assert!(
        decided(&policy, &start, account.clone()).is_err(),
        "neither the hub's word nor the account's own group admits"
    );
    let user = &start.key.user;
    assert!(check_new_account(&policy, user, &["users".to_owned()]).is_err());
    assert!(check_new_account(&policy, user, &["students".to_owned()]).is_ok());
    account.groups.push("students".to_owned());
    start.groups = Vec::new();
    assert!(decided(&policy, &start, account).is_ok());
}

#[test]
fn an_accounts_own_group_gives_no_profile() {
    let mut account = fuzz_logic::account("research");
    account.groups = vec!["research".to_owned()];
    let mut start = start("research", "");
    start.profile = Some("big".to_owned());
    assert!(decided(&policy(), &start, account).is_err());
}

#[test]
fn variables_that_are_not_on_the_list_are_refused() {
    for (name, value) in [
        ("LD_PRELOAD", "/home/ada/x.so"),
        ("PATH", "/home/ada/bin"),
        ("PYTHONPATH", "/home/ada"),
        ("HOME", "/root"),
        ("JUPYTERHUB_SINGLEUSER_APP", "evil.App"),
        ("JUPYTERHUB_SERVICE_URL", "http://0.0.0.0:80/"),
        ("JUPYTERHUB_ROOT_DIR", "/"),
        ("JUPYTERHUB_SSL_KEYFILE", "/home/bob/key"),
        ("JUPYTER_PATH", "/home/ada/jupyter"),
        ("jupyterhub_user", "ada"),
        ("JUPYTERHUB_USER", "bob"),
        ("JUPYTERHUB_SERVICE_PREFIX", "/base/user/bob/"),
        ("JUPYTERHUB_HOST", "a\nLD_PRELOAD=/x"),
        ("JUPYTERHUB_HOST", "a\0b"),
        ("LYCEUM_SERVER", "other"),
        ("A=B", "c"),
        ("", "x"),
    ] {
        let mut start = start("ada", "");
        start
            .environment
            .0
            .insert(name.to_owned(), value.to_owned());
        assert!(
            decided(&policy(), &start, ada()).is_err(),
            "{name}={value:?}"
        );
    }
    let mut fine = start("ada", "");
    fine.environment.0.insert(
        "JUPYTER_PATH".to_owned(),
        "/usr/share/lyceum/jupyter".to_owned(),
    );
    decided(&policy(), &fine, ada()).unwrap();
    let mut long = start("ada", "");
    let value = "x".repeat(17 * 1024);
    long.environment
        .0
        .insert("JUPYTERHUB_HOST".to_owned(), value);
    assert!(decided(&policy(), &long, ada()).is_err());
}

#[test]
fn paths_and_marks_that_are_not_the_servers_are_refused() {
    for prefix in [
        "",
        "/",
        "/user/bob/",
        "user/ada/",
        "/user/ada",
        "//user/ada/",
        "/a/../user/ada/",
        "/x?y/user/ada/",
        "/x y/user/ada/",
        "/user/ada/lab/",
    ] {
        let mut start = start("ada", "");
        prefix.clone_into(&mut start.service_prefix);
        assert!(decided(&policy(), &start, ada()).is_err(), "{prefix}");
    }
    for marker in [
        "",
        "short",
        "../../etc/passwd",
        "0123456789abcde\n",
        &"a".repeat(65),
    ] {
        let mut start = start("ada", "");
        marker.clone_into(&mut start.key.marker);
        assert!(decided(&policy(), &start, ada()).is_err(), "{marker}");
    }
}

#[test]
fn profiles_are_for_their_groups_whether_the_hubs_or_the_machines() {
    let big = |start: &StartServer, account| {
        decided(&policy(), start, account).map(|decision| decision.plan.argv)
    };
    let mut wish = start("ada", "");
    wish.profile = Some("big".to_owned());
    let refusal = big(&wish, ada()).unwrap_err();
    let mut unknown = start("ada", "");
    unknown.profile = Some("none".to_owned());
    assert_eq!(big(&unknown, ada()).unwrap_err(), refusal);
    wish.groups = vec![GroupName::parse("research").unwrap()];
    assert_eq!(big(&wish, ada()).unwrap()[0], "/opt/big/bin/jupyter-labhub");
    wish.groups.clear();
    let mut member = ada();
    member.groups.push("research".to_owned());
    assert!(big(&wish, member).is_ok());
}

#[test]
fn limits_follow_from_user_groups_and_profile() {
    let mut policy = policy();
    let of = |tasks: u64| Limits {
        tasks: Some(Cap::At(tasks)),
        ..Limits::default()
    };
    policy.limits = LimitRules {
        everybody: of(10),
        groups: [(GroupName::parse("class").unwrap(), of(20))].into(),
        ..LimitRules::default()
    };
    let tasks = |policy: &Policy, start: &StartServer| {
        decided(policy, start, ada()).unwrap().plan.limits.tasks
    };
    assert_eq!(tasks(&policy, &start("ada", "")), Some(Cap::At(20)));
    policy.profiles.get_mut("plain").unwrap().limits = of(5);
    let mut plain = start("ada", "");
    plain.profile = Some("plain".to_owned());
    assert_eq!(tasks(&policy, &plain), Some(Cap::At(5)));
}

#[test]
fn other_programs_and_tls_get_a_port() {
    let mut policy = policy();
    let mut tls = start("ada", "");
    tls.tls = Some(TlsFiles {
        key: Secret::from("-----BEGIN PRIVATE KEY-----"),
        certificate: "-----BEGIN CERTIFICATE-----".to_owned(),
        client_ca: "-----BEGIN CERTIFICATE-----".to_owned(),
        server_name: "0123.server.lyceum.internal".to_owned(),
    });
    let decision = decided(&policy, &tls, ada()).unwrap();
    assert!(matches!(
        &decision.upstream,
        Upstream::Internal { port: 40_000, .. }
    ));
    let get = |name: &str| decision.plan.environment.0.get(name).cloned().unwrap();
    assert!(get("JUPYTERHUB_SERVICE_URL").starts_with("https://127.0.0.1:40000/"));
    assert_eq!(
        get("JUPYTERHUB_SSL_KEYFILE"),
        "/run/lyceum-servers/lyceum-ada/key.pem"
    );
    policy.server.command = vec!["/usr/bin/code".to_owned()];
    let other = start("ada", "");
    assert!(needs_port(&policy, &other));
    let decision = decided(&policy, &other, ada()).unwrap();
    assert!(matches!(
        &decision.upstream,
        Upstream::OwnedTcp { port: 40_000, .. }
    ));
    for (part, bad) in [("name", "evil/../x"), ("key", "no PEM")] {
        let mut bad_tls = start("ada", "");
        bad_tls.tls = tls.tls.as_ref().map(|tls| TlsFiles {
            key: if part == "key" {
                Secret::from(bad)
            } else {
                tls.key.clone()
            },
            certificate: tls.certificate.clone(),
            client_ca: tls.client_ca.clone(),
            server_name: if part == "name" {
                bad.to_owned()
            } else {
                tls.server_name.clone()
            },
        });
        assert!(decided(&policy, &bad_tls, ada()).is_err(), "{part}");
    }
}

fn with_python() -> Policy {
    let mut policy = policy();
    policy.python = Some(PythonFolders {
        folder: "/opt/envs".into(),
        default: "base".to_owned(),
        names: ["base", "stats"].map(str::to_owned).into(),
    });
    let stats = ProfilePolicy {
        python: Some("stats".to_owned()),
        path: vec!["/opt/stats/tools".to_owned()],
        ..ProfilePolicy::default()
    };
    policy.profiles.insert("stats".to_owned(), stats);
    policy
}

#[test]
fn a_start_is_from_the_generation_that_was_found_for_it() {
    let policy = with_python();
    let program = |profile: Option<&str>| {
        let mut start = start("ada", "");
        start.profile = profile.map(str::to_owned);
        start.groups = vec![GroupName::parse("research").unwrap()];
        let decision = decided(&policy, &start, ada()).unwrap();
        let variable = decision.plan.environment.0.get("LYCEUM_PYTHON").cloned();
        (
            decision.plan.argv.into_iter().next().unwrap(),
            decision.search,
            variable,
        )
    };
    let (argv, search, variable) = program(None);
    assert_eq!(argv, "/opt/envs/python/base/3/bin/jupyterhub-singleuser");
    assert_eq!(search[0], "/opt/envs/python/base/3/bin");
    assert_eq!(variable.as_deref(), Some("/opt/envs/python/base/3"));
    let (argv, search, _) = program(Some("stats"));
    assert_eq!(argv, "/opt/envs/python/stats/3/bin/jupyterhub-singleuser");
    assert_eq!(
        search[..2],
        ["/opt/stats/tools", "/opt/envs/python/stats/3/bin"]
    );
    // Its program is somewhere else, and so is all that belongs to it.
    let (argv, search, variable) = program(Some("big"));
    assert_eq!(argv, "/opt/big/bin/jupyter-labhub");
    assert_eq!((search[0].as_str(), variable), ("/opt/lyceum/bin", None));
}

#[test]
fn a_wrapper_is_looked_for_and_runs_what_the_environment_has() {
    let mut policy = with_python();
    policy.server.command = vec!["wrapper".to_owned()];
    let decision = decided(&policy, &start("ada", ""), ada()).unwrap();
    assert_eq!(decision.plan.argv[0], "wrapper");
    assert_eq!(decision.search[0], "/opt/envs/python/base/3/bin");
}

#[test]
fn the_hub_does_not_say_which_generation() {
    let mut start = start("ada", "");
    let own = ("LYCEUM_PYTHON".to_owned(), "/home/ada/env".to_owned());
    start.environment.0.extend([own]);
    assert!(decided(&with_python(), &start, ada()).is_err());
}
