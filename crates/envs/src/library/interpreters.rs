//! Which Pythons this machine has, and which of them an environment shall run on.
//!
//! Each is started once to say what it is; nothing is installed, and the newest is never taken unasked.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::account;
use super::trusted;
use crate::command::{Account, ask_as, begin_session};
use crate::error::EnvError;
use crate::generations::STAMP;
use crate::python::interpreter::{Host, is_executable};

/// How long an interpreter may take to say what it is.
const PROBE_LIMIT: Duration = Duration::from_secs(20);
/// The oldest minor version of Python 3 that is taken unasked.
const MINIMUM: u32 = 10;
/// The minor versions whose names are looked for.
const MINORS: std::ops::RangeInclusive<u32> = 8..=20;

/// A Python of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interpreter {
    /// The path under which it was found.
    pub path: PathBuf,
    /// The interpreter itself, also if it was found by an environment made from it.
    pub executable: PathBuf,
    /// Its version, such as `3.11.2`; `None` if it does not say.
    pub version: Option<String>,
    /// Who has brought it.
    pub origin: Origin,
    /// Whether it was compiled with all optimisations.
    pub optimised: bool,
    /// Whether it can make environments by itself: it has the modules `venv` and `ensurepip`.
    pub venv: bool,
    /// The pip that came with it, as a wheel.
    pub pip_wheel: Option<PathBuf>,
    /// For which platform it is, such as `linux-x86_64`.
    pub platform: String,
    /// Why it cannot be used; `None` if it can.
    pub fault: Option<String>,
}

/// Who has brought an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// A package of the distribution, or of `deadsnakes`.
    System,
    /// pyenv.
    Pyenv,
    /// uv.
    Uv,
    /// Somebody, below `/opt` or `/usr/local`.
    Local,
    /// It was named.
    Named,
}

impl Origin {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Pyenv => "pyenv",
            Self::Uv => "uv",
            Self::Local => "local",
            Self::Named => "named",
        }
    }
}

#[derive(Debug, Deserialize)]
struct Probe {
    version: (u32, u32, u32),
    executable: PathBuf,
    venv: bool,
    optimised: bool,
    pip_wheel: Option<PathBuf>,
    platform: String,
}

impl Interpreter {
    /// The version as numbers, for comparing.
    pub fn numbers(&self) -> Option<(u32, u32, u32)> {
        let mut parts = self.version.as_deref()?.split('.').map(str::parse);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch))) => Some((major, minor, patch)),
            _ => None,
        }
    }

    /// The minor version, such as `3.11`.
    pub fn minor(&self) -> Option<String> {
        let (major, minor, _) = self.numbers()?;
        Some(format!("{major}.{minor}"))
    }

    fn usable(&self) -> bool {
        self.fault.is_none()
    }
}

/// Finds the interpreters of this machine: those of packages first, and of each origin the newest first.
///
/// As root they are started under the account `build_as`, and those that it cannot start are named with that fault; where
/// there is no such account, under one that owns nothing: what is on root's `PATH` may be another's.
pub async fn interpreters(host: &Host, build_as: &str) -> Vec<Interpreter> {
    let account = account::builder(build_as).unwrap_or_else(|_| account::nobody());
    find(host, account.as_ref()).await
}

/// Does the same for an account that shall build with them.
pub(crate) async fn find(host: &Host, account: Option<&Account>) -> Vec<Interpreter> {
    let mut asked = JoinSet::new();
    for (path, origin) in candidates(host) {
        let account = account.cloned();
        asked.spawn(async move { ask(&path, origin, account.as_ref()).await });
    }
    let mut found: Vec<Interpreter> = asked.join_all().await;
    found.sort_by(|a, b| {
        (a.origin, std::cmp::Reverse(a.numbers()), &a.path).cmp(&(
            b.origin,
            std::cmp::Reverse(b.numbers()),
            &b.path,
        ))
    });
    found
}

