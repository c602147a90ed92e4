//! The decision about a start: from what the configuration allows and what the hub wishes to a plan, or a refusal.
//!
//! Pure: nothing is looked at but the arguments. Deny comes first, and what is not foreseen is refused.

mod account;
mod unit;
mod variables;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use lyceum_core::escape;
use lyceum_core::names::{GroupName, ServerRef, UserName};
use lyceum_core::route::Upstream;
use lyceum_core::seams::PythonInUse;

use self::account::not_admitted;
use self::variables::JUPYTER_PATH;
use crate::account::Account;
use crate::beside::CONFIG_PATH;
use crate::plan::Plan;
use crate::policy::{Policy, ProfilePolicy, SocketRule, matches};
use crate::protocol::{Refusal, ServerKey, StartServer, TlsFiles};
use crate::python::{self, JUPYTER_PROGRAMS};
use crate::variables::Variables;

pub(crate) use self::account::{account_name, check_account, check_new_account, is_portable};
pub(crate) use self::unit::{folder_name, unit_name};

/// The variable by which the processes of one start of a server are known.
const SERVER_VARIABLE: &str = "LYCEUM_SERVER";
/// The port in the variables of a server that listens on a socket: it has to be Jupyter Server's default, any other is
/// refused beside a socket. Nobody listens on it.
const PORT_BESIDE_SOCKET: u16 = 8888;
/// The longest path of a socket that we use, in bytes; the system takes 107, other programs less.
const MAX_SOCKET_PATH: usize = 100;
/// The name of a server's socket in its folder.
const SOCKET: &str = "server.sock";
/// The folder of a server's connection files, in its folder: a full home must not prevent a start.
pub(crate) const RUNTIME: &str = "jupyter";
/// The files of TLS in a server's folder, with the variables that name them (JupyterHub `Spawner.get_env`).
pub(crate) const KEY: (&str, &str) = ("key.pem", "JUPYTERHUB_SSL_KEYFILE");
pub(crate) const CERTIFICATE: (&str, &str) = ("certificate.pem", "JUPYTERHUB_SSL_CERTFILE");
pub(crate) const CLIENT_CA: (&str, &str) = ("client-ca.pem", "JUPYTERHUB_SSL_CLIENT_CA");
/// The longest piece of a certificate file, in bytes.
const MAX_PEM: usize = 64 * 1024;
/// The longest path below which a server answers, in bytes.
const MAX_PREFIX: usize = 2048;

/// What has been found out for a start that is to be decided.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// A free port, if [`needs_port`] says that there has to be one.
    pub(crate) port: Option<u16>,
    /// The generation to start from, if [`wanted_python`] says of which environment.
    pub(crate) python: Option<PythonInUse>,
    /// Folders of settings that follow from the account's courses.
    pub(crate) config_path: Option<String>,
}

/// A start that has been decided, but for the place of its program.
#[derive(Debug)]
pub(crate) struct Decision {
    /// What is to be started. The program is still as the configuration writes it.
    pub(crate) plan: Plan,
    /// Where it will answer.
    pub(crate) upstream: Upstream,
    /// In which folders the program is looked for if it is a plain name.
    pub(crate) search: Vec<String>,
    /// Whether its static files may be answered for it.
    pub(crate) static_files: bool,
}

/// Whether a free port has to be found before a start can be decided.
pub(crate) fn needs_port(policy: &Policy, start: &StartServer) -> bool {
    if start.tls.is_some() {
        return true;
    }
    match policy.server.socket {
        SocketRule::Unix => false,
        SocketRule::Tcp => true,
        SocketRule::Auto => !runs_jupyter(command(policy, named_profile(policy, start))),
    }
}

/// The Python environment that a start is from, and the program that is looked for in it; `None` if the configuration has
/// none, or says where the program is.
pub(crate) fn wanted_python<'a>(
    policy: &'a Policy,
    start: &StartServer,
) -> Option<(&'a str, &'a str)> {
    let folders = policy.python.as_ref()?;
    let profile = named_profile(policy, start);
    let command = command(policy, profile);
    let program = command.first().filter(|_| python::is_plain(command))?;
    let named = profile.and_then(|profile| profile.python.as_ref());
    Some((named.unwrap_or(&folders.default), program))
}

