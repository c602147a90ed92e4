//! Builds real environments with the system's Python, from a folder of tiny wheels.
//!
//! What PyPI itself gives is tried by the browser tests.

mod checked;
mod interrupted;

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::error::Cause;
use crate::progress::{Phase, Progress, Report, Silent};

/// Names the folder in which the helper process of [`a_killed_build_is_cleaned_up_and_begun_again`] works.
const CHILD_ROOT: &str = "LYCEUM_ENVS_TEST_ROOT";
const INSTALL_PYTHON: &str =
    "these tests need a Python that makes environments: apt install python3-venv";

/// A folder for environments, and one of wheels.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With a space and a letter beyond ASCII, as homes have them.
    fn root(&self) -> PathBuf {
        self.folder.path().join("the data of Žofie")
    }

    fn base(&self) -> PathBuf {
        self.root().join("python/base")
    }

    fn spec(&self) -> PythonSpec {
        let wheels = self.folder.path().join("wheels");
        if !wheels.exists() {
            make_wheels(&wheels, "");
        }
        spec_from(&wheels)
    }

    async fn ensure(&self, spec: &PythonSpec) -> Result<PythonEnvironment, EnvError> {
        PythonEnvironment::ensure_on(&plain(), &self.root(), spec, &Silent).await
    }

    /// The names of what is in the environment's folder.
    fn entries(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.base())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// The system's Python alone: no uv, wherever the tests run.
fn plain() -> Host {
    Host {
        path: "".into(),
        ..Host::this()
    }
}

/// With uv, which `cargo xtask test` puts beside JupyterLab.
fn with_uv() -> Host {
    let this = Host::this();
    let beside = env::var_os("LYCEUM_TEST_PYENV").map(|prefix| Path::new(&prefix).join("bin"));
    let folders = beside.into_iter().chain(env::split_paths(&this.path));
    let uv = folders
        .map(|folder| folder.join("uv"))
        .find(|path| path.is_file())
        .expect("this test needs uv: pip install uv");
    Host {
        path: uv.parent().unwrap().into(),
        ..this
    }
}

fn spec_from(wheels: &Path) -> PythonSpec {
    PythonSpec {
        source: PackageSource::Folder(wheels.to_owned()),
        ..PythonSpec::default()
    }
}

/// Writes wheels that have of JupyterHub and JupyterLab what we look at. `hub_code` runs when `jupyterhub` is imported.
fn make_wheels(folder: &Path, hub_code: &str) {
    fs::create_dir_all(folder).unwrap();
    let output = Command::new("python3")
        .args(["-I", "-c", include_str!("tests/make_wheels.py")])
        .arg(folder)
        .arg(hub_code)
        .output()
        .expect(INSTALL_PYTHON);
    assert!(output.status.success(), "{output:?}");
}

/// Remembers all reports.
#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Report>>);

impl Heard {
    fn phases(&self) -> Vec<Phase> {
        let mut phases: Vec<_> = self
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|report| report.phase)
            .collect();
        phases.dedup();
        phases
    }
}

impl Progress for Heard {
    fn report(&self, report: &Report) {
        self.0.lock().unwrap().push(report.clone());
    }
}

/// The processes whose command line names this folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(folder))
        .collect()
}

