//! The programs that choose and install packages: uv where it is found, and else pip.
//!
//! pip is that of a small environment of its own in the cache, so that what is installed does not depend on the pip that
//! an environment shall have.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account;
use super::interpreters::Interpreter;
use super::settings::Places;
use crate::command::{Log, Seen, Step, run};
use crate::error::{Cause, EnvError};
use crate::python::build::environment;
use crate::python::interpreter::{Host, is_executable};

const CREATE_LIMIT: Duration = Duration::from_mins(10);
const SHORT_LIMIT: Duration = Duration::from_mins(3);
/// How long a choice may take: pip tries many versions when requirements are hard to satisfy.
const CHOOSE_LIMIT: Duration = Duration::from_hours(1);
const INSTALL_LIMIT: Duration = Duration::from_hours(2);
/// The oldest pip that can report its choice and work on another environment.
const OLDEST_PIP: (u32, u32) = (22, 3);

/// What observes a running program.
pub(crate) type Observer<'a> = &'a mut (dyn FnMut(Seen<'_>) + Send);

/// An installer and the interpreter that it works for.
#[derive(Debug)]
pub(crate) struct Tools<'a> {
    pub(crate) log: &'a Log,
    pub(crate) python: &'a Interpreter,
    places: &'a Places,
    /// A folder of wheels that are looked into, too.
    wheels: Option<&'a Path>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Uv(PathBuf),
    /// The Python of the small environment with pip.
    Pip(PathBuf),
}

/// What shall be chosen from.
#[derive(Debug)]
pub(crate) struct Choosing<'a> {
    /// The file with what is wanted.
    pub(crate) list: &'a Path,
    /// The files that say which versions may be.
    pub(crate) constraints: Vec<&'a Path>,
    /// Where the choice goes. What stands there is kept as far as it can be, if uv chooses.
    pub(crate) choice: &'a Path,
    /// Packages of which the newest is wanted; `None` for all.
    pub(crate) upgrade: Option<&'a [String]>,
}

impl<'a> Tools<'a> {
    /// Finds an installer that the builder can start.
    pub(crate) async fn find(
        host: &Host,
        places: &'a Places,
        python: &'a Interpreter,
        wheels: Option<&'a Path>,
        log: &'a Log,
    ) -> Result<Self, EnvError> {
        let mut tools = Self {
            log,
            python,
            places,
            wheels,
            kind: Kind::Pip(PathBuf::new()),
        };
        if let Some(uv) = tools.find_uv(host).await {
            tools.kind = Kind::Uv(uv);
        } else {
            tools.kind = Kind::Pip(tools.prepare_pip().await?);
        }
        Ok(tools)
    }

