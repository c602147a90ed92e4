//! The browser tests: which of their files run beside each other, and which alone.
//!
//! What is in them is theirs to know; Node's runner starts a process for each file.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::Message;

use super::again::try_again;
use super::needs::{self, Installing};
use super::{environments, pebble};
use crate::failures::{self, Failure};
use crate::shell::{self, Counts, Seen, cargo, command};

/// Applications from PyPI that the browser tests put behind the gateway.
const APPS: [&str; 2] = ["flask>=3,<4", "streamlit>=1.40,<2"];

/// The variable by which the tests of the engine for systemd are found.
const ENGINE: &str = "LYCEUM_TEST_SYSTEMD_ENGINE";

/// How the names of files with browser tests end.
const SUFFIX: &str = ".test.mjs";

/// Files that run in a row or beside each other.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: &'static str,
    /// How many of them run at a time.
    at_a_time: u32,
    files: Vec<String>,
}

/// How many of the usual files run at a time: they wait more than they compute, for time limits and for programs that
/// start.
const AT_A_TIME: u32 = 3;
/// The usual ones that take longest, so that none of them is begun last. `demo` also makes the environment that others
/// share.
const FIRST: [&str; 6] = [
    "demo",
    "cull",
    "versions",
    "accounts-process",
    "proxy-external",
    "sites-rstudio",
];
/// One that looks whether people have to wait while others flood the gateway, and one that waits for a minute and a
/// half without doing much.
const CALM: [&str; 2] = ["abuse", "https-renewal"];
/// Those that measure something which anything beside them spoils.
const ALONE: [&str; 6] = [
    "page-load",
    "restart",
    "systemd-chaos",
    "systemd-units",
    "systemd-users",
    "tunnels",
];

/// Installs or finds what the tests need beside what the tests of the crates need.
pub(super) fn prepare(root: &Path, installing: Installing) -> Result<PathBuf> {
    needs::npm_packages(root, installing)?;
    needs::python_packages(root, "test-env-apps", &APPS, installing)
}

/// Runs them all, group by group.
pub(super) fn run(root: &Path, installing: Installing, seen: &mut Seen) -> Result<()> {
    let program = root.join(super::PROGRAM);
    if !program.is_file() {
        bail!("{} is missing: run the part build first", program.display());
    }
    let apps = prepare(root, installing)?;
    let environments = environments::prepare(root, &environments::ENVIRONMENTS, installing)?;
    let pebble = pebble::find(root, installing)?;
    let engine = systemd_engine(root)?;
    let folder = root.join("target/e2e");
    remove_old_results(&folder)?;
    let run_group = |group: &Group| -> Result<(Seen, Result<()>)> {
        println!("    {}, {} at a time", group.name, group.at_a_time);
        let report = folder.join(format!("report-{}.tap", group.name));
        let mut tests = command(
            &root.join("e2e"),
            "node",
            &[
                "--test",
                "--test-reporter=spec",
                "--test-reporter-destination=stdout",
                "--test-reporter=tap",
            ],
        );
        tests
            .arg(format!("--test-concurrency={}", group.at_a_time))
            .arg(format!("--test-reporter-destination={}", report.display()))
            .args(&group.files);
        for environment in &environments {
            tests.env(environment.variable, &environment.prefix);
        }
        tests.env("LYCEUM_TEST_PROGRAM", &program);
        tests.env("LYCEUM_TEST_APPS", &apps);
        tests.env(pebble::VARIABLE, &pebble);
        tests.env(ENGINE, &engine);
        let ended = shell::run(&mut tests);
        let report = fs::read_to_string(&report)?;
        let seen = Seen {
            counts: Counts::read_all(&report),
            failures: failures::in_tap(&report),
            ..Seen::default()
        };
        Ok((seen, ended))
    };
    let mut result = Ok(());
    for group in in_groups(scenarios(&root.join("e2e"))?) {
        let (ran, ended) = run_group(&group)?;
        seen.add(ran);
        result = result.and(ended);
    }
    result = try_again(seen, result, |failed| {
        let Some(files) = files_of(failed) else {
            return Ok(false);
        };
        let (_, ended) = run_group(&Group {
            name: "again",
            at_a_time: 1,
            files,
        })?;
        Ok(ended.is_ok())
    });
    println!(
        "browser tests: {} passed, {} failed",
        seen.counts.passed, seen.counts.failed
    );
    result
}

/// Builds the tests of the engine for systemd, which run in a booted host, and finds the program.
fn systemd_engine(root: &Path) -> Result<PathBuf> {
    // Of the whole workspace, as the part build: with the features of one package alone, much would be compiled anew.
    let arguments = [
        "test",
        "--locked",
        "--workspace",
        "--test=systemd_engine",
        "--no-run",
        "--message-format=json",
    ];
    let messages = shell::output(&mut cargo(root, &arguments))?;
    let built = Message::parse_stream(messages.as_bytes()).find_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.name == "systemd_engine" => {
            artifact.executable
        }
        _ => None,
    });
    let built = built.context("cargo did not say where the tests of the engine for systemd are")?;
    Ok(built.into_std_path_buf())
}

/// The names of the files that tests stand in, if all are known.
fn files_of(failed: &[Failure]) -> Option<Vec<String>> {
    let files: Option<BTreeSet<String>> = failed
        .iter()
        .map(|failure| Some(failure.file.as_ref()?.file_name()?.to_str()?.to_owned()))
        .collect();
    Some(files?.into_iter().collect())
}

/// Empties the folder of results, but for the Python environment that the tests share: making it takes a minute.
fn remove_old_results(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.ends_with("shared") {
            continue;
        }
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The files with browser tests, by name.
fn scenarios(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string()
            && name.ends_with(SUFFIX)
        {
            names.push(name);
        }
    }
    Ok(names)
}

/// Divides files into groups, in each the longest ones first.
fn in_groups(mut files: Vec<String>) -> [Group; 3] {
    let place = |list: &[&str], file: &str| {
        let stem = file.strip_suffix(SUFFIX).unwrap_or(file);
        list.iter().position(|name| *name == stem)
    };
    files.sort_by_cached_key(|file| (place(&FIRST, file).unwrap_or(FIRST.len()), file.clone()));
    let mut take = |list: &[&str]| -> Vec<String> {
        let wanted = |file: &mut String| place(list, file).is_some();
        files.extract_if(.., wanted).collect()
    };
    let (calm, alone) = (take(&CALM), take(&ALONE));
    let group = |name, at_a_time, files| Group {
        name,
        at_a_time,
        files,
    };
    [
        group("usual", AT_A_TIME, files),
        group("calm", 2, calm),
        group("alone", 1, alone),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_ones_come_first_and_those_that_measure_run_alone() {
        let files = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| format!("{name}{SUFFIX}")).collect()
        };
        let all = ["tunnels", "admin", "versions", "token", "abuse", "restart"];
        let [usual, calm, alone] = in_groups(files(&all));
        assert_eq!(usual.files, files(&["versions", "admin", "token"]));
        assert_eq!(calm.files, files(&["abuse"]));
        assert_eq!(alone.files, files(&["restart", "tunnels"]));
    }

    #[test]
    fn the_names_in_the_lists_are_those_of_files() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2e");
        let files = scenarios(&folder).unwrap();
        for name in FIRST.iter().chain(&CALM).chain(&ALONE) {
            assert!(files.contains(&format!("{name}{SUFFIX}")), "{name}");
        }
    }
}
