//! `cargo xtask conformance`: the black-box cases of `conformance/` against Lyceum, JupyterHub, or both.
//!
//! Builds what is ours and installs JupyterHub; which cases there are and how they are run is the program's matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::shell::{self, Seen, cargo, command, find_program};

/// The release that the cases are true to.
const JUPYTERHUB: &str = "jupyterhub==6.1.1";
/// The proxy of that release.
const PROXY: &str = "configurable-http-proxy@5.3.0";
/// The program with the cases, below the root.
const CASES: &str = "target/debug/lyceum-conformance";

/// What `cargo xtask conformance` can be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which hub the cases run against
    #[arg(long, value_enum, default_value_t = Hub::Lyceum)]
    against: Hub,
    /// Run against both, and print where they answer differently
    #[arg(long, conflicts_with = "against")]
    diff: bool,
    /// Run against a hub that runs already, configured as conformance/README.md says
    #[arg(long, requires = "admin_token_file", conflicts_with_all = ["against", "diff"])]
    url: Option<String>,
    /// A file with the token of that hub's service with the role `admin`
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// Only cases with this text in area or name; may be given several times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// List the cases and run none
    #[arg(long)]
    list: bool,
    /// Print how long the slowest cases took
    #[arg(long)]
    times: bool,
    /// Install nothing: fail if something is missing
    #[arg(long)]
    no_install: bool,
}

/// A hub that can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hub {
    /// Lyceum, from this workspace
    Lyceum,
    /// JupyterHub from PyPI, with its proxy from npm
    Jupyterhub,
}

/// Runs what was asked for.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let build = ["build", "--quiet", "--package", "lyceum-conformance"];
    shell::run(&mut cargo(root, &build))?;
    let mut cases = cases(root, &root.join(CASES));
    for text in &options.only {
        cases.arg("--only").arg(text);
    }
    if options.times {
        cases.arg("--times");
    }
    if options.list {
        cases.arg("--list");
        return shell::run(&mut cases);
    }
    if let (Some(url), Some(file)) = (&options.url, &options.admin_token_file) {
        cases.arg("--url").arg(url);
        cases.arg("--admin-token-file").arg(file);
        return shell::run(&mut cases);
    }
    if options.diff || options.against == Hub::Lyceum {
        shell::run(&mut cargo(root, &["build", "--package", "lyceum"]))?;
        cases.arg("--lyceum").arg(root.join(crate::test::PROGRAM));
    }
    if options.diff || options.against == Hub::Jupyterhub {
        let theirs = JupyterHub::find_or_install(root, options.no_install)?;
        cases.arg("--jupyterhub").arg(theirs.program);
        cases.arg("--proxy").arg(theirs.proxy);
    }
    if options.diff {
        cases.arg("--diff");
    }
    shell::run(&mut cases)
}

/// The part of `cargo xtask test`: all cases.
pub(crate) fn part(root: &Path, seen: &mut Seen) -> Result<()> {
    let program = root.join(crate::test::PROGRAM);
    let own = root.join(CASES);
    for built in [&program, &own] {
        if !built.is_file() {
            bail!("{} is missing: run the part build first", built.display());
        }
    }
    let mut cases = cases(root, &own);
    cases.arg("--lyceum").arg(program);
    let (ran, ended) = shell::run_counting(&mut cases)?;
    seen.add(ran);
    ended
}

/// The program with the cases.
fn cases(root: &Path, program: &Path) -> Command {
    let mut cases = command(root, program, &["--logs"]);
    cases.arg(root.join("target/conformance/logs"));
    cases
}

/// Where JupyterHub's programs are.
#[derive(Debug)]
struct JupyterHub {
    program: PathBuf,
    proxy: PathBuf,
}

impl JupyterHub {
    /// Finds both programs below `target/conformance`, or installs them there.
    fn find_or_install(root: &Path, no_install: bool) -> Result<Self> {
        let folder = root.join("target/conformance");
        let environment = folder.join("venv");
        let modules = folder.join("proxy");
        let found = Self {
            program: environment.join("bin/jupyterhub"),
            proxy: modules.join("node_modules/.bin/configurable-http-proxy"),
        };
        // The proxy is a program of Node's, also when it is there already.
        needs(
            "node",
            "Node.js 18 or newer (Debian: apt-get install nodejs npm)",
        )?;
        if !is_right_version(&found.program) {
            let how = "python3 -m venv, then pip install jupyterhub";
            refuse_if(no_install, JUPYTERHUB, how)?;
            needs(
                "python3",
                "Python 3.10 or newer (Debian: apt-get install python3 python3-venv)",
            )?;
            println!("    installing from PyPI: {JUPYTERHUB}");
            fs::create_dir_all(&folder)?;
            let mut venv = command(root, "python3", &["-m", "venv", "--clear"]);
            shell::run(venv.arg(&environment))?;
            let python = environment.join("bin/python");
            let install = ["-m", "pip", "install", "--quiet", JUPYTERHUB];
            shell::run(&mut command(root, python, &install))?;
        }
        if !found.proxy.exists() {
            refuse_if(no_install, PROXY, "npm install")?;
            needs("npm", "npm (Debian: apt-get install npm)")?;
            println!("    installing from npm: {PROXY}");
            fs::create_dir_all(&modules)?;
            let install = ["install", "--no-audit", "--no-fund", "--prefix"];
            let mut npm = command(root, "npm", &install);
            shell::run(npm.arg(&modules).arg(PROXY))?;
        }
        Ok(found)
    }
}

/// Whether a program `jupyterhub` is of the release that the cases are true to.
fn is_right_version(program: &Path) -> bool {
    let wanted = JUPYTERHUB.rsplit("==").next().unwrap_or_default();
    program.is_file()
        && command(Path::new("/"), program, &["--version"])
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == wanted)
}

fn needs(program: &str, what: &str) -> Result<()> {
    if find_program(program).is_none() {
        bail!("there is no {program} here: install {what}");
    }
    Ok(())
}

fn refuse_if(no_install: bool, what: &str, how: &str) -> Result<()> {
    if no_install {
        bail!(
            "missing: {what}\n  without --no-install it is installed below target/conformance ({how})"
        );
    }
    Ok(())
}