/// Chooses the interpreter of an environment.
///
/// `asked` is a version such as `3.13`, a path, or empty; then `before`, the interpreter of the newest generation, is
/// taken, and else the best of the machine.
pub(crate) async fn choose(
    host: &Host,
    account: Option<&Account>,
    asked: &str,
    before: Option<(u32, &Path)>,
) -> Result<Interpreter, EnvError> {
    if asked.starts_with('/') {
        return named(Path::new(asked), account).await;
    }
    if asked.is_empty()
        && let Some((generation, path)) = before
    {
        let gone = || EnvError::PythonGone {
            generation,
            path: path.to_owned(),
        };
        return named(path, account).await.map_err(|_| gone());
    }
    let all = find(host, account).await;
    let wanted = |one: &&Interpreter| match asked {
        "" => one.numbers().is_some_and(|(_, minor, _)| minor >= MINIMUM),
        asked => one
            .version
            .as_deref()
            .is_some_and(|version| version == asked || version.starts_with(&format!("{asked}."))),
    };
    let fit = all.iter().filter(|one| one.usable()).filter(wanted);
    // What the system calls python3 comes before all others: it stays, and is cared for.
    let usual = host.system_python.canonicalize().ok();
    let best = fit.min_by_key(|one| {
        let is_usual = usual.is_some() && one.executable.canonicalize().ok() == usual;
        (
            !is_usual,
            one.origin,
            !one.optimised,
            std::cmp::Reverse(one.numbers()),
        )
    });
    best.cloned().ok_or_else(|| EnvError::NoSuchPython {
        asked: match asked {
            "" => format!("3.{MINIMUM} or newer"),
            asked => asked.to_owned(),
        },
        found: {
            let usable = || all.iter().filter(|one| one.usable());
            if usable().next().is_some() {
                usable().map(described).collect()
            } else {
                all.iter().map(described).collect()
            }
        },
    })
}

async fn named(path: &Path, account: Option<&Account>) -> Result<Interpreter, EnvError> {
    let found = ask(path, Origin::Named, account).await;
    match &found.fault {
        None => Ok(found),
        Some(fault) => Err(EnvError::NoSuchPython {
            asked: path.display().to_string(),
            found: vec![format!("it {fault}")],
        }),
    }
}

fn described(one: &Interpreter) -> String {
    match (&one.fault, &one.version) {
        (Some(fault), _) => format!("{} {fault}", one.path.display()),
        (None, Some(version)) => format!("{} is {version}", one.path.display()),
        (None, None) => one.path.display().to_string(),
    }
}

/// The paths at which interpreters may be, each interpreter once.
fn candidates(host: &Host) -> Vec<(PathBuf, Origin)> {
    let mut paths = vec![(host.system_python.clone(), Origin::System)];
    for minor in MINORS.rev() {
        let name = format!("python3.{minor}");
        let system = host.system_python.with_file_name(&name);
        paths.push((system, Origin::System));
        paths.push((Path::new("/usr/local/bin").join(&name), Origin::Local));
        paths.extend(host.find_program(&name).map(|path| (path, Origin::Local)));
    }
    paths.extend(
        host.find_program("python3")
            .map(|path| (path, Origin::Local)),
    );
    for (folder, origin) in &host.python_folders {
        for version in fs::read_dir(folder).into_iter().flatten().flatten() {
            paths.push((version.path().join("bin/python3"), *origin));
        }
    }
    let mut seen = Vec::new();
    paths.retain(|(path, _)| {
        // A shim of pyenv is a script that starts whatever is set at that moment: that one is no fixed Python.
        let is_shim = path.components().any(|part| part.as_os_str() == "shims");
        // What an environment was made from is found by itself, and what a builder put into one is not to be started.
        let is_ours = path
            .ancestors()
            .nth(2)
            .is_some_and(|prefix| prefix.join(STAMP).exists());
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let new = is_executable(path) && !is_shim && !is_ours && !seen.contains(&real);
        seen.push(real);
        new
    });
    paths
}

