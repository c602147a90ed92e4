//! Finds a Python that is new enough, and a way to make environments with it.
//!
//! Looks at what is installed and starts each candidate once; installs nothing.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;
use tokio::time::timeout;

use crate::error::EnvError;
use crate::library::{Origin, usual_folders};

/// The oldest Python that will do, as text for people and as a number.
const MINIMUM: (&str, (u32, u32)) = ("3.10", (3, 10));
/// The names under which newer interpreters are installed beside an older `python3`.
const NAMES: &[&str] = &[
    "python3",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
];
/// How long an interpreter may take to say what it is.
const PROBE_LIMIT: Duration = Duration::from_secs(20);

/// Where programs are looked for.
#[derive(Debug, Clone)]
pub struct Host {
    /// The folders in which programs are looked for, as in `PATH`.
    pub path: OsString,
    /// The system's own Python, preferred to what `PATH` names first: it is built with all optimisations, it
    /// stays where it is, and everybody may run it.
    pub system_python: PathBuf,
    /// Folders in which other tools keep Pythons, one folder for each version, and which tool it is.
    pub python_folders: Vec<(PathBuf, Origin)>,
}

impl Host {
    /// This machine, as this process sees it.
    pub fn this() -> Self {
        Self {
            path: env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            system_python: "/usr/bin/python3".into(),
            python_folders: usual_folders(),
        }
    }

    /// Finds a program by name.
    pub(crate) fn find_program(&self, name: &str) -> Option<PathBuf> {
        env::split_paths(&self.path)
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(name))
            .find(|path| is_executable(path))
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let mut found = vec![self.system_python.clone()];
        found.extend(NAMES.iter().filter_map(|name| self.find_program(name)));
        found.retain(|path| is_executable(path));
        let mut seen = Vec::new();
        found.retain(|path| {
            let real = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let new = !seen.contains(&real);
            seen.push(real);
            new
        });
        found
    }
}

/// A way to make an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Maker {
    /// With uv; without an interpreter it may fetch one.
    Uv {
        uv: PathBuf,
        python: Option<PathBuf>,
    },
    /// With the interpreter's own `venv`.
    Venv { python: PathBuf },
    /// With the package virtualenv, by program or as a module.
    Virtualenv {
        program: PathBuf,
        module: bool,
        python: PathBuf,
    },
}

/// A maker, and which Python it makes environments of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) maker: Maker,
    /// The version, such as `3.11.2`; `None` where uv chooses it.
    pub(crate) version: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Probe {
    version: (u32, u32, u32),
    executable: PathBuf,
    venv: bool,
    virtualenv: bool,
}

impl Probe {
    fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }
}

/// Finds the best way to make an environment: with `explicit` if it is given, else with the first
/// interpreter that can; uv is preferred, being several times faster.
pub(crate) async fn find(host: &Host, explicit: Option<&Path>) -> Result<Found, EnvError> {
    let candidates = explicit.map_or_else(|| host.candidates(), |path| vec![path.to_owned()]);
    let uv = host.find_program("uv");
    let virtualenv = host.find_program("virtualenv");
    let mut unfit = Vec::new();
    let mut lacking: Option<Probe> = None;
    for candidate in candidates {
        let probe = match probe(&candidate).await {
            Ok(probe) => probe,
            Err(why) => {
                unfit.push(format!("{} {why}", candidate.display()));
                continue;
            }
        };
        let (major, minor, _) = probe.version;
        if (major, minor) < MINIMUM.1 {
            unfit.push(format!("{} is {}", candidate.display(), probe.version()));
            continue;
        }
        let python = probe.executable.clone();
        let maker = if let Some(uv) = &uv {
            Maker::Uv {
                uv: uv.clone(),
                python: Some(python),
            }
        } else if probe.venv {
            Maker::Venv { python }
        } else if probe.virtualenv {
            Maker::Virtualenv {
                program: python.clone(),
                module: true,
                python,
            }
        } else if let Some(program) = &virtualenv {
            Maker::Virtualenv {
                program: program.clone(),
                module: false,
                python,
            }
        } else {
            lacking.get_or_insert(probe);
            continue;
        };
        return Ok(Found {
            maker,
            version: Some(probe.version()),
        });
    }
    if let Some(probe) = lacking {
        return Err(EnvError::NoVenv {
            version: probe.version(),
            python: probe.executable,
        });
    }
    match (uv, explicit) {
        (Some(uv), None) => Ok(Found {
            maker: Maker::Uv { uv, python: None },
            version: None,
        }),
        _ => Err(EnvError::NoPython {
            minimum: MINIMUM.0,
            found: unfit,
        }),
    }
}

