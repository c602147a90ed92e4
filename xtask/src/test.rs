//! `cargo xtask test`: all checks and tests, in an order that finds cheap mistakes first.
//!
//! Says what it does. A part whose needs cannot be met fails; nothing is left out silently.

mod again;
mod ahead;
mod api;
mod browsers;
mod environments;
mod hosts;
mod needs;
mod pebble;
mod unit;

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::conformance;
use crate::failures::Failure;
use crate::shell::{self, Counts, Seen, cargo, command};
use crate::tidy;
use ahead::Ahead;
use needs::{Installing, Package};

/// The program that black-box tests run, below the root.
pub(crate) const PROGRAM: &str = "target/debug/lyceum";

/// What `cargo xtask test` can be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run these parts only
    #[arg(long, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
    /// Install nothing: fail if something is missing
    #[arg(long)]
    no_install: bool,
    /// Stop at the first part that fails
    #[arg(long)]
    fail_fast: bool,
}

/// The parts, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Formatting: rustfmt changes nothing
    Fmt,
    /// The rules of the house
    Tidy,
    /// All programs and tests, compiled
    Build,
    /// Lints: clippy without a warning
    Clippy,
    /// Targets for fuzzing still compile; what they run is among the tests of the crates
    Fuzz,
    /// Documentation builds without a warning
    Doc,
    /// Tests of the crates, through HTTP, with real servers and real databases
    Unit,
    /// Licences, banned crates and sources of dependencies
    Deny,
    /// Black-box cases of JupyterHub's contract
    Conformance,
    /// Made-up requests, by the API's own document
    Api,
    /// A real browser
    E2e,
}

impl Part {
    fn title(self) -> &'static str {
        match self {
            Self::Fmt => "formatting (cargo fmt --check)",
            Self::Tidy => "rules of the house (cargo xtask tidy)",
            Self::Clippy => "lints (cargo clippy, warnings are errors)",
            Self::Fuzz => "targets for fuzzing (cargo check in fuzz/)",
            Self::Doc => "documentation (cargo doc, warnings are errors)",
            Self::Build => "all programs and tests (cargo build --workspace --all-targets)",
            Self::Unit => "tests of the crates",
            Self::Deny => "licences, bans and sources (cargo deny)",
            Self::Conformance => {
                "black-box cases of JupyterHub's contract (cargo xtask conformance)"
            }
            Self::Api => "made-up requests by the OpenAPI document (schemathesis)",
            Self::E2e => "browser tests",
        }
    }
}

/// How a part ended.
#[derive(Debug)]
struct Outcome {
    part: Part,
    took: Duration,
    counts: Counts,
    failure: Option<String>,
    /// The tests that failed.
    failures: Vec<Failure>,
    /// Those that passed at a second try only.
    unsteady: Vec<Failure>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_none() {
            "ok"
        } else {
            "FAILED"
        };
        write!(
            f,
            "{verdict:<7} {:>4} s  {}",
            self.took.as_secs(),
            self.part.title()
        )?;
        if self.counts != Counts::default() {
            write!(
                f,
                ": {} passed, {} failed",
                self.counts.passed, self.counts.failed
            )?;
        }
        if let Some(failure) = &self.failure {
            write!(f, "\n               {failure}")?;
        }
        for failure in &self.failures {
            write!(f, "\n  {failure}")?;
        }
        for test in &self.unsteady {
            write!(
                f,
                "\n  UNSTEADY, passed alone at a second try, to be mended: {test}"
            )?;
        }
        Ok(())
    }
}

/// Runs the chosen parts, all by default, and prints how each ended.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let parts: Vec<Part> = Part::value_variants()
        .iter()
        .copied()
        .filter(|part| options.only.is_empty() || options.only.contains(part))
        .collect();
    let installing = if options.no_install {
        Installing::Forbidden
    } else {
        Installing::Allowed
    };
    println!("==> needs: {}", needs_in_words(&parts));
    needs::debian_packages(&packages(&parts), installing)?;
    let _hosts = hosts::begin(root, parts.contains(&Part::E2e), installing);
    let mut run = Run {
        root,
        installing,
        // Whoever stops early wants nothing that is of use later only.
        ahead: (!options.fail_fast).then(Ahead::default),
        parts: parts.clone(),
    };
    if let Some(ahead) = &mut run.ahead
        && installing == Installing::Allowed
    {
        ahead.begin(root, &parts);
    }
    let mut outcomes: Vec<Outcome> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        println!("\n==> [{}/{}] {}", index + 1, parts.len(), part.title());
        let outcome = run.part(*part);
        if let Some(failure) = &outcome.failure {
            eprintln!("error: {failure}");
        }
        let stop = outcome.failure.is_some() && options.fail_fast;
        outcomes.push(outcome);
        if stop {
            break;
        }
    }
    conclude(&outcomes)
}

/// Prepares the Python environments of the tests, and prints the variables by which tests find them.
pub(crate) fn environments(root: &Path) -> Result<()> {
    needs::debian_packages(&[Package::PythonVenv], Installing::Allowed)?;
    environments::build(root)?;
    environments::prepare(root, &environments::ENVIRONMENTS, Installing::Allowed).map(drop)
}

/// Checks licences, bans and sources of dependencies.
pub(crate) fn deny(root: &Path) -> Result<()> {
    let program = needs::cargo_deny(root, Installing::Allowed)?;
    // Not `advisories`: their database is a git repository, which a machine that reaches registries only cannot fetch.
    let arguments = [
        "--all-features",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ];
    shell::run(&mut command(root, program, &arguments))
}