/// The profile that a start names, whoever may choose it.
fn named_profile<'a>(policy: &'a Policy, start: &StartServer) -> Option<&'a ProfilePolicy> {
    let name = start.profile.as_ref()?;
    policy.profiles.get(name)
}

/// Refuses a key that no start of a server can have.
pub(crate) fn check_key(key: &ServerKey) -> Result<(), Refusal> {
    let plain = key.marker.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if plain && (8..=64).contains(&key.marker.len()) {
        Ok(())
    } else {
        Err(Refusal::protocol(
            "The mark of a start has to consist of 8 to 64 letters and digits.",
        ))
    }
}

/// Decides on a start.
pub(crate) fn decide(
    policy: &Policy,
    start: &StartServer,
    account: Account,
    findings: &Findings,
) -> Result<Decision, Refusal> {
    let user = &start.key.user;
    check_key(&start.key)?;
    check_user(policy, user)?;
    let name = account_name(&policy.accounts, user)?;
    check_account(policy, user, &name, &account)?;
    let server = ServerRef::new(user.clone(), start.key.server.clone());
    check_prefix(&server, &start.service_prefix)?;
    variables::check(policy, start)?;
    check_tls(start.tls.as_ref())?;
    let groups = groups(start, &account);
    let profile = profile(policy, start.profile.as_deref(), &groups)?;
    let limits = policy
        .limits
        .of(user, &groups, profile.map(|profile| &profile.limits));

    let unit = unit_name(user, &start.key.server);
    let folder = policy.servers_dir.join(folder_name(&unit));
    let listening = Listening::new(policy, start, &folder, findings.port)?;
    let python = findings.python.as_ref();
    let bin = python.map(|python| python.prefix.join("bin").display().to_string());
    let search: Vec<String> = profile
        .iter()
        .flat_map(|profile| &profile.path)
        .chain(&bin)
        .chain(&policy.server.path)
        .cloned()
        .collect();
    let chosen = Chosen {
        profile,
        python,
        config_path: findings.config_path.as_deref(),
    };
    let environment = environment(
        policy, start, &account, chosen, &listening, &folder, &search,
    );
    let upstream = listening.upstream(start, account.uid);
    Ok(Decision {
        upstream,
        static_files: policy.server.static_files,
        plan: Plan {
            key: start.key.clone(),
            argv: arguments(policy, chosen, &listening),
            environment: Variables(environment),
            working_dir: account
                .home
                .join(policy.server.working_dir.replace("{username}", &name)),
            folder,
            limits,
            sandbox: policy.server.sandbox.clone(),
            session: policy
                .pam
                .as_ref()
                .filter(|pam| pam.session)
                .map(|pam| pam.service.clone()),
            slice: policy.server.slice.clone(),
            open_files: policy.server.open_files,
            log: log_path(&policy.state_dir, &unit),
            log_limit: policy.server.log_limit,
            unit,
            account,
        },
        search,
    })
}

/// Where the output of a unit goes, if the engine writes it to a file.
pub(crate) fn log_path(state_dir: &Path, unit: &str) -> PathBuf {
    state_dir.join("logs").join(format!("{unit}.log"))
}

/// Refuses users whom the configuration refuses, whatever their account. Whom it accepts because of their groups is
/// looked at with the account.
pub(crate) fn check_user(policy: &Policy, user: &UserName) -> Result<(), Refusal> {
    let accounts = &policy.accounts;
    let only = accounts.only.as_ref();
    let listed = only.is_none_or(|only| only.by_name(user) || !only.groups.is_empty());
    let blocked =
        accounts.blocked_users.contains(user) || matches(&accounts.blocked_patterns, user);
    if listed && !blocked {
        return Ok(());
    }
    Err(not_admitted(user))
}

fn groups(start: &StartServer, account: &Account) -> Vec<GroupName> {
    let of_machine = account.shared_groups();
    let of_machine = of_machine.filter_map(|name| GroupName::parse(name).ok());
    start.groups.iter().cloned().chain(of_machine).collect()
}

