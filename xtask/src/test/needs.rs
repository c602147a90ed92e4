//! What the tests need from elsewhere: found, or installed by name, or asked for with the exact command.

use std::fs;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::{self, cargo, command, find_program};

/// The version of cargo-deny that is installed if there is none.
const CARGO_DENY: &str = "0.20.2";

/// Whether something may be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Installing {
    Allowed,
    Forbidden,
}

/// Something that Debian's and Ubuntu's packages have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Package {
    PythonVenv,
    PostgreSql,
    Chromium,
    Node,
    /// The program, for certificates of tests.
    OpenSsl,
    /// A name server that takes updates.
    Bind,
    /// The program that puts authorities into a browser's store.
    NssTools,
    /// R with its package shiny.
    Shiny,
    /// R, what compiles its packages, its kernel for notebooks, and two packages of the distribution's.
    R,
    /// What makes and boots whole systems.
    TestHosts,
    /// The library that checks passwords of the machine, for building the broker.
    Pam,
}

impl Package {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::PythonVenv => &["python3", "python3-venv"],
            Self::PostgreSql => &["postgresql"],
            // Ubuntu has a package of this name only.
            Self::Chromium if is_ubuntu() => &["chromium-browser"],
            Self::Chromium => &["chromium"],
            Self::Node => &["nodejs", "npm"],
            Self::OpenSsl => &["openssl"],
            Self::Bind => &["bind9"],
            Self::NssTools => &["libnss3-tools"],
            Self::Shiny => &["r-base-core", "r-cran-shiny"],
            Self::R => &[
                "r-base-core",
                "r-cran-irkernel",
                "r-cran-r6",
                "r-cran-mass",
                "gcc",
                "make",
                "git",
            ],
            Self::TestHosts => &["mmdebstrap", "systemd-container", "zsh"],
            Self::Pam => &["libpam0g-dev"],
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::PythonVenv => {
                let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
                command(Path::new("/"), "python3", &["-I", "-c", check])
                    .output()
                    .is_ok_and(|output| output.status.success())
            }
            Self::PostgreSql => find_program("initdb").is_some() || has_postgres_folder(),
            Self::Chromium => {
                std::env::var_os("LYCEUM_TEST_CHROMIUM").is_some()
                    || ["chromium", "chromium-browser", "google-chrome"]
                        .iter()
                        .any(|name| find_program(name).is_some())
            }
            Self::Node => find_program("node").is_some() && find_program("npm").is_some(),
            Self::OpenSsl => find_program("openssl").is_some(),
            Self::Bind => find_program("named").is_some() || Path::new("/usr/sbin/named").is_file(),
            Self::NssTools => find_program("certutil").is_some(),
            Self::TestHosts => ["mmdebstrap", "systemd-nspawn", "zsh"]
                .iter()
                .all(|name| find_program(name).is_some()),
            Self::Pam => Path::new("/usr/include/security/pam_appl.h").is_file(),
            Self::Shiny => has_r_package("shiny"),
            Self::R => {
                let compiles = ["gcc", "make", "git"];
                ["IRkernel", "R6", "MASS"]
                    .iter()
                    .all(|name| has_r_package(name))
                    && compiles.iter().all(|name| find_program(name).is_some())
            }
        }
    }
}

fn has_r_package(name: &str) -> bool {
    let check = format!("quit(status = !requireNamespace('{name}', quietly = TRUE))");
    command(Path::new("/"), "Rscript", &["--vanilla", "-e", &check])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Installs the packages that are missing.
pub(super) fn debian_packages(packages: &[Package], installing: Installing) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !package.is_there())
        .flat_map(|package| package.names())
        .copied()
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "apt-get install --no-install-recommends {}",
        missing.join(" ")
    );
    if installing == Installing::Forbidden {
        bail!("missing: {}\n  as root: {by_hand}", missing.join(", "));
    }
    if find_program("apt-get").is_none() {
        bail!(
            "missing: {} (Debian's names), and there is no apt-get here",
            missing.join(", ")
        );
    }
    let Some(prefix) = as_root() else {
        bail!(
            "missing: {}, and you are not root\n  as root: {by_hand}",
            missing.join(", ")
        );
    };
    println!("    installing from apt: {}", missing.join(", "));
    let mut arguments = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    arguments.extend(&missing);
    if apt(prefix, &arguments).is_err() {
        println!("    refreshing apt's lists");
        apt(prefix, &["update", "--quiet"])?;
        apt(prefix, &arguments).with_context(|| format!("run by hand, as root: {by_hand}"))?;
    }
    match packages.iter().find(|package| !package.is_there()) {
        Some(package) => bail!("{package:?} is still missing after: {by_hand}"),
        None => Ok(()),
    }
}