    /// The installer's name.
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Uv(_) => "uv",
            Kind::Pip(_) => "pip",
        }
    }

    pub(crate) fn chooses_with_pins(&self) -> bool {
        matches!(self.kind, Kind::Pip(_))
    }

    /// uv that we were pointed to by its own variable, on `PATH`, or beside the interpreter.
    async fn find_uv(&self, host: &Host) -> Option<PathBuf> {
        let named = env::var_os("UV").map(PathBuf::from);
        let beside = self.python.path.with_file_name("uv");
        let found = [named, host.find_program("uv"), Some(beside)];
        for uv in found.into_iter().flatten() {
            if !uv.is_absolute() || !is_executable(&uv) {
                continue;
            }
            // The builder may not be let in where root finds it.
            let step = self.step("start uv", &uv, vec!["--version".into()], SHORT_LIMIT);
            if step.run(self.log, &mut |_| {}).await.is_ok() {
                return Some(uv);
            }
        }
        None
    }

    /// Makes the small environment with pip, unless it is there.
    async fn prepare_pip(&self) -> Result<PathBuf, EnvError> {
        let version = self.python.version.as_deref().unwrap_or("unknown");
        let folder = self
            .places
            .cache
            .join("tools")
            .join(format!("pip-{version}"));
        let python = folder.join("bin/python");
        if let Some(version) = self.pip_version(&python).await
            && version >= OLDEST_PIP
        {
            return Ok(python);
        }
        if !self.python.venv {
            return Err(self.no_venv());
        }
        let arguments = vec![
            "-I".into(),
            "-m".into(),
            "venv".into(),
            "--clear".into(),
            folder.into(),
        ];
        let executable = &self.python.executable;
        let step = self.step("prepare pip", executable, arguments, CREATE_LIMIT);
        self.run(step, &mut |_| {}).await?;
        if self
            .pip_version(&python)
            .await
            .is_none_or(|version| version < OLDEST_PIP)
        {
            let arguments = ["-I", "-m", "pip", "install", "--upgrade", "pip"].map(Into::into);
            let step = self.step("get a newer pip", &python, arguments.into(), SHORT_LIMIT);
            self.run(step, &mut |_| {}).await?;
        }
        Ok(python)
    }

    async fn pip_version(&self, python: &Path) -> Option<(u32, u32)> {
        if !is_executable(python) {
            return None;
        }
        let arguments = ["-I", "-m", "pip", "--version"].map(Into::into);
        let step = self.step(
            "ask pip for its version",
            python,
            arguments.into(),
            SHORT_LIMIT,
        );
        let lines = step.run(self.log, &mut |_| {}).await.ok()?;
        let version = lines.last()?.strip_prefix("pip ")?.split(' ').next()?;
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    }

    /// Whether an environment gets pip without naming it.
    pub(crate) fn adds_pip(&self) -> bool {
        self.python.pip_wheel.is_some()
    }

    /// A list of requirements in the words of the installer: older versions of pip take a repository of this machine for
    /// the path of a file, if it has its name before it.
    pub(crate) fn readable(&self, list: &str) -> String {
        match self.kind {
            Kind::Uv(_) => list.to_owned(),
            Kind::Pip(_) => list
                .lines()
                .map(|line| with_name_after(line) + "\n")
                .collect(),
        }
    }

    /// Chooses packages, and says what it chose: the text of a requirements file from uv, a report from pip.
    pub(crate) async fn choose(
        &self,
        what: &Choosing<'_>,
        seen: Observer<'_>,
    ) -> Result<(), EnvError> {
        let (program, mut arguments): (&Path, Vec<OsString>) = match &self.kind {
            Kind::Uv(uv) => {
                let mut arguments = words(&[
                    "pip",
                    "compile",
                    "--quiet",
                    "--generate-hashes",
                    "--no-header",
                    "--no-annotate",
                    "--no-strip-extras",
                    "--python",
                ]);
                arguments.push(self.python.executable.clone().into());
                arguments.push("--output-file".into());
                arguments.push(what.choice.into());
                match what.upgrade {
                    None => arguments.push("--upgrade".into()),
                    Some(packages) => {
                        for package in packages {
                            arguments.push("--upgrade-package".into());
                            arguments.push(package.into());
                        }
                    }
                }
                (uv, arguments)
            }
            Kind::Pip(python) => {
                let mut arguments = words(&[
                    "-I",
                    "-m",
                    "pip",
                    "install",
                    "--dry-run",
                    "--ignore-installed",
                    "--progress-bar=off",
                    "--report",
                ]);
                arguments.push(what.choice.into());
                arguments.push("--requirement".into());
                (python, arguments)
            }
        };
        arguments.push(what.list.into());
        for file in &what.constraints {
            arguments.push("--constraint".into());
            arguments.push((*file).into());
        }
        self.add_wheels(&mut arguments);
        let step = self.step("choose the packages", program, arguments, CHOOSE_LIMIT);
        self.run(step, seen).await
    }

    /// Makes an empty environment.
    pub(crate) async fn create(&self, prefix: &Path) -> Result<(), EnvError> {
        let executable = self.python.executable.as_os_str();
        let (program, arguments): (&Path, Vec<OsString>) = match &self.kind {
            Kind::Uv(uv) => (
                uv,
                vec![
                    "venv".into(),
                    "--no-project".into(),
                    "--allow-existing".into(),
                    "--python".into(),
                    executable.into(),
                    prefix.into(),
                ],
            ),
            Kind::Pip(_) => (
                &self.python.executable,
                vec![
                    "-I".into(),
                    "-m".into(),
                    "venv".into(),
                    "--without-pip".into(),
                    prefix.into(),
                ],
            ),
        };
        let step = self.step(
            "create the Python environment",
            program,
            arguments,
            CREATE_LIMIT,
        );
        match self.run(step, &mut |_| {}).await {
            Err(EnvError::Step {
                cause: Cause::NoVenv,
                ..
            }) => Err(self.no_venv()),
            other => other,
        }
    }

    /// Installs what a file lists, and nothing besides. With `hashed`, each file has to have one of its hashes.
    pub(crate) async fn install(
        &self,
        prefix: &Path,
        list: &Path,
        hashed: bool,
        seen: Observer<'_>,
    ) -> Result<(), EnvError> {
        let (program, mut arguments) = self.installing(prefix);
        arguments.push("--no-deps".into());
        if hashed {
            arguments.push("--require-hashes".into());
        }
        arguments.push("--requirement".into());
        arguments.push(list.into());
        self.add_wheels(&mut arguments);
        let step = self.step("install the packages", &program, arguments, INSTALL_LIMIT);
        self.run(step, seen).await
    }

    /// Adds pip, so that people can say `%pip install` in a notebook. It comes with the interpreter, without any network.
    pub(crate) async fn add_pip(&self, prefix: &Path) -> Result<(), EnvError> {
        let Some(wheel) = &self.python.pip_wheel else {
            return Ok(());
        };
        let (program, mut arguments) = self.installing(prefix);
        arguments.extend(words(&["--no-deps", "--no-index"]));
        arguments.push(wheel.into());
        let step = self.step("add pip", &program, arguments, SHORT_LIMIT);
        self.run(step, &mut |_| {}).await
    }

    /// Runs a program of ours with an interpreter.
    pub(crate) async fn run_python(
        &self,
        doing: &'static str,
        python: &Path,
        arguments: Vec<OsString>,
        limit: Duration,
    ) -> Result<(), EnvError> {
        let step = self.step(doing, python, arguments, limit);
        self.run(step, &mut |_| {}).await
    }

    /// The beginning of a command line that installs into an environment.
    fn installing(&self, prefix: &Path) -> (PathBuf, Vec<OsString>) {
        let into: OsString = prefix.join("bin/python").into();
        match &self.kind {
            Kind::Uv(uv) => (
                uv.clone(),
                vec!["pip".into(), "install".into(), "--python".into(), into],
            ),
            Kind::Pip(python) => {
                let mut arguments = words(&["-I", "-m", "pip", "--python"]);
                arguments.push(into);
                arguments.extend(words(&["install", "--no-compile", "--progress-bar=off"]));
                (python.clone(), arguments)
            }
        }
    }

    fn add_wheels(&self, arguments: &mut Vec<OsString>) {
        if let Some(folder) = self.wheels {
            arguments.push("--find-links".into());
            arguments.push(folder.into());
        }
    }

    fn no_venv(&self) -> EnvError {
        EnvError::NoVenv {
            python: self.python.executable.clone(),
            version: self.python.version.clone().unwrap_or_default(),
        }
    }

    fn step(
        &self,
        doing: &'static str,
        program: &Path,
        arguments: Vec<OsString>,
        limit: Duration,
    ) -> OwnedStep {
        let mut variables = environment();
        if self.places.builder.is_some() {
            variables.extend(account::handed_on());
        }
        let path = |path: PathBuf| Some(path.to_string_lossy().into_owned());
        let cache = &self.places.cache;
        let home = self.places.builder.is_some().then(|| cache.join("home"));
        variables.extend([
            ("UV_CACHE_DIR", path(cache.join("uv"))),
            ("PIP_CACHE_DIR", path(cache.join("pip"))),
            ("TMPDIR", path(cache.join("tmp"))),
            // The newest Python is never taken unasked.
            ("UV_PYTHON_DOWNLOADS", Some("never".to_owned())),
            ("UV_NO_CONFIG", None),
            ("UV_PROJECT_ENVIRONMENT", None),
            ("SOURCE_DATE_EPOCH", None),
            ("GIT_TERMINAL_PROMPT", Some("0".to_owned())),
        ]);
        variables.extend(home.map(|home| ("HOME", path(home))));
        // A mirror that pip is told of is one for uv, too.
        for (ours, theirs) in [
            ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
            ("SSL_CERT_FILE", "PIP_CERT"),
        ] {
            if env::var_os(ours).is_none()
                && let Ok(value) = env::var(theirs)
            {
                variables.push((ours, Some(value)));
            }
        }
        OwnedStep {
            doing,
            program: program.to_owned(),
            arguments,
            environment: variables,
            limit,
        }
    }

    async fn run(&self, step: OwnedStep, seen: Observer<'_>) -> Result<(), EnvError> {
        step.run(self.log, seen).await.map(drop)
    }
}