#[tokio::test]
async fn an_environment_is_made_once_and_then_found_at_once() {
    let place = Place::new();
    let spec = place.spec();
    let heard = Heard::default();
    let made = PythonEnvironment::ensure_on(&plain(), &place.root(), &spec, &heard)
        .await
        .expect(INSTALL_PYTHON);
    assert!(made.fresh);
    assert_eq!(made.generation, 1);
    assert_eq!(made.prefix, place.base().join("1"));
    assert_eq!(made.versions["jupyterhub"], "6.1.1");
    assert_eq!(made.versions["jupyterlab"], "4.6.6");
    assert_eq!(
        heard.phases(),
        [
            Phase::Searching,
            Phase::Creating,
            Phase::Downloading,
            Phase::Installing,
            Phase::Compiling,
            Phase::Testing,
            Phase::Done,
        ]
    );
    let fractions: Vec<_> = heard
        .0
        .lock()
        .unwrap()
        .iter()
        .filter_map(|report| report.fraction)
        .collect();
    assert!(fractions.is_sorted(), "{fractions:?}");
    assert_eq!(fractions.last(), Some(&1.0));

    let lock = fs::read_to_string(made.prefix.join("requirements.lock")).unwrap();
    assert!(lock.contains("jupyterhub==6.1.1\n"), "{lock}");
    assert!(
        !lock.contains("rfc3987"),
        "the slow format check is removed: {lock}"
    );
    let packages = meter::find_site_packages(&made.prefix).unwrap();
    assert!(
        packages.join("jupyterhub/__pycache__").is_dir(),
        "modules are compiled"
    );
    assert_eq!(place.entries(), ["1", "1.log", "current"]);
    assert_eq!(
        fs::read_link(place.base().join("current")).unwrap(),
        Path::new("1")
    );

    // A host without any program shows that none is started.
    let nothing = Host {
        path: "/nonexistent".into(),
        system_python: "/nonexistent/python3".into(),
        python_folders: Vec::new(),
    };
    let begun = Instant::now();
    let found = PythonEnvironment::ensure_on(&nothing, &place.root(), &spec, &Silent)
        .await
        .unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(20), "{took:?}");
    assert_eq!(
        found,
        PythonEnvironment {
            fresh: false,
            ..made
        }
    );
}

#[tokio::test]
async fn an_environment_does_not_depend_on_the_link_that_led_to_it() {
    let place = Place::new();
    let spec = place.spec();
    fs::create_dir_all(place.root()).unwrap();
    let link = place.folder.path().join("link");
    symlink(place.root(), &link).unwrap();
    let made = PythonEnvironment::ensure_on(&plain(), &link, &spec, &Silent)
        .await
        .expect(INSTALL_PYTHON);
    assert_eq!(made.prefix, place.base().join("1"));
    fs::remove_file(link).unwrap();
    let program = made.program("jupyterhub-singleuser");
    let output = Command::new(program).arg("--version").output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn of_two_at_once_one_works_and_the_other_waits() {
    let place = Place::new();
    let (root, spec) = (place.root(), place.spec());
    let host = plain();
    let (first, second) = (Heard::default(), Heard::default());
    let (left, right) = tokio::join!(
        PythonEnvironment::ensure_on(&host, &root, &spec, &first),
        PythonEnvironment::ensure_on(&host, &root, &spec, &second),
    );
    let (left, right) = (left.expect(INSTALL_PYTHON), right.expect(INSTALL_PYTHON));
    assert_eq!(left.prefix, right.prefix);
    assert_ne!(left.fresh, right.fresh, "exactly one made it");
    let waited = if left.fresh { second } else { first };
    assert_eq!(waited.phases(), [Phase::Waiting]);
    assert_eq!(place.entries(), ["1", "1.log", "current"]);
}

#[tokio::test]
async fn another_wish_makes_another_generation_and_a_failure_keeps_the_old_one() {
    let place = Place::new();
    let spec = place.spec();
    let first = place.ensure(&spec).await.expect(INSTALL_PYTHON);

    let broken = place.folder.path().join("broken");
    make_wheels(&broken, "raise RuntimeError('this hub is broken')");
    let wish = PythonSpec {
        packages: vec!["jupyterhub".to_owned(), "jupyterlab".to_owned()],
        ..spec_from(&broken)
    };
    let error = place.ensure(&wish).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not load JupyterHub and JupyterLab: the program failed with exit status: 1"
    );
    assert!(
        error
            .details()
            .unwrap()
            .contains("RuntimeError: this hub is broken"),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("2.log"), "{error:?}");
    assert_eq!(place.entries(), ["1", "1.log", "2.log", "current"]);
    assert_eq!(place.ensure(&spec).await.unwrap().prefix, first.prefix);

    let second = place
        .ensure(&PythonSpec {
            packages: wish.packages.clone(),
            ..spec.clone()
        })
        .await
        .unwrap();
    assert_eq!(second.generation, 2);
    assert!(
        first.program("jupyterhub-singleuser").is_file(),
        "running servers keep theirs"
    );

    // The interpreter under an environment is exchanged by an upgrade of the system.
    fs::remove_file(second.program("python")).unwrap();
    symlink("/bin/sh", second.program("python")).unwrap();
    let third = place
        .ensure(&PythonSpec {
            packages: wish.packages,
            ..spec
        })
        .await
        .unwrap();
    assert_eq!(third.generation, 3);
}