/// Asks an interpreter what it is; the error says why it will not do, to follow its name.
async fn probe(python: &Path) -> Result<Probe, String> {
    let mut command = Command::new(python);
    command
        .args([
            OsStr::new("-I"),
            "-c".as_ref(),
            include_str!("probe.py").as_ref(),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PROBE_LIMIT, command.output())
        .await
        .map_err(|_| "does not answer".to_owned())?
        .map_err(|error| format!("cannot be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("fails with {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|_| "does not say its version".to_owned())
}

pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stand-in for an interpreter that answers the probe in this way.
    fn fake(folder: &Path, name: &str, version: &str, venv: bool) -> PathBuf {
        let path = folder.join(name);
        let answer = format!(
            r#"{{"version": [{version}], "executable": "{}", "venv": {venv}, "virtualenv": false}}"#,
            path.display()
        );
        script(&path, &format!("echo '{answer}'"));
        path
    }

    fn script(path: &Path, body: &str) {
        fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn host(folder: &Path) -> Host {
        Host {
            path: folder.into(),
            system_python: folder.join("absent"),
            python_folders: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_old_python_is_passed_over_for_a_newer_one() {
        let folder = tempfile::tempdir().unwrap();
        fake(folder.path(), "python3", "3, 9, 2", true);
        let newer = fake(folder.path(), "python3.12", "3, 12, 1", true);
        let found = find(&host(folder.path()), None).await.unwrap();
        assert_eq!(
            found,
            Found {
                maker: Maker::Venv { python: newer },
                version: Some("3.12.1".to_owned())
            }
        );
    }

    #[tokio::test]
    async fn without_a_python_everything_that_was_found_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fake(folder.path(), "python3", "3, 9, 2", true);
        script(&folder.path().join("python3.13"), "echo garbage");
        script(&folder.path().join("python3.11"), "exit 3");
        let error = find(&host(folder.path()), None).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("python3 is 3.9.2"), "{text}");
        assert!(
            text.contains("python3.13 does not say its version"),
            "{text}"
        );
        assert!(
            text.contains("python3.11 fails with exit status: 3"),
            "{text}"
        );
        assert!(
            error
                .hint()
                .unwrap()
                .contains("apt install python3 python3-venv")
        );
        let empty = tempfile::tempdir().unwrap();
        let error = find(&host(empty.path()), None).await.unwrap_err();
        assert_eq!(error.to_string(), "found no Python 3.10 or newer");
    }

    #[tokio::test]
    async fn a_python_without_venv_needs_a_helper() {
        let folder = tempfile::tempdir().unwrap();
        let python = fake(folder.path(), "python3", "3, 11, 2", false);
        let error = find(&host(folder.path()), None).await.unwrap_err();
        assert!(
            matches!(&error, EnvError::NoVenv { version, .. } if version == "3.11.2"),
            "{error}"
        );
        assert!(error.hint().unwrap().contains("apt install python3-venv"));

        let virtualenv = folder.path().join("virtualenv");
        script(&virtualenv, "true");
        let found = find(&host(folder.path()), None).await.unwrap();
        let expected = Maker::Virtualenv {
            program: virtualenv,
            module: false,
            python: python.clone(),
        };
        assert_eq!(found.maker, expected);

        let uv = folder.path().join("uv");
        script(&uv, "true");
        let found = find(&host(folder.path()), None).await.unwrap();
        assert_eq!(
            found.maker,
            Maker::Uv {
                uv: uv.clone(),
                python: Some(python.clone())
            }
        );

        fs::remove_file(python).unwrap();
        let found = find(&host(folder.path()), None).await.unwrap();
        assert_eq!(
            found,
            Found {
                maker: Maker::Uv { uv, python: None },
                version: None
            }
        );
    }

    #[tokio::test]
    async fn the_systems_python_can_be_asked() {
        let host = Host::this();
        let found = find(&host, None)
            .await
            .expect("python3 with venv: apt install python3-venv");
        assert!(found.version.is_some());
    }
}