/// Writes the name of a repository of this machine as pip has always read it: `git+file:///srv/x@v1#egg=NAME`.
fn with_name_after(line: &str) -> String {
    let Some((name, rest)) = line
        .split_once(" @ ")
        .filter(|(_, rest)| rest.starts_with("git+file://"))
    else {
        return line.to_owned();
    };
    let end = rest.find(" ;").unwrap_or(rest.len());
    let (address, marker) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let mark = if address.contains('#') { '&' } else { '#' };
    format!("{address}{mark}egg={name}{marker}")
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// A program to run, with all that it is told.
struct OwnedStep {
    doing: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, Option<String>)>,
    limit: Duration,
}

impl OwnedStep {
    async fn run(self, log: &Log, seen: Observer<'_>) -> Result<Vec<String>, EnvError> {
        let step = Step {
            doing: self.doing,
            program: self.program.as_os_str(),
            arguments: self
                .arguments
                .iter()
                .map(OsString::as_os_str)
                .collect::<Vec<&OsStr>>(),
            environment: self.environment,
            limit: self.limit,
        };
        run(step, log, seen).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_of_this_machine_has_its_name_after_it_for_pip() {
        for (line, expected) in [
            (
                "x[a,b] @ git+file:///srv/x@v1 ; python_version > '3'",
                "git+file:///srv/x@v1#egg=x[a,b] ; python_version > '3'",
            ),
            (
                "x @ git+file:///srv/x#subdirectory=py",
                "git+file:///srv/x#subdirectory=py&egg=x",
            ),
            (
                "x @ git+https://example.org/x@v1",
                "x @ git+https://example.org/x@v1",
            ),
            ("x>=1", "x>=1"),
        ] {
            assert_eq!(with_name_after(line), expected);
        }
    }
}