#[tokio::test]
async fn a_missing_package_and_a_dead_index_are_told_apart() {
    let place = Place::new();
    let empty = place.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let error = place.ensure(&spec_from(&empty)).await.unwrap_err();
    assert!(
        matches!(error.cause(), Some(Cause::NoSuchPackage(name)) if name == "jupyterhub"),
        "{error:?}"
    );
    assert!(
        error
            .details()
            .unwrap()
            .contains("No matching distribution"),
        "{error:?}"
    );
    assert_eq!(place.entries(), ["1.log"]);

    // Nothing listens on port 1.
    let dead = PythonSpec {
        source: PackageSource::Index("http://someone:hunter2@127.0.0.1:1/simple".to_owned()),
        ..PythonSpec::default()
    };
    let error = place.ensure(&dead).await.unwrap_err();
    assert_eq!(error.cause(), Some(&Cause::Network), "{error:?}");
    assert!(error.hint().unwrap().contains("network connection"));
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(
        !fs::read_to_string(place.base().join("1.log"))
            .unwrap()
            .contains("hunter2")
    );
    assert_eq!(place.entries(), ["1.log"]);
}

#[tokio::test]
async fn uv_makes_the_same_environment() {
    let place = Place::new();
    let (host, root, spec) = (with_uv(), place.root(), place.spec());
    let heard = Heard::default();
    let made = PythonEnvironment::ensure_on(&host, &root, &spec, &heard)
        .await
        .unwrap();
    assert_eq!(made.versions["jupyterhub"], "6.1.1");
    assert!(
        heard.phases().contains(&Phase::Installing),
        "{:?}",
        heard.phases()
    );
    let lock = fs::read_to_string(made.prefix.join("requirements.lock")).unwrap();
    assert_eq!(
        lock,
        "jsonschema==4.26.0\njupyterhub==6.1.1\njupyterlab==4.6.6\n"
    );
    let packages = meter::find_site_packages(&made.prefix).unwrap();
    assert!(
        packages.join("jupyterhub/__pycache__").is_dir(),
        "modules are compiled"
    );

    let wish = PythonSpec {
        packages: vec!["jupyterhub>=9".to_owned()],
        ..spec
    };
    let error = PythonEnvironment::ensure_on(&host, &root, &wish, &Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(error.cause(), Some(Cause::NoSuchPackage(name)) if name == "jupyterhub"),
        "{error:?}"
    );
    let dead = PythonSpec {
        source: PackageSource::Index("http://127.0.0.1:1/simple".to_owned()),
        ..wish
    };
    let error = PythonEnvironment::ensure_on(&host, &root, &dead, &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.cause(), Some(&Cause::Network), "{error:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_is_refused() {
    let place = Place::new();
    let file = place.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = PythonEnvironment::ensure(&file, &PythonSpec::default(), &Silent)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("could not create the folder /"),
        "{error}"
    );

    let colon = place.folder.path().join("a:b");
    let error = PythonEnvironment::ensure(&colon, &PythonSpec::default(), &Silent)
        .await
        .unwrap_err();
    assert!(matches!(error, EnvError::PathWithColon { .. }), "{error}");
    assert!(!colon.exists());
}