/// One run of the parts.
struct Run<'a> {
    root: &'a Path,
    installing: Installing,
    parts: Vec<Part>,
    /// What is done ahead, if anything may be.
    ahead: Option<Ahead>,
}

impl Run<'_> {
    fn part(&mut self, part: Part) -> Outcome {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let (root, installing) = (self.root, self.installing);
        if let Some(ahead) = &mut self.ahead {
            match part {
                Part::Unit | Part::Api | Part::E2e => ahead.wait_for_needs(),
                Part::Deny => ahead.wait_for_tools(),
                _ => {}
            }
        }
        let result = match part {
            Part::Fmt => shell::run(&mut cargo(root, &["fmt", "--all", "--check"])),
            Part::Tidy => tidy::run(root),
            Part::Clippy => shell::run(&mut cargo(
                root,
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--keep-going",
                    "--",
                    "--deny",
                    "warnings",
                ],
            )),
            Part::Fuzz => fuzz(root),
            Part::Doc => shell::run(
                cargo(
                    root,
                    &[
                        "doc",
                        "--workspace",
                        "--no-deps",
                        "--document-private-items",
                        "--locked",
                        "--keep-going",
                    ],
                )
                // For developers, who read private items too.
                .env(
                    "RUSTDOCFLAGS",
                    "--deny warnings --allow rustdoc::private_intra_doc_links",
                ),
            ),
            Part::Unit => unit::run(root, installing, &mut seen),
            Part::Build => self.build(),
            Part::Deny => deny(root),
            Part::Conformance => conformance::part(root, &mut seen),
            Part::Api => api::run(root, installing),
            Part::E2e => browsers::run(root, installing, &mut seen),
        };
        let Seen {
            counts,
            failures,
            unsteady,
        } = seen;
        let failure = match result {
            Err(error) => Some(format!("{error:#}")),
            Ok(()) if counts.failed > 0 => Some(format!("{} tests failed", counts.failed)),
            Ok(())
                if matches!(part, Part::Unit | Part::Conformance | Part::E2e)
                    && counts.passed == 0 =>
            {
                Some("no test ran".to_owned())
            }
            Ok(()) => None,
        };
        Outcome {
            part,
            took: begun.elapsed(),
            counts,
            failure,
            failures,
            unsteady,
        }
    }

    /// Compiles everything that the later parts run, at once: a package that is built alone gets dependencies with
    /// features of its own, and with them a compilation of its own.
    fn build(&mut self) -> Result<()> {
        let arguments = ["build", "--workspace", "--all-targets", "--locked"];
        shell::run(&mut cargo(self.root, &arguments))?;
        if let Some(ahead) = &mut self.ahead
            && self.installing == Installing::Allowed
        {
            ahead.make_environments(self.root, &self.parts);
        }
        Ok(())
    }
}

/// Compiles the targets for fuzzing, which are a workspace of their own, for the toolchain of all others.
fn fuzz(root: &Path) -> Result<()> {
    let mut check = cargo(
        root,
        &["check", "--locked", "--manifest-path", "fuzz/Cargo.toml"],
    );
    // With the folder of the main workspace, most of what they depend on is there already.
    check.arg("--target-dir").arg(root.join("target"));
    // The library of C++ that runs them would be compiled, and is not linked by a check: any file will do for it.
    check.env("CUSTOM_LIBFUZZER_PATH", root.join("fuzz/Cargo.toml"));
    shell::run(&mut check)
}

fn conclude(outcomes: &[Outcome]) -> Result<()> {
    println!();
    let mut counts = Counts::default();
    for outcome in outcomes {
        println!("{outcome}");
        counts.add(outcome.counts);
    }
    println!("\n{} passed, {} failed", counts.passed, counts.failed);
    let failed = outcomes
        .iter()
        .filter(|outcome| outcome.failure.is_some())
        .count();
    if failed > 0 {
        bail!("{failed} of {} parts failed", outcomes.len());
    }
    Ok(())
}

/// The Debian packages that the parts need.
fn packages(parts: &[Part]) -> Vec<Package> {
    let mut packages = Vec::new();
    let builds = |part: &Part| !matches!(part, Part::Fmt | Part::Tidy | Part::Deny);
    if parts.iter().any(builds) {
        packages.push(Package::Pam);
    }
    if parts.contains(&Part::Unit) {
        packages.extend([
            Package::PythonVenv,
            Package::PostgreSql,
            Package::OpenSsl,
            Package::Bind,
            Package::R,
        ]);
    }
    if parts.contains(&Part::Api) {
        packages.push(Package::PythonVenv);
    }
    if parts.contains(&Part::E2e) {
        packages.extend([
            Package::PythonVenv,
            Package::Chromium,
            Package::Node,
            Package::OpenSsl,
            Package::Shiny,
            Package::R,
            Package::NssTools,
            Package::TestHosts,
        ]);
    }
    packages.dedup();
    packages
}

fn needs_in_words(parts: &[Part]) -> String {
    let mut needs = Vec::new();
    if parts.contains(&Part::Deny) {
        needs.push("cargo-deny");
    }
    if parts.contains(&Part::Unit) {
        needs.push("python3-venv, PostgreSQL, openssl, BIND, Pebble and R from apt, jupyterhub, jupyterlab and uv from PyPI");
    }
    if parts.contains(&Part::E2e) {
        needs.push(
            "python3-venv, Chromium, Node.js, npm, openssl, Pebble, NSS's tools, R with shiny and IRkernel, mmdebstrap and systemd-nspawn from apt, playwright-core and \
             configurable-http-proxy from npm, streamlit and flask from PyPI",
        );
    }
    if needs.is_empty() {
        "nothing but cargo".to_owned()
    } else {
        needs.join("; ")
    }
}