fn profile<'a>(
    policy: &'a Policy,
    name: Option<&str>,
    groups: &[GroupName],
) -> Result<Option<&'a ProfilePolicy>, Refusal> {
    let Some(name) = name else {
        return Ok(None);
    };
    let profile = policy.profiles.get(name).filter(|profile| {
        let allowed = profile.groups.as_ref();
        allowed.is_none_or(|allowed| groups.iter().any(|group| allowed.contains(group)))
    });
    // Whether it exists is not told to those who may not choose it.
    profile.map(Some).ok_or_else(|| {
        Refusal::policy(
            "There is no such profile for this user.",
            "Choose another one on the page where servers are started.",
        )
    })
}

fn command<'a>(policy: &'a Policy, profile: Option<&'a ProfilePolicy>) -> &'a [String] {
    profile
        .and_then(|profile| profile.command.as_ref())
        .unwrap_or(&policy.server.command)
}

fn runs_jupyter(command: &[String]) -> bool {
    command
        .first()
        .and_then(|command| Path::new(command).file_name())
        .is_some_and(|name| JUPYTER_PROGRAMS.iter().any(|program| name == *program))
}

fn check_prefix(server: &ServerRef, prefix: &str) -> Result<(), Refusal> {
    let visible = prefix.bytes().all(|byte| byte.is_ascii_graphic());
    let plain = !prefix.contains(['?', '#', '\\', '"', '<', '>']);
    let inner = prefix
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'))
        .unwrap_or_default();
    let climbs = inner
        .split('/')
        .any(|segment| segment.is_empty() || segment == "." || segment == "..");
    let own = prefix.ends_with(&server.url_path("/"));
    if prefix.starts_with('/') && own && visible && plain && !climbs && prefix.len() <= MAX_PREFIX {
        return Ok(());
    }
    Err(Refusal::protocol(
        "The path below which the server would answer is not one of this server.",
    ))
}

fn check_tls(tls: Option<&TlsFiles>) -> Result<(), Refusal> {
    let Some(tls) = tls else {
        return Ok(());
    };
    let name = tls
        .server_name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    let texts = [tls.key.expose(), &tls.certificate, &tls.client_ca];
    let pem = |text: &&String| text.starts_with("-----BEGIN ") && text.len() <= MAX_PEM;
    let named = (1..=253).contains(&tls.server_name.len());
    if name && named && texts.iter().all(|text| pem(text) && !text.contains('\0')) {
        Ok(())
    } else {
        Err(Refusal::protocol(
            "The key and the certificates of the server are not in the form of PEM, or its name is none.",
        ))
    }
}

/// Where a new server will listen.
enum Listening {
    Socket(PathBuf),
    Port(u16),
    /// A port with TLS.
    Secure(u16),
}

impl Listening {
    fn new(
        policy: &Policy,
        start: &StartServer,
        folder: &Path,
        port: Option<u16>,
    ) -> Result<Self, Refusal> {
        if needs_port(policy, start) {
            let port = port.ok_or_else(|| {
                Refusal::policy("There is no free port for the server.", "Try again.")
            })?;
            return Ok(match start.tls {
                Some(_) => Self::Secure(port),
                None => Self::Port(port),
            });
        }
        let socket = folder.join(SOCKET);
        if socket.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
            return Err(Refusal::policy(
                format!(
                    "The path of the socket, {}, would be too long.",
                    socket.display()
                ),
                "Choose a shorter folder for the sockets of servers.",
            ));
        }
        Ok(Self::Socket(socket))
    }

    fn service_url(&self, prefix: &str) -> String {
        let (scheme, port) = match self {
            Self::Socket(_) => ("http", PORT_BESIDE_SOCKET),
            Self::Port(port) => ("http", *port),
            Self::Secure(port) => ("https", *port),
        };
        format!("{scheme}://127.0.0.1:{port}{prefix}")
    }

    fn upstream(&self, start: &StartServer, uid: u32) -> Upstream {
        match self {
            Self::Socket(path) => Upstream::Owned {
                path: path.clone(),
                uid,
            },
            Self::Port(port) => Upstream::OwnedTcp { port: *port, uid },
            Self::Secure(port) => Upstream::Internal {
                host: Upstream::OWNED_HOST.to_owned(),
                port: *port,
                name: start
                    .tls
                    .as_ref()
                    .map(|tls| tls.server_name.clone())
                    .unwrap_or_default(),
            },
        }
    }
}