/// Installs the browser tests' packages as `package-lock.json` says.
pub(super) fn npm_packages(root: &Path, installing: Installing) -> Result<()> {
    let folder = root.join("e2e");
    let (wanted, there) = (
        folder.join("package-lock.json"),
        folder.join("node_modules/.package-lock.json"),
    );
    let modified = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    if modified(&there).is_some_and(|there| modified(&wanted).is_some_and(|wanted| there >= wanted))
    {
        return Ok(());
    }
    if installing == Installing::Forbidden {
        bail!("missing: the packages of e2e\n  run: npm ci --prefix e2e");
    }
    println!("    installing from npm: playwright-core, configurable-http-proxy");
    shell::run(&mut command(
        &folder,
        "npm",
        &["ci", "--no-audit", "--no-fund", "--ignore-scripts"],
    ))
}

/// Makes a Python environment below `target` with packages from PyPI, unless it is there; gives its folder.
pub(super) fn python_packages(
    root: &Path,
    name: &str,
    packages: &[&str],
    installing: Installing,
) -> Result<PathBuf> {
    let folder = root.join("target").join(name);
    let stamp = folder.join("installed");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    let list = packages.join(", ");
    if installing == Installing::Forbidden {
        bail!("missing: {list} from PyPI in {}", folder.display());
    }
    println!("    installing from PyPI: {list}");
    let path = folder.display().to_string();
    let arguments = ["-m", "venv", "--clear", &path];
    shell::run(&mut command(root, "python3", &arguments))?;
    let pip = folder.join("bin/pip");
    let quietly = ["install", "--quiet", "--disable-pip-version-check"];
    shell::run(command(root, pip, &quietly).args(packages))?;
    fs::write(stamp, wanted)?;
    Ok(folder)
}

/// Finds cargo-deny, or builds it once into `target/tools`.
pub(super) fn cargo_deny(root: &Path, installing: Installing) -> Result<PathBuf> {
    let own = root.join("target/tools/bin/cargo-deny");
    if let Some(found) = find_program("cargo-deny").or_else(|| own.is_file().then(|| own.clone())) {
        return Ok(found);
    }
    if installing == Installing::Forbidden {
        bail!("missing: cargo-deny\n  run: cargo install cargo-deny --locked");
    }
    println!("    installing from crates.io: cargo-deny {CARGO_DENY} (takes about a minute, once)");
    let tools = root.join("target/tools");
    let build = tools.join("build");
    let arguments = [
        "install",
        "--quiet",
        "--locked",
        "--version",
        CARGO_DENY,
        "cargo-deny",
        "--root",
    ];
    let mut install = cargo(root, &arguments);
    install.arg(&tools).env("CARGO_TARGET_DIR", &build);
    // Its own profile takes minutes to save a second of the seconds that it runs.
    for (setting, value) in [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "0")] {
        install.env(format!("CARGO_PROFILE_RELEASE_{setting}"), value);
    }
    shell::run(&mut shell::patiently(&install))?;
    fs::remove_dir_all(&build).context("could not remove what building cargo-deny left")?;
    Ok(own)
}

/// What makes a command run as root: nothing, or sudo; `None` if neither is possible.
fn as_root() -> Option<&'static [&'static str]> {
    let id = shell::output(&mut command(Path::new("/"), "id", &["-u"])).ok()?;
    if id.trim() == "0" {
        return Some(&[]);
    }
    find_program("sudo")?;
    // Where nobody can type a password, asking for one would wait for ever.
    if std::io::stdin().is_terminal() {
        Some(&["sudo"])
    } else {
        Some(&["sudo", "--non-interactive"])
    }
}

fn apt(prefix: &[&str], arguments: &[&str]) -> Result<()> {
    let mut words: Vec<&str> = prefix.to_vec();
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    words.extend(arguments);
    let (program, rest) = words.split_first().context("an empty command")?;
    let mut command = command(Path::new("/"), program, rest);
    if prefix.len() == 1 {
        command.stdin(std::process::Stdio::inherit());
    }
    shell::run(&mut command)
}

fn has_postgres_folder() -> bool {
    fs::read_dir("/usr/lib/postgresql").is_ok_and(|entries| {
        entries
            .filter_map(Result::ok)
            .any(|entry| entry.path().join("bin/initdb").is_file())
    })
}

fn is_ubuntu() -> bool {
    fs::read_to_string("/etc/os-release")
        .is_ok_and(|text| text.lines().any(|line| line == "ID=ubuntu"))
}
