//! Runs other programs: their output goes through, and is read for the numbers of tests.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io, thread};

use anyhow::{Context as _, Result, bail};

use crate::failures::{Failure, Reader};

/// How long the name of a command gets, in bytes, before the rest of its arguments is left out.
const NAME_LENGTH: usize = 100;

/// Numbers of tests, as programs print them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads the closing lines of a whole report.
    pub(crate) fn read_all(report: &str) -> Self {
        let mut counts = Self::default();
        for line in report.lines() {
            counts.add(Self::read(line));
        }
        counts
    }

    /// Reads the closing line of nextest (`… 21 tests run: 20 passed, 1 failed, 0 skipped`), of libtest
    /// (`test result: ok. 20 passed; 0 failed; …`) or of Node's runner (`# pass 20`, `# fail 0`).
    fn read(line: &str) -> Self {
        let mut counts = Self::default();
        let words: Vec<&str> = line
            .split([' ', ',', ';', '(', ')'])
            .filter(|word| !word.is_empty())
            .collect();
        let number = |word: &str| word.parse().unwrap_or(0);
        if line.contains("tests run:")
            || line.contains("test run:")
            || line.starts_with("test result:")
        {
            for pair in words.windows(2) {
                match pair {
                    [count, "passed"] => counts.passed = number(count),
                    [count, "failed" | "timed"] => counts.failed += number(count),
                    _ => {}
                }
            }
        } else if let ["#", kind @ ("pass" | "fail" | "cancelled"), count] = words[..] {
            match kind {
                "pass" => counts.passed = number(count),
                _ => counts.failed = number(count),
            }
        }
        counts
    }
}

/// What runners of tests have said.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    pub(crate) failures: Vec<Failure>,
    /// Tests that passed at a second try only.
    pub(crate) unsteady: Vec<Failure>,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.counts.add(other.counts);
        self.failures.extend(other.failures);
        self.unsteady.extend(other.unsteady);
    }
}

/// A command in a folder of the workspace.
pub(crate) fn command(folder: &Path, program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

/// Cargo, as the one that started us.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = command(root, cargo, arguments);
    // What cargo told *us* about this crate must not leak into other builds, which it would make anew.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The same command, but whoever else wants a processor has it first.
pub(crate) fn patiently(command: &Command) -> Command {
    let mut patient = Command::new("nice");
    patient.args(["-n", "19"]).arg(command.get_program());
    patient.args(command.get_args()).stdin(Stdio::null());
    if let Some(folder) = command.get_current_dir() {
        patient.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => patient.env(name, value),
            None => patient.env_remove(name),
        };
    }
    patient
}

/// Runs a command, its output going through; fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = name(command);
    let status = command
        .status()
        .with_context(|| format!("could not start {name}"))?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs a command that tests something, its output going through; also counts the tests, and tells which failed.
pub(crate) fn run_counting(command: &mut Command) -> Result<(Seen, Result<()>)> {
    let name = name(command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start {name}"))?;
    let errors = child.stderr.take().context("no standard error")?;
    let output = child.stdout.take().context("no standard output")?;
    let reader = thread::spawn(move || pass_on(errors, &mut io::stderr()));
    let mut seen = pass_on(output, &mut io::stdout());
    if let Ok(others) = reader.join() {
        seen.add(others);
    }
    let status = child.wait()?;
    let result = if status.success() {
        Ok(())
    } else {
        Err(anyhow::anyhow!("{name} failed ({status})"))
    };
    Ok((seen, result))
}

/// Runs a command and gives its output back; fails if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = name(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({})", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds a program on `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn pass_on(from: impl Read, to: &mut impl Write) -> Seen {
    let (mut counts, mut reader) = (Counts::default(), Reader::default());
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        // A closed terminal is no reason to stop the tests.
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        let line = String::from_utf8_lossy(&line);
        counts.add(Counts::read(line.trim_end()));
        reader.read(line.trim_end());
    }
    Seen {
        counts,
        failures: reader.end(),
        unsteady: Vec::new(),
    }
}

/// What a command is called: the program, and as many arguments as a line holds.
fn name(command: &Command) -> String {
    let mut text = Path::new(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        if text.len() > NAME_LENGTH {
            text.push_str(" …");
            break;
        }
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: u32, failed: u32) {
        assert_eq!(Counts::read(line), Counts { passed, failed }, "{line}");
    }

    #[test]
    fn closing_lines_are_counted() {
        check(
            "Summary [   4.2s] 21 tests run: 20 passed (1 slow), 1 failed, 0 skipped",
            20,
            1,
        );
        check(
            "Summary [   4.2s] 3 tests run: 1 passed, 1 failed, 1 timed out, 0 skipped",
            1,
            2,
        );
        check("Summary [   0.1s] 1 test run: 1 passed, 0 skipped", 1, 0);
        check(
            "test result: ok. 20 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
            20,
            0,
        );
        check("# pass 7", 7, 0);
        check("# fail 2", 0, 2);
        check("# cancelled 1", 0, 1);
        check(
            "     Summary [   4.2s] 2 tests run: 2 passed, 0 skipped",
            2,
            0,
        );
        // What nextest shows of a failed test.
        check(
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored",
            0,
            0,
        );
        check("3 passed the exam", 0, 0);
    }
}