/// What a start has that others have otherwise.
#[derive(Clone, Copy)]
struct Chosen<'a> {
    profile: Option<&'a ProfilePolicy>,
    python: Option<&'a PythonInUse>,
    /// Folders of settings that follow from courses.
    config_path: Option<&'a str>,
}

/// Computes the whole environment of a server; later entries win.
fn environment(
    policy: &Policy,
    start: &StartServer,
    account: &Account,
    Chosen {
        profile,
        python,
        config_path,
    }: Chosen<'_>,
    listening: &Listening,
    folder: &Path,
    search: &[String],
) -> BTreeMap<String, String> {
    let text = |value: &str| value.to_owned();
    let path = |path: &Path| path.display().to_string();
    let mut all = BTreeMap::from([
        (text("LANG"), text("C.UTF-8")),
        (text("HOME"), path(&account.home)),
        (text("USER"), account.name.clone()),
        (text("LOGNAME"), account.name.clone()),
        (text("SHELL"), path(&account.shell)),
        (text("PATH"), search.join(":")),
        (text("JUPYTER_RUNTIME_DIR"), path(&folder.join(RUNTIME))),
    ]);
    if let Some(python) = python {
        all.insert(text(python::VARIABLE), path(&python.prefix));
    }
    all.extend(start.environment.0.clone());
    all.insert(
        text("JUPYTERHUB_SERVICE_URL"),
        listening.service_url(&start.service_prefix),
    );
    if start.tls.is_some() {
        for (file, variable) in [KEY, CERTIFICATE, CLIENT_CA] {
            all.insert(text(variable), path(&folder.join(file)));
        }
    }
    let default_url = profile
        .and_then(|profile| profile.default_url.as_ref())
        .unwrap_or(&policy.server.default_url);
    if !default_url.is_empty() {
        let user = escape::path_segment(start.key.user.as_str());
        let url = default_url.replace("{username}", &user);
        all.insert(text("JUPYTERHUB_DEFAULT_URL"), url);
    }
    all.extend(policy.server.environment.clone());
    all.extend(
        profile
            .map(|profile| profile.environment.clone())
            .unwrap_or_default(),
    );
    // Ours comes first, so that what the configuration has stays in force behind it.
    for (name, ours) in [
        (
            JUPYTER_PATH,
            start.environment.0.get(JUPYTER_PATH).map(String::as_str),
        ),
        (CONFIG_PATH, config_path),
    ] {
        let Some(ours) = ours else { continue };
        let both = match all.get(name).filter(|then| *then != ours) {
            Some(then) => format!("{ours}:{then}"),
            None => text(ours),
        };
        all.insert(text(name), both);
    }
    // Last, as nobody may hide a process from us.
    all.insert(text(SERVER_VARIABLE), start.key.marker.clone());
    all
}

/// The program and its arguments. Everybody on the machine can read them: nothing secret is here.
fn arguments(
    policy: &Policy,
    Chosen {
        profile, python, ..
    }: Chosen<'_>,
    listening: &Listening,
) -> Vec<String> {
    let mut all = command(policy, profile).to_vec();
    // Its own place, and not what `current` leads to by then: what it starts later is of the same generation.
    if let (Some(program), Some(python)) = (all.first_mut(), python)
        && JUPYTER_PROGRAMS.contains(&program.as_str())
    {
        *program = python
            .prefix
            .join("bin")
            .join(&*program)
            .display()
            .to_string();
    }
    if let Listening::Socket(socket) = listening {
        all.push(format!("--ServerApp.sock={}", socket.display()));
        // The folder gives it the group of Lyceum, which has to be able to connect.
        all.push("--ServerApp.sock_mode=0660".to_owned());
    }
    all.extend(policy.server.args.iter().cloned());
    all
}

#[cfg(test)]
mod tests;