/// Where other tools keep the Pythons that they install, one folder for each version.
pub(crate) fn usual_folders() -> Vec<(PathBuf, Origin)> {
    let mut folders = vec![
        (PathBuf::from("/opt/pyenv/versions"), Origin::Pyenv),
        (PathBuf::from("/opt/python"), Origin::Local),
        (PathBuf::from("/opt/uv/python"), Origin::Uv),
    ];
    let set = |name: &str| env::var_os(name).map(PathBuf::from);
    folders.extend(set("PYENV_ROOT").map(|root| (root.join("versions"), Origin::Pyenv)));
    folders.extend(set("UV_PYTHON_INSTALL_DIR").map(|folder| (folder, Origin::Uv)));
    if let Some(home) = set("HOME") {
        folders.push((home.join(".pyenv/versions"), Origin::Pyenv));
        folders.push((home.join(".local/share/uv/python"), Origin::Uv));
    }
    folders.retain(|(folder, _)| folder.is_absolute());
    folders
}

/// Asks an interpreter what it is.
async fn ask(path: &Path, origin: Origin, account: Option<&Account>) -> Interpreter {
    let mut found = Interpreter {
        path: path.to_owned(),
        executable: path.to_owned(),
        version: None,
        origin,
        optimised: false,
        venv: false,
        pip_wheel: None,
        platform: String::new(),
        fault: None,
    };
    match probe(path, account).await {
        Ok(probe) => {
            let (major, minor, patch) = probe.version;
            found.version = Some(format!("{major}.{minor}.{patch}"));
            found.executable = probe.executable;
            found.optimised = probe.optimised;
            found.venv = probe.venv;
            found.pip_wheel = probe.pip_wheel;
            found.platform = probe.platform;
            if major != 3 || !MINORS.contains(&minor) {
                found.fault = Some(format!("is {major}.{minor}.{patch}, which is too old"));
            } else if let Err(EnvError::Unsafe { path, .. }) = trusted::check(&found.executable) {
                let path = path.display();
                found.fault = Some(format!(
                    "can be changed by others than root, at {path}, so that no server would start from it"
                ));
            }
        }
        Err(fault) => found.fault = Some(fault),
    }
    found
}

