//! The crates' tests and the examples in documentation, with Python environments for those that start real servers.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::again::try_again;
use super::environments;
use super::needs::Installing;
use super::pebble;
use crate::failures::Failure;
use crate::shell::{self, Seen, cargo, run_counting};

/// The variable by which tests find the program in the place of a notebook server; without it, each asks Cargo.
const NOTEBOOK: &str = "LYCEUM_TEST_NOTEBOOK";
/// How nextest is called.
const NEXTEST: [&str; 5] = [
    "nextest",
    "run",
    "--workspace",
    "--locked",
    "--no-fail-fast",
];

/// Runs them all.
pub(super) fn run(root: &Path, installing: Installing, seen: &mut Seen) -> Result<()> {
    let with_cargo = ["test", "--workspace", "--locked", "--no-fail-fast"];
    let environments = environments::prepare(root, &environments::ENVIRONMENTS, installing)?;
    let pebble = pebble::find(root, installing)?;
    let tests = |arguments: &[&str]| -> Command {
        let mut tests = cargo(root, arguments);
        tests.env(NOTEBOOK, root.join("target/debug/tiny-notebook"));
        for environment in &environments {
            tests.env(environment.variable, &environment.prefix);
        }
        tests.env(pebble::VARIABLE, &pebble);
        tests
    };
    let mut result = Ok(());
    let mut rest = Vec::new();
    if shell::find_program("cargo-nextest").is_some() {
        // A process per test is a PostgreSQL cluster per test: those of the store share theirs in one process.
        let chosen = ["-E", "not binary_id(lyceum-store::store)"];
        let (mut ran, ended) = run_counting(&mut tests(&[&NEXTEST[..], &chosen].concat()))?;
        result = try_again(&mut ran, ended, |failed| {
            let Some(these) = filter(failed) else {
                return Ok(false);
            };
            let arguments = [&NEXTEST[..], &["--test-threads=1", "-E", &these]].concat();
            let (again, ended) = run_counting(&mut tests(&arguments))?;
            Ok(ended.is_ok() && usize::try_from(again.counts.passed)? == failed.len())
        });
        seen.add(ran);
        rest.push([&with_cargo[..], &["--test", "store"]].concat());
    } else {
        rest.push([&with_cargo[..], &["--all-targets"]].concat());
    }
    rest.push([&with_cargo[..], &["--doc"]].concat());
    for arguments in rest {
        let (ran, ended) = run_counting(&mut tests(&arguments))?;
        seen.add(ran);
        result = result.and(ended);
    }
    result
}

/// What nextest calls a choice of just these tests, if all names are of its making.
fn filter(failed: &[Failure]) -> Option<String> {
    let each: Option<Vec<String>> = failed
        .iter()
        .map(|failure| {
            let (program, test) = failure.name.split_once(' ')?;
            Some(format!("(binary_id(={program}) & test(={test}))"))
        })
        .collect();
    Some(each?.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_chosen_by_program_and_name() {
        let failed = ["lyceum-store lists::are_short", "lyceum::program serve::a"];
        let failed = failed.map(|name| Failure::named(name.to_owned()));
        assert_eq!(
            filter(&failed).unwrap(),
            "(binary_id(=lyceum-store) & test(=lists::are_short)) | (binary_id(=lyceum::program) & test(=serve::a))"
        );
        assert_eq!(filter(&[Failure::named("doc".to_owned())]), None);
    }
}