async fn probe(python: &Path, account: Option<&Account>) -> Result<Probe, String> {
    let mut command = Command::new(python);
    command
        .args([
            OsStr::new("-I"),
            // Nor what `.pth` files say: only the interpreter itself is asked.
            "-S".as_ref(),
            "-c".as_ref(),
            include_str!("../python/probe.py").as_ref(),
        ])
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let answer = async {
        if let Some(account) = account {
            ask_as(account, command).await
        } else {
            begin_session(&mut command, false);
            command.output().await
        }
    };
    let output = timeout(PROBE_LIMIT, answer)
        .await
        .map_err(|_| "does not answer".to_owned())?
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                "is closed to the account that builds".to_owned()
            }
            _ => format!("cannot be started: {error}"),
        })?;
    if !output.status.success() {
        return Err(format!("fails with {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|_| "does not say what it is".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A stand-in for an interpreter that says that it is of this version.
    fn fake(path: &Path, version: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let version = version.replace('.', ", ");
        let answer = format!(
            r#"{{"version": [{version}], "executable": "{}", "venv": true, "optimised": true, "platform": "linux-x86_64"}}"#,
            path.display()
        );
        fs::write(path, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn host(folder: &Path) -> Host {
        Host {
            path: folder.join("path").into(),
            system_python: folder.join("usr/bin/python3"),
            python_folders: vec![(folder.join("pyenv"), Origin::Pyenv)],
        }
    }

    #[tokio::test]
    async fn interpreters_are_asked_under_an_account_that_owns_nothing_and_none_of_an_environment()
    {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host = host(dir.path());
        let touched = |prefix: &Path| prefix.join("who");
        let mark = |python: &Path| {
            let text = format!(
                "#!/bin/sh\nid -u > {}\n",
                touched(python.ancestors().nth(2).unwrap()).display()
            );
            fs::create_dir_all(python.parent().unwrap()).unwrap();
            fs::write(python, text).unwrap();
            fs::set_permissions(python, fs::Permissions::from_mode(0o755)).unwrap();
            let prefix = python.ancestors().nth(2).unwrap();
            fs::set_permissions(prefix, fs::Permissions::from_mode(0o777)).unwrap();
            prefix.to_owned()
        };
        let other = mark(&dir.path().join("pyenv/3.13.0/bin/python3"));
        let ours = mark(&dir.path().join("pyenv/ours/bin/python3"));
        fs::write(ours.join(STAMP), "{}").unwrap();
        let _ = interpreters(&host, "no-such-account").await;
        assert!(!touched(&ours).exists());
        let who = fs::read_to_string(touched(&other)).unwrap();
        let expected = account::nobody().map_or(nix::unistd::getuid().as_raw(), |one| one.uid);
        assert_eq!(who.trim(), expected.to_string());
    }

    #[tokio::test]
    async fn a_python_that_others_could_change_is_not_taken() {
        assert!(
            nix::unistd::geteuid().is_root(),
            "this test has to be run as root"
        );
        let dir = tempfile::tempdir().unwrap();
        let python = dir.path().join("theirs/bin/python3");
        fake(&python, "3.12.1");
        std::os::unix::fs::chown(dir.path().join("theirs"), Some(12_345), None).unwrap();
        let path = python.display().to_string();
        let error = choose(&host(dir.path()), None, &path, None)
            .await
            .unwrap_err();
        let EnvError::NoSuchPython { found, .. } = error else {
            panic!("{error}");
        };
        assert!(found[0].contains("theirs, so that no server"), "{found:?}");
    }

    #[tokio::test]
    async fn a_newer_python_is_offered_and_not_taken_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        let host = host(folder);
        fake(&host.system_python, "3.11.2");
        fake(&folder.join("pyenv/3.13.1/bin/python3"), "3.13.1");
        fake(&folder.join("pyenv/3.13.0/bin/python3"), "3.13.0");
        fake(&folder.join("pyenv/2.7.18/bin/python3"), "2.7.18");
        let all = interpreters(&host, "root").await;
        let versions: Vec<_> = all
            .iter()
            .filter_map(|one| one.version.as_deref())
            .collect();
        // Those that tests run beside may be listed, too: only what is ours is looked at.
        let ours: Vec<_> = versions
            .iter()
            .filter(|version| ["3.11.2", "3.13.1", "3.13.0", "2.7.18"].contains(version))
            .collect();
        assert!(ours.len() >= 4, "{versions:?}");
        let choose = async |asked: &str, before: Option<(u32, &Path)>| {
            choose(&host, None, asked, before)
                .await
                .map(|found| found.executable)
        };
        assert_eq!(choose("", None).await.unwrap(), host.system_python);
        let newest = folder.join("pyenv/3.13.1/bin/python3");
        let older = folder.join("pyenv/3.13.0/bin/python3");
        assert_eq!(choose("3.13.1", None).await.unwrap(), newest);
        assert_eq!(choose("3.13.0", None).await.unwrap(), older);
        assert_eq!(choose("", Some((4, &older))).await.unwrap(), older);
        let path = older.display().to_string();
        assert_eq!(choose(&path, None).await.unwrap(), older);
        let error = choose("3.99", None).await.unwrap_err().to_string();
        assert!(
            error.starts_with("found no Python 3.99 (found: "),
            "{error}"
        );
        fs::remove_file(&older).unwrap();
        let error = choose("", Some((4, &older))).await.unwrap_err();
        assert!(
            matches!(error, EnvError::PythonGone { generation: 4, .. }),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("lyceum env python versions"));
    }
}
